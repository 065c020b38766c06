"""Checkpoints of earlier forms of the index: their rows are put into a file of today's.

Every table has its rows whole in the column `row`, and rows only ever get fields at the end; so
whatever columns, indexes and tables a form had, today's are made of it. A file with a table that is
not known comes from a later version, and is not touched.
"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from objfs.meta.tables import TABLES

_STATE = "objfs_state"


def upgrade(
    path: Path, fresh: Path, known: set[str], fill: Callable[[sqlite3.Connection], None]
) -> bool:
    """Put a file of today's form in the place of one of an earlier form, if `path` is one: `known`
    are the statements of today's schema, `fill` makes an empty one. `fresh` is used for it. Returns
    whether that was done. sqlite3.Error, msgspec.MsgspecError."""
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        found = old.execute("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL")
        schema = found.fetchall()
        tables = {name for kind, name, _ in schema if kind == "table"}
        today = {table.name for table in TABLES} | {_STATE}
        if {sql for _, _, sql in schema} == known or _STATE not in tables or tables - today:
            return False
        with closing(sqlite3.connect(fresh, isolation_level=None)) as new:
            fill(new)
            new.execute("BEGIN")
            for table in TABLES:
                if table.name in tables:
                    _copy(old, new, table)
            state = old.execute(f"SELECT sequence, checksum FROM {_STATE}").fetchone()
            new.execute(f"UPDATE {_STATE} SET sequence = ?, checksum = ?", state)
            new.execute("COMMIT")
    os.replace(fresh, path)
    return True


def _copy(old: sqlite3.Connection, new: sqlite3.Connection, table: Any) -> None:
    decode = msgspec.msgpack.Decoder(table.row).decode
    encode = msgspec.msgpack.Encoder().encode
    columns = ", ".join(f'"{column}"' for column in (*table.columns, "row"))
    marks = ", ".join("?" * (len(table.columns) + 1))
    rows = (decode(blob) for (blob,) in old.execute(f'SELECT "row" FROM "{table.name}"'))
    new.executemany(
        f'INSERT INTO "{table.name}" ({columns}) VALUES ({marks})',
        ((*table.columns_of(row), encode(row)) for row in rows),
    )
