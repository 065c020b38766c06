"""Moving extents: rows follow their bytes from one record to another.

A batch is one change, and *conditional on the old location*: a row is moved only if it still lies
in the segment that is being emptied, as it is at that moment, cut or ended as it may be. So nothing
that happened since the bytes were copied is undone, and a copy that nobody needs is garbage.

Rows that become neighbours in one record and hold for the same sequences become one row. That keeps
what a reader sees at every sequence; but whoever goes through the rows of a content in several
changes, from offset to offset, says so in `Core.unsharing`, and its rows stay as they are.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, cast

from msgspec.structs import replace

from objfs.base.types import Stored
from objfs.meta.database import Change
from objfs.meta.rows import Extent, ExtentPast
from objfs.meta.tables import (
    EXTENT,
    EXTENT_PAST,
    INODE,
    ORPHAN,
    PURGE,
    SWEEP,
    VERSION,
    Key,
    Table,
)
from objfs.store.reclaiming import Copied
from objfs.volume.core import Core

# By the position of the record: the only part of it, or parts in order, apart from each other.
Moves: TypeAlias = Mapping[int, Copied | Sequence[Copied]]


def move_extents(core: Core, keys: Iterable[Key], segment: int, moves: Moves) -> int:
    """Move the current extents with these keys, in their order. Returns how many rows moved."""
    return _move(core, EXTENT, keys, segment, moves)


def move_past_extents(core: Core, keys: Iterable[Key], segment: int, moves: Moves) -> int:
    """The same for past ones."""
    return _move(core, EXTENT_PAST, keys, segment, moves)


def merge_extents(core: Core, rows: Sequence[Extent], copy: Stored) -> tuple[int, int]:
    """Move the current extents `rows`, which follow each other in a content, to the record that has
    a copy of all their bytes, as far as they still lie where they lay. Returns how many rows moved,
    and how many went because they became one with another."""
    content, start = rows[0].content, rows[0].offset
    segment, position, stored = copy.location
    with core.change() as change:
        if is_gone_over(core, content):
            return 0, 0
        moved = [
            replace(
                row,
                segment=segment,
                position=position,
                stored=stored,
                skip=row.offset - start,
                hash32=copy.hash32,
            )
            for row in rows
            if change.get(EXTENT, content, row.offset) == row
        ]
        merged = list(_undistinguished(core, change, moved))
        for offset in {row.offset for row in moved} - {row.offset for row in merged}:
            change.delete(EXTENT, content, offset)
        for row in merged:
            change.put(row)
    core.moves += 1
    return len(moved), len(moved) - len(merged)


def is_gone_over(core: Core, content: int) -> bool:
    """Whether extents of a content are being removed, from offset to offset, in several changes."""
    database = core.database
    return database.get(SWEEP, content) is not None or bool(
        database.scan(PURGE, (content,), limit=1)
    )


def _undistinguished(core: Core, change: Change, rows: Sequence[Extent]) -> Iterator[Extent]:
    """Rows of one record, in order; those that no needed moment tells apart as one, which begins
    with the last of them."""
    shared = _moments_of_orphans(change, rows[0].content) if rows else []
    last: Extent | None = None
    for row in rows:
        if last is not None and not core.unsharing[row.content]:
            both = max(last.since, row.since)
            following = replace(row, since=both)
            if _are_one(replace(last, since=both), following) and not _is_moment_between(
                change, last, row, shared
            ):
                last = replace(last, length=last.length + row.length, since=both)
                continue
        if last is not None:
            yield last
        last = row
    if last is not None:
        yield last


def _is_moment_between(change: Change, one: Extent, other: Extent, shared: Sequence[int]) -> bool:
    """Whether a version, or an inode that shares the content, sees only one of two rows."""
    since, until = sorted((one.since, other.since))
    if since == until:
        return False
    if any(since <= at < until for at in shared):
        return True
    prefix = (one.content,)
    return bool(change.scan(VERSION, prefix, lower=since, upper=until, limit=1, index="content"))


def _moments_of_orphans(change: Change, content: int) -> list[int]:
    """The sequences as of which inodes without a name read this content: their versions may be
    erased."""
    inodes = change.get_many(INODE, [(row.ino,) for row in change.scan(ORPHAN)])
    return [each.content_at for each in inodes if each is not None and each.content == content]


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


def _copy_of(row: Extent | ExtentPast, copies: Copied | Sequence[Copied]) -> Copied | None:
    """The copy that has all the bytes of a row."""
    if isinstance(copies, Copied):
        copies = (copies,)
    at = bisect_right(copies, row.skip, key=lambda each: each.start) - 1
    if at >= 0 and row.skip + row.length <= copies[at].end:
        return copies[at]
    return None


def _moved(row: Extent | ExtentPast, copied: Copied) -> Extent | ExtentPast:
    return replace(
        row,
        segment=copied.to_segment,
        position=copied.to_position,
        stored=copied.to_stored,
        skip=row.skip - copied.start + copied.skip,
        hash32=copied.hash32,
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
