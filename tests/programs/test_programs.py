"""Real programs on a real mount."""

import contextlib
import hashlib
import mmap
import os
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest

from tests.programs.drive import Drive, drop_caches, run, tree_of

pytestmark = pytest.mark.slow

MIB = 1 << 20


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A tree with everything that rsync -aHAX carries."""
    root = tmp_path / "source"
    library = Path(sysconfig.get_path("stdlib"))
    root.mkdir()
    for package in ("email", "json", "asyncio", "unittest"):
        run("cp", "-a", library / package, root / package)
    (root / "big").write_bytes(os.urandom(3 * MIB + 17))
    (root / "empty").touch()
    os.link(root / "big", root / "hard link")
    (root / "symlink").symlink_to("big")
    (root / "dangling").symlink_to("no/such/file")
    os.mkfifo(root / "fifo", 0o640)
    with (root / "sparse").open("wb") as file:
        file.seek(10 * MIB)
        file.write(b"end")
    (root / "old").write_text("old")
    os.utime(root / "old", ns=(1, 999_999_999_123_456_789))
    (root / "mode").touch()
    (root / "mode").chmod(0o4751)
    os.setxattr(root / "mode", "user.colour", b"blue\0green")
    os.chown(root / "old", 1234, 5678)
    run("setfacl", "-m", "u:1234:rw,g:5678:r", root / "old")
    (root / "acl").mkdir()
    run("setfacl", "-d", "-m", "u:1234:rwx", root / "acl")
    (root / os.fsdecode(b"n\xff\xfe strange \n name")).write_text("x")
    return root


def test_rsync_twice_leaves_no_difference(drive: Drive, source: Path) -> None:
    target = drive.mountpoint / "backup"
    for _ in range(2):
        run("rsync", "-aHAX", f"{source}/", f"{target}/")
    again = ("rsync", "-aHAXn", "--checksum", "--itemize-changes", f"{source}/", f"{target}/")
    assert run(*again) == ""
    drive.remount()
    assert run(*again) == ""
    status = (target / "sparse").stat()
    assert status.st_size == 10 * MIB + 3
    big = drive.json("versions", target / "big")["versions"]
    assert [entry["deleted"] for entry in big] == [False]


def test_rsync_makes_one_version_for_each_change(drive: Drive, tmp_path: Path) -> None:
    """S6.2"""
    source, target = tmp_path / "tree", drive.mountpoint / "tree"
    source.mkdir()
    for number in range(3):
        (source / "file").write_text(f"number {number}\n" * 1000)
        os.utime(source / "file", (number, number))
        run("rsync", "-a", f"{source}/", f"{target}/")
    versions = drive.json("versions", target / "file")["versions"]
    assert len(versions) == 3
    assert [entry["latest"] for entry in versions] == [True, False, False]
    oldest = drive.objfs("cat", target / "file", "--version", versions[2]["version_id"])
    assert oldest == "number 0\n" * 1000
    drive.objfs("restore", target / "file", "--version", versions[2]["version_id"])
    assert (target / "file").read_text() == "number 0\n" * 1000


def test_cp_and_tar(drive: Drive, source: Path) -> None:
    run("cp", "-a", source, drive.mountpoint / "copy")
    assert tree_of(drive.mountpoint / "copy") == tree_of(source)
    run("cp", "-a", drive.mountpoint / "copy", drive.mountpoint / "second")
    archive = drive.mountpoint / "archive.tar"
    run("tar", "--xattrs", "--acls", "-C", drive.mountpoint / "second", "-cf", archive, ".")
    unpacked = drive.mountpoint / "unpacked"
    unpacked.mkdir()
    run("tar", "--xattrs", "--acls", "-C", unpacked, "-xpf", archive)
    assert tree_of(unpacked) == tree_of(source)


def test_git_clone_and_fsck(drive: Drive, tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    origin.mkdir()
    library = Path(sysconfig.get_path("stdlib"))
    run("cp", "-r", library / "asyncio", origin / "code")
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    run("git", "init", "-q", origin)
    run("git", "add", "-A", cwd=origin)
    run("git", *identity, "commit", "-qm", "one", cwd=origin)
    clone = drive.mountpoint / "clone"
    run("git", "clone", "-q", origin, clone)
    (clone / "code" / "new").write_text("new")
    run("git", "add", "-A", cwd=clone)
    run("git", *identity, "commit", "-qm", "two", cwd=clone)
    run("git", "gc", "-q", cwd=clone)
    drive.remount()
    assert "error" not in run("git", "fsck", "--full", "--strict", cwd=clone)
    assert run("git", "status", "--porcelain", cwd=clone) == ""


def test_sqlite_with_a_wal(drive: Drive) -> None:
    database = drive.mountpoint / "data.sqlite"
    program = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=60)
connection.execute("pragma journal_mode=wal")
connection.execute("create table if not exists t(a integer primary key, b blob)")
for round in range(100):
    with connection:
        for _ in range(10):
            connection.execute("insert into t(b) values (randomblob(500))")
"""
    writers = [subprocess.Popen([sys.executable, "-c", program, str(database)]) for _ in range(2)]
    assert [writer.wait(120) for writer in writers] == [0, 0]
    drive.remount()
    assert (
        run("sqlite3", database, "pragma integrity_check; select count(*) from t") == "ok\n2000\n"
    )


def test_find_delete(drive: Drive, source: Path) -> None:
    run("cp", "-a", source, drive.mountpoint / "copy")
    run("find", drive.mountpoint / "copy", "-delete")
    assert list(drive.mountpoint.iterdir()) == []


def test_a_sparse_file_of_5_gib(drive: Drive) -> None:
    """S7.1"""
    path = drive.mountpoint / "sparse"
    with path.open("wb") as file:
        file.seek(5 << 30)
        file.write(b"end")
    drive.remount()
    status = path.stat()
    assert status.st_size == (5 << 30) + 3
    assert status.st_blocks * 512 <= 1 * MIB
    with path.open("rb") as file:
        file.seek(3 << 30)
        assert file.read(MIB) == bytes(MIB)
        file.seek(5 << 30)
        assert file.read() == b"end"
    os.truncate(path, 1 << 30)
    os.truncate(path, 1 << 44)
    assert path.stat().st_size == 1 << 44


def test_a_file_of_1_gib(drive: Drive) -> None:
    path = drive.mountpoint / "large"
    block = os.urandom(MIB)
    written = hashlib.sha256()
    with path.open("wb") as file:
        for number in range(1024):
            data = number.to_bytes(8, "little") + block[8:]
            written.update(data)
            file.write(data)
    drive.remount()
    drop_caches()
    with path.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").digest() == written.digest()


def test_mmap_writes(drive: Drive) -> None:
    path = drive.mountpoint / "mapped"
    with path.open("w+b") as file:
        file.truncate(4 * MIB)
        with mmap.mmap(file.fileno(), 4 * MIB) as memory:
            for offset in range(0, 4 * MIB, 65_537):
                memory[offset : offset + 5] = b"hello"
            memory.flush()
            memory[-3:] = b"end"
    expected = bytearray(4 * MIB)
    for offset in range(0, 4 * MIB, 65_537):
        expected[offset : offset + 5] = b"hello"
    expected[-3:] = b"end"
    assert path.read_bytes() == expected
    drive.remount()
    assert path.read_bytes() == expected


def test_appends_from_several_processes(drive: Drive) -> None:
    path = drive.mountpoint / "log"
    program = """
import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
for number in range(500):
    os.write(fd, f"{sys.argv[2]} {number:06}\\n".encode())
"""
    writers = [
        subprocess.Popen([sys.executable, "-c", program, str(path), str(which)])
        for which in range(4)
    ]
    assert [writer.wait(60) for writer in writers] == [0] * 4
    drive.remount()
    lines = path.read_text().splitlines()
    assert sorted(lines) == sorted(f"{w} {n:06}" for w in range(4) for n in range(500))
    for which in range(4):
        own = [line for line in lines if line.startswith(f"{which} ")]
        assert own == sorted(own)


def test_100_000_files_in_one_directory(drive: Drive) -> None:
    directory = drive.mountpoint / "many"
    directory.mkdir()
    count = 100_000
    for number in range(count):
        os.close(os.open(directory / f"file-{number:06}", os.O_CREAT | os.O_WRONLY, 0o644))
    drive.remount()
    names = sorted(os.listdir(directory))
    assert names == [f"file-{number:06}" for number in range(count)]
    with os.scandir(directory) as entries:
        assert all(entry.stat(follow_symlinks=False).st_size == 0 for entry in entries)
    for name in names:
        os.unlink(directory / name)
    assert os.listdir(directory) == []
    directory.rmdir()


def test_the_kernel_hands_sync_to_the_log(drive: Drive) -> None:
    """S1.7"""
    path = drive.mountpoint / "file"
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY)
    try:
        os.write(descriptor, b"written, not closed")
        os.sync()
        time.sleep(0.75)  # the promises are of time
        logged = drive.json("status", drive.mountpoint)
        assert logged["dirty_bytes"] == 0
        time.sleep(1)
        durable = drive.json("status", drive.mountpoint)
        assert durable["synced_sequence"] >= logged["sequence"]
        drive.kill()
    finally:
        with contextlib.suppress(OSError):  # the mount is dead
            os.close(descriptor)
    drive.mount()
    assert path.read_bytes() == b"written, not closed"


def test_kill_loses_nothing_closed(drive: Drive) -> None:
    """S1.3 S1.4"""
    closed: dict[str, bytes] = {}
    program = """
import os, sys
number = 0
while True:
    name = f"{sys.argv[1]}/f{number:05}"
    data = os.urandom((number * 7919) % 300_000)
    with open(name + ".part", "wb") as file:
        file.write(data)
    os.rename(name + ".part", name)
    if number % 3 == 0:
        with open(name, "r+b") as file:
            file.seek(len(data) // 2)
            file.write(b"changed")
    import hashlib
    with open(name, "rb") as file:
        print(name, hashlib.sha256(file.read()).hexdigest(), flush=True)
    number += 1
"""
    for number in range(20):
        directory = drive.mountpoint / f"round-{number}"
        directory.mkdir()
        worker = subprocess.Popen(
            [sys.executable, "-c", program, str(directory)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert worker.stdout is not None
        lines = [worker.stdout.readline() for _ in range(5 + number * 3)]
        drive.kill()
        lines += worker.stdout.readlines()
        worker.wait(30)
        worker.stdout.close()
        for line in lines:
            if line.endswith(b"\n") and len(line.split()) == 2:
                name, digest = line.split()
                closed[os.fsdecode(name)] = digest
        drive.mount()
        for path in directory.iterdir():
            expected = closed.get(str(path))
            if expected is not None:
                found = hashlib.sha256(path.read_bytes()).hexdigest().encode()
                assert found == expected, path
    here = {str(path) for path in drive.mountpoint.rglob("*") if path.is_file()}
    assert set(closed) <= here
    assert len(closed) > 400


def test_the_index_is_a_view_that_can_be_lost(drive: Drive, source: Path) -> None:
    """S4.3"""
    run("rsync", "-aHAX", f"{source}/", f"{drive.mountpoint}/")
    before = drive.json("versions", drive.mountpoint / "big")
    drive.umount()
    run("rm", "-rf", drive.store / "index")
    drive.mount()
    again = ("rsync", "-aHAXn", "--checksum", "--itemize-changes", f"{source}/")
    assert run(*again, f"{drive.mountpoint}/") == ""
    assert drive.json("versions", drive.mountpoint / "big") == before
