"""Moving extents: rows follow their bytes from one record to another.

A batch is one change, and *conditional on the old location*: a row is moved only if it still lies
in the segment that is being emptied, as it is at that moment, cut or ended as it may be. So nothing
that happened since the bytes were copied is undone, and a copy that nobody needs is garbage.

Rows that become neighbours in one record and hold for the same sequences become one row. That keeps
what a reader sees at every sequence; but whoever goes through the rows of a content in several
changes, from offset to offset, says so in `Core.unsharing`, and its rows stay as they are.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias, cast

from msgspec.structs import replace

from objfs.meta.database import Change
from objfs.meta.rows import Extent, ExtentPast
from objfs.meta.tables import EXTENT, EXTENT_PAST, Key, Table
from objfs.store.reclaiming import Copied
from objfs.volume.core import Core

Moves: TypeAlias = Mapping[int, Sequence[Copied]]  # by the position of the record


def move_extents(core: Core, keys: Iterable[Key], segment: int, moves: Moves) -> int:
    """Move the current extents with these keys, in their order. Returns how many rows moved."""
    return _move(core, EXTENT, keys, segment, moves)


def move_past_extents(core: Core, keys: Iterable[Key], segment: int, moves: Moves) -> int:
    """The same for past ones."""
    return _move(core, EXTENT_PAST, keys, segment, moves)


def is_referred_to(core: Core, segment: int) -> bool:
    """Whether a row lies in the segment."""
    scan = core.database.scan
    return bool(
        scan(EXTENT, (segment,), index="segment", limit=1)
        or scan(EXTENT_PAST, (segment,), index="segment", limit=1)
    )


def _move(
    core: Core,
    table: Table[Extent] | Table[ExtentPast],
    keys: Iterable[Key],
    segment: int,
    moves: Moves,
) -> int:
    moved: list[Extent | ExtentPast] = []
    with core.change() as change:
        for key in keys:
            row = cast("Extent | ExtentPast | None", change.get(cast("Table[Any]", table), *key))
            if row is None or row.segment != segment:
                continue
            copied = _copy_of(row, moves.get(row.position, ()))
            if copied is not None:
                moved.append(_moved(row, copied))
        _put_merged(core, change, table, moved)
    core.moves += 1
    return len(moved)


def _copy_of(row: Extent | ExtentPast, copies: Sequence[Copied]) -> Copied | None:
    """The copy that has all the bytes of a row."""
    for copied in copies:
        if copied.start <= row.skip and row.skip + row.length <= copied.end:
            return copied
    return None


def _moved(row: Extent | ExtentPast, copied: Copied) -> Extent | ExtentPast:
    segment, position, stored = copied.location
    skip = row.skip - copied.start + copied.skip
    return replace(
        row, segment=segment, position=position, stored=stored, skip=skip, hash32=copied.hash32
    )


def _put_merged(
    core: Core,
    change: Change,
    table: Table[Extent] | Table[ExtentPast],
    moved: Sequence[Extent | ExtentPast],
) -> None:
    """Put the rows, those that have become one as one."""
    last: Extent | ExtentPast | None = None
    for row in moved:
        if last is not None and _are_one(last, row) and not core.unsharing[row.content]:
            change.delete(table, *table.key_of(row))  # type: ignore[arg-type]  # its own table's
            last = replace(last, length=last.length + row.length)
            continue
        if last is not None:
            change.put(last)
        last = row
    if last is not None:
        change.put(last)


def _are_one(row: Extent | ExtentPast, following: Extent | ExtentPast) -> bool:
    """Whether two rows say together what one could."""
    return (
        (row.content, row.segment, row.position, row.since)
        == (following.content, following.segment, following.position, following.since)
        and getattr(row, "until", 0) == getattr(following, "until", 0)
        and row.offset + row.length == following.offset
        and row.skip + row.length == following.skip
    )
