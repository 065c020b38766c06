"""Reading the kernel's list of mounts, and mount points that cannot be used."""

import os
from pathlib import Path

import pytest

from objfs.base.errors import MountError
from objfs.fuse.mount_point import (
    Mounted,
    abort_connection,
    mounted_at,
    parse_mountinfo,
    prepare,
    tune_kernel,
    unmount,
)

LIST = (
    b"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
    rb"36 22 0:42 / /mnt/a\040b\134c rw,nosuid shared:2 master:1 - fuse.objfs /st\040ore rw" + b"\n"
)


def test_the_list_is_parsed() -> None:
    assert parse_mountinfo(LIST) == [
        Mounted(b"/", "ext4", b"/dev/sda1", "8:1"),
        Mounted(b"/mnt/a b\\c", "fuse.objfs", b"/st ore", "0:42"),
    ]


def test_the_root_is_mounted_and_a_new_directory_is_not(tmp_path: Path) -> None:
    assert mounted_at(b"/") is not None
    assert mounted_at(os.fsencode(tmp_path)) is None


def test_a_good_mount_point_loses_its_symlinks(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert prepare(tmp_path / "link") == os.fsencode(tmp_path / "real")


def test_a_missing_mount_point(tmp_path: Path) -> None:
    with pytest.raises(MountError, match="missing; make it with: mkdir"):
        prepare(tmp_path / "none")


def test_a_mount_point_that_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MountError, match="has to be a directory"):
        prepare(tmp_path / "file")


def test_a_busy_mount_point() -> None:
    with pytest.raises(MountError, match=r"busy: .* is mounted there"):
        prepare(Path("/proc"))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_what_is_not_mounted_cannot_be_unmounted(tmp_path: Path) -> None:
    with pytest.raises(MountError, match="cannot be unmounted"):
        unmount(os.fsencode(tmp_path), lazy=False)


def test_settings_of_a_device_that_is_not_there() -> None:
    assert not tune_kernel("0:999999")
    assert not abort_connection("0:999999")
