"""The store's lock and its space reserve."""

import errno
import os
from pathlib import Path

import pytest

from objfs.base.errors import StoreHeld
from objfs.store.lock import StoreLock
from objfs.store.reserve import ReserveFile


def test_a_second_owner_is_told_who_the_first_is(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with (
        StoreLock.acquire(path, "objfs mount /data"),
        pytest.raises(StoreHeld, match=rf"process {os.getpid()} on .*objfs mount /data"),
    ):
        StoreLock.acquire(path, "objfs fsck")
    StoreLock.acquire(path, "objfs fsck").release()


def test_an_owner_whose_arguments_are_no_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with (
        StoreLock.acquire(path, "objfs mount 'm\udcff'"),
        pytest.raises(StoreHeld, match=r"objfs mount 'm\\udcff'"),
    ):
        StoreLock.acquire(path, "objfs fsck")


def test_what_a_dead_owner_left_means_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text('{"pid": 1, "host": "elsewhere", "command": "' + "x" * 9000)
    lock = StoreLock.acquire(path, "objfs mount")
    assert b'"elsewhere"' not in path.read_bytes()
    path.write_bytes(b"half a li")
    with pytest.raises(StoreHeld, match="another process"):
        StoreLock.acquire(path, "objfs mount")
    lock.release()
    lock.release()


def test_a_child_takes_the_lock_over(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = StoreLock.acquire(path, "objfs mount")
    ready, done = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover
        lock.rewrite()
        os.write(ready[1], b"x")
        os.read(done[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    lock.release()
    with pytest.raises(StoreHeld, match=f"process {child} "):
        StoreLock.acquire(path, "objfs fsck")
    os.write(done[1], b"x")
    os.waitpid(child, 0)
    StoreLock.acquire(path, "objfs fsck").release()
    for descriptor in (*ready, *done):
        os.close(descriptor)


def test_the_reserve_holds_real_blocks_and_gives_them_back(tmp_path: Path) -> None:
    reserve = ReserveFile(tmp_path / "reserve", 1 << 20)
    assert reserve.bytes_held() == 0
    assert not reserve.release()
    assert reserve.restore()
    assert reserve.restore()
    assert reserve.bytes_held() >= 1 << 20
    assert reserve.release()
    assert reserve.bytes_held() == 0
    assert not reserve.release()


def test_a_full_device_leaves_the_reserve_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, offset: int, length: int) -> None:
        os.pwrite(descriptor, b"some", 0)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    reserve = ReserveFile(tmp_path / "reserve", 1 << 20)
    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", full)
        assert not reserve.restore()
        assert reserve.bytes_held() == 0
    assert reserve.restore()


def test_a_reserve_of_nothing(tmp_path: Path) -> None:
    reserve = ReserveFile(tmp_path / "reserve", 0)
    assert reserve.restore()
    assert reserve.bytes_held() == 0
