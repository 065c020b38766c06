"""Segment header, footer and trailer: round trips, and nothing wrong verifies."""

from array import array
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objfs.base.errors import NewerFormat
from objfs.store import segment as segment_module
from objfs.store.catalog import Segment, State, read_summary
from objfs.store.footer import (
    Part,
    Run,
    SegmentIndex,
    Totals,
    decode_footer,
    decode_summary,
    decode_trailer,
    encode_footer,
    encode_trailer,
    index_range,
    summary_bytes,
)
from objfs.store.format import MASK_32, MASK_64, SEGMENT_HEADER_BYTES, SegmentKind
from objfs.store.memory import MemoryDevice
from objfs.store.segment import (
    SegmentHeader,
    decode_segment_header,
    encode_segment_header,
    is_torn_header,
    parse_segment_name,
    segment_name,
)
from objfs.store.writer import seal_segment

u32, u64 = st.integers(0, MASK_32), st.integers(0, MASK_64)
HEADER = SegmentHeader(bytes(range(16)), 5, 2, SegmentKind.BULK, 12345, 1_700_000_000 * 10**9)

segment_headers = st.builds(
    SegmentHeader,
    st.binary(min_size=16, max_size=16),
    u64,
    u64,
    st.sampled_from(SegmentKind),
    u64,
    u64,
)


@given(segment_headers)
def test_a_segment_header_comes_back_as_it_was(header: SegmentHeader) -> None:
    assert decode_segment_header(encode_segment_header(header)) == header


def test_a_segment_header_with_a_flipped_bit_does_not_verify() -> None:
    data = encode_segment_header(HEADER)
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        assert decode_segment_header(flipped) is None


def test_a_torn_segment_header_is_told_from_a_damaged_one() -> None:
    data = encode_segment_header(HEADER)
    for length in range(SEGMENT_HEADER_BYTES):
        torn = data[:length]
        assert decode_segment_header(torn) is None
        assert is_torn_header(torn)
        assert is_torn_header(torn.ljust(4096, b"\0"))
    assert not is_torn_header(b"X" + data[1:])


def test_a_later_format_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_module, "FORMAT_VERSION", 2)
    data = encode_segment_header(HEADER)
    monkeypatch.undo()
    with pytest.raises(NewerFormat, match="format version 2"):
        decode_segment_header(data)


@given(u64, st.sampled_from(SegmentKind))
def test_names_come_back(segment: int, kind: SegmentKind) -> None:
    assert parse_segment_name(segment_name(segment, kind)) == (segment, kind)


@pytest.mark.parametrize("name", ["", "1.journal", "g" * 16 + ".bulk", "0" * 16 + ".bulk.damaged"])
def test_other_names_are_no_segments(name: str) -> None:
    assert parse_segment_name(name) is None


@st.composite
def indexes(draw: st.DrawFn) -> SegmentIndex:
    runs = draw(st.lists(st.builds(Run, u32, st.integers(1, 5)), max_size=4))
    count = sum(run.count for run in runs)
    metas = draw(st.lists(u32, min_size=count, max_size=count))
    others = draw(st.lists(u32, max_size=9))
    parts = draw(st.lists(st.builds(Part, u64, u32, u32, u64, u32, u32), max_size=3))
    totals = draw(st.builds(Totals, u64, u64, u64, u64))
    return SegmentIndex(
        count, len(others), draw(u64), totals, runs, parts, array("I", metas), array("I", others)
    )


@given(indexes())
def test_a_footer_comes_back_as_it_was(index: SegmentIndex) -> None:
    data = encode_footer(index)
    assert decode_footer(data) == index
    summary = summary_bytes(data[:64])
    assert summary == index_range(index)[0]
    assert decode_summary(data[:summary]) == replace(index, metas=array("I"), others=array("I"))


def test_ordinals_count_over_runs() -> None:
    index = SegmentIndex(5, runs=[Run(10, 3), Run(20, 2)])
    assert [index.ordinal(n) for n in (9, 10, 12, 13, 20, 21, 22)] == [
        None, 0, 2, None, 3, 4, None,
    ]  # fmt: skip
    assert (index.first_sequence, index.last_sequence) == (10, 21)


def test_a_trailer_verifies_in_its_own_place_only() -> None:
    data = encode_trailer(99, 4096, 200)
    assert decode_trailer(data, 99, 4096 + 200 + 32) == (4096, 200)
    assert decode_trailer(data, 98, 4096 + 200 + 32) is None
    assert decode_trailer(data, 99, 4096 + 200 + 48) is None
    assert decode_trailer(data[:-1], 99, 4096 + 200 + 32) is None
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        assert decode_trailer(flipped, 99, 4096 + 200 + 32) is None


@pytest.mark.parametrize("parts", [0, 3, 5000])
def test_the_summary_is_read_back_from_a_sealed_file(parts: int) -> None:
    index = SegmentIndex(synced_through=7)
    index.others = array("I", range(40_000))
    index.other_count = len(index.others)
    index.parts = [Part(1, n, 0, 16 * n, 100, n) for n in range(parts)]
    file = MemoryDevice().create("x")
    file.write(0, [encode_segment_header(HEADER)], SEGMENT_HEADER_BYTES)
    segment = Segment(HEADER, HEADER.seed, State.RETIRED, index)
    assert seal_segment(segment, file, SEGMENT_HEADER_BYTES)
    found = read_summary(file, HEADER, file.size())
    assert found == (index.summary(), segment.footer)
    assert segment.size == file.size()
