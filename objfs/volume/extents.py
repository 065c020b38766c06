"""Extent arithmetic: functions over values, no I/O.

A content is a sparse array of bytes. Its *current* extents never overlap. What a write replaces is
cut: the replaced row ends (and stays readable in the past if a version saw it), what remains of it
on either side begins anew at the same sequence. So at every sequence the extents that hold then do
not overlap either.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from msgspec.structs import replace

from objfs.base.types import Stored
from objfs.meta.rows import Extent, ExtentPast


class Cut(NamedTuple):
    """What a new range does to the extents below it."""

    ended: list[Extent]  # rows that end
    remaining: list[Extent]  # rows that begin: what is left of them on either side
    freed: int  # allocated bytes that went


class Span(NamedTuple):
    """`length` bytes of a read at `offset` of the content; without an extent it is a hole."""

    offset: int
    length: int
    extent: Extent | None


def cut(overlapping: Iterable[Extent], start: int, end: int, sequence: int) -> Cut:
    """End the parts of `overlapping` (rows of one content) inside [start, end) at `sequence`."""
    assert start < end
    result = Cut([], [], 0)
    freed = 0
    for extent in overlapping:
        stop = extent.offset + extent.length
        if stop <= start or extent.offset >= end:
            continue
        result.ended.append(extent)
        freed += min(stop, end) - max(extent.offset, start)
        if extent.offset < start:
            result.remaining.append(replace(extent, length=start - extent.offset, since=sequence))
        if stop > end:
            gone = end - extent.offset
            result.remaining.append(
                replace(
                    extent,
                    offset=end,
                    length=stop - end,
                    skip=extent.skip + gone,
                    since=sequence,
                )
            )
    return result._replace(freed=freed)


def within(extents: Iterable[Extent], size: int) -> list[Extent]:
    """The extents below `size`, the last one shortened to end there."""
    return [
        replace(extent, length=min(extent.length, size - extent.offset))
        for extent in extents
        if extent.offset < size
    ]


def past(extent: Extent, until: int) -> ExtentPast:
    """The row that keeps `extent` readable for the sequences before `until`."""
    return ExtentPast(
        content=extent.content,
        offset=extent.offset,
        until=until,
        length=extent.length,
        segment=extent.segment,
        position=extent.position,
        stored=extent.stored,
        skip=extent.skip,
        hash32=extent.hash32,
        since=extent.since,
    )


def from_past(row: ExtentPast) -> Extent:
    """The extent that `row` was."""
    return Extent(
        content=row.content,
        offset=row.offset,
        length=row.length,
        segment=row.segment,
        position=row.position,
        stored=row.stored,
        skip=row.skip,
        hash32=row.hash32,
        since=row.since,
    )


def from_stored(content: int, stored: Stored, sequence: int) -> Extent:
    """The extent of a record just appended."""
    return Extent(
        content=content,
        offset=stored.offset,
        length=stored.length,
        segment=stored.location.segment,
        position=stored.location.offset,
        stored=stored.location.length,
        skip=0,
        hash32=stored.hash32,
        since=sequence,
    )


def spans(extents: Iterable[Extent], start: int, end: int) -> Iterator[Span]:
    """Cover [start, end) with spans of `extents` (sorted, not overlapping) and holes."""
    position = start
    for extent in extents:
        first = max(extent.offset, position)
        last = min(extent.offset + extent.length, end)
        if last <= first:
            continue
        if first > position:
            yield Span(position, first - position, None)
        yield Span(first, last - first, extent)
        position = last
    if position < end:
        yield Span(position, end - position, None)
