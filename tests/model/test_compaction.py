"""Compaction between, during and after everything else: no moment of the past changes, a stop
anywhere loses nothing and brings nothing back, and the next round returns the space."""

from collections.abc import Iterator
from random import Random

import pytest

from objfs.base.errors import NoSpace
from objfs.base.types import Caller
from objfs.store.memory import Survives, nothing_survives
from tests.model.harness import some_survives
from tests.model.operations import Generator, Operation
from tests.model.sequences import Run, limited
from tests.model.test_crash import lived_through

ME = Caller(1000, 1000, 0o022)
SEEDS = range(12)
OPERATIONS = 90
COMPACT: Operation = ("compact", (0.0,))


def compacting(operations: Iterator[Operation]) -> Iterator[Operation]:
    """With a compaction of everything every few steps, and checkpoints that free journals."""
    for count, operation in enumerate(operations):
        yield operation
        if count % 6 == 5:
            yield COMPACT


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
async def test_every_moment_outlives_compaction(seed: int) -> None:
    """S12.2"""
    run = await Run.begin(seed, None)
    for operation in compacting(limited(Generator(Random(seed), run), OPERATIONS)):
        await run.perform(operation)
    for fault in ("kept", "lost"):
        await run.compare_past()
        await run.compare_histories()
        await run.perform(("remount", (fault,)))
    await run.compare_past()


async def garbage(segment_kind: int) -> Run:
    """A history with much that is dead and much of the past that is live: journals and bulk
    segments, small pieces next to each other, ranges of a record."""
    run = await Run.begin(segment_kind, None)
    for n in range(3):
        operations: list[Operation] = [
            ("create", (f"large{n}", 0o644, ME, 0)),
            ("write", (0, 0, 300_000, 7 + n)),
            ("release", (0,)),
            ("create", (f"small{n}", 0o644, ME, 1)),
            ("write", (1, 0, 5000, n)),
            ("fsync", (1,)),
            ("write", (1, 1000, 1000, n + 10)),
            ("fsync", (1,)),
            ("write", (1, 2000, 1000, n + 20)),
            ("sync", ()),
            ("write", (1, 1500, 1000, n + 30)),
            ("release", (1,)),
            ("create", (f"open{n}", 0o644, ME, 2)),
            ("write", (2, 0, 20_000, n)),
            ("fsync", (2,)),
            ("write", (2, 0, 20_000, n + 3)),
            ("fsync", (2,)),
            ("write", (2, 0, 19_000, n + 5)),
            ("fsync", (2,)),
            ("release", (2,)),
            ("open", ("large0", 2, 3)),
            ("write", (3, 10_000, 5000, n)),
            ("release", (3,)),
            ("advance", (20_000,)),
        ]
        for operation in operations:
            await run.perform(operation)
    return run


def held_bytes(run: Run) -> int:
    return sum(map(len, run.harness.memory.files().values()))


async def compacted(run: Run) -> int:
    """The bytes that are left after a compaction."""
    await run.perform(COMPACT)
    return held_bytes(run)


async def stopped(base: Run, calls: int, part: int) -> Run | None:
    """A compaction stopped at a device call; None if there are not so many."""
    run = base.twin(None)
    await run.reopen()
    plan = run.harness.plan
    plan.crash_at, plan.crash_written = len(plan.calls) + calls, part
    try:
        await run.perform(COMPACT)
    except Exception:
        if not plan.crashed:
            raise
        run.reference.interrupted()
        return run
    return None


@pytest.mark.slow
@pytest.mark.parametrize("segment_kind", [0, 1])
@pytest.mark.parametrize("part", [0, 40])
async def test_a_stop_at_every_device_call(segment_kind: int, part: int) -> None:
    """S12.3"""
    base = await garbage(segment_kind)
    await base.perform(("sync", ()))
    whole = base.twin(None)
    await whole.reopen()
    least = await compacted(whole)
    assert least < held_bytes(base)
    calls = 1
    while (run := await stopped(base, calls, part)) is not None:
        survivors: tuple[Survives | None, ...] = (None, nothing_survives, some_survives(calls))
        for survives in survivors:
            again = run.twin(survives)
            await again.reopen("lost" if calls % 2 else "kept")
            if survives is nothing_survives and calls % 3 == 0:
                await again.compare_past()
                assert not again.harness.log.recovery.damage
                assert await compacted(again) <= least * 1.03 + 8192
            else:
                await lived_through(again.twin(None))
        calls += 1
    assert calls > 20


@pytest.mark.slow
@pytest.mark.parametrize("segment_kind", [0, 1])
async def test_a_device_that_fills_up_meanwhile(segment_kind: int) -> None:
    """S12.4"""
    base = await garbage(segment_kind)
    await base.perform(("sync", ()))
    whole = base.twin(None)
    await whole.reopen()
    least = await compacted(whole)
    refused = 0
    for room in (*range(0, 4000, 190), *range(4000, 400_000, 17_000)):
        run = base.twin(None)
        await run.reopen()
        memory = run.harness.memory
        memory.capacity = held_bytes(run) + room
        try:
            await run.subject.compact(0.0)
        except NoSpace:
            refused += 1
        memory.capacity = 1 << 40
        run.reference.settle(run.harness.log.last_sequence)
        await run.compare_present()
        await run.compare_past()
        assert await compacted(run) <= least * 1.03 + 8192
        await run.perform(("remount", ("lost",)))
        await run.compare_past()
    assert refused < 10
