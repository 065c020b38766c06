"""Verifying what a segment is said to hold: for scrub and fsck, which know what is live.

A segment's records are given in order, as `Expected`; they are verified from large reads, so that
thousands of small records cost one call of the device. There may be a million of them: they come
one after the other, and are nothing that the garbage collector has to look at.

The page cache is asked to let go of a range before it is read (`DeviceFile.forget`), so what is
verified is what the device returns, with these limits: pages that somebody dirtied or is using
stay, and what a controller or a drive caches cannot be seen from here. The range is let go again
afterwards, so a scrub does not push everybody's files out of memory.

Functions of this module block and belong in threads; `Verifier` prepares on the loop what they
need.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Final, NamedTuple

import msgspec

from objfs.base.errors import DataLost
from objfs.base.limits import KIB, SCRUB_PIECE_RECORDS, SCRUB_READ_BYTES
from objfs.store.catalog import Catalog, Segment, State
from objfs.store.checkpoints import Checkpoint
from objfs.store.device import DeviceFile
from objfs.store.footer import decode_footer
from objfs.store.format import RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES, RecordKind, aligned
from objfs.store.placement import Placement
from objfs.store.record import RecordHeader, unpack_header, verify_payload, verify_sums
from objfs.store.scan import Window, scan
from objfs.store.segment import decode_segment_header, segment_name
from objfs.store.verified import Place, read_record

_GAP_BYTES: Final = 256 * KIB  # dead bytes that are cheaper to read than to skip
_META_BYTES: Final = 4 * KIB  # what is read at once of a record whose length is not known
ANY: Final = -1


class Expected(msgspec.Struct, frozen=True, order=True, gc=False):
    """A record that has to be there. ANY where the length or the hash is not known beforehand.
    They are ordered by offset first."""

    offset: int
    length: int
    kind: int  # a RecordKind
    hash32: int = ANY
    owner_a: int = ANY  # a META's sequence
    raw: int = 0  # at least so many raw bytes


class Broken(NamedTuple):
    """One of them that is not."""

    expected: Expected
    what: str


class Verified(NamedTuple):
    """What a piece of verification came to."""

    read_bytes: int
    records: int
    broken: list[Broken]


class SegmentFacts(NamedTuple):
    """A segment that the log knows."""

    id: int
    name: str
    is_journal: bool
    is_sealed: bool
    end: int  # where its records end
    first_sequence: int  # of its METAs; 0 without
    last_sequence: int


class Verifier:
    """Looks at the segments of an open log."""

    def __init__(
        self,
        placement: Placement,
        catalog: Catalog,
        checkpoints: Callable[[], list[Checkpoint]],
    ) -> None:
        self._placement = placement
        self._catalog = catalog
        self._checkpoints = checkpoints

    def segments(self) -> list[SegmentFacts]:
        """All that the log knows, by rising id."""
        return [
            SegmentFacts(
                each.id,
                segment_name(each.id, each.header.kind),
                each.is_journal,
                each.state == State.SEALED,
                each.end,
                each.index.first_sequence,
                each.index.last_sequence,
            )
            for each in self._catalog
        ]

    def prepare(self, segment_id: int) -> "SegmentCheck | None":
        """What is needed to verify one segment, as it is now; None when it is gone."""
        segment = self._catalog.get(segment_id)
        if segment is None:
            return None
        parts = [
            Expected(location.offset, location.length, RecordKind.CHECKPOINT, hash32)
            for checkpoint in self._checkpoints()[:2]
            for location, hash32 in checkpoint.parts
            if location.segment == segment_id
        ]
        metas = segment.index.metas[:] if segment.state != State.SEALED else None
        runs = [range(run.first, run.first + run.count) for run in segment.index.runs]
        return SegmentCheck(segment, self._placement.reader(segment_id), parts, metas, runs)

    def missing_metas(self) -> list[tuple[int, int]]:
        """(first, last) of the METAs that no segment holds and no checkpoint makes superfluous."""
        kept = self._checkpoints()[:2]
        expected = kept[1].sequence + 1 if len(kept) > 1 else 1
        missing = []
        for run in sorted(
            (run.first, run.count) for segment in self._catalog for run in segment.index.runs
        ):
            if run[0] > expected:
                missing.append((expected, run[0] - 1))
            expected = max(expected, sum(run))
        return missing

    def on_device(self) -> dict[int, str]:
        """The segment files that are there, by id. Blocks; OSError."""
        return self._placement.names()


class SegmentCheck:
    """One segment's verification. Its methods block: for threads."""

    def __init__(
        self,
        segment: Segment,
        file: DeviceFile,
        parts: list[Expected],
        metas: Sequence[int] | None,
        runs: list[range],
    ) -> None:
        self.id = segment.id
        self.is_sealed = segment.state == State.SEALED
        self._segment = segment
        self._file = file
        self._parts = parts
        self._metas = metas
        self._runs = runs  # of META sequences

    def begin(self) -> tuple[Iterator[Expected] | None, list[Broken]]:
        """Check the segment's header and footer; returns the METAs and CHECKPOINTs that it has to
        hold, in order, and what is broken. None: the header, so nothing can be verified."""
        broken = self._check_header()
        if broken:
            return None, broken
        metas = self._metas
        if metas is None:
            try:
                metas = self._footer_metas()
            except DataLost as error:
                offset, length = self._segment.footer or (0, 0)
                expected = Expected(offset, length, RecordKind.FOOTER)
                broken = [Broken(expected, f"the footer does not verify ({error})")]
                return self._with_parts(self._scanned_metas(broken)), broken
        places = zip(metas, chain.from_iterable(self._runs), strict=True)
        found = (Expected(at << 4, ANY, RecordKind.META, ANY, sequence) for at, sequence in places)
        return self._with_parts(found), []

    def _with_parts(self, metas: Iterable[Expected]) -> Iterator[Expected]:
        return heapq.merge(metas, sorted(self._parts))

    def _check_header(self) -> list[Broken]:
        expected = Expected(0, SEGMENT_HEADER_BYTES, 0)
        try:
            self._file.forget(0, SEGMENT_HEADER_BYTES)
            header = decode_segment_header(self._file.read(0, SEGMENT_HEADER_BYTES))
        except OSError as error:
            return [Broken(expected, f"the segment cannot be read ({error})")]
        if header != self._segment.header:
            return [Broken(expected, "the segment's header does not verify")]
        return []

    def _footer_metas(self) -> Sequence[int]:
        """DataLost."""
        assert self._segment.footer is not None
        offset, length = self._segment.footer
        self._file.forget(offset, length)
        place = Place(self._file, self._segment.seed, self.id, offset, length)
        return decode_footer(read_record(place)[1]).metas

    def _scanned_metas(self, broken: list[Broken]) -> list[Expected]:
        """Without the footer: those that a walk finds. The others are broken."""
        window = Window(self._file, self._segment.end)
        found: dict[int, Expected] = {}
        try:
            for each in scan(window, self._segment.seed, _nothing):
                if each.header is not None and each.header.kind == RecordKind.META:
                    sequence = each.header.owner_a
                    found[sequence] = Expected(
                        each.offset, each.length, RecordKind.META, ANY, sequence
                    )
        except OSError as error:
            broken.append(Broken(Expected(0, 0, 0), f"the segment cannot be read ({error})"))
        broken += [
            Broken(Expected(0, 0, RecordKind.META, ANY, sequence), f"META {sequence} is not there")
            for sequence in chain.from_iterable(self._runs)
            if sequence not in found
        ]
        return list(found.values())

    def verify(self, expected: Sequence[Expected]) -> Verified:
        """Read and verify these records, sorted by offset."""
        return self._look_at(expected, whole=True)

    def verify_heads(self, expected: Sequence[Expected]) -> Verified:
        """Only that the records are there, and are the ones expected: no payload is verified."""
        return self._look_at(expected, whole=False)

    def _look_at(self, expected: Sequence[Expected], *, whole: bool) -> Verified:
        read, broken = 0, list[Broken]()
        buffer = memoryview(bytearray(SCRUB_READ_BYTES))
        for group, start, length in _groups(expected, self._segment.end, whole):
            if length > len(buffer):
                buffer = memoryview(bytearray(length))
            try:
                self._file.forget(start, length)
                count = self._file.read_into(start, [buffer[:length]])
                self._file.forget(start, length)
            except OSError:
                broken += self._one_by_one(group, whole)  # one bad sector is not all of them
                continue
            read += count
            for each in group:
                at = each.offset - start
                what = self._problem(each, buffer[at:count], whole)
                if what is not None:
                    broken.append(Broken(each, what))
        return Verified(read, len(expected), broken)

    def _one_by_one(self, group: Sequence[Expected], whole: bool) -> Iterator[Broken]:
        for each in group:
            length = _read_length(each, self._segment.end, whole)
            try:
                data = memoryview(self._file.read(each.offset, length))
            except OSError as error:
                yield Broken(each, f"reading failed ({error})")
                continue
            what = self._problem(each, data, whole)
            if what is not None:
                yield Broken(each, what)

    def _problem(self, expected: Expected, data: memoryview, whole: bool) -> str | None:
        """What is wrong with the record at the start of `data`; None: nothing."""
        header = unpack_header(data, 0, self._segment.seed + expected.offset)
        if header is None:
            return "the header does not verify"
        what = _mismatch(expected, header)
        if what is not None or not whole:
            return what
        if header.length > len(data):
            try:
                data = memoryview(self._file.read(expected.offset, header.length))
            except OSError as error:
                return f"reading failed ({error})"
        head_bytes = header.head_bytes
        if not verify_payload(header, data[head_bytes : header.length]):
            return "the payload does not verify"
        if not verify_sums(header, data[RECORD_HEADER_BYTES:head_bytes]):
            return "the block sums do not verify"
        return None


def _mismatch(expected: Expected, header: RecordHeader) -> str | None:
    """How a record differs from the one that rows speak of."""
    if header.kind != expected.kind:
        return f"a record of another kind lies there ({RecordKind(header.kind).name})"
    if expected.hash32 not in (ANY, header.hash32):
        return f"another record lies there (hash {header.hash32:08x}, not {expected.hash32:08x})"
    if expected.owner_a not in (ANY, header.owner_a):
        return f"META {header.owner_a} lies where META {expected.owner_a} should"
    if expected.length not in (ANY, header.length):
        return f"a record of {header.length} bytes lies where one of {expected.length} should"
    if header.raw < expected.raw:
        return f"the record holds {header.raw} bytes, rows speak of {expected.raw}"
    return None


def _groups(
    expected: Sequence[Expected], end: int, whole: bool
) -> Iterator[tuple[Sequence[Expected], int, int]]:
    """Neighbours that one read brings: (records, offset, length)."""
    first, start, stop = 0, 0, 0
    for index, each in enumerate(expected):
        reach = each.offset + _read_length(each, end, whole)
        if index > first and (each.offset - stop > _GAP_BYTES or reach - start > SCRUB_READ_BYTES):
            yield expected[first:index], start, stop - start
            first = index
        if index == first:
            start, stop = each.offset, reach
        stop = max(stop, reach)
    if first < len(expected):
        yield expected[first:], start, stop - start


def _read_length(expected: Expected, end: int, whole: bool) -> int:
    if not whole:
        return RECORD_HEADER_BYTES
    if expected.length == ANY:
        return max(min(_META_BYTES, end - expected.offset), RECORD_HEADER_BYTES)
    return expected.length


def pieces(expected: Iterable[Expected], most: int) -> Iterator[list[Expected]]:
    """The records, given in order, in pieces that span about `most` bytes: so many as one call of a
    thread should verify."""
    piece: list[Expected] = []
    for each in expected:
        if piece and (each.offset >= piece[0].offset + most or len(piece) == SCRUB_PIECE_RECORDS):
            yield piece
            piece = []
        piece.append(each)
    if piece:
        yield piece


def record_end(expected: Expected) -> int:
    """Where the next record may begin."""
    return aligned(expected.offset + max(expected.length, RECORD_HEADER_BYTES))


def _nothing(_: RecordHeader) -> bool:
    return False
