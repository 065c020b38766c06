"""The engine in memory: for tests and simulation, and the plain model of what an engine does.

A table is a dict of rows by key, and one sorted list of column values for every order. `commit`
keeps nothing, for there is nowhere to keep it; a "crash" of this engine forgets all.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, cast

import msgspec

from objfs.base.errors import DataLost, IndexFailed
from objfs.base.limits import CHECKPOINT_PART_BYTES
from objfs.meta.engine import INDEX_VERSION, Applied, Backup, Changed
from objfs.meta.tables import TABLES, AnyRow, Key, KeyValue, Order, R, Table

_MAGIC = "objfs memory index"


class _MemoryTable:
    """The rows of one table and their orders."""

    def __init__(self, table: Table[Any]) -> None:
        self.table = table
        self.rows: dict[Key, AnyRow] = {}
        self.sorted: dict[str | None, list[Key]] = {name: [] for name in table.orders}

    def put(self, key: Key, row: AnyRow) -> None:
        self.delete(key)
        self.rows[key] = row
        for name, order in self.table.orders.items():
            insort(self.sorted[name], order.of(row))

    def delete(self, key: Key) -> None:
        row = self.rows.pop(key, None)
        if row is None:
            return
        for name, order in self.table.orders.items():
            values = self.sorted[name]
            del values[bisect_left(values, order.of(row))]

    def range(
        self, order: Order[Any], prefix: Key, lower: KeyValue | None, upper: KeyValue | None
    ) -> list[Key]:
        """The keys of the rows in a range, in the order's own order."""
        values, width = self.sorted[order.name or None], len(prefix)
        start = bisect_left(values, prefix, key=lambda value: value[:width])
        stop = bisect_right(values, prefix, key=lambda value: value[:width])
        if lower is not None:
            bound = (*prefix, lower)
            start = bisect_left(values, bound, start, stop, key=lambda v: v[: width + 1])
        if upper is not None:
            bound = (*prefix, upper)
            stop = bisect_left(values, bound, start, stop, key=lambda v: v[: width + 1])
        places = [order.columns.index(name) for name in self.table.key]
        return [tuple(value[place] for place in places) for value in values[start:stop]]


class MemoryEngine:
    """See `Engine`."""

    def __init__(self, store_id: bytes = b"") -> None:
        self._store_id = store_id
        self._tables = {table.id: _MemoryTable(table) for table in TABLES}
        self.applied: Applied | None = None
        self.failed: IndexFailed | None = None
        self.discarded: str | None = None

    def get(self, table: Table[R], *key: KeyValue) -> R | None:
        assert len(key) == len(table.key)
        return cast("R | None", self._tables[table.id].rows.get(key))

    def get_many(self, table: Table[R], keys: Sequence[Key]) -> list[R | None]:
        return [self.get(table, *key) for key in keys]

    def scan(
        self,
        table: Table[R],
        prefix: Key = (),
        *,
        lower: KeyValue | None = None,
        upper: KeyValue | None = None,
        limit: int | None = None,
        reverse: bool = False,
        index: str | None = None,
    ) -> list[R]:
        stored = self._tables[table.id]
        keys = stored.range(table.orders[index], prefix, lower, upper)
        if reverse:
            keys.reverse()
        return [cast("R", stored.rows[key]) for key in keys[:limit]]

    def nearest(
        self, table: Table[R], groups: Sequence[Key], bound: int, *, newest: bool = False
    ) -> list[R | None]:
        found: list[R | None] = []
        for group in groups:
            if newest:
                rows = self.scan(table, group, upper=bound + 1, reverse=True, limit=1)
            else:
                rows = self.scan(table, group, lower=bound + 1, limit=1)
            found.append(rows[0] if rows else None)
        return found

    def scan_nearest(
        self,
        table: Table[R],
        prefix: Key,
        bound: int,
        *,
        after: KeyValue | None = None,
        before: KeyValue | None = None,
        newest: bool = False,
        rows: int,
    ) -> tuple[list[R], KeyValue | None]:
        keys, last = self._looked_at(table, prefix, after, before, rows)
        groups = list(dict.fromkeys(key[:-1] for key in keys))
        found = self.nearest(table, groups, bound, newest=newest)
        return [row for row in found if row is not None], last

    def scan_holding(
        self,
        table: Table[R],
        prefix: Key,
        at: int,
        *,
        after: KeyValue | None = None,
        before: KeyValue | None = None,
        rows: int,
    ) -> tuple[list[R], KeyValue | None]:
        keys, last = self._looked_at(table, prefix, after, before, rows)
        stored: dict[Key, Any] = self._tables[table.id].rows
        return [stored[k] for k in keys if stored[k].since <= at < k[-1]], last  # type: ignore[operator]

    def _looked_at(
        self,
        table: Table[R],
        prefix: Key,
        after: KeyValue | None,
        before: KeyValue | None,
        rows: int,
    ) -> tuple[list[Key], KeyValue | None]:
        """The keys that one step of a scan of the past looks at, and where it stops."""
        width = len(table.key) - 2
        keys = self._tables[table.id].range(table.orders[None], prefix, after, before)
        keys = [key for key in keys if key[width] != after]
        last = keys[rows][width] if len(keys) > rows else None
        return [key for key in keys if last is None or key[width] <= last], last  # type: ignore[operator]

    def apply(self, changes: Sequence[Changed], sequence: int, checksum: bytes) -> None:
        for table, key, row in changes:
            stored = self._tables[table.id]
            if row is None:
                stored.delete(key)
            else:
                stored.put(key, row)
        self.applied = Applied(sequence, checksum)

    def commit(self) -> None:
        """Nothing to keep it in."""

    def reset(self) -> None:
        self._tables = {table.id: _MemoryTable(table) for table in TABLES}
        self.applied = None

    def count(self, table: Table[Any]) -> int:
        return len(self._tables[table.id].rows)

    def dump(self) -> Iterator[tuple[str, AnyRow]]:
        for table in TABLES:
            stored = self._tables[table.id]
            for key in stored.sorted[None]:
                yield table.name, stored.rows[key]

    def read_ahead(self) -> None:
        """It is in memory."""

    def wal_bytes(self) -> int:
        return 0

    def checkpoint_wal(self) -> None:
        """There is none."""

    def begin_backup(self) -> Callable[[], Backup]:
        assert self.applied is not None, "an empty index needs no backup"
        head = (_MAGIC, INDEX_VERSION, self._store_id, *self.applied)
        tables = [
            [stored.rows[key] for key in stored.sorted[None]] for stored in self._tables.values()
        ]
        sequence = self.applied.sequence

        def copy() -> Backup:
            return Backup(sequence, _parts(msgspec.msgpack.encode((head, tables))))

        return copy

    def load(self, parts: Iterable[bytes], sequence: int) -> None:
        head, tables = _decode_backup(b"".join(parts))
        if head[:3] != (_MAGIC, INDEX_VERSION, self._store_id) or head[3] != sequence:
            raise DataLost(f"the checkpoint of META {sequence} is not one of this store")
        loaded = [_decode_rows(table, raw) for table, raw in zip(TABLES, tables, strict=True)]
        self.reset()
        for table, table_rows in zip(TABLES, loaded, strict=True):
            for row in table_rows:
                self._tables[table.id].put(table.key_of(row), row)
        self.applied = Applied(head[3], head[4])

    def close(self) -> None:
        """Nothing to let go of."""


_Head = tuple[str, int, bytes, int, bytes]  # magic, version, store id, sequence, checksum


def _decode_backup(copy: bytes) -> tuple[_Head, list[msgspec.Raw]]:
    try:
        return msgspec.msgpack.decode(copy, type=tuple[_Head, list[msgspec.Raw]])
    except msgspec.MsgspecError as error:
        raise DataLost(f"a checkpoint does not decode: {error}") from error


def _decode_rows(table: Table[R], raw: msgspec.Raw) -> list[R]:
    try:
        decoded = msgspec.msgpack.decode(raw, type=list[table.row])  # type: ignore[name-defined]
    except msgspec.MsgspecError as error:
        raise DataLost(f"a checkpoint's table {table.name} does not decode: {error}") from error
    return cast("list[R]", decoded)


def _parts(copy: bytes) -> Generator[bytes]:
    for start in range(0, len(copy), CHECKPOINT_PART_BYTES):
        yield copy[start : start + CHECKPOINT_PART_BYTES]
