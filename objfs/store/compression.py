"""Compression: what shrinks by a tenth is stored compressed, everything else as it is.

zstandard's objects must not be used by two threads at once, so they are kept in pools; taking one
and giving it back are single list operations, atomic under the interpreter's lock. zstandard
releases that lock while it works.
"""

from collections.abc import Sequence
from typing import Final

from zstandard import ZstdCompressor, ZstdDecompressor, ZstdError

from objfs.base.errors import DataLost
from objfs.base.limits import KIB
from objfs.store.format import Buffer, Codec
from objfs.store.record import RecordHeader

COMPRESSED_INLINE_BYTES_MIN: Final = 512  # below, the frame eats what it saves
_SAMPLE_BYTES: Final = 8 * KIB
_KEEP_TENTHS: Final = 9  # stored compressed only at 9/10 of its size or less


class Compressor:
    """Compresses single payloads. Level 1 packs 4 KiB in some 10 us."""

    def __init__(self, level: int) -> None:
        self._level = level
        self._idle: list[ZstdCompressor] = []
        self._sampler = ZstdCompressor(level=1)

    def compress(self, data: Buffer) -> bytes | None:
        """The compressed bytes, or None when they are not worth it."""
        compressor = self._take()
        try:
            packed = compressor.compress(data)
        finally:
            self._idle.append(compressor)
        return packed if _is_worth_it(packed, data) else None

    def is_compressible(self, buffers: Sequence[memoryview]) -> bool:
        """Whether samples from the first, the middle and the last buffer shrink. A quick look, at
        the lowest level, whatever the level: some 50 us. Not for two threads at a time."""
        if not buffers:
            return False
        chosen = {id(view): view for view in (buffers[0], buffers[len(buffers) // 2], buffers[-1])}
        samples = []
        for view in chosen.values():
            start = max(0, len(view) // 2 - _SAMPLE_BYTES // 2)
            samples.append(view[start : start + _SAMPLE_BYTES])
        joined = b"".join(samples)
        return _is_worth_it(self._sampler.compress(joined), joined)

    def _take(self) -> ZstdCompressor:
        try:
            return self._idle.pop()
        except IndexError:
            return ZstdCompressor(level=self._level, write_content_size=True)


def _is_worth_it(packed: bytes, data: Buffer) -> bool:
    return 10 * len(packed) <= _KEEP_TENTHS * len(data)


class Decompressor:
    """Unpacks single payloads."""

    def __init__(self) -> None:
        self._idle: list[ZstdDecompressor] = []

    def unpack(self, header: RecordHeader, payload: Buffer) -> bytes:
        """The raw payload of verified stored bytes. DataLost."""
        if header.codec == Codec.ZSTD:
            return self.decompress(payload, header.raw)
        return bytes(payload)

    def decompress(self, data: Buffer, raw: int) -> bytes:
        """The `raw` bytes. DataLost when the frame holds something else: it verified, so it was
        written wrong."""
        try:
            decompressor = self._idle.pop()
        except IndexError:
            decompressor = ZstdDecompressor()
        try:
            unpacked = decompressor.decompress(data, max_output_size=raw)
        except ZstdError as error:
            raise DataLost(f"a verified payload does not decompress: {error}") from error
        finally:
            self._idle.append(decompressor)
        if len(unpacked) != raw:
            raise DataLost(f"a payload decompressed to {len(unpacked)} bytes, not {raw}")
        return unpacked
