"""Bringing the index up to the log: current, replayed, rebuilt; the rows are the same each way."""

from pathlib import Path
from random import Random
from typing import Any

import pytest
from msgspec import structs

from objfs.base.errors import DataLost, IndexFailed, NewerFormat
from objfs.base.limits import REPLAY_COMMIT_METAS
from objfs.meta import replay
from objfs.meta import sqlite as sqlite_module
from objfs.meta.change_record import encode_change
from objfs.meta.database import CatchUp, Database
from objfs.meta.memory import MemoryEngine
from objfs.meta.replay import catch_up
from objfs.meta.rows import Orphan
from objfs.meta.sqlite import SqliteEngine
from objfs.meta.tables import INODE
from tests.meta.conftest import sqlite_engine
from tests.meta.examples import inode
from tests.meta.fakes import START_NS, STORE_ID, AnyEngine, FakeClock, FakeLog
from tests.meta.histories import applied_first, caught_up, change_of, dumped, from_scratch, history

# --- Nothing to do, or something to apply -------------------------------------------------------


def test_an_empty_store_is_current(engine: AnyEngine, log: FakeLog, clock: FakeClock) -> None:
    assert caught_up(engine, log, clock) == CatchUp("current", "", 0, 0, 0, 0)


def test_an_index_that_agrees_is_current(engine: AnyEngine, log: FakeLog, clock: FakeClock) -> None:
    history(engine, log, clock)
    before = dumped(engine)
    assert caught_up(engine, log, clock) == CatchUp("current", "", 0, 0, 0, 0)
    assert dumped(engine) == before == from_scratch(log, clock)


def test_an_index_behind_is_replayed(engine: AnyEngine, log: FakeLog, clock: FakeClock) -> None:
    history(engine, log, clock)
    history(MemoryEngine(STORE_ID), log, clock, seed=2)
    found = caught_up(engine, log, clock)
    assert found == CatchUp("replayed", "it ended at META 60", 0, 0, 60, 0)
    assert dumped(engine) == from_scratch(log, clock)
    assert caught_up(engine, log, clock).outcome == "current"


def test_a_killed_process_forgets_only_the_end(
    tmp_path: Path, log: FakeLog, clock: FakeClock
) -> None:
    engine = sqlite_engine(tmp_path)
    history(engine, log, clock)
    database = catch_up(engine, log, clock)
    for size in range(5):
        with database.change() as change:
            change.put(inode(5, size=size))
        database.scan(INODE)  # in the open SQL transaction, not committed
    engine._connection.close()  # what kill -9 leaves
    again = sqlite_engine(tmp_path)
    assert caught_up(again, log, clock) == CatchUp("replayed", "it ended at META 60", 0, 0, 5, 0)
    assert dumped(again) == from_scratch(log, clock)
    again.close()


def test_replay_commits_in_batches(log: FakeLog, clock: FakeClock) -> None:
    commits, steps = [], []

    class Counting(MemoryEngine):
        def commit(self) -> None:
            commits.append(self.applied.sequence if self.applied else 0)

    for n in range(REPLAY_COMMIT_METAS + 10):
        log.append_meta(encode_change(n + 1, [change_of(Orphan(n, 1))]))
    total = log.last_sequence
    catch_up(Counting(), log, clock, progress=lambda done, of: steps.append((done, of)))
    assert commits == [REPLAY_COMMIT_METAS, total]
    assert steps == [(REPLAY_COMMIT_METAS, total)]


@pytest.mark.slow
def test_replay_keeps_the_wal_short(
    tmp_path: Path, log: FakeLog, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (replay, sqlite_module):
        monkeypatch.setattr(name, "INDEX_WAL_BYTES_MAX", 1 << 20)
    monkeypatch.setattr(replay, "REPLAY_COMMIT_METAS", 100)
    for n in range(3000):
        log.append_meta(encode_change(n + 1, [change_of(inode(n % 500, target=b"x" * 2000))]))
    engine = sqlite_engine(tmp_path)
    sizes = []
    catch_up(engine, log, clock, progress=lambda done, of: sizes.append(engine.wal_bytes()))
    assert max(sizes) < 3 << 20
    engine.close()


# --- Rebuilding ---------------------------------------------------------------------------------


def test_a_lost_index_is_rebuilt_row_for_row(
    engine: AnyEngine, log: FakeLog, clock: FakeClock
) -> None:
    history(engine, log, clock)
    log.checkpoint(engine)
    history(engine, log, clock, seed=2)
    before, applied = dumped(engine), engine.applied
    engine.reset()
    found = caught_up(engine, log, clock)
    assert found == CatchUp("rebuilt", "it is empty", 60, 0, 60, 0)
    assert dumped(engine) == before == from_scratch(log, clock)
    assert engine.applied == applied
    history(engine, log, clock, seed=3)
    assert dumped(engine) == from_scratch(log, clock)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_any_history_is_rebuilt(
    engine: AnyEngine, log: FakeLog, clock: FakeClock, seed: int
) -> None:
    random = Random(seed)
    for part in range(6):
        history(engine, log, clock, seed=seed * 100 + part, changes=random.randrange(1, 80))
        fate = random.choice(("checkpoint", "reset", "nothing"))
        if fate == "checkpoint":
            log.checkpoint(engine)
        elif fate == "reset":
            engine.reset()
        caught_up(engine, log, clock)
        assert dumped(engine) == from_scratch(log, clock)


def test_a_damaged_newest_checkpoint_is_passed_over(
    engine: AnyEngine, log: FakeLog, clock: FakeClock
) -> None:
    for seed in (1, 2, 3):
        history(engine, log, clock, seed=seed)
        log.checkpoint(engine)
    history(engine, log, clock, seed=4)
    before = dumped(engine)
    log.stored_checkpoints[0].parts.append(b"")  # a part does not verify
    engine.reset()
    found = caught_up(engine, log, clock)
    assert found == CatchUp("rebuilt", "it is empty", 120, 1, 120, 0)
    assert dumped(engine) == before
    log.stored_checkpoints[1].parts[0] = b"verifies, and is no index"
    log.stored_checkpoints[2].parts[:] = log.stored_checkpoints[0].parts[:1]  # another's parts
    engine.reset()
    found = caught_up(engine, log, clock)
    assert found == CatchUp("rebuilt", "it is empty", 0, 3, 240, 0)
    assert dumped(engine) == before


def test_an_index_ahead_of_the_log_is_rebuilt(
    engine: AnyEngine, log: FakeLog, clock: FakeClock
) -> None:
    history(engine, log, clock)
    log.checkpoint(engine)
    history(engine, log, clock, seed=2)
    log.cut(100)
    found = caught_up(engine, log, clock)
    assert found.outcome == "rebuilt"
    assert found.reason.startswith("it is ahead of the log")
    assert (found.checkpoint, found.replayed) == (60, 40)
    assert dumped(engine) == from_scratch(log, clock)


def test_a_diverged_index_is_rebuilt(engine: AnyEngine, log: FakeLog, clock: FakeClock) -> None:
    history(engine, log, clock)
    log.cut(40)
    history(MemoryEngine(STORE_ID), log, clock, seed=9)  # other METAs from 41 on
    found = caught_up(engine, log, clock)
    assert found.outcome == "rebuilt"
    assert found.reason.startswith("it has diverged from the log: META 60")
    assert dumped(engine) == from_scratch(log, clock)


def test_a_checkpoint_of_another_history_is_not_loaded(
    engine: AnyEngine, log: FakeLog, clock: FakeClock
) -> None:
    history(engine, log, clock)
    log.checkpoint(engine)
    (other,) = log.stored_checkpoints
    log.cut(40)
    log.stored_checkpoints = [other]
    engine.reset()
    assert caught_up(engine, log, clock).checkpoints_damaged == 1  # it is ahead of the log
    history(engine, log, clock, seed=9)
    engine.reset()
    found = caught_up(engine, log, clock)
    assert (found.checkpoint, found.checkpoints_damaged) == (0, 1)
    assert dumped(engine) == from_scratch(log, clock)


# --- Damage in the log --------------------------------------------------------------------------


def test_lost_metas_are_counted_and_passed_over(
    engine: AnyEngine, log: FakeLog, clock: FakeClock
) -> None:
    history(engine, log, clock)
    engine.reset()
    for sequence in (5, 6, 20, 60):
        del log.records[sequence]
    found = caught_up(engine, log, clock)
    assert (found.replayed, found.missing) == (56, 4)
    history(engine, log, clock, seed=2)
    assert engine.applied is not None
    assert engine.applied.sequence == log.last_sequence == 120


def test_metas_freed_below_a_checkpoint_are_not_lost(
    engine: AnyEngine, log: FakeLog, clock: FakeClock
) -> None:
    """An index that lay aside for long: its META is there, later ones were freed."""
    other = MemoryEngine(STORE_ID) if isinstance(engine, MemoryEngine) else None
    history(engine, log, clock, changes=10)
    applied = engine.applied
    twin = other or SqliteEngine(engine.path.parent.parent / "twin", STORE_ID)  # type: ignore[union-attr]
    history(twin, log, clock, seed=2)
    log.checkpoint(twin)
    history(twin, log, clock, seed=3)
    for sequence in range(20, 60):
        del log.records[sequence]
    assert engine.applied == applied
    found = caught_up(engine, log, clock)
    assert found.outcome == "rebuilt"
    assert found.reason == "the log no longer has META 20, but a checkpoint does"
    assert (found.checkpoint, found.replayed, found.missing) == (70, 60, 0)
    assert dumped(engine) == dumped(twin)
    twin.close()


def test_an_index_whose_meta_was_freed_is_rebuilt(
    engine: AnyEngine, log: FakeLog, clock: FakeClock
) -> None:
    history(engine, log, clock)
    log.checkpoint(engine)
    before = dumped(engine)
    log.records.clear()
    found = caught_up(engine, log, clock)
    assert found.reason == "the log no longer has META 60 to compare it with"
    assert (found.checkpoint, found.missing) == (60, 0)
    assert dumped(engine) == before


def test_what_a_newer_version_wrote_is_refused(
    engine: AnyEngine, log: FakeLog, clock: FakeClock
) -> None:
    log.append_meta(b"\x93\x01\x91\x92\x63\x91\x05\x90")
    with pytest.raises(NewerFormat, match="table 99"):
        catch_up(engine, log, clock)


def test_a_meta_that_is_no_change_is_refused(
    engine: AnyEngine, log: FakeLog, clock: FakeClock
) -> None:
    log.append_meta(b"no change")
    with pytest.raises(DataLost, match="META 1 "):
        catch_up(engine, log, clock)


def test_an_engine_that_always_fails_is_reported(log: FakeLog, clock: FakeClock) -> None:
    class Broken(MemoryEngine):
        def scan(self, *arguments: Any, **options: Any) -> list[Any]:
            raise IndexFailed("the index's disk is gone")

    with pytest.raises(IndexFailed, match="disk is gone"):
        catch_up(Broken(), log, clock)


def test_a_view_that_was_switched_off_is_right_after_opening_again(
    tmp_path: Path, log: FakeLog, clock: FakeClock
) -> None:
    """The engine fails after the append: the operation has happened, and the next opening knows."""
    engine = sqlite_engine(tmp_path)
    history(engine, log, clock)
    database = catch_up(engine, log, clock)
    engine._connection.execute("PRAGMA query_only = ON")
    with database.change() as change:
        change.put(inode(4242))
    with pytest.raises(IndexFailed, match="rebuild"):
        database.scan(INODE)
    for call in (database.change, database.commit, lambda: database.get(INODE, 5)):
        with pytest.raises(IndexFailed, match="rebuild"):
            call()
    engine.close()
    again = sqlite_engine(tmp_path)
    assert caught_up(again, log, clock).outcome == "replayed"
    assert again.get(INODE, 4242) == inode(4242)
    assert dumped(again) == from_scratch(log, clock)
    again.close()


# --- Time ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["current", "replayed", "rebuilt"])
def test_time_goes_on_from_the_last_meta(
    engine: AnyEngine, log: FakeLog, clock: FakeClock, way: str
) -> None:
    database = catch_up(engine, log, clock)
    for _ in range(3):
        last = touch(database)
    if way != "current":
        engine.reset()
        if way == "replayed":
            engine.apply(*applied_first(log))
    clock.wall_ns -= 10**9
    again = catch_up(engine, log, clock)
    assert again.caught_up is not None
    assert again.caught_up.outcome == way
    assert touch(again) == last + 1


def test_a_clock_that_went_back_over_a_day_is_seen_at_opening(
    engine: AnyEngine, log: FakeLog, clock: FakeClock
) -> None:
    touch(catch_up(engine, log, clock))
    clock.wall_ns -= 2 * 86_400 * 10**9
    again = catch_up(engine, log, clock)
    assert touch(again) == START_NS + 1
    assert [jump.sequence for jump in again.clock_jumps] == [2]


def touch(database: Database) -> int:
    with database.change() as change:
        old = change.get(INODE, 5) or inode(5)
        change.put(structs.replace(old, size=old.size + 1))
    return change.time_ns
