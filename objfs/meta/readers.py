"""A pool of connections that only read the index, for pages that are read in a thread.

A connection is used by one thread at a time, and a reader by one page: its transaction begins with
the first read and ends with the page, so that the WAL is not kept from being folded. What was
changed before is committed first, or the other connection would not see it.

An engine that has no file is read where it is.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

from objfs.base.limits import INDEX_READERS_KEPT_MAX
from objfs.base.ports import Threads
from objfs.meta.database import Database
from objfs.meta.engine import Engine
from objfs.meta.sqlite import SqliteEngine
from objfs.meta.sqlite_reading import SqliteReader

T = TypeVar("T")


class Readers:
    """See the module's docstring. Used on the loop."""

    def __init__(self, database: Database, threads: Threads) -> None:
        self._database = database
        self._threads = threads
        self._idle: list[SqliteReader] = []
        self._closed = False

    async def run(self, read: Callable[[Engine], T]) -> T:
        """What `read` returns for the index as it is now; it runs in a thread, and must be short.
        IndexFailed."""
        engine = self._database.engine
        self._database.commit()
        if not isinstance(engine, SqliteEngine) or isinstance(engine, SqliteReader):
            return read(engine)
        page = _Page(self._idle.pop() if self._idle else None, engine, read)
        try:
            return await self._threads.run(page.run)
        finally:
            self._keep(page.reader)

    def _keep(self, reader: SqliteReader | None) -> None:
        if reader is None:
            return
        if self._closed or len(self._idle) >= INDEX_READERS_KEPT_MAX:
            reader.close()
        else:
            self._idle.append(reader)

    def close(self) -> None:
        """Close the connections; those in use, when their page is read."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()


class _Page(Generic[T]):
    """One page, for a thread."""

    def __init__(
        self, reader: SqliteReader | None, engine: SqliteEngine, read: Callable[[Engine], T]
    ) -> None:
        self.reader = reader
        self._directory, self._store_id = engine.path.parent, engine.store_id
        self._read = read

    def run(self) -> T:
        """What it reads, in one transaction."""
        if self.reader is None:
            self.reader = SqliteReader(self._directory, self._store_id)
        try:
            return self._read(self.reader)
        finally:
            self.reader.commit()
