"""What a store holds, counted from its rows, and what forgetting gives back of it."""

import os

import pytest

from objfs.base.errors import NotFound
from objfs.maint.disk_usage import DiskUsage, disk_usage
from objfs.meta.rows import Snapshot
from objfs.meta.tables import EXTENT, EXTENT_PAST
from tests.model.harness import BUCKET
from tests.volume.store import ME, Store


@pytest.fixture
async def store() -> Store:
    made = Store()
    await made.make()
    return made


def stored(store: Store) -> int:
    """Bytes of all records that rows refer to."""
    database = store.volume.core.database
    records = {(row.segment, row.position): row.stored for row in database.scan(EXTENT)}
    records |= {(row.segment, row.position): row.stored for row in database.scan(EXTENT_PAST)}
    return sum(records.values())


async def test_a_file_with_history(store: Store) -> None:
    for number in range(3):
        await store.put("f", os.urandom(1000 + number))
        store.clock.advance(3600)
    whole = await disk_usage(store.volume)
    assert whole == await disk_usage(store.volume, BUCKET)
    assert whole == await disk_usage(store.volume, BUCKET, b"f")
    assert (whole.files, whole.versions) == (1, 3)
    assert (whole.current_bytes, whole.past_bytes) == (1002, 2001)
    assert whole.current_stored_bytes + whole.past_stored_bytes == stored(store)
    assert whole.reclaimable_stored_bytes == whole.past_stored_bytes
    await store.volume.forget(BUCKET, b"f")
    after = await disk_usage(store.volume)
    assert stored(store) == whole.current_stored_bytes
    assert after == DiskUsage(1, 1, 1002, 0, whole.current_stored_bytes)
    with pytest.raises(NotFound):
        await disk_usage(store.volume, BUCKET, b"g")


async def test_what_others_need_is_not_reclaimable(store: Store) -> None:
    """Beneath a directory: a version that a restored file elsewhere shares, one that a snapshot
    shows, one that a hard link elsewhere shows, one that nobody else needs."""
    volume = store.volume
    directory = volume.mkdir(store.root, b"d", 0o755, ME).ino
    for name in ("shared", "pinned", "linked", "free"):
        await store.put(name, os.urandom(500), directory)
        store.clock.advance(3600)
        if name == "pinned":
            core = volume.core
            with core.change() as change:
                change.put(Snapshot("s", change.sequence - 1, 0, volume.bucket(BUCKET).id, b"d"))
            core.pins.reload()
    linked = volume.lookup(directory, b"linked").ino
    volume.link(linked, store.root, b"other")
    store.clock.advance(3600)
    (version,) = volume.versions(BUCKET, b"d/shared")
    await volume.restore(BUCKET, b"d/shared", version.version_id, (BUCKET, b"copy"))
    for name in ("shared", "pinned", "linked", "free"):
        await volume.unlink(directory, name.encode())
        store.clock.advance(3600)
    found = await disk_usage(volume, BUCKET, b"d/")
    assert (found.files, found.versions, found.past_bytes) == (0, 4, 2000)
    assert found.past_stored_bytes == stored(store)
    before = stored(store)
    await volume.forget(BUCKET, b"d")
    assert before - stored(store) == found.reclaimable_stored_bytes == 1 * before // 4
    whole = await disk_usage(volume)
    assert whole.current_stored_bytes + whole.past_stored_bytes == stored(store)
    assert whole.reclaimable_stored_bytes == 0


async def test_pages_of_many_rows(store: Store) -> None:
    handle = store.create("f")
    for number in range(250):
        await store.volume.write(handle, number * 10, b"x")
        await store.volume.fsync(handle.ino)
    await store.close_handle(handle)
    for number in range(250):
        await store.put(f"g{number}", b"y")
    whole = await disk_usage(store.volume)
    assert (whole.files, whole.past_bytes) == (251, 0)
    assert whole.current_stored_bytes == stored(store)
    assert (await disk_usage(store.volume, BUCKET, b"f")).files == 1
