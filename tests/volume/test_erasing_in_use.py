"""Erasing what is open, shared or read: nobody ever gets other bytes."""

import os

import pytest

from objfs.base.errors import NotFound, StaleInode
from objfs.meta.tables import (
    DENTRY_PAST,
    EXTENT,
    EXTENT_PAST,
    INODE_PAST,
    ORPHAN,
    PURGE,
    SWEEP,
    VERSION,
)
from objfs.volume.volume import PastFile
from tests.model.harness import BUCKET
from tests.volume.store import ME, Store
from tests.volume.test_erasing import check_usage, rows, versions


@pytest.fixture
async def store() -> Store:
    made = Store()
    await made.make()
    return made


async def test_an_open_file_without_a_name_keeps_its_bytes(store: Store) -> None:
    """S11.6"""
    await versions(store, "f", 3)
    volume = store.volume
    handle = await volume.open(volume.lookup(store.root, b"f").ino, os.O_RDWR)
    await volume.unlink(store.root, b"f")
    await volume.forget(BUCKET, b"f")
    assert rows(store, VERSION) == 0
    assert bytes(await volume.read(handle, 0, 10)) == b"f 2"
    await volume.write(handle, 1, b"xx")
    await volume.fsync(handle.ino)
    assert bytes(await volume.read(handle, 0, 10)) == b"fxx"
    await volume.release(handle)
    await volume.sweep()
    assert rows(store, EXTENT, EXTENT_PAST, VERSION, DENTRY_PAST, ORPHAN, SWEEP, PURGE) == 0
    assert not volume.core.database.scan(INODE_PAST, (handle.ino,))
    await check_usage(store)


async def test_what_is_written_and_not_sealed_yet_stays(store: Store) -> None:
    await versions(store, "f", 3)
    volume = store.volume
    handle = await volume.open(volume.lookup(store.root, b"f").ino, os.O_RDWR)
    await volume.write(handle, 3, b" and more")
    await volume.fsync(handle.ino)
    await volume.forget(BUCKET, b"f")
    assert bytes(await volume.read(handle, 0, 20)) == b"f 2 and more"
    assert await store.history("f") == [b"f 2"]
    await store.close_handle(handle)
    await volume.forget(BUCKET, b"f")
    assert await store.get("f") == b"f 2 and more"
    assert rows(store, VERSION) == 1
    await check_usage(store)


async def test_an_entry_stays_hidden_when_the_version_before_it_is_kept(store: Store) -> None:
    """Of a file in a renamed directory: what it had become at the renaming is erased under both
    paths, so at the second one nothing is left there, and not the version before."""
    volume = store.volume
    old = volume.mkdir(store.root, b"x", 0o755, ME).ino
    for data in (b"one", b"two"):
        await store.put("f", data, old)
        store.clock.advance(3600)
    first = [entry.sequence for entry in volume.versions(BUCKET, b"x/f")]
    await volume.rename(store.root, b"x", store.root, b"y")
    renamed = volume.core.database.sequence
    store.clock.advance(3600)
    await store.put("f", b"three", old)
    last = volume.core.database.sequence
    await volume.erase(BUCKET, b"y/f", [renamed])
    await volume.erase(BUCKET, b"x/f", first[:1])
    assert rows(store, VERSION) == 2
    assert [entry.sequence for entry in volume.versions(BUCKET, b"y/f")] == [last]
    for sequence in range(renamed, last):
        with pytest.raises(NotFound):
            volume.at(sequence).walk(store.root, b"y/f")
    assert volume.at(last).walk(store.root, b"y/f").size == 5
    assert volume.at(renamed - 1).walk(store.root, b"x/f").size == 3


async def test_an_open_file_that_shares_bytes_without_a_name(store: Store) -> None:
    ids = await versions(store, "f", 2)
    volume = store.volume
    await volume.restore(BUCKET, b"f", f"{ids[0]:x}", (BUCKET, b"g"))
    handle = await volume.open(volume.lookup(store.root, b"g").ino, os.O_RDWR)
    for name in (b"f", b"g"):
        await volume.unlink(store.root, name)
        await volume.forget(BUCKET, name)
    assert bytes(await volume.read(handle, 0, 10)) == b"f 0"
    await volume.write(handle, 1, b"xx")
    await volume.fsync(handle.ino)
    await volume.sweep()
    assert bytes(await volume.read(handle, 0, 10)) == b"fxx"
    await volume.release(handle)
    await volume.sweep()
    assert rows(store, EXTENT, EXTENT_PAST, VERSION, DENTRY_PAST, ORPHAN, SWEEP, PURGE) == 0


async def test_an_orphan_of_a_crash_leaves_nothing(store: Store) -> None:
    """S11.5"""
    await versions(store, "f", 2)
    handle = await store.volume.open(store.volume.lookup(store.root, b"f").ino, os.O_RDWR)
    await store.volume.unlink(store.root, b"f")
    await store.volume.forget(BUCKET, b"f")
    assert handle.ino in store.volume.core.open_inodes
    store.crash(None)
    store.again()
    await store.volume.sweep()
    assert rows(store, EXTENT, EXTENT_PAST, VERSION, DENTRY_PAST, ORPHAN, SWEEP, PURGE) == 0


@pytest.mark.parametrize("first", ["f", "g"])
async def test_a_restored_file_and_its_origin_outlive_each_other(store: Store, first: str) -> None:
    """S11.4"""
    ids = await versions(store, "f", 3)
    volume = store.volume
    await volume.restore(BUCKET, b"f", f"{ids[1]:x}", (BUCKET, b"g"))
    other = "g" if first == "f" else "f"
    expected = await store.get(other)
    await volume.unlink(store.root, first.encode())
    await volume.forget(BUCKET, first.encode())
    assert await store.get(other) == expected
    ino = volume.lookup(store.root, other.encode()).ino
    handle = await volume.open(ino, os.O_RDWR)
    await volume.write(handle, 1, b"!")
    await store.close_handle(handle)
    assert await store.get(other) == expected[:1] + b"!" + expected[2:]
    store.clock.advance(3600)
    await volume.unlink(store.root, other.encode())
    await volume.forget(BUCKET, other.encode())
    assert rows(store, EXTENT, EXTENT_PAST, VERSION, DENTRY_PAST, SWEEP) == 0


async def test_a_version_that_is_erased_while_it_is_read_gives_an_error(store: Store) -> None:
    """S11.6"""
    size = 9 << 20
    await store.put("f", b"a" * size)
    store.clock.advance(3600)
    await store.put("f", b"b")
    old = store.volume.versions(BUCKET, b"f")[1]
    past = store.volume.open_version(BUCKET, b"f", old.version_id)
    assert bytes(await past.read(0, 10)) == b"a" * 10
    await store.volume.forget(BUCKET, b"f")
    with pytest.raises(StaleInode, match="erased"):
        await read_all(past)


async def read_all(past: PastFile) -> None:
    """What was looked up before may still be read; never anything else than its bytes."""
    offset = 10
    while offset < past.size:
        data = bytes(await past.read(offset, 1 << 20))
        assert data == b"a" * len(data)
        offset += len(data)


async def test_a_version_that_is_erased_before_it_is_restored(store: Store) -> None:
    ids = await versions(store, "f", 3)
    restore = store.volume.restore
    await store.put("g", b"g")
    opened = await store.volume.open(store.volume.lookup(store.root, b"g").ino, os.O_RDWR)
    await store.volume.write(opened, 0, b"h")
    seal = store.volume._writeback.seal_displaced

    async def erase_meanwhile(ino: int) -> None:
        await seal(ino)
        await store.volume.forget(BUCKET, b"f")

    store.volume._writeback.seal_displaced = erase_meanwhile  # type: ignore[method-assign]
    with pytest.raises(NotFound, match="erased"):
        await restore(BUCKET, b"f", f"{ids[0]:x}", (BUCKET, b"g"))
    assert await store.get("g") == b"h"
