"""One file, two doors: what is done through the mount is seen through S3 when it has been done,
and the other way round. Each look asks all that could disagree: HEAD, GET, list and versions;
stat, cat, ls and `.objfs/versions`."""

import errno
import mmap
import os
import re
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.programs.drive import Drive, run
from tests.programs.served import Door, client_run, make_account, mounted_door
from tests.programs.ways_of_writing import WAYS, append

pytestmark = pytest.mark.slow

BUCKET = "main"
MIB = 1 << 20


class Doors:
    """A directory of the mount, and the keys below it."""

    def __init__(self, drive: Drive, door: Door, name: str) -> None:
        self.drive, self.door, self.name = drive, door, name
        self.directory = drive.mountpoint / name
        self.client: Any = door.client()

    def key(self, name: str) -> str:
        return f"{self.name}/{name}"

    def put(self, name: str, body: bytes, **more: Any) -> Any:
        return self.client.put_object(Bucket=BUCKET, Key=self.key(name), Body=body, **more)

    def head(self, name: str) -> Any:
        return self.client.head_object(Bucket=BUCKET, Key=self.key(name))

    def get(self, name: str, **more: Any) -> bytes:
        answer = self.client.get_object(Bucket=BUCKET, Key=self.key(name), **more)
        body = answer["Body"].read()
        assert isinstance(body, bytes)
        return body

    def is_there(self, name: str) -> bool:
        try:
            self.head(name)
        except self.client.exceptions.ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return False
            raise
        return True

    def listed(self) -> dict[str, Any]:
        """Every key below, by the rest of its name."""
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=BUCKET, Prefix=f"{self.name}/"
        )
        return {
            entry["Key"].removeprefix(f"{self.name}/"): entry
            for page in pages
            for entry in page.get("Contents", [])
        }

    def versions(self, name: str) -> list[Any]:
        """Versions and delete markers of one key, newest first."""
        answer = self.client.list_object_versions(Bucket=BUCKET, Prefix=self.key(name))
        found = [*answer.get("Versions", []), *answer.get("DeleteMarkers", [])]
        mine = [entry for entry in found if entry["Key"] == self.key(name)]
        return sorted(mine, key=lambda entry: int(entry["VersionId"], 16), reverse=True)

    def same(self, name: str) -> str:
        """Assert that both doors say the same of a file, and that S3 contradicts itself nowhere;
        its ETag."""
        expected = (self.directory / name).read_bytes()
        head, entry, newest = self.head(name), self.listed()[name], self.versions(name)[0]
        answer = self.client.get_object(Bucket=BUCKET, Key=self.key(name))
        assert answer["Body"].read() == expected
        sizes = [head["ContentLength"], answer["ContentLength"], entry["Size"], newest["Size"]]
        assert sizes == [(self.directory / name).stat().st_size] * 4
        etags = {head["ETag"], answer["ETag"], entry["ETag"], newest["ETag"]}
        assert len(etags) == 1
        assert head["VersionId"] == answer["VersionId"] == newest["VersionId"]
        assert newest["IsLatest"]
        past = self.drive.mountpoint / ".objfs" / "versions" / self.name / name
        named = re.compile(rf".*Z-{head['VersionId']}(\..*)?")
        kept = [path for path in past.iterdir() if named.fullmatch(path.name)]
        assert [path.read_bytes() for path in kept] == [expected]
        return str(etags.pop())


@pytest.fixture(scope="module")
def mounted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Drive, Door]]:
    drive = Drive(tmp_path_factory.mktemp("doors"))
    account = make_account(drive)
    try:
        drive.mount("--s3", "127.0.0.1:0")
        yield drive, mounted_door(drive, account)
    finally:
        drive.close()
    assert drive.json("fsck", drive.store)["problems"] == []


@pytest.fixture
def doors(mounted: tuple[Drive, Door], request: pytest.FixtureRequest) -> Doors:
    """A directory of the test's own, that the mount made."""
    drive, door = mounted
    doors = Doors(drive, door, re.sub("[^a-z]+", "-", request.node.name))
    doors.directory.mkdir()
    return doors


# --- Through the mount, seen through S3 -----------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_what_is_written_through_the_mount_is_an_object(doors: Doors, way: str) -> None:
    """S13.1, S13.5, S14.4"""
    path = doors.directory / "file.dat"
    before = os.urandom(20_000)
    path.write_bytes(before)
    first = doors.same("file.dat")
    assert doors.same("file.dat") == first
    old = doors.head("file.dat")["VersionId"]
    WAYS[way](path)
    assert path.read_bytes() != before
    assert doors.same("file.dat") != first
    assert doors.get("file.dat", VersionId=old) == before


@pytest.mark.parametrize("way", WAYS)
def test_what_a_put_made_is_written_through_the_mount(doors: Doors, way: str) -> None:
    """S13.1, S13.5"""
    before = os.urandom(20_000)
    first = doors.put("file.dat", before)
    WAYS[way](doors.directory / "file.dat")
    assert doors.same("file.dat") != first["ETag"]
    assert doors.get("file.dat", VersionId=first["VersionId"]) == before
    put = doors.put("file.dat", b"and again")
    assert doors.same("file.dat") == put["ETag"]


def test_attributes_change_no_etag(doors: Doors) -> None:
    """S13.5, S13.12"""
    path = doors.directory / "file"
    path.write_bytes(b"something")
    etag = doors.same("file")
    path.chmod(0o640)
    run("touch", "-d", "2001-09-09 01:46:40.25 UTC", path)
    run("setfattr", "-n", "user.colour", "-v", "green", path)
    assert doors.same("file") == etag
    assert doors.head("file")["Metadata"] == {
        "mode": str(0o100640),
        "uid": str(os.getuid()),
        "gid": str(os.getgid()),
        "mtime": "1000000000.250000000",
        "colour": "green",
    }
    run("setfattr", "-x", "user.colour", path)
    assert "colour" not in doors.head("file")["Metadata"]
    assert doors.same("file") == etag


def test_an_open_file_is_what_it_was_at_its_last_close(doors: Doors) -> None:
    """S13.4, S14.2"""
    path = doors.directory / "file"
    with path.open("wb") as file:
        file.write(b"not yet")
        file.flush()
        assert not doors.is_there("file")
        assert "file" not in doors.listed()
    etag = doors.same("file")
    with path.open("r+b") as file:
        file.write(b"changed")
        file.flush()
        assert (doors.get("file"), doors.head("file")["ETag"]) == (b"not yet", etag)
    assert doors.same("file") != etag


def test_hard_links_are_objects_of_the_same_bytes(doors: Doors) -> None:
    one, two = doors.directory / "one", doors.directory / "two"
    one.write_bytes(b"both")
    two.hardlink_to(one)
    assert doors.same("one") == doors.same("two")
    append(two)
    assert doors.same("one") == doors.same("two")
    one.unlink()
    assert not doors.is_there("one")
    assert doors.get("two") == b"bothand more"


def test_a_renamed_directory_renames_its_keys(doors: Doors) -> None:
    (doors.directory / "old/deep").mkdir(parents=True)
    (doors.directory / "old/deep/file").write_bytes(b"inside")
    etag = doors.same("old/deep/file")
    (doors.directory / "old").rename(doors.directory / "new")
    assert list(doors.listed()) == ["", "new/", "new/deep/", "new/deep/file"]
    assert doors.same("new/deep/file") == etag
    newest, oldest = doors.versions("old/deep/file")
    assert (newest["IsLatest"], "Size" in newest) == (True, False)  # a delete marker
    assert doors.get("old/deep/file", VersionId=oldest["VersionId"]) == b"inside"


def test_removed_files_have_delete_markers(doors: Doors) -> None:
    path = doors.directory / "file"
    path.write_bytes(b"was here")
    path.unlink()
    assert not doors.is_there("file")
    marker, version = doors.versions("file")
    assert doors.get("file", VersionId=version["VersionId"]) == b"was here"
    doors.client.delete_object(Bucket=BUCKET, Key=doors.key("file"), VersionId=marker["VersionId"])
    assert path.read_bytes() == b"was here"
    doors.same("file")


def test_what_is_no_file_is_no_object(doors: Doors) -> None:
    """S14.2"""
    (doors.directory / "link").symlink_to("file")
    os.mkfifo(doors.directory / "fifo")
    (doors.directory / "file").write_bytes(b"the one")
    assert list(doors.listed()) == ["", "file"]
    assert not doors.is_there("link")
    doors.put("link", b"now it is a file")
    assert not (doors.directory / "link").is_symlink()
    assert (doors.directory / "file").read_bytes() == b"the one"


def _tree_is_the_same(doors: Doors) -> int:
    """Every file and directory is an object with its bytes, and nothing else is; how many."""
    expected = {""}
    for path in doors.directory.rglob("*"):
        name = str(path.relative_to(doors.directory))
        expected.add(f"{name}/" if path.is_dir() else name)
    found = doors.listed()
    assert set(found) == expected
    for name, entry in found.items():
        content = b"" if name == "" or name.endswith("/") else (doors.directory / name).read_bytes()
        assert (doors.get(name), entry["Size"]) == (content, len(content))
    return len(found)


def test_git(doors: Doors) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "gc.auto=0")
    run("git", "init", "-q", doors.directory)
    for number in range(3):
        (doors.directory / "code.py").write_text(f"number = {number}\n")
        run("git", "add", "-A", cwd=doors.directory)
        run("git", *identity, "commit", "-qm", "next", cwd=doors.directory)
    run("git", "repack", "-adq", cwd=doors.directory)
    assert _tree_is_the_same(doors) > 20
    assert len(doors.versions("code.py")) == 3


def test_sqlite(doors: Doors, tmp_path: Path) -> None:
    path = doors.directory / "data.sqlite"
    etags = set()
    for number in range(3):
        connection = sqlite3.connect(path)
        connection.execute("create table if not exists t (n integer)")
        connection.execute("insert into t values (?)", (number,))
        connection.commit()
        connection.close()
        etags.add(doors.same("data.sqlite"))
        (tmp_path / "copy").write_bytes(doors.get("data.sqlite"))
        copy = sqlite3.connect(tmp_path / "copy")
        assert copy.execute("select count(*) from t").fetchone() == (number + 1,)
        copy.close()
    assert len(etags) == 3
    assert set(doors.listed()) == {"", "data.sqlite"}


# --- Through S3, seen through the mount -----------------------------------------------------------


def test_a_put_is_in_the_mount_when_its_answer_comes(doors: Doors) -> None:
    """S13.6"""
    path = doors.directory / "file"
    assert not path.exists()  # the kernel may remember that, and must forget
    for number in range(30):
        body = b"%d" % number * (number * 100 + 1)
        doors.put("file", body)
        assert (path.stat().st_size, path.read_bytes()) == (len(body), body)
        assert os.listdir(doors.directory) == ["file"]
    assert len(doors.versions("file")) == 30
    kept = sorted((doors.drive.mountpoint / ".objfs/versions" / doors.name / "file").iterdir())
    assert [len(each.read_bytes()) for each in kept] == [
        len(b"%d" % number * (number * 100 + 1)) for number in range(30)
    ]
    doors.same("file")


def test_who_has_a_file_open_keeps_it(doors: Doors) -> None:
    """S13.4, S13.6"""
    path = doors.directory / "file"
    old, new = os.urandom(3 * MIB), os.urandom(MIB)
    path.write_bytes(old)
    with path.open("rb") as reader, path.open("rb") as mapped:
        assert reader.read(10) == old[:10]
        with mmap.mmap(mapped.fileno(), 0, prot=mmap.PROT_READ) as memory:
            doors.put("file", new)
            assert reader.read() == old[10:]
            assert memory[:] == old
            assert os.fstat(reader.fileno()).st_size == len(old)
        assert path.read_bytes() == new
        doors.client.delete_object(Bucket=BUCKET, Key=doors.key("file"))
        assert not path.exists()
        reader.seek(0)
        assert reader.read() == old


def test_between_two_puts_there_is_always_a_whole_file(doors: Doors) -> None:
    """S13.6"""
    path, done = doors.directory / "file", threading.Event()
    bodies = [bytes([number]) * (50_000 + number) for number in range(40)]
    doors.put("file", bodies[0])
    seen: list[bytes] = []

    def poll() -> None:
        while not done.is_set():
            try:
                file = path.open("rb")
            except OSError as error:
                if error.errno == errno.ESTALE:  # replaced twice while it was opened
                    continue
                raise
            with file:
                size = os.fstat(file.fileno()).st_size
                seen.append(file.read())
                assert len(seen[-1]) == size

    poller = threading.Thread(target=poll)
    poller.start()  # what it raises fails the test
    try:
        for body in bodies[1:]:
            doors.put("file", body)
    finally:
        done.set()
        poller.join()
    numbers = [bodies.index(body) for body in seen]
    assert numbers == sorted(numbers)
    assert len(numbers) > 1


def test_copies_uploads_deletes_and_undeletes_are_in_the_mount(doors: Doors) -> None:
    """S13.6, S13.9, S15.1"""
    client, directory = doors.client, doors.directory
    doors.put("made/by/put", b"bytes")
    assert (directory / "made/by/put").read_bytes() == b"bytes"
    source = {"Bucket": BUCKET, "Key": doors.key("made/by/put")}
    assert not (directory / "copy").exists()
    client.copy_object(Bucket=BUCKET, Key=doors.key("copy"), CopySource=source)
    assert (directory / "copy").read_bytes() == b"bytes"
    doors.same("copy")

    named = {"Bucket": BUCKET, "Key": doors.key("copy")}
    upload = client.create_multipart_upload(**named)["UploadId"]
    pieces = [os.urandom(5 * MIB), b"the end"]
    parts = [
        {
            "PartNumber": number,
            "ETag": client.upload_part(**named, UploadId=upload, PartNumber=number, Body=piece)[
                "ETag"
            ],
        }
        for number, piece in enumerate(pieces, 1)
    ]
    assert sorted(os.listdir(directory)) == ["copy", "made"]
    assert (directory / "copy").read_bytes() == b"bytes"
    client.complete_multipart_upload(**named, UploadId=upload, MultipartUpload={"Parts": parts})
    assert (directory / "copy").read_bytes() == b"".join(pieces)
    assert doors.same("copy").endswith('-2"')

    marker = client.delete_object(**named)
    assert not (directory / "copy").exists()
    assert os.listdir(directory) == ["made"]
    assert (directory.parent / ".objfs/deleted" / doors.name / "copy").read_bytes() == b"".join(
        pieces
    )
    client.delete_object(**named, VersionId=marker["VersionId"])
    assert (directory / "copy").read_bytes() == b"".join(pieces)
    newest = doors.head("copy")["VersionId"]
    client.delete_object(**named, VersionId=newest)
    assert (directory / "copy").read_bytes() == b"bytes"
    doors.same("copy")

    keys = [{"Key": doors.key("copy")}, {"Key": doors.key("made/by/put")}]
    client.delete_objects(Bucket=BUCKET, Delete={"Objects": keys})
    assert os.listdir(directory) == []  # the directories that only the PUT had made are gone


def test_metadata_of_clients_are_attributes(doors: Doors) -> None:
    """S13.12"""
    path = doors.directory / "file"
    doors.put(
        "file", b"x", Metadata={"mtime": "1234567890.987654321", "colour": "=?UTF-8?B?YmzDvA==?="}
    )
    assert path.stat().st_mtime_ns == 1_234_567_890_987_654_321
    assert os.getxattr(path, "user.colour") == "blü".encode()
    doors.put("file", b"x", Metadata={"mode": str(0o100600), "uid": "1234", "gid": "5678"})
    status = path.stat()
    assert (status.st_mode, status.st_uid, status.st_gid) == (0o100600, 1234, 5678)


def test_who_may_not_give_files_away_has_the_ids_as_metadata(doors: Doors) -> None:
    """S13.12"""
    drive = doors.drive
    other = make_account(drive, "other")
    drive.objfs("policy", "attach", drive.store, "AmazonS3FullAccess", "--user", "other")
    metadata = {"uid": "1234", "gid": "5678"}
    doors.door._replace(account=other).client().put_object(
        Bucket=BUCKET, Key=doors.key("file"), Body=b"x", Metadata=metadata
    )
    status = (doors.directory / "file").stat()
    assert (status.st_uid, status.st_gid) == (os.getuid(), os.getgid())
    assert os.getxattr(doors.directory / "file", "user.uid") == b"1234"


def test_metadata_of_rclone_and_s3fs(doors: Doors, tmp_path: Path) -> None:
    """S13.12: both as the programs themselves write and read them."""
    environment = doors.door.environment(tmp_path) | {
        "RCLONE_CONFIG_DRIVE_TYPE": "s3",
        "RCLONE_CONFIG_DRIVE_PROVIDER": "Other",
        "RCLONE_CONFIG_DRIVE_ENDPOINT": doors.door.url,
        "RCLONE_CONFIG_DRIVE_ENV_AUTH": "true",
    }
    there, path = f"drive:{BUCKET}/{doors.name}", doors.directory / "file"
    (tmp_path / "file").write_bytes(b"by rclone")
    os.utime(tmp_path / "file", ns=(1, 1_111_111_111_222_333_444))
    client_run(environment, "rclone", "copy", tmp_path / "file", there)
    assert path.stat().st_mtime_ns == 1_111_111_111_222_333_444
    os.utime(path, ns=(1, 1_222_222_222_123_000_000))
    assert "2008-09-24 02:10:22.123" in client_run(environment, "rclone", "lsl", there)

    point, password = tmp_path / "s3fs", tmp_path / "password"
    point.mkdir()
    password.write_text(":".join(doors.door.account))
    password.chmod(0o600)
    options = f"url={doors.door.url},use_path_request_style,passwd_file={password}"
    path.chmod(0o604)
    client_run(environment, "s3fs", f"{BUCKET}:/{doors.name}", point, "-o", options)
    try:
        status = (point / "file").stat()
        assert (status.st_mode, int(status.st_mtime)) == (0o100604, 1_222_222_222)
        (point / "file").chmod(0o640)
        os.chown(point / "file", 1234, 5678)
        (point / "new").write_bytes(b"by s3fs")
        (point / "new").chmod(0o700)
    finally:
        run("umount", point)
    status = path.stat()
    assert (status.st_mode, status.st_uid, status.st_gid) == (0o100640, 1234, 5678)
    assert (doors.directory / "new").stat().st_mode == 0o100700
    assert (doors.directory / "new").read_bytes() == b"by s3fs"


STRANGE = [
    "two//slashes",
    "dots/./in/../keys",
    "n" * 300,
    "ends/with/slash/",
    "file",
    "file/below",
    "/begins with one",
    "new\nline & <tag>",
]


def test_keys_that_the_mount_cannot_name(doors: Doors) -> None:
    """S13.2"""
    for number, name in enumerate(STRANGE):
        doors.put(name, b"%d" % number)
    assert [doors.get(name) for name in STRANGE] == [b"%d" % n for n in range(len(STRANGE))]
    assert set(doors.listed()) == {"", *STRANGE}
    directory = doors.directory
    shown = {"two", "dots", "ends", "file", "new\nline & <tag>"}
    assert set(os.listdir(directory)) == shown
    assert (directory / "file/below").read_bytes() == b"5"
    assert os.listdir(directory / "two") == []
    assert os.listdir(directory / "ends/with/slash") == []
    with pytest.raises(OSError, match="Directory not empty"):
        (directory / "two").rmdir()
    keys = [{"Key": doors.key(name)} for name in STRANGE if name != "file"]
    gone = doors.client.delete_objects(Bucket=BUCKET, Delete={"Objects": keys})
    assert "Errors" not in gone
    assert os.listdir(directory) == ["file"]
    assert (directory / "file").read_bytes() == b"4"
    assert set(doors.listed()) == {"", "file"}
