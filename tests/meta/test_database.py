"""Changes: what they see, when they write, what happens when journal or engine fail; time."""

import logging
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from objfs.base.errors import DeviceFailed, IndexFailed, NotFound
from objfs.base.limits import (
    CLOCK_JUMP_NS,
    COMMIT_METAS_MAX,
    IDS_PER_CHANGE_MAX,
    MOMENT_GAP_NS,
    TRANSACTION_ROWS_MAX,
)
from objfs.meta.change_record import decode_change
from objfs.meta.database import ClockJump, Database
from objfs.meta.engine import Changed
from objfs.meta.memory import MemoryEngine
from objfs.meta.rows import Moment
from objfs.meta.tables import DENTRY, EXTENT, INODE, MOMENT
from tests.meta.examples import dentry, extent, inode
from tests.meta.fakes import START_NS, STORE_ID, AnyEngine, FakeClock, FakeLog


class FailingEngine(MemoryEngine):
    """Fails when told to, before anything is applied."""

    broken = False

    def apply(self, changes: Sequence[Changed], sequence: int, checksum: bytes) -> None:
        if self.broken:
            raise OSError("the engine's disk is gone")
        super().apply(changes, sequence, checksum)


@pytest.fixture
def database(engine: AnyEngine, log: FakeLog, clock: FakeClock) -> Database:
    return Database(engine, log, clock)


def rows_logged(log: FakeLog, sequence: int) -> list[Changed]:
    """What a META has, without the moment that a commit adds."""
    record = decode_change(log.records[sequence].payload, sequence)
    return [changed for changed in record.changes if changed[0] is not MOMENT]


# --- What a change does -------------------------------------------------------------------------


def test_a_change_is_one_meta(database: Database, log: FakeLog) -> None:
    with database.change() as change:
        change.put(inode(5))
        change.put(dentry(1, b"a", 5))
        change.delete(DENTRY, 1, b"b")
        assert log.last_sequence == 0
    assert log.last_sequence == database.sequence == 1
    assert rows_logged(log, 1) == [
        (INODE, (5,), inode(5)),
        (DENTRY, (1, b"a"), dentry(1, b"a", 5)),
        (DENTRY, (1, b"b"), None),
    ]
    assert database.get(INODE, 5) == inode(5)
    assert database.engine.applied == (1, log.records[1].checksum)


def test_an_exception_drops_everything(database: Database, log: FakeLog) -> None:
    def refused() -> None:
        with database.change() as change:
            change.put(inode(5))
            raise NotFound("no such parent")

    with pytest.raises(NotFound):
        refused()
    assert log.last_sequence == 0
    assert database.get(INODE, 5) is None
    with database.change() as change:
        change.put(inode(6))
    assert database.get(INODE, 6) == inode(6)


def test_a_change_sees_its_own_rows(database: Database) -> None:
    with database.change() as change:
        for key in (b"a", b"c", b"e"):
            change.put(dentry(1, key, 5))
    with database.change() as change:
        change.delete(DENTRY, 1, b"a")
        change.put(dentry(1, b"d", 6))
        change.put(dentry(1, b"e", 6))
        assert change.get(DENTRY, 1, b"a") is None
        assert change.get_many(DENTRY, [(1, b"d"), (1, b"a"), (1, b"c")]) == [
            dentry(1, b"d", 6),
            None,
            dentry(1, b"c", 5),
        ]
        assert [row.key for row in change.scan(DENTRY, (1,))] == [b"c", b"d", b"e"]
        assert [row.key for row in change.scan(DENTRY, (1,), limit=1)] == [b"c"]
        last = change.scan(DENTRY, (1,), reverse=True, limit=2)
        assert [row.key for row in last] == [b"e", b"d"]
        assert [row.key for row in change.scan(DENTRY, (5,), index="ino")] == [b"c"]
        assert [row.key for row in database.scan(DENTRY, (1,))] == [b"a", b"c", b"e"]


def test_deletes_in_a_change_do_not_shorten_a_page(database: Database) -> None:
    with database.change() as change:
        for offset in range(0, 100, 10):
            change.put(extent(7, offset, 1))
    with database.change() as change:
        for offset in range(0, 50, 10):
            change.delete(EXTENT, 7, offset)
        page = change.scan(EXTENT, (7,), limit=3)
        assert [row.offset for row in page] == [50, 60, 70]


def test_ids_come_from_the_sequence(database: Database) -> None:
    with database.change() as change:
        first = [change.new_id() for _ in range(IDS_PER_CHANGE_MAX)]
        with pytest.raises(AssertionError):
            change.new_id()
        change.put(inode(first[0]))
    with database.change() as change:
        assert change.new_id() > max(first)
    assert first == list(range(IDS_PER_CHANGE_MAX, 2 * IDS_PER_CHANGE_MAX))


def test_what_changes_nothing_writes_nothing(database: Database, log: FakeLog) -> None:
    with database.change() as change:
        change.put(inode(5))
        change.put(dentry(1, b"a", 5))
    with database.change() as change:
        row = change.get(INODE, 5)
        assert row is not None
        change.put(replace(row, size=row.size))
    with database.change() as change:
        assert change.get_many(DENTRY, [(1, b"z")]) == [None]
        change.delete(DENTRY, 1, b"z")
        change.put(dentry(1, b"a", 5))  # never read by this change
        change.delete(DENTRY, 1, b"y")
    with database.change() as change:
        pass
    with database.change() as change:
        change.put(dentry(1, b"b", 6))
        change.delete(DENTRY, 1, b"b")
    assert log.last_sequence == database.sequence == 1


def test_rows_read_and_put_back_are_left_out(database: Database, log: FakeLog) -> None:
    with database.change() as change:
        change.put(inode(5))
    with database.change() as change:
        row = change.get(INODE, 5)
        assert row is not None
        change.put(replace(row, size=9))
        change.put(row)
        change.put(inode(6))
    assert rows_logged(log, 2) == [(INODE, (6,), inode(6))]


# --- Bounds -------------------------------------------------------------------------------------


def test_a_change_inside_a_change_is_a_bug(database: Database) -> None:
    with database.change(), pytest.raises(AssertionError, match="inside a change"):
        database.change()
    first, second = database.change(), database.change()
    with first, pytest.raises(AssertionError, match="inside a change"):
        second.__enter__()
    with database.change():
        pass


def test_a_change_over_the_bound_is_a_bug(database: Database, log: FakeLog) -> None:
    with database.change() as change:
        for ino in range(TRANSACTION_ROWS_MAX):
            change.put(inode(ino))
    assert log.last_sequence == 1
    change = database.change()
    for ino in range(TRANSACTION_ROWS_MAX + 1):
        change.put(inode(ino, size=1))
    with pytest.raises(AssertionError, match="batches"), change:
        pass
    assert log.last_sequence == 1
    assert database.failed is None


def test_ids_that_do_not_fit_are_a_bug(database: Database, log: FakeLog) -> None:
    with pytest.raises(AssertionError), database.change() as change:
        change.put(inode(1 << 63))
    change = database.change()
    change.put(inode(5))
    change.delete(INODE, 1 << 63)
    with pytest.raises(AssertionError), change:
        pass
    assert log.last_sequence == 0


# --- Failures -----------------------------------------------------------------------------------


def test_a_failed_append_changes_nothing(database: Database, log: FakeLog) -> None:
    log.fail_appends = True
    with pytest.raises(DeviceFailed), database.change() as change:
        change.put(inode(5))
    assert database.get(INODE, 5) is None
    assert database.sequence == 0
    assert database.failed is None
    log.fail_appends = False
    with database.change() as change:
        assert change.sequence == 1
        change.put(inode(6))
    assert [row for name, row in database.engine.dump() if name == "inode"] == [inode(6)]


def test_an_engine_that_fails_after_the_append_switches_the_view_off(
    log: FakeLog, clock: FakeClock
) -> None:
    engine = FailingEngine(STORE_ID)
    database = Database(engine, log, clock)
    engine.broken = True
    with pytest.raises(IndexFailed, match=r"META 1 was logged.*rebuild"), database.change() as c:
        c.put(inode(5))
    assert log.last_sequence == 1
    assert database.failed is not None
    engine.broken = False
    calls = [
        lambda: database.get(INODE, 5),
        lambda: database.get_many(INODE, [(5,)]),
        lambda: database.scan(INODE),
        database.change,
        database.commit,
        database.begin_backup,
    ]
    for call in calls:
        with pytest.raises(IndexFailed, match="META 1 was logged"):
            call()
    assert log.last_sequence == 1


def test_an_engine_that_failed_by_itself_gets_no_more_changes(
    database: Database, log: FakeLog
) -> None:
    database.engine.failed = IndexFailed("the disk is gone")  # type: ignore[misc]
    assert database.failed is not None
    with pytest.raises(IndexFailed, match="disk is gone"):
        database.change()
    assert log.last_sequence == 0


# --- Commits ------------------------------------------------------------------------------------


def test_the_engine_commits_after_so_many_metas(log: FakeLog, clock: FakeClock) -> None:
    commits = []

    class Counting(MemoryEngine):
        def commit(self) -> None:
            commits.append(self.applied)

    database = Database(Counting(), log, clock)
    for size in range(COMMIT_METAS_MAX * 2):
        with database.change() as change:
            change.put(inode(5, size=size))
    assert [applied and applied.sequence for applied in commits] == [500, 1000]


# --- Time ---------------------------------------------------------------------------------------


def make_change(database: Database) -> int:
    """Changes something; returns its time."""
    with database.change() as change:
        change.put(inode(5, size=change.sequence))
    return change.time_ns


def test_time_grows_when_the_clock_stands_still(database: Database) -> None:
    assert [make_change(database) - START_NS for _ in range(3)] == [0, 1, 2]


def test_time_grows_when_the_clock_goes_back(database: Database, clock: FakeClock) -> None:
    first = make_change(database)
    clock.wall_ns -= 3_600_000_000_000
    assert make_change(database) == first + 1
    clock.wall_ns += 3_600_000_000_000 + 50
    assert make_change(database) == first + 50
    assert not database.clock_jumps


def test_time_goes_on_after_reopening(
    database: Database, engine: AnyEngine, log: FakeLog, clock: FakeClock
) -> None:
    first = make_change(database)
    clock.wall_ns -= 10 * MOMENT_GAP_NS
    again = Database(engine, log, clock)
    assert make_change(again) == first + 1


def test_a_day_back_is_reported_once(
    database: Database, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    make_change(database)
    clock.wall_ns -= CLOCK_JUMP_NS + 2
    with caplog.at_level(logging.WARNING):
        make_change(database)
        clock.advance(1)
        make_change(database)
    jump = ClockJump(2, START_NS, START_NS - CLOCK_JUMP_NS - 2)
    assert list(database.clock_jumps) == [jump]
    assert len(caplog.records) == 1
    assert "moved by -1.0 days between META 1 and 2" in caplog.text


def test_a_day_forward_is_reported(
    database: Database, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    make_change(database)
    clock.wall_ns += 3 * CLOCK_JUMP_NS
    with caplog.at_level(logging.WARNING):
        make_change(database)
    assert len(database.clock_jumps) == len(caplog.records) == 1


def test_a_day_that_passed_is_no_jump(database: Database, clock: FakeClock) -> None:
    make_change(database)
    clock.advance(3 * 86_400)
    make_change(database)
    assert not database.clock_jumps


def test_a_store_that_lay_idle_is_recorded_without_a_warning(
    database: Database,
    engine: AnyEngine,
    log: FakeLog,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    make_change(database)
    clock.wall_ns += 3 * CLOCK_JUMP_NS
    clock.seconds = 1.0  # the machine was started again
    again = Database(engine, log, clock)
    with caplog.at_level(logging.WARNING):
        make_change(again)
    assert len(again.clock_jumps) == 1
    assert not caplog.records


def test_moments_are_sparse(database: Database, clock: FakeClock) -> None:
    times = []
    for _ in range(25):
        times.append(make_change(database))
        clock.advance(MOMENT_GAP_NS / 1e9 / 10)
    assert database.scan(MOMENT) == [
        Moment(times[0], 1),
        Moment(times[10], 11),
        Moment(times[20], 21),
    ]
    assert database.scan(MOMENT, (11,), index="sequence") == [Moment(times[10], 11)]


def test_moments_stay_sparse_after_reopening(
    database: Database, engine: AnyEngine, log: FakeLog, clock: FakeClock
) -> None:
    make_change(database)
    clock.advance(MOMENT_GAP_NS / 1e9 / 2)
    again = Database(engine, log, clock)
    make_change(again)
    assert len(again.scan(MOMENT)) == 1


def test_a_change_that_writes_nothing_adds_no_moment(
    database: Database, log: FakeLog, clock: FakeClock
) -> None:
    make_change(database)
    clock.advance(10)
    with database.change() as change:
        change.get(INODE, 5)
    assert len(database.scan(MOMENT)) == log.last_sequence == 1
