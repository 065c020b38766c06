"""Walking a segment from its bytes: every record is found, whatever lies between."""

import os
from random import Random

import pytest

from objfs.store.format import MASK_64, SEGMENT_HEADER_BYTES, RecordKind, aligned
from objfs.store.memory import MemoryDevice
from objfs.store.record import RecordHeader
from objfs.store.scan import WINDOW_BYTES, Window, scan
from objfs.store.writer import encode_record

SEED = 0x1234_5678_9ABC_DEF0


def everything(_: RecordHeader) -> bool:
    return True


def walk(data: bytes) -> list[tuple[int, int, bool]]:
    file = MemoryDevice().create("f")
    file.write(0, [data], len(data))
    return [
        (found.offset, found.length, found.intact)
        for found in scan(Window(file, len(data)), SEED, everything)
    ]


def record(offset: int, payload: bytes) -> bytes:
    return encode_record((SEED + offset) & MASK_64, RecordKind.DATA, 1, 2, payload)


@pytest.mark.parametrize("gap", [0, 16, 80, 96, 4096, WINDOW_BYTES - 80, WINDOW_BYTES, 2_500_000])
@pytest.mark.parametrize("fill", ["zeros", "noise", "a record from elsewhere"])
def test_records_behind_a_gap_are_found(gap: int, fill: str) -> None:
    gap &= -16
    image = bytearray(SEGMENT_HEADER_BYTES)
    image += record(len(image), b"first")
    image += bytes(aligned(len(image)) - len(image))
    start = len(image)
    match fill:
        case "zeros":
            image += bytes(gap)
        case "noise":
            image += os.urandom(gap)
        case _:
            image += (record(0, b"x" * 37) * (gap // 100 + 1))[:gap]
    second = len(image)
    image += record(second, b"second")
    expected = [(80, 85, True), (start, gap, False), (second, 86, True)]
    assert walk(bytes(image)) == [one for one in expected if one[1]]


def test_a_broken_payload_is_stepped_over() -> None:
    image = bytearray(SEGMENT_HEADER_BYTES) + record(80, bytes(70_000))
    image += bytes(aligned(len(image)) - len(image))
    second = len(image)
    image += record(second, b"second")
    image[1000] ^= 1
    assert walk(bytes(image)) == [(80, 70_096, False), (second, 86, True)]


def test_a_record_that_ends_behind_the_file_is_none() -> None:
    whole = bytes(SEGMENT_HEADER_BYTES) + record(80, b"p" * 100)
    for end in range(81, len(whole)):
        assert walk(whole[:end]) == [(80, end - 80, False)]


def test_nothing_after_a_footer_is_looked_at() -> None:
    image = bytes(SEGMENT_HEADER_BYTES)
    image += encode_record(SEED + 80, RecordKind.FOOTER, 0, 80, b"")
    image += record(len(image), b"later")
    assert walk(image) == [(80, 80, True)]


def test_many_records_of_many_sizes() -> None:
    random = Random(5)
    image, expected = bytearray(SEGMENT_HEADER_BYTES), []
    for _ in range(300):
        image += bytes(aligned(len(image)) - len(image))
        one = record(len(image), bytes(random.choice((0, 1, 300, 20_000, 65_536, 140_000))))
        expected.append((len(image), len(one), True))
        image += one
    assert walk(bytes(image)) == expected
