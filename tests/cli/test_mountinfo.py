"""The kernel's list of mounts, and what the arguments of commands mean by it."""

import os
from pathlib import Path

import pytest

from objfs.cli import mountinfo
from objfs.cli.mountinfo import ALL_BUCKETS, FILESYSTEM, Mount, Source


def mount(point: bytes, source: bytes = b"/store", filesystem: str = FILESYSTEM) -> Mount:
    return Mount(point, b"/", filesystem, source, "0:50")


def test_a_line_is_understood_with_its_octal_escapes() -> None:
    line = (
        rb"36 35 98:0 /sub\040dir /mnt/a\040b\134c\011d rw,noatime shared:1 master:2 - "
        rb"fuse.objfs /st\040ore:photos rw,user_id=0"
    )
    (only,) = mountinfo.parse_mountinfo(line + b"\n")
    assert only == Mount(b"/mnt/a b\\c\td", b"/sub dir", FILESYSTEM, b"/st ore:photos", "98:0")


def test_the_machines_own_list_is_understood() -> None:
    assert any(mount.point == b"/proc" for mount in mountinfo.read_mounts())


@pytest.mark.parametrize(
    "source",
    [
        Source(b"/store"),
        Source(b"/store", "photos"),
        Source(b"/store", "main", b"2026/may"),
        Source(b"/store", ALL_BUCKETS),
        Source(b"/odd:store", "photos", b"a:b"),
        Source(b"/odd:store"),
    ],
)
def test_a_source_comes_back(source: Source) -> None:
    assert mountinfo.parse_source(source.encode(), lambda path: path == source.store) == source


def test_a_source_of_no_store_is_none() -> None:
    assert mountinfo.parse_source(b"/store:photos", lambda path: False) is None


def test_the_longest_mount_counts_and_of_equal_ones_the_last() -> None:
    outer, inner, later = mount(b"/m"), mount(b"/m/in", b"/one"), mount(b"/m/in", b"/two")
    mounts = [mount(b"/", filesystem="ext4"), outer, inner, later]
    assert mountinfo.mount_over(b"/m/in/x", mounts) is later
    assert mountinfo.mount_over(b"/m/inside", mounts) is outer
    assert mountinfo.mount_at(b"/m/in", mounts) is later
    assert mountinfo.mount_at(b"/m/i", mounts) is None


def test_symlinks_to_a_mount_are_followed_and_none_inside_it(tmp_path: Path) -> None:
    point = tmp_path / "mount"
    (point / "real").mkdir(parents=True)
    (point / "link").symlink_to("real")
    (tmp_path / "way").symlink_to("mount")
    mounts = [mount(os.fsencode(point))]
    found = mountinfo.resolve(f"{tmp_path}/way/./link/../link/file", mounts)
    assert found == os.fsencode(point / "link/file")


def test_dots_go_up_from_where_a_link_leads(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a/b")
    assert mountinfo.resolve(f"{tmp_path}/link/../x", []) == os.fsencode(tmp_path / "a/x")


def test_the_last_link_is_followed_only_if_asked(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("there")
    assert mountinfo.resolve(f"{tmp_path}/link", []) == os.fsencode(tmp_path / "link")
    followed = mountinfo.resolve(f"{tmp_path}/link/", [], follow_last=True)
    assert followed == os.fsencode(tmp_path / "there")


def test_a_circle_of_links_ends(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert mountinfo.resolve(f"{tmp_path}/a", [], follow_last=True)
