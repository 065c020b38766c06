"""The segment header: pure codec. A segment's name, its identity and its checksum seed.

A header is written once, before any record, and never changes. Its salt is random and known to
nobody who only sees the store through its doors; every record's checksum is seeded with it, so a
user's file that contains records, or a whole segment, is never taken for some.
"""

import re
import struct
from typing import Final, NamedTuple

from xxhash import xxh3_64_intdigest

from objfs.base.errors import NewerFormat
from objfs.store.format import (
    FORMAT_VERSION,
    SEGMENT_CHECKED_BYTES,
    SEGMENT_END,
    SEGMENT_HEADER,
    SEGMENT_HEADER_BYTES,
    SEGMENT_MAGIC,
    Buffer,
    SegmentKind,
)

_NAME: Final = re.compile(r"([0-9a-f]{16})\.(journal|bulk)")
_SEED: Final = struct.Struct("<QQ")


class SegmentHeader(NamedTuple):
    """What the first 80 bytes of a segment say."""

    store: bytes  # 16 bytes: the store's UUID
    id: int
    epoch: int
    kind: SegmentKind
    salt: int
    created_ns: int

    @property
    def seed(self) -> int:
        """What the checksums of this segment's records are seeded with, before their offset."""
        return xxh3_64_intdigest(_SEED.pack(self.salt, self.id))


def encode_segment_header(header: SegmentHeader) -> bytes:
    """The 80 bytes."""
    assert len(header.store) == 16
    fields = (
        SEGMENT_MAGIC,
        FORMAT_VERSION,
        header.kind,
        0,
        0,
        header.store,
        header.id,
        header.epoch,
        header.salt,
        header.created_ns,
    )
    packed = SEGMENT_HEADER.pack(*fields, 0, SEGMENT_END)
    return SEGMENT_HEADER.pack(
        *fields, xxh3_64_intdigest(packed[:SEGMENT_CHECKED_BYTES]), SEGMENT_END
    )


def decode_segment_header(data: Buffer) -> SegmentHeader | None:
    """The header, or None when the bytes are none or do not verify. NewerFormat."""
    if len(data) < SEGMENT_HEADER_BYTES:
        return None
    magic, version, kind, _, _, store, id_, epoch, salt, created, checksum, end = (
        SEGMENT_HEADER.unpack_from(data)
    )
    if magic != SEGMENT_MAGIC or end != SEGMENT_END:
        return None
    if checksum != xxh3_64_intdigest(data[:SEGMENT_CHECKED_BYTES]):
        return None
    if version > FORMAT_VERSION:
        raise NewerFormat(
            f"segment {id_} has format version {version}, this objfs knows {FORMAT_VERSION}: "
            "use the objfs that wrote it or a later one"
        )
    if version != FORMAT_VERSION or kind not in (SegmentKind.JOURNAL, SegmentKind.BULK):
        return None
    return SegmentHeader(store, id_, epoch, SegmentKind(kind), salt, created)


def is_torn_header(data: Buffer) -> bool:
    """Whether a header that does not verify was never completely written: its first or its last
    byte, which are never zero, is."""
    return len(data) < SEGMENT_HEADER_BYTES or 0 in (data[0], data[SEGMENT_HEADER_BYTES - 1])


def segment_name(segment: int, kind: SegmentKind) -> str:
    """The name of a segment's file."""
    return f"{segment:016x}.{kind.name.lower()}"


def parse_segment_name(name: str) -> tuple[int, SegmentKind] | None:
    """(id, kind), or None when the name is no segment's."""
    match = _NAME.fullmatch(name)
    return (int(match[1], 16), SegmentKind[match[2].upper()]) if match else None
