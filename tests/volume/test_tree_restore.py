"""Restore of a moment, below the mount: trees in place, elsewhere, and what stands in the way."""

import os
import stat

import pytest

from objfs.base.errors import AlreadyExists, IsADirectory, NoSpace, NotADirectory, NotFound
from objfs.base.types import AttributeChange
from objfs.maint import commands
from objfs.meta.rows import Bucket
from objfs.meta.tables import ORPHAN
from objfs.volume.restored import Restored
from tests.model.harness import BUCKET
from tests.volume.store import ME, Store
from tests.volume.trees import shown

OLD_TICKS = 100_000  # of the harness's clock: what is older is not amended


@pytest.fixture
async def store() -> Store:
    store = Store()
    await store.make()
    return store


def bucket(store: Store) -> Bucket:
    return store.volume.bucket(BUCKET)


async def restore(store: Store, key: bytes, sequence: int, to: bytes | None = None) -> Restored:
    target = None if to is None else (bucket(store), to)
    return await store.volume.restore_at(bucket(store), key, sequence, target)


def mkdir(store: Store, name: str, parent: int | None = None) -> int:
    above = store.root if parent is None else parent
    return store.volume.mkdir(above, name.encode(), 0o755, ME).ino


async def example(store: Store) -> int:
    """A tree with one of everything; the sequence after it was made."""
    top = mkdir(store, "d")
    await store.put("file", b"first", top)
    await store.put("other", b"kept as it is", top)
    await store.put("empty", b"", top)
    below = mkdir(store, "below", top)
    ino = await store.put("one", b"linked", below)
    store.volume.link(ino, top, b"two")
    store.volume.symlink(top, b"symlink", b"file", ME)
    store.volume.mknod(top, b"fifo", stat.S_IFIFO | 0o640, 0, ME)
    store.volume.mknod(below, b"device", stat.S_IFCHR | 0o600, os.makedev(1, 3), ME)
    store.volume.setxattr(ino, b"user.a", b"value")
    store.volume.setxattr(below, b"user.b", b"other")
    await store.volume.setattr(top, AttributeChange(mode=0o751, uid=5, gid=6))
    await store.volume.setattr(below, AttributeChange(mtime_ns=10**18))
    store.clock.advance(OLD_TICKS)
    return store.log.last_sequence


async def spoil(store: Store) -> None:
    """Change everything that a tree can lose."""
    volume = store.volume
    top = volume.lookup(store.root, b"d").ino
    below = volume.lookup(top, b"below").ino
    await store.put("file", b"encrypted", top)
    await store.put("new", b"a letter", top)
    extra = mkdir(store, "extra", top)
    deep = mkdir(store, "deep", extra)
    await store.put("in", b"x", deep)
    await volume.unlink(top, b"two")
    await store.put("two", b"no link any more", top)
    await volume.setattr(volume.lookup(below, b"one").ino, AttributeChange(mode=0o777))
    await volume.unlink(top, b"symlink")
    volume.symlink(top, b"symlink", b"elsewhere", ME)
    await volume.unlink(top, b"fifo")
    mkdir(store, "fifo", top)
    await volume.rename(below, b"device", top, b"moved")
    volume.removexattr(below, b"user.b")
    await volume.setattr(top, AttributeChange(mode=0o700, uid=9))
    store.clock.advance(OLD_TICKS)


async def test_a_tree_in_place_is_again_what_it_was(store: Store) -> None:
    """S8.3"""
    sequence = await example(store)
    was = await shown(store, sequence, b"d")
    await spoil(store)
    spoilt_at, spoilt = store.log.last_sequence, await shown(store, None, b"d")
    assert spoilt != was
    done = await restore(store, b"d", sequence)
    assert await shown(store, None, b"d") == was
    assert (done.added, done.replaced, done.removed) == (2, 4, 6)
    again = await restore(store, b"d", sequence)
    assert again._replace(unchanged=0, ino=0) == Restored()
    # A restore is undone by a restore.
    await restore(store, b"d", spoilt_at)
    assert await shown(store, None, b"d") == spoilt
    assert await shown(store, sequence, b"d") == was


async def test_what_is_unchanged_is_not_touched(store: Store) -> None:
    """S8.3"""
    sequence = await example(store)
    await store.put("outside", b"x")
    before = store.log.last_sequence
    done = await restore(store, b"d", sequence)
    assert done._replace(unchanged=0, ino=0) == Restored()
    assert store.log.last_sequence == before
    top = store.volume.lookup(store.root, b"d").ino
    kept = store.volume.lookup(top, b"other").ino
    await spoil(store)
    await restore(store, b"d", sequence)
    assert store.volume.lookup(store.root, b"d").ino == top
    assert store.volume.lookup(top, b"other").ino == kept
    assert len(store.volume.versions(BUCKET, b"d/other")) == 1
    assert [await store.get("file", top), await store.get("two", top)] == [b"first", b"linked"]


async def test_hard_links_of_the_tree_stay_links(store: Store) -> None:
    """S8.3: whether the file, one name or all of them changed."""
    sequence = await example(store)
    was = await shown(store, sequence, b"d")
    volume = store.volume
    top = volume.lookup(store.root, b"d").ino
    below = volume.lookup(top, b"below").ino
    linked = volume.lookup(top, b"two").ino
    await volume.unlink(below, b"one")  # met first, and the other is as it was
    await restore(store, b"d", sequence)
    assert await shown(store, None, b"d") == was
    assert volume.lookup(top, b"two").ino == linked
    await store.put("two", b"both changed", top)
    await restore(store, b"d", sequence)
    assert await shown(store, None, b"d") == was
    other = await store.put("file", b"first", top)  # and names that were none are no links
    await volume.unlink(top, b"other")
    volume.link(other, top, b"other")
    await restore(store, b"d", sequence)
    assert await shown(store, None, b"d") == was


async def test_a_bucket_in_place(store: Store) -> None:
    """S8.3"""
    sequence = await example(store)
    was = await shown(store, sequence)
    await spoil(store)
    await volume_rename(store, b"d", b"e")
    await restore(store, b"", sequence)
    assert await shown(store) == was


async def volume_rename(store: Store, old: bytes, new: bytes) -> None:
    await store.volume.rename(store.root, old, store.root, new)


async def test_the_path_is_looked_up_by_the_name_it_had_then(store: Store) -> None:
    """S8.3: and directories above it that are gone come back."""
    sequence = await example(store)
    was = await shown(store, sequence, b"d")
    await volume_rename(store, b"d", b"e")
    await restore(store, b"d/below/one", sequence)
    assert set(await shown(store, None, b"d")) == {b"", b"below/", b"below/one"}
    now = await shown(store, None, b"d")
    assert now[b""] == was[b""]
    assert now[b"below/"] == was[b"below/"]
    await restore(store, b"d", sequence)
    assert await shown(store, None, b"d") == was
    with pytest.raises(NotFound):
        await restore(store, b"e", sequence)


async def test_a_file_takes_the_place_of_a_newer_one(store: Store) -> None:
    """S8.3: the newer one stays a version, and who has it open keeps it."""
    await store.put("a", b"old")
    sequence = store.log.last_sequence
    handle = await store.volume.open(await store.put("a", b"newer"), os.O_RDWR)
    await store.volume.write(handle, 0, b"NEWEST")
    done = await restore(store, b"a", sequence)
    assert (done.replaced, done.bytes) == (1, 3)
    assert await store.get("a") == b"old"
    assert bytes(await store.volume.read(handle, 0, 10)) == b"NEWEST"
    assert await store.history("a") == [b"old", b"NEWEST", b"newer", b"old"]
    await store.close_handle(handle)


@pytest.mark.parametrize("then_directory", [True, False])
async def test_a_directory_in_the_way_of_a_file_and_the_reverse(
    store: Store, then_directory: bool
) -> None:
    """S8.3"""

    async def make(directory: bool) -> None:
        if directory:
            await store.put("in", b"inside", mkdir(store, "x"))
        else:
            await store.put("x", b"a file")

    await make(then_directory)
    sequence = store.log.last_sequence
    was = await shown(store, sequence)
    if then_directory:
        await store.volume.unlink(store.volume.lookup(store.root, b"x").ino, b"in")
        store.volume.rmdir(store.root, b"x")
    else:
        await store.volume.unlink(store.root, b"x")
    await make(not then_directory)
    await restore(store, b"x", sequence)
    assert (await shown(store)).keys() == was.keys()
    path = b"x/in" if then_directory else b"x"
    assert (await shown(store))[path] == was[path]


async def test_a_file_above_what_is_restored(store: Store) -> None:
    sequence = await example(store)
    await volume_rename(store, b"d", b"e")
    await store.put("d", b"a file now")
    with pytest.raises(NotADirectory):
        await restore(store, b"d/file", sequence)
    assert await store.get("d") == b"a file now"


async def test_a_tree_elsewhere(store: Store) -> None:
    """S8.4"""
    sequence = await example(store)
    was = await shown(store, sequence, b"d")
    await spoil(store)
    spoilt = await shown(store, None, b"d")
    before = store.volume.core.log.statistics()
    await restore(store, b"d", sequence, b"copy")
    assert await shown(store, None, b"copy") == was
    assert await shown(store, None, b"d") == spoilt
    assert store.volume.core.log.statistics() is not before
    with pytest.raises(AlreadyExists):
        await restore(store, b"d", sequence, b"copy")
    with pytest.raises(NotFound):
        await restore(store, b"d", sequence, b"none/copy")
    # Below the source, and in another bucket.
    await restore(store, b"d", sequence, b"d/below/copy")
    assert await shown(store, None, b"d/below/copy") == was
    other = store.volume.create_bucket("other")
    await store.volume.restore_at(bucket(store), b"", sequence, (other, b"all"))
    row = store.volume.lookup(store.volume.root("other", b"all/d"), b"file")
    assert (row.size, row.bucket) == (5, other.id)


async def test_a_file_elsewhere(store: Store) -> None:
    """S8.4"""
    sequence = await example(store)
    await spoil(store)
    await restore(store, b"d/file", sequence, b"copy")
    assert await store.get("copy") == b"first"
    await restore(store, b"d/other", sequence, b"copy")
    assert await store.history("copy") == [b"kept as it is", b"first"]
    with pytest.raises(IsADirectory):
        await restore(store, b"d/file", sequence, b"d")


async def test_what_was_built_and_not_finished_is_gone_after_a_start(store: Store) -> None:
    """S8.4"""
    sequence = await example(store)
    usage = store.volume.status()["buckets"]
    rows = len(store.dump())
    store.volume.core.quotas[bucket(store).id] = 1
    with pytest.raises(NoSpace):
        await restore(store, b"d", sequence, b"copy")
    store.volume.core.quotas.clear()
    assert store.volume.core.database.scan(ORPHAN) == []
    assert store.volume.status()["buckets"] == usage
    assert len([row for row in store.dump() if row[0] != "moment"]) <= rows


async def test_the_quota_stops_a_restore_and_nothing_is_lost(store: Store) -> None:
    """S8.5"""
    sequence = await example(store)
    was = await shown(store, sequence, b"d")
    await spoil(store)
    store.volume.core.quotas[bucket(store).id] = 1
    with pytest.raises(NoSpace, match="once more"):
        await restore(store, b"d", sequence)
    store.volume.core.quotas.clear()
    await restore(store, b"d", sequence)
    assert await shown(store, None, b"d") == was


async def test_many_entries_in_one_directory_and_many_directories(store: Store) -> None:
    """S8.3: a restore goes in changes of bounded size."""
    top = mkdir(store, "many")
    for number in range(300):
        await store.put(f"f{number}", b"%d" % number, top)
    for number in range(150):
        mkdir(store, f"d{number}", top)
    sequence = store.log.last_sequence
    was = await shown(store, sequence, b"many")
    store.clock.advance(OLD_TICKS)
    for name in store.names(top)[::3]:
        if name.startswith(b"f"):
            await store.volume.unlink(top, name)
        else:
            store.volume.rmdir(top, name)
    for number in range(300):
        await store.put(f"n{number}", b"new", top)
    await restore(store, b"many", sequence)
    assert await shown(store, None, b"many") == was
    await volume_rename(store, b"many", b"gone")
    await restore(store, b"", sequence)
    assert await shown(store, None, b"many") == was
    assert store.names() == [b"many"]


async def test_a_full_disk_stops_a_restore_and_nothing_is_lost(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S8.5"""
    sequence = await example(store)
    was = await shown(store, sequence, b"d")
    await spoil(store)
    last, spoilt = store.log.last_sequence, await shown(store, None, b"d")
    with monkeypatch.context() as full:
        full.setattr(store.log, "free_bytes", lambda: 0)
        store.volume.core.log_space_changed()
        with pytest.raises(NoSpace, match="once more"):
            await restore(store, b"d", sequence)
        with pytest.raises(NoSpace):
            await restore(store, b"d", sequence, b"copy")
    assert await shown(store, last, b"d") == spoilt
    store.volume.core.log_space_changed()
    await restore(store, b"d", sequence)
    assert await shown(store, None, b"d") == was


async def test_a_version_in_a_directory_that_is_gone(store: Store) -> None:
    """S6.5, S8.3"""
    sequence = await example(store)
    was = await shown(store, sequence, b"d")
    (entry,) = store.volume.versions(BUCKET, b"d/below/one")
    await volume_rename(store, b"d", b"e")
    arguments = {"bucket": BUCKET, "key": b"d/below/one", "version_id": entry.version_id}
    answer = await commands.run(store.volume, "restore", arguments)
    assert answer["size"] == len(b"linked")
    now = await shown(store, None, b"d")
    assert now.keys() == {b"", b"below/", b"below/one"}
    assert now[b"below/one"].data == was[b"below/one"].data
    with pytest.raises(NotFound):
        await commands.run(store.volume, "restore", arguments | {"key": b"d/file"})


async def test_what_was_erased_is_not_restored_and_a_running_restore_keeps_its_moment(
    store: Store,
) -> None:
    """S8.3: a moment shows what is left of it, and is that again."""
    moments = []
    for data in (b"one", b"two!", b"three"):
        await store.put("a", data)
        moments.append(store.log.last_sequence)
        store.clock.advance(OLD_TICKS)
    entries = [each.sequence for each in store.volume.versions(BUCKET, b"a")]
    with store.volume.core.pins.held(moments[1]):
        report = await store.volume.erase(BUCKET, b"a", [entries[1]])
        assert (report.pinned, report.entries) == (1, 0)
    await store.volume.erase(BUCKET, b"a", [entries[1]])
    await restore(store, b"a", moments[1])
    assert await store.get("a") == b"one"
