"""Erasing: what was erased is gone from everywhere, what was not reads as before."""

from typing import Any

import pytest
import trio
import trio.testing

from objfs.base.errors import DirectoryNotEmpty, InvalidRequest, NotFound, Pinned
from objfs.base.types import AttributeChange
from objfs.maint.commands import bucket_delete
from objfs.meta.maintenance import count_usage
from objfs.meta.rows import Erased, Snapshot
from objfs.meta.tables import (
    DENTRY_PAST,
    ERASED,
    EXTENT,
    EXTENT_PAST,
    INODE_PAST,
    SWEEP,
    USAGE,
    VERSION,
    Table,
)
from objfs.volume.pruning import Pruning
from objfs.volume.routes import Route
from objfs.volume.showing import stretches_of
from tests.model.harness import BUCKET
from tests.volume.store import ME, Store


@pytest.fixture
async def store() -> Store:
    made = Store()
    await made.make()
    return made


async def versions(store: Store, name: str, count: int) -> list[int]:
    """A file with that many versions, 3.6 s apart, written in place; their sequences, oldest
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
    with pytest.raises(Pinned, match="snapshot 's'"):
        await store.volume.forget(BUCKET, b"f", f"{ids[1]:x}")
    report = await store.volume.forget(BUCKET, b"f")
    assert (report.entries, report.pinned, report.current) == (1, 1, 1)


async def test_a_bucket_goes_with_its_history(store: Store) -> None:
    """S11.4"""
    await versions(store, "f", 3)
    await store.volume.unlink(store.root, b"f")
    with pytest.raises(DirectoryNotEmpty):
        await bucket_delete(store.volume, BUCKET)
    await bucket_delete(store.volume, BUCKET, force=True)
    assert {name for name, _ in store.dump()} == {"moment"}


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


async def test_a_time_without_attributes_reads_the_next_that_are_kept(store: Store) -> None:
    """S11.7"""
    ids = await versions(store, "f", 2)
    ino = store.volume.lookup(store.root, b"f").ino
    for mode in (0o600, 0o640):  # states that begin and end while the second version is current
        store.clock.advance(20_000)
        await store.volume.setattr(ino, AttributeChange(mode=mode))
    between = store.volume.core.database.sequence - 1
    assert store.volume.at(between).getattr(ino).mode & 0o777 == 0o600
    store.clock.advance(20_000)
    await store.put("f", b"the third")
    kept = store.volume.at(ids[0]).getattr(ino)
    await store.volume.erase(BUCKET, b"f", [ids[1]])
    assert store.volume.at(ids[0]).getattr(ino) == kept
    assert store.volume.at(between).getattr(ino).mode & 0o777 == 0o640
    assert store.volume.at(between).getattr(ino).size == kept.size
    with pytest.raises(NotFound):
        store.volume.at(store.volume.core.database.sequence).getattr(1 << 40)


async def test_what_a_crash_left_is_finished_in_the_background(store: Store) -> None:
    """S11.5: hidden entries are purged and contents swept when the store is used again, and what is
    erased later is swept too."""
    ids = await versions(store, "f", 3)
    core = store.volume.core
    with core.change() as change:  # as after a crash between hiding and purging
        change.put(Erased(store.volume.bucket(BUCKET).id, b"f", ids[0], change.sequence))
    store.crash(None)
    volume = store.again()
    assert volume.core.erased
    assert sequences(store, "f") == ids[1:]
    async with trio.open_nursery() as nursery:
        await nursery.start(volume.run)
        await trio.testing.wait_all_tasks_blocked()
        assert rows(store, ERASED, SWEEP) == 0
        assert rows(store, VERSION, EXTENT, EXTENT_PAST) == 4
        await volume.erase(BUCKET, b"f", ids[1:2])
        await trio.testing.wait_all_tasks_blocked()
        assert rows(store, VERSION, EXTENT, EXTENT_PAST) == 2
        nursery.cancel_scope.cancel()
    assert store.volume.core.erased is False
    await check_usage(store)


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


async def test_a_forgotten_directory_is_not_looked_at_after_each_name(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume, looked = store.volume, list[int]()
    directory = volume.mkdir(store.root, b"d", 0o755, ME).ino
    for n in range(20):
        await store.put(f"f{n}", b"x", directory)
    for n in range(20):
        await volume.unlink(directory, b"f%d" % n)
    volume.rmdir(store.root, b"d")
    is_empty = Pruning._is_empty

    async def counted(pruning: Pruning, ino: int, route: Route) -> bool:
        looked.append(ino)
        return await is_empty(pruning, ino, route)

    monkeypatch.setattr(Pruning, "_is_empty", counted)
    await volume.forget(BUCKET, b"d")
    assert looked == [directory]
    assert not volume.core.database.scan(DENTRY_PAST, (store.root,))
