"""Crashes as inputs: whatever is left of the log, opening it gives a prefix of its history that
holds everything synced, and no damage is reported where there is none."""

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random

import pytest

from objfs.base.types import Stored
from objfs.store.faults import Crash, FaultPlan, FaultyDevice
from objfs.store.format import SEGMENT_HEADER_BYTES
from objfs.store.log import Log
from objfs.store.memory import (
    MemoryDevice,
    Survives,
    everything_survives,
    nothing_survives,
)
from tests.store.rig import Rig, meta, payloads

NOISE = os.urandom(1 << 20)


@dataclass
class History:
    """What a workload did, and what it was promised."""

    metas: list[tuple[int, bytes]] = field(default_factory=list)
    data: list[tuple[int, Stored, bytes]] = field(default_factory=list)  # META that refers to it
    synced: int = 0
    checkpoints: int = 0

    def append(self, log: Log, *stored: tuple[Stored, bytes], filler: bytes = b"") -> None:
        payload = meta(*(one for one, _ in stored), filler=filler)
        self.metas.append((log.last_sequence + 1, payload))
        self.data += [(log.last_sequence + 1, one, data) for one, data in stored]
        log.append_meta(payload)

    async def sync(self, log: Log) -> None:
        reached = log.last_sequence
        await log.sync()
        self.synced = max(self.synced, reached)

    def check(self, log: Log) -> None:
        """The log holds a prefix that has everything synced, and its data reads back."""
        found = payloads(log)
        assert found == self.metas[: len(found)]
        assert len(found) == log.last_sequence
        assert len(found) >= self.synced
        for sequence, one, data in self.data:
            if sequence <= log.last_sequence:
                assert log.read_blocking(one.location, one.hash32, 0, one.length) == data
        assert log.recovery.damage == []
        assert len(log.checkpoints()) >= self.checkpoints
        for checkpoint in log.checkpoints():
            assert b"".join(log.read_checkpoint(checkpoint)) == NOISE[:3000]

    def forget_after(self, sequence: int) -> None:
        self.metas = self.metas[:sequence]
        self.data = [one for one in self.data if one[0] <= sequence]


async def workload(rig: Rig, history: History) -> None:
    """A bit of everything, in the order a volume does it."""
    log = rig.open()
    history.append(log)
    small = log.append_data(1, 0, b"small" * 20)
    history.append(log, (small, b"small" * 20))
    await history.sync(log)
    (large,) = await log.append_large(2, 0, [NOISE[:30_000], NOISE[30_000:70_000]])
    history.append(log, (large, NOISE[:70_000]), filler=bytes(900))
    history.append(log)
    await log.append_checkpoint(log.last_sequence, [NOISE[:1000], NOISE[1000:3000]])
    history.synced = max(history.synced, 4)
    history.checkpoints = 1
    for n in range(5):
        data = NOISE[n : n + 20_000]
        history.append(log, (log.append_data(3, n, data), data))
        if n == 3:
            await history.sync(log)
    (large,) = await log.append_large(2, 0, [NOISE[:50_000]])
    history.append(log, (large, NOISE[:50_000]))
    await log.close()
    history.synced = len(history.metas)


async def count_calls(work: Callable[[Rig, History], Awaitable[None]]) -> int:
    plan = FaultPlan()
    await work(Rig(FaultyDevice(MemoryDevice(), plan)), History())
    return len(plan.calls)


def torn(seed: int) -> Survives:
    """Any part of any unsynced write survives, or none, or all."""
    random = Random(seed)

    def survives(length: int) -> tuple[int, int]:
        if length == 1:
            return (0, random.randrange(2))
        match random.randrange(4):
            case 0:
                return (0, 0)
            case 1:
                return (0, length)
            case 2:
                return (0, random.randrange(length))
            case _:
                return (random.randrange(length), length)

    return survives


async def check_all_power_cuts(memory: MemoryDevice, history: History, seeds: int) -> None:
    for survives in (nothing_survives, everything_survives, *map(torn, range(seeds))):
        left = memory.after_power_cut(survives)
        rig = Rig(left)
        history.check(rig.open(read_only=True))
        log = rig.open()
        history.check(log)
        assert rig.open(read_only=True).recovery.synced_through == log.last_sequence
        again = History(list(history.metas), list(history.data), log.last_sequence)
        again.checkpoints = len(log.checkpoints())
        again.forget_after(log.last_sequence)
        again.append(log, filler=b"after the crash")
        # what recovery mended is durable before anything else happens
        again.check(Rig(left.after_power_cut()).open(read_only=True))
        await log.close()
        again.check(rig.open(read_only=True))


@pytest.mark.slow
@pytest.mark.parametrize("written", [0, 1, 79, 5000])
async def test_a_stop_at_every_device_call(written: int) -> None:
    calls = await count_calls(workload)
    assert calls > 40
    for at in range(1, calls + 1):
        memory, history = MemoryDevice(), History()
        plan = FaultPlan(crash_at=at, crash_written=written)
        with pytest.raises(Crash):
            await workload(Rig(FaultyDevice(memory, plan)), history)
        await check_all_power_cuts(memory, history, seeds=3)


async def test_power_cut_at_any_moment_with_torn_writes() -> None:
    memory, history = MemoryDevice(), History()
    plan = FaultPlan(crash_at=await count_calls(workload) - 9)
    with pytest.raises(Crash):
        await workload(Rig(FaultyDevice(memory, plan)), history)
    await check_all_power_cuts(memory, history, seeds=20)


async def crashed_log(memory: MemoryDevice, history: History) -> None:
    """A log with a synced beginning and an unsynced tail, left without a close."""
    log = Rig(memory).open()
    history.append(log, filler=b"one")
    history.append(log, filler=b"two")
    await history.sync(log)
    history.append(log, filler=b"three")
    data = NOISE[:300]
    history.append(log, (log.append_data(1, 0, data), data))
    (large,) = await log.append_large(2, 0, [NOISE[:200]])
    history.append(log, (large, NOISE[:200]))


@pytest.mark.slow
async def test_the_tail_torn_at_every_byte() -> None:
    memory, history = MemoryDevice(), History()
    await crashed_log(memory, history)
    files = memory.files()
    for name, data in files.items():
        start = len(memory.after_power_cut().files().get(name, b""))
        for cut in range(start, len(data) + 1):
            tails = [b"", bytes(len(data) - cut)]
            if cut >= SEGMENT_HEADER_BYTES:  # garbage in a header is damage, elsewhere it is torn
                tails.append(b"\xff" * (len(data) - cut))
            for tail in tails:
                rig = Rig(MemoryDevice({**files, name: data[:cut] + tail}))
                log = rig.open()
                history.check(log)
                if not tail and cut < len(data):
                    assert log.last_sequence < 5
                history.check(rig.open())


async def test_a_missing_bulk_segment_ends_history_at_the_meta_that_needs_it() -> None:
    memory, history = MemoryDevice(), History()
    await crashed_log(memory, history)
    files = {name: data for name, data in memory.files().items() if "bulk" not in name}
    log = Rig(MemoryDevice(files)).open()
    assert log.last_sequence == 4
    assert "needs data" in log.recovery.cut_because
    history.check(log)


async def segment_in_a_file(memory: MemoryDevice, history: History, name: str) -> None:
    """The torn tail is data that holds a byte for byte copy of the segment it lies in."""
    log = Rig(memory).open()
    for n in range(3):
        history.append(log, filler=b"%d" % n)
    copy = memory.files()[name]
    for at in range(0, 3 * 16, 16):
        history.append(log, (log.append_data(1, 0, bytes(at) + copy), bytes(at) + copy))
    last = bytes(16) + memory.files()[name]
    history.append(log, (log.append_data(1, 0, last), last))


@pytest.mark.slow
async def test_a_segment_in_a_users_file_is_never_taken_for_records() -> None:
    """S2.5"""
    name = "0000000000000001.journal"
    memory, history = MemoryDevice(), History()
    await segment_in_a_file(memory, history, name)
    data = memory.files()[name]
    for cut in range(0, len(data), 37):
        for start in range(0, 80, 16):  # the header that the copy lies behind is gone
            damaged = data[: max(cut - start, 80)] + bytes(min(start, cut)) + data[cut:]
            log = Rig(MemoryDevice({name: damaged})).open()
            found = payloads(log)
            assert found == history.metas[: len(found)]


async def test_recovery_interrupted_at_every_call_comes_to_the_same_end() -> None:
    memory, history = MemoryDevice(), History()
    await crashed_log(memory, history)
    survivor = memory.after_power_cut(torn(3))
    expected = Rig(survivor.after_power_cut()).open().last_sequence
    for at in range(1, 100):
        device = survivor.after_power_cut()
        plan = FaultPlan(crash_at=at)
        try:
            Rig(FaultyDevice(device, plan)).open()
        except Crash:
            for survives in (nothing_survives, everything_survives, torn(at)):
                log = Rig(device.after_power_cut(survives)).open()
                assert log.last_sequence == expected
                history.check(log)
        else:
            break
    assert plan.calls, "the recovery ended"
    assert at > 10


async def test_after_a_failed_sync_the_page_cache_is_not_believed() -> None:
    """A failed fsync marks pages clean that never reached the medium. Opening the store again on
    the running machine reads them from the cache; they must be written again."""
    memory = MemoryDevice()
    history = History()
    await crashed_log(memory, history)
    log = Rig(memory).open()  # reads what was written, not what was synced
    assert log.last_sequence == 5
    history.synced = 5
    history.check(Rig(memory.after_power_cut()).open())
    assert log.recovery.rewritten_bytes > 500
