"""What the log knows of its segments: one entry each, found at opening, added at creation.

States of a segment, and who moves it on:

    active   takes appends                          created by the writer
    retired  full; its records may not be durable   by the writer, at its size limit
    sealed   footer written and synced              by a sync, or by recovery
    open     not sealed and takes no appends: only in a store that was opened read-only, or when
             the device had no room for the footer
"""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from objfs.base.errors import DataLost
from objfs.base.limits import CHECKSUM_BLOCK_BYTES
from objfs.store.device import DeviceFile
from objfs.store.footer import (
    SegmentIndex,
    decode_offsets,
    decode_summary,
    decode_trailer,
    index_range,
    summary_bytes,
)
from objfs.store.format import (
    FOOTER_HEAD_BYTES,
    FOOTER_PART_BYTES,
    FOOTER_RUN_BYTES,
    TRAILER_BYTES,
    RecordKind,
    SegmentKind,
)
from objfs.store.segment import SegmentHeader
from objfs.store.verified import Place, lost, read_blocks, read_head, read_record


class State(Enum):
    """See the module's table."""

    ACTIVE = "active"
    RETIRED = "retired"
    SEALED = "sealed"
    OPEN = "open"


@dataclass(slots=True)
class Segment:
    """One segment. `end` is where its records end."""

    header: SegmentHeader
    seed: int
    state: State
    index: SegmentIndex = field(default_factory=SegmentIndex)
    end: int = 0
    footer: tuple[int, int] | None = None  # (offset, length) of the FOOTER record

    @property
    def id(self) -> int:
        return self.header.id

    @property
    def is_journal(self) -> bool:
        return self.header.kind == SegmentKind.JOURNAL

    @property
    def size(self) -> int:
        """Bytes of the file."""
        if self.footer is None:
            return self.end
        return sum(self.footer) + TRAILER_BYTES


class Catalog:
    """All segments, by rising id."""

    def __init__(self) -> None:
        self._segments: dict[int, Segment] = {}
        self._loaded: tuple[int, array[int]] | None = None

    def __iter__(self) -> Iterator[Segment]:
        return iter(list(self._segments.values()))

    def __len__(self) -> int:
        return len(self._segments)

    def add(self, segment: Segment) -> None:
        """Ids only rise."""
        assert not self._segments or segment.id > next(reversed(self._segments))
        self._segments[segment.id] = segment

    def remove(self, segment: int) -> None:
        """The segment is no longer part of the store. Never the newest one: its id leads on."""
        assert segment != self.newest
        assert self._segments[segment].state == State.SEALED
        del self._segments[segment]
        if self._loaded is not None and self._loaded[0] == segment:
            self._loaded = None

    @property
    def newest(self) -> int:
        """The highest id; 0 without segments."""
        return next(reversed(self._segments), 0)

    def seed(self, segment: int) -> int | None:
        """The seed of a segment's checksums; None when there is no such segment."""
        found = self._segments.get(segment)
        return None if found is None else found.seed

    def get(self, segment: int) -> Segment | None:
        """One segment."""
        return self._segments.get(segment)

    def journal_of(self, sequence: int) -> Segment | None:
        """The segment that holds a META."""
        for segment in reversed(self._segments.values()):
            if segment.is_journal and segment.index.ordinal(sequence) is not None:
                return segment
        return None

    def journals_from(self, sequence: int) -> Segment | None:
        """The first segment with a META at or after `sequence`."""
        for segment in self._segments.values():
            if segment.is_journal and segment.index.last_sequence >= sequence:
                return segment
        return None

    def meta_offsets(self, segment: Segment, file: DeviceFile) -> "array[int]":
        """Offsets / 16 of the segment's META records; read from the footer when needed, and the
        last one read is kept. DataLost."""
        index = segment.index
        if len(index.metas) == index.meta_count:
            return index.metas
        if self._loaded is not None and self._loaded[0] == segment.id:
            return self._loaded[1]
        offsets = load_meta_offsets(segment, file)
        self._loaded = (segment.id, offsets)
        return offsets


def load_meta_offsets(segment: Segment, file: DeviceFile) -> "array[int]":
    """From the footer of a sealed segment. DataLost."""
    assert segment.footer is not None
    place = Place(file, segment.seed, segment.id, *segment.footer)
    _, payload = read_record(place)
    start, length = index_range(segment.index)
    return decode_offsets(memoryview(payload)[start : start + length])


def read_summary(
    file: DeviceFile, header: SegmentHeader, size: int
) -> tuple[SegmentIndex, tuple[int, int]] | None:
    """The summary of a sealed segment and where its footer lies; None when the segment has no
    trailer and footer that verify. OSError only when the trailer cannot be read."""
    seed = header.seed
    data = file.read(max(size - TRAILER_BYTES, 0), TRAILER_BYTES)
    found = decode_trailer(data, seed, size)
    if found is None:
        return None
    try:
        summary = _read_summary(Place(file, seed, header.id, *found))
    except DataLost:
        return None  # the caller scans the segment instead
    return summary, found


def _read_summary(place: Place) -> SegmentIndex:
    head = read_head(place)
    if head.header.kind != RecordKind.FOOTER:
        raise lost(place.segment, place.offset, "no footer lies where the trailer points")
    if not head.header.blocks:
        return decode_summary(read_record(place)[1])
    data = bytes(read_blocks(place, head, 0, 1))
    wanted = summary_bytes(data[:FOOTER_HEAD_BYTES])
    assert wanted % min(FOOTER_RUN_BYTES, FOOTER_PART_BYTES) == 0
    if wanted > len(data):
        blocks = (wanted + CHECKSUM_BLOCK_BYTES - 1) // CHECKSUM_BLOCK_BYTES
        data = bytes(read_blocks(place, head, 0, blocks))
    return decode_summary(data)
