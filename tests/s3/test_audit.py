"""The audit log: a line for every request, no secret in any, whole lines whatever happens."""

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from objfs.base.system import InlineThreads
from objfs.s3 import audit
from objfs.s3.audit import FILE, AuditLog, entry_of, redacted
from objfs.s3.connection import Outcome
from objfs.s3.http import Headers, Request


def outcome(target: bytes = b"/b/k", status: int = 200) -> Outcome:
    request = Request(
        "GET",
        target,
        Headers([(b"Host", b"h"), (b"Authorization", b"AWS4-HMAC-SHA256 Signature=SECRET")]),
        peer="127.0.0.1",
        id="44BD105945B070CF",
        received_ns=1_795_226_456_659_000_000,
    )
    ended = Outcome(request)
    ended.status, ended.bytes_sent, ended.bytes_received, ended.seconds = status, 5, 2, 0.25
    return ended


def lines(directory: Path, name: str = FILE) -> list[Any]:
    return [msgspec.json.decode(line) for line in (directory / name).read_bytes().splitlines()]


async def write(log: AuditLog, *outcomes: Outcome) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(log.run)
        for each in outcomes:
            log.add(each)
        nursery.cancel_scope.cancel()


async def test_a_line_says_who_did_what(tmp_path: Path) -> None:
    done = outcome(b"/b/k?versionId=v1")
    notes = done.request.notes
    notes.operation, notes.principal, notes.error = "GetObject", "alice", "NoSuchKey"
    notes.bucket, notes.key, notes.version = "b", "k\udcff", "v1"
    await write(AuditLog(tmp_path, InlineThreads()), done)
    assert lines(tmp_path) == [
        {
            "time": "2026-11-21T02:00:56.659Z",
            "request_id": "44BD105945B070CF",
            "principal": "alice",
            "source": "127.0.0.1",
            "operation": "GetObject",
            "bucket": "b",
            "key": "k\\udcff",
            "version": "v1",
            "status": 200,
            "bytes": 7,
            "duration": 0.25,
            "error": "NoSuchKey",
            "method": "GET",
            "target": "/b/k?versionId=v1",
        }
    ]
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def test_signatures_and_tokens_are_not_shown() -> None:
    query = (
        b"X-Amz-Credential=AKIA%2F20261121&X-Amz-Signature=SECRET&x-amz-security-token=SECRET"
        b"&Signature=SECRET&prefix=a%2Fb&uploads&WebIdentityToken=SECRET&empty="
    )
    shown = redacted(outcome(b"/b?" + query).request)
    assert shown == (
        "/b?X-Amz-Credential=AKIA%2F20261121&X-Amz-Signature=*&x-amz-security-token=*"
        "&Signature=*&prefix=a%2Fb&uploads&WebIdentityToken=*&empty="
    )


@given(st.binary(max_size=40).filter(lambda name: not set(name) & set(b"&=+%")))
def test_only_known_parameters_are_shown(name: bytes) -> None:
    line = msgspec.json.encode(entry_of(outcome(b"/b?" + name + b"=SECRET")))
    assert (b"SECRET" in line) == (name.decode("latin-1").lower() in audit.HARMLESS)


async def test_files_are_rotated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "S3_AUDIT_FILE_BYTES_MAX", 300)
    monkeypatch.setattr(audit, "S3_AUDIT_FILES_KEPT", 3)
    log = AuditLog(tmp_path, InlineThreads())
    for number in range(10):
        await write(log, outcome(b"/%d" % number), outcome(b"/%d" % number))
    names = sorted(os.listdir(tmp_path))
    assert names == [f"{FILE}.{number}" for number in (1, 2, 3)]
    assert [line["target"] for line in lines(tmp_path, f"{FILE}.1")] == ["/9", "/9"]
    assert [line["target"] for line in lines(tmp_path, f"{FILE}.3")] == ["/7", "/7"]


async def test_a_torn_line_is_ended(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b'{"time":"20')
    await write(AuditLog(tmp_path, InlineThreads()), outcome())
    torn, whole = (tmp_path / FILE).read_bytes().splitlines()
    assert torn == b'{"time":"20'
    assert msgspec.json.decode(whole)["status"] == 200


async def test_what_does_not_fit_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "S3_AUDIT_QUEUED_MAX", 3)
    log = AuditLog(tmp_path, InlineThreads())
    await write(log, *[outcome()] * 5)
    assert log.missing == 2
    assert [line.get("missing") for line in lines(tmp_path)] == [None, None, None, 2]
    await write(log, outcome())
    assert len(lines(tmp_path)) == 5


async def test_a_disk_that_refuses_costs_lines_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "log"
    log = AuditLog(directory, InlineThreads())
    await write(log, outcome(), outcome())
    assert log.missing == 2
    assert "2 lines of the audit log are lost" in caplog.text
    os.mkdir(directory)
    await write(log, outcome())
    assert [line.get("missing") for line in lines(directory)] == [None, 2]
