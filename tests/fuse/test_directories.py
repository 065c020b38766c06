"""Listing directories: in pieces of any size, and while they change."""

import stat

import pytest

from objfs.base.errors import NotADirectory
from objfs.fuse.operations import ROOT_ID
from objfs.volume.listing import Entry
from tests.fuse.conftest import Kernel
from tests.fuse.test_operations import USER, make, names


async def test_a_directory_is_listed_in_pieces_of_any_size(kernel: Kernel) -> None:
    do = kernel.do
    expected = [b"%03d" % number for number in range(150)]
    for name in expected:
        do.mknod(ROOT_ID, name, stat.S_IFREG | 0o644, 0, USER)
    for taken in (1, 2, 3, 33, 149, 152, 500):
        fh, position, listed = do.opendir(ROOT_ID), 0, []
        while True:
            # The kernel's buffer is full after so many; the one that did not fit comes again.
            piece: list[Entry] = []
            for entry in do.readdir(fh, position):
                if len(piece) == taken:
                    break
                piece.append(entry)
            if not piece:
                break
            listed += [name for name, _, _ in piece]
            position = piece[-1][1]
        assert listed == [b".", b"..", *expected]
        do.releasedir(fh)


async def test_a_listing_is_right_while_the_directory_changes(kernel: Kernel) -> None:
    do = kernel.do
    for number in range(60):
        do.mknod(ROOT_ID, b"%03d" % number, stat.S_IFREG | 0o644, 0, USER)
    fh, seen, position = do.opendir(ROOT_ID), [], 0
    while piece := [entry for entry, _ in zip(do.readdir(fh, position), range(7), strict=False)]:
        for name, cookie, _ in piece:
            position = cookie
            if name in (b".", b".."):
                continue
            seen.append(name)
            await do.unlink(ROOT_ID, name)  # what `find -delete` does
            # What is gone is never given out again: the kernel would believe in it for a day.
            other = b"%03d" % (int(name) + 1)
            if int(name) % 10 == 3:
                await do.unlink(ROOT_ID, other)
                break
    assert seen == [b"%03d" % number for number in range(60) if number % 10 != 4]
    assert names(do) == []


async def test_an_entry_removed_between_two_answers_is_not_given_out(kernel: Kernel) -> None:
    do = kernel.do
    for name in (b"a", b"b", b"c"):
        do.mknod(ROOT_ID, name, stat.S_IFREG | 0o644, 0, USER)
    fh = do.opendir(ROOT_ID)
    first = [entry for entry, _ in zip(do.readdir(fh, 0), range(3), strict=False)]
    assert first[-1][0] == b"a"
    await do.unlink(ROOT_ID, b"b")
    assert [name for name, _, _ in do.readdir(fh, first[-1][1])] == [b"c"]


async def test_rewinding_shows_what_came_since(kernel: Kernel) -> None:
    do = kernel.do
    do.mknod(ROOT_ID, b"a", stat.S_IFREG | 0o644, 0, USER)
    fh = do.opendir(ROOT_ID)
    assert len(list(do.readdir(fh, 0))) == 3
    do.mknod(ROOT_ID, b"b", stat.S_IFREG | 0o644, 0, USER)
    assert [name for name, _, _ in do.readdir(fh, 0)] == [b".", b"..", b"a", b"b"]


async def test_dot_entries_have_the_right_inodes(kernel: Kernel) -> None:
    one = kernel.do.mkdir(ROOT_ID, b"one", 0o755, USER).ino
    two = kernel.do.mkdir(one, b"two", 0o755, USER).ino
    entries = {name: inode.ino for name, _, inode in kernel.do.readdir(kernel.do.opendir(two), 0)}
    assert entries == {b".": two, b"..": one}


async def test_only_directories_are_opened_as_such(kernel: Kernel) -> None:
    _, ino = make(kernel.do, b"f")
    with pytest.raises(NotADirectory):
        kernel.do.opendir(ino)


async def test_fsyncdir_makes_durable(kernel: Kernel) -> None:
    fh = kernel.do.opendir(ROOT_ID)
    kernel.do.mkdir(ROOT_ID, b"d", 0o755, USER)
    log = kernel.volume.core.log
    assert log.synced_sequence < log.last_sequence
    await kernel.do.fsyncdir(fh)
    assert log.synced_sequence == log.last_sequence
