"""The log, read by another process than its owner: no lock, no recovery, nothing is ever written.

Nothing is known of the segments in advance. One is learned when a row first refers to it, by its
header; the owner may have made it since, and may remove it. What is read is verified by the hash
in the row as always, so an active segment, or a file that takes an old one's place, does no harm:
a record is there as a whole before a committed row refers to it.
"""

import trio

from objfs.base.errors import NewerFormat
from objfs.base.ports import Threads
from objfs.base.settings import Settings
from objfs.store.catalog import Catalog
from objfs.store.compression import Decompressor
from objfs.store.damage import RecoveryReport
from objfs.store.format import SEGMENT_HEADER_BYTES
from objfs.store.log import Log, LogStatistics
from objfs.store.placement import Placement
from objfs.store.reader import Reader
from objfs.store.segment import decode_segment_header


class LogBeside(Log):
    """Reads only. `sequence` is the last META that the index which it is read with has."""

    def __init__(
        self,
        placement: Placement,
        *,
        store_id: bytes,
        settings: Settings,
        threads: Threads,
        sequence: int,
    ) -> None:
        # What the owner's constructor makes is for appends, or asks every segment.
        self._placement = placement
        self.store_id = store_id
        self._threads = threads
        self._read_only = True
        self._closed = False
        self._catalog = Catalog()
        self._checkpoints = []
        self._seeds: dict[int, int] = {}
        self._reader = Reader(
            placement, self._seed, threads, settings.block_cache_bytes, Decompressor()
        )
        self.recovery = RecoveryReport(last_sequence=sequence)
        self.last_sequence = self.synced_sequence = sequence
        self.failed = None

    def _seed(self, segment: int) -> int | None:
        """The seed of a segment's checksums; None when there is no such segment of this store."""
        seed = self._seeds.get(segment)
        if seed is None:
            seed = self._learn(segment)
            if seed is not None:
                self._seeds[segment] = seed
        return seed

    def _learn(self, segment: int) -> int | None:
        self._placement.segments()
        try:
            head = self._placement.reader(segment).read(0, SEGMENT_HEADER_BYTES)
            header = decode_segment_header(head)
        except (OSError, NewerFormat):
            return None
        if header is None or header.store != self.store_id or header.id != segment:
            return None
        return header.seed

    def statistics(self) -> LogStatistics:
        """Counts and bytes, as far as they are known from beside."""
        return LogStatistics(
            segments=len(self._placement.segments()),
            journal_segments=0,
            segment_bytes=0,
            meta_bytes=0,
            data_bytes=0,
            raw_data_bytes=0,
            meta_bytes_since_checkpoint=0,
            device_free_bytes=self.free_bytes(),
            appends=0,
            appended_bytes=0,
            syncs=0,
            cache_hits=self._reader.hits,
            cache_misses=self._reader.misses,
            damage=0,
        )

    async def sync(self) -> None:
        """There is nothing to sync."""
        await trio.lowlevel.checkpoint()

    async def close(self) -> None:
        """Close the files."""
        await trio.lowlevel.checkpoint()
        self._placement.close()
