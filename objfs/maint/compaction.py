"""Compaction: segments with much that is dead are emptied and removed.

For one segment, in this order, so that a crash anywhere leaves garbage and never a hole:

1. Appends that no row refers to yet are waited for: the segment is sealed, so none follow.
2. What rows refer to is gathered, as a union of ranges for each record, from the index's order by
   segment, off the loop.
3. The live bytes are copied, verified, into the bulk segment; a sync.
4. The rows are moved in batches, each conditional on the old location (`objfs/volume/moving.py`).
5. A sync, a META that says `synced_through` and notes the removal, a sync of that, a commit of the
   index. Then, if no row refers to the segment, it is removed.

Everything goes into bulk segments, the small records of journals too: a bulk segment can be freed
at any time, a journal only below the second newest checkpoint. Neighbours in a content become one
record, whatever their rows' intervals; rows with equal intervals become one row.

A record that does not verify ends the work on its segment, which is kept with all that was not
moved yet, and is remembered as damage with the files that it hits. A full device ends the round;
what was copied until then is moved, so the next round goes on there.

How much of a segment is dead is estimated in memory: an exact count, good for as long as the number
of rows that lie in the segment stays the same. Those numbers come from the index alone.
"""

import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

import msgspec
import trio

from objfs.base import limits
from objfs.base.errors import NoSpace
from objfs.maint.gradually import let_go
from objfs.maint.hits import hits_of
from objfs.maint.scheduler import Budget, Job, Result
from objfs.meta.maintenance import Reader, open_reader
from objfs.meta.rows import Extent, ExtentPast, Setting
from objfs.meta.sqlite import SqliteEngine
from objfs.meta.tables import EXTENT, EXTENT_PAST, Key
from objfs.store.reclaiming import HAS_CHECKPOINT, NEEDS_CHECKPOINTS, Copied, LiveRecord, SegmentUse
from objfs.volume.damage import KnownDamage, remember
from objfs.volume.moving import is_referred_to, move_extents, move_past_extents
from objfs.volume.volume import Volume

logger = logging.getLogger(__name__)

JOB = "compaction"
_NOTE = "compaction"  # the row that says what was removed last

_Moves = dict[int, Copied | Sequence[Copied]]  # see `objfs/volume/moving.py`


class Candidate(NamedTuple):
    """A segment worth compacting."""

    segment: int
    size: int
    live_bytes: int


class Outcome(NamedTuple):
    """What compacting one segment came to, in bytes of segment files."""

    removed_bytes: int
    written_bytes: int
    damaged: int  # records that do not verify
    full: bool  # the device had no more room


class Removed(msgspec.Struct, frozen=True):
    """The note in the index."""

    segment: int
    bytes: int
    time_ns: int


class _Live(msgspec.Struct, gc=False):
    """What is live of a record. There may be a million: most have one range, and are nothing that
    the garbage collector has to look at."""

    stored: int
    hash32: int
    content: int
    offset: int
    start: int  # of the only range
    end: int
    several: list[tuple[int, int]] | None = None  # ranges, when there are more
    bound: int = limits.COMPACTION_RANGES_MAX

    @property
    def ranges(self) -> list[tuple[int, int]]:
        return [(self.start, self.end)] if self.several is None else self.several

    def add(self, start: int, end: int) -> None:
        """Also these raw bytes."""
        if self.several is None:
            if start <= self.end and self.start <= end:
                self.start, self.end = min(start, self.start), max(end, self.end)
                return
            self.several = self.ranges
        self.several.append((start, end))
        if len(self.several) > self.bound:
            self.settle()
            self.bound = max(self.bound, 2 * len(self.ranges))

    def settle(self) -> None:
        """Ranges in order, apart from each other."""
        if self.several is None:
            return
        united: list[tuple[int, int]] = []
        for start, end in sorted(self.several):
            if united and start <= united[-1][1]:
                united[-1] = (united[-1][0], max(united[-1][1], end))
            else:
                united.append((start, end))
        self.several = united

    def raw_bytes(self) -> int:
        """How many are live."""
        return sum(end - start for start, end in self.ranges)


def _live(row: Extent | ExtentPast) -> _Live:
    """What a row says of its record."""
    end = row.skip + row.length
    return _Live(row.stored, row.hash32, row.content, row.offset - row.skip, row.skip, end)


class Compaction:
    """Compaction of one volume. One round or command at a time: the scheduler sees to it."""

    def __init__(self, volume: Volume) -> None:
        self._core = volume.core
        self._volume = volume
        self._reclaimer = volume.core.log.reclaimer
        self._counted: dict[int, tuple[int, int]] = {}  # segment -> rows in it, live raw bytes
        self._damaged: set[int] = set()  # not tried again by this process
        self.longest_seconds = 0.0  # that a batch of moves held the loop

    # --- What to do ------------------------------------------------------------------------------

    async def round(self, budget: Budget) -> Result:
        """The background job: what is worth it, best first."""
        await self._reclaimer.verify_checkpoints(budget.spend)
        candidates = await self.candidates(budget, limits.COMPACTION_DEAD_SHARE_MIN)
        removed = written = damaged = segments = 0
        for done, candidate in enumerate(candidates):
            budget.report(done, len(candidates))
            outcome = await self.compact(candidate.segment, budget)
            removed += outcome.removed_bytes
            written += outcome.written_bytes
            damaged += outcome.damaged
            segments += outcome.removed_bytes > 0
            if outcome.full:
                raise NoSpace(
                    f"compaction stopped on the full device after {segments} segments and "
                    f"{removed - written} bytes; it goes on by itself"
                )
        if not candidates:
            return None
        return {
            "segments": segments,
            "returned_bytes": removed - written,
            "written_bytes": written,
            "damaged": damaged,
        }

    async def prepare(self, budget: Budget) -> None:
        """Before a round by hand: nothing is active, and journals are below checkpoints, if these
        cost less than what they free."""
        core = self._core
        self._damaged.clear()  # it may have been mended
        await core.log.seal_active()
        self._put_note(Removed(0, 0, core.clock.now_ns()))  # so that another journal is the newest
        await self._reclaimer.verify_checkpoints(budget.spend)
        wanted = await self._checkpoints_worth_it(budget)
        if not wanted:
            return
        try:
            for _ in range(wanted):
                await self._volume.checkpoint()
            await core.log.seal_active()  # what is copied goes elsewhere: it may be freed earlier
            self._put_note(Removed(0, 0, core.clock.now_ns()))
        except NoSpace as error:
            logger.warning("compaction goes on without new checkpoints: %s", error)
        await self._reclaimer.verify_checkpoints(budget.spend)

    async def _checkpoints_worth_it(self, budget: Budget) -> int:
        """How many new checkpoints to take: as many as free the METAs of journals, or the segments
        that hold older checkpoints, if these have more dead bytes than the new ones will take."""
        cost = self._checkpoint_bytes()
        gains = {NEEDS_CHECKPOINTS: 0, HAS_CHECKPOINT: 0}
        async with open_reader(self._core.database) as reader:
            rows = await self._rows_by_segment(reader)
            for use in self._reclaimer.segments():
                if use.held_because in gains:
                    live = await self._live_bytes(reader, use, rows.get(use.id, 0), budget)
                    gains[use.held_because] += max(use.size - live, 0)
        if gains[HAS_CHECKPOINT] > 4 * cost:  # two of them are there, two will be
            return 2
        wanted = self._reclaimer.checkpoints_wanted()
        return wanted if gains[NEEDS_CHECKPOINTS] > wanted * cost else 0

    def _checkpoint_bytes(self) -> int:
        """About what one will take."""
        known = self._reclaimer.checkpoint_bytes()
        engine = self._core.database.engine
        if known or not isinstance(engine, SqliteEngine):
            return known
        return engine.path.stat().st_size // 3

    async def candidates(self, budget: Budget, dead_share: float) -> list[Candidate]:
        """The segments that can be removed and are dead to this share at least, by cost and
        benefit: (1 - u) * age / (1 + u)."""
        now = self._core.clock.now_ns()
        found: list[tuple[float, Candidate]] = []
        async with open_reader(self._core.database) as reader:
            rows = await self._rows_by_segment(reader)
            for use in self._reclaimer.segments():
                if use.held_because or use.id in self._damaged:
                    continue
                live = await self._live_bytes(reader, use, rows.get(use.id, 0), budget)
                u = min(live / use.size, 1.0)
                if 1 - u >= dead_share:
                    age = max(now - use.created_ns, 1)
                    score = (1 - u) * age / (1 + u)
                    found.append((score, Candidate(use.id, use.size, live)))
        self._counted = {each: self._counted[each] for each in rows if each in self._counted}
        found.sort(key=lambda each: (-each[0], each[1].segment))
        candidates = [candidate for _, candidate in found]
        if self._core.log.free_bytes() < sum(each.live_bytes for each in candidates):
            candidates.sort(key=lambda each: each.live_bytes)  # what goes first makes room
        return candidates

    async def _rows_by_segment(self, reader: Reader) -> dict[int, int]:
        rows = dict(await reader.counts(EXTENT, "segment"))
        for segment, count in (await reader.counts(EXTENT_PAST, "segment")).items():
            rows[segment] = rows.get(segment, 0) + count
        return rows

    async def _live_bytes(self, reader: Reader, use: SegmentUse, rows: int, budget: Budget) -> int:
        """Of the segment's file; what compression did is taken as evenly spread."""
        if not rows:
            return 0
        known = self._counted.get(use.id)
        if known is None or known[0] != rows:
            await budget.spend(rows * limits.COMPACTION_ROW_BYTES)
            live = await self._gather(reader, use.id)
            total = 0

            def count(each: _Live) -> None:
                nonlocal total
                total += each.raw_bytes()

            await let_go(live, count)
            known = self._counted[use.id] = (rows, total)
        return known[1] * use.data_bytes // max(use.raw_data_bytes, 1)

    async def _gather(self, reader: Reader, segment: int) -> dict[int, _Live]:
        """What rows refer to in a segment, by the record's position, in order of content and
        offset as far as it goes."""
        live: dict[int, _Live] = {}
        async for rows in _Slices(reader, segment):
            for row in rows:
                known = live.get(row.position)
                if known is None:
                    live[row.position] = _live(row)
                else:
                    known.add(row.skip, row.skip + row.length)
        for count, each in enumerate(live.values()):
            each.settle()
            if count % limits.COMPACTION_MOVE_ROWS == 0:
                await trio.lowlevel.checkpoint()
        return live

    # --- One segment -----------------------------------------------------------------------------

    async def compact(self, segment: int, budget: Budget) -> Outcome:
        """Empty a segment and remove it, if that can be done now."""
        core = self._core
        use = self._reclaimer.use(segment)
        if use is None or use.held_because:
            return Outcome(0, 0, 0, False)
        await core.wait_committed()
        moves: _Moves = {}
        async with open_reader(core.database) as reader:
            live = await self._gather(reader, segment)
        written, broken, full = await self._copy(segment, live, moves, budget)
        await let_go(live)
        removed = 0
        try:
            if moves:
                await core.log.sync()
                await self._move(segment, moves)
            if broken:
                await self._remember(segment, broken)
            elif not full and not is_referred_to(core, segment):
                removed = await self._remove(segment, use)
        except NoSpace as error:
            logger.warning("compaction stops: %s", error)
            full = True
        await let_go(moves)
        return Outcome(removed, written, len(broken), full)

    async def _copy(
        self,
        segment: int,
        live: dict[int, _Live],
        moves: _Moves,
        budget: Budget,
    ) -> tuple[int, list[tuple[LiveRecord, str]], bool]:
        """Copy what is live; (bytes written, what does not verify, whether the device is full)."""
        written = 0
        for batch in _batches(live):
            await budget.spend(2 * sum(record.stored for record in batch))
            try:
                copies = await self._reclaimer.copy(segment, batch)
            except NoSpace:
                if not self._core.give_reserve():
                    return written, [], True
                try:
                    copies = await self._reclaimer.copy(segment, batch)
                except NoSpace:
                    return written, [], True
            written += copies.written_bytes
            for position, parts in groupby(copies.copied, key=lambda each: each.position):
                first, *others = parts
                moves[position] = (first, *others) if others else first
            if copies.broken:
                return written, copies.broken, False
        return written, [], False

    async def _move(self, segment: int, moves: _Moves) -> None:
        """Move the rows until none is left that can be moved."""
        core = self._core
        for _ in range(limits.COMPACTION_PASSES_MAX):
            moved = 0
            async with open_reader(core.database) as reader:
                async for rows in _Slices(reader, segment):
                    moved += self._move_batch(segment, rows, moves)
                    await trio.lowlevel.checkpoint()
                    self._commit()
                    await trio.lowlevel.checkpoint()
            if not moved or not is_referred_to(core, segment):
                return

    def _move_batch(
        self,
        segment: int,
        rows: Sequence[Extent | ExtentPast],
        moves: _Moves,
    ) -> int:
        core, began = self._core, self._core.clock.monotonic()
        moved = 0
        for kind, move in ((Extent, move_extents), (ExtentPast, move_past_extents)):
            keys: list[Key] = [_key(row) for row in rows if isinstance(row, kind)]
            if keys:
                moved += core.freeing(partial(move, core, keys, segment, moves))
        self.longest_seconds = max(self.longest_seconds, core.clock.monotonic() - began)
        return moved

    def _commit(self) -> None:
        began = self._core.clock.monotonic()
        self._core.make_room_for_index()
        self._core.database.commit()
        self.longest_seconds = max(self.longest_seconds, self._core.clock.monotonic() - began)

    async def _remove(self, segment: int, use: SegmentUse) -> int:
        """Everything that led away from the segment is made durable before it goes."""
        core = self._core
        await core.log.sync()
        self._put_note(Removed(segment, use.size, core.clock.now_ns()))
        await core.log.sync()
        self._commit()
        now = self._reclaimer.use(segment)
        if now is None or now.held_because or is_referred_to(core, segment):
            return 0
        self._counted.pop(segment, None)
        removed = await self._reclaimer.remove(segment)
        core.log_space_changed()
        return removed

    def _put_note(self, note: Removed) -> None:
        """A META, whatever it says: it carries `synced_through`."""
        core, row = self._core, Setting(_NOTE, msgspec.json.encode(note))

        def put() -> None:
            with core.change() as change:
                change.put(row)

        core.freeing(put)

    async def _remember(self, segment: int, broken: Sequence[tuple[LiveRecord, str]]) -> None:
        """What does not verify, with the files that it hits."""
        core = self._core
        self._damaged.add(segment)
        async with open_reader(core.database) as reader:
            hits = await hits_of(
                core.database, reader, segment, [record.position for record, _ in broken]
            )
        now, at = core.clock.now_ns(), core.database.sequence
        found = []
        for record, what in broken:
            files, more = hits.get(record.position, ([], 0))
            damage = KnownDamage(
                segment, record.position, record.stored, what, now, at, files, more
            )
            logger.error("compaction keeps a segment: %s", damage)
            found.append(damage)
        remember(core, found)


def compaction_of(volume: Volume) -> Compaction:
    """The compaction of a volume, made when it is first asked for."""
    if not isinstance(volume.compaction, Compaction):
        volume.compaction = Compaction(volume)
    return volume.compaction


def compaction_job(volume: Volume) -> Job:
    """What a mount does by itself."""
    run = compaction_of(volume).round
    return Job(JOB, run, limits.COMPACTION_INTERVAL_SECONDS, after_changes=True)


class _Slices:
    """The rows that lie in a segment, so few at a time that the loop is not held. An object and not
    a generator, so that it may be left before its end."""

    def __init__(self, reader: Reader, segment: int) -> None:
        self._streams: list[AsyncIterator[list[Any]]] = [
            reader.stream(table, (segment,), index="segment") for table in (EXTENT_PAST, EXTENT)
        ]
        self._page: list[Extent | ExtentPast] = []
        self._start = 0

    def __aiter__(self) -> "_Slices":
        return self

    async def __anext__(self) -> list[Extent | ExtentPast]:
        await trio.lowlevel.checkpoint()
        while self._start >= len(self._page):
            if not self._streams:
                raise StopAsyncIteration
            self._page, self._start = await anext(self._streams[-1], []), 0
            if not self._page:
                self._streams.pop()
        start = self._start
        self._start = start + limits.COMPACTION_MOVE_ROWS
        return self._page[start : self._start]


def _key(row: Extent | ExtentPast) -> Key:
    if isinstance(row, Extent):
        return row.content, row.offset
    return row.content, row.offset, row.until


def _batches(live: dict[int, _Live]) -> Iterator[list[LiveRecord]]:
    """So much at a time as one thread should do."""
    batch: list[LiveRecord] = []
    size = 0
    for position, each in live.items():
        if batch and (
            len(batch) >= limits.COMPACTION_COPY_RECORDS
            or size + each.stored > limits.COMPACTION_COPY_BYTES
        ):
            yield batch
            batch, size = [], 0
        place = (position, each.stored, each.hash32)
        batch.append(LiveRecord(*place, each.content, each.offset, each.ranges))
        size += each.stored
    if batch:
        yield batch
