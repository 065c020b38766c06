"""Verified reads by location, through two bounded caches.

- `blocks`: verified raw bytes, an LRU bounded in bytes. A record with a stored payload of up to
  64 KiB, and every compressed record, is one block; a larger one has a block per 64 KiB.
- `heads`: headers and block sums of the larger ones, bounded in number.

Always holds: both are keyed with the hash32 that the reader asked for, so a hit is as good a proof
as a read from the device. They are changed on the loop only; a thread gets what it needs and
returns what it read.
"""

from collections.abc import Callable
from typing import NamedTuple

import trio
from cachetools import LRUCache

from objfs.base.errors import DataLost
from objfs.base.limits import CHECKSUM_BLOCK_BYTES, RECORD_HEADS_CACHED_MAX
from objfs.base.ports import Threads
from objfs.base.types import Location
from objfs.store.compression import Decompressor
from objfs.store.format import RECORD_HEADER_BYTES, Buffer, Codec, RecordKind
from objfs.store.placement import Placement
from objfs.store.record import RecordHeader
from objfs.store.verified import Head, Place, lost, read_blocks, read_head, read_record

_RUN_BLOCKS = 4  # this many at once are a stream: they would only push others out of the cache
_SINGLE_BYTES = RECORD_HEADER_BYTES + CHECKSUM_BLOCK_BYTES  # longest record without block sums

_ENTRY_BYTES = 850  # key, buffer objects, and places in the cache's three dictionaries

_Key = tuple[int, int, int, int]  # segment, offset, hash32, block


class _Loaded(NamedTuple):
    """What a read of the device brought."""

    head: Head | None
    blocks: dict[int, Buffer]
    run: bytearray | None = None  # a long run of blocks in one piece, not to be cached


class Reader:
    """Reads DATA and CHECKPOINT payloads. `seed` gives the seed of a segment, None when the store
    does not have it."""

    def __init__(
        self,
        placement: Placement,
        seed: Callable[[int], int | None],
        threads: Threads,
        cache_bytes: int,
        decompressor: Decompressor,
    ) -> None:
        self._placement = placement
        self._seed = seed
        self._threads = threads
        self._decompressor = decompressor
        self._blocks: LRUCache[_Key, Buffer] = LRUCache(cache_bytes, getsizeof=_cost)
        self._heads: LRUCache[tuple[int, int, int], Head] = LRUCache(RECORD_HEADS_CACHED_MAX)
        self.hits = 0
        self.misses = 0

    def read_nowait(
        self, location: Location, hash32: int, start: int, length: int
    ) -> Buffer | None:
        """Raw bytes [start, start + length) of a record; None when the device would have to
        wait. DataLost."""
        cached = self._from_cache(location, hash32, start, length)
        if cached is not None:
            self.hits += 1
            return cached
        head = self._heads.get((location.segment, location.offset, hash32))
        loaded = self._load(self._place(location), hash32, start, length, head, False)
        if loaded is None:
            return None
        return self._finish(location, hash32, start, length, loaded)

    def read_blocking(self, location: Location, hash32: int, start: int, length: int) -> Buffer:
        """The same, waiting for the device."""
        cached = self._from_cache(location, hash32, start, length)
        if cached is not None:
            self.hits += 1
            return cached
        head = self._heads.get((location.segment, location.offset, hash32))
        loaded = self._load(self._place(location), hash32, start, length, head, True)
        assert loaded is not None
        return self._finish(location, hash32, start, length, loaded)

    async def read(self, location: Location, hash32: int, start: int, length: int) -> Buffer:
        """The same, waiting in a thread."""
        cached = self._from_cache(location, hash32, start, length)
        if cached is not None:
            self.hits += 1
            await trio.lowlevel.checkpoint()
            return cached
        head = self._heads.get((location.segment, location.offset, hash32))
        place = self._place(location)
        loaded = await self._threads.run(self._load, place, hash32, start, length, head, True)
        assert loaded is not None
        return self._finish(location, hash32, start, length, loaded)

    def verify(self, location: Location, hash32: int) -> RecordHeader:
        """Read a whole record from the device, caches left aside. DataLost."""
        header, _ = read_record(self._place(location))
        _check_hash(location, header, hash32)
        return header

    def read_whole(self, location: Location, hash32: int) -> bytes:
        """The whole raw payload from the device, caches left aside. DataLost."""
        header, payload = read_record(self._place(location))
        _check_hash(location, header, hash32)
        return self._decompressor.unpack(header, payload)

    def _place(self, location: Location) -> Place:
        segment, offset, length = location
        seed = self._seed(segment)
        if seed is None:
            raise lost(segment, offset, "the segment is missing")
        try:
            file = self._placement.reader(segment)
        except OSError as error:
            raise lost(segment, offset, f"the segment does not open ({error})") from error
        return Place(file, seed, segment, offset, length)

    def _from_cache(
        self, location: Location, hash32: int, start: int, length: int
    ) -> Buffer | None:
        """The bytes when every block of them is cached."""
        segment, offset, whole = location
        if whole > _SINGLE_BYTES:
            head = self._heads.get((segment, offset, hash32))
            if head is None:
                return None
            blocks = _blocks_wanted(head.header, start, length)
        else:
            blocks = _FIRST
        found: dict[int, Buffer] = {}
        for index in blocks:
            block = self._blocks.get((segment, offset, hash32, index))
            if block is None:
                return None
            found[index] = block
        return _assemble(location, found, start, length)

    def _load(
        self,
        place: Place,
        hash32: int,
        start: int,
        length: int,
        head: Head | None,
        wait: bool,
    ) -> _Loaded | None:
        """Read and verify what holds [start, start + length). In any thread."""
        if place.length <= _SINGLE_BYTES:
            return self._load_single(place, hash32, wait)
        if head is None:
            head = read_head(place, wait)
            if head is None:
                return None
            _check_hash(place, head.header, hash32)
        if head.header.codec != Codec.NONE:
            return self._load_single(place, hash32, wait, head)
        blocks = _blocks_wanted(head.header, start, length)
        read = read_blocks(place, head, blocks.start, len(blocks), wait)
        if read is None:
            return None
        if len(blocks) >= _RUN_BLOCKS:
            return _Loaded(head, {blocks.start: read}, read)
        if len(blocks) == 1:
            return _Loaded(head, {blocks.start: read})
        cuts = range(0, len(read), CHECKSUM_BLOCK_BYTES)
        split = [read[at : at + CHECKSUM_BLOCK_BYTES] for at in cuts]
        return _Loaded(head, dict(zip(blocks, split, strict=True)))

    def _load_single(
        self, place: Place, hash32: int, wait: bool, head: Head | None = None
    ) -> _Loaded | None:
        found = read_record(place, wait)
        if found is None:
            return None
        header, payload = found
        _check_hash(place, header, hash32)
        if header.codec == Codec.NONE:
            return _Loaded(head, {0: payload})
        try:
            return _Loaded(head, {0: self._decompressor.decompress(payload, header.raw)})
        except DataLost as error:
            raise lost(place.segment, place.offset, str(error)) from error

    def _finish(
        self, location: Location, hash32: int, start: int, length: int, loaded: _Loaded
    ) -> Buffer:
        """Cache what was read, and hand out what was asked for. On the loop."""
        self.misses += 1
        segment, offset, _ = location
        if loaded.head is not None:
            self._heads[segment, offset, hash32] = loaded.head
        if loaded.run is None:
            for index, block in loaded.blocks.items():
                if _cost(block) <= self._blocks.maxsize:
                    self._blocks[segment, offset, hash32, index] = block
        return _assemble(location, loaded.blocks, start, length)


_FIRST = range(1)


def _cost(block: Buffer) -> int:
    """Memory of a cached block: small ones cost more than their bytes."""
    return len(block) + _ENTRY_BYTES


def _blocks_wanted(header: RecordHeader, start: int, length: int) -> range:
    if header.codec != Codec.NONE:
        return _FIRST
    if start + length > header.raw or not length:
        return range(min(start // CHECKSUM_BLOCK_BYTES, header.blocks - 1), header.blocks)
    end = (start + length + CHECKSUM_BLOCK_BYTES - 1) // CHECKSUM_BLOCK_BYTES
    return range(start // CHECKSUM_BLOCK_BYTES, end)


def _assemble(location: Location, blocks: dict[int, Buffer], start: int, length: int) -> Buffer:
    """[start, start + length) out of the blocks that hold it."""
    first = next(iter(blocks))
    at = start - first * CHECKSUM_BLOCK_BYTES
    if len(blocks) == 1:
        result = memoryview(blocks[first]).toreadonly()[at : at + length]
    else:
        result = memoryview(b"".join(blocks.values()))[at : at + length]
    if len(result) != length:
        raise lost(
            location.segment,
            location.offset,
            f"the record does not hold {length} bytes at {start}",
        )
    return result


def _check_hash(place: Location | Place, header: RecordHeader, hash32: int) -> None:
    """The pair of the assertion made when the record was written: what came is what was asked
    for."""
    if header.hash32 != hash32 or header.kind not in (RecordKind.DATA, RecordKind.CHECKPOINT):
        raise lost(
            place.segment,
            place.offset,
            f"another record lies there (hash {header.hash32:08x}, not {hash32:08x})",
        )
