"""SQL for tables of the past: skip-scans that leave out what did not hold at a sequence.

A group is the rows that share all columns of the key but the last one, a sequence. Only one row of
a group is decoded: SQLite finds it on its own, in key order, without sorting.
"""

from functools import cache
from typing import Any

from objfs.meta.tables import Table

NEAREST_GROUPS = 64  # asked for in one statement at most


@cache
def nearest_sql(table: Table[Any], groups: int, *, newest: bool) -> str:
    """One row of each group, NULL for a group without one, in their order. Parameters: the groups'
    columns, one group after the other; the bound of the last column."""
    name, fixed, last = f'"{table.name}"', table.key[:-1], f'"{table.key[-1]}"'
    values = ", ".join([f"({', '.join('?' * len(fixed))})"] * groups)
    same = " AND ".join(f'"{column}" = w.column{at + 1}' for at, column in enumerate(fixed))
    best = f"{last} <= b.at ORDER BY {last} DESC" if newest else f"{last} > b.at ORDER BY {last}"
    return (
        f'SELECT (SELECT "row" FROM {name} WHERE {same} AND {best} LIMIT 1) '
        f"FROM (VALUES {values}) AS w, (SELECT ? AS at) AS b"
    )


def _range(table: Table[Any], after: bool, before: bool) -> list[str]:
    terms = [f'"{column}" = ?' for column in table.key[:-2]]
    terms += [f'"{table.key[-2]}" > ?'] * after
    terms += [f'"{table.key[-2]}" < ?'] * before
    return terms


@cache
def stop_sql(table: Table[Any], after: bool, before: bool) -> str:
    """Where a scan that looks at so many rows stops. Parameters: the prefix, after, before as far
    as there are any; the number of rows."""
    where = " AND ".join(_range(table, after, before)) or "true"
    return (
        f'SELECT "{table.key[-2]}" FROM "{table.name}" WHERE {where} '
        f'ORDER BY "{table.key[-2]}", "{table.key[-1]}" LIMIT 1 OFFSET ?'
    )


@cache
def scan_nearest_sql(
    table: Table[Any], after: bool, before: bool, *, stops: bool, newest: bool
) -> str:
    """The row of each group whose last column is the nearest to a bound; SQLite takes the bare
    column from the row that has the minimum or maximum. Parameters: the prefix, after, before and
    the stop, as far as there are any; the bound."""
    group, last = f'"{table.key[-2]}"', f'"{table.key[-1]}"'
    terms = _range(table, after, before)
    terms += [f"{group} <= ?"] * stops
    terms.append(f"{last} <= ?" if newest else f"{last} > ?")
    best = f"max({last})" if newest else f"min({last})"
    return (
        f'SELECT "row", {best} FROM "{table.name}" '
        f"WHERE {' AND '.join(terms)} GROUP BY {group} ORDER BY {group}"
    )


@cache
def scan_holding_sql(table: Table[Any], after: bool, before: bool, *, stops: bool) -> str:
    """The rows that hold at a sequence: of a group one at most. Parameters: as for
    `scan_nearest_sql`, then the sequence twice."""
    group, last = f'"{table.key[-2]}"', f'"{table.key[-1]}"'
    terms = _range(table, after, before)
    terms += [f"{group} <= ?"] * stops
    terms += [f"{last} > ?", '"since" <= ?']
    where = " AND ".join(terms)
    return f'SELECT "row" FROM "{table.name}" WHERE {where} ORDER BY {group}, {last}'
