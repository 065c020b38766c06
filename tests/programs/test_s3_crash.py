"""kill -9 of the server in the middle of uploads: what was answered is there, and of the rest there
is nothing but uploads that go on."""

import hashlib
import os
import random
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.programs.drive import Drive
from tests.programs.served import make_account, serving

pytestmark = pytest.mark.slow

BUCKET = "main"
MIB = 1 << 20
PART_BYTES = 5 * MIB
WRITERS = 4
ROUNDS = 10


def body_of(key: str) -> bytes:
    """The bytes of an object, made of its key: nothing, inline, in bulk, in several records."""
    generator = random.Random(key)
    return generator.randbytes(generator.choice((0, 100, 40_000, 600_000, 6 * MIB)))


def part_of(key: str, number: int) -> bytes:
    """The bytes of a part of the upload of a key."""
    return random.Random(f"{key} {number}").randbytes(PART_BYTES + number)


def etag_of(body: bytes) -> str:
    return f'"{hashlib.md5(body).hexdigest()}"'


class Round:
    """Clients that write new keys until one of them kills the server: what they asked for, and what
    was answered."""

    def __init__(self, client: Any, name: str, pid: int, answers: int) -> None:
        self.client, self.name = client, name
        self._pid, self._answers = pid, answers
        self.killed = threading.Event()
        self.asked: set[str] = set()
        self.answered: dict[str, str] = {}  # key -> ETag
        self.parts: dict[str, dict[int, str]] = {}  # key of an upload -> number -> ETag
        self.completing: set[str] = set()

    def run(self) -> None:
        with ThreadPoolExecutor(WRITERS) as pool:
            writers = [pool.submit(self._upload, "0")]
            writers += [pool.submit(self._put, str(number)) for number in range(1, WRITERS)]
            for writer in writers:
                writer.result()
        assert len(self.answered) >= self._answers

    def _kill_after(self, answers: int) -> None:
        if answers >= self._answers and not self.killed.is_set():
            self.killed.set()
            os.kill(self._pid, signal.SIGKILL)

    def _put(self, name: str) -> None:
        number = 0
        try:
            while not self.killed.is_set():
                key = f"{self.name}/{name}/{number}"
                body = body_of(key)
                self.asked.add(key)
                answer = self.client.put_object(Bucket=BUCKET, Key=key, Body=body)
                self.answered[key] = answer["ETag"]
                self._kill_after(len(self.answered))
                number += 1
        except (BotoCoreError, ClientError):
            if not self.killed.is_set():
                raise

    def _upload(self, name: str) -> None:
        number = 0
        try:
            while not self.killed.is_set():
                key = f"{self.name}/{name}/{number}"
                self.asked.add(key)
                made = self.client.create_multipart_upload(Bucket=BUCKET, Key=key)
                self.parts[key] = {}
                self.go_on(self.client, key, made["UploadId"])
                number += 1
        except (BotoCoreError, ClientError):
            if not self.killed.is_set():
                raise

    def go_on(self, client: Any, key: str, upload: str) -> None:
        """Send the parts that are missing, and complete."""
        named = {"Bucket": BUCKET, "Key": key, "UploadId": upload}
        have = self.parts[key]
        for number in (1, 2, 3):
            if number not in have:
                body = part_of(key, number)
                answer = client.upload_part(**named, PartNumber=number, Body=body)
                have[number] = answer["ETag"]
        parts = [{"PartNumber": number, "ETag": have[number]} for number in (1, 2, 3)]
        self.completing.add(key)
        done = client.complete_multipart_upload(**named, MultipartUpload={"Parts": parts})
        self.answered[key] = done["ETag"]

    # --- after the crash -------------------------------------------------------------------------

    def check(self, client: Any) -> int:
        """All that was answered is there; what else is, is whole, or goes on and is then. How many
        uploads went on."""
        found = self._objects(client)
        assert self.answered.items() <= found.items()
        assert set(found) <= self.asked
        listed = client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
        open_uploads = {entry["Key"]: entry["UploadId"] for entry in listed}
        assert set(open_uploads) <= self.asked
        assert set(self.parts) - set(open_uploads) <= self.completing & set(found)
        for key, upload in open_uploads.items():
            self._resume(client, key, upload)
        assert self.answered.items() <= self._objects(client).items()
        return len(open_uploads)

    def _objects(self, client: Any) -> dict[str, str]:
        """The objects of this round and their ETags; each has the bytes that were asked for."""
        found = {}
        pages = client.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=BUCKET, Prefix=f"{self.name}/"):
            for entry in page.get("Contents", []):
                key, etag = entry["Key"], entry["ETag"]
                found[key] = etag
                body = client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
                if key in self.parts:
                    assert body == b"".join(part_of(key, number) for number in (1, 2, 3))
                else:
                    assert (body, etag) == (body_of(key), etag_of(body))
        return found

    def _resume(self, client: Any, key: str, upload: str) -> None:
        listed = client.list_parts(Bucket=BUCKET, Key=key, UploadId=upload).get("Parts", [])
        there = {part["PartNumber"]: part["ETag"] for part in listed}
        have = self.parts.setdefault(key, {})
        assert have.items() <= there.items()
        for number, etag in there.items():
            assert etag == etag_of(part_of(key, number))
        have.update(there)
        self.go_on(client, key, upload)


def test_what_was_answered_survives_kill_9_and_nothing_else_does(tmp_path: Path) -> None:
    """S13.6, S13.8, S15.1"""
    drive = Drive(tmp_path)
    account, generator = make_account(drive), random.Random(9)
    resumed, previous = 0, None
    for number in range(ROUNDS + 1):
        with serving(drive, account) as (door, process):
            client = door.client(max_pool_connections=WRITERS)
            if previous is not None:
                assert drive.json("fsck", drive.store)["problems"] == []
                resumed += previous.check(client)
            if number < ROUNDS:
                previous = Round(client, f"round {number}", process.pid, generator.randint(3, 60))
                previous.run()
    assert resumed > 0
    assert drive.json("fsck", drive.store)["problems"] == []
