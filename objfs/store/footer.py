"""The footer of a sealed segment: pure codec of its index and of the trailer that points at it.

A footer is a FOOTER record, then a trailer in the last 32 bytes of the file. It is written only
after all records before it were synced: **a segment with a valid trailer and footer holds only
records that were durable**; one of them that does not verify is damage.

The payload begins with what opening a store needs (totals, runs of META sequences, checkpoint
parts) and goes on with the record index, 4 bytes a record (offset / 16), META records first. A
million records take 4 MB, which are read only when a META is looked for.
"""

import sys
from array import array
from dataclasses import dataclass, field
from typing import NamedTuple

from xxhash import xxh3_64_intdigest

from objfs.base.limits import RECORD_ALIGNMENT_BYTES
from objfs.store.format import (
    FOOTER_HEAD,
    FOOTER_HEAD_BYTES,
    FOOTER_PART,
    FOOTER_PART_BYTES,
    FOOTER_RUN,
    FOOTER_RUN_BYTES,
    MASK_64,
    TRAILER,
    TRAILER_BYTES,
    TRAILER_CHECKED_BYTES,
    TRAILER_MAGIC,
    Buffer,
)

assert array("I").itemsize == 4


@dataclass(slots=True)
class Run:
    """META records with contiguous sequence numbers, in the order of the META index."""

    first: int
    count: int


class Part(NamedTuple):
    """A CHECKPOINT record. `total` is 0 but in the last part."""

    sequence: int
    part: int
    total: int
    offset: int
    length: int
    hash32: int


@dataclass(slots=True)
class Totals:
    """Stored bytes by kind, and raw bytes of DATA."""

    meta_bytes: int = 0
    data_bytes: int = 0
    checkpoint_bytes: int = 0
    raw_data_bytes: int = 0


@dataclass(slots=True)
class SegmentIndex:
    """What is known of a segment's records; the contents of a footer.

    `metas` and `others` hold offsets in units of 16 bytes. They stay empty in an index that was
    read from the summary of a footer alone; `meta_count` and `other_count` count either way.
    """

    meta_count: int = 0
    other_count: int = 0
    synced_through: int = 0
    totals: Totals = field(default_factory=Totals)
    runs: list[Run] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    metas: "array[int]" = field(default_factory=lambda: array("I"))
    others: "array[int]" = field(default_factory=lambda: array("I"))

    @property
    def first_sequence(self) -> int:
        """Of the first META; 0 without."""
        return self.runs[0].first if self.runs else 0

    @property
    def last_sequence(self) -> int:
        """Of the last META; 0 without."""
        return self.runs[-1].first + self.runs[-1].count - 1 if self.runs else 0

    def summary(self) -> "SegmentIndex":
        """The same without the record offsets."""
        return SegmentIndex(
            self.meta_count,
            self.other_count,
            self.synced_through,
            self.totals,
            self.runs,
            self.parts,
        )

    def ordinal(self, sequence: int) -> int | None:
        """The place of a META in `metas`; None when the segment does not hold it."""
        before = 0
        for run in self.runs:
            if run.first <= sequence < run.first + run.count:
                return before + sequence - run.first
            before += run.count
        return None


def encode_footer(index: SegmentIndex) -> bytes:
    """The payload of the FOOTER record."""
    assert len(index.metas) == index.meta_count == sum(run.count for run in index.runs)
    assert len(index.others) == index.other_count
    head = FOOTER_HEAD.pack(
        index.meta_count,
        index.other_count,
        len(index.runs),
        len(index.parts),
        index.synced_through,
        index.totals.meta_bytes,
        index.totals.data_bytes,
        index.totals.checkpoint_bytes,
        index.totals.raw_data_bytes,
        0,
    )
    runs = b"".join(FOOTER_RUN.pack(run.first, run.count) for run in index.runs)
    parts = b"".join(FOOTER_PART.pack(*part) for part in index.parts)
    return b"".join((head, runs, parts, _little(index.metas), _little(index.others)))


def summary_bytes(head: Buffer) -> int:
    """How much of a footer's payload its summary takes, given its first 64 bytes."""
    runs: int
    parts: int
    _, _, runs, parts, *_ = FOOTER_HEAD.unpack_from(head)
    return FOOTER_HEAD_BYTES + runs * FOOTER_RUN_BYTES + parts * FOOTER_PART_BYTES


def index_range(index: SegmentIndex) -> tuple[int, int]:
    """(start, length) of the META index in a footer's payload."""
    start = (
        FOOTER_HEAD_BYTES
        + len(index.runs) * FOOTER_RUN_BYTES
        + len(index.parts) * FOOTER_PART_BYTES
    )
    return start, 4 * index.meta_count


def decode_summary(data: Buffer) -> SegmentIndex:
    """The index without its record offsets, from verified bytes: the summary of a payload."""
    metas, others, runs, parts, synced, meta, bulk, checkpoint, raw, _ = FOOTER_HEAD.unpack_from(
        data
    )
    at = FOOTER_HEAD_BYTES
    middle = at + runs * FOOTER_RUN_BYTES
    end = middle + parts * FOOTER_PART_BYTES
    view = memoryview(data)
    return SegmentIndex(
        metas,
        others,
        synced,
        Totals(meta, bulk, checkpoint, raw),
        [Run(*fields) for fields in FOOTER_RUN.iter_unpack(view[at:middle])],
        [Part(*fields) for fields in FOOTER_PART.iter_unpack(view[middle:end])],
    )


def decode_footer(data: Buffer) -> SegmentIndex:
    """The whole index, from the verified payload."""
    index = decode_summary(data)
    start, length = index_range(index)
    view = memoryview(data)
    index.metas = decode_offsets(view[start : start + length])
    index.others = decode_offsets(view[start + length : start + length + 4 * index.other_count])
    return index


def decode_offsets(data: Buffer) -> "array[int]":
    """Packed record offsets, in units of 16 bytes."""
    offsets = array("I")
    offsets.frombytes(data)
    if sys.byteorder == "big":
        offsets.byteswap()
    return offsets


def encode_trailer(seed: int, footer_offset: int, footer_length: int) -> bytes:
    """The last 32 bytes of a sealed segment."""
    assert footer_offset % RECORD_ALIGNMENT_BYTES == 0
    packed = TRAILER.pack(footer_offset, footer_length, TRAILER_MAGIC, 0)[:TRAILER_CHECKED_BYTES]
    end = footer_offset + footer_length
    return packed + xxh3_64_intdigest(packed, (seed + end) & MASK_64).to_bytes(8, "little")


def decode_trailer(data: Buffer, seed: int, file_bytes: int) -> tuple[int, int] | None:
    """(offset, length) of the FOOTER record, or None when the last bytes of a file are no valid
    trailer of it."""
    if len(data) != TRAILER_BYTES:
        return None
    offset, length, magic, checksum = TRAILER.unpack(data)
    if magic != TRAILER_MAGIC or offset + length + TRAILER_BYTES != file_bytes:
        return None
    checked = memoryview(data)[:TRAILER_CHECKED_BYTES]
    if checksum != xxh3_64_intdigest(checked, (seed + offset + length) & MASK_64):
        return None
    return offset, length


def _little(offsets: "array[int]") -> bytes:
    if sys.byteorder == "big":
        offsets = array("I", offsets)
        offsets.byteswap()
    return offsets.tobytes()
