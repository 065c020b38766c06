"""Maintenance reads: every row once, in pages, by key; the recount of usage."""

import pytest
import trio
from msgspec.structs import replace

from objfs.base.errors import IndexFailed, NotFound
from objfs.base.limits import STREAM_PAGE_ROWS
from objfs.meta.database import Database
from objfs.meta.maintenance import CountedUsage, count_usage, open_reader, page_sql
from objfs.meta.rows import Bucket, InodePast, Usage
from objfs.meta.sqlite import SqliteEngine
from objfs.meta.tables import DENTRY, INODE, TABLES, VERSION, Key, R, Table
from tests.meta.examples import dentry, inode, version
from tests.meta.fakes import AnyEngine, FakeClock, FakeLog
from tests.meta.test_engine_contract import put


@pytest.fixture
def database(engine: AnyEngine, log: FakeLog, clock: FakeClock) -> Database:
    return Database(engine, log, clock)


async def streamed(database: Database, table: Table[R], prefix: Key = ()) -> list[R]:
    async with open_reader(database) as reader:
        return [row async for page in reader.stream(table, prefix) for row in page]


async def test_every_row_comes_once_and_in_order(database: Database) -> None:
    count = 2 * STREAM_PAGE_ROWS + 7
    rows = [dentry(n % 3, b"%05d" % n, n) for n in range(count)]
    put(database.engine, *rows)
    expected = sorted(rows, key=DENTRY.key_of)
    sizes = []
    found = []
    async with open_reader(database) as reader:
        async for page in reader.stream(DENTRY):
            sizes.append(len(page))
            found += page
    assert found == expected
    assert sizes == [STREAM_PAGE_ROWS, STREAM_PAGE_ROWS, 7]
    assert await streamed(database, DENTRY, (1,)) == [row for row in expected if row.parent == 1]
    assert await streamed(database, DENTRY, (1, b"00001")) == [rows[1]]
    assert await streamed(database, DENTRY, (9,)) == []


async def test_a_full_last_page_is_followed_by_none(database: Database) -> None:
    put(database.engine, *(inode(ino) for ino in range(STREAM_PAGE_ROWS)))
    async with open_reader(database) as reader:
        pages = [page async for page in reader.stream(INODE)]
    assert [len(page) for page in pages] == [STREAM_PAGE_ROWS]


async def test_a_scan_may_be_left_before_its_end(database: Database) -> None:
    put(database.engine, *(inode(ino) for ino in range(3 * STREAM_PAGE_ROWS)))
    async with open_reader(database) as reader:
        async for page in reader.stream(INODE):
            assert len(page) == STREAM_PAGE_ROWS
            break


async def test_a_cancelled_scan_lets_go_of_its_connection(database: Database) -> None:
    put(database.engine, *(inode(ino) for ino in range(3 * STREAM_PAGE_ROWS)))
    with trio.CancelScope() as scope:
        async with open_reader(database) as reader:
            async for _ in reader.stream(INODE):
                scope.cancel()
    assert scope.cancelled_caught
    assert len(await streamed(database, INODE)) == 3 * STREAM_PAGE_ROWS


async def test_nothing_is_held_open_between_pages(
    sqlite: SqliteEngine, log: FakeLog, clock: FakeClock
) -> None:
    database = Database(sqlite, log, clock)
    put(sqlite, *(inode(ino) for ino in range(2 * STREAM_PAGE_ROWS)))
    async with open_reader(database) as reader:
        pages = reader.stream(INODE)
        await anext(pages)
        put(sqlite, inode(2 * STREAM_PAGE_ROWS))
        sqlite.commit()
        sqlite.checkpoint_wal()
        row = sqlite._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        assert row[0] == 0  # not busy: no reader
        assert len(await anext(pages)) == STREAM_PAGE_ROWS
        assert len(await anext(pages)) == 1


async def test_an_error_inside_comes_out_as_it_is(database: Database) -> None:
    with pytest.raises(NotFound):
        async with open_reader(database):
            raise NotFound("what the reader's user looked for")


async def test_a_damaged_row_is_reported(
    sqlite: SqliteEngine, log: FakeLog, clock: FakeClock
) -> None:
    put(sqlite, inode(5))
    sqlite.commit()
    sqlite._connection.execute('UPDATE "inode" SET "row" = x\'c1\'')
    with pytest.raises(IndexFailed, match="objfs rebuild"):
        await streamed(Database(sqlite, log, clock), INODE)


def test_pages_need_no_sorting(sqlite: SqliteEngine) -> None:
    for table in TABLES:
        for width in range(len(table.key)):
            sql = page_sql(table, width, resume=True)
            marks = (1,) * len(table.key)
            plan = sqlite._connection.execute(f"EXPLAIN QUERY PLAN {sql}", marks).fetchall()
            words = " ".join(step[3] for step in plan)
            assert words.startswith("SEARCH"), words
            assert "B-TREE" not in words, words


# --- The recount of usage -----------------------------------------------------------------------


async def test_usage_is_counted_by_bucket(database: Database) -> None:
    directory = inode(100, mode=0o40755)
    put(
        database.engine,
        Bucket(1, "main", 100, 0),
        Bucket(2, "other", 200, 0),
        Bucket(3, "empty", 300, 0),
        directory,
        inode(101, mode=0o40755),
        inode(102, sealed=9, nlink=2),
        version(102, 5, 1000),
        version(102, 9, 1),
        replace(directory, ino=200, bucket=2),
        inode(103, bucket=2, sealed=7),
        version(103, 7, 20),
        inode(104, bucket=2, sealed=8, nlink=0),  # open, without a name
        version(104, 8, 300),
        InodePast(105, 6, inode(105, bucket=2, sealed=3)),
        version(105, 3, 4000),
        version(106, 3, 7),  # of no inode
    )
    assert await count_usage(database) == CountedUsage(
        {
            1: Usage(1, live_bytes=1, past_bytes=1000, objects=2),
            2: Usage(2, live_bytes=20, past_bytes=4300, objects=1),
            3: Usage(3),
        },
        exact=True,
    )


@pytest.mark.slow
async def test_usage_is_counted_over_many_pages(database: Database) -> None:
    """Versions and inodes fall apart differently into pages."""
    put(database.engine, Bucket(1, "main", 1, 0), inode(1, mode=0o40755))
    for ino in range(10, 2 * STREAM_PAGE_ROWS):
        gone = ino % 3 == 0
        row = inode(ino, sealed=ino % 4)
        put(database.engine, InodePast(ino, 50, row), InodePast(ino, 60, row))
        if not gone:
            put(database.engine, row)
        for sealed in range(ino % 4):
            put(database.engine, version(ino, sealed + 1, 1))
    versions = database.scan(VERSION)
    live = {ino for ino in range(10, 2 * STREAM_PAGE_ROWS) if ino % 3 and ino % 4}
    counted = await count_usage(database)
    assert counted.usage[1].live_bytes == len(live)
    assert counted.usage[1].past_bytes == len(versions) - len(live)
    assert counted.usage[1].objects == sum(1 for n in range(10, 2 * STREAM_PAGE_ROWS) if n % 3)


async def test_changes_during_a_count_are_told(database: Database, clock: FakeClock) -> None:
    with database.change() as change:
        change.put(Bucket(1, "main", 1, 0))

    async def change_something() -> None:
        with database.change() as change:
            change.put(inode(5))

    counts = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(change_something)
        counts.append(await count_usage(database))
    assert not counts[0].exact
    assert (await count_usage(database)).exact
