"""Erasing: what was erased is gone from everywhere, what was not reads as before."""

import os
from typing import Any

import pytest

from objfs.base.errors import Busy, InvalidRequest, NotFound, StaleInode
from objfs.meta.maintenance import count_usage
from objfs.meta.rows import Snapshot
from objfs.meta.tables import (
    DENTRY_PAST,
    ERASED,
    EXTENT,
    EXTENT_PAST,
    INODE_PAST,
    ORPHAN,
    PURGE,
    SWEEP,
    USAGE,
    VERSION,
    Table,
)
from objfs.volume.showing import stretches_of
from objfs.volume.volume import PastFile
from tests.model.harness import BUCKET
from tests.volume.store import ME, Store


@pytest.fixture
async def store() -> Store:
    made = Store()
    await made.make()
    return made


async def versions(store: Store, name: str, count: int) -> list[int]:
    """A file with that many versions of an hour each, written in place; their sequences, oldest
    first."""
    for number in range(count):
        await store.put(name, f"{name} {number}".encode())
        store.clock.advance(3600)
    return sequences(store, name)


def sequences(store: Store, name: str) -> list[int]:
    entries = store.volume.versions(BUCKET, name.encode())
    return [entry.sequence for entry in reversed(entries) if not entry.deleted]


def rows(store: Store, *tables: Table[Any]) -> int:
    names = {table.name for table in tables}
    return sum(name in names for name, _ in store.dump())


async def check_usage(store: Store) -> None:
    counted = await count_usage(store.volume.core.database)
    kept = {row.bucket: row for row in store.volume.core.database.scan(USAGE)}
    assert counted.usage == kept


async def test_an_erased_version_is_gone(store: Store) -> None:
    ids = await versions(store, "f", 4)
    report = await store.volume.erase(BUCKET, b"f", ids[1:3])
    assert (report.entries, report.versions, report.bytes) == (2, 2, 6)
    assert await store.history("f") == [b"f 3", b"f 0"]
    assert sequences(store, "f") == [ids[0], ids[3]]
    with pytest.raises(NotFound):
        store.volume.open_version(BUCKET, b"f", f"{ids[1]:x}")
    view = store.volume.at(ids[2])
    assert bytes(await view.read(view.lookup(store.root, b"f").ino, 0, 10)) == b"f 0"
    await store.volume.sweep()
    assert rows(store, EXTENT, EXTENT_PAST, VERSION) == 4
    assert rows(store, ERASED, SWEEP) == 0
    await check_usage(store)


async def test_erasing_the_first_versions_leaves_nothing_before_the_next(store: Store) -> None:
    ids = await versions(store, "f", 3)
    await store.volume.erase(BUCKET, b"f", ids[:2])
    with pytest.raises(NotFound):
        store.volume.at(ids[1]).lookup(store.root, b"f")
    assert store.volume.at(ids[0]).list_directory(store.root) == []
    assert store.volume.at(ids[2]).lookup(store.root, b"f").size == 3
    assert await store.history("f") == [b"f 2"]
    assert rows(store, ERASED) == 0
    await check_usage(store)


async def test_the_current_version_stays(store: Store) -> None:
    ids = await versions(store, "f", 2)
    report = await store.volume.erase(BUCKET, b"f", ids)
    assert (report.entries, report.current) == (1, 1)
    assert await store.get("f") == b"f 1"


async def test_a_deleted_file_goes_with_its_deletion(store: Store) -> None:
    ids = await versions(store, "f", 3)
    await store.volume.unlink(store.root, b"f")
    await store.volume.erase(BUCKET, b"f", ids)
    with pytest.raises(NotFound):
        store.volume.versions(BUCKET, b"f")
    await store.volume.sweep()
    left = (VERSION, EXTENT, EXTENT_PAST, DENTRY_PAST, ERASED, SWEEP)
    assert rows(store, *left) == 0
    assert store.volume.core.database.scan(INODE_PAST, (store.root,))
    await check_usage(store)


async def test_what_a_snapshot_shows_stays(store: Store) -> None:
    ids = await versions(store, "f", 3)
    pin(store, ids[1])
    report = await store.volume.erase(BUCKET, b"f", ids)
    assert (report.entries, report.pinned, report.current) == (1, 1, 1)
    assert await store.history("f") == [b"f 2", b"f 1"]


async def test_a_dry_run_tells_the_same_and_changes_nothing(store: Store) -> None:
    ids = await versions(store, "f", 4)
    before = store.dump()
    dry = await store.volume.erase(BUCKET, b"f", ids, dry=True)
    assert store.dump() == before
    assert dry == await store.volume.erase(BUCKET, b"f", ids)
    assert dry.entries == 3


# --- forget ---------------------------------------------------------------------------------------


async def test_forgetting_a_version(store: Store) -> None:
    """S11.1, S11.3"""
    ids = await versions(store, "f", 3)
    report = await store.volume.forget(BUCKET, b"f", f"{ids[1]:x}")
    assert (report.entries, report.versions) == (1, 1)
    assert sequences(store, "f") == [ids[0], ids[2]]
    with pytest.raises(NotFound, match="objfs versions"):
        await store.volume.forget(BUCKET, b"f", f"{ids[1]:x}")
    with pytest.raises(InvalidRequest, match="delete the file first"):
        await store.volume.forget(BUCKET, b"f", f"{ids[2]:x}")
    other = await versions(store, "g", 1)
    with pytest.raises(NotFound):
        await store.volume.forget(BUCKET, b"f", f"{other[0]:x}")
    await store.volume.unlink(store.root, b"f")
    deletion = store.volume.versions(BUCKET, b"f")[0]
    assert deletion.deleted
    with pytest.raises(InvalidRequest, match="deletion"):
        await store.volume.forget(BUCKET, b"f", deletion.version_id)


async def test_a_pinned_version_is_not_forgotten(store: Store) -> None:
    """S11.3"""
    ids = await versions(store, "f", 3)
    pin(store, ids[1])
    with pytest.raises(Busy, match="snapshot 's'"):
        await store.volume.forget(BUCKET, b"f", f"{ids[1]:x}")
    report = await store.volume.forget(BUCKET, b"f")
    assert (report.entries, report.pinned, report.current) == (1, 1, 1)


def pin(store: Store, sequence: int, prefix: bytes = b"") -> None:
    core = store.volume.core
    bucket = store.volume.bucket(BUCKET).id if prefix else 0
    with core.change() as change:
        change.put(Snapshot("s", sequence, 0, bucket, prefix))
    core.pins.reload()


async def test_the_history_of_a_current_file(store: Store) -> None:
    """S11.2"""
    await versions(store, "f", 5)
    ino = store.volume.lookup(store.root, b"f").ino
    store.volume.setxattr(ino, b"user.secret", b"one")
    store.clock.advance(3600)
    store.volume.setxattr(ino, b"user.secret", b"two")
    await store.volume.forget(BUCKET, b"f")
    assert await store.history("f") == [b"f 4"]
    assert store.volume.core.database.scan(INODE_PAST, (ino,)) == []
    assert rows(store, EXTENT, EXTENT_PAST, VERSION, SWEEP, ERASED) == 2
    await check_usage(store)


async def tree(store: Store) -> None:
    """old/ renamed to new/, with files, a deleted directory and special files beneath."""
    volume = store.volume
    old = volume.mkdir(store.root, b"old", 0o755, ME).ino
    below = volume.mkdir(old, b"below", 0o755, ME).ino
    for number in range(3):
        await store.put("f", b"%d" % number, old)
        await store.put("g", b"%d" % number, below)
        volume.symlink(below, b"l%d" % number, b"target", ME)
        store.clock.advance(3600)
    volume.mknod(below, b"fifo", 0o10644, 0, ME)
    await volume.rename(old, b"f", old, b"renamed")
    store.clock.advance(3600)
    await volume.rename(store.root, b"old", store.root, b"new")
    store.clock.advance(3600)
    for name in (b"g", b"l0", b"l1", b"l2", b"fifo"):
        await volume.unlink(below, name)
    volume.rmdir(old, b"below")
    store.clock.advance(3600)


async def test_a_directory_is_forgotten_with_all_that_lay_beneath(store: Store) -> None:
    """S11.2, S11.4"""
    await tree(store)
    database = store.volume.core.database
    everything = range(1, database.sequence + 1)
    assert any(shows(store, b"old", sequence) for sequence in everything)
    await store.volume.forget(BUCKET, b"old")
    assert not any(shows(store, b"old", sequence) for sequence in everything)
    assert any(shows(store, b"new/below/g", sequence) for sequence in everything)
    assert [e.sequence for e in store.volume.versions(BUCKET, b"new/below/g")]
    await store.volume.forget(BUCKET, b"new")
    assert database.scan(DENTRY_PAST) == []
    new = store.volume.lookup(store.root, b"new").ino
    assert store.names(new) == [b"renamed"]
    assert await store.get("renamed", new) == b"2"
    assert {row.ino for row in database.scan(INODE_PAST)} == {store.root}
    assert rows(store, VERSION, EXTENT, EXTENT_PAST) == 2
    assert rows(store, ERASED, SWEEP) == 0
    await check_usage(store)


def shows(store: Store, path: bytes, sequence: int) -> bool:
    try:
        store.volume.at(sequence).walk(store.root, path)
    except NotFound:
        return False
    return True


async def test_a_directory_that_shows_anything_is_not_erased(store: Store) -> None:
    await tree(store)
    before = store.dump()
    for key in (b"old/", b"old/below/", b"new/", b"new/below/"):
        found = stretches_of(store.volume.core.database, store.root, key)
        await store.volume.erase(BUCKET, key, [stretch.begin for stretch in found])
    assert store.dump() == before


async def test_a_deleted_directory_is_forgotten(store: Store) -> None:
    await tree(store)
    new = store.volume.lookup(store.root, b"new").ino
    await store.volume.unlink(new, b"renamed")
    store.volume.rmdir(store.root, b"new")
    dry = await store.volume.forget(BUCKET, b"", dry=True)
    assert (await store.volume.forget(BUCKET, b"")).entries == dry.entries
    kept = (DENTRY_PAST, VERSION, EXTENT, EXTENT_PAST, ERASED, SWEEP, INODE_PAST)
    assert rows(store, *kept) == 0
    await check_usage(store)
    with pytest.raises(NotFound):
        await store.volume.forget(BUCKET, b"new")


async def test_a_snapshot_of_a_path_keeps_what_is_beneath_it(store: Store) -> None:
    await tree(store)
    pin(store, store.volume.core.database.sequence, b"new")
    sequence = store.volume.core.database.sequence - 7
    with store.volume.core.change() as change:
        change.put(Snapshot("t", sequence, 0, store.volume.bucket(BUCKET).id, b"new/below"))
    store.volume.core.pins.reload()
    before = await everything_at(store, b"new/below", sequence)
    assert before
    await store.volume.forget(BUCKET, b"")
    assert await everything_at(store, b"new/below", sequence) == before
    await check_usage(store)


async def everything_at(store: Store, path: bytes, sequence: int) -> dict[bytes, object]:
    view = store.volume.at(sequence)
    directory = view.walk(store.root, path).ino
    found: dict[bytes, object] = {}
    for name, inode in view.list_directory(directory):
        data = bytes(await view.read(inode.ino, 0, 100)) if inode.size and inode.sealed else b""
        found[name] = (inode, data, view.xattrs(inode.ino))
    return found


# --- what is in use -------------------------------------------------------------------------------


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


async def test_a_time_without_attributes_reads_the_next_that_are_kept(store: Store) -> None:
    """S11.7"""
    ids = await versions(store, "f", 3)
    ino = store.volume.lookup(store.root, b"f").ino
    kept = store.volume.at(ids[0]).getattr(ino)
    following = store.volume.at(ids[2]).getattr(ino)
    await store.volume.erase(BUCKET, b"f", [ids[1]])
    assert store.volume.at(ids[0]).getattr(ino) == kept
    between = store.volume.at(ids[1]).getattr(ino)
    assert between.mtime_ns == following.mtime_ns
    assert between.size == kept.size
    with pytest.raises(NotFound):
        store.volume.at(store.volume.core.database.sequence).getattr(1 << 40)


async def test_many_states_and_versions_are_erased_in_batches(store: Store) -> None:
    """More rows of one inode than one change may have."""
    count = 300
    await versions(store, "f", count)
    ino = store.volume.lookup(store.root, b"f").ino
    for number in range(count):
        store.volume.setxattr(ino, b"user.n", b"%d" % number)
        store.clock.advance(20)
    await store.put("f", b"last")
    store.clock.advance(3600)
    await store.volume.unlink(store.root, b"f")
    report = await store.volume.forget(BUCKET, b"f")
    assert report.entries == report.versions == count + 1
    left = (VERSION, EXTENT, EXTENT_PAST, DENTRY_PAST, ERASED, SWEEP)
    assert rows(store, *left) == 0
    assert not store.volume.core.database.scan(INODE_PAST, (ino,))
    await check_usage(store)
