"""Devices that fail: nothing acknowledged is lost, nothing half done stays, errors say so."""

import errno
import os
from collections.abc import Callable

import pytest
import trio
import trio.testing

from objfs.base.errors import DataLost, DeviceFailed, NoSpace, ReadOnly, StorageError
from objfs.base.ports import T
from objfs.base.settings import Settings
from objfs.store.faults import FaultPlan, FaultyDevice
from objfs.store.log import Log
from objfs.store.memory import MemoryDevice, everything_survives, nothing_survives
from tests.store.rig import PLAIN, Rig, meta, payloads
from tests.store.test_crashes import History, count_calls, torn, workload

NOISE = os.urandom(300_000)


def faulty(settings: Settings = PLAIN) -> tuple[MemoryDevice, FaultPlan, Rig]:
    memory, plan = MemoryDevice(), FaultPlan()
    return memory, plan, Rig(FaultyDevice(memory, plan), settings)


@pytest.mark.parametrize("written", [0, 1, 80, 90])
@pytest.mark.parametrize(
    ("number", "error"),
    [(errno.ENOSPC, NoSpace), (errno.EDQUOT, NoSpace), (errno.EIO, DeviceFailed)],
)
async def test_a_failed_append_is_cut_off(
    written: int, number: int, error: type[StorageError]
) -> None:
    memory, plan, rig = faulty()
    log = rig.open()
    log.append_meta(meta(filler=b"first"))
    before = memory.files()
    plan.add("write", number, written=written)
    with pytest.raises(error, match="appending to segment"):
        log.append_meta(meta(filler=b"lost"))
    assert memory.files()["0000000000000001.journal"].rstrip(b"\0") == before[
        "0000000000000001.journal"
    ].rstrip(b"\0")
    assert log.last_sequence == 1
    assert log.failed is None
    log.append_meta(meta(filler=b"second"))
    again = Rig(memory).open()
    assert payloads(again) == [(1, meta(filler=b"first")), (2, meta(filler=b"second"))]


async def test_when_the_cut_fails_too_the_log_takes_nothing_more() -> None:
    memory, plan, rig = faulty()
    log = rig.open()
    stored = log.append_data(1, 0, b"kept")
    plan.add("write", errno.ENOSPC, written=83)
    plan.add("truncate", errno.EIO)
    with pytest.raises(DeviceFailed, match="cutting it back"):
        log.append_meta(meta())
    assert isinstance(log.failed, StorageError)
    for attempt in (lambda: log.append_meta(meta()), lambda: log.append_data(1, 0, b"x")):
        with pytest.raises(DeviceFailed, match="the log has failed"):
            attempt()
    with pytest.raises(DeviceFailed):
        await log.append_large(1, 0, [b"x"])
    with pytest.raises(DeviceFailed):
        await log.sync()
    assert log.read_nowait(stored.location, stored.hash32, 0, 4) == b"kept"
    await log.close()
    assert Rig(memory).open().last_sequence == 0


@pytest.mark.parametrize("method", ["create", "write"])
async def test_a_segment_that_cannot_be_created_leaves_no_file(method: str) -> None:
    memory, plan, rig = faulty()
    log = rig.open()
    plan.add(method, errno.ENOSPC, written=10)
    with pytest.raises(NoSpace, match="creating segment"):
        log.append_meta(meta())
    assert memory.names() == []
    log.append_meta(meta())
    assert memory.names() == ["0000000000000002.journal"]


async def test_a_failed_sync_fails_all_who_wait_and_is_not_retried() -> None:
    _, plan, rig = faulty()
    log = rig.open()
    log.append_meta(meta())
    await log.sync()
    log.append_meta(meta())
    plan.add("sync", errno.EIO)
    failures = []

    async def wait() -> None:
        with pytest.raises(DeviceFailed, match=r"sync failed \(Input/output error\)") as caught:
            await log.sync()
        failures.append(caught.value)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(wait)
    assert len(failures) == 3
    synced = plan.calls.count("sync")
    with pytest.raises(DeviceFailed):
        await log.sync()
    with pytest.raises(DeviceFailed):
        log.append_meta(meta())
    assert plan.calls.count("sync") == synced
    assert log.synced_sequence == 1
    await log.close()


@pytest.mark.parametrize("survives", [nothing_survives, everything_survives, torn(1), torn(2)])
async def test_after_a_failed_sync_everything_unsynced_is_written_again(
    survives: Callable[[int], tuple[int, int]],
) -> None:
    """Reading shows it all, a further sync would report success, and nothing is on the medium."""
    memory, plan, rig = faulty(Settings(compression="none"))
    history = History()
    log = rig.open()
    history.append(log)
    await history.sync(log)
    small, (large,) = log.append_data(1, 0, NOISE[:500]), await log.append_large(2, 0, [NOISE])
    history.append(log, (small, NOISE[:500]), (large, NOISE))
    plan.add("sync", errno.EIO, at=2)  # the bulk segment was synced, the journal is not
    with pytest.raises(DeviceFailed):
        await log.sync()
    memory.drop_unsynced()
    again = Rig(memory).open()
    assert again.last_sequence == 2
    assert again.synced_sequence == 2
    history.synced = 2
    history.check(again)
    history.check(Rig(memory.after_power_cut(survives)).open())


async def test_a_full_device_loses_nothing() -> None:
    memory = MemoryDevice(capacity=200_000)
    rig = Rig(memory)
    log = rig.open()
    history = History()
    full = 0
    for n in range(200):
        try:
            data = NOISE[n : n + 3000]
            history.append(log, (log.append_data(1, n, data), data))
            if n % 5 == 0:
                (large,) = await log.append_large(1, n, [NOISE[n : n + 9000]])
                history.append(log, (large, NOISE[n : n + 9000]))
        except NoSpace:
            full += 1
            history.forget_after(log.last_sequence)
        if n % 7 == 0:
            await history.sync(log)
    assert full > 50
    history.check(rig.open(read_only=True))
    memory.capacity = 400_000
    history.append(log, filler=b"there is room again")
    await log.close()
    history.synced = len(history.metas)
    again = rig.open()
    assert again.recovery.scanned == 0
    history.check(again)


async def test_failed_large_appends_give_their_space_back() -> None:
    memory, plan, rig = faulty()
    log = rig.open()
    (first,) = await log.append_large(1, 0, [NOISE[:1000]])
    for _ in range(5):
        plan.add("write", errno.ENOSPC, written=700)
        with pytest.raises(NoSpace, match="writing large data"):
            await log.append_large(1, 0, [NOISE[:10_000]])
    (second,) = await log.append_large(1, 0, [NOISE[:1000]])
    assert second.location.offset < first.location.offset + first.location.length + 16
    await log.close()
    again = Rig(memory).open()
    for one in (first, second):
        assert again.read_blocking(one.location, one.hash32, 0, 1000) == NOISE[:1000]


class GatedThreads:
    """Work waits at a gate when its function's name is one of `gates`."""

    def __init__(self, *gates: str) -> None:
        self.gates = set(gates)
        self.held: list[trio.Event] = []

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        await trio.lowlevel.checkpoint()
        if getattr(function, "__name__", "") in self.gates:
            self.held.append(trio.Event())
            await self.held[-1].wait()
        return function(*arguments)

    def open(self) -> None:
        """All gates, for good."""
        self.gates.clear()
        for event in self.held:
            event.set()


async def test_a_large_append_that_fails_behind_another_leaves_a_gap_that_harms_nothing() -> None:
    memory, plan, rig = faulty(Settings(compression="none"))
    threads = GatedThreads("write_as_is")
    rig.threads = threads
    log = rig.open()
    plan.add("write", errno.EIO, at=2, written=500)  # 1 is the segment header
    stored = []

    async def fails() -> None:
        with pytest.raises(DeviceFailed):
            await log.append_large(1, 0, [NOISE[:200_000]])

    async def works() -> None:
        stored.extend(await log.append_large(2, 0, [NOISE[:5000]]))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fails)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(works)
        await trio.testing.wait_all_tasks_blocked()
        threads.held[0].set()
        await trio.testing.wait_all_tasks_blocked()
        threads.held[1].set()
    assert stored[0].location.offset > 200_000
    log.append_meta(meta(*stored))
    for left in (memory, memory.after_power_cut(everything_survives)):
        again = Rig(left).open(read_only=left is memory)
        assert again.last_sequence == 1
        assert again.recovery.damage == []
        (one,) = stored
        assert again.read_blocking(one.location, one.hash32, 0, 5000) == NOISE[:5000]


async def test_a_sync_does_not_wait_for_large_appends_in_flight() -> None:
    threads = GatedThreads("write_as_is")
    rig = Rig(threads=threads)
    log = rig.open()
    async with trio.open_nursery() as nursery:
        for _ in range(2):  # the first of them fills the segment
            nursery.start_soon(log.append_large, 1, 0, [NOISE[:100_000]])
        await trio.testing.wait_all_tasks_blocked()
        log.append_meta(meta())
        await log.sync()
        assert log.synced_sequence == 1
        threads.open()
    await log.close()
    assert rig.open().recovery.scanned == 0


async def test_who_asks_during_a_sync_shares_the_next_one() -> None:
    threads = GatedThreads("run_round")
    log = Rig(threads=threads).open()
    log.append_meta(meta())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.sync)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(log.sync)  # nothing new: the running one covers it
        log.append_meta(meta())
        for _ in range(5):
            nursery.start_soon(log.sync)
        await trio.testing.wait_all_tasks_blocked()
        assert log.synced_sequence == 0
        threads.open()
    assert log.synced_sequence == 2
    assert log.statistics().syncs == 2
    await log.sync()
    assert log.statistics().syncs == 2


async def test_a_cancelled_sync_does_not_stop_the_others() -> None:
    threads = GatedThreads("run_round")
    log = Rig(threads=threads).open()
    log.append_meta(meta())
    scope = trio.CancelScope()

    async def cancelled() -> None:
        with scope:
            await log.sync()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(cancelled)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(log.sync)
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        threads.open()
    assert log.synced_sequence == 1


async def test_a_cancelled_large_append_takes_nothing() -> None:
    threads = GatedThreads()
    rig = Rig(threads=threads)
    log = rig.open()
    await log.append_large(1, 0, [NOISE[:100]])
    threads.gates.add("write_as_is")
    with trio.move_on_after(0):
        await log.append_large(1, 0, [NOISE[:5000]])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.append_large, 1, 0, [NOISE[:5000]])
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    threads.open()
    (stored,) = await log.append_large(1, 0, [NOISE[:50]])
    assert stored.location.offset == 272
    await log.close()
    assert rig.open().recovery.scanned == 0


async def test_no_room_for_a_footer_is_no_failure() -> None:
    memory, plan, rig = faulty()
    log = rig.open()
    for n in range(3):
        log.append_data(1, 0, NOISE[:40_000])
        log.append_meta(meta(filler=b"%d" % n))
    plan.add("write", errno.ENOSPC, written=50)
    await log.sync()
    assert log.synced_sequence == 3
    assert Rig(memory).open(read_only=True).recovery.scanned == 2
    await log.close()
    again = Rig(memory).open()
    assert again.recovery.scanned == 0
    assert len(payloads(again)) == 3


async def test_a_device_that_cannot_be_read_is_data_lost() -> None:
    _, plan, rig = faulty()
    log = rig.open()
    stored = log.append_data(1, 0, b"x" * 100)
    plan.add("read", errno.EIO, lasting=True)
    for read in (log.read_nowait, log.read_blocking):
        with pytest.raises(DataLost, match="Input/output error") as caught:
            read(stored.location, stored.hash32, 0, 1)
        assert isinstance(caught.value.__cause__, OSError)
    with pytest.raises(DeviceFailed, match="opening the log"):
        rig.open()


@pytest.mark.slow
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("method", ["write", "sync", "sync_names", "create", "truncate", "read"])
async def test_a_failure_of_every_single_call(method: str, number: int) -> None:
    """Whatever call fails, what is left holds everything that was acknowledged as synced."""
    calls = await count_calls(workload)
    failed = 0
    for at in range(1, calls + 1):
        memory, plan, rig = faulty()
        history = History()
        plan.add(method, number, at=at, written=100)
        try:
            await workload(rig, history)
        except StorageError:
            failed += 1
        if plan.calls.count(method) < at:
            break
        for survives in (nothing_survives, everything_survives, torn(at)):
            history.check(Rig(memory.after_power_cut(survives)).open())
    assert failed >= (1 if method != "truncate" else 0)


async def test_the_log_is_closed_once_and_takes_nothing_after() -> None:
    log = Rig().open()
    log.append_meta(meta())
    await log.close()
    await log.close()
    with pytest.raises(ReadOnly, match="closed"):
        log.append_meta(meta())


def test_statistics_count() -> None:
    log: Log = Rig().open()
    stored = log.append_data(1, 0, b"1234")
    log.append_meta(meta(stored))
    log.read_nowait(stored.location, stored.hash32, 0, 4)
    log.read_nowait(stored.location, stored.hash32, 0, 4)
    figures = log.statistics()
    assert (figures.appends, figures.raw_data_bytes, figures.segments) == (2, 4, 1)
    assert (figures.cache_hits, figures.cache_misses) == (1, 1)
    assert figures.segment_bytes == 80 + 96 + figures.meta_bytes // 16 * 16 + 16
    assert figures.meta_bytes_since_checkpoint == figures.meta_bytes
    assert log.free_bytes() == log.space().available > 0
