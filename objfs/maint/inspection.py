"""Looks into segment files as they lie on the disk, with no store, index or lock. Reads only.

Used by `objfs inspect`, and by `objfs rebuild` to find out which store a directory was.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from objfs.base.errors import ForeignSegment, NotAStore, NotFound
from objfs.store.catalog import read_summary
from objfs.store.device import DeviceFile
from objfs.store.format import (
    SEGMENT_HEADER_BYTES,
    TRAILER_BYTES,
    Codec,
    RecordKind,
)
from objfs.store.posix import PosixDevice
from objfs.store.record import RecordHeader
from objfs.store.scan import Scanned, scan
from objfs.store.segment import SegmentHeader, decode_segment_header, parse_segment_name

CHUNK_BYTES = 1 << 20


class Record:
    """One record as `objfs inspect --records` shows it."""

    def __init__(self, found: Scanned, header: RecordHeader) -> None:
        self.offset = found.offset
        self.length = found.length
        self.intact = found.intact
        self.kind = RecordKind(header.kind).name
        self.codec = Codec(header.codec).name.lower()
        self.raw = header.raw
        self.owner = describe_owner(header)

    def form(self) -> dict[str, object]:
        return dict(vars(self))


def describe_owner(header: RecordHeader) -> str:
    """What the two owner fields mean."""
    match header.kind:
        case RecordKind.DATA:
            return f"content {header.owner_a} at {header.owner_b}"
        case RecordKind.META:
            return f"sequence {header.owner_a}, synced through {header.owner_b}"
        case RecordKind.CHECKPOINT:
            part, total = header.owner_b & 0xFFFFFFFF, header.owner_b >> 32
            return f"through sequence {header.owner_a}, part {part}" + (
                f" of {total}" * bool(total)
            )
        case _:
            return f"{header.owner_a} records"


@dataclass(slots=True)
class Inspection:
    """What a walk over a segment found; complete when the walk ended."""

    path: str
    header: SegmentHeader
    size: int
    sealed: bool
    records: Counter[str] = field(default_factory=Counter)
    stored_bytes: Counter[str] = field(default_factory=Counter)
    first_sequence: int = 0
    last_sequence: int = 0
    unused_bytes: int = 0  # zeros after the last record
    torn_bytes: int = 0  # of an unsealed segment, after its last record
    damage: list[dict[str, object]] = field(default_factory=list)

    def count(self, found: Scanned, header: RecordHeader) -> Record:
        record = Record(found, header)
        self.records[record.kind] += 1
        self.stored_bytes[record.kind] += header.length
        if header.kind == RecordKind.META:
            self.first_sequence = self.first_sequence or header.owner_a
            self.last_sequence = header.owner_a
        if not found.intact:
            self.damage.append(
                {
                    "offset": found.offset,
                    "length": found.length,
                    "what": f"the payload of {record.kind}, {record.owner}, does not verify",
                }
            )
        return record

    def form(self) -> dict[str, object]:
        """The stable JSON form."""
        return {
            "file": self.path,
            "segment": f"{self.header.id:016x}",
            "kind": self.header.kind.name.lower(),
            "store": self.header.store.hex(),
            "epoch": self.header.epoch,
            "created_ns": self.header.created_ns,
            "bytes": self.size,
            "sealed": self.sealed,
            "records": dict(self.records),
            "stored_bytes": dict(self.stored_bytes),
            "first_sequence": self.first_sequence,
            "last_sequence": self.last_sequence,
            "unused_bytes": self.unused_bytes,
            "torn_bytes": self.torn_bytes,
            "damage": self.damage,
        }


def open_segment(path: Path) -> tuple[Inspection, DeviceFile]:
    """Reads the header. NotFound, NotAStore when the file is no segment, NewerFormat."""
    if not path.is_file():
        raise NotFound(f"{path}: there is no such file")
    file = PosixDevice(path.parent).open(path.name, False)
    header = decode_segment_header(file.read(0, SEGMENT_HEADER_BYTES))
    if header is None:
        raise NotAStore(f"{path}: this is no segment of objfs, or its header is damaged")
    size = file.size()
    sealed = read_summary(file, header, size) is not None
    return Inspection(str(path), header, size, sealed), file


def walk(inspection: Inspection, file: DeviceFile) -> Iterator[Record]:
    """Every record, verified; the inspection is complete at the end."""
    header = inspection.header
    last: Scanned | None = None
    end = SEGMENT_HEADER_BYTES
    for found in scan(file, header.seed, inspection.size, lambda _: True):
        if last is not None:  # a gap with records after it is no tail
            _note_damage(inspection, last)
        last = found if found.header is None else None
        if found.header is not None:
            end = found.end
            yield inspection.count(found, found.header)
    if last is not None:
        _note_tail(inspection, file, last.offset)
    elif inspection.sealed and end + TRAILER_BYTES < inspection.size:
        _note_damage(inspection, Scanned(end, inspection.size - end, None, False))


def _note_damage(inspection: Inspection, gap: Scanned) -> None:
    inspection.damage.append(
        {"offset": gap.offset, "length": gap.length, "what": "these bytes hold no record"}
    )


def _note_tail(inspection: Inspection, file: DeviceFile, start: int) -> None:
    length = inspection.size - start
    if inspection.sealed:
        _note_damage(inspection, Scanned(start, length, None, False))
    elif all(not any(chunk) for chunk in _chunks(file, start, inspection.size)):
        inspection.unused_bytes = length
    else:
        inspection.torn_bytes = length


def _chunks(file: DeviceFile, start: int, end: int) -> Iterator[bytes]:
    for offset in range(start, end, CHUNK_BYTES):
        yield file.read(offset, min(CHUNK_BYTES, end - offset))


def store_of_segments(directory: Path) -> bytes:
    """The id of the store whose segments lie there. NotAStore, ForeignSegment."""
    stores: dict[bytes, str] = {}
    for path in sorted(directory.iterdir()):
        if parse_segment_name(path.name) is None:
            continue
        with path.open("rb") as file:
            header = decode_segment_header(file.read(SEGMENT_HEADER_BYTES))
        if header is not None:
            stores.setdefault(header.store, path.name)
    if len(stores) > 1:
        raise ForeignSegment(
            f"{directory}: segments of {len(stores)} stores lie here ({', '.join(stores.values())} "
            "among them); move those away that do not belong here"
        )
    if not stores:
        raise NotAStore(f"{directory}: there is no segment with a readable header here")
    return next(iter(stores))
