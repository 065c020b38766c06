"""Extent arithmetic against a plain array of bytes."""

from hypothesis import given
from hypothesis import strategies as st

from objfs.base.types import Location, Stored
from objfs.meta.rows import Extent
from objfs.volume.extents import cut, from_past, from_stored, past, spans

SIZE = 64
WRITES = st.lists(
    st.tuples(st.integers(0, SIZE - 1), st.integers(1, SIZE)).map(
        lambda pair: (pair[0], min(SIZE, pair[0] + pair[1]))
    ),
    max_size=20,
)


def record(number: int, start: int, end: int) -> Extent:
    """An extent of a record of its own, told by its segment."""
    location = Location(number, 0, end - start)
    return from_stored(7, Stored(start, end - start, location, number), number)


def as_array(extents: list[Extent]) -> list[tuple[int, int] | None]:
    """For each byte: the record and the offset in it."""
    array: list[tuple[int, int] | None] = [None] * SIZE
    for extent in extents:
        for index in range(extent.length):
            assert array[extent.offset + index] is None, "extents overlap"
            array[extent.offset + index] = (extent.segment, extent.skip + index)
    return array


@given(WRITES)
def test_cut_leaves_what_was_not_overwritten_and_counts_what_was(
    writes: list[tuple[int, int]],
) -> None:
    array: list[tuple[int, int] | None] = [None] * SIZE
    extents: dict[int, Extent] = {}
    allocated = 0
    for number, (start, end) in enumerate(writes, 1):
        array[start:end] = [(number, index) for index in range(end - start)]
        result = cut(list(extents.values()), start, end, number)
        for extent in result.ended:
            del extents[extent.offset]
        for extent in [*result.remaining, record(number, start, end)]:
            assert extent.offset not in extents
            extents[extent.offset] = extent
        allocated += end - start - result.freed
        assert all(extent.since == number for extent in result.remaining)
    assert as_array(list(extents.values())) == array
    assert allocated == sum(byte is not None for byte in array)


@given(WRITES, st.integers(0, SIZE), st.integers(0, SIZE))
def test_spans_cover_a_range_once_in_order(
    writes: list[tuple[int, int]], one: int, other: int
) -> None:
    extents: list[Extent] = []
    for number, (start, end) in enumerate(writes, 1):
        result = cut(extents, start, end, number)
        extents = [each for each in extents if each not in result.ended]
        extents = sorted(
            [*extents, *result.remaining, record(number, start, end)], key=lambda e: e.offset
        )
    start, end = min(one, other), max(one, other)
    position = start
    for span in spans(extents, start, end):
        assert span.offset == position
        assert span.length > 0
        if span.extent is not None:
            assert span.extent.offset <= span.offset
            assert span.offset + span.length <= span.extent.offset + span.extent.length
        position += span.length
    assert position == end


def test_a_past_extent_gives_the_extent_again() -> None:
    extent = record(3, 10, 20)
    assert past(extent, 9).until == 9
    assert from_past(past(extent, 9)) == extent
