"""What once lost data, hung or stopped, and must not again."""

import errno
import os

import pytest
import trio
import trio.lowlevel

from objfs.base.errors import NoSpace, ObjfsError
from objfs.base.limits import PREFETCH_BYTES_MAX, XATTRS_MAX
from objfs.base.settings import Settings
from objfs.base.types import AttributeChange
from objfs.meta.tables import EXTENT, VERSION
from objfs.volume.sharing import unshare
from objfs.volume.volume import Handle
from tests.model.harness import BUCKET
from tests.volume.store import Store


async def fresh() -> Store:
    store = Store()
    await store.make()
    return store


async def scattered(store: Store, name: str, count: int) -> bytes:
    """A file of `count` extents of 10 bytes, 10 apart, sealed."""
    handle = store.create(name)
    expected = bytearray(20 * count)
    for i in range(count):
        await store.volume.write(handle, 20 * i, b"%010d" % i)
        expected[20 * i : 20 * i + 10] = b"%010d" % i
    await store.close_handle(handle)
    return bytes(expected[:-10])


async def test_a_purge_that_failed_does_not_eat_what_is_written_later() -> None:
    store = await fresh()
    await scattered(store, "f", 400)
    ino = store.volume.lookup(store.root, b"f").ino
    store.clock.advance(100)
    handle = await store.volume.open(ino, os.O_RDWR)
    # the second META of the truncation (its first purge batch) fails once
    store.plan.add("write", errno.EIO, at=2)
    await store.volume.setattr(ino, AttributeChange(size=1000), handle)
    assert [row for table, row in store.dump() if table == "purge"]
    store.clock.advance(100)
    await store.volume.write(handle, 0, bytes(range(256)) * 100)
    await store.close_handle(handle)
    before = await store.get("f")
    assert before == bytes(range(256)) * 100
    await store.volume.close()
    store.again()
    assert await store.get("f") == before


async def test_a_failed_truncation_leaves_the_file_as_it_was_or_done() -> None:
    store = await fresh()
    await store.put("f", b"x" * 1000)
    ino = store.volume.lookup(store.root, b"f").ino
    handle = await store.volume.open(ino, os.O_RDWR)
    await store.volume.write(handle, 1000, b"y" * 1000)
    store.plan.add("write", errno.EIO, at=1)
    with pytest.raises(ObjfsError):
        await store.volume.setattr(ino, AttributeChange(size=500), handle)
    assert bytes(await store.volume.read(handle, 0, 3000)) == b"x" * 1000 + b"y" * 1000


async def test_an_unlinked_name_keeps_its_last_content_in_its_history() -> None:
    """a is linked to b; unlink a; then the session goes on under b."""
    store = await fresh()
    handle = store.create("a")
    store.volume.link(handle.ino, store.root, b"b")
    await store.volume.write(handle, 0, b"first")
    await store.volume.flush(handle)
    await store.volume.unlink(store.root, b"a")
    await store.volume.write(handle, 0, b"SECOND")
    await store.close_handle(handle)
    assert await store.history("a") == [None, b"first"]


async def test_a_renamed_name_keeps_its_last_content_in_its_history() -> None:
    store = await fresh()
    handle = store.create("log")
    await store.volume.write(handle, 0, b"first")
    await store.volume.flush(handle)
    await store.volume.rename(store.root, b"log", store.root, b"log.1")
    await store.volume.write(handle, 0, b"SECOND")
    await store.close_handle(handle)
    assert await store.history("log") == [None, b"first"]


async def test_writing_to_a_huge_sparse_restored_file_ends() -> None:
    store = await fresh()
    handle = store.create("f")
    await store.volume.write(handle, 0, b"x")
    await store.volume.setattr(handle.ino, AttributeChange(size=1 << 44), handle)
    await store.close_handle(handle)
    entry = store.volume.versions(BUCKET, b"f")[0]
    await store.volume.restore(BUCKET, b"f", entry.version_id, (BUCKET, b"g"))
    ino = store.volume.lookup(store.root, b"g").ino
    handle = await store.volume.open(ino, os.O_RDWR)
    await store.volume.write(handle, 1, b"y")
    started = trio.current_time()
    await store.close_handle(handle)
    assert trio.current_time() - started < 1


async def test_dirty_bytes_come_back_to_zero_after_failed_flushes_of_rewritten_data() -> None:
    store = await fresh()
    handle = store.create("f")
    data = os.urandom(1 << 20)
    await store.volume.write(handle, 0, data)
    store.plan.add("write", errno.EIO, at=1)

    async def flush() -> None:
        with pytest.raises(ObjfsError):
            await store.volume.flush(handle)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(flush)
        while handle.open_inode.flushing is None:
            await trio.lowlevel.checkpoint()
        await store.volume.write(handle, 0, data)  # above what is being flushed
    await store.close_handle(handle)
    assert store.volume.core.dirty_bytes == 0


async def test_tiny_appends_survive_a_failed_flush() -> None:
    store = await fresh()
    handle = store.create("f")
    data = os.urandom(1 << 20)
    await store.volume.write(handle, 0, data)
    await store.volume.write(handle, 1 << 20, b"a" * 100)
    await store.volume.write(handle, (1 << 20) + 100, b"b" * 100)
    store.plan.add("write", errno.EIO, at=2)

    async def flush() -> None:
        with pytest.raises(ObjfsError):
            await store.volume.flush(handle)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(flush)
        while handle.open_inode.flushing is None:
            await trio.lowlevel.checkpoint()
        await store.volume.write(handle, (1 << 20) + 200, b"c" * 100)
    await store.close_handle(handle)
    assert await store.get("f") == data + b"a" * 100 + b"b" * 100 + b"c" * 100


async def test_an_orphan_that_ends_during_a_background_flush_harms_nobody() -> None:
    store = await fresh()
    async with trio.open_nursery() as nursery:
        await nursery.start(store.volume.run)
        for _ in range(5):
            handle = store.create("f")
            await store.volume.unlink(store.root, b"f")
            for i in range(3):
                await store.volume.write(handle, i << 22, bytes(1 << 22))
                await trio.lowlevel.checkpoint()
                await trio.lowlevel.checkpoint()
            await store.volume.release(handle)
            await trio.sleep(0.01)
        nursery.cancel_scope.cancel()


async def release_twice_and_open(store: Store) -> tuple[Handle, object]:
    """Release waits for a seal; open and release again; open when the first is through. Returns
    the handle, and the open inode that is known then."""
    volume = store.volume
    first = store.create("f")
    await volume.write(first, 0, os.urandom(1 << 18))
    got: list[Handle] = []

    async def reopen() -> None:
        while first.ino in volume.core.open_inodes:
            await trio.lowlevel.checkpoint()
        got.append(await volume.open(first.ino, os.O_RDWR))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(volume.release, first)
        await trio.lowlevel.checkpoint()
        second = await volume.open(first.ino, os.O_RDWR)
        nursery.start_soon(volume.release, second)
        nursery.start_soon(reopen)
    return got[0], volume.core.open_inodes.get(first.ino)


async def test_two_releases_and_an_open_leave_one_open_inode() -> None:
    for _ in range(60):
        handle, known = await release_twice_and_open(await fresh())
        assert known is handle.open_inode


async def test_reading_an_old_version_while_its_session_goes_on() -> None:
    store = await fresh()
    handle = store.create("f")
    await store.volume.write(handle, 0, b"x" * 1000)
    await store.volume.flush(handle)
    entry = store.volume.versions(BUCKET, b"f")[0]
    past = store.volume.open_version(BUCKET, b"f", entry.version_id)
    await store.volume.write(handle, 0, b"y" * 1000)
    await store.volume.flush(handle)
    assert bytes(await past.read(0, 1000)) == b"x" * 1000


async def test_times_out_of_range_are_clamped() -> None:
    store = await fresh()
    handle = store.create("f")
    await store.volume.write(handle, 0, b"x")
    await store.volume.setattr(handle.ino, AttributeChange(mtime_ns=2**70), handle)
    await store.close_handle(handle)
    assert await store.get("f") == b"x"


async def test_huge_files_do_not_overflow_the_account() -> None:
    store = await fresh()
    for name in ("a", "b", "c"):
        handle = store.create(name)
        await store.volume.setattr(handle.ino, AttributeChange(size=2**63 - 1), handle)
        await store.close_handle(handle)
    await store.volume.close()
    store.again()


async def test_times_of_a_file_that_is_gone_are_no_error() -> None:
    """The kernel sends them late; an error would come out of somebody's syncfs(2)."""
    store = await fresh()
    ino = await store.put("f", b"x")
    await store.volume.unlink(store.root, b"f")
    inode = await store.volume.setattr(ino, AttributeChange(mtime_ns=5, ctime_ns=6))
    assert inode.nlink == 0


class OnceReserve:
    """A reserve that can be released once."""

    held = True

    def release(self) -> bool:
        was, self.held = self.held, False
        return was

    def restore(self) -> bool:
        return False

    def bytes_held(self) -> int:
        return 0


async def test_small_pieces_use_the_reserve_too() -> None:
    store = await fresh()
    store.volume.core.reserve = OnceReserve()
    handle = store.create("f")
    await store.volume.write(handle, 0, b"x" * 100_000)
    await store.volume.write(handle, 1 << 20, b"y" * 100_000)
    store.plan.add("write", errno.ENOSPC, at=1)
    await store.volume.flush(handle)
    assert len(await store.get("f")) == (1 << 20) + 100_000


async def test_a_writer_over_a_small_budget_does_not_wait_for_the_clock() -> None:
    store = Store()
    store.settings = Settings(segment_bytes=1 << 20, dirty_bytes=1 << 18, dirty_seconds=1000.0)
    await store.make()
    handle = store.create("f")
    async with trio.open_nursery() as nursery:
        await nursery.start(store.volume.run)
        with trio.fail_after(5):
            await store.volume.write(handle, 0, b"x" * 100_000)
            await store.volume.write(handle, 100_000, b"x" * 200_000)
        nursery.cancel_scope.cancel()
    assert store.volume.core.dirty_bytes <= 1 << 18


async def test_windows_fetched_ahead_are_bounded_over_all_handles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = await fresh()
    await store.put("f", os.urandom(6 << 20))
    volume = store.volume
    monkeypatch.setattr(volume.core.log, "read_nowait", lambda *place: None)
    ino = volume.lookup(store.root, b"f").ino
    handles = []
    async with trio.open_nursery() as nursery:
        await nursery.start(volume.run)
        for _ in range(50):
            handle = await volume.open(ino, os.O_RDONLY)
            handles.append(handle)
            for index in range(4):
                if volume.read_nowait(handle, index << 17, 1 << 17) is None:
                    await volume.read(handle, index << 17, 1 << 17)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    windows = [window for handle in handles for window in handle.ahead.values()]
    assert 0 < sum(len(window.data or b"") for window in windows) <= PREFETCH_BYTES_MAX


async def test_a_restored_file_with_one_often_rewritten_place_can_be_written() -> None:
    store = await fresh()
    volume = store.volume
    before = bytearray(await scattered(store, "f", 450))
    ino = volume.lookup(store.root, b"f").ino
    for number in range(260):
        store.clock.advance(20_000)
        handle = await volume.open(ino, os.O_RDWR)
        await volume.write(handle, 0, b"%010d" % number)
        await store.close_handle(handle)
    entry = volume.versions(BUCKET, b"f")[5]
    await volume.restore(BUCKET, b"f", entry.version_id, (BUCKET, b"g"))
    handle = await volume.open(volume.lookup(store.root, b"g").ino, os.O_RDWR)
    await volume.write(handle, 15, b"!")
    await store.close_handle(handle)
    before[:10], before[15:16] = b"%010d" % 254, b"!"
    assert await store.get("g") == before


async def test_a_restore_over_a_file_with_many_attributes() -> None:
    store = await fresh()
    volume = store.volume
    ino = await store.put("f", b"one")
    for number in range(XATTRS_MAX):
        volume.setxattr(ino, b"user.%d" % number, b"v")
    with pytest.raises(NoSpace):
        volume.setxattr(ino, b"user.one more", b"v")
    store.clock.advance(20_000)
    await store.put("f", b"two")
    await volume.restore(BUCKET, b"f", volume.versions(BUCKET, b"f")[-1].version_id)
    assert await store.get("f") == b"one"
    assert len(volume.listxattr(volume.lookup(store.root, b"f").ino)) == XATTRS_MAX


async def test_the_account_is_exact_after_huge_files_went() -> None:
    store = await fresh()
    await store.put("small", b"x" * 100)
    for name in ("a", "b", "c"):
        handle = store.create(name)
        await store.volume.setattr(handle.ino, AttributeChange(size=(1 << 63) - 1), handle)
        await store.close_handle(handle)
    for name in ("a", "b", "c"):
        await store.volume.unlink(store.root, name.encode())
    buckets = store.volume.status()["buckets"]
    assert isinstance(buckets, dict)
    assert buckets[BUCKET]["live_bytes"] == 100


async def test_a_checkpoint_that_failed_is_not_tried_again_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = Store()
    store.settings = Settings(segment_bytes=1 << 20, checkpoint_meta_bytes=1)
    await store.make()
    attempts: list[int] = []

    async def fail(sequence: int, parts: object) -> None:
        attempts.append(sequence)
        raise NoSpace("the device is full")

    monkeypatch.setattr(store.volume.core.log, "append_checkpoint", fail)
    with pytest.raises(NoSpace):
        await store.volume.upkeep()
    await store.volume.upkeep()
    assert len(attempts) == 1
    store.clock.advance(61 * 1000)
    with pytest.raises(NoSpace):
        await store.volume.upkeep()
    assert len(attempts) == 2


@pytest.mark.parametrize("crashed", [False, True])
@pytest.mark.parametrize("removed", [False, True])
async def test_extents_of_its_own_that_nothing_came_of_go(crashed: bool, removed: bool) -> None:
    """A restored file got them, and the write that wanted them never reached the log."""
    store = await fresh()
    old = await scattered(store, "f", 400)
    store.clock.advance(10_000)
    await store.put("f", b"new")
    version = store.volume.versions(BUCKET, b"f")[1].version_id
    ino = (await store.volume.restore(BUCKET, b"f", version)).ino
    handle = await store.volume.open(ino, os.O_RDWR)
    await unshare(store.volume.core, handle.open_inode)
    if crashed:
        await store.log.sync()
        store.crash()
        store.again()
        assert await store.get("f") == old
        handle = await store.volume.open(ino, os.O_RDWR)
    if removed:
        await store.volume.unlink(store.root, b"f")
    else:
        await store.volume.setattr(ino, AttributeChange(size=0), handle)
    await store.close_handle(handle)
    database = store.volume.core.database
    seen = {row.content for row in database.scan(VERSION)}
    assert {row.content for row in database.scan(EXTENT)} <= seen
    assert old in await store.history("f")
