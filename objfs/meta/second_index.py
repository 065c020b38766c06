"""A second index, replayed from the log, to compare the one in use with row for row.

It is made in a directory of its own by the same `catch_up` that opening uses: from the newest
checkpoint that verifies and the METAs above it. That is done in a thread. Then it is brought up to
the index in use, a few METAs at a time, in the very stretch in which a page is compared, so both
show the same sequence whatever is changed meanwhile.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from objfs.base.ports import Clock
from objfs.meta.change_record import decode_change
from objfs.meta.database import CatchUp, Database
from objfs.meta.engine import Changed, Engine
from objfs.meta.paging import rows_after
from objfs.meta.replay import LogPort, catch_up
from objfs.meta.sqlite import SqliteEngine
from objfs.meta.tables import AnyRow, Key, Table

_DIRECTORY = "second"


class Difference(NamedTuple):
    """A row that is not what the log says. None: no row."""

    table: Table[Any]
    key: Key
    row: AnyRow | None  # as it is
    logged: AnyRow | None  # as it has to be

    @property
    def change(self) -> Changed:
        """What mends it."""
        return self.table, self.key, self.logged


class SecondIndex:
    """See the module. `build` first, in a thread; then `open` and the others on
    the loop; at the end `close`, and `remove` in a thread."""

    def __init__(
        self, database: Database, log: LogPort[Any], clock: Clock, store_id: bytes
    ) -> None:
        self._database = database
        self._log = log
        self._clock = clock
        self._store_id = store_id
        self._directory = self._place(database.engine)
        self._engine: Engine | None = None

    @staticmethod
    def _place(engine: Engine) -> Path | None:
        return engine.path.parent / _DIRECTORY if isinstance(engine, SqliteEngine) else None

    def build(self) -> CatchUp:
        """Replay. Blocks. Raises what opening a store raises."""
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory.mkdir()
        engine = self._new_engine()
        caught_up = catch_up(engine, self._log, self._clock).caught_up
        assert caught_up is not None
        if self._directory is None:
            self._engine = engine
        else:
            engine.close()  # a connection belongs to its thread
        return caught_up

    def _new_engine(self) -> Engine:
        if self._directory is None:
            return type(self._database.engine)(self._store_id)  # type: ignore[call-arg]
        return SqliteEngine(self._directory, self._store_id)

    def open(self) -> None:
        """After `build`, on the loop. Raises what opening an index raises."""
        if self._engine is None:
            self._engine = self._new_engine()

    def page(
        self, table: Table[Any], after: Key, limit: int
    ) -> tuple[list[Difference], Key | None]:
        """What differs in the next rows of a table after a key, and where to go on; None at the
        end. One stretch on the loop."""
        engine = self._caught_up()
        mine = rows_after(self._database, table, after, limit)
        logged = rows_after(engine, table, after, limit)
        ends = [table.key_of(rows[-1]) for rows in (mine, logged) if len(rows) == limit]
        end = min(ends, default=None)
        ours = {table.key_of(row): row for row in mine}
        theirs = {table.key_of(row): row for row in logged}
        keys = [key for key in sorted(ours.keys() | theirs.keys()) if end is None or key <= end]
        found = [
            Difference(table, key, ours.get(key), theirs.get(key))
            for key in keys
            if ours.get(key) != theirs.get(key)
        ]
        return found, end

    def _caught_up(self) -> Engine:
        engine = self._engine
        assert engine is not None
        after = engine.applied.sequence if engine.applied else 0
        if after < self._database.sequence:
            for meta in self._log.metas(after):
                changes = decode_change(meta.payload, meta.sequence).changes
                engine.apply(changes, meta.sequence, meta.checksum)
        return engine

    def close(self) -> None:
        """Let go of it, on the loop. Then `remove`."""
        if self._engine is not None and self._directory is not None:
            self._engine.close()

    def remove(self) -> None:
        """Take its file away. Blocks."""
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)


def recent_differences(database: Database, log: LogPort[Any], count: int) -> Iterator[Difference]:
    """What differs of the rows that the last `count` METAs changed. One stretch on the loop."""
    last: dict[tuple[int, Key], Changed] = {}
    for meta in log.metas(max(database.sequence - count, 0)):
        for change in decode_change(meta.payload, meta.sequence).changes:
            last[change[0].id, change[1]] = change
    for table, key, logged in last.values():
        row = database.get(table, *key)
        if row != logged:
            yield Difference(table, key, row, logged)


def mend_rows(database: Database, differences: list[Difference]) -> None:
    """Put the rows of the log into the index in use; the log stays as it is."""
    applied = database.engine.applied
    assert applied is not None
    changes = [each.change for each in differences]
    database.engine.apply(changes, applied.sequence, applied.checksum)
