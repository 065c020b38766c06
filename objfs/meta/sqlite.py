"""The engine on SQLite, and its write-behind overlay.

Theory. A create changes the directory's inode, the bucket's usage and a handful of new rows; the
next create changes the same directory and usage again. So `apply` only puts rows, as structs, into
a dict per table (*pending*), where `get` finds them without SQL and without decoding. They become
SQL when a scan needs that table in order, or at `commit`: a row that changed a hundred times
meanwhile is written once. What was written then moves to a bounded dict of *cached* rows, which
point reads fill too; pending rows hide cached ones, which hide the file.

What always holds:
- file + pending = everything applied; cached only repeats the file.
- `applied` goes into the file in the SQL transaction that has the last of its rows.
- A scan flushes only if pending rows can be in its range: *heads* are the first key columns of
  pending keys. That costs nothing that commit would not, but for rows that change again.
- The SQL transaction is open from the first statement to `commit`, reads included: taking SQLite's
  locks anew for each read costs more than the read. `commit` must therefore come now and then even
  if nothing is written, or the WAL cannot be folded back into the file.
"""

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, cast

import msgspec

from objfs.base.errors import IndexFailed
from objfs.base.limits import (
    INDEX_CACHED_ROWS_MAX,
    INDEX_READ_AHEAD_BYTES_MAX,
    INDEX_WAL_BYTES_MAX,
    MIB,
)
from objfs.meta.engine import Applied, Backup, Changed
from objfs.meta.sqlite_file import (
    BUSY_MILLISECONDS,
    FILE_NAME,
    WAL_SUFFIX,
    copy_index,
    discard,
    index_failed,
    load_index,
    open_index,
    read_applied,
)
from objfs.meta.sqlite_past import (
    NEAREST_GROUPS,
    nearest_sql,
    scan_holding_sql,
    scan_nearest_sql,
    stop_sql,
)
from objfs.meta.sqlite_statements import KEYS_A_TIME, STATEMENTS, scan_sql
from objfs.meta.tables import (
    INTEGER_MAX,
    INTEGER_MIN,
    TABLE_IDS_END,
    TABLES,
    AnyRow,
    Key,
    KeyValue,
    R,
    Table,
)

_FOLDS_MAX = 8
_TAIL_PAGES = 256
_encode = msgspec.msgpack.Encoder().encode
_Form = tuple[int, str | None, int, bool, bool, bool, bool]  # what makes two scans the same SQL


class SqliteEngine:
    """See `Engine`. The directory is the store's `index/`; it is made if there is none. An index
    that is damaged, of another version or of another store is replaced by an empty one, and
    `discarded` says why; IndexFailed when the file cannot be opened, read or written at all."""

    def __init__(self, directory: Path, store_id: bytes) -> None:
        self.path = directory / FILE_NAME
        self.store_id = store_id
        self.failed: IndexFailed | None = None
        self.discarded: str | None = None
        self._wal_path = f"{self.path}{WAL_SUFFIX}"
        self._scans: dict[_Form, str] = {}
        self._fold_wanted = False  # set by checkpoint_wal in its thread, honoured by commit
        self._open()

    def _connect(self) -> None:
        self._connection, reason = open_index(self.path, self.store_id)
        self.discarded = reason or self.discarded

    def _open(self) -> None:
        self._connect()
        self.applied: Applied | None = read_applied(self._connection, self.store_id)
        self._kept = self.applied  # what the file's state row says
        self._active = False  # whether the SQL transaction is open
        self._pending: list[dict[Key, AnyRow | None]] = [{} for _ in range(TABLE_IDS_END)]
        self._heads: list[set[KeyValue]] = [set() for _ in range(TABLE_IDS_END)]
        self._cached: list[dict[Key, AnyRow | None]] = [{} for _ in range(TABLE_IDS_END)]

    # --- Reading ----------------------------------------------------------------------------------

    def get(self, table: Table[R], *key: KeyValue) -> R | None:
        table_id = table.id
        pending = self._pending[table_id]
        if key in pending:
            return pending[key]  # type: ignore[return-value]  # rows lie in their own table's dict
        cached = self._cached[table_id]
        if key in cached:
            return cached[key]  # type: ignore[return-value]
        assert len(key) == len(table.key)
        row = self._fetch(table_id, key)
        if len(cached) >= INDEX_CACHED_ROWS_MAX:
            cached.clear()
        cached[key] = row
        return row  # type: ignore[return-value]

    def get_many(self, table: Table[R], keys: Sequence[Key]) -> list[R | None]:
        table_id = table.id
        pending, cached = self._pending[table_id], self._cached[table_id]
        found: dict[Key, AnyRow | None] = {}
        missing: list[Key] = []
        for key in keys:
            if key in pending:
                found[key] = pending[key]
            elif key in cached:
                found[key] = cached[key]
            else:
                missing.append(key)
        if missing:
            found |= self._fetch_many(table, missing)
        return cast("list[R | None]", [found[key] for key in keys])

    def _fetch(self, table_id: int, key: Key) -> AnyRow | None:
        statements = STATEMENTS[table_id]
        try:
            if not self._active:
                self._begin()
            found = self._connection.execute(statements.get, key).fetchone()
            return None if found is None else statements.decode(found[0])
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            raise index_failed(self.path, error) from error
        except OverflowError:
            return None  # no such key can be stored

    def _fetch_many(self, table: Table[Any], keys: list[Key]) -> dict[Key, AnyRow | None]:
        """A key of one integer is cheaper to ask for by the dozen."""
        table_id = table.id
        if table.key_types != (int,):
            return {key: self._fetch(table_id, key) for key in keys}
        statements = STATEMENTS[table_id]
        found: dict[Key, AnyRow | None] = dict.fromkeys(keys)
        wanted = [key[0] for key in keys if INTEGER_MIN <= cast("int", key[0]) <= INTEGER_MAX]
        try:
            self._begin()
            if len(wanted) > KEYS_A_TIME:
                wanted = self._fetch_range(table, found, wanted)
            wanted += wanted[-1:] * (-len(wanted) % KEYS_A_TIME)
            for start in range(0, len(wanted), KEYS_A_TIME):
                part = wanted[start : start + KEYS_A_TIME]
                for (blob,) in self._connection.execute(statements.get_many, part).fetchall():
                    row = statements.decode(blob)
                    found[table.key_of(row)] = row
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            raise index_failed(self.path, error) from error
        return found

    def _fetch_range(
        self, table: Table[Any], found: dict[Key, AnyRow | None], wanted: list[KeyValue]
    ) -> list[KeyValue]:
        """Rows made together have keys close together: ask for the whole range, unless it turns
        out to hold as many others. Returns the keys that are still to be asked for."""
        statements = STATEMENTS[table.id]
        most = 2 * len(wanted)
        numbers = cast("list[int]", wanted)
        bounds = (min(numbers), max(numbers), most)
        rows = self._connection.execute(statements.get_range, bounds).fetchall()
        for (blob,) in rows:
            row = statements.decode(blob)
            key = table.key_of(row)
            if key in found:
                found[key] = row
        if len(rows) < most:
            return []
        return [key for key in wanted if found[key,] is None]

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
        table_id, width = table.id, len(prefix)
        if self._pending[table_id] and self._may_touch(table, prefix, index):
            self._flush(table)
        parameters: list[KeyValue] = list(prefix)
        if lower is not None:
            parameters.append(max(lower, INTEGER_MIN) if type(lower) is int else lower)
        if upper is not None:
            if type(upper) is int and upper > INTEGER_MAX:
                upper = None
            else:
                parameters.append(upper)
        if limit is not None:
            parameters.append(limit)
        form = (
            table_id,
            index,
            width,
            lower is not None,
            upper is not None,
            limit is not None,
            reverse,
        )
        sql = self._scans.get(form) or self._scan_sql(table, form)
        decode = STATEMENTS[table_id].decode
        try:
            if not self._active:
                self._begin()
            found = self._connection.execute(sql, parameters).fetchall()
            return [decode(blob) for (blob,) in found]
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            raise index_failed(self.path, error) from error
        except OverflowError:
            return []  # a fixed column or a lower bound above everything that can be stored

    def nearest(
        self, table: Table[R], groups: Sequence[Key], bound: int, *, newest: bool = False
    ) -> list[R | None]:
        heads = self._heads[table.id]
        if heads and any(group[0] in heads for group in groups):
            self._flush(table)
        decode = STATEMENTS[table.id].decode
        found: list[R | None] = []
        try:
            self._begin()
            for start in range(0, len(groups), NEAREST_GROUPS):
                part = groups[start : start + NEAREST_GROUPS]
                parameters = [value for group in part for value in group]
                sql = nearest_sql(table, len(part), newest=newest)
                blobs = self._connection.execute(sql, (*parameters, bound)).fetchall()
                found += [None if blob is None else decode(blob) for (blob,) in blobs]
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            raise index_failed(self.path, error) from error
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
        def sql(after: bool, before: bool, *, stops: bool) -> str:
            return scan_nearest_sql(table, after, before, stops=stops, newest=newest)

        return self._scan_past(table, prefix, (after, before), rows, sql, (bound,))

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
        sql = partial(scan_holding_sql, table)
        return self._scan_past(table, prefix, (after, before), rows, sql, (at, at))

    def _scan_past(
        self,
        table: Table[R],
        prefix: Key,
        between: tuple[KeyValue | None, KeyValue | None],
        rows: int,
        sql: Callable[..., str],
        bounds: tuple[int, ...],
    ) -> tuple[list[R], KeyValue | None]:
        """One step of a scan that looks at `rows` rows: the first column of each row of the
        statement, whose last parameters are `bounds`."""
        if self._pending[table.id] and self._may_touch(table, prefix, None):
            self._flush(table)
        decode = STATEMENTS[table.id].decode
        limits = [value for value in between if value is not None]
        form = tuple(value is not None for value in between)
        try:
            self._begin()
            execute = self._connection.execute
            stop = execute(stop_sql(table, *form), (*prefix, *limits, rows)).fetchone()
            last: KeyValue | None = stop[0] if stop else None
            if last is not None:
                limits.append(last)
            statement = sql(*form, stops=last is not None)
            found = execute(statement, (*prefix, *limits, *bounds)).fetchall()
            return [decode(row[0]) for row in found], last
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            raise index_failed(self.path, error) from error

    def _scan_sql(self, table: Table[Any], form: _Form) -> str:
        _, index, width, lower, upper, limit, reverse = form
        sql = scan_sql(
            table, width, lower=lower, upper=upper, limit=limit, reverse=reverse, index=index
        )
        self._scans[form] = sql
        return sql

    def _may_touch(self, table: Table[Any], prefix: Key, index: str | None) -> bool:
        """Whether pending rows of this table can be in, or leave, a range with this prefix."""
        if not prefix or table.orders[index].columns[0] != table.key[0]:
            return True
        return prefix[0] in self._heads[table.id]

    def count(self, table: Table[Any]) -> int:
        self._flush(table)
        try:
            self._begin()
            number: int = self._connection.execute(STATEMENTS[table.id].count).fetchone()[0]
        except sqlite3.Error as error:
            raise index_failed(self.path, error) from error
        return number

    def dump(self) -> Iterator[tuple[str, AnyRow]]:
        for table in TABLES:
            for row in self.scan(table):
                yield table.name, row

    # --- Writing ----------------------------------------------------------------------------------

    def apply(self, changes: Sequence[Changed], sequence: int, checksum: bytes) -> None:
        if self.failed is not None:
            raise self.failed
        pending, heads = self._pending, self._heads
        for table, key, row in changes:
            table_id = table.id
            pending[table_id][key] = row
            heads[table_id].add(key[0])
        self.applied = Applied(sequence, checksum)

    def commit(self) -> None:
        if self.failed is not None:
            raise self.failed
        if self.applied is not self._kept:
            for table in TABLES:
                if self._pending[table.id]:
                    self._flush(table)
            self._write_state()
        if self._active:
            self._execute("COMMIT")
            self._active = False
        if self._fold_wanted:
            self._cut_wal()

    def _cut_wal(self) -> None:
        """Start the WAL anew. The thread has folded all but its end; if somebody reads, this does
        nothing and the next `checkpoint_wal` asks again: the loop never waits."""
        self._fold_wanted = False
        self._execute("PRAGMA busy_timeout = 0")
        self._execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")

    def _write_state(self) -> None:
        assert self.applied is not None
        self._begin()
        self._execute(
            "UPDATE objfs_state SET sequence = ?, checksum = ?",
            (self.applied.sequence, self.applied.checksum),
        )
        self._kept = self.applied

    def _execute(self, sql: str, parameters: tuple[KeyValue, ...] = ()) -> None:
        """A statement whose failure may lose what was applied."""
        try:
            self._connection.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            self.failed = index_failed(self.path, error)
            raise self.failed from error

    def _begin(self) -> None:
        if not self._active:
            self._connection.execute("BEGIN")
            self._active = True

    def _flush(self, table: Table[Any]) -> None:
        """Turn a table's pending rows into SQL."""
        if self.failed is not None:
            raise self.failed
        table_id = table.id
        pending, cached = self._pending[table_id], self._cached[table_id]
        statements, columns_of = STATEMENTS[table_id], table.columns_of
        puts = [(*columns_of(row), _encode(row)) for row in pending.values() if row is not None]
        deletes = [key for key, row in pending.items() if row is None]
        try:
            if not self._active:
                self._begin()
            if deletes:
                self._connection.executemany(statements.delete, deletes)
            if puts:
                self._connection.executemany(statements.put, puts)
        except sqlite3.Error as error:
            self.failed = index_failed(self.path, error)
            raise self.failed from error
        if len(cached) + len(pending) > INDEX_CACHED_ROWS_MAX:
            cached.clear()
        if len(pending) <= INDEX_CACHED_ROWS_MAX:
            cached.update(pending)
        self._pending[table_id] = {}
        self._heads[table_id] = set()

    # --- The file ---------------------------------------------------------------------------------

    def read_ahead(self) -> None:
        try:
            descriptor = os.open(self.path, os.O_RDONLY)
        except OSError:
            return  # whoever reads it will say why
        try:
            size = os.fstat(descriptor).st_size
            if size <= INDEX_READ_AHEAD_BYTES_MAX:
                for offset in range(0, size, MIB):  # Linux cuts what it reads for one call
                    os.posix_fadvise(descriptor, offset, MIB, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(descriptor)

    def wal_bytes(self) -> int:
        try:
            return os.stat(self._wal_path).st_size
        except FileNotFoundError:
            return 0

    def checkpoint_wal(self) -> None:
        try:
            with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
                for _ in range(_FOLDS_MAX):
                    fold = connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
                    _, pages, folded = fold.fetchone()
                    # The loop folds what is left, and cuts: again, if much came meanwhile.
                    if self.wal_bytes() <= INDEX_WAL_BYTES_MAX or pages - folded < _TAIL_PAGES:
                        break
        except sqlite3.Error as error:
            raise index_failed(self.path, error) from error
        if self.wal_bytes() > INDEX_WAL_BYTES_MAX:
            self._fold_wanted = True

    def begin_backup(self) -> Callable[[], Backup]:
        assert self.applied is not None, "an empty index needs no backup"
        self.commit()
        return lambda: copy_index(self.path, self.store_id)

    def load(self, parts: Iterable[bytes], sequence: int) -> None:
        self.close()
        try:
            load_index(self.path, parts, self.store_id, sequence)
        finally:
            self._open()

    def reset(self) -> None:
        self._connection.close()
        discard(self.path)
        self.failed = self.discarded = None
        self._open()

    def close(self) -> None:
        if self.failed is None:
            self.commit()
        self._connection.close()
