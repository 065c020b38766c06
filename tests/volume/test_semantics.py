"""The clauses of docs/SEMANTICS.md that can be seen below the mount."""

import errno
import os
import stat

import pytest
import trio

from objfs.base import limits
from objfs.base.errors import (
    CrossBucket,
    DataLost,
    DeviceFailed,
    NoSpace,
    NotFound,
    StorageError,
)
from objfs.base.types import AttributeChange
from objfs.volume.volume import Volume
from tests.model.harness import BUCKET
from tests.model.operations import TICK_NS
from tests.volume.store import ME, Store

SECOND_NS = 1_000_000_000
OLD_TICKS = 20 * SECOND_NS // TICK_NS  # of the harness's clock: well beyond the amend rule


@pytest.fixture
async def store() -> Store:
    store = Store()
    await store.make()
    return store


# --- S1 ------------------------------------------------------------------------------------------


async def test_s1_1_open_files_are_logged_by_the_periodic_flush(store: Store) -> None:
    """S1.1"""
    handle = store.create("a")
    await store.volume.write(handle, 0, b"x" * 1000)
    core = store.volume.core
    core.settings = type(core.settings)(dirty_seconds=5.0)
    await store.volume.upkeep()
    assert core.dirty_bytes == 1000
    store.clock.advance(5 * SECOND_NS // TICK_NS)
    await store.volume.upkeep()
    assert core.dirty_bytes == 0
    store.crash(None)
    store.again()
    assert await store.get("a") == b"x" * 1000


async def test_s1_2_writers_wait_beyond_the_bound_of_dirty_bytes(store: Store) -> None:
    """S1.2"""
    core = store.volume.core
    handle = store.create("a")
    bound = 1 << 20
    core.settings = type(core.settings)(dirty_bytes=bound)
    block = os.urandom(300_000)
    refused = False
    for index in range(12):
        if not store.volume.write_nowait(handle, index * len(block), block):
            refused = True
            await store.volume.write(handle, index * len(block), block)
        assert core.dirty_bytes <= bound
    assert refused
    await store.close_handle(handle)
    assert await store.get("a") == block * 12


async def test_s1_3_what_was_closed_survives_the_process(store: Store) -> None:
    """S1.3"""
    await store.put("small", b"s" * 100)
    await store.put("large", os.urandom(1000) * 3000)
    large = await store.get("large")
    store.crash(None)
    store.again()
    assert await store.get("small") == b"s" * 100
    assert await store.get("large") == large


async def test_s1_4_namespace_operations_are_logged_when_they_return(store: Store) -> None:
    """S1.4"""
    volume = store.volume
    directory = volume.mkdir(store.root, b"d", 0o755, ME).ino
    ino = await store.put("a", b"a")
    volume.link(ino, directory, b"b")
    volume.symlink(directory, b"s", b"target", ME)
    await volume.rename(store.root, b"a", directory, b"c")
    volume.mknod(directory, b"p", stat.S_IFIFO | 0o600, 0, ME)
    await volume.unlink(directory, b"b")
    store.crash(None)
    volume = store.again()
    assert store.names() == [b"d"]
    assert store.names(directory) == [b"s", b"c", b"p"]


async def test_s1_5_fsync_makes_durable_what_was_logged_before(store: Store) -> None:
    """S1.5"""
    await store.put("before", b"b")
    handle = store.create("a")
    await store.volume.write(handle, 0, b"x" * 300_000)
    await store.volume.fsync(handle.ino)
    store.crash()
    store.again()
    assert await store.get("before") == b"b"
    assert await store.get("a") == b"x" * 300_000


async def test_s1_6_sync_covers_open_files(store: Store) -> None:
    """S1.6"""
    handle = store.create("a")
    await store.volume.write(handle, 0, b"x" * 10)
    await store.volume.sync()
    store.crash()
    store.again()
    assert await store.get("a") == b"x" * 10


async def test_s1_7_what_is_logged_is_synced_within_a_second(
    store: Store, autojump_clock: trio.testing.MockClock
) -> None:
    """S1.7"""
    async with trio.open_nursery() as nursery:
        await nursery.start(store.volume.run)
        await store.put("a", b"x")
        await trio.sleep(1.1)
        nursery.cancel_scope.cancel()
    store.crash()
    store.again()
    assert await store.get("a") == b"x"


# --- S2 ------------------------------------------------------------------------------------------


async def test_s2_2_unclosed_data_may_be_missing_before_a_later_rename(store: Store) -> None:
    """S2.2"""
    handle = store.create("a")
    await store.volume.write(handle, 0, b"in memory")
    await store.volume.rename(store.root, b"a", store.root, b"b")
    store.crash(None)
    store.again()
    assert store.names() == [b"b"]
    assert await store.get("b") == b""


async def test_s2_3_open_files_without_a_name_are_gone_after_a_crash(store: Store) -> None:
    """S2.3"""
    handle = store.create("a")
    await store.volume.write(handle, 0, b"x" * 200_000)
    await store.volume.unlink(store.root, b"a")
    await store.volume.fsync(handle.ino)
    assert bytes(await store.volume.read(handle, 0, 10)) == b"x" * 10
    store.crash(None)
    volume = store.again()
    assert volume.getattr(handle.ino).nlink == 0
    with pytest.raises(NotFound):
        await volume.open(handle.ino, os.O_RDONLY)


async def test_s2_4_logged_working_states_become_versions(store: Store) -> None:
    """S2.4"""
    await store.put("a", b"first")
    inode = store.volume.lookup(store.root, b"a")
    handle = await store.volume.open(inode.ino, os.O_RDWR)
    await store.volume.write(handle, 0, b"FIR")
    await store.volume.fsync(inode.ino)
    store.crash()
    store.clock.advance(5)
    volume = store.again()
    assert await store.history("a") == [b"FIRst", b"first"]
    assert volume.lookup(store.root, b"a").mtime_ns >= store.clock.now_ns()


# --- S3 ------------------------------------------------------------------------------------------


def fill(store: Store) -> None:
    """From now on the device is full."""
    store.memory.capacity = sum(len(data) for data in store.memory.files().values())


async def test_s3_1_a_full_disk_refuses_growth_and_loses_nothing(store: Store) -> None:
    """S3.1"""
    await store.put("kept", b"k" * 5000)
    handle = store.create("open")
    await store.volume.write(handle, 0, b"accepted")
    fill(store)
    store.volume.core.log_space_changed()
    with pytest.raises(NoSpace):
        await store.volume.write(handle, 8, b"refused")
    with pytest.raises(NoSpace):
        store.create("new")
    with pytest.raises(NoSpace):
        await store.volume.flush(handle)
    assert bytes(await store.volume.read(handle, 0, 100)) == b"accepted"
    store.memory.capacity *= 2
    store.memory.capacity += 1 << 30
    await store.close_handle(handle)
    store.crash(None)
    store.again()
    assert await store.get("open") == b"accepted"
    assert await store.get("kept") == b"k" * 5000


class Reserve:
    """A reserve of a memory device."""

    def __init__(self, store: Store, size: int) -> None:
        self.store = store
        self.held = size

    def release(self) -> bool:
        if not self.held:
            return False
        self.store.memory.capacity += self.held
        self.held = 0
        return True

    def restore(self) -> bool:
        return False

    def bytes_held(self) -> int:
        return self.held


async def test_s3_2_deleting_works_on_a_full_disk(store: Store) -> None:
    """S3.2"""
    for index in range(20):
        await store.put(f"f{index}", b"x" * 1000)
    store.volume.core.reserve = Reserve(store, 1 << 20)
    fill(store)
    for index in range(20):
        await store.volume.unlink(store.root, b"f%d" % index)
    assert store.names() == []
    store.crash(None)
    store.again()
    assert store.names() == []


async def test_s3_3_status_shows_current_and_past_bytes(store: Store) -> None:
    """S3.3"""
    await store.put("a", b"x" * 1000)
    await store.put("a", b"y" * 700)
    await store.put("b", b"z" * 10)
    await store.volume.unlink(store.root, b"b")
    buckets = store.volume.status()["buckets"]
    assert buckets == {BUCKET: {"live_bytes": 700, "past_bytes": 1010, "objects": 1}}


# --- S4 ------------------------------------------------------------------------------------------


async def test_s4_1_damage_is_reported_and_other_files_stay_readable(store: Store) -> None:
    """S4.1"""
    await store.put("bad", os.urandom(3000))
    await store.put("good", b"g" * 3000)
    await store.close()
    bad = store.volume.lookup
    del bad
    name, data = max(store.memory.files().items(), key=lambda item: len(item[1]))
    volume = store.again()
    extent = next(
        row
        for table, row in store.dump()
        if table == "extent" and row.length == 3000  # type: ignore[attr-defined]
    )
    at = extent.position + extent.stored - 100  # type: ignore[attr-defined]
    file = store.memory.open(name, writable=True)
    file.write(at, [bytes([data[at] ^ 1])], 1)
    file.close()
    with pytest.raises(DataLost, match="segment"):
        await store.get("bad")
    assert await store.get("good") == b"g" * 3000
    assert volume.core.log.failed is None


async def test_s4_2_a_failed_sync_is_told_and_stops_changes(store: Store) -> None:
    """S4.2"""
    handle = store.create("a")
    await store.volume.write(handle, 0, b"x")
    store.plan.add("sync", errno.EIO)
    with pytest.raises(DeviceFailed):
        await store.volume.fsync(handle.ino)
    with pytest.raises(StorageError):
        store.create("b")
    with pytest.raises(StorageError):
        await store.volume.fsync(handle.ino)
    assert bytes(await store.volume.read(handle, 0, 10)) == b"x"
    store.crash(None)
    store.again()
    assert await store.get("a") == b"x"
    await store.put("b", b"works again")


# --- S6 ------------------------------------------------------------------------------------------


async def test_s6_1_one_version_for_each_session(store: Store) -> None:
    """S6.1"""
    await store.put("a", b"one")
    await store.put("a", b"two")
    assert await store.history("a") == [b"two", b"one"]
    handle = await store.volume.open(store.volume.lookup(store.root, b"a").ino, os.O_RDWR)
    for data in (b"x", b"xy", b"xyz"):
        await store.volume.write(handle, 0, data)
        await store.volume.flush(handle)
    assert await store.history("a") == [b"xyz", b"two", b"one"]
    await store.volume.fsync(handle.ino)
    await store.volume.write(handle, 0, b"abc")
    await store.close_handle(handle)
    assert await store.history("a") == [b"abc", b"xyz", b"two", b"one"]


async def test_s6_1_a_flush_long_after_keeps_both_versions(store: Store) -> None:
    """S6.1"""
    handle = store.create("a")
    await store.volume.write(handle, 0, b"early")
    await store.volume.flush(handle)
    store.clock.advance(OLD_TICKS)
    await store.volume.write(handle, 0, b"later")
    await store.close_handle(handle)
    assert await store.history("a") == [b"later", b"early"]


async def test_s6_1_a_replaced_version_keeps_those_before_it(store: Store) -> None:
    """S6.1"""
    await store.put("a", b"0" * 5000)
    handle = await store.volume.open(store.volume.lookup(store.root, b"a").ino, os.O_RDWR)
    for offset in (0, 1000, 500):
        await store.volume.write(handle, offset, b"1" * 1000)
        await store.volume.flush(handle)
    await store.volume.release(handle)
    assert await store.history("a") == [b"1" * 2000 + b"0" * 3000, b"0" * 5000]


async def test_s6_2_rename_over_and_delete_are_one_history(store: Store) -> None:
    """S6.2"""
    await store.put("a", b"one")
    await store.put(".a.tmp", b"two")
    await store.volume.rename(store.root, b".a.tmp", store.root, b"a")
    await store.volume.unlink(store.root, b"a")
    await store.put("a", b"three")
    assert await store.history("a") == [b"three", None, b"two", b"one"]


async def test_s6_3_every_past_state_is_readable(store: Store) -> None:
    """S6.3"""
    volume = store.volume
    moments: list[tuple[int, dict[bytes, bytes]]] = []
    state: dict[bytes, bytes] = {}
    for index in range(12):
        name = b"f%d" % (index % 3)
        state[name] = b"%d" % index * 50
        await store.put(name.decode(), state[name])
        moments.append((volume.core.log.last_sequence, dict(state)))
    for sequence, then in moments:
        view = volume.at(sequence)
        seen = {
            name: bytes(await view.read(inode.ino, 0, inode.size))
            for name, inode in view.list_directory(store.root)
        }
        assert seen == then


async def mode_after_two_chmods(store: Store, ticks: int) -> tuple[int, int]:
    """The modes at the moments after each of two chmods, `ticks` apart."""
    ino = await store.put("a", b"x")
    store.clock.advance(OLD_TICKS)
    moments = []
    for mode in (0o600, 0o640):
        await store.volume.setattr(ino, AttributeChange(mode=mode))
        moments.append(store.volume.core.log.last_sequence)
        store.clock.advance(ticks)
    first, second = (store.volume.at(moment).getattr(ino).mode for moment in moments)
    return stat.S_IMODE(first), stat.S_IMODE(second)


async def test_s6_4_attributes_long_apart_are_states_of_their_own(store: Store) -> None:
    """S6.4"""
    assert await mode_after_two_chmods(store, OLD_TICKS) == (0o600, 0o640)


async def test_s6_4_attributes_seconds_apart_are_one_state(store: Store) -> None:
    """S6.4"""
    assert await mode_after_two_chmods(store, 1) == (0o640, 0o640)


async def test_s6_5_a_restore_is_a_version_and_open_readers_keep_theirs(store: Store) -> None:
    """S6.5"""
    volume = store.volume
    await store.put("a", b"old" * 1000)
    await store.put("a", b"new" * 1000)
    reader = await volume.open(volume.lookup(store.root, b"a").ino, os.O_RDONLY)
    appended = volume.core.log.statistics().data_bytes
    oldest = volume.versions(BUCKET, b"a")[-1].version_id
    await volume.restore(BUCKET, b"a", oldest)
    assert await store.get("a") == b"old" * 1000
    assert volume.core.log.statistics().data_bytes == appended
    assert bytes(await volume.read(reader, 0, 3)) == b"new"
    await volume.release(reader)
    undo = volume.versions(BUCKET, b"a")[1].version_id
    await volume.restore(BUCKET, b"a", undo)
    assert await store.history("a") == [b"new" * 1000, b"old" * 1000] * 2


async def test_s6_6_writing_to_a_restored_file_changes_it_alone(store: Store) -> None:
    """S6.6"""
    volume = store.volume
    first = b"1" * 5000
    await store.put("a", first)
    await store.put("a", b"2" * 5000)
    oldest = volume.versions(BUCKET, b"a")[-1].version_id
    await volume.restore(BUCKET, b"a", oldest, (BUCKET, b"b"))
    handle = await volume.open(volume.lookup(store.root, b"b").ino, os.O_RDWR)
    await volume.write(handle, 100, b"changed")
    await store.close_handle(handle)
    assert await store.get("b") == first[:100] + b"changed" + first[107:]
    assert await store.history("a") == [b"2" * 5000, first]
    assert await store.history("b") == [first[:100] + b"changed" + first[107:], first]


async def test_s6_6_a_restored_file_of_many_extents_is_copied_in_batches(store: Store) -> None:
    """S6.6"""
    volume = store.volume
    handle = store.create("a")
    for index in range(400):
        await volume.write(handle, index * 8192, b"%4d" % index)
    await store.close_handle(handle)
    before = await store.get("a")
    newest = volume.versions(BUCKET, b"a")[0].version_id
    await volume.restore(BUCKET, b"a", newest, (BUCKET, b"b"))
    handle = await volume.open(volume.lookup(store.root, b"b").ino, os.O_RDWR)
    await volume.write(handle, 8192, b"####")
    await store.close_handle(handle)
    assert await store.get("b") == before[:8192] + b"####" + before[8196:]
    assert await store.get("a") == before
    assert not [row for table, row in store.dump() if table == "purge"]


# --- S7 ------------------------------------------------------------------------------------------


async def test_s7_4_buckets_share_no_names(store: Store) -> None:
    """S7.4"""
    volume: Volume = store.volume
    other = volume.create_bucket("other-bucket").root
    inode = volume.mknod(store.root, b"a", stat.S_IFREG | 0o644, 0, ME)
    with pytest.raises(CrossBucket):
        volume.link(inode.ino, other, b"a")
    with pytest.raises(CrossBucket):
        await volume.rename(store.root, b"a", other, b"a")


async def test_a_large_overwrite_of_many_extents_takes_several_changes(store: Store) -> None:
    handle = store.create("a")
    for index in range(1000):
        await store.volume.write(handle, index * 2000, b"%4d" % index)
    await store.close_handle(handle)
    before = await store.get("a")
    handle = await store.volume.open(handle.ino, os.O_RDWR)
    await store.volume.write(handle, 1000, b"z" * 1_900_000)
    await store.close_handle(handle)
    after = before[:1000] + b"z" * 1_900_000 + before[1_901_000:]
    assert await store.history("a") == [after, before]


async def test_truncating_many_extents_takes_several_changes(store: Store) -> None:
    handle = store.create("a")
    for index in range(1000):
        await store.volume.write(handle, index * 2000, b"%4d" % index)
    await store.close_handle(handle)
    before = await store.get("a")
    await store.volume.setattr(handle.ino, AttributeChange(size=3001))
    inode = store.volume.lookup(store.root, b"a")
    assert (inode.size, inode.allocated) == (3001, 8)
    await store.volume.setattr(handle.ino, AttributeChange(size=5000))
    after = before[:3001] + bytes(1999)
    assert await store.history("a") == [after, before[:3001], before]
    assert not [row for table, row in store.dump() if table == "purge"]
    assert limits.TRANSACTION_ROWS_MAX < 1000


async def test_a_flush_that_comes_after_the_seal_does_nothing(store: Store) -> None:
    """S2.4"""
    volume = store.volume
    handle = store.create("a")
    await volume.write(handle, 0, os.urandom(3 << 20))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(volume.flush, handle)
        nursery.start_soon(volume.fsync, handle.ino)
        nursery.start_soon(volume.fsync, handle.ino)
    await volume.release(handle)
    assert not [row for table, row in store.dump() if table == "unsealed"]
    assert len(await store.history("a")) == 1
