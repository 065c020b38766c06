"""Maintenance reads: whole tables in pages, off the loop, through aiosqlite on trio-asyncio.

A page is one statement, many rows in one call: a call costs a thread's hand-over, whatever it
brings. Between two pages nothing is held open, so no reader lives for READER_SECONDS_MAX and keeps
the WAL from being folded, and a scan of any length goes on by key. The price: pages are not joined.
A row that changes during a scan is seen as it was before or after; who needs to know compares
`Database.sequence` before and after.

A reader sees what was committed; `open_reader` commits first.
"""

import sqlite3
import stat
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, cast

import aiosqlite
import msgspec
import trio
from trio_asyncio import aio_as_trio, open_loop  # type: ignore[import-untyped]  # has no types

from objfs.base.limits import FILE_BYTES_MAX, STREAM_PAGE_ROWS
from objfs.meta.database import Database
from objfs.meta.rows import Inode, InodePast, Usage, Version, counted_bytes
from objfs.meta.sqlite import SqliteEngine
from objfs.meta.sqlite_file import index_failed
from objfs.meta.tables import BUCKET, INODE, INODE_PAST, TABLES, USAGE, VERSION, Key, R, Table


class Reader(Protocol):
    """Where maintenance reads from."""

    def stream(
        self, table: Table[R], prefix: Key = (), *, index: str | None = None
    ) -> AsyncIterator[list[R]]:
        """The rows whose leading columns equal `prefix`, in order of the key, or of `index`, in
        pages of at most STREAM_PAGE_ROWS; every page is a checkpoint. IndexFailed when the index
        cannot be read."""

    async def counts(self, table: Table[Any], index: str) -> dict[int, int]:
        """How many rows there are for each value of the index's first field, an integer. Reads the
        index only. IndexFailed."""


@asynccontextmanager
async def open_reader(database: Database, *, joined: bool = False) -> AsyncIterator[Reader]:
    """A reader of the index on a connection of its own. Inside a trio program, on its loop.

    `joined`: all pages show one state, that of now. It keeps the WAL from being folded as long as
    the reader is open, so it is for work that cannot do without.
    """
    database.commit()
    engine = database.engine
    if not isinstance(engine, SqliteEngine):
        yield _JoinedReader(database) if joined else _DirectReader(database)
        return
    failure: Exception | None = None
    async with open_loop():
        connection = _connection(engine)
        try:
            with trio.CancelScope(shield=True):  # a thread that is starting cannot be left alone
                await aio_as_trio(connection.__aenter__)()
                if joined:
                    await _begin(connection)
            yield _SqliteReader(engine, connection)
        except sqlite3.Error as error:
            failure = index_failed(engine.path, error)
        except Exception as error:  # raised below: the loop's nurseries would wrap it
            failure = error
        finally:
            with trio.CancelScope(shield=True):  # the connection's thread must end
                await aio_as_trio(connection.close)()
    if failure is not None:
        raise failure


def _connection(engine: SqliteEngine) -> aiosqlite.Connection:
    """One that only reads, with a thread of its own; not opened yet."""
    uri = engine.path.absolute().as_uri() + "?mode=ro"
    return aiosqlite.connect(uri, uri=True, isolation_level=None)


async def _begin(connection: aiosqlite.Connection) -> None:
    """A read transaction: SQLite's begins with the first read."""
    await aio_as_trio(connection.execute)("BEGIN")
    await aio_as_trio(connection.execute_fetchall)("SELECT 1 FROM sqlite_master LIMIT 1")


class _SqliteReader:
    """Pages through SQL."""

    def __init__(self, engine: SqliteEngine, connection: aiosqlite.Connection) -> None:
        self._engine = engine
        self._connection = connection

    def stream(
        self, table: Table[R], prefix: Key = (), *, index: str | None = None
    ) -> AsyncIterator[list[R]]:
        return _Pages(self, table, prefix, index)

    async def counts(self, table: Table[Any], index: str) -> dict[int, int]:
        column = table.orders[index].columns[0]
        fetch = aio_as_trio(self._connection.execute_fetchall)
        sql = f'SELECT "{column}", count(*) FROM "{table.name}" GROUP BY "{column}"'
        try:
            return dict(await fetch(sql))
        except sqlite3.Error as error:
            raise index_failed(self._engine.path, error) from error

    async def page(
        self, table: Table[R], index: str | None, width: int, resume: bool, parameters: Key
    ) -> list[R]:
        """One page; see `page_sql`."""
        fetch = aio_as_trio(self._connection.execute_fetchall)
        try:
            found = await fetch(page_sql(table, width, resume=resume, index=index), parameters)
            decode = msgspec.msgpack.Decoder(table.row).decode
            return [decode(blob) for (blob,) in found]
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            raise index_failed(self._engine.path, error) from error


class _Pages(Generic[R]):
    """The pages of one scan, resumed by key. An object and not a generator, so that it may be left
    before its end."""

    def __init__(
        self, reader: _SqliteReader, table: Table[R], prefix: Key, index: str | None
    ) -> None:
        self._reader = reader
        self._table = table
        self._index = index
        self._prefix = prefix
        self._after: Key = ()  # what the last row's place has after the prefix
        self._ended = False

    def __aiter__(self) -> AsyncIterator[list[R]]:
        return self

    async def __anext__(self) -> list[R]:
        if self._ended:
            raise StopAsyncIteration
        width = len(self._prefix)
        page = await self._reader.page(
            self._table, self._index, width, bool(self._after), (*self._prefix, *self._after)
        )
        self._ended = len(page) < STREAM_PAGE_ROWS
        if not page:
            raise StopAsyncIteration
        self._after = self._table.orders[self._index].of(page[-1])[width:]
        return page


def page_sql(table: Table[Any], width: int, *, resume: bool, index: str | None = None) -> str:
    """One page of a table. Parameters: `width` fixed leading columns, then, to resume, the rest of
    the last row's place."""
    order = table.orders[index].columns
    fixed = [f'"{column}" = ?' for column in order[:width]]
    rest = order[width:]
    if resume:
        columns, marks = ", ".join(f'"{column}"' for column in rest), ", ".join("?" * len(rest))
        fixed.append(f"({columns}) > ({marks})")
    where = f" WHERE {' AND '.join(fixed)}" if fixed else ""
    by = ", ".join(f'"{column}"' for column in order)
    return f'SELECT "row" FROM "{table.name}"{where} ORDER BY {by} LIMIT {STREAM_PAGE_ROWS}'


class _DirectReader:
    """For engines that have no other connections: reads on the loop."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def stream(
        self, table: Table[R], prefix: Key = (), *, index: str | None = None
    ) -> AsyncIterator[list[R]]:
        return _Slices(self._database.scan(table, prefix, index=index))

    async def counts(self, table: Table[Any], index: str) -> dict[int, int]:
        await trio.lowlevel.checkpoint()
        return _counts(table, index, self._database.scan(table))


class _JoinedReader:
    """The same with all tables as they are now."""

    def __init__(self, database: Database) -> None:
        self._rows: dict[int, list[Any]] = {table.id: database.scan(table) for table in TABLES}

    def stream(
        self, table: Table[R], prefix: Key = (), *, index: str | None = None
    ) -> AsyncIterator[list[R]]:
        assert not prefix
        assert index is None
        return _Slices(self._rows[table.id])

    async def counts(self, table: Table[Any], index: str) -> dict[int, int]:
        await trio.lowlevel.checkpoint()
        return _counts(table, index, self._rows[table.id])


def _counts(table: Table[Any], index: str, rows: list[Any]) -> dict[int, int]:
    return dict(Counter(cast("int", table.orders[index].of(row)[0]) for row in rows))


class _Slices(Generic[R]):
    """Rows that are in memory anyway, in pages."""

    def __init__(self, found: list[R]) -> None:
        self._found = found
        self._start = 0

    def __aiter__(self) -> AsyncIterator[list[R]]:
        return self

    async def __anext__(self) -> list[R]:
        await trio.lowlevel.checkpoint()
        page = self._found[self._start : self._start + STREAM_PAGE_ROWS]
        if not page:
            raise StopAsyncIteration
        self._start += len(page)
        return page


class CountedUsage(NamedTuple):
    """What a recount found."""

    usage: dict[int, Usage]  # by bucket
    exact: bool  # nothing was changed meanwhile


async def count_usage(database: Database) -> CountedUsage:
    """Count the `usage` table anew, from inodes and versions."""
    sequence = database.sequence
    async with open_reader(database) as reader:
        usage = await usage_of(reader)
    return CountedUsage(usage, sequence == database.sequence)


async def usage_differences(database: Database) -> dict[int, tuple[Usage, Usage]]:
    """(as it is kept, as it is counted) of the buckets whose account is wrong, both as of the same
    moment, however much is changed meanwhile."""
    async with open_reader(database, joined=True) as reader:
        kept = {row.bucket: row async for page in reader.stream(USAGE) for row in page}
        counted = await usage_of(reader)
    return {
        bucket: (kept.get(bucket, Usage(bucket)), usage)
        for bucket, usage in counted.items()
        if kept.get(bucket) != usage
    }


async def usage_of(reader: Reader) -> dict[int, Usage]:
    """What each bucket holds, by what the reader shows."""
    buckets = [bucket async for page in reader.stream(BUCKET) for bucket in page]
    counts = {bucket.id: [0, 0, 0] for bucket in buckets}
    roots = {bucket.root for bucket in buckets}
    async for page in reader.stream(INODE):
        for inode in page:
            if inode.nlink and inode.ino not in roots:
                counts.setdefault(inode.bucket, [0, 0, 0])[2] += 1
    owners = _Owners(reader)
    async for versions in reader.stream(VERSION):
        owned = await owners.of(versions)
        await trio.lowlevel.checkpoint()
        for version, (bucket, current) in owned:
            counts.setdefault(bucket, [0, 0, 0])[not current] += counted_bytes(version.size)
    return {
        bucket: Usage(bucket, *(min(each, FILE_BYTES_MAX) for each in count))
        for bucket, count in counts.items()
    }


_Owned = tuple[Version, tuple[int, bool]]  # with its bucket, and whether it is the current one


class _Owners:
    """Joins versions to their inodes, both in order of ino, in bounded memory."""

    def __init__(self, reader: Reader) -> None:
        self._inodes: _ByInode[Inode] = _ByInode(reader.stream(INODE))
        self._pasts: _ByInode[InodePast] = _ByInode(reader.stream(INODE_PAST))

    async def of(self, versions: list[Version]) -> list[_Owned]:
        """Of a page of versions; pages come in key order. Versions of no inode are left out."""
        inos = {version.ino for version in versions}
        inodes = await self._inodes.pick(inos)
        pasts = await self._pasts.pick(inos)
        await trio.lowlevel.checkpoint()
        owned: list[_Owned] = []
        for version in versions:
            inode, past = inodes.get(version.ino), pasts.get(version.ino)
            if inode is not None:
                current = _is_current(inode, version)
                owned.append((version, (inode.bucket, current)))
            elif past is not None:
                owned.append((version, (past.inode.bucket, False)))
        return owned


def _is_current(inode: Inode, version: Version) -> bool:
    linked = inode.nlink > 0 and stat.S_ISREG(inode.mode)
    return linked and inode.sealed == version.sealed


InodeRow = TypeVar("InodeRow", Inode, InodePast)


class _ByInode(Generic[InodeRow]):
    """The newest row of each wanted inode, from a stream that is read once."""

    def __init__(self, pages: AsyncIterator[list[InodeRow]]) -> None:
        self._pages: AsyncIterator[list[InodeRow]] = pages
        self._page: list[InodeRow] = []  # read and not passed yet, last first
        self._picked: dict[int, InodeRow] = {}

    async def pick(self, inos: set[int]) -> dict[int, InodeRow]:
        """By ino. The inos of one call are at or above those of the call before."""
        last = max(inos)
        self._picked = {ino: row for ino, row in self._picked.items() if ino in inos}
        while self._page or await self._turn():
            if self._page[-1].ino > last:
                break
            row = self._page.pop()
            if row.ino in inos:
                self._picked[row.ino] = row
        return self._picked

    async def _turn(self) -> bool:
        self._page = await anext(self._pages, [])
        self._page.reverse()
        return bool(self._page)
