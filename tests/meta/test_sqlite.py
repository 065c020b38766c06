"""What only the SQLite engine has: the overlay, the file, its WAL, other connections."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from objfs.base.errors import IndexFailed
from objfs.base.limits import INDEX_CACHED_ROWS_MAX
from objfs.base.system import TrioThreads
from objfs.meta import sqlite as sqlite_module
from objfs.meta.checkpoint import checkpoint_parts
from objfs.meta.database import Database
from objfs.meta.rows import Orphan
from objfs.meta.sqlite import SqliteEngine
from objfs.meta.sqlite_file import schema
from objfs.meta.sqlite_past import nearest_sql, scan_holding_sql, scan_nearest_sql, stop_sql
from objfs.meta.sqlite_statements import scan_sql
from objfs.meta.tables import DENTRY, DENTRY_PAST, EXTENT, INODE, ORPHAN, TABLES, Table
from tests.meta.conftest import sqlite_engine
from tests.meta.examples import dentry, extent, inode
from tests.meta.fakes import STORE_ID, FakeClock, FakeLog
from tests.meta.test_engine_contract import delete, put


def statements(engine: SqliteEngine) -> list[str]:
    """The SQL that runs from now on, without parameters."""
    seen: list[str] = []
    engine._connection.set_trace_callback(lambda sql: seen.append(sql.split(" (")[0]))
    return seen


def seen_by_others(engine: SqliteEngine) -> int:
    """How many inodes another connection sees."""
    with closing(sqlite3.connect(engine.path)) as connection:
        count: int = connection.execute("SELECT count(*) FROM inode").fetchone()[0]
    return count


def plan(engine: SqliteEngine, sql: str) -> str:
    """How SQLite goes about it."""
    marks = (1,) * sql.count("?")
    steps = engine._connection.execute(f"EXPLAIN QUERY PLAN {sql}", marks).fetchall()
    return " ".join(step[3] for step in steps)


def files_beside(engine: SqliteEngine) -> set[str]:
    return {path.name for path in engine.path.parent.iterdir()}


# --- The overlay --------------------------------------------------------------------------------


def test_a_hot_row_is_written_once(sqlite: SqliteEngine) -> None:
    seen = statements(sqlite)
    for size in range(100):
        put(sqlite, inode(5, size=size))
        assert sqlite.get(INODE, 5) == inode(5, size=size)
    assert seen == []
    sqlite.commit()
    assert sum(sql.startswith("INSERT OR REPLACE") for sql in seen) == 1


def test_a_row_that_came_and_went_costs_a_delete_only(sqlite: SqliteEngine) -> None:
    put(sqlite, dentry(1, b"tmp", 5))
    delete(sqlite, (1, b"tmp"))
    seen = statements(sqlite)
    assert sqlite.get(DENTRY, 1, b"tmp") is None
    sqlite.commit()
    assert [sql.split(" ", 1)[0] for sql in seen] == ["BEGIN", "DELETE", "UPDATE", "COMMIT"]


def test_a_scan_elsewhere_leaves_pending_rows_alone(sqlite: SqliteEngine) -> None:
    put(sqlite, dentry(1, b"a", 5), extent(7, 0, 1))
    seen = statements(sqlite)
    assert sqlite.scan(DENTRY, (2,)) == []
    assert sqlite.scan(DENTRY, (2,), index="cookie") == []
    assert sqlite.scan(EXTENT, (8,)) == []
    assert not any(sql.startswith("INSERT") for sql in seen)
    assert sqlite.scan(DENTRY, (1,), index="cookie") == [dentry(1, b"a", 5)]
    assert sum(sql.startswith("INSERT") for sql in seen) == 1


def test_rows_read_again_cost_no_sql(sqlite: SqliteEngine) -> None:
    put(sqlite, inode(5), inode(6))
    sqlite.commit()
    put(sqlite, *(inode(ino) for ino in range(10, 10 + INDEX_CACHED_ROWS_MAX)))
    sqlite.commit()  # more than the cache holds: 5 is forgotten
    seen = statements(sqlite)
    for _ in range(3):
        assert sqlite.get(INODE, 5) == inode(5)
        assert sqlite.get(DENTRY, 1, b"missing") is None
    assert sum(sql.startswith("SELECT") for sql in seen) == 2


def test_the_cache_is_bounded(sqlite: SqliteEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_module, "INDEX_CACHED_ROWS_MAX", 10)
    put(sqlite, *(inode(ino) for ino in range(100)))
    sqlite.commit()
    for ino in range(100):
        assert sqlite.get(INODE, ino) == inode(ino)
        assert len(sqlite._cached[INODE.id]) <= 10


def test_what_is_cached_follows_changes(sqlite: SqliteEngine) -> None:
    put(sqlite, inode(5))
    sqlite.commit()
    assert sqlite.get(INODE, 5) == inode(5)
    put(sqlite, inode(5, size=1))
    sqlite.scan(INODE)
    assert sqlite.get(INODE, 5) == inode(5, size=1)
    assert sqlite.get(INODE, 6) is None
    put(sqlite, inode(6))
    sqlite.commit()
    assert sqlite.get(INODE, 6) == inode(6)


# --- The file -----------------------------------------------------------------------------------


def test_commit_shows_everything_to_others(sqlite: SqliteEngine) -> None:
    put(sqlite, inode(5))
    sqlite.scan(INODE)
    assert seen_by_others(sqlite) == 0
    sqlite.commit()
    assert seen_by_others(sqlite) == 1


def test_the_schema_is_fixed_for_this_version(sqlite: SqliteEngine) -> None:
    """A change here needs another INDEX_VERSION: older indexes are rebuilt then."""
    assert len(schema()) == 1 + len(TABLES) + sum(len(table.indexes) for table in TABLES)
    assert schema()[7:9] == [
        'CREATE TABLE "dentry" ("parent" INTEGER NOT NULL, "key" BLOB NOT NULL, '
        '"ino" INTEGER NOT NULL, "cookie" INTEGER NOT NULL, "row" BLOB NOT NULL, '
        'PRIMARY KEY ("parent", "key")) WITHOUT ROWID',
        'CREATE INDEX "dentry_ino" ON "dentry" ("ino")',
    ]
    assert schema()[1].startswith('CREATE TABLE "bucket" ("id" INTEGER NOT NULL')


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_scans_need_no_sorting(sqlite: SqliteEngine, table: Table[Any]) -> None:
    for name, order in table.orders.items():
        for width in range(len(order.columns)):
            sql = scan_sql(
                table, width, lower=True, upper=True, limit=True, reverse=True, index=name
            )
            words = plan(sqlite, sql)
            assert words.startswith("SEARCH"), words
            assert "B-TREE" not in words, words


@pytest.mark.parametrize("stops", [False, True])
@pytest.mark.parametrize("newest", [False, True])
def test_skip_scans_need_no_sorting(sqlite: SqliteEngine, newest: bool, stops: bool) -> None:
    for sql in (
        stop_sql(DENTRY_PAST, True, True),
        scan_holding_sql(DENTRY_PAST, True, True, stops=stops),
        scan_nearest_sql(DENTRY_PAST, True, True, stops=stops, newest=newest),
        nearest_sql(DENTRY_PAST, 3, newest=newest),
    ):
        words = plan(sqlite, sql)
        assert "SEARCH dentry_past USING PRIMARY KEY (parent=?" in words, words
        assert "B-TREE" not in words, words


def test_a_directory_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "index").write_bytes(b"a file")
    with pytest.raises(IndexFailed, match="objfs rebuild"):
        sqlite_engine(tmp_path)


def test_a_path_with_odd_characters_works(tmp_path: Path) -> None:
    directory = tmp_path / "a?b#c %41 'é\""
    engine = SqliteEngine(directory, STORE_ID)
    put(engine, inode(5))
    assert list(engine.begin_backup()().parts)
    engine.close()
    again = SqliteEngine(directory, STORE_ID)
    assert again.get(INODE, 5) == inode(5)
    again.close()


def test_a_write_that_fails_is_final(sqlite: SqliteEngine) -> None:
    put(sqlite, inode(5))
    sqlite._connection.execute("PRAGMA query_only = ON")
    with pytest.raises(IndexFailed, match="objfs rebuild"):
        sqlite.commit()
    assert sqlite.failed is not None
    sqlite._connection.execute("PRAGMA query_only = OFF")
    for call in (sqlite.commit, lambda: put(sqlite, inode(6)), lambda: sqlite.scan(INODE)):
        with pytest.raises(IndexFailed):
            call()


def test_a_read_that_fails_is_not(sqlite: SqliteEngine) -> None:
    put(sqlite, inode(5))
    sqlite.commit()
    sqlite._cached[INODE.id].clear()
    sqlite._connection.execute('UPDATE "inode" SET "row" = x\'c1\'')
    with pytest.raises(IndexFailed, match="objfs rebuild"):
        sqlite.get(INODE, 5)
    with pytest.raises(IndexFailed, match="objfs rebuild"):
        sqlite.scan(INODE)
    assert sqlite.failed is None


# --- The WAL ------------------------------------------------------------------------------------


def grow(engine: SqliteEngine, rounds: int = 20) -> None:
    """Write the same rows again and again: the file stays small, the WAL grows."""
    for size in range(rounds):
        put(engine, *(inode(ino, size=size, target=b"x" * 3000) for ino in range(50)))
        engine.commit()


def test_the_wal_is_folded_back(sqlite: SqliteEngine) -> None:
    grow(sqlite)
    size = sqlite.wal_bytes()
    assert size > sqlite.path.stat().st_size
    sqlite.checkpoint_wal()
    grow(sqlite)
    assert sqlite.wal_bytes() < 1.1 * size  # used again from its beginning


def test_the_wal_is_cut_beyond_its_bound(
    sqlite: SqliteEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow(sqlite)
    monkeypatch.setattr(sqlite_module, "INDEX_WAL_BYTES_MAX", sqlite.wal_bytes() - 1)
    put(sqlite, inode(1))
    sqlite.scan(INODE)  # the SQL transaction is open meanwhile
    sqlite.checkpoint_wal()
    assert sqlite.wal_bytes() > 0
    sqlite.commit()
    assert sqlite.wal_bytes() == 0
    grow(sqlite)
    assert sqlite.scan(INODE, (1,)) == [inode(1, size=19, target=b"x" * 3000)]


def test_cutting_the_wal_never_waits_for_a_reader(
    sqlite: SqliteEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_module, "INDEX_WAL_BYTES_MAX", 1)
    grow(sqlite)
    with closing(sqlite3.connect(sqlite.path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM inode").fetchone() == (50,)
        grow(sqlite, rounds=1)
        sqlite.checkpoint_wal()
        seen = statements(sqlite)
        sqlite.commit()
        cut = seen.index("PRAGMA wal_checkpoint(TRUNCATE)")
        assert seen[cut - 1] == "PRAGMA busy_timeout = 0"
        assert seen[cut + 1] == "PRAGMA busy_timeout = 10000"
        assert sqlite.wal_bytes() > 0
    sqlite.checkpoint_wal()
    sqlite.commit()
    assert sqlite.wal_bytes() == 0


# --- Backups in threads -------------------------------------------------------------------------


async def test_a_checkpoint_is_made_while_changes_go_on(
    sqlite: SqliteEngine, log: FakeLog, clock: FakeClock, tmp_path: Path
) -> None:
    database = Database(sqlite, log, clock)
    with database.change() as change:
        for ino in range(200):
            change.put(inode(ino, target=b"x" * 4000))
    sequence, parts = await checkpoint_parts(database, TrioThreads())
    with database.change() as change:
        change.put(inode(5, size=1))
    database.commit()
    other = SqliteEngine(tmp_path / "other", STORE_ID)
    other.load(parts, sequence)
    assert sequence == 1
    assert other.count(INODE) == 200
    assert other.get(INODE, 5) == inode(5, target=b"x" * 4000)
    other.close()
    assert files_beside(sqlite) == {"objfs.sqlite", "objfs.sqlite-wal", "objfs.sqlite-shm"}


async def test_a_checkpoint_that_is_not_read_to_its_end_leaves_nothing(
    sqlite: SqliteEngine, log: FakeLog, clock: FakeClock
) -> None:
    database = Database(sqlite, log, clock)
    for ino in range(4000, 6000):
        put(sqlite, inode(ino, target=b"x" * 1000))
    _, parts = await checkpoint_parts(database, TrioThreads())
    assert next(parts)
    assert "objfs.sqlite.copy" in files_beside(sqlite)
    parts.close()
    assert "objfs.sqlite.copy" not in files_beside(sqlite)


async def test_a_damaged_index_becomes_no_checkpoint(
    tmp_path: Path, log: FakeLog, clock: FakeClock
) -> None:
    engine = sqlite_engine(tmp_path)
    put(engine, *(inode(ino, target=b"x" * 1000) for ino in range(100)))
    engine.close()
    content = bytearray(engine.path.read_bytes())
    content[-4096:] = b"\x99" * 4096
    engine.path.write_bytes(content)
    again = sqlite_engine(tmp_path)
    database = Database(again, log, clock)
    with pytest.raises(IndexFailed, match="objfs rebuild"):
        await checkpoint_parts(database, TrioThreads())
    assert "objfs.sqlite.copy" not in files_beside(again)
    again.close()


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_many_keys_are_found_however_far_apart(tmp_path: Path, step: int) -> None:
    """Rows between those asked for, keys that are not there, and a page of each size."""
    engine = SqliteEngine(tmp_path, STORE_ID)
    rows = {number: Orphan(number, number) for number in range(0, 70 * step, max(step // 2, 1))}
    engine.apply([(ORPHAN, (row.ino,), row) for row in rows.values()], 1, bytes(16))
    engine.commit()
    engine.close()
    engine = SqliteEngine(tmp_path, STORE_ID)
    for count in (1, 31, 32, 33, 70):
        keys = [number * step + (number % 3 == 0) for number in range(count)]
        found = engine.get_many(ORPHAN, [(key,) for key in keys])
        assert found == [rows.get(key) for key in keys]
    engine.close()


def test_reading_ahead_changes_nothing_and_needs_no_file(tmp_path: Path) -> None:
    engine = SqliteEngine(tmp_path, STORE_ID)
    engine.read_ahead()
    engine.path.unlink()
    engine.read_ahead()
    engine.close()
