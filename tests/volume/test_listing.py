"""Listing a directory page by page, with the next page read ahead."""

import os
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from objfs.base.types import Caller
from objfs.volume.volume import Volume
from tests.model.harness import BUCKET, Harness

CALLER = Caller(0, 0, 0)


@pytest.fixture
async def volume() -> AsyncIterator[Volume]:
    """A volume whose root holds the files f0 to f9, with its background tasks running. The
    directory's own entry, which is not shown, takes a place in its first page."""
    volume = await Harness().make()
    for number in range(10):
        handle, _ = volume.create(volume.root(BUCKET), b"f%d" % number, 0o644, os.O_RDWR, CALLER)
        await volume.release(handle)
    async with trio.open_nursery() as nursery:
        await nursery.start(volume.run)
        yield volume
        nursery.cancel_scope.cancel()
    await volume.close()


def count_scans(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every scan of the index from now on."""
    scans: list[object] = []
    scan = volume.core.database.scan

    def counted(*arguments: object, **named: object) -> object:
        scans.append(arguments)
        return scan(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(volume.core.database, "scan", counted)
    return scans


async def test_the_next_page_is_read_ahead(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = volume.listing(volume.root(BUCKET))
    first = listing.page(0, 4)
    listing.look_ahead(first[-1][1], 4)
    await trio.testing.wait_all_tasks_blocked()
    scans = count_scans(volume, monkeypatch)
    second = listing.page(first[-1][1], 4)
    assert not scans
    assert [name for name, _, _ in first + second] == [b"f%d" % number for number in range(7)]
    third = listing.page(second[-1][1], 4)
    assert scans
    assert [name for name, _, _ in third] == [b"f7", b"f8", b"f9"]
    assert listing.page(third[-1][1], 4) == []


async def test_a_name_that_was_removed_meanwhile_does_not_come_back(volume: Volume) -> None:
    root = volume.root(BUCKET)
    listing = volume.listing(root)
    first = listing.page(0, 4)
    listing.look_ahead(first[-1][1], 4)
    await trio.testing.wait_all_tasks_blocked()
    await volume.unlink(root, b"f5")
    assert [name for name, _, _ in listing.page(first[-1][1], 3)] == [b"f3", b"f4", b"f6"]


async def test_another_place_than_the_one_read_ahead(volume: Volume) -> None:
    listing = volume.listing(volume.root(BUCKET))
    first = listing.page(0, 4)
    listing.look_ahead(first[-1][1], 4)
    await trio.testing.wait_all_tasks_blocked()
    assert listing.page(0, 4) == first  # rewinddir(3)


async def test_what_an_open_file_has_not_logged_is_shown(volume: Volume) -> None:
    root = volume.root(BUCKET)
    listing = volume.listing(root)
    listing.look_ahead(0, 3)
    await trio.testing.wait_all_tasks_blocked()
    handle = await volume.open(volume.lookup(root, b"f1").ino, os.O_RDWR)
    assert volume.write_nowait(handle, 0, b"12345")
    assert [inode.size for _, _, inode in listing.page(0, 3)] == [0, 5]
    await volume.release(handle)


async def test_the_index_is_read_ahead_now_and_then(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    core = volume.core
    monkeypatch.setattr(core.database.engine, "read_ahead", lambda: asked.append(1.0))
    for _ in range(3):
        core.read_index_ahead()
        await trio.testing.wait_all_tasks_blocked()
    assert len(asked) == 1


async def test_an_error_of_working_ahead_ends_nothing(volume: Volume) -> None:
    async def fail() -> None:
        raise RuntimeError("nobody waits for this")

    volume.core.run_soon(fail)
    await trio.testing.wait_all_tasks_blocked()
    assert volume.lookup(volume.root(BUCKET), b"f1")
