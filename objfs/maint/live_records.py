"""Which DATA records of a segment are live: those that rows refer to.

Read off the loop, in pages, through the index on the segment; rows move and go meanwhile, so a
record that does not verify is looked up again before it counts (`still_live`). There may be a
million: they are kept as numbers, a sorted run of each page, and come one after the other.
"""

import heapq
from collections.abc import Iterable, Iterator
from typing import Any

from objfs.meta.database import Database
from objfs.meta.maintenance import Reader
from objfs.meta.rows import Extent, ExtentPast
from objfs.meta.tables import EXTENT, EXTENT_PAST, Table
from objfs.store.format import MASK_32, RecordKind
from objfs.store.verification import Broken, Expected

_OFFSET_SHIFT, _LENGTH_SHIFT, _HASH_SHIFT = 96, 64, 32
TABLES: tuple[Table[Any], ...] = (EXTENT, EXTENT_PAST)


async def live_records(reader: Reader, segment: int, start: int = 0) -> Iterator[Expected]:
    """Those at offset `start` and above, by offset, each once, with the most of its raw bytes that
    a row speaks of. Going through them is for a thread."""
    runs: list[list[int]] = []
    for table in TABLES:
        async for page in reader.stream(table, (segment,), index="segment"):
            run = sorted({_packed(row) for row in page if row.position >= start})
            if run:
                runs.append(run)
    return _merged(runs)


def _merged(runs: Iterable[list[int]]) -> Iterator[Expected]:
    last = -1
    for packed in heapq.merge(*runs):
        if last >= 0 and packed >> _HASH_SHIFT != last >> _HASH_SHIFT:
            yield _expected(last)
        last = packed  # of one record the one that reaches furthest comes last
    if last >= 0:
        yield _expected(last)


def _packed(row: Extent | ExtentPast) -> int:
    """A number takes half the memory of a tuple."""
    place = row.position << _OFFSET_SHIFT | row.stored << _LENGTH_SHIFT
    return place | row.hash32 << _HASH_SHIFT | min(row.skip + row.length, MASK_32)


def _expected(packed: int) -> Expected:
    return Expected(
        packed >> _OFFSET_SHIFT,
        packed >> _LENGTH_SHIFT & MASK_32,
        RecordKind.DATA,
        packed >> _HASH_SHIFT & MASK_32,
        raw=packed & MASK_32,
    )


async def still_live(reader: Reader, segment: int, broken: Iterable[Broken]) -> list[Broken]:
    """Those that are no DATA, and those that rows refer to now."""
    found = list(broken)
    asked = {(each.expected.offset, each.expected.hash32) for each in found}
    now: set[tuple[int, int]] = set()
    for table in TABLES:
        async for page in reader.stream(table, (segment,), index="segment"):
            now |= asked & {(row.position, row.hash32) for row in page}
    return [
        each
        for each in found
        if each.expected.kind != RecordKind.DATA
        or (each.expected.offset, each.expected.hash32) in now
    ]


def next_referenced(database: Database, least: int) -> int | None:
    """The first segment from `least` on that rows refer to."""
    found = (database.scan(table, lower=least, limit=1, index="segment") for table in TABLES)
    return min((rows[0].segment for rows in found if rows), default=None)
