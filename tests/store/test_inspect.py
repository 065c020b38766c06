"""A look into one segment file, with no store opened."""

from pathlib import Path

import pytest
import trio

from objfs.base.settings import Settings
from objfs.store.format import Codec, RecordKind, SegmentKind
from objfs.store.inspect import inspect_segment
from objfs.store.posix import PosixDevice
from tests.store.rig import Rig, meta

NAME = "0000000000000001.journal"


@pytest.fixture
def segment(tmp_path: Path) -> Path:
    log = Rig(PosixDevice(tmp_path), Settings()).open()
    stored = log.append_data(7, 4096, b"some text, again and again " * 100)
    log.append_meta(meta(stored))
    trio.run(log.close)
    return tmp_path / NAME


def test_everything_is_shown(segment: Path) -> None:
    report = inspect_segment(segment)
    assert report.problems == []
    assert report.header is not None
    assert (report.header.id, report.header.kind) == (1, SegmentKind.JOURNAL)
    data, first, footer = report.records
    assert (data.kind, data.codec, data.raw) == (RecordKind.DATA, Codec.ZSTD, 2700)
    assert (data.owner_a, data.owner_b) == (7, 4096)
    assert (first.kind, first.owner_a, first.verified) == (RecordKind.META, 1, True)
    assert footer.kind == RecordKind.FOOTER
    assert report.footer is not None
    assert (report.footer.meta_count, report.footer.other_count) == (1, 1)


def test_damage_is_told(segment: Path) -> None:
    data = bytearray(segment.read_bytes())
    data[170] ^= 1
    segment.write_bytes(data)
    report = inspect_segment(segment)
    assert report.problems == ["the payload of the record at 80 does not verify"]
    assert [one.verified for one in report.records] == [False, True, True]
    data[90] ^= 1
    segment.write_bytes(data)
    report = inspect_segment(segment)
    assert "hold no record that verifies" in report.problems[0]
    assert report.problems[1] == "the footer counts 1 other records, 0 are there"


def test_a_segment_without_a_footer(segment: Path) -> None:
    segment.write_bytes(segment.read_bytes()[:-1])
    report = inspect_segment(segment)
    assert report.problems == ["no footer: the segment is active, or was not closed"]
    assert report.footer is None


def test_a_segment_under_another_name(segment: Path) -> None:
    other = segment.rename(segment.with_name("0000000000000002.bulk"))
    assert "holds the journal segment 0000000000000001" in inspect_segment(other).problems[0]


@pytest.mark.parametrize("data", [b"", bytes(4096), b"X" * 4096])
def test_what_is_no_segment(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / NAME
    path.write_bytes(data)
    report = inspect_segment(path)
    assert report.header is None
    assert "no record can be verified" in report.problems[0]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        inspect_segment(tmp_path / NAME)
