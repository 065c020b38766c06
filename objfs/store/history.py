"""Reads the META records back, in order, for replay."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from objfs.base.errors import DataLost
from objfs.base.limits import KIB, MIB
from objfs.store.catalog import Catalog, Segment
from objfs.store.compression import Decompressor
from objfs.store.damage import Damage, RecoveryReport
from objfs.store.device import DeviceFile
from objfs.store.format import RecordKind
from objfs.store.placement import Placement
from objfs.store.record import RecordHeader, hash_bytes
from objfs.store.scan import Scanned, Window, scan, scan_one

_FEW: Final = 16  # METAs that are read one by one, without reading ahead


class Meta(NamedTuple):
    """A verified META record."""

    sequence: int
    checksum: bytes  # 16 bytes: the hash of what is stored
    payload: bytes


class MetaReader:
    """Finds METAs through the segments' indexes. What does not verify is noted and skipped."""

    def __init__(
        self,
        placement: Placement,
        catalog: Catalog,
        decompressor: Decompressor,
        report: RecoveryReport,
    ) -> None:
        self._placement = placement
        self._catalog = catalog
        self._decompressor = decompressor
        self._report = report

    def between(self, after: int, end: int) -> Iterator[Meta]:
        """METAs with after < sequence <= end, in order."""
        sequence = after + 1
        while sequence <= end:
            segment = self._catalog.journals_from(sequence)
            if segment is None:
                return
            last = min(end, segment.index.last_sequence)
            yield from self._of_segment(segment, sequence, last)
            sequence = last + 1

    def _of_segment(self, segment: Segment, first: int, last: int) -> Iterator[Meta]:
        try:
            file = self._placement.reader(segment.id)
            size = file.size()
        except OSError as error:
            if self._catalog.get(segment.id) is not None:  # else it was freed meanwhile
                self._note(Damage(segment.id, 0, 0, f"METAs {first} to {last}: {error}"))
            return
        try:
            offsets = self._catalog.meta_offsets(segment, file)
        except DataLost as error:
            self._note(Damage(segment.id, segment.end, 0, f"the footer is damaged: {error}"))
            yield from self._scanned(segment, file, size, first, last)
            return
        window = Window(file, size, MIB if last - first > _FEW else 4 * KIB)
        ordinal = 0
        for run in list(segment.index.runs):
            start, stop = max(run.first, first), min(run.first + run.count - 1, last)
            for sequence in range(start, stop + 1):
                offset = offsets[ordinal + sequence - run.first] << 4
                meta = self._read(segment, window, sequence, offset)
                if meta is not None:
                    yield meta
            ordinal += run.count

    def _read(self, segment: Segment, window: Window, sequence: int, offset: int) -> Meta | None:
        try:
            found = scan_one(window, segment.seed, offset, _always)
        except OSError:
            window = window.exact()  # reading ahead failed; the record alone may be readable
            found = self._reread(segment, window, offset)
        if (
            found is None
            or found.header is None
            or not found.intact
            or found.header.kind != RecordKind.META
            or found.header.owner_a != sequence
        ):
            what = f"META {sequence} does not verify"
            length = 0 if found is None else found.length
            self._note(Damage(segment.id, offset, length, what))
            return None
        return self._meta(found.header, window.view(offset, found.length))

    def _reread(self, segment: Segment, window: Window, offset: int) -> Scanned | None:
        try:
            return scan_one(window, segment.seed, offset, _always)
        except OSError as error:
            self._note(Damage(segment.id, offset, 0, f"reading failed ({error})"))
            return None

    def _scanned(
        self, segment: Segment, file: DeviceFile, size: int, first: int, last: int
    ) -> Iterator[Meta]:
        """Without the index: walk the segment."""
        window = Window(file, size)
        for found in scan(window, segment.seed, _is_meta):
            header = found.header
            if header is None or header.kind != RecordKind.META:
                continue
            if found.intact and first <= header.owner_a <= last:
                yield self._meta(header, window.view(found.offset, found.length))

    def _meta(self, header: RecordHeader, record: memoryview) -> Meta:
        payload = self._decompressor.unpack(header, record[header.head_bytes :])
        return Meta(header.owner_a, hash_bytes(header.hash), payload)

    def _note(self, damage: Damage) -> None:
        if damage not in self._report.damage:
            self._report.damage.append(damage)


def _always(_: RecordHeader) -> bool:
    return True


def _is_meta(header: RecordHeader) -> bool:
    return header.kind == RecordKind.META
