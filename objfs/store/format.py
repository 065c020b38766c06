"""The constants of the log's byte format: magics, widths, kinds, codecs, and the sizes they must
have. docs/format/ explains them; `record`, `segment` and `footer` read and write them.

Always holds: everything is little-endian; records start at multiples of 16 bytes; the layout of
the segment header's first 12 bytes and of its checksum never changes, so that any version can
tell a newer segment from a damaged one.
"""

import struct
from enum import IntEnum
from typing import Final, TypeAlias

from objfs.base.limits import CHECKSUM_BLOCK_BYTES, RECORD_ALIGNMENT_BYTES

Buffer: TypeAlias = bytes | bytearray | memoryview

FORMAT_VERSION: Final = 1


class SegmentKind(IntEnum):
    """What a segment takes."""

    JOURNAL = 1  # META and small DATA, appended inline
    BULK = 2  # large DATA and CHECKPOINT, written by threads


class RecordKind(IntEnum):
    """What a record is. The meaning of its two owner fields depends on it."""

    DATA = 1  # owner: content, offset
    META = 2  # owner: sequence, synced_through
    CHECKPOINT = 3  # owner: sequence covered, part number | parts in total << 32 (in the last)
    FOOTER = 4  # owner: records in the segment, offset where they end


class Codec(IntEnum):
    """How the payload is stored."""

    NONE = 0
    ZSTD = 1


CIPHER_NONE: Final = 0

# magic, version, kind, reserved, reserved, store, id, epoch, salt, created (ns), checksum, end
SEGMENT_HEADER: Final = struct.Struct("<8sHBBI16sQQQQQ8s")
SEGMENT_HEADER_BYTES: Final = 80
SEGMENT_CHECKED_BYTES: Final = 64  # what the checksum covers
SEGMENT_MAGIC: Final = b"objfsseg"
SEGMENT_END: Final = b"\nheader\n"  # not zero at its end, as the magic at its start

# magic, kind, codec, cipher, reserved, key id, raw, stored, nonce, owner a, owner b,
# hash (low, high), checksum of the block sums, checksum of the header
RECORD_HEADER: Final = struct.Struct("<IBBBBIII12sQQQQQQ")
RECORD_HEADER_BYTES: Final = 80
RECORD_CHECKED_BYTES: Final = 72
RECORD_MAGIC: Final = 0xA5C30F0B
RECORD_MAGIC_BYTES: Final = RECORD_MAGIC.to_bytes(4, "little")
BLOCK_SUM_BYTES: Final = 8
NO_NONCE: Final = bytes(12)

# offset of the FOOTER record, its length, magic, checksum
TRAILER: Final = struct.Struct("<QQ8sQ")
TRAILER_BYTES: Final = 32
TRAILER_CHECKED_BYTES: Final = 24
TRAILER_MAGIC: Final = b"objfsend"

# META records, other records, runs, checkpoint parts, synced_through, stored bytes of META, of
# DATA, of CHECKPOINT, raw bytes of DATA, reserved
FOOTER_HEAD: Final = struct.Struct("<IIIIQQQQQQ")
FOOTER_RUN: Final = struct.Struct("<QQ")  # first sequence, count
FOOTER_PART: Final = struct.Struct("<QIIQII")  # sequence, part, total, offset, length, hash32
FOOTER_HEAD_BYTES: Final = 64
FOOTER_RUN_BYTES: Final = 16
FOOTER_PART_BYTES: Final = 32

MASK_64: Final = (1 << 64) - 1
MASK_32: Final = (1 << 32) - 1

assert SEGMENT_HEADER.size == SEGMENT_HEADER_BYTES
assert SEGMENT_HEADER_BYTES % RECORD_ALIGNMENT_BYTES == 0
assert SEGMENT_END[-1] != 0
assert RECORD_HEADER.size == RECORD_HEADER_BYTES
assert RECORD_HEADER_BYTES == RECORD_CHECKED_BYTES + 8
assert RECORD_HEADER_BYTES % RECORD_ALIGNMENT_BYTES == 0
assert TRAILER.size == TRAILER_BYTES
assert FOOTER_HEAD.size == FOOTER_HEAD_BYTES
assert FOOTER_RUN.size == FOOTER_RUN_BYTES
assert FOOTER_PART.size == FOOTER_PART_BYTES
assert CHECKSUM_BLOCK_BYTES % RECORD_ALIGNMENT_BYTES == 0


def aligned(offset: int) -> int:
    """The first place at or after `offset` where a record may start."""
    return (offset + RECORD_ALIGNMENT_BYTES - 1) & -RECORD_ALIGNMENT_BYTES
