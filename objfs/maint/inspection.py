"""Segment files as they lie on the disk, for people and programs: no store is opened."""

import uuid
from collections import Counter
from pathlib import Path

from objfs.base.errors import ForeignSegment, NotAStore
from objfs.store.format import SEGMENT_HEADER_BYTES, RecordKind
from objfs.store.inspect import InspectedRecord, SegmentReport
from objfs.store.segment import decode_segment_header, parse_segment_name


def owner_text(record: InspectedRecord) -> str:
    """What a record's two owner fields mean."""
    match record.kind:
        case RecordKind.DATA:
            return f"content {record.owner_a} at {record.owner_b}"
        case RecordKind.META:
            return f"sequence {record.owner_a}, synced through {record.owner_b}"
        case RecordKind.CHECKPOINT:
            part, total = record.owner_b & 0xFFFFFFFF, record.owner_b >> 32
            return f"through {record.owner_a}, part {part}" + f" of {total}" * bool(total)
        case RecordKind.FOOTER:
            return f"{record.owner_a} records"


def is_damaged(report: SegmentReport) -> bool:
    """An unsealed segment may end in what was just being written: no damage."""
    if report.header is None or not all(record.verified for record in report.records):
        return True
    return report.footer is not None and bool(report.problems)


def report_form(report: SegmentReport, records: bool) -> dict[str, object]:
    """The stable JSON form."""
    header = report.header
    sequences = [each.owner_a for each in report.records if each.kind == RecordKind.META]
    form: dict[str, object] = {
        "file": str(report.path),
        "bytes": report.size,
        "segment": f"{header.id:016x}" if header else None,
        "kind": header.kind.name.lower() if header else None,
        "store": str(uuid.UUID(bytes=header.store)) if header else None,
        "epoch": header.epoch if header else None,
        "created_ns": header.created_ns if header else None,
        "sealed": report.footer is not None,
        "records": dict(Counter(each.kind.name for each in report.records)),
        "first_sequence": min(sequences, default=0),
        "last_sequence": max(sequences, default=0),
        "damaged": is_damaged(report),
        "problems": report.problems,
    }
    if records:
        form["entries"] = [_record_form(record) for record in report.records]
    return form


def _record_form(record: InspectedRecord) -> dict[str, object]:
    return {
        "offset": record.offset,
        "length": record.length,
        "kind": record.kind.name,
        "codec": record.codec.name.lower(),
        "raw": record.raw,
        "owner": owner_text(record),
        "verified": record.verified,
    }


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
