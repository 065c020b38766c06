"""The log: one owner's view of all segments. Appends, group commit, verified reads.

Theory. Two segments are active: the *journal* takes META and small DATA, inline on the loop, one
`pwrite` a record; the *bulk* takes large DATA and CHECKPOINT, written by threads into reserved
space. One file for both would stall every small append behind the large ones.

Always holds:
- Appending a META is the commit. `last_sequence` only grows, by one, and only after the record is
  in the file. An append that failed left nothing behind: the file was cut back to its old end;
  where that failed too, `failed` is set and the log takes nothing more. (A power cut may undo the
  cut while nothing was synced after it: a failed append that was complete is then there.)
- `synced_sequence` <= `last_sequence`. It moves at the end of a sync to what `last_sequence` was
  at its start. Every META carries it, so that recovery can tell damage from a torn tail.
- A sync covers, in this order: new names, bulk segments, retired journals, the journal. Only then
  are retired segments sealed: a footer says that all records before it were durable.
- A failed sync is never retried and never forgotten: `failed` is set. What the page cache holds
  after it proves nothing; the next opening rewrites everything above `synced_through`.
- A segment id is never used again. Every opening that writes starts a new epoch, in new segments.

Large appends take one thread hop if a sample says that they do not shrink: their records' lengths
are known, so the loop reserves, and a thread hashes and writes. Else they take two: the first
compresses and hashes (only then the stored size is known), then the loop reserves, the second
writes. A sync does not wait for those in flight: the META that refers to them is not appended yet.

Long because every way to append shares one state: what is written, what is durable, what failed.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, NoReturn

import trio
from xxhash import xxh3_128_intdigest

from objfs.base.errors import DeviceFailed, InvalidRequest, ReadOnly, StorageError
from objfs.base.limits import (
    CHECKSUM_BLOCK_BYTES,
    LARGE_APPENDS_MAX,
    RECORD_PAYLOAD_BYTES_MAX,
)
from objfs.base.ports import Clock, Randomness, Threads
from objfs.base.settings import Settings
from objfs.base.types import Location, Stored
from objfs.store.active import ActiveSegments, Reservation, write_as_is, write_reserved
from objfs.store.bulk import BulkRecord, lengths_as_is, prepare_data, prepare_part
from objfs.store.checkpoints import Checkpoint
from objfs.store.compression import COMPRESSED_INLINE_BYTES_MIN, Compressor, Decompressor
from objfs.store.damage import RecoveryReport
from objfs.store.device import Space
from objfs.store.format import (
    MASK_32,
    MASK_64,
    RECORD_HEADER_BYTES,
    Buffer,
    Codec,
    RecordKind,
    aligned,
)
from objfs.store.groupcommit import GroupCommit
from objfs.store.history import Meta, MetaReader
from objfs.store.placement import Placement
from objfs.store.reader import Reader
from objfs.store.reclaiming import Reclaimer
from objfs.store.record import hash_bytes, pack_header, sum_payload
from objfs.store.recovery import References, recover
from objfs.store.verification import Verifier
from objfs.store.writer import SegmentWriter, note_data, note_meta, storage_error


class LogStatistics(NamedTuple):
    """Counts and bytes; the counters run from opening."""

    segments: int
    journal_segments: int
    segment_bytes: int  # of all segment files
    meta_bytes: int  # stored META records
    data_bytes: int  # stored DATA records
    raw_data_bytes: int  # what they hold
    meta_bytes_since_checkpoint: int
    device_free_bytes: int
    appends: int
    appended_bytes: int
    syncs: int
    cache_hits: int
    cache_misses: int
    damage: int


class Log:
    """See the module. Used on one trio loop; `open` and the reads also without."""

    def __init__(
        self,
        placement: Placement,
        *,
        store_id: bytes,
        settings: Settings,
        clock: Clock,
        randomness: Randomness,
        threads: Threads,
        references: References,
        read_only: bool,
    ) -> None:
        recovered = recover(placement, store_id, references, read_only)
        self._placement = placement
        self._threads = threads
        self._read_only = read_only
        self._catalog = recovered.catalog
        self._checkpoints = recovered.checkpoints
        self.store_id = store_id
        self.recovery: RecoveryReport = recovered.report
        self.last_sequence = recovered.last_sequence
        self.synced_sequence = recovered.synced_sequence
        self.failed: StorageError | None = None
        self._compressor = (
            None if settings.compression == "none" else Compressor(settings.compression_level)
        )
        decompressor = Decompressor()
        self._reader = Reader(
            placement, self._catalog.seed, threads, settings.block_cache_bytes, decompressor
        )
        self.verifier = Verifier(placement, self._catalog, self.checkpoints)
        self._metas = MetaReader(placement, self._catalog, decompressor, self.recovery)
        self._active = ActiveSegments(
            placement,
            self._catalog,
            store_id=store_id,
            epoch=recovered.epoch + 1,
            next_id=recovered.next_id,
            segment_bytes=settings.segment_bytes,
            clock=clock,
            randomness=randomness,
            fail=self._fail,
        )
        self.reclaimer = Reclaimer(
            placement,
            self._catalog,
            self._checkpoints,
            self._reader,
            threads=threads,
            compressor=self._compressor,
            decompressor=decompressor,
            write=self._write_bulk,
        )
        self._commit = GroupCommit(self._sync_round, self._check_failed)
        self._large_slots = trio.Semaphore(LARGE_APPENDS_MAX)
        self._checkpoint_turn = trio.Lock()
        self._head = bytearray(RECORD_HEADER_BYTES)
        self._appended_records = 0
        self._appended_bytes = 0
        self._closed = False

    @classmethod
    def open(
        cls,
        placement: Placement,
        *,
        store_id: bytes,
        settings: Settings,
        clock: Clock,
        randomness: Randomness,
        threads: Threads,
        references: References,
        read_only: bool = False,
    ) -> "Log":
        """Open a store's log, new or not, and recover it. Blocks while it reads.

        `references` gives the DATA that a META payload needs, as (location, hash32). Errors:
        ForeignSegment, NewerFormat, StorageError. Damage is no error; see `recovery`.
        """
        return cls(
            placement,
            store_id=store_id,
            settings=settings,
            clock=clock,
            randomness=randomness,
            threads=threads,
            references=references,
            read_only=read_only,
        )

    # --- Inline appends --------------------------------------------------------------------------

    def append_meta(self, payload: bytes) -> bytes:
        """Commit: the next META. Returns its 16-byte checksum. NoSpace, DeviceFailed, ReadOnly."""
        sequence = self.last_sequence + 1
        _, payload_hash = self._append(RecordKind.META, sequence, self.synced_sequence, payload)
        self.last_sequence = sequence
        return hash_bytes(payload_hash)

    def append_data(self, content: int, offset: int, data: Buffer) -> Stored:
        """Small DATA, into the journal. Same errors."""
        location, payload_hash = self._append(RecordKind.DATA, content, offset, data)
        return Stored(offset, len(data), location, payload_hash & MASK_32)

    def _append(
        self, kind: RecordKind, owner_a: int, owner_b: int, data: Buffer
    ) -> tuple[Location, int]:
        """One record at the journal's end. No await, and no copy of the payload."""
        raw = len(data)
        if raw > RECORD_PAYLOAD_BYTES_MAX:
            raise InvalidRequest(f"a payload of {raw} bytes: the most is a record of 64 MiB")
        journal = self._active.journal or self._begin_journal()
        if self.failed is not None:
            self._check_failed()
        codec = Codec.NONE
        if raw >= COMPRESSED_INLINE_BYTES_MIN and self._compressor is not None:
            packed = self._compressor.compress(data)
            if packed is not None:
                data, codec = packed, Codec.ZSTD
        stored = len(data)
        buffers: tuple[Buffer, ...]
        if stored <= CHECKSUM_BLOCK_BYTES:
            payload_hash, sums_checksum = xxh3_128_intdigest(data), 0
            buffers = (self._head, data)
            length = RECORD_HEADER_BYTES + stored
        else:
            payload_hash, sums, sums_checksum = sum_payload((data,), stored)
            buffers = (self._head, sums, data)
            length = RECORD_HEADER_BYTES + len(sums) + stored
        offset = journal.end
        pack_header(
            self._head,
            0,
            (journal.seed + offset) & MASK_64,
            kind,
            codec,
            raw,
            stored,
            owner_a,
            owner_b,
            payload_hash,
            sums_checksum,
        )
        try:
            journal.file.write(offset, buffers, length)
        except OSError as error:
            self._cut_back(journal, error)
        journal.end = aligned(offset + length)
        journal.dirty = True
        if kind == RecordKind.META:
            note_meta(journal.segment, owner_a, offset, length)
        else:
            note_data(journal.segment, offset, length, raw)
        self._count(length)
        self._active.appended(journal)
        return Location(journal.segment.header.id, offset, length), payload_hash

    def _begin_journal(self) -> SegmentWriter:
        self._check_writable()
        return self._active.begin_journal()

    def _cut_back(self, journal: SegmentWriter, error: OSError) -> NoReturn:
        """An append failed: take back what it left, so that the next one follows the last good
        record."""
        what = f"appending to segment {journal.segment.id:016x}"
        journal.dirty = True
        try:
            journal.file.truncate(journal.end)
        except OSError as cut_error:
            self._fail(storage_error(cut_error, f"{what} failed ({error}); cutting it back too"))
            self._check_failed()
        raise storage_error(error, what) from error

    # --- Large appends ---------------------------------------------------------------------------

    async def append_large(
        self, content: int, offset: int, buffers: Sequence[Buffer]
    ) -> list[Stored]:
        """DATA in the bulk segment, in as many records as it takes; the buffers must not change
        meanwhile. Returns when it is written (not synced). NoSpace, DeviceFailed, ReadOnly."""
        views = [view for view in map(_byte_view, buffers) if len(view)]
        async with self._large_slots:
            self._check_writable()
            compressor = self._compressor
            if compressor is None or not compressor.is_compressible(views):
                lengths = lengths_as_is(sum(map(len, views)))
                records, locations = await self._fill(lengths, write_as_is, content, offset, views)
            else:
                records = await self._threads.run(prepare_data, content, offset, views, compressor)
                locations = await self._write_bulk(records)
        return [
            Stored(record.header.owner_b, record.header.raw, location, record.header.hash32)
            for record, location in zip(records, locations, strict=True)
        ]

    async def _write_bulk(self, records: Sequence[BulkRecord]) -> list[Location]:
        """Reserve, and write in a thread."""
        lengths = [record.header.length for record in records]
        _, locations = await self._fill(lengths, write_reserved, records)
        return locations

    async def _fill(
        self,
        lengths: Sequence[int],
        write: Callable[..., Sequence[BulkRecord]],
        *arguments: object,
    ) -> tuple[Sequence[BulkRecord], list[Location]]:
        """Reserve room for records of these lengths, which `write(reserved, *arguments)` fills in
        a thread and returns."""
        self._check_writable()
        reserved: list[Reservation] = []
        done = False
        try:
            for length in lengths:
                reserved.append(self._active.reserve(length))
            records = await self._threads.run(write, reserved, *arguments)
            done = True
        except OSError as error:
            raise storage_error(error, "writing large data") from error
        finally:
            if not done:
                self._active.abandon(reserved)
        for (writer, offset, length), record in zip(reserved, records, strict=True):
            writer.fulfilled(record.header, offset)
            self._count(length)
        locations = [
            Location(writer.segment.id, offset, length) for writer, offset, length in reserved
        ]
        return records, locations

    # --- Sync ------------------------------------------------------------------------------------

    async def sync(self) -> None:
        """Everything appended before the call is durable when this returns. DeviceFailed, for
        this and all later calls, when a sync failed."""
        await self._commit.wait_synced()

    async def seal_active(self) -> None:
        """Sync, and seal the active segments: the next appends begin new ones. DeviceFailed."""
        if self._active.retire_all():
            self._commit.appends += 1  # the footers
            await self.sync()

    async def _sync_round(self) -> None:
        """One round of the group commit. Large appends in flight are not waited for."""
        planned = self._active.plan_round(self.last_sequence)
        try:
            sealed = await self._threads.run(self._active.run_round, planned)
        except OSError as error:
            self._fail(
                DeviceFailed(
                    f"a sync failed ({error.strerror or error}): the store is read-only until "
                    "it is opened again; check the device"
                )
            )
            self._check_failed()
        except BaseException:
            self._fail(DeviceFailed("a sync was interrupted: open the store again"))
            raise
        else:
            self.synced_sequence = planned.sequence
            self._active.sealed(sealed)

    # --- Checkpoints -----------------------------------------------------------------------------

    async def append_checkpoint(self, sequence: int, parts: Iterable[bytes]) -> Checkpoint:
        """Store a checkpoint of the state after META `sequence`. It counts, and is returned, when
        it was synced and read back. `parts` is iterated in threads; it has at least one. Errors
        of the appends; DataLost when it does not read back."""
        assert 0 <= sequence <= self.last_sequence
        async with self._checkpoint_turn:
            stored = await self._write_parts(sequence, iter(parts))
            await self.sync()
            for location, hash32 in stored:
                await self._threads.run(self._reader.verify, location, hash32)
            checkpoint = Checkpoint(sequence, tuple(stored))
            self._checkpoints.insert(0, checkpoint)
            return checkpoint

    async def _write_parts(
        self, sequence: int, parts: Iterator[bytes]
    ) -> list[tuple[Location, int]]:
        stored: list[tuple[Location, int]] = []
        part = await self._threads.run(next, parts, None)
        if part is None:
            raise InvalidRequest("a checkpoint without parts")
        while part is not None:
            following = await self._threads.run(next, parts, None)
            total = len(stored) + 1 if following is None else 0
            record = await self._threads.run(
                prepare_part, sequence, len(stored), total, part, self._compressor
            )
            (location,) = await self._write_bulk([record])
            stored.append((location, record.header.hash32))
            part = following
        return stored

    def checkpoints(self) -> list[Checkpoint]:
        """The complete ones, newest first."""
        return list(self._checkpoints)

    def read_checkpoint(self, checkpoint: Checkpoint) -> Iterator[bytes]:
        """Its parts, verified. DataLost."""
        for location, hash32 in checkpoint.parts:
            yield self._reader.read_whole(location, hash32)

    # --- Reads -----------------------------------------------------------------------------------

    def read_nowait(
        self, location: Location, hash32: int, start: int, length: int
    ) -> Buffer | None:
        """Raw bytes [start, start + length) of a DATA record, verified; None when the device would
        have to wait. DataLost."""
        return self._reader.read_nowait(location, hash32, start, length)

    async def read(self, location: Location, hash32: int, start: int, length: int) -> Buffer:
        """The same, in a thread when it has to wait. DataLost."""
        return await self._reader.read(location, hash32, start, length)

    def read_blocking(self, location: Location, hash32: int, start: int, length: int) -> Buffer:
        """The same for tools without a loop. DataLost."""
        return self._reader.read_blocking(location, hash32, start, length)

    def metas(self, after: int) -> Iterator[Meta]:
        """Every META above `after`, in order, verified, to the end of the log as it is when the
        iterator gets there. Damaged ones are skipped and noted in `recovery.damage`."""
        sequence = after
        while sequence < self.last_sequence:
            end = self.last_sequence
            yield from self._metas.between(sequence, end)
            sequence = end

    def meta_checksum(self, sequence: int) -> bytes | None:
        """The checksum of one META; None when the log does not hold it, or not intact."""
        if not 0 < sequence <= self.last_sequence:
            return None
        for meta in self._metas.between(sequence - 1, sequence):
            return meta.checksum
        return None

    # --- State -----------------------------------------------------------------------------------

    def space(self) -> Space:
        """How full the device is. DeviceFailed."""
        try:
            return self._placement.space()
        except OSError as error:
            raise storage_error(error, "asking for the device's free space") from error

    def free_bytes(self) -> int:
        """What the device can still take."""
        return self.space().available

    def statistics(self) -> LogStatistics:
        """Counts and bytes."""
        segments = list(self._catalog)
        totals = [segment.index.totals for segment in segments]
        return LogStatistics(
            segments=len(segments),
            journal_segments=sum(segment.is_journal for segment in segments),
            segment_bytes=sum(segment.size for segment in segments) + self._active.unsealed_bytes(),
            meta_bytes=sum(total.meta_bytes for total in totals),
            data_bytes=sum(total.data_bytes for total in totals),
            raw_data_bytes=sum(total.raw_data_bytes for total in totals),
            meta_bytes_since_checkpoint=self.meta_bytes_since_checkpoint(),
            device_free_bytes=self.free_bytes(),
            appends=self._appended_records,
            appended_bytes=self._appended_bytes,
            syncs=self._commit.rounds,
            cache_hits=self._reader.hits,
            cache_misses=self._reader.misses,
            damage=len(self.recovery.damage),
        )

    def meta_bytes_since_checkpoint(self) -> int:
        """Stored bytes of the META above the newest checkpoint; inside a segment an estimate."""
        since = self._checkpoints[0].sequence if self._checkpoints else 0
        total = 0
        for segment in self._catalog:
            index = segment.index
            if index.last_sequence > since and index.meta_count:
                newer = min(index.last_sequence - since, index.meta_count)
                total += index.totals.meta_bytes * newer // index.meta_count
        return total

    async def close(self) -> None:
        """Sync, seal the active segments, close the files. A log that failed is only closed.
        DeviceFailed."""
        if self._closed:
            return
        self._closed = True
        try:
            if self.failed is None:
                await self.seal_active()
        finally:
            self._active.clear()
            self._placement.close()

    # --- Inner ----------------------------------------------------------------------------------

    def _count(self, length: int) -> None:
        self._commit.appends += 1
        self._appended_records += 1
        self._appended_bytes += length

    def _fail(self, error: StorageError) -> None:
        """Takes nothing more. The first reason stays."""
        if self.failed is None:
            self.failed = error

    def _check_failed(self) -> None:
        if self.failed is not None:
            raise DeviceFailed(f"the log has failed: {self.failed}") from self.failed

    def _check_writable(self) -> None:
        if self._read_only:
            raise ReadOnly("the store was opened read-only")
        if self._closed:
            raise ReadOnly("the log is closed")
        self._check_failed()


def _byte_view(buffer: Buffer) -> memoryview:
    view = memoryview(buffer)
    return view if view.format == "B" and view.ndim == 1 else view.cast("B")


__all__ = ["Checkpoint", "Log", "LogStatistics", "Meta"]
