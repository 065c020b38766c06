"""The index is a view of the log: lost, spoiled or stale, it comes back row for row."""

from pathlib import Path
from random import Random

import pytest

from objfs.base.types import Caller
from objfs.store.format import SegmentKind
from objfs.store.memory import MemoryDevice
from objfs.store.segment import parse_segment_name
from tests.model.harness import Harness
from tests.model.operations import Generator, Operation
from tests.model.sequences import Run, limited

ME = Caller(1000, 1000, 0o022)
OPERATIONS = 150
SEEDS = range(4)
Rows = list[tuple[str, object]]


async def lived(seed: int, directory: Path | None = None) -> Run:
    """A store after a random history with overwrites, renames, deletes and checkpoints, closed
    cleanly. It has at least two checkpoints, and META above the newest."""
    run = await Run.begin(seed, directory)
    generator = Generator(Random(seed), run, disasters=False)
    for number, operation in enumerate(limited(generator, OPERATIONS)):
        await run.perform(operation)
        if number in (50, 100):
            await run.perform(("checkpoint", ()))
    await run.perform(("mkdir", ("the last", 0o755, ME)))
    await run.perform(("remount", ("kept",)))
    await run.harness.close()
    return run


async def rows_after(run: Run, index_fault: str) -> tuple[Rows, str]:
    """Every row after another opening, and how the index was brought up to the log. The past is
    compared too."""
    volume = run.harness.open(index_fault)
    run.subject.take(volume)
    caught_up = volume.core.database.caught_up
    assert caught_up is not None
    run.reference.perform("remount", (), run.harness.clock.now_ns())
    run.reference.settle(run.harness.log.last_sequence)
    await run.compare_present()
    await run.compare_past()
    rows = run.harness.dump()
    await run.harness.close()
    return rows, caught_up.outcome


async def as_it_was(run: Run) -> Rows:
    """Every row with the index that lived through the history."""
    rows, outcome = await rows_after(run, "kept")
    assert outcome == "current"
    return rows


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("fault", ["lost", "garbage"])
@pytest.mark.parametrize("sqlite", [False, True])
async def test_a_spoiled_index_comes_back(
    seed: int, fault: str, sqlite: bool, tmp_path: Path
) -> None:
    """S4.3"""
    run = await lived(seed, tmp_path / "index" if sqlite else None)
    rows = await as_it_was(run)
    assert {name for name, _ in rows} >= {"inode", "inode_past", "dentry_past", "extent_past"}
    assert await rows_after(run, fault) == (rows, "rebuilt")


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
async def test_without_checkpoints_it_is_the_same(seed: int) -> None:
    run = await lived(seed)
    rows = await as_it_was(run)
    damage_checkpoints(run.harness, count=2)
    assert await rows_after(run, "lost") == (rows, "rebuilt")


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
async def test_with_the_newest_checkpoint_damaged_it_is_the_same(seed: int) -> None:
    run = await lived(seed)
    rows = await as_it_was(run)
    damage_checkpoints(run.harness, count=1)
    rebuilt, outcome = await rows_after(run, "lost")
    assert (rebuilt, outcome) == (rows, "rebuilt")
    caught_up = run.harness.volume.core.database.caught_up
    assert caught_up is not None
    assert caught_up.checkpoints_damaged == 1
    assert caught_up.checkpoint > 0


def damage_checkpoints(harness: Harness, count: int) -> None:
    """Flip a byte in the middle of each of the newest checkpoints."""
    harness.open()
    newest = harness.log.checkpoints()[:count]
    assert len(newest) == count
    harness.crash(None)
    files = harness.memory.files()
    for checkpoint in newest:
        location, _ = checkpoint.parts[0]
        (name,) = [name for name in files if parse_segment_name(name) == (location.segment, BULK)]
        data = bytearray(files[name])
        data[location.offset + location.length // 2] ^= 1
        files[name] = bytes(data)
    harness.memory = MemoryDevice(files)


BULK = SegmentKind.BULK


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("sqlite", [False, True])
async def test_an_index_older_than_the_log_follows(seed: int, sqlite: bool, tmp_path: Path) -> None:
    """S4.3"""
    run = await lived(seed, tmp_path / "index" if sqlite else None)
    run.subject.take(run.harness.open())
    more: list[Operation] = [
        ("create", ("newer", 0o644, ME, 3)),
        ("write", (3, 0, 5000, seed)),
        ("release", (3,)),
        ("rename", ("newer", "newest", 0)),
    ]
    run.reference.perform("remount", (), run.harness.clock.now_ns())
    run.reference.settle(run.harness.log.last_sequence)
    for operation in more:
        await run.perform(operation)
    rows = run.harness.dump()
    await run.harness.volume.close()  # and the older copy stays as it was
    assert await rows_after(run, "older") == (rows, "replayed")


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
async def test_an_index_newer_than_the_log_is_rebuilt(seed: int) -> None:
    """The medium lost what was not synced, but the index has it: the log is right."""
    run = await lived(seed)
    rows = await as_it_was(run)
    run.subject.take(run.harness.open())
    run.subject.mkdir("too new", 0o755, ME)
    assert run.harness.dump() != rows
    run.harness.crash()
    assert await rows_after(run, "kept") == (rows, "rebuilt")


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
async def test_a_diverged_index_is_rebuilt(seed: int) -> None:
    """The log lost its tail and grew another one of the same length."""
    run = await lived(seed)
    run.subject.take(run.harness.open())
    run.subject.mkdir("one history", 0o755, ME)
    index = run.harness.indexes.engine
    run.harness.crash()
    run.subject.take(run.harness.open("lost"))
    run.subject.mkdir("another history", 0o755, ME)
    await run.subject.sync()
    rows = run.harness.dump()
    run.harness.crash()
    run.harness.indexes.engine = index
    run.subject.take(run.harness.open())
    assert run.harness.dump() == rows
    assert run.subject.find("another history")
    caught_up = run.harness.volume.core.database.caught_up
    assert caught_up is not None
    assert caught_up.outcome == "rebuilt"
    await run.harness.close()


async def test_an_index_of_another_store_is_not_used() -> None:
    run = await lived_shortly()
    rows = run.harness.dump()
    await run.harness.close()
    other = await lived_shortly()
    await other.perform(("mkdir", ("elsewhere", 0o755, ME)))
    run.harness.indexes.engine = other.harness.indexes.engine
    run.subject.take(run.harness.open())
    assert run.harness.dump() == rows


async def lived_shortly() -> Run:
    run = await Run.begin(1, None)
    await run.perform(("create", ("a", 0o644, ME, 0)))
    await run.perform(("write", (0, 0, 100, 1)))
    await run.perform(("release", (0,)))
    return run
