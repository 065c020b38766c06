"""Going on behind a row, in the order of the key or of an index, with an engine's own scans."""

from typing import Any, Protocol

from objfs.meta.tables import Key, KeyValue, R, Table


class Scans(Protocol):
    """An engine, the database or a change."""

    @property
    def scan(self) -> Any:
        """See `objfs.meta.engine.Engine.scan`."""


def rows_after(
    source: Scans,
    table: Table[R],
    place: Key,
    limit: int,
    *,
    prefix: Key = (),
    index: str | None = None,
) -> list[R]:
    """The next rows after `place`, which has all columns of the order (() for the beginning),
    among those that begin with `prefix`."""
    if not place:
        first: list[R] = source.scan(table, prefix, limit=limit, index=index)
        return first
    found: list[R] = []
    for width in range(len(place) - 1, len(prefix) - 1, -1):
        found += source.scan(
            table,
            place[:width],
            lower=successor(place[width]),
            limit=limit - len(found),
            index=index,
        )
        if len(found) >= limit:
            break
    return found


def successor(value: KeyValue) -> KeyValue:
    """The next value in a column's order."""
    if isinstance(value, int):
        return value + 1
    return value + b"\0" if isinstance(value, bytes) else value + "\0"
