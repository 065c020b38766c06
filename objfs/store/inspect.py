"""Looks into one segment file, with no store opened: header, every record, footer, problems.

Reads only. What it cannot verify it reports; it raises only when the file cannot be read at all,
or was written by a later objfs.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from objfs.store.catalog import read_summary
from objfs.store.device import DeviceFile
from objfs.store.footer import SegmentIndex
from objfs.store.format import SEGMENT_HEADER_BYTES, Codec, RecordKind
from objfs.store.posix import PosixDevice
from objfs.store.record import RecordHeader
from objfs.store.scan import Window, scan
from objfs.store.segment import (
    SegmentHeader,
    decode_segment_header,
    is_torn_header,
    parse_segment_name,
)


class InspectedRecord(NamedTuple):
    """One record whose header verifies."""

    offset: int
    length: int  # of the record in the file
    kind: RecordKind
    codec: Codec
    raw: int
    stored: int
    owner_a: int
    owner_b: int
    hash32: int
    verified: bool  # the payload too


@dataclass
class SegmentReport:
    """What a segment file holds."""

    path: Path
    size: int
    header: SegmentHeader | None = None
    records: list[InspectedRecord] = field(default_factory=list)
    footer: SegmentIndex | None = None  # without the record offsets
    problems: list[str] = field(default_factory=list)


def inspect_segment(path: Path) -> SegmentReport:
    """Everything about a segment file. OSError, NewerFormat."""
    file = PosixDevice(path.parent).open(path.name, False)
    try:
        report = SegmentReport(path, file.size())
        data = file.read(0, SEGMENT_HEADER_BYTES)
        report.header = decode_segment_header(data)
        if report.header is None:
            torn = is_torn_header(data)
            state = "was never completely written" if torn else "does not verify"
            report.problems.append(f"the segment header {state}: no record can be verified")
            return report
        _check_name(report, report.header)
        summary = read_summary(file, report.header, report.size)
        if summary is None:
            report.problems.append("no footer: the segment is active, or was not closed")
        else:
            report.footer = summary[0]
        report.records.extend(_records(report, report.header, file))
        _check_counts(report)
        return report
    finally:
        file.close()


def _check_name(report: SegmentReport, header: SegmentHeader) -> None:
    named = parse_segment_name(report.path.name)
    if named is not None and named != (header.id, header.kind):
        report.problems.append(
            f"the file is named {report.path.name} and holds the {header.kind.name.lower()} "
            f"segment {header.id:016x}"
        )


def _records(
    report: SegmentReport, header: SegmentHeader, file: DeviceFile
) -> Iterator[InspectedRecord]:
    for found in scan(Window(file, report.size), header.seed, _everything):
        if found.header is None:
            report.problems.append(
                f"{found.length} bytes at {found.offset} hold no record that verifies"
            )
            continue
        if not found.intact:
            report.problems.append(f"the payload of the record at {found.offset} does not verify")
        record = found.header
        yield InspectedRecord(
            found.offset,
            found.length,
            RecordKind(record.kind),
            Codec(record.codec),
            record.raw,
            record.stored,
            record.owner_a,
            record.owner_b,
            record.hash32,
            found.intact,
        )


def _check_counts(report: SegmentReport) -> None:
    """What the footer says against what is there."""
    if report.footer is None:
        return
    metas = sum(record.kind == RecordKind.META for record in report.records)
    others = sum(
        record.kind in (RecordKind.DATA, RecordKind.CHECKPOINT) for record in report.records
    )
    for name, counted, noted in (
        ("META", metas, report.footer.meta_count),
        ("other", others, report.footer.other_count),
    ):
        if counted < noted:
            report.problems.append(f"the footer counts {noted} {name} records, {counted} are there")


def _everything(_: RecordHeader) -> bool:
    return True
