"""Large payloads: cut into records, compressed or not, hashed, and written by a thread.

Data that does not shrink becomes records of up to 4 MiB whose payload is written from the caller's
own buffers with one `pwritev`, without a copy. Data that does is cut into pieces of 256 KiB, each
compressed alone, because a read unpacks the whole record; a piece that does not shrink is stored
as it is. Records that lie one after the other are written together. Everything here runs in
threads and touches no shared state.
"""

from collections.abc import Sequence
from typing import NamedTuple

from objfs.base.limits import COMPRESSED_RECORD_BYTES, LARGE_RECORD_BYTES
from objfs.store.compression import Compressor
from objfs.store.device import DeviceFile
from objfs.store.format import (
    MASK_64,
    RECORD_HEADER_BYTES,
    Buffer,
    Codec,
    RecordKind,
    aligned,
)
from objfs.store.record import (
    PayloadSums,
    RecordHeader,
    pack_header,
    record_length,
    sum_payload,
)


class BulkRecord(NamedTuple):
    """A record that only lacks its place."""

    header: RecordHeader
    sums: bytes
    buffers: Sequence[Buffer]  # the stored payload


def prepare_data(
    content: int, offset: int, views: Sequence[memoryview], compressor: Compressor | None
) -> list[BulkRecord]:
    """The DATA records that hold these bytes of a content, in order; compressed, as far as that
    is worth it, with a compressor."""
    if compressor is None:
        return _prepare_as_is(content, offset, views)
    records: list[BulkRecord] = []
    for piece in split(views, COMPRESSED_RECORD_BYTES):
        raw = sum(map(len, piece))
        joined: Buffer = piece[0] if len(piece) == 1 else b"".join(piece)
        packed = compressor.compress(joined)
        if packed is None:
            records.append(_record(RecordKind.DATA, content, offset, Codec.NONE, raw, piece))
        else:
            records.append(_record(RecordKind.DATA, content, offset, Codec.ZSTD, raw, [packed]))
        offset += raw
    return records


def lengths_as_is(size: int) -> list[int]:
    """The lengths of the records that `prepare_data` makes of so many bytes without a compressor:
    known before anything was looked at."""
    whole, rest = divmod(size, LARGE_RECORD_BYTES)
    return [record_length(LARGE_RECORD_BYTES)] * whole + ([record_length(rest)] if rest else [])


def prepare_copy(
    content: int, offset: int, data: Buffer, compressor: Compressor | None
) -> BulkRecord:
    """One DATA record of a copy, whatever its size."""
    packed = None if compressor is None else compressor.compress(data)
    if packed is None:
        return _record(RecordKind.DATA, content, offset, Codec.NONE, len(data), [data])
    return _record(RecordKind.DATA, content, offset, Codec.ZSTD, len(data), [packed])


def copy_as_it_is(source: RecordHeader, content: int, offset: int, stored: Buffer) -> BulkRecord:
    """A record with the verified stored payload of another."""
    codec = Codec(source.codec)
    record = _record(RecordKind.DATA, content, offset, codec, source.raw, [stored])
    assert record.header.hash == source.hash
    return record


def prepare_part(
    sequence: int, part: int, total: int, data: Buffer, compressor: Compressor | None
) -> BulkRecord:
    """One CHECKPOINT record; `total` is 0 but in the last."""
    packed = None if compressor is None else compressor.compress(data)
    codec = Codec.NONE if packed is None else Codec.ZSTD
    owner = part | total << 32
    return _record(
        RecordKind.CHECKPOINT,
        sequence,
        owner,
        codec,
        len(data),
        [data if packed is None else packed],
    )


def write_records(file: DeviceFile, seed: int, offset: int, records: Sequence[BulkRecord]) -> None:
    """Write records one after the other, the first at `offset`. OSError."""
    buffers: list[Buffer] = []
    end = offset
    for record in records:
        start = aligned(end)
        buffers.append(bytes(start - end))
        buffers += (_packed_head(record, (seed + start) & MASK_64), record.sums, *record.buffers)
        end = start + record.header.length
    file.write(offset, buffers, end - offset)


def _packed_head(record: BulkRecord, seed: int) -> bytearray:
    header = record.header
    head = bytearray(RECORD_HEADER_BYTES)
    pack_header(
        head,
        0,
        seed,
        header.kind,
        header.codec,
        header.raw,
        header.stored,
        header.owner_a,
        header.owner_b,
        header.hash,
        header.sums_checksum,
    )
    return head


def split(views: Sequence[memoryview], size: int) -> list[list[memoryview]]:
    """The concatenation of the views in pieces of `size` bytes, as views."""
    pieces: list[list[memoryview]] = []
    room = 0
    for view in views:
        at = 0
        while at < len(view):
            if not room:
                pieces.append([])
                room = size
            taken = view[at : at + room]
            pieces[-1].append(taken)
            at += len(taken)
            room -= len(taken)
    return pieces


def _prepare_as_is(content: int, offset: int, views: Sequence[memoryview]) -> list[BulkRecord]:
    records = []
    for piece in split(views, LARGE_RECORD_BYTES):
        raw = sum(map(len, piece))
        records.append(_record(RecordKind.DATA, content, offset, Codec.NONE, raw, piece))
        offset += raw
    return records


def _record(
    kind: RecordKind, owner_a: int, owner_b: int, codec: Codec, raw: int, buffers: Sequence[Buffer]
) -> BulkRecord:
    stored = sum(map(len, buffers))
    sums: PayloadSums = sum_payload(buffers, stored)
    header = RecordHeader(kind, codec, raw, stored, owner_a, owner_b, sums.hash, sums.sums_checksum)
    return BulkRecord(header, sums.sums, buffers)
