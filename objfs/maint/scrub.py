"""Scrub: reads and verifies every live record of the log.

Live are: the DATA that rows refer to, each with the hash that the row says, every META, the parts
of the two newest checkpoints, segment headers and footers. What no row needs any more is not read.

Always holds:
- The log is taken segment by segment, by rising id, up to the newest there is when the scrub
  begins. What comes later was just written; compaction verifies what it moves.
- Where it is stands in a `setting` row, a second old at most, so a scrub that was interrupted (by a
  kill, an unmount, or because its caller went away) goes on there. There is one scrub of a store
  at a time, whoever drives it.
- A record that does not verify counts only if a row still refers to it afterwards: compaction may
  have moved it and freed the segment meanwhile.
- Findings are remembered (`objfs/volume/damage.py`) with the files they hit. When a segment was
  read to its end, older findings in it that were not made again are forgotten; at the end of a
  scrub, all older ones.

What it proves: that the device, asked now, returns the bytes that were written, or which it does
not. The kernel is asked to drop cached pages first; what a drive caches cannot be seen from here.
"""

import heapq
from collections.abc import Awaitable, Callable, Iterable, Sequence

import msgspec
import trio

from objfs.base.limits import (
    SCRUB_LOOK_SECONDS,
    SCRUB_NOTE_SECONDS,
    SCRUB_PIECE_BYTES,
    SCRUB_READ_BYTES,
    SCRUB_STEP_SECONDS,
)
from objfs.maint.hits import hits_of
from objfs.maint.live_records import live_records, next_referenced, still_live
from objfs.maint.scheduler import Budget, Job, Result
from objfs.meta.maintenance import Reader, open_reader
from objfs.meta.tables import MOMENT
from objfs.store.format import RecordKind
from objfs.store.verification import Broken, Expected, SegmentCheck, pieces, record_end
from objfs.volume.damage import KnownDamage, forget_damage, remember, remembered
from objfs.volume.volume import Volume
from objfs.volume.work_rows import SCRUB, SCRUB_LAST, load_note, save_note

Pace = Callable[[int], Awaitable[None]]
"""Waits until so many bytes may be read."""


class ScrubState(msgspec.Struct):
    """How far a scrub is. Everything before `offset` of `segment` is done."""

    started_ns: int
    started_at: int  # the newest META then
    through: int  # the last segment that it takes
    segment: int = 0
    offset: int = 0
    read_bytes: int = 0
    records: int = 0
    damaged: int = 0  # records


class ScrubResult(msgspec.Struct):
    """How a scrub ended."""

    started_ns: int
    finished_ns: int
    read_bytes: int
    records: int
    damaged: int


async def unpaced(_: int) -> None:
    """As fast as it goes."""
    await trio.lowlevel.checkpoint()


class Scrub:
    """Drives the scrub of one volume, for a while or to its end."""

    def __init__(
        self, volume: Volume, pace: Pace = unpaced, *, piece_bytes: int = SCRUB_PIECE_BYTES
    ) -> None:
        self._core = volume.core
        self._verifier = volume.core.log.verifier
        self._pace = pace
        self._piece_bytes = piece_bytes
        self._saved = 0.0  # monotonic time of the last note

    def begin_anew(self) -> None:
        """Forget how far an interrupted scrub came."""
        save_note(self._core, SCRUB, None)

    async def run(self, seconds: float | None = None) -> ScrubResult | ScrubState:
        """Go on, or begin. Returns the result at the end, else, after about `seconds`, how far it
        is: one piece further at least. StorageError when the index cannot be read."""
        core = self._core
        async with core.scrub_turn:
            until = None if seconds is None else core.clock.monotonic() + seconds
            state = load_note(core.database, SCRUB, ScrubState) or self._begin()
            async with open_reader(core.database) as reader:
                while (segment := self._next(state)) is not None:
                    if await self._segment(reader, state, segment, until):
                        state.segment, state.offset = segment + 1, 0
                    if until is not None and core.clock.monotonic() >= until:
                        self._save(state)
                        return state
            return self._finish(state)

    def _begin(self) -> ScrubState:
        core = self._core
        known = [each.id for each in self._verifier.segments()]
        through = max(known, default=0)
        state = ScrubState(core.clock.now_ns(), core.database.sequence, through)
        self._save(state)  # what is found from here on is newer than `started_at`
        return state

    def _save(self, state: ScrubState) -> None:
        self._saved = self._core.clock.monotonic()
        save_note(self._core, SCRUB, state)

    def _next(self, state: ScrubState) -> int | None:
        known = [each.id for each in self._verifier.segments()]
        referenced = next_referenced(self._core.database, state.segment)
        known += [] if referenced is None else [referenced]
        return min((each for each in known if state.segment <= each <= state.through), default=None)

    # --- One segment -----------------------------------------------------------------------------

    async def _segment(
        self, reader: Reader, state: ScrubState, segment: int, until: float | None
    ) -> bool:
        """Verify from `state.offset` on, one piece at least. False when time was up."""
        core = self._core
        check = self._prepare(segment)
        if check is None:
            await self._missing(reader, state, segment)
            return True
        own, broken = await core.threads.run(check.begin)
        await self._found(reader, state, segment, broken)
        if own is None:
            await self._missing(reader, state, segment)
            return True
        start = state.offset
        live = await live_records(reader, segment, start)
        later = (each for each in own if each.offset >= start)
        following = pieces(heapq.merge(later, live), self._piece_bytes)
        while (piece := await core.threads.run(next, following, None)) is not None:
            await self._piece(reader, state, check, piece)
            if until is not None and core.clock.monotonic() >= until:
                return False
        self._forget_older(state, lambda damage: damage.segment == segment)
        return True

    def _prepare(self, segment: int) -> SegmentCheck | None:
        try:
            return self._verifier.prepare(segment)
        except OSError:
            return None

    async def _piece(
        self, reader: Reader, state: ScrubState, check: SegmentCheck, piece: Sequence[Expected]
    ) -> None:
        await self._pace(sum(max(each.length, 0) for each in piece))
        verified = await self._core.threads.run(check.verify, piece)
        state.read_bytes += verified.read_bytes
        state.records += verified.records
        await self._found(reader, state, check.id, verified.broken)
        state.segment, state.offset = check.id, record_end(piece[-1])
        if self._core.clock.monotonic() - self._saved >= SCRUB_NOTE_SECONDS:
            self._save(state)

    # --- Damage ----------------------------------------------------------------------------------

    async def _found(
        self, reader: Reader, state: ScrubState, segment: int, broken: Sequence[Broken]
    ) -> None:
        """Remember what is broken and still needed, with the files that it hits."""
        if not broken:
            return
        database = self._core.database
        database.commit()  # the reader sees what is committed
        broken = await still_live(reader, segment, broken)
        state.damaged += len(broken)
        data = [each.expected.offset for each in broken if each.expected.kind == RecordKind.DATA]
        hits = await hits_of(database, reader, segment, data) if data else {}
        now, at = self._now()
        found = []
        for each in broken:
            files, more = hits.get(each.expected.offset, ([], 0))
            found.append(
                KnownDamage(
                    segment,
                    each.expected.offset,
                    max(each.expected.length, 0),
                    f"{_kind(each.expected)}{each.what}",
                    now,
                    at,
                    files,
                    more,
                )
            )
        remember(self._core, found)

    async def _missing(self, reader: Reader, state: ScrubState, segment: int) -> None:
        """The segment is gone, or its header is: everything in it is lost."""
        database = self._core.database
        database.commit()
        count = await self._core.threads.run(_count, await live_records(reader, segment))
        if not count:
            self._forget_older(state, lambda damage: damage.segment == segment)
            return
        files, more = (await hits_of(database, reader, segment, None)).get(0, ([], 0))
        state.damaged += count
        what = f"the segment is missing or does not open; {count} records of it are needed"
        now, at = self._now()
        remember(self._core, [KnownDamage(segment, 0, 0, what, now, at, files, more)])

    def _now(self) -> tuple[int, int]:
        return self._core.clock.now_ns(), self._core.database.sequence

    def _forget_older(
        self, state: ScrubState, which: Callable[[KnownDamage], bool] = lambda _: True
    ) -> None:
        """Findings from before this scrub that it did not make again."""
        known: Iterable[KnownDamage] = remembered(self._core.database)
        old = [each for each in known if each.found_at <= state.started_at and which(each)]
        forget_damage(self._core, old)

    def _finish(self, state: ScrubState) -> ScrubResult:
        core = self._core
        now, at = self._now()
        gaps = self._verifier.missing_metas()
        state.damaged += sum(last - first + 1 for first, last in gaps)
        remember(core, (_gap(first, last, now, at) for first, last in gaps))
        self._forget_older(state)
        result = ScrubResult(state.started_ns, now, state.read_bytes, state.records, state.damaged)
        save_note(core, SCRUB_LAST, result)
        save_note(core, SCRUB, None)
        return result


def is_due(volume: Volume) -> bool:
    """Whether one is under way, or the last one (else the store's first change) is long ago."""
    core = volume.core
    if load_note(core.database, SCRUB, ScrubState) is not None:
        return True
    days = core.settings.scrub_days
    last = load_note(core.database, SCRUB_LAST, ScrubResult)
    if last is not None:
        since = last.started_ns
    else:
        first = core.database.scan(MOMENT, limit=1)
        since = first[0].time_ns if first else core.clock.now_ns()
    return days > 0 and core.clock.now_ns() - since >= days * 86_400 * 10**9


def progress_of(volume: Volume, state: ScrubState) -> tuple[int, int]:
    """(done, in all), in bytes of segments."""
    segments = volume.core.log.verifier.segments()
    done = sum(each.end for each in segments if each.id < state.segment) + state.offset
    return done, sum(each.end for each in segments if each.id <= state.through)


def scrub_job(volume: Volume) -> Job:
    """A scrub every `scrub_days`, in small pieces out of the budget."""

    async def run(budget: Budget) -> Result:
        scrub = Scrub(volume, budget.spend, piece_bytes=SCRUB_READ_BYTES)
        while is_due(volume):  # somebody may end it by hand meanwhile
            state = await scrub.run(SCRUB_STEP_SECONDS)
            if isinstance(state, ScrubResult):
                return msgspec.structs.asdict(state)
            budget.report(*progress_of(volume, state))
        return None

    return Job("scrub", run, SCRUB_LOOK_SECONDS)


def _count(records: Iterable[Expected]) -> int:
    return sum(1 for _ in records)


def _kind(expected: Expected) -> str:
    match expected.kind:
        case RecordKind.META:
            return f"META {expected.owner_a}: "
        case RecordKind.CHECKPOINT:
            return "a checkpoint: "
    return ""


def _gap(first: int, last: int, now: int, at: int) -> KnownDamage:
    what = f"META {first} is" if first == last else f"METAs {first} to {last} are"
    return KnownDamage(0, first, 0, f"{what} in no segment", now, at)
