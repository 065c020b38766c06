"""Recovery: what opening a store finds, decides and mends.

Theory. A store is its segments. Sealed ones are trusted to have been durable: their footers give
the META sequences and checkpoint parts in them. All others are scanned, record by record.

*Known synced* is the highest sequence that the log itself proves to have been durable: the
`synced_through` of any verified META, or a footer's. At or below it whatever does not verify is
damage: reported, and history goes on. Above it, history ends at the first META that is missing,
broken, or that refers to DATA in an unsealed segment which does not verify.

Then, unless the store is opened read-only:
1. What is kept above *known synced* is written again with its own verified bytes. After a failed
   sync the page cache may hold, as clean, what the medium does not; a rewritten page is dirty.
2. The torn tail is cut off.
3. Files, then names are synced, and the scanned segments sealed.
Doing it again from any point in between comes to the same end. A segment that lost all its records
stays, sealed and empty, so that its id is not used again.

A segment whose header does not verify: was it never durable (nothing with a higher id is sealed,
and the header is torn), its creation was interrupted, and it is removed; else it is damage and is
left alone.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from objfs.base.errors import DataLost, DeviceFailed, ForeignSegment
from objfs.base.types import Location
from objfs.store.catalog import Catalog, Segment, State, read_summary
from objfs.store.checkpoints import Checkpoint, complete_checkpoints
from objfs.store.compression import Decompressor
from objfs.store.damage import Damage, RecoveryReport
from objfs.store.device import DeviceFile
from objfs.store.footer import Part, Run, SegmentIndex
from objfs.store.format import SEGMENT_HEADER_BYTES, RecordKind, SegmentKind, aligned
from objfs.store.history import MetaReader
from objfs.store.placement import Placement
from objfs.store.record import RecordHeader
from objfs.store.scan import Scanned, Window, scan
from objfs.store.segment import (
    SegmentHeader,
    decode_segment_header,
    encode_segment_header,
    is_torn_header,
    segment_name,
)
from objfs.store.verified import Place, lost, read_record
from objfs.store.writer import note_record, seal_segment, storage_error

References: TypeAlias = Callable[[bytes], Iterable[tuple[Location, int]]]
"""META payload -> the DATA it needs, as (location, hash32)."""


class Recovered(NamedTuple):
    """What the log starts from."""

    catalog: Catalog
    next_id: int
    epoch: int  # the highest seen
    last_sequence: int
    synced_sequence: int
    checkpoints: list[Checkpoint]
    report: RecoveryReport


@dataclass(slots=True)
class _Unsealed:
    """A scanned segment."""

    segment: Segment
    file: DeviceFile
    size: int
    synced_through: int = 0  # the highest in its METAs
    end: int = SEGMENT_HEADER_BYTES  # of its last record that counts
    broken: list[Scanned] = field(default_factory=list)


def recover(
    placement: Placement, store_id: bytes, references: References, read_only: bool
) -> Recovered:
    """Open all segments. ForeignSegment, NewerFormat, StorageError."""
    try:
        return _Recovery(placement, store_id, references, read_only).run()
    except OSError as error:
        raise storage_error(error, "opening the log") from error


class _Recovery:
    """One recovery, step by step."""

    def __init__(
        self, placement: Placement, store_id: bytes, references: References, read_only: bool
    ) -> None:
        self._placement = placement
        self._store_id = store_id
        self._references = references
        self._read_only = read_only
        self._catalog = Catalog()
        self._report = RecoveryReport()
        self._unsealed: dict[int, _Unsealed] = {}
        self._unreadable: list[tuple[int, str, bool]] = []  # id, what, may be removed
        self._sealed_max = -1
        self._epoch = 0
        self._known = 0
        self._checked: set[Location] = set()

    def run(self) -> Recovered:
        found = self._placement.segments()
        for segment_id, kind in found:
            self._look_at(segment_id, kind)
        self._settle_unreadable()
        self._known = max(
            (
                max(segment.index.synced_through, segment.index.last_sequence)
                for segment in self._catalog
                if segment.state == State.SEALED
            ),
            default=0,
        )
        for unsealed in self._unsealed.values():
            self._known = max(self._known, unsealed.synced_through)
        checkpoints = complete_checkpoints(self._parts())
        last = self._walk(checkpoints)
        self._note_broken()
        last = self._check_references(last)
        self._cut(last)
        checkpoints = [each for each in checkpoints if self._is_of_history(each, last)]
        report = self._report
        report.segments, report.scanned = len(self._catalog), len(self._unsealed)
        report.last_sequence, report.synced_through = last, self._known
        if not self._read_only:
            self._mend()
        next_id = max((segment_id for segment_id, _ in found), default=0) + 1
        synced = min(self._known, last) if self._read_only else last
        return Recovered(self._catalog, next_id, self._epoch, last, synced, checkpoints, report)

    # --- Reading ---------------------------------------------------------------------------------

    def _look_at(self, segment_id: int, kind: SegmentKind) -> None:
        """Read a segment's header, and its footer or all its records."""
        file = self._placement.reader(segment_id)
        size = file.size()
        data = file.read(0, SEGMENT_HEADER_BYTES)
        header = decode_segment_header(data)
        name = segment_name(segment_id, kind)
        if header is None:
            what = f"the header of {name} does not verify"
            self._unreadable.append((segment_id, what, is_torn_header(data)))
            return
        if header.store != self._store_id:
            raise ForeignSegment(
                f"{name} belongs to the store {header.store.hex()}, this one is "
                f"{self._store_id.hex()}: move it away and open the store again"
            )
        if (header.id, header.kind) != (segment_id, kind):
            what = f"{name} holds {segment_name(header.id, header.kind)}"
            self._unreadable.append((segment_id, what, False))
            return
        self._epoch = max(self._epoch, header.epoch)
        self._take(header, file, size)

    def _take(self, header: SegmentHeader, file: DeviceFile, size: int) -> None:
        summary = read_summary(file, header, size)
        if summary is not None:
            index, footer = summary
            segment = Segment(header, header.seed, State.SEALED, index, footer[0], footer)
            self._sealed_max = header.id
        else:
            if not self._read_only:
                file = self._placement.open_writable(header.id)
            segment = Segment(header, header.seed, State.OPEN)
            unsealed = _Unsealed(segment, file, size)
            _scan_all(unsealed, size)
            self._unsealed[header.id] = unsealed
        self._catalog.add(segment)

    def _settle_unreadable(self) -> None:
        for segment_id, what, torn in self._unreadable:
            if torn and segment_id > self._sealed_max:
                self._report.removed.append(what)
                if not self._read_only:
                    self._placement.remove(segment_id)
            else:
                self._report.damage.append(Damage(segment_id, 0, SEGMENT_HEADER_BYTES, what))

    def _parts(self) -> Iterator[tuple[int, Part]]:
        for segment in self._catalog:
            for part in segment.index.parts:
                yield segment.id, part

    def _is_of_history(self, checkpoint: Checkpoint, last: int) -> bool:
        """Whether a checkpoint covers METAs of this log. A crash may leave one whose METAs never
        became durable; later, others have their sequences, in segments of a later epoch. It is
        left out of its segment's footer, so that it does not come back then."""
        segment = self._catalog.get(checkpoint.parts[0][0].segment)
        assert segment is not None
        journal = self._catalog.journal_of(checkpoint.sequence)
        older = journal is None or journal.header.epoch <= segment.header.epoch
        if checkpoint.sequence <= last and older:
            return True
        for location, _ in checkpoint.parts:
            unsealed = self._unsealed.get(location.segment)
            if unsealed is not None:
                index = unsealed.segment.index
                index.parts = [part for part in index.parts if part.offset != location.offset]
        return False

    # --- History ---------------------------------------------------------------------------------

    def _walk(self, checkpoints: list[Checkpoint]) -> int:
        """Follow the META sequences; returns the last one of history, damaged ones included."""
        # Journals are freed below the second newest checkpoint, and nowhere else: what is not there
        # below it is not missed. (It was synced before the newest one was begun.)
        freed = checkpoints[1].sequence if len(checkpoints) > 1 else 0
        self._known = max(self._known, freed)
        journals = [segment for segment in self._catalog if segment.index.runs]
        if not journals:
            self._missing(freed + 1, self._known, 0, 0)
            return self._known
        expected, seen = freed + 1, 1
        for segment in journals:
            for run in segment.index.runs:
                if run.first < seen:
                    what = f"METAs from {run.first} on are there twice"
                    self._report.damage.append(Damage(segment.id, 0, 0, what))
                if run.first > expected:
                    self._missing(expected, min(run.first - 1, self._known), segment.id, 0)
                    if run.first - 1 > self._known:
                        last = max(expected - 1, self._known)
                        self._report.cut_because = f"META {last + 1} is missing or broken"
                        return last
                seen = max(seen, run.first + run.count)
                expected = max(expected, seen)
        self._missing(expected, self._known, journals[-1].id, 0)
        return max(expected - 1, self._known)

    def _missing(self, first: int, last: int, segment: int, offset: int) -> None:
        """METAs that were durable are not there."""
        if first <= last:
            what = f"META {first} is" if first == last else f"METAs {first} to {last} are"
            self._report.damage.append(
                Damage(segment, offset, 0, f"{what} missing or broken before this place")
            )

    def _note_broken(self) -> None:
        """What is broken in a journal is damage when a META that should follow it was durable.

        But for the end of a segment that misses no META: a footer that was never synced may be
        torn there. Then the bytes are kept all the same; if they were DATA, reads will tell."""
        before = 0
        for segment in self._catalog:
            unsealed = self._unsealed.get(segment.id)
            if unsealed is not None and segment.is_journal:
                for found in unsealed.broken:
                    last = _last_before(segment.index, found.offset, before)
                    if self._known <= last or _is_footer(found):
                        continue
                    unsealed.end = max(unsealed.end, found.offset + found.length)
                    if found.header is None and found.end >= unsealed.size:
                        following = self._catalog.journals_from(last + 1)
                        if following is not None and following.index.ordinal(last + 1) is not None:
                            continue
                    self._report.damage.append(
                        Damage(segment.id, found.offset, found.length, _what(found))
                    )
            before = max(before, segment.index.last_sequence)

    def _check_references(self, last: int) -> int:
        """History ends before the first META above *known synced* whose DATA is not there."""
        metas = MetaReader(self._placement, self._catalog, Decompressor(), self._report)
        reached = self._known
        for meta in metas.between(self._known, last):
            for location, hash32 in self._references(meta.payload):
                try:
                    self._check(location, hash32)
                except DataLost as error:
                    self._report.cut_because = f"META {meta.sequence} needs data: {error}"
                    return meta.sequence - 1
            reached = meta.sequence
        if reached < last:
            raise DeviceFailed(
                f"META {reached + 1} verified and then did not: open the store again; "
                "check the device and the memory"
            )
        return last

    def _check(self, location: Location, hash32: int) -> None:
        """Verify DATA that may never have been durable, and write it again."""
        if location in self._checked:
            return
        self._checked.add(location)
        segment = self._catalog.get(location.segment)
        if segment is None and location.segment > self._sealed_max:
            raise lost(location.segment, location.offset, "the segment is missing")
        unsealed = self._unsealed.get(location.segment)
        if unsealed is None:
            return  # sealed, so it was durable: if it is broken, that is damage, found by reads
        place = Place(unsealed.file, unsealed.segment.seed, *location)
        header, _ = read_record(place)
        if header.hash32 != hash32 or header.kind != RecordKind.DATA:
            raise lost(location.segment, location.offset, "another record lies there")
        if not self._read_only and not unsealed.segment.is_journal:
            self._rewrite(unsealed, location.offset, location.length)

    # --- Mending ---------------------------------------------------------------------------------

    def _cut(self, last: int) -> None:
        """Decide where each scanned segment ends, and make its index say so."""
        tail = max((s.id for s in self._catalog if 0 < s.index.first_sequence <= last), default=-1)
        for unsealed in self._unsealed.values():
            segment = unsealed.segment
            if segment.is_journal and segment.id >= tail:
                end = self._kept_end(unsealed, last) if segment.id == tail else None
                end = SEGMENT_HEADER_BYTES if end is None else end
                damaged = [
                    f.offset + f.length for f in unsealed.broken if self._is_damage(segment, f)
                ]
                end = max([end, *damaged])
                if end < unsealed.end or segment.index.last_sequence > last:
                    self._report.cut_metas += max(segment.index.last_sequence - last, 0)
                    _scan_all(unsealed, end)
                unsealed.end = end
            self._report.cut_bytes += max(unsealed.size - unsealed.end, 0)
            segment.end = aligned(unsealed.end)

    def _kept_end(self, unsealed: _Unsealed, last: int) -> int | None:
        """Where the last META that is kept ends."""
        kept = _count_through(unsealed.segment.index.runs, last)
        if not kept:
            return None
        offset = unsealed.segment.index.metas[kept - 1] << 4
        place = Window(unsealed.file, unsealed.size)
        (found,) = _first(scan(place, unsealed.segment.seed, _nothing, offset))
        return offset + found.length

    def _is_damage(self, segment: Segment, found: Scanned) -> bool:
        return any(
            damage.segment == segment.id and damage.offset == found.offset
            for damage in self._report.damage
        )

    def _mend(self) -> None:
        """Rewrite, cut, sync, seal. OSError."""
        if not self._unsealed and not self._report.removed:
            return
        for unsealed in self._unsealed.values():
            segment, file = unsealed.segment, unsealed.file
            file.write(0, [encode_segment_header(segment.header)], SEGMENT_HEADER_BYTES)
            if segment.is_journal:
                self._rewrite_journal(unsealed)
            else:
                for part in segment.index.parts:
                    self._rewrite(unsealed, part.offset, part.length)
            if unsealed.size != segment.end:
                file.truncate(segment.end)
        for unsealed in self._unsealed.values():
            unsealed.file.sync()
        self._placement.sync_names()
        for unsealed in self._unsealed.values():
            segment = unsealed.segment
            segment.index.synced_through = self._report.last_sequence
            if seal_segment(segment, unsealed.file, segment.end):
                segment.index = segment.index.summary()

    def _rewrite_journal(self, unsealed: _Unsealed) -> None:
        """Everything after the last META that is known to be durable."""
        index = unsealed.segment.index
        known = _count_through(index.runs, self._known)
        start = index.metas[known - 1] << 4 if known else SEGMENT_HEADER_BYTES
        window = Window(unsealed.file, unsealed.end)
        for found in scan(window, unsealed.segment.seed, _everything, start):
            if found.header is not None and found.intact:
                data = bytes(window.view(found.offset, found.length))
                unsealed.file.write(found.offset, [data], len(data))
                self._report.rewritten_bytes += len(data)

    def _rewrite(self, unsealed: _Unsealed, offset: int, length: int) -> None:
        """One record, with bytes that verify."""
        window = Window(unsealed.file, offset + length, 0)
        for found in _first(scan(window, unsealed.segment.seed, _everything, offset)):
            if not found.intact:
                raise lost(unsealed.segment.id, offset, "it verified and then did not")
            data = bytes(window.view(offset, length))
            unsealed.file.write(offset, [data], length)
            self._report.rewritten_bytes += length


def _scan_all(unsealed: _Unsealed, size: int) -> None:
    """Fill in what the segment's first `size` bytes hold."""
    segment = unsealed.segment
    segment.index = SegmentIndex()
    unsealed.broken = []
    unsealed.end, unsealed.synced_through = SEGMENT_HEADER_BYTES, 0
    look_at = _everything if segment.is_journal else _checkpoints_only
    for found in scan(Window(unsealed.file, size), segment.seed, look_at):
        header = found.header
        if header is None or not found.intact:
            unsealed.broken.append(found)
            if header is not None and not segment.is_journal:
                unsealed.end = found.offset + found.length
            continue
        if header.kind == RecordKind.FOOTER:
            break
        unsealed.end = found.offset + found.length
        note_record(segment, header, found.offset)
        if header.kind == RecordKind.META:
            unsealed.synced_through = max(unsealed.synced_through, header.owner_b)


def _last_before(index: SegmentIndex, offset: int, before: int) -> int:
    """The sequence of the last META before a place; `before` when the segment has none there."""
    position = bisect_left(index.metas, offset >> 4)
    for run in index.runs:
        if position <= run.count:
            return run.first + position - 1 if position else before
        before = run.first + run.count - 1
        position -= run.count
    return before


def _count_through(runs: list[Run], last: int) -> int:
    """How many METAs of these runs have sequences up to `last`."""
    return sum(max(0, min(run.count, last - run.first + 1)) for run in runs)


def _what(found: Scanned) -> str:
    if found.header is None:
        return f"{found.length} bytes that hold no record"
    header = found.header
    kind = RecordKind(header.kind).name
    return f"{kind} {header.owner_a} ({header.owner_b}) does not verify"


def _is_footer(found: Scanned) -> bool:
    return found.header is not None and found.header.kind == RecordKind.FOOTER


def _first(scanned: Iterator[Scanned]) -> Iterator[Scanned]:
    yield next(scanned)


def _everything(_: RecordHeader) -> bool:
    return True


def _nothing(_: RecordHeader) -> bool:
    return False


def _checkpoints_only(header: RecordHeader) -> bool:
    return header.kind == RecordKind.CHECKPOINT
