"""The segments that take writes: when they begin, when they are full, what a sync has to do.

At most one journal and one bulk segment are active; each begins at the first append that needs it.
A full one is retired at once and sealed by a later sync, when its records are durable and nobody
writes into it any more. On the loop, but for `run_round`.
"""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import NamedTuple

from objfs.base.errors import StorageError
from objfs.base.ports import Clock, Randomness
from objfs.store.bulk import BulkRecord, prepare_data, write_records
from objfs.store.catalog import Catalog, Segment, State
from objfs.store.format import SEGMENT_HEADER_BYTES, SegmentKind
from objfs.store.placement import Placement
from objfs.store.segment import SegmentHeader, encode_segment_header
from objfs.store.writer import SegmentWriter, storage_error


class Reservation(NamedTuple):
    """Room for a record in a bulk segment."""

    writer: SegmentWriter
    offset: int
    length: int


class Round(NamedTuple):
    """What one sync does, in this order; then `sequence` is durable."""

    names: bool
    bulks: list[SegmentWriter]
    journals: list[SegmentWriter]
    retired: list[SegmentWriter]  # to be sealed
    sequence: int


class ActiveSegments:
    """See the module. `fail` is told when the device does not even take something back."""

    def __init__(
        self,
        placement: Placement,
        catalog: Catalog,
        *,
        store_id: bytes,
        epoch: int,
        next_id: int,
        segment_bytes: int,
        clock: Clock,
        randomness: Randomness,
        fail: Callable[[StorageError], None],
    ) -> None:
        self._placement = placement
        self._catalog = catalog
        self._store_id = store_id
        self._epoch = epoch
        self._next_id = next_id
        self._segment_bytes = segment_bytes
        self._clock = clock
        self._randomness = randomness
        self._fail = fail
        self.journal: SegmentWriter | None = None
        self._bulk: SegmentWriter | None = None
        self._retired: list[SegmentWriter] = []
        self._new_names = False

    # --- Appending -------------------------------------------------------------------------------

    def begin_journal(self) -> SegmentWriter:
        """A new journal segment. NoSpace, DeviceFailed."""
        assert self.journal is None
        self.journal = self._begin(SegmentKind.JOURNAL)
        return self.journal

    def appended(self, journal: SegmentWriter) -> None:
        """A record was added; retire the journal when it is full."""
        if journal.end >= self._segment_bytes or journal.is_full:
            self._retire(journal)

    def reserve(self, length: int) -> Reservation:
        """Room for a record: then it is fulfilled, or `abandon`. NoSpace, DeviceFailed."""
        writer = self._bulk
        if writer is None:
            writer = self._bulk = self._begin(SegmentKind.BULK)
        offset = writer.reserve(length)
        if writer.end >= self._segment_bytes or writer.is_full:
            self._retire(writer)
        return Reservation(writer, offset, length)

    def abandon(self, reserved: Sequence[Reservation]) -> None:
        """Give reservations back, last first, so that the segment's end follows."""
        for writer, offset, length in reversed(reserved):
            try:
                writer.failed(offset, length)
            except OSError as error:
                self._fail(storage_error(error, "taking back space in a bulk segment"))

    # --- Syncing ---------------------------------------------------------------------------------

    def plan_round(self, sequence: int) -> Round:
        """What to sync now. What is appended from here on is for the next round."""
        dirty = [writer for writer in self._writers() if writer.dirty]
        for writer in dirty:
            writer.dirty = False
        names, self._new_names = self._new_names, False
        return Round(
            names,
            [writer for writer in dirty if not writer.segment.is_journal],
            [writer for writer in dirty if writer.segment.is_journal],
            [writer for writer in self._retired if not writer.in_flight],
            sequence,
        )

    def run_round(self, planned: Round) -> list[SegmentWriter]:
        """In a thread. Returns the segments that were sealed. OSError."""
        if planned.names:
            self._placement.sync_names()
        for writer in planned.bulks:
            writer.file.sync()
        for writer in planned.journals:
            writer.file.sync()
        return [writer for writer in planned.retired if writer.seal(planned.sequence)]

    def sealed(self, writers: Sequence[SegmentWriter]) -> None:
        """These are done. Their indexes can be read from their footers from now on."""
        for writer in writers:
            self._retired.remove(writer)
            writer.segment.index = writer.segment.index.summary()

    # --- State -----------------------------------------------------------------------------------

    def retire_all(self) -> bool:
        """Nothing is active any more; says whether anything is to be sealed."""
        for writer in (self._bulk, self.journal):
            if writer is not None:
                self._retire(writer)
        return bool(self._retired)

    def clear(self) -> None:
        """Let go of all files."""
        self.journal = self._bulk = None
        self._retired.clear()

    def unsealed_bytes(self) -> int:
        """What these segments hold beyond the end that the catalog knows."""
        return sum(writer.end - writer.segment.end for writer in self._writers())

    def _writers(self) -> list[SegmentWriter]:
        writers = (*self._retired, self._bulk, self.journal)
        return [writer for writer in writers if writer is not None]

    def _begin(self, kind: SegmentKind) -> SegmentWriter:
        """A new segment. Its name is not durable before the next sync."""
        segment_id, self._next_id = self._next_id, self._next_id + 1
        salt = self._randomness.bits(64)
        now = self._clock.now_ns()
        header = SegmentHeader(self._store_id, segment_id, self._epoch, kind, salt, now)
        what = f"creating segment {segment_id:016x}"
        try:
            file = self._placement.create(segment_id, kind)
        except OSError as error:
            raise storage_error(error, what) from error
        try:
            file.write(0, [encode_segment_header(header)], SEGMENT_HEADER_BYTES)
        except OSError as error:
            self._remove(segment_id)
            raise storage_error(error, what) from error
        segment = Segment(header, header.seed, State.ACTIVE, end=SEGMENT_HEADER_BYTES)
        self._catalog.add(segment)
        self._new_names = True
        return SegmentWriter(segment, file)

    def _remove(self, segment_id: int) -> None:
        """Take back a segment that got no header."""
        try:
            self._placement.remove(segment_id)
        except OSError as error:
            self._fail(storage_error(error, f"removing the unfinished segment {segment_id:016x}"))

    def _retire(self, writer: SegmentWriter) -> None:
        """The segment is full. A sync seals it."""
        writer.segment.state = State.RETIRED
        self._retired.append(writer)
        if writer is self.journal:
            self.journal = None
        else:
            assert writer is self._bulk
            self._bulk = None


def write_reserved(
    reserved: Sequence[Reservation], records: Sequence[BulkRecord]
) -> Sequence[BulkRecord]:
    """In a thread: write the records into the room reserved for each, and return them. OSError;
    then any part may have been written."""
    assert [each.length for each in reserved] == [each.header.length for each in records]
    done = 0
    for writer, group in groupby(reserved, key=lambda each: each.writer):
        first, *others = group
        count = 1 + len(others)
        write_records(writer.file, writer.seed, first.offset, records[done : done + count])
        done += count
    return records


def write_as_is(
    reserved: Sequence[Reservation], content: int, offset: int, views: Sequence[memoryview]
) -> Sequence[BulkRecord]:
    """In a thread: the same with DATA that is not compressed, prepared here."""
    return write_reserved(reserved, prepare_data(content, offset, views, None))
