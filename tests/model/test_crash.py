"""Crashes at every place of a scripted history: after reopening, the state is a prefix of history
that contains all that was promised durable."""

import os
from collections.abc import AsyncIterator, Iterable

import pytest

from objfs.base.types import Caller
from objfs.store.memory import MemoryDevice, Survives, nothing_survives
from tests.model.harness import some_survives
from tests.model.operations import Operation
from tests.model.sequences import Run

ME = Caller(1000, 1000, 0o022)
HISTORY: tuple[Operation, ...] = (
    ("mkdir", ("a", 0o755, ME)),
    ("create", ("a/b", 0o644, ME, 0)),
    ("write", (0, 0, 3000, 1)),
    ("release", (0,)),
    ("create", ("c", 0o644, ME, 0)),
    ("write", (0, 0, 200_000, 2)),
    ("fsync", (0,)),
    ("write", (0, 1000, 500, 3)),
    ("flush", (0,)),
    ("write", (0, 1200, 500, 4)),
    ("release", (0,)),
    ("set_attribute", ("c", b"user.a", b"value", 0)),
    ("checkpoint", ()),
    ("create", ("c.new", 0o600, ME, 0)),
    ("write", (0, 0, 1000, 5)),
    ("release", (0,)),
    ("rename", ("c.new", "c", 0)),
    ("open", ("a/b", os.O_RDWR, 0)),
    ("write", (0, 100, 10, 6)),
    ("link", ("a/b", "d")),
    ("unlink", ("a/b",)),
    ("truncate_open", (0, 50)),
    ("sync", ()),
    ("write", (0, 40, 2000, 7)),
    ("upkeep", ()),
    ("unlink", ("d",)),
    ("write", (0, 0, 10, 8)),
    ("rename", ("a", "z", 0)),
    ("open", ("c", os.O_RDWR | os.O_TRUNC, 1)),
    ("write", (1, 0, 10, 9)),
    ("remount", ("kept",)),
    ("mkdir", ("z/y", 0o700, ME)),
)


async def begun(segment_kind: int = 1) -> Run:
    """A new store; `segment_kind` 0 has segments so small that they change all the time."""
    return await Run.begin(segment_kind, None)


async def histories(segment_kind: int = 1) -> AsyncIterator[Run]:
    """The history, as it grows."""
    run = await begun(segment_kind)
    for operation in HISTORY:
        await run.perform(operation)
        yield run


async def lived_through(run: Run, *, everything: bool = False) -> None:
    """It opens, is a moment of its history, and goes on."""
    await run.reopen(everything=everything)
    await run.perform(("mkdir", ("after", 0o755, ME)))
    await run.perform(("crash", ("synced", 0, "lost")))


@pytest.mark.slow
@pytest.mark.parametrize("segment_kind", [0, 1])
async def test_a_power_cut_after_every_operation(segment_kind: int) -> None:
    """S2.1: a power cut leaves a prefix of the history with everything synced in it."""
    async for run in histories(segment_kind):
        synced = run.harness.log.synced_sequence
        strictest = run.twin(nothing_survives)
        await lived_through(strictest)
        assert run.promised <= synced
        for seed in range(3):
            await lived_through(run.twin(some_survives(seed)))


@pytest.mark.slow
async def test_a_kill_after_every_operation() -> None:
    """S1.3, S1.4: what was closed and what happened to names is in the log."""
    async for run in histories():
        await lived_through(run.twin(None), everything=True)


def cuts(device: MemoryDevice, before: MemoryDevice) -> Iterable[MemoryDevice]:
    """Every way the bytes that came since `before` can be torn: at each of them, with nothing
    behind it or with the length but not the data."""
    older, newer = before.files(), device.files()
    (name,) = [name for name in newer if newer[name] != older.get(name)]
    start, whole = len(older.get(name, b"")), newer[name]
    assert whole.startswith(older.get(name, b""))
    for end in range(start, len(whole)):
        yield MemoryDevice({**newer, name: whole[:end]})
        yield MemoryDevice({**newer, name: whole[:end].ljust(len(whole), b"\0")})


@pytest.mark.slow
@pytest.mark.parametrize("at", [3, 8, 10, 16, 20, 21, 27])
async def test_the_tail_torn_at_every_byte(at: int) -> None:
    """The last operation's records, torn; the one before it is whole."""
    run = await begun()
    for operation in HISTORY[:at]:
        await run.perform(operation)
    before = run.twin(None).harness.memory
    await run.perform(HISTORY[at])
    least = sorted(run.reference.moments)[-2]
    for device in cuts(run.harness.memory, before):
        torn = run.twin(None)
        torn.harness.memory = device
        torn.promised = max(torn.promised, least)
        torn.moments_compared = 1
        await torn.reopen("lost")


async def stopped(calls: int, part: int) -> Run | None:
    """The history, stopped at a device call, in a write after `part` bytes; None if there are not
    so many."""
    run = await begun()
    plan = run.harness.plan
    plan.crash_at, plan.crash_written = len(plan.calls) + calls, part
    for operation in HISTORY:
        try:
            await run.perform(operation)
        except Exception:
            if not run.harness.plan.crashed:
                raise
            run.reference.interrupted()
            return run
    return None


@pytest.mark.slow
@pytest.mark.parametrize("part", [0, 40, 1 << 30])
async def test_a_stop_at_every_device_call(part: int) -> None:
    calls = 1
    while (run := await stopped(calls, part)) is not None:
        survivors: tuple[Survives | None, ...] = (None, nothing_survives, some_survives(calls))
        for survives in survivors:
            await lived_through(run.twin(survives))
        calls += 1
    assert calls > len(HISTORY)


async def stopped_again(run: Run, calls: int, part: int) -> bool:
    """Open after a crash, stopped at a device call. Returns whether there were so many."""
    harness = run.harness
    harness.plan.crash_at, harness.plan.crash_written = calls, part
    try:
        harness.open()
    except Exception:
        if not harness.plan.crashed:
            raise
    else:
        return False
    if harness.found >= 0:
        run.reference.recover_partly(harness.found, harness.clock.now_ns())
        run.promised = harness.found
    return True


@pytest.mark.slow
@pytest.mark.parametrize("at", [7, 20, 24, 27])
@pytest.mark.parametrize("survives", [None, nothing_survives, some_survives(1)])
async def test_a_stop_at_every_device_call_of_recovery(at: int, survives: Survives | None) -> None:
    run = await begun(0)
    for operation in HISTORY[:at]:
        await run.perform(operation)
    calls = 1
    while True:
        again = run.twin(survives)
        if not await stopped_again(again, calls, 40):
            break
        for survives_again in (None, nothing_survives):
            await lived_through(again.twin(survives_again))
        calls += 1
    assert calls > 5
