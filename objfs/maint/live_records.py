"""Which DATA records of a segment are live: those that rows refer to.

Read off the loop, in pages, through the index on the segment; rows move and go meanwhile, so a
record that does not verify is looked up again before it counts (`still_live`).
"""

from collections.abc import Iterable
from typing import Any

from objfs.meta.database import Database
from objfs.meta.maintenance import Reader
from objfs.meta.rows import Extent, ExtentPast
from objfs.meta.tables import EXTENT, EXTENT_PAST, Table
from objfs.store.format import MASK_32, RecordKind
from objfs.store.verification import Broken, Expected

_OFFSET_SHIFT, _LENGTH_SHIFT, _HASH_SHIFT = 96, 64, 32
TABLES: tuple[Table[Any], ...] = (EXTENT, EXTENT_PAST)


async def live_records(reader: Reader, segment: int) -> list[Expected]:
    """By offset, each once, with the most of its raw bytes that a row speaks of."""
    packed: dict[int, int] = {}  # a number takes half the memory of a tuple
    for table in TABLES:
        async for page in reader.stream(table, (segment,), index="segment"):
            for row in page:
                place = _packed(row)
                reach = row.skip + row.length
                if packed.get(place, -1) < reach:
                    packed[place] = reach
    return [_expected(place, packed[place]) for place in sorted(packed)]


def _packed(row: Extent | ExtentPast) -> int:
    place = row.position << _OFFSET_SHIFT | row.stored << _LENGTH_SHIFT
    return place | row.hash32 << _HASH_SHIFT


def _expected(place: int, reach: int) -> Expected:
    return Expected(
        place >> _OFFSET_SHIFT,
        place >> _LENGTH_SHIFT & MASK_32,
        RecordKind.DATA,
        place >> _HASH_SHIFT & MASK_32,
        raw=reach,
    )


async def still_live(reader: Reader, segment: int, broken: Iterable[Broken]) -> list[Broken]:
    """Those that are no DATA, and those that rows refer to now."""
    now = {(each.offset, each.hash32) for each in await live_records(reader, segment)}
    return [
        each
        for each in broken
        if each.expected.kind != RecordKind.DATA
        or (each.expected.offset, each.expected.hash32) in now
    ]


def referenced_segments(database: Database) -> set[int]:
    """The segments that rows refer to, by a skip scan."""
    found: set[int] = set()
    for table in TABLES:
        lower = 0
        while rows := database.scan(table, lower=lower, limit=1, index="segment"):
            found.add(rows[0].segment)
            lower = rows[0].segment + 1
    return found
