"""The writer of one segment: where its next record goes, and what a footer will say about it.

Journal segments are written on the loop, one record at a time, so their end is always the end of
the last record. Bulk segments hand out *reservations*: threads write into them side by side, and
one that fails leaves a gap. Gaps at the end are taken back, others stay; recovery steps over them.
"""

import errno

from objfs.base.errors import DeviceFailed, NoSpace, StorageError
from objfs.base.limits import SEGMENT_RECORDS_MAX
from objfs.store.catalog import Segment, State
from objfs.store.device import DeviceFile
from objfs.store.footer import Part, Run, encode_footer, encode_trailer
from objfs.store.format import (
    MASK_32,
    RECORD_HEADER_BYTES,
    SEGMENT_HEADER_BYTES,
    Buffer,
    Codec,
    RecordKind,
    aligned,
)
from objfs.store.record import RecordHeader, pack_header, sum_payload

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def storage_error(error: OSError, what: str) -> StorageError:
    """What an OSError of the device means for the caller."""
    if error.errno in _NO_ROOM:
        return NoSpace(f"{what}: the device is full; free some space")
    return DeviceFailed(f"{what}: {error.strerror or error}; check the device")


class SegmentWriter:
    """Appends to one segment. On the loop, but for `seal`."""

    __slots__ = ("dirty", "end", "file", "gaps", "in_flight", "seed", "segment")

    def __init__(self, segment: Segment, file: DeviceFile) -> None:
        self.segment = segment
        self.file = file
        self.seed = segment.seed
        self.end = SEGMENT_HEADER_BYTES  # where the next record starts
        self.in_flight = 0  # reservations that are being written
        self.gaps: dict[int, int] = {}  # end -> start of reservations that failed
        self.dirty = True  # written since the last sync; a new segment is

    def reserve(self, length: int) -> int:
        """Room for a record, to be written by a thread; then `fulfilled` or `failed`."""
        offset = self.end
        self.end = aligned(offset + length)
        self.in_flight += 1
        return offset

    def fulfilled(self, header: RecordHeader, offset: int) -> None:
        """The record was written."""
        self.in_flight -= 1
        self.dirty = True
        note_record(self.segment, header, offset)

    def failed(self, offset: int, length: int) -> None:
        """The reservation was not used, or only in part. OSError when the cut fails; the gap is
        harmless even so."""
        self.in_flight -= 1
        self.gaps[aligned(offset + length)] = offset
        if self.end not in self.gaps:
            return
        while self.end in self.gaps:
            self.end = self.gaps.pop(self.end)
        self.dirty = True
        self.file.truncate(self.end)

    @property
    def is_full(self) -> bool:
        """Whether the index of records is at its bound."""
        index = self.segment.index
        return index.meta_count + index.other_count >= SEGMENT_RECORDS_MAX

    def seal(self, synced_through: int) -> bool:
        """Write footer and trailer behind records that are durable, and sync. In a thread. False,
        and nothing changed, when there is no room. OSError."""
        assert self.in_flight == 0
        self.segment.index.synced_through = synced_through
        return seal_segment(self.segment, self.file, self.end)


def note_record(segment: Segment, header: RecordHeader, offset: int) -> None:
    """Put a record into a segment's index."""
    if header.kind == RecordKind.META:
        note_meta(segment, header.owner_a, offset, header.length)
    elif header.kind == RecordKind.DATA:
        note_data(segment, offset, header.length, header.raw)
    else:
        _note_part(segment, header, offset)


def note_meta(segment: Segment, sequence: int, offset: int, length: int) -> None:
    """Put a META into a segment's index."""
    index = segment.index
    index.totals.meta_bytes += length
    index.metas.append(offset >> 4)
    index.meta_count += 1
    runs = index.runs
    if runs and runs[-1].first + runs[-1].count == sequence:
        runs[-1].count += 1
    else:
        runs.append(Run(sequence, 1))


def note_data(segment: Segment, offset: int, length: int, raw: int) -> None:
    """Put a DATA record into a segment's index."""
    index = segment.index
    index.totals.data_bytes += length
    index.totals.raw_data_bytes += raw
    index.others.append(offset >> 4)
    index.other_count += 1


def _note_part(segment: Segment, header: RecordHeader, offset: int) -> None:
    assert header.kind == RecordKind.CHECKPOINT
    index = segment.index
    part, total = header.owner_b & MASK_32, header.owner_b >> 32
    index.parts.append(Part(header.owner_a, part, total, offset, header.length, header.hash32))
    index.totals.checkpoint_bytes += header.length
    index.others.append(offset >> 4)
    index.other_count += 1


def seal_segment(segment: Segment, file: DeviceFile, end: int) -> bool:
    """Write footer and trailer at `end` and sync. False when there is no room. OSError."""
    payload = encode_footer(segment.index)
    index = segment.index
    record = encode_record(
        segment.seed + end,
        RecordKind.FOOTER,
        index.meta_count + index.other_count,
        end,
        payload,
    )
    trailer = encode_trailer(segment.seed, end, len(record))
    try:
        file.write(end, (record, trailer), len(record) + len(trailer))
    except OSError as error:
        file.truncate(end)
        if error.errno not in _NO_ROOM:
            raise
        file.sync()  # half a footer that comes back after a power cut would look like damage
        return False
    file.sync()
    segment.footer = (end, len(record))
    segment.end = end
    segment.state = State.SEALED
    return True


def encode_record(seed: int, kind: RecordKind, owner_a: int, owner_b: int, data: Buffer) -> bytes:
    """A whole record, its payload stored as it is. `seed` includes the offset."""
    sums = sum_payload((data,), len(data))
    head = bytearray(RECORD_HEADER_BYTES)
    pack_header(
        head,
        0,
        seed,
        kind,
        Codec.NONE,
        len(data),
        len(data),
        owner_a,
        owner_b,
        sums.hash,
        sums.sums_checksum,
    )
    return b"".join((head, sums.sums, data))
