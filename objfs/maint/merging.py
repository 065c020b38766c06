"""Merging: small fragments that lie next to each other in a content become one record.

A file that is written in many small places is made of many small extents, each a record somewhere
else. A round reads the current extents of all contents in order, off the loop, and looks for *runs*
of *fragments*: pieces of less than FRAGMENT_BYTES, each the next one's neighbour, each in another
record. A run is copied, by verified reads and an append like a flush's, and its rows are moved in
one change, each conditional on the old location (`objfs/volume/moving.py`). The old records are
dead, unless the past needs them, and compaction gives them back. What stopped leaves garbage at
most: what is merged stays merged, and the next round finds the rest.

**Rows.** Versions read rows by since <= content_at, so two rows that began at different sequences
are one for every reader iff no moment that is needed lies in between: no version of the content,
and no inode without a name that reads it as of then. Then they become one row, which begins with
the later of them. Otherwise they stay two, in one record. (Rejected: to end both rows and begin a
merged one now. The newest version would go on reading the old records, so every merged byte would
be there twice for as long as it is the newest.)

**What it may cost.** A copy is at least MERGING_GROWTH times as large as the largest piece in it,
so a byte is copied once for each such step below FRAGMENT_BYTES: at most twice in pieces of 2 KiB
or more, unless later writes cut its record to fragments again. What the past needs stays where it
is, and would be there twice: at most half of a run may lie in records that past extents of the
content refer to. (A fragment that nobody wrote over is in none.) So merging adds no more bytes to a
store than it frees, unless another file shares them: a restored one, say.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import trio

from objfs.base import limits
from objfs.base.errors import DataLost
from objfs.base.types import Location
from objfs.maint.scheduler import Budget, Job, Result
from objfs.meta.maintenance import open_reader
from objfs.meta.rows import Extent
from objfs.meta.tables import EXTENT, EXTENT_PAST
from objfs.volume.core import Core
from objfs.volume.moving import is_gone_over, merge_extents
from objfs.volume.volume import Volume

logger = logging.getLogger(__name__)

JOB = "merging"


class Worth(NamedTuple):
    """Which runs are worth it."""

    pieces: int = limits.MERGING_PIECES_MIN
    growth: int = limits.MERGING_GROWTH


@dataclass
class Piece:
    """Rows that follow each other in a content and in a record."""

    rows: list[Extent]
    length: int

    def is_followed_by(self, row: Extent) -> bool:
        last = self.rows[-1]
        return (
            (row.content, row.segment, row.position) == (last.content, last.segment, last.position)
            and self.rows[0].offset + self.length == row.offset
            and self.rows[0].skip + self.length == row.skip
        )

    def add(self, row: Extent) -> None:
        """One that follows. Of what is no fragment any more, only the length counts."""
        self.length += row.length
        if self.is_fragment():
            self.rows.append(row)

    def is_fragment(self) -> bool:
        return self.length < limits.FRAGMENT_BYTES and len(self.rows) < limits.MERGING_ROWS_MAX

    @property
    def location(self) -> Location:
        row = self.rows[0]
        return Location(row.segment, row.position, row.stored)


@dataclass
class Run:
    """Fragments that are neighbours, to become one record."""

    pieces: list[Piece] = field(default_factory=list)
    length: int = 0
    rows: int = 0

    def takes(self, piece: Piece) -> bool:
        """Whether a piece goes on with it."""
        if not self.pieces:
            return True
        first = self.pieces[0].rows[0]
        return (
            first.content == piece.rows[0].content
            and first.offset + self.length == piece.rows[0].offset
            and self.length + piece.length <= limits.COMPRESSED_RECORD_BYTES
            and self.rows + len(piece.rows) <= limits.MERGING_ROWS_MAX
        )

    def add(self, piece: Piece) -> None:
        self.pieces.append(piece)
        self.length += piece.length
        self.rows += len(piece.rows)

    def is_worth_it(self, worth: Worth) -> bool:
        """Whether one record instead of these saves enough for what is written."""
        if len(self.pieces) < worth.pieces:
            return False
        return self.length >= worth.growth * max(piece.length for piece in self.pieces)


class Runs:
    """Finds runs in the rows of contents, given in order."""

    def __init__(self, worth: Worth) -> None:
        self._worth = worth
        self._piece: Piece | None = None
        self._run = Run()

    def add(self, rows: Sequence[Extent]) -> Iterator[Run]:
        """The runs that are found to be complete."""
        for row in rows:
            if self._piece is not None and self._piece.is_followed_by(row):
                self._piece.add(row)
                continue
            yield from self._end_piece()
            self._piece = Piece([row], row.length)

    def end(self) -> Iterator[Run]:
        """The last ones."""
        yield from self._end_piece()
        yield from self._end_run()

    def _end_piece(self) -> Iterator[Run]:
        piece, self._piece = self._piece, None
        if piece is None:
            return
        is_fragment = piece.is_fragment()
        if not is_fragment or not self._run.takes(piece):
            yield from self._end_run()
        if is_fragment:
            self._run.add(piece)

    def _end_run(self) -> Iterator[Run]:
        run, self._run = self._run, Run()
        if run.is_worth_it(self._worth):
            yield run


class Merging:
    """Merging in one volume."""

    def __init__(self, volume: Volume, worth: Worth | None = None) -> None:
        self._core = volume.core
        self._worth = Worth() if worth is None else worth
        self._lost: set[Location] = set()  # not tried again by this process
        self._merged = {"runs": 0, "rows": 0, "written_bytes": 0}

    async def round(self, budget: Budget) -> Result:
        """The background job: all that is worth it. NoSpace when copies would take the room that
        writes need."""
        self._merged = dict.fromkeys(self._merged, 0)
        runs = Runs(self._worth)
        async with open_reader(self._core.database) as reader:
            async for page in reader.stream(EXTENT):
                await budget.spend(len(page) * limits.COMPACTION_ROW_BYTES)
                for start in range(0, len(page), limits.MERGING_LOOK_ROWS):
                    for run in runs.add(page[start : start + limits.MERGING_LOOK_ROWS]):
                        await self._consider(run, budget)
                    await trio.lowlevel.checkpoint()
            for run in runs.end():
                await self._consider(run, budget)
        return {**self._merged} if self._merged["runs"] else None

    async def _consider(self, run: Run, budget: Budget) -> None:
        if any(piece.location in self._lost for piece in run.pieces):
            return
        if is_gone_over(self._core, run.pieces[0].rows[0].content):
            return
        held = await _held_by_past(self._core, run)
        if sum(piece.length for piece in run.pieces if piece.location in held) * 2 > run.length:
            return
        await budget.spend(2 * run.length)
        try:
            await self._merge(run)
        except DataLost as error:
            logger.error("a fragment is not merged: %s", error)

    async def _merge(self, run: Run) -> None:
        """Copy a run, and move its rows."""
        core, first = self._core, run.pieces[0].rows[0]
        data = [await self._read(piece) for piece in run.pieces]
        core.admit(run.length)
        with core.appending():
            (stored,) = await core.log.append_large(first.content, first.offset, data)
            rows = [row for piece in run.pieces for row in piece.rows]
            moved, saved = merge_extents(core, rows, stored)
        if moved:
            self._merged["runs"] += 1
            self._merged["rows"] += saved
        self._merged["written_bytes"] += stored.location.length

    async def _read(self, piece: Piece) -> bytes:
        """Verified bytes. DataLost."""
        row = piece.rows[0]
        try:
            read = self._core.log.read
            return bytes(await read(piece.location, row.hash32, row.skip, piece.length))
        except DataLost:
            self._lost.add(piece.location)
            raise


async def _held_by_past(core: Core, run: Run) -> set[Location]:
    """The records of a run that past extents of its content need, whole or in part: all of them,
    if the past of these bytes is too long to look through."""
    first = run.pieces[0].rows[0]
    content, end = first.content, first.offset + run.length
    lower = max(0, first.offset - limits.EXTENT_BYTES_MAX)
    mine = {piece.location for piece in run.pieces}
    held: set[Location] = set()
    for _ in range(limits.MERGING_PAST_PAGES_MAX):
        rows = core.database.scan(
            EXTENT_PAST, (content,), lower=lower, upper=end, limit=limits.MERGING_LOOK_ROWS
        )
        await trio.lowlevel.checkpoint()
        held |= mine & {Location(row.segment, row.position, row.stored) for row in rows}
        if len(rows) < limits.MERGING_LOOK_ROWS:
            return held
        if rows[-1].offset == lower:
            break  # one place that was written over and over
        lower = rows[-1].offset
    return mine


def merging_job(volume: Volume) -> Job:
    """What a mount does by itself."""
    run = Merging(volume).round
    return Job(JOB, run, limits.MERGING_INTERVAL_SECONDS, after_changes=True)
