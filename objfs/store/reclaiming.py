"""Giving segments back: which may go, copies of what is live in them, and their removal.

What always holds:

- Only a sealed segment is removed, and never the newest: its id leads to the next one's, also
  after a restart, so no id is ever used again. Holes in the ids mean nothing.
- A journal is removed only if its METAs lie below the second newest checkpoint that verified in
  this process; the newest journal with a META stays, so that an index can always be compared with
  the log.
- A bulk segment that holds a part of the two newest verified checkpoints stays. Older checkpoints,
  and those that do not verify, are dead bytes.
- A copy is made of bytes that verified, and has the same raw bytes. What does not verify is not
  copied: it is reported, and whoever asked keeps the segment.
- Whether a record is live is the caller's knowledge. He makes his moves durable, and the log's
  knowledge of that too (a META after the sync says `synced_through`), before he removes: recovery
  must not look for DATA of METAs that it does not know to be durable in a segment that is gone.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import msgspec

from objfs.base.errors import DataLost
from objfs.base.limits import COMPRESSED_RECORD_BYTES, KIB, MERGED_RECORD_BYTES_MAX
from objfs.base.ports import Threads
from objfs.base.types import Location
from objfs.store.bulk import BulkRecord, copy_as_it_is, prepare_copy
from objfs.store.catalog import Catalog, Segment, State
from objfs.store.checkpoints import Checkpoint
from objfs.store.compression import Compressor, Decompressor
from objfs.store.device import DeviceFile
from objfs.store.format import Codec, RecordKind, aligned
from objfs.store.placement import Placement
from objfs.store.reader import Reader
from objfs.store.record import RecordHeader
from objfs.store.scan import Window, scan_one
from objfs.store.writer import storage_error

HAS_CHECKPOINT = "it has a checkpoint that is kept"
NEEDS_CHECKPOINTS = "its METAs lie above the second newest checkpoint"
_WINDOW_BYTES = 128 * KIB  # read at once where records lie close together


class SegmentUse(NamedTuple):
    """What the log itself knows of a sealed segment. What of its DATA is live, rows know."""

    id: int
    is_journal: bool
    size: int  # of the file
    data_bytes: int  # stored DATA records
    raw_data_bytes: int
    created_ns: int
    held_because: str  # why it cannot be removed now; empty: it can, once its DATA is dead


class LiveRecord(NamedTuple):
    """A DATA record of which some raw bytes are live."""

    position: int
    stored: int  # length of the record
    hash32: int
    content: int  # whose the copy is said to be
    offset: int  # where its raw bytes begin in the content
    ranges: Sequence[tuple[int, int]]  # of raw bytes: [start, end), in order, apart


class Copied(msgspec.Struct, frozen=True, gc=False):
    """Raw bytes [start, end) of the record at `position` lie in another record, from `skip` on.
    Many are held at a time: it refers to nothing that the garbage collector has to look at."""

    position: int
    start: int
    end: int
    to_segment: int
    to_position: int
    to_stored: int
    hash32: int
    skip: int


class Copies(NamedTuple):
    """What a batch came to."""

    copied: list[Copied]
    written_bytes: int
    broken: list[tuple[LiveRecord, str]]  # did not verify, so were not copied


class _Piece(NamedTuple):
    """Verified raw bytes to be copied: those of a whole record as it is stored, or some of them."""

    record: LiveRecord
    start: int
    end: int
    header: RecordHeader | None  # not None: the whole record, and `data` is its stored payload
    data: memoryview


class Reclaimer:
    """See the module. On the loop, but for the reading and writing itself."""

    def __init__(
        self,
        placement: Placement,
        catalog: Catalog,
        checkpoints: list[Checkpoint],
        reader: Reader,
        *,
        threads: Threads,
        compressor: Compressor | None,
        decompressor: Decompressor,
        write: Callable[[Sequence[BulkRecord]], Awaitable[list[Location]]],
    ) -> None:
        self._placement = placement
        self._catalog = catalog
        self._checkpoints = checkpoints
        self._reader = reader
        self._threads = threads
        self._compressor = compressor
        self._decompressor = decompressor
        self._write = write
        self._verified: set[Location] = set()  # checkpoints that read back well, by first part

    # --- Checkpoints -----------------------------------------------------------------------------

    async def verify_checkpoints(self, pay: Callable[[int], Awaitable[None]]) -> int:
        """Read the newest checkpoints until two verified in this process; those that do not count
        no longer. Returns how many there are."""
        while True:
            unknown = [each for each in self._checkpoints[:2] if not self._is_verified(each)]
            if not unknown:
                break
            checkpoint = unknown[0]
            try:
                for location, hash32 in checkpoint.parts:
                    await pay(location.length)
                    await self._threads.run(self._reader.verify, location, hash32)
            except DataLost:
                self._checkpoints.remove(checkpoint)
            else:
                self._verified.add(checkpoint.parts[0][0])
        del self._checkpoints[2:]
        return len(self._checkpoints)

    def _is_verified(self, checkpoint: Checkpoint) -> bool:
        return checkpoint.parts[0][0] in self._verified

    def freed_through(self) -> int:
        """METAs up to this sequence are needed by nobody."""
        kept = self._checkpoints[:2]
        if len(kept) < 2 or not all(map(self._is_verified, kept)):
            return 0
        return kept[1].sequence

    def checkpoint_bytes(self) -> int:
        """Of the newest one; 0 without."""
        newest = self._checkpoints[0].parts if self._checkpoints else ()
        return sum(location.length for location, _ in newest)

    def checkpoints_wanted(self) -> int:
        """How many new ones would free the METAs of all journals that are sealed now."""
        last = max(
            (s.index.last_sequence for s in self._catalog if s.state == State.SEALED), default=0
        )
        return 2 - sum(each.sequence >= last for each in self._checkpoints[:2]) if last else 0

    # --- Segments --------------------------------------------------------------------------------

    def segments(self) -> list[SegmentUse]:
        """The sealed ones, by rising id."""
        return [self._use(each) for each in self._catalog if each.state == State.SEALED]

    def use(self, segment: int) -> SegmentUse | None:
        """One of them, as it is now."""
        found = self._catalog.get(segment)
        return self._use(found) if found is not None and found.state == State.SEALED else None

    def _use(self, segment: Segment) -> SegmentUse:
        totals = segment.index.totals
        return SegmentUse(
            segment.id,
            segment.is_journal,
            segment.size,
            totals.data_bytes,
            totals.raw_data_bytes,
            segment.header.created_ns,
            self._held_because(segment),
        )

    def _held_because(self, segment: Segment) -> str:
        if segment.id == self._catalog.newest:
            return "it is the newest"
        last = segment.index.last_sequence
        if last > self.freed_through():
            return NEEDS_CHECKPOINTS
        if last and not any(
            each.id > segment.id and each.is_journal and each.index.runs for each in self._catalog
        ):
            return "it has the newest META"
        # All, until `verify_checkpoints` says which do not count.
        kept = (location for each in self._checkpoints for location, _ in each.parts)
        if any(location.segment == segment.id for location in kept):
            return HAS_CHECKPOINT
        return ""

    async def remove(self, segment: int) -> int:
        """Remove a segment in which nothing is live. Returns the bytes of its file. No read finds
        it from the call on; those under way end well. DeviceFailed when the device does not remove
        it: then it comes back, dead, at the next opening."""
        use = self.use(segment)
        assert use is not None
        assert not use.held_because, use.held_because
        self._catalog.remove(segment)
        name = self._placement.forget(segment)
        try:
            await self._threads.run(self._placement.remove_file, name)
        except OSError as error:
            raise storage_error(error, f"removing segment {segment:016x}") from error
        return use.size

    # --- Copies ----------------------------------------------------------------------------------

    async def copy(self, segment: int, wanted: Sequence[LiveRecord]) -> Copies:
        """Copy a batch, in the order given, into the bulk segment; written, not synced. Neighbours
        in a content that are small become one record. Errors of the appends."""
        found = self._catalog.get(segment)
        assert found is not None
        try:
            file = self._placement.reader(segment)
        except OSError as error:
            return Copies(
                [], 0, [(each, f"the segment does not open ({error})") for each in wanted]
            )
        pieces, broken = await self._threads.run(self._read, found, file, wanted)
        groups = _grouped(pieces)
        if not groups:
            return Copies([], 0, broken)
        records = await self._threads.run(self._prepare, groups)
        locations = await self._write(records)
        copied = []
        for group, record, location in zip(groups, records, locations, strict=True):
            skip = 0
            for piece in group:
                place = (*location, record.header.hash32, skip)
                copied.append(Copied(piece.record.position, piece.start, piece.end, *place))
                skip += piece.end - piece.start
            assert skip == record.header.raw
        written = sum(aligned(location.length) for location in locations)
        return Copies(copied, written, broken)

    def _read(
        self, segment: Segment, file: DeviceFile, wanted: Sequence[LiveRecord]
    ) -> tuple[list[_Piece], list[tuple[LiveRecord, str]]]:
        """In a thread: verified pieces, in the order wanted."""
        window = Window(file, segment.end, _WINDOW_BYTES)
        found: dict[int, list[_Piece]] = {}
        broken = []
        for record in sorted(wanted, key=lambda each: each.position):
            try:
                found[record.position] = self._read_one(segment, window, record)
            except (DataLost, OSError) as error:
                broken.append((record, str(error)))
        return [piece for each in wanted for piece in found.get(each.position, ())], broken

    def _read_one(self, segment: Segment, window: Window, record: LiveRecord) -> list[_Piece]:
        scanned = scan_one(window, segment.seed, record.position, _always)
        if scanned is None or scanned.header is None or not scanned.intact:
            raise DataLost("the record does not verify")
        header = scanned.header
        if (header.length, header.hash32, header.kind) != (
            record.stored,
            record.hash32,
            RecordKind.DATA,
        ):
            raise DataLost("another record lies there")
        if record.ranges[-1][1] > header.raw:
            raise DataLost(f"the record holds {header.raw} bytes, and more are referred to")
        view = window.view(record.position, scanned.length)
        payload = memoryview(bytes(view[header.head_bytes :]))
        if list(record.ranges) == [(0, header.raw)]:
            return [_Piece(record, 0, header.raw, header, payload)]
        raw = memoryview(self._decompressor.unpack(header, payload))
        return [_Piece(record, start, end, None, raw[start:end]) for start, end in record.ranges]

    def _prepare(self, groups: Sequence[Sequence[_Piece]]) -> list[BulkRecord]:
        """In a thread."""
        return [self._prepare_one(group) for group in groups]

    def _prepare_one(self, group: Sequence[_Piece]) -> BulkRecord:
        first = group[0]
        content, offset = first.record.content, first.record.offset + first.start
        if len(group) == 1 and first.header is not None:
            return copy_as_it_is(first.header, content, offset, first.data)
        data = b"".join(self._raw(piece) for piece in group)
        compressor = self._compressor if len(data) <= COMPRESSED_RECORD_BYTES else None
        return prepare_copy(content, offset, data, compressor)

    def _raw(self, piece: _Piece) -> bytes | memoryview:
        if piece.header is None or piece.header.codec == Codec.NONE:
            return piece.data
        return self._decompressor.unpack(piece.header, piece.data)


def _always(_: RecordHeader) -> bool:
    return True


def _grouped(pieces: Sequence[_Piece]) -> list[list[_Piece]]:
    """Small pieces that follow each other in their content, together."""
    groups: list[list[_Piece]] = []
    total = 0
    for piece in pieces:
        size = piece.end - piece.start
        if groups and total + size <= MERGED_RECORD_BYTES_MAX and _follows(groups[-1][-1], piece):
            groups[-1].append(piece)
            total += size
        else:
            groups.append([piece])
            total = size
    return groups


def _follows(piece: _Piece, following: _Piece) -> bool:
    return (
        piece.record.content == following.record.content
        and piece.record.offset + piece.end == following.record.offset + following.start
    )
