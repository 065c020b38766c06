"""Erasing: what was erased is gone from everywhere, what was not reads as before."""

from typing import Any

import pytest

from objfs.base.errors import NotFound
from objfs.meta.maintenance import count_usage
from objfs.meta.rows import Snapshot
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
from tests.model.harness import BUCKET
from tests.volume.store import Store


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
    core = store.volume.core
    with core.change() as change:
        change.put(Snapshot("s", ids[1], 0))
    core.pins.reload()
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
