"""A disk that is really full, with the store on a small file system of its own."""

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.programs.drive import Drive, run

pytestmark = pytest.mark.slow

MIB = 1 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", disk)
    try:
        yield disk
    finally:
        run("umount", "-l", disk)  # whatever a failed test left there


@pytest.fixture
def small_drive(small_disk: Path) -> Iterator[Drive]:
    drive = Drive(small_disk)
    try:
        drive.mount()
        yield drive
    finally:
        drive.close()


def fill(directory: Path, digests: dict[str, str]) -> int:
    """Write files of 1 MiB until the disk is full. Returns the errno that ended it."""
    for number in range(1000):
        name = f"file-{number:04}"
        data = os.urandom(MIB)
        try:
            descriptor = os.open(directory / name, os.O_CREAT | os.O_WRONLY, 0o644)
        except OSError as error:
            return error.errno or 0
        try:
            os.write(descriptor, data)
            os.fsync(descriptor)
        except OSError as error:
            return error.errno or 0
        finally:
            with contextlib.suppress(OSError):  # the error was told before, or is told again
                os.close(descriptor)
        digests[name] = hashlib.sha256(data).hexdigest()
    raise AssertionError("the disk took a gibibyte")


def check(directory: Path, digests: dict[str, str]) -> None:
    for name, digest in digests.items():
        assert hashlib.sha256((directory / name).read_bytes()).hexdigest() == digest, name


def test_a_full_disk_says_so_loses_nothing_and_can_be_cleaned(small_drive: Drive) -> None:
    """S3.1 S3.2"""
    root = small_drive.mountpoint
    digests: dict[str, str] = {}
    assert fill(root, digests) == errno.ENOSPC
    assert len(digests) > 50
    check(root, digests)
    with pytest.raises(OSError, match="No space left"):
        (root / "one more").write_bytes(os.urandom(2 * MIB))
    (root / "one more").unlink(missing_ok=True)  # at the very end even a name is refused
    for name in sorted(digests)[::2]:
        (root / name).unlink()
        del digests[name]
    small_drive.remount()
    check(root, digests)
    small_drive.kill()
    small_drive.mount()
    check(root, digests)
    assert set(digests) <= set(os.listdir(root))


def write_on_and_on(directory: Path) -> None:
    """Small files until one is refused: the device is looked at now and then only."""
    for number in range(1000):
        (directory / f"new-{number}").write_bytes(os.urandom(100_000))


def test_somebody_else_fills_the_disk_to_the_last_byte(
    small_disk: Path, small_drive: Drive
) -> None:
    """S3.1 S3.2"""
    root = small_drive.mountpoint
    kept = os.urandom(5 * MIB)
    for name in ("kept", "deleted"):
        (root / name).write_bytes(kept)
    run("sync")
    with (small_disk / "hog").open("wb", buffering=0) as hog:
        for size in (MIB, 4096):
            with contextlib.suppress(OSError):
                while True:
                    hog.write(bytes(size))
    assert os.statvfs(small_disk).f_bavail == 0
    with pytest.raises(OSError, match="No space left"):
        write_on_and_on(root)
    (root / "deleted").unlink()
    assert (root / "kept").read_bytes() == kept
    assert not (root / "deleted").exists()
    small_drive.kill()
    small_drive.mount()
    assert (root / "kept").read_bytes() == kept
    assert not (root / "deleted").exists()
    (small_disk / "hog").unlink()
    small_drive.remount()
    (root / "new").write_bytes(b"works again")
    assert (root / "new").read_bytes() == b"works again"
