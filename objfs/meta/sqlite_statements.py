"""SQL of the tables: rows by their keys, and ranges in any order of a table.

What skips rows of the past is in `objfs/meta/sqlite_past.py`.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from objfs.meta.sqlite_file import index_name
from objfs.meta.tables import TABLES, Table

KEYS_A_TIME = 32


class Statements:
    """The SQL of one table, made once."""

    def __init__(self, table: Table[Any]) -> None:
        columns = ", ".join(f'"{c}"' for c in (*table.columns, "row"))
        marks = ", ".join("?" * (len(table.columns) + 1))
        where = " AND ".join(f'"{c}" = ?' for c in table.key)
        self.get = f'SELECT "row" FROM "{table.name}" WHERE {where}'
        among = f'SELECT "row" FROM "{table.name}" WHERE "{table.key[0]}" IN'
        self.get_many = f"{among} ({', '.join('?' * KEYS_A_TIME)})"  # of a key of one column
        between = f'"{table.key[0]}" BETWEEN ? AND ? LIMIT ?'
        self.get_range = f'SELECT "row" FROM "{table.name}" WHERE {between}'
        self.put = f'INSERT OR REPLACE INTO "{table.name}" ({columns}) VALUES ({marks})'
        self.delete = f'DELETE FROM "{table.name}" WHERE {where}'
        self.count = f'SELECT count(*) FROM "{table.name}"'
        self.decode: Callable[[bytes], Any] = msgspec.msgpack.Decoder(table.row).decode


STATEMENTS: dict[int, Statements] = {table.id: Statements(table) for table in TABLES}


def scan_sql(
    table: Table[Any],
    width: int,
    *,
    lower: bool,
    upper: bool,
    limit: bool,
    reverse: bool,
    index: str | None,
    columns: str = '"row"',
) -> str:
    """A range of a table in one of its orders; `width` leading columns are fixed. Parameters: the
    fixed columns, lower, upper, limit, as far as there are any."""
    order = table.orders[index]
    terms = [f'"{column}" = ?' for column in order.columns[:width]]
    if lower:
        terms.append(f'"{order.columns[width]}" >= ?')
    if upper:
        terms.append(f'"{order.columns[width]}" < ?')
    down = " DESC" if reverse else ""
    by = ", ".join(f'"{column}"{down}' for column in order.columns)
    return "".join(
        (
            f'SELECT {columns} FROM "{table.name}"',
            f' INDEXED BY "{index_name(table, order)}"' if index is not None else "",
            f" WHERE {' AND '.join(terms)}" if terms else "",
            f" ORDER BY {by}",
            " LIMIT ?" if limit else "",
        )
    )
