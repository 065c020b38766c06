"""The file of the SQLite engine: its schema, how it is opened and judged, how it is copied.

    index/objfs.sqlite           the index; with -wal and -shm beside it while open
    index/objfs.sqlite.copy      a checkpoint being made
    index/objfs.sqlite.loading   a checkpoint being loaded
    index/objfs.sqlite.damaged   the index was found damaged in use: the next opening rebuilds it

A table of the index is a table of the same name: the columns of its key and of its secondary
indexes, and `row`, the msgpack array of the whole struct. `application_id` says that the file is
an index of objfs, `user_version` its version, the one row of `objfs_state` whose it is and the last
META in it. What does not fit is not repaired: the index is a view, and a rebuild makes a right one.

**Never open() the index while a connection is open**: closing any descriptor of a file drops the
locks that this process holds on it (POSIX), SQLite's among them. stat is harmless.
"""

import os
import sqlite3
from collections.abc import Generator, Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import msgspec

from objfs.base.errors import DataLost, IndexFailed
from objfs.base.limits import CHECKPOINT_PART_BYTES, INDEX_CACHE_BYTES
from objfs.meta.engine import INDEX_VERSION, Applied, Backup
from objfs.meta.sqlite_upgrade import upgrade
from objfs.meta.tables import TABLES, Order, Table

APPLICATION_ID = 0x6F626A66  # "objf"
FILE_NAME = "objfs.sqlite"
WAL_SUFFIX = "-wal"
_COPY_SUFFIX = ".copy"
_LOADING_SUFFIX = ".loading"
_DAMAGED_SUFFIX = ".damaged"
_STATEMENTS_CACHED = 512
BUSY_MILLISECONDS = 10_000  # nobody else writes: waits only for a process that is just ending

_STATE = (
    "CREATE TABLE objfs_state (id INTEGER PRIMARY KEY CHECK (id = 0), store_id BLOB NOT NULL, "
    "sequence INTEGER NOT NULL, checksum BLOB NOT NULL)"
)
_SQL_TYPES = {int: "INTEGER", bool: "INTEGER", bytes: "BLOB", str: "TEXT"}
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}


class Unusable(Exception):
    """The file is no index of this store that this version can use; says why. Does not leave this
    module: who opens gets an empty index, who loads gets DataLost."""


def index_name(table: Table[Any], order: Order[Any]) -> str:
    """The name of a secondary index in the schema."""
    return f"{table.name}_{order.name}"


def schema() -> list[str]:
    """The statements that make an empty index."""
    statements = [_STATE]
    for table in TABLES:
        columns = [f'"{c}" {_SQL_TYPES[table.column_types[c]]} NOT NULL' for c in table.columns]
        key = ", ".join(f'"{c}"' for c in table.key)
        # A single integer key is SQLite's own rowid; everything else is clustered by its key.
        form = "" if table.key_types == (int,) else " WITHOUT ROWID"
        statements.append(
            f'CREATE TABLE "{table.name}" ({", ".join(columns)}, "row" BLOB NOT NULL, '
            f"PRIMARY KEY ({key})){form}"
        )
        for order in table.orders.values():
            if order.name:
                fields = next(index.fields for index in table.indexes if index.name == order.name)
                on = ", ".join(f'"{c}"' for c in fields)
                name = index_name(table, order)
                statements.append(f'CREATE INDEX "{name}" ON "{table.name}" ({on})')
    return statements


def index_failed(path: Path, error: Exception) -> IndexFailed:
    """What callers are told when SQLite raises. Damage is noted beside the file, for nothing else
    would make the next opening rebuild an index whose damaged page it does not read."""
    if _is_damage(error):
        with suppress(OSError):  # the note only saves the user a command
            Path(f"{path}{_DAMAGED_SUFFIX}").touch()
    return IndexFailed(
        f"the index {path} failed: {error}; nothing is lost, the log has everything: open the "
        "store again, and if it happens again run objfs rebuild"
    )


def _is_damage(error: Exception) -> bool:
    """Whether the content of the file is wrong, as opposed to reading or writing it."""
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE
    return isinstance(error, msgspec.MsgspecError | Unusable)


def open_index(path: Path, store_id: bytes) -> tuple[sqlite3.Connection, str | None]:
    """A connection to the index of this store, made empty if there is none or if it is of no use;
    in the latter case also says why."""
    reason = None
    if Path(f"{path}{_DAMAGED_SUFFIX}").exists():
        reason = "it was found damaged when it was last used"
    elif path.exists():
        try:
            return _connect(path, store_id), None
        except Unusable as unusable:
            reason = str(unusable)
    discard(path)
    return _create(path, store_id), reason


def open_reading(path: Path, store_id: bytes) -> sqlite3.Connection:
    """A connection that only reads, beside the process that owns the index. IndexFailed when there
    is none that can be read."""
    uri = path.absolute().as_uri() + "?mode=ro"
    try:
        connection = sqlite3.connect(
            uri,
            uri=True,
            isolation_level=None,
            cached_statements=_STATEMENTS_CACHED,
            check_same_thread=False,  # a pool hands it from thread to thread
        )
        try:
            connection.execute(f"PRAGMA cache_size = {-INDEX_CACHE_BYTES // 1024}")
            connection.execute("PRAGMA temp_store = MEMORY")
            _judge(connection, store_id)
        except BaseException:
            connection.close()
            raise
    except (sqlite3.Error, Unusable) as error:
        raise IndexFailed(f"the index {path} cannot be read beside its owner: {error}") from error
    return connection


def discard(path: Path) -> None:
    """Remove the index and what is left of copies of it."""
    try:
        _discard_index(path)
        _remove_with_journal(Path(f"{path}{_COPY_SUFFIX}"))
        _remove_with_journal(Path(f"{path}{_LOADING_SUFFIX}"))
    except OSError as error:
        raise index_failed(path, error) from error


def read_applied(connection: sqlite3.Connection, store_id: bytes) -> Applied | None:
    """The last META in the index. Raises Unusable when it is another store's."""
    rows = connection.execute("SELECT store_id, sequence, checksum FROM objfs_state").fetchall()
    if len(rows) != 1 or not isinstance(rows[0][1], int):
        raise Unusable("it does not say which store it belongs to")
    owner, sequence, checksum = rows[0]
    if owner != store_id:
        raise Unusable("it belongs to another store")
    return Applied(sequence, checksum) if sequence else None


def copy_index(path: Path, store_id: bytes) -> Backup:
    """Copy the index in one step, on connections of its own; for a thread.

    The copy is the file's committed state at one moment, and says itself which that is. It is
    checked page by page, so that a damaged index does not become a checkpoint.
    """
    copy = Path(f"{path}{_COPY_SUFFIX}")
    try:
        _remove_with_journal(copy)
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
            target.execute("PRAGMA journal_mode = OFF")
            target.execute("PRAGMA synchronous = OFF")
            source.backup(target)
        applied = _verify(copy, store_id)
    except (sqlite3.Error, OSError, Unusable) as error:
        _remove_with_journal(copy)
        raise index_failed(path, error) from error
    assert applied is not None, "an empty index needs no backup"
    return Backup(applied.sequence, _read_parts(copy))


def load_index(path: Path, parts: Iterable[bytes], store_id: bytes, sequence: int) -> None:
    """Put a copy in the place of the index, which nobody has open. DataLost when it is not what a
    backup of `sequence` made; then the index is as it was."""
    loading = Path(f"{path}{_LOADING_SUFFIX}")
    try:
        _remove_with_journal(loading)
        _write_parts(loading, parts)
        _upgrade(loading, store_id)
        applied = _verify(loading, store_id)
        if applied is None or applied.sequence != sequence:
            raise Unusable(f"it says that it covers {applied}")
        _discard_index(path)
        os.replace(loading, path)
        _sync_directory(path.parent)
    except (sqlite3.DatabaseError, Unusable) as error:
        raise DataLost(f"the checkpoint of META {sequence} is not usable: {error}") from error
    except OSError as error:
        raise index_failed(path, error) from error
    finally:
        _remove_with_journal(loading)


def _upgrade(loading: Path, store_id: bytes) -> None:
    """A checkpoint of an earlier form becomes one of today's; anything else is left as it is, to be
    judged as it is."""
    with closing(sqlite3.connect(loading, isolation_level=None)) as connection:
        if _number(connection, "application_id") != APPLICATION_ID:
            return
        if read_applied(connection, store_id) is None:
            return
    fresh = Path(f"{loading}{_COPY_SUFFIX}")
    try:
        upgrade(loading, fresh, set(schema()), lambda new: _fill(new, store_id))
    except msgspec.MsgspecError as error:
        raise Unusable(f"a row of it cannot be read: {error}") from error
    finally:
        _remove_with_journal(fresh)


def _connect(path: Path, store_id: bytes) -> sqlite3.Connection:
    try:
        connection = _configured(path)
        try:
            _judge(connection, store_id)
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        if _is_damage(error):
            raise Unusable(f"it is damaged: {error}") from error
        raise index_failed(path, error) from error
    return connection


def _create(path: Path, store_id: bytes) -> sqlite3.Connection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = _configured(path)
        try:
            _fill(connection, store_id)
        except BaseException:
            connection.close()
            raise
    except (sqlite3.Error, OSError) as error:
        raise index_failed(path, error) from error
    return connection


def _fill(connection: sqlite3.Connection, store_id: bytes) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for statement in schema():
        connection.execute(statement)
    connection.execute("INSERT INTO objfs_state VALUES (0, ?, 0, x'')", (store_id,))
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {INDEX_VERSION}")
    connection.execute("COMMIT")


def _configured(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path,
        isolation_level=None,
        cached_statements=_STATEMENTS_CACHED,
        timeout=BUSY_MILLISECONDS / 1000,
    )
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute(f"PRAGMA cache_size = {-INDEX_CACHE_BYTES // 1024}")
        connection.execute("PRAGMA temp_store = MEMORY")
    except BaseException:
        connection.close()
        raise
    return connection


def _judge(connection: sqlite3.Connection, store_id: bytes) -> None:
    """Raises Unusable unless this is an index of this version and store. SQLite sees by itself that
    a file is shorter than it says. A check of every page would make each start of a large store
    slow: pages that are damaged inside are found when they are read."""
    _check_form(connection)
    read_applied(connection, store_id)


def _check_form(connection: sqlite3.Connection) -> None:
    if _number(connection, "application_id") != APPLICATION_ID:
        raise Unusable("it is no index of objfs")
    version = _number(connection, "user_version")
    if version != INDEX_VERSION:
        raise Unusable(f"it is of version {version}, this objfs keeps version {INDEX_VERSION}")
    found = connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL").fetchall()
    if {sql for (sql,) in found} != set(schema()):
        raise Unusable("its tables are not those of its version")


def _verify(copy: Path, store_id: bytes) -> Applied | None:
    """Check every page of a copy. Raises Unusable or sqlite3.Error."""
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        _check_form(connection)
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != ("ok",):
            raise Unusable(f"it is damaged: {verdict}")
        return read_applied(connection, store_id)


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    value: int = connection.execute(f"PRAGMA {pragma}").fetchone()[0]
    return value


def _discard_index(path: Path) -> None:
    """The main file goes first, for good: without its WAL it may be garbage, a WAL without its file
    is ignored."""
    if path.exists():
        path.unlink()
        _sync_directory(path.parent)
    _remove_with_journal(path)
    Path(f"{path}{_DAMAGED_SUFFIX}").unlink(missing_ok=True)


def _write_parts(path: Path, parts: Iterable[bytes]) -> None:
    with path.open("wb") as file:
        for part in parts:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())


def _read_parts(copy: Path) -> Generator[bytes]:
    try:
        with copy.open("rb") as file:
            while part := file.read(CHECKPOINT_PART_BYTES):
                yield part
    finally:
        _remove_with_journal(copy)


def _remove_with_journal(path: Path) -> None:
    for suffix in ("", WAL_SUFFIX, "-shm", "-journal"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
