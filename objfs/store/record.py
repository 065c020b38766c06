"""The record: pure codec of its header and of the sums that verify its payload.

A record is [header 80][block sums 8 each, only for a stored payload over 64 KiB][payload], at a
multiple of 16 bytes. The header's checksum is seeded with the segment's salt and id and with the
record's offset: a header verifies in the one place it was written for. The payload is bound to the
header by its xxh3-128; the block sums let a random read verify 64 KiB instead of all of it.

Nothing here knows what a payload means.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from xxhash import xxh3_64, xxh3_64_intdigest, xxh3_128, xxh3_128_intdigest

from objfs.base.limits import CHECKSUM_BLOCK_BYTES, RECORD_PAYLOAD_BYTES_MAX
from objfs.store.format import (
    BLOCK_SUM_BYTES,
    CIPHER_NONE,
    MASK_32,
    MASK_64,
    NO_NONCE,
    RECORD_CHECKED_BYTES,
    RECORD_HEADER,
    RECORD_HEADER_BYTES,
    RECORD_MAGIC,
    Buffer,
    Codec,
    RecordKind,
)

KINDS = tuple(RecordKind)
_KIND_NUMBERS = frozenset(map(int, RecordKind))
_CODEC_NUMBERS = frozenset(map(int, Codec))
_pack_into = RECORD_HEADER.pack_into
_unpack_from = RECORD_HEADER.unpack_from


class RecordHeader(NamedTuple):
    """A verified header. Lengths in bytes."""

    kind: int  # a RecordKind
    codec: int  # a Codec
    raw: int
    stored: int
    owner_a: int
    owner_b: int
    hash: int  # xxh3-128 of the stored payload
    sums_checksum: int  # xxh3-64 of the block sums, 0 without

    @property
    def hash32(self) -> int:
        """What rows keep of the hash."""
        return self.hash & MASK_32

    @property
    def blocks(self) -> int:
        """How many block sums follow the header."""
        return block_count(self.stored)

    @property
    def head_bytes(self) -> int:
        """Bytes before the payload."""
        return RECORD_HEADER_BYTES + BLOCK_SUM_BYTES * block_count(self.stored)

    @property
    def length(self) -> int:
        """Bytes of the whole record, without the padding after it."""
        return self.head_bytes + self.stored


def block_count(stored: int) -> int:
    """Block sums of a stored payload of that many bytes."""
    if stored <= CHECKSUM_BLOCK_BYTES:
        return 0
    return (stored + CHECKSUM_BLOCK_BYTES - 1) // CHECKSUM_BLOCK_BYTES


def record_length(stored: int) -> int:
    """Bytes of a record, without the padding after it."""
    return RECORD_HEADER_BYTES + BLOCK_SUM_BYTES * block_count(stored) + stored


def stored_in(length: int) -> int:
    """The inverse of `record_length`; -1 when no record has that length."""
    rest = length - RECORD_HEADER_BYTES
    if rest > CHECKSUM_BLOCK_BYTES:
        block = CHECKSUM_BLOCK_BYTES + BLOCK_SUM_BYTES
        rest -= BLOCK_SUM_BYTES * ((rest + block - 1) // block)
    return rest if rest >= 0 and record_length(rest) == length else -1


def pack_header(
    target: bytearray | memoryview,
    at: int,
    seed: int,
    kind: int,
    codec: int,
    raw: int,
    stored: int,
    owner_a: int,
    owner_b: int,
    payload_hash: int,
    sums_checksum: int,
) -> None:
    """Write a header into `target[at:]`. `seed` is the segment's seed plus the record's offset in
    the segment."""
    assert raw <= RECORD_PAYLOAD_BYTES_MAX
    assert stored <= RECORD_PAYLOAD_BYTES_MAX
    fields = (
        RECORD_MAGIC,
        kind,
        codec,
        CIPHER_NONE,
        0,
        0,
        raw,
        stored,
        NO_NONCE,
        owner_a,
        owner_b,
        payload_hash & MASK_64,
        payload_hash >> 64,
        sums_checksum,
    )
    _pack_into(target, at, *fields, 0)
    view = memoryview(target)
    checksum = xxh3_64_intdigest(view[at : at + RECORD_CHECKED_BYTES], seed & MASK_64)
    view[at + RECORD_CHECKED_BYTES : at + RECORD_HEADER_BYTES] = checksum.to_bytes(8, "little")


def unpack_header(data: Buffer, at: int, seed: int) -> RecordHeader | None:
    """The header at `data[at:]`, or None when it does not verify for that place."""
    if len(data) - at < RECORD_HEADER_BYTES:
        return None
    (magic, kind, codec, cipher, _, _, raw, stored, _, owner_a, owner_b, low, high, sums, check) = (
        _unpack_from(data, at)
    )
    if magic != RECORD_MAGIC:
        return None
    checked = memoryview(data)[at : at + RECORD_CHECKED_BYTES]
    if check != xxh3_64_intdigest(checked, seed & MASK_64):
        return None
    if kind not in _KIND_NUMBERS or codec not in _CODEC_NUMBERS or cipher != CIPHER_NONE:
        return None
    if stored > RECORD_PAYLOAD_BYTES_MAX or raw > RECORD_PAYLOAD_BYTES_MAX:
        return None
    return RecordHeader(kind, codec, raw, stored, owner_a, owner_b, high << 64 | low, sums)


class PayloadSums(NamedTuple):
    """What a header says about its payload, and the sums that follow it."""

    hash: int
    sums: bytes
    sums_checksum: int


def sum_payload(buffers: Sequence[Buffer], stored: int) -> PayloadSums:
    """Hash a payload that lies in several buffers, without joining them."""
    if len(buffers) == 1:
        payload_hash = xxh3_128_intdigest(buffers[0])
    else:
        hasher = xxh3_128()
        for buffer in buffers:
            hasher.update(buffer)
        payload_hash = hasher.intdigest()
    if not block_count(stored):
        return PayloadSums(payload_hash, b"", 0)
    sums = b"".join(total.to_bytes(BLOCK_SUM_BYTES, "little") for total in _block_sums(buffers))
    assert len(sums) == BLOCK_SUM_BYTES * block_count(stored)
    return PayloadSums(payload_hash, sums, xxh3_64_intdigest(sums))


def _block_sums(buffers: Iterable[Buffer]) -> Iterable[int]:
    """xxh3-64 of every 64 KiB of the buffers' concatenation; the last block may be shorter."""
    open_block, filled = None, 0
    for buffer in buffers:
        view, at = memoryview(buffer), 0
        while at < len(view):
            piece = view[at : at + CHECKSUM_BLOCK_BYTES - filled]
            at += len(piece)
            if not filled and len(piece) == CHECKSUM_BLOCK_BYTES:
                yield xxh3_64_intdigest(piece)
                continue
            if open_block is None:
                open_block = xxh3_64()
            open_block.update(piece)
            filled += len(piece)
            if filled == CHECKSUM_BLOCK_BYTES:
                yield open_block.intdigest()
                open_block, filled = None, 0
    if open_block is not None:
        yield open_block.intdigest()


def verify_sums(header: RecordHeader, sums: Buffer) -> bool:
    """Whether the block sums after a header are the ones it was written with."""
    if not header.blocks:
        return header.sums_checksum == 0 and len(sums) == 0
    return xxh3_64_intdigest(sums) == header.sums_checksum


def verify_payload(header: RecordHeader, payload: Buffer) -> bool:
    """Whether these are the bytes the header was written for."""
    return len(payload) == header.stored and xxh3_128_intdigest(payload) == header.hash


def hash_bytes(payload_hash: int) -> bytes:
    """The 16 bytes of a payload's hash, as META checksums are compared."""
    return payload_hash.to_bytes(16, "little")
