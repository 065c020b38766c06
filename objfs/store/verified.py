"""Verified reads of single records from a file: nothing comes out of here that did not verify.

With `wait=False` every function returns None when the device would have to wait. What does not
verify, is missing or cannot be read raises DataLost with segment, offset and what is wrong.
"""

import struct
from collections.abc import Sequence
from typing import Literal, NamedTuple, overload

from xxhash import xxh3_64_intdigest

from objfs.base.errors import DataLost
from objfs.base.limits import CHECKSUM_BLOCK_BYTES
from objfs.store.device import DeviceFile
from objfs.store.format import BLOCK_SUM_BYTES, RECORD_HEADER_BYTES, Buffer
from objfs.store.record import (
    RecordHeader,
    block_count,
    stored_in,
    unpack_header,
    verify_payload,
    verify_sums,
)


class Place(NamedTuple):
    """A record in an open file."""

    file: DeviceFile
    seed: int  # the segment's
    segment: int
    offset: int
    length: int


class Head(NamedTuple):
    """A verified header and the block sums behind it."""

    header: RecordHeader
    sums: Buffer


def lost(segment: int, offset: int, what: str) -> DataLost:
    """The error of a record that cannot be read. The caller raises it."""
    return DataLost(
        f"segment {segment:016x}, offset {offset}: {what}; there is no other copy of the record"
    )


@overload
def read_head(place: Place, wait: Literal[True] = True) -> Head: ...
@overload
def read_head(place: Place, wait: bool) -> Head | None: ...
def read_head(place: Place, wait: bool = True) -> Head | None:
    """Header and block sums."""
    stored = _stored(place)
    fetched = _fetch(place, 0, [RECORD_HEADER_BYTES, BLOCK_SUM_BYTES * block_count(stored)], wait)
    if fetched is None:
        return None
    return _head(place, fetched[0], fetched[1])


@overload
def read_record(place: Place, wait: Literal[True] = True) -> tuple[RecordHeader, memoryview]: ...
@overload
def read_record(place: Place, wait: bool) -> tuple[RecordHeader, memoryview] | None: ...
def read_record(place: Place, wait: bool = True) -> tuple[RecordHeader, memoryview] | None:
    """Header and the whole stored payload."""
    stored = _stored(place)
    fetched = _fetch(place, 0, [place.length], wait)
    if fetched is None:
        return None
    record = memoryview(fetched[0])
    payload = place.length - stored
    head = _head(place, record, record[RECORD_HEADER_BYTES:payload])
    if not verify_payload(head.header, record[payload:]):
        raise lost(place.segment, place.offset, "the payload does not verify")
    return head.header, record[payload:]


@overload
def read_blocks(
    place: Place, head: Head, first: int, count: int, wait: Literal[True] = True
) -> bytearray: ...
@overload
def read_blocks(
    place: Place, head: Head, first: int, count: int, wait: bool
) -> bytearray | None: ...
def read_blocks(
    place: Place, head: Head, first: int, count: int, wait: bool = True
) -> bytearray | None:
    """`count` blocks of 64 KiB of a stored payload that has block sums, from block `first`, in one
    piece."""
    assert 0 <= first < first + count <= head.header.blocks
    begin = first * CHECKSUM_BLOCK_BYTES
    size = min(count * CHECKSUM_BLOCK_BYTES, head.header.stored - begin)
    fetched = _fetch(place, head.header.head_bytes + begin, [size], wait)
    if fetched is None:
        return None
    run = fetched[0]
    view = memoryview(run)
    sums = struct.unpack_from(f"<{count}Q", head.sums, first * BLOCK_SUM_BYTES)
    for index, wanted in enumerate(sums):
        at = index * CHECKSUM_BLOCK_BYTES
        if xxh3_64_intdigest(view[at : at + CHECKSUM_BLOCK_BYTES]) != wanted:
            raise lost(place.segment, place.offset, f"block {first + index} does not verify")
    return run


def _stored(place: Place) -> int:
    stored = stored_in(place.length)
    if stored < 0:
        raise lost(place.segment, place.offset, f"no record has a length of {place.length}")
    return stored


def _head(place: Place, data: Buffer, sums: Buffer) -> Head:
    header = unpack_header(data, 0, place.seed + place.offset)
    if header is None:
        raise lost(place.segment, place.offset, "the header does not verify")
    if header.length != place.length:
        raise lost(
            place.segment,
            place.offset,
            f"a record of {header.length} bytes lies where one of {place.length} was looked for",
        )
    if not verify_sums(header, sums):
        raise lost(place.segment, place.offset, "the block sums do not verify")
    return Head(header, sums)


def _fetch(place: Place, start: int, sizes: Sequence[int], wait: bool) -> list[bytearray] | None:
    """Consecutive bytes from `start` in the record, in buffers of these sizes."""
    buffers = [bytearray(size) for size in sizes]
    total = sum(sizes)
    try:
        if not wait:
            done = place.file.read_into_nowait(place.offset + start, buffers, total)
            return buffers if done else None
        count = place.file.read_into(place.offset + start, buffers)
    except OSError as error:
        raise lost(place.segment, place.offset, f"reading failed ({error})") from error
    if count != total:
        raise lost(place.segment, place.offset, "the segment ends before the record does")
    return buffers
