"""Snapshots: what they show, what they keep, how they are named."""

import stat

import pytest

from objfs.base import limits
from objfs.base.errors import AlreadyExists, InvalidRequest, NotFound, Pinned
from objfs.base.types import AttributeChange
from tests.model.harness import BUCKET
from tests.volume.store import ME, Store


@pytest.fixture
async def store() -> Store:
    store = Store()
    await store.make()
    return store


async def shown(store: Store, sequence: int, name: str, parent: int | None = None) -> bytes:
    """What a file held at a moment."""
    view = store.volume.at(sequence)
    inode = view.lookup(store.root if parent is None else parent, name.encode())
    return bytes(await view.read(inode.ino, 0, inode.size + 1))


async def test_what_open_files_hold_is_in_the_snapshot(store: Store) -> None:
    """S8.1"""
    small, large = store.create("small"), store.create("large")
    await store.volume.write(small, 0, b"written")
    await store.volume.write(large, 0, b"x" * (2 * limits.INLINE_DATA_BYTES_MAX))
    snapshot = await store.volume.snapshots.create("now")
    await store.volume.write(small, 0, b"LATER..")
    await store.close_handle(small)
    assert await shown(store, snapshot.sequence, "small") == b"written"
    assert len(await shown(store, snapshot.sequence, "large")) == 2 * limits.INLINE_DATA_BYTES_MAX
    assert await store.get("small") == b"LATER.."


async def test_only_what_is_in_scope_is_sealed(store: Store) -> None:
    """S8.1: and the scope of a path is what lies below it."""
    inside = store.volume.mkdir(store.root, b"in", 0o755, ME).ino
    handles = [store.create("a", inside), store.create("b")]
    for handle in handles:
        await store.volume.write(handle, 0, b"data")
    scope = store.volume.bucket(BUCKET)
    snapshot = await store.volume.snapshots.create("in", scope, b"in/")
    assert await shown(store, snapshot.sequence, "a", inside) == b"data"
    assert await shown(store, snapshot.sequence, "b") == b""
    assert store.volume.core.pins.sequences(scope.id, b"in/a") == [snapshot.sequence]
    assert store.volume.core.pins.sequences(scope.id, b"b") == []


async def test_it_is_one_row_whatever_there_is(store: Store) -> None:
    """S8.1"""
    await store.put("a", b"data")
    before = store.log.last_sequence
    snapshot = await store.volume.snapshots.create("one")
    assert (before, snapshot.sequence) == (snapshot.sequence - 1, store.log.last_sequence)
    assert store.log.synced_sequence == snapshot.sequence


async def test_a_flush_does_not_replace_the_version_that_a_snapshot_shows(store: Store) -> None:
    """S8.2"""
    handle = store.create("a")
    await store.volume.write(handle, 0, b"one")
    await store.volume.flush(handle)
    snapshot = await store.volume.snapshots.create("one")
    await store.volume.write(handle, 0, b"two")
    await store.close_handle(handle)
    assert await shown(store, snapshot.sequence, "a") == b"one"
    assert await store.history("a") == [b"two", b"one"]


async def test_attributes_are_not_amended_behind_a_snapshot(store: Store) -> None:
    """S8.2"""
    ino = await store.put("a", b"data")
    snapshot = await store.volume.snapshots.create("one")
    await store.volume.setattr(ino, AttributeChange(mode=0o600))
    store.volume.setxattr(ino, b"user.a", b"value")
    view = store.volume.at(snapshot.sequence)
    assert stat.S_IMODE(view.getattr(ino).mode) == 0o644
    assert view.xattrs(ino) == {}


async def test_deleting_one_and_opening_again_leave_the_newest_pin(store: Store) -> None:
    """S8.2"""
    first = await store.volume.snapshots.create("first")
    second = await store.volume.snapshots.create("second")
    store.crash()
    store.again()
    assert store.volume.core.pins.newest == second.sequence
    store.volume.snapshots.delete("second")
    assert store.volume.core.pins.newest == first.sequence
    assert [row.name for row in store.volume.snapshots.snapshots()] == ["first"]
    with pytest.raises(NotFound):
        store.volume.snapshots.delete("second")


async def test_a_bucket_in_a_snapshot_is_not_deleted(store: Store) -> None:
    """S8.2"""
    await store.volume.snapshots.create("all")
    with pytest.raises(Pinned):
        store.volume.delete_bucket(BUCKET, force=True)
    store.volume.create_bucket("later")
    store.volume.delete_bucket("later")
    store.volume.snapshots.delete("all")
    store.volume.delete_bucket(BUCKET, force=True)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".hidden", "-x", "a/b", "a\nb", " a", "a ", "\0", "\udcff", "x" * 256],
)
async def test_a_name_that_cannot_be(store: Store, name: str) -> None:
    with pytest.raises(InvalidRequest):
        await store.volume.snapshots.create(name)
    assert store.volume.snapshots.snapshots() == []


async def test_a_name_that_is_taken(store: Store) -> None:
    await store.volume.snapshots.create("before upgrade: ä")
    with pytest.raises(AlreadyExists):
        await store.volume.snapshots.create("before upgrade: ä")


async def test_a_path_that_does_not_exist(store: Store) -> None:
    with pytest.raises(NotFound):
        await store.volume.snapshots.create("x", store.volume.bucket(BUCKET), b"not/there")
