"""Where a mount differs from a local disk, as docs/SEMANTICS.md says it does."""

import errno
import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.programs.drive import Drive

pytestmark = pytest.mark.slow


def test_s7_2_reading_leaves_the_access_time(drive: Drive) -> None:
    """S7.2"""
    path = drive.mountpoint / "file"
    path.write_bytes(b"x" * 10_000)
    os.utime(path, (1_000_000_000, 2_000_000_000))
    drive.remount()
    assert path.read_bytes() == b"x" * 10_000
    assert path.stat().st_atime == 1_000_000_000
    drive.remount()
    assert path.stat().st_atime == 1_000_000_000


def locker(path: Path, call: str) -> str:
    """What another process gets that asks for the lock without waiting."""
    program = (
        "import fcntl, sys\n"
        "file = open(sys.argv[1], 'r+b')\n"
        "try:\n"
        f"    fcntl.{call}(file, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "    print('got it')\n"
        "except BlockingIOError:\n"
        "    print('held')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize("call", ["flock", "lockf"])
def test_s7_3_locks_hold_between_processes_of_the_mount(drive: Drive, call: str) -> None:
    """S7.3"""
    path = drive.mountpoint / "file"
    with path.open("w+b") as file:
        getattr(fcntl, call)(file, fcntl.LOCK_EX)
        assert locker(path, call) == "held"
        getattr(fcntl, call)(file, fcntl.LOCK_UN)
        assert locker(path, call) == "got it"


def test_s7_5_the_name_of_the_past_is_reserved(drive: Drive) -> None:
    """S7.5"""
    reserved = drive.mountpoint / ".objfs"
    with pytest.raises(FileExistsError):
        reserved.mkdir()
    with pytest.raises(FileExistsError):
        reserved.symlink_to("x")
    with pytest.raises(PermissionError):
        reserved.rmdir()
    with pytest.raises(PermissionError):
        reserved.rename(drive.mountpoint / "mine")
    assert ".objfs" not in os.listdir(drive.mountpoint)
    (drive.mountpoint / "directory").mkdir()
    (drive.mountpoint / "directory" / ".objfs").touch()


def test_s7_1_what_pyfuse3_lacks_falls_back_or_fails(drive: Drive) -> None:
    """S7.1"""
    path = drive.mountpoint / "file"
    with path.open("w+b") as file:
        file.write(b"x" * 100)
        file.flush()
        with pytest.raises(OSError, match="not supported") as caught:
            fallocate_keeping_size(file.fileno(), 1 << 20)
        assert caught.value.errno == errno.EOPNOTSUPP
        assert os.lseek(file.fileno(), 0, os.SEEK_DATA) == 0  # the kernel's answer: all is data
        assert os.lseek(file.fileno(), 0, os.SEEK_HOLE) == 100
        os.posix_fallocate(file.fileno(), 0, 200)  # the C library writes instead
    assert path.stat().st_size == 200
    started = time.monotonic()
    copy = drive.mountpoint / "copy"
    with path.open("rb") as source, copy.open("wb") as target:
        assert os.copy_file_range(source.fileno(), target.fileno(), 200) == 200
    assert copy.read_bytes() == path.read_bytes()
    assert time.monotonic() - started < 30


def fallocate_keeping_size(descriptor: int, size: int) -> None:
    """fallocate(2) with FALLOC_FL_KEEP_SIZE, which no library emulates."""
    import ctypes  # noqa: PLC0415 - this test only

    library = ctypes.CDLL(None, use_errno=True)
    if library.fallocate(descriptor, 1, ctypes.c_long(0), ctypes.c_long(size)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
