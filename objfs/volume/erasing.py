"""Erasing: the one verb that makes history go, for `forget`, retention and whoever comes later.

What always holds:

- What is asked for is first *hidden*, by a row in `erased`, and then purged as far as no other key
  shows it (`objfs/volume/purging.py`); what only its extents hold is swept away after that
  (`objfs/volume/sweeping.py`). Each step is a change of its own or part of one. A crash in between
  leaves hidden entries hidden; `resume` goes on with them.
- What a snapshot pins is never hidden, nor what object lock keeps (`object_lock.py`), and neither
  is the current version of a file that is there: delete the file first. A deletion is no entry of
  its own: it goes with the last thing before it. (For S3 it is one: `object_deleting.py`.)
- What is open is not touched: the working state of a file, and the bytes of one without a name,
  stay until it is closed. Whoever reads a version that is erased meanwhile gets an error.
"""

import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

import trio

from objfs.base.errors import Locked, ObjfsError, Pinned
from objfs.meta.database import Change
from objfs.meta.rows import Bucket, Erased, Version
from objfs.meta.tables import BUCKET, DENTRY_PAST, ERASED, VERSION
from objfs.volume.content import Source
from objfs.volume.core import Core
from objfs.volume.history import History
from objfs.volume.object_lock import locked_until
from objfs.volume.pruning import Pruning
from objfs.volume.purging import Settling
from objfs.volume.routes import Name, Routes
from objfs.volume.showing import (
    FOREVER,
    Stretch,
    entry_at,
    erased_entries,
    is_there,
    stretches_of,
    version_at,
)
from objfs.volume.sweeping import Sweeping

logger = logging.getLogger(__name__)
MARKS_PER_CHANGE = 8  # entries hidden by one change: purging each takes some eight rows


class ErasedReport(NamedTuple):
    """What went, or would go."""

    entries: int = 0  # of keys
    bytes: int = 0  # sizes of the versions that no key shows any more
    versions: int = 0  # how many those are
    pinned: int = 0  # entries that stay because a snapshot shows them
    current: int = 0  # entries that stay because they are the current state of a file
    locked: int = 0  # entries that stay because retention or a legal hold keeps them

    def __add__(self, other: object) -> "ErasedReport":
        assert isinstance(other, ErasedReport)
        return ErasedReport(*(one + two for one, two in zip(self, other, strict=True)))


class _Entry(NamedTuple):
    """One entry of a key; the version is None for a name without one. The time before the first
    version of a stretch goes with that."""

    stretch: Stretch
    sequence: int
    since: int
    version: Version | None
    until: int  # where the next entry begins


class _DryRun(Exception):
    """Ends a change that must not happen."""


class Erasing:
    """The verbs that make history go."""

    def __init__(self, core: Core, history: History) -> None:
        self._core = core
        self._history = history
        self._sweeping = Sweeping(core)
        self._wanted = trio.Event()  # set when there is something to sweep
        self._pruning = Pruning(core)
        self.sweep = self._sweeping.sweep_all

    async def erase(
        self,
        bucket: str,
        key: bytes,
        sequences: Iterable[int],
        *,
        dry: bool = False,
        left: set[int] | None = None,
    ) -> ErasedReport:
        """Erase entries of a key, named by their sequences. Those that a snapshot pins, the current
        version of a file and what is no entry are left; the report counts them. `dry`: the same
        report, and nothing changes. What it frees, `sweep` takes away. NotFound for the bucket.

        A directory has one entry at the begin of each stretch. It goes when nothing beneath the
        path is shown any more in that time, and is not counted.

        Directories from which names went are put into `left`, if that is given, and `finish` is to
        be called with them: each look whether a directory is empty reads all that was in it."""
        row = self._history.bucket(bucket)
        report = ErasedReport()
        todo = sorted(set(sequences))
        if key.endswith(b"/"):
            await self._erase_directory(row, key, todo, dry)
            return report
        while todo:
            part, todo = todo[:MARKS_PER_CHANGE], todo[MARKS_PER_CHANGE:]
            report += await self._erase_part(row, key, part, dry, left)
            await trio.lowlevel.checkpoint()
        return report

    async def erase_object(
        self,
        bucket: Bucket,
        path: bytes,
        decide: Callable[[Change], list[int]],
        settled: Callable[[Change], None],
        *,
        bypass_governance: bool = False,
    ) -> ErasedReport:
        """Erase entries of a key, all or none, in one change with whatever else `decide` does
        before it tells which, and `settled` after it. At most `MARKS_PER_CHANGE` of them. Pinned,
        Locked."""
        work = _Work(self._core, bucket, path, bypass_governance=bypass_governance, strict=True)
        self._core.freeing(lambda: work.mark_decided(decide, settled))
        while work.unsettled:
            await trio.lowlevel.checkpoint()
            self._core.freeing(work.go_on)
        if work.report.entries:
            await self.finish({name.parent for name in work.left if not self._was_own(name)})
        return work.report

    def _was_own(self, name: Name) -> bool:
        """Whether the directory of a name has a past as the object `dir/`, which S3 shows."""
        return bool(self._core.database.scan(DENTRY_PAST, (name.parent, b""), limit=1))

    async def _erase_directory(
        self, bucket: Bucket, key: bytes, sequences: list[int], dry: bool
    ) -> None:
        database = self._core.database
        inodes = {
            stretch.ino
            for at in sequences
            for stretch in stretches_of(database, bucket.root, key, at, at + 1)
        }
        if not dry:
            await self.finish(inodes)

    async def _erase_part(
        self, bucket: Bucket, key: bytes, sequences: list[int], dry: bool, left: set[int] | None
    ) -> ErasedReport:
        work = _Work(self._core, bucket, key)
        if dry:
            work.take_back(sequences)
            return work.report
        self._core.freeing(lambda: work.mark(sequences))
        while work.unsettled:
            await trio.lowlevel.checkpoint()
            self._core.freeing(work.go_on)
        directories = {name.parent for name in work.left}
        if left is None:
            await self.finish(directories)
        else:
            left |= directories
            await self.finish(set())
        return work.report

    async def finish(self, directories: set[int]) -> None:
        """After entries were purged: of the directories from which names went."""
        await self._pruning.prune(directories)
        self._core.invalidate_past()
        self._core.erased = bool(self._core.database.scan(ERASED, limit=1))
        self._core.forget_views()
        self._wanted.set()

    # --- in the background -----------------------------------------------------------------------

    async def run(self) -> None:
        """Finish what was begun before, then sweep whenever there is something to sweep."""
        begun = False
        while True:
            try:
                if not begun:
                    await self.resume()
                    begun = True
                await self.sweep()
            except ObjfsError as error:
                logger.error("erasing goes on later: %s", error)
            except Exception:  # what cannot be erased must not end the mount
                logger.exception("erasing goes on later")
            self._wanted = trio.Event()
            await self._wanted.wait()

    async def resume(self) -> None:
        """Settle what rows in `erased` hide: what a crash left, and what other keys showed when it
        was hidden. Then nothing is left that no key shows."""
        place: tuple[int, bytes, int] = (0, b"", 0)
        while (row := self._next_hidden(*place)) is not None:
            place = (row.bucket, row.key, row.entry)
            work = _Work(self._core, Bucket(row.bucket, "", 0, 0), row.key)
            self._core.freeing(partial(work.resume, row))
            while work.unsettled:
                await trio.lowlevel.checkpoint()
                self._core.freeing(work.go_on)
            await self.finish({name.parent for name in work.left})
            await trio.lowlevel.checkpoint()

    def _next_hidden(self, bucket: int, key: bytes, entry: int) -> Erased | None:
        """The row after a place in `erased`."""
        scan = self._core.database.scan
        return next(
            (
                rows[0]
                for rows in (
                    scan(ERASED, (bucket, key), lower=entry + 1, limit=1),
                    scan(ERASED, (bucket,), lower=key + b"\0", limit=1),
                    scan(ERASED, (), lower=bucket + 1, limit=1),
                )
                if rows
            ),
            None,
        )


class _Work:
    """The erasing of a few entries of one key."""

    def __init__(
        self,
        core: Core,
        bucket: Bucket,
        key: bytes,
        *,
        bypass_governance: bool = False,
        strict: bool = False,
    ) -> None:
        self._core = core
        self._bucket = bucket
        self._key = key
        self._bypass = bypass_governance
        self._strict = strict  # what must stay is an error
        self.report = ErasedReport()
        self.unsettled: dict[int, list[Version]] = {}  # by inode
        self.left: list[Name] = []  # names that went

    def mark(self, sequences: list[int]) -> None:
        """Hide entries, and settle as much as fits the change."""
        self._do(lambda change: self._mark(change, sequences))

    def mark_decided(
        self, decide: Callable[[Change], list[int]], settled: Callable[[Change], None]
    ) -> None:
        """The same for entries that the change itself tells, with what comes after."""
        self._do(lambda change: self._mark(change, decide(change)), settled)

    def go_on(self) -> None:
        """Settle more, in a change of its own."""
        self._do(lambda change: None)

    def _do(
        self,
        hide: Callable[[Change], None],
        settled: Callable[[Change], None] = lambda change: None,
    ) -> None:
        """One change. If it fails, nothing has happened."""
        before = self.report, dict(self.unsettled), list(self.left)
        try:
            with self._core.change() as change:
                hide(change)
                self._settle(change)
                settled(change)
        except BaseException:
            self.report, self.unsettled, self.left = before
            raise

    def resume(self, row: Erased) -> None:
        """Settle what a row hides; without that, the row goes."""
        self._do(lambda change: self._take_up(change, row))

    def _take_up(self, change: Change, row: Erased) -> None:
        bucket = change.get(BUCKET, row.bucket)
        found = []
        if bucket is not None:
            found = stretches_of(change, bucket.root, row.key, row.entry, row.entry + 1)
        needless = True
        for stretch in found:
            version = version_at(change, stretch.ino, row.entry)
            self.unsettled[stretch.ino] = [] if version is None else [version]
            older = version is not None and version.sealed < row.entry
            needless = older and stretch.begin < row.entry
        if needless:
            change.delete(ERASED, row.bucket, row.key, row.entry)

    def take_back(self, sequences: list[int]) -> None:
        """What `mark` would do; the change is dropped."""
        erased = self._core.erased
        try:
            with self._core.database.change() as change:
                self._mark(change, sequences)
                self._settle(change)
                raise _DryRun
        except _DryRun:
            self._core.erased = erased

    def _mark(self, change: Change, sequences: list[int]) -> None:
        found = [
            entry
            for sequence in sequences
            if (entry := find_entry(change, self._bucket, self._key, sequence)) is not None
        ]
        for entry in found:
            if is_current(entry):
                self.report = self.report._replace(current=self.report.current + 1)
            elif self._is_locked(change, entry):
                self.report = self.report._replace(locked=self.report.locked + 1)
            elif self._core.pins.holds(self._bucket.id, self._key, entry.since, entry.until):
                if self._strict:
                    raise Pinned("a snapshot shows the version: delete the snapshot first")
                self.report = self.report._replace(pinned=self.report.pinned + 1)
            else:
                self._hide(change, entry)

    def _is_locked(self, change: Change, entry: _Entry) -> bool:
        """Whether object lock keeps an entry's version. Locked, if that is an error."""
        if entry.version is None:
            return False
        until_ns = locked_until(entry.version, change.time_ns, bypass_governance=self._bypass)
        if until_ns is not None and self._strict:
            raise Locked("retention or a legal hold keeps the version")
        return until_ns is not None

    def _hide(self, change: Change, entry: _Entry) -> None:
        change.put(Erased(self._bucket.id, self._key, entry.sequence, change.sequence))
        self._core.erased = True
        ino = entry.stretch.ino
        self._core.expose(ino)
        versions = self.unsettled.setdefault(ino, [])
        if entry.version is not None:
            versions.append(entry.version)
        self.report = self.report._replace(entries=self.report.entries + 1)

    def _settle(self, change: Change) -> None:
        routes = Routes(change)
        for ino in list(self.unsettled):
            settled = Settling(self._core, change, routes, ino).settle(self.unsettled[ino])
            self.left += settled.left
            self.report = self.report._replace(
                versions=self.report.versions + settled.versions,
                bytes=self.report.bytes + settled.bytes,
            )
            if not settled.done:
                return
            del self.unsettled[ino]


def find_entry(source: Source, bucket: Bucket, key: bytes, sequence: int) -> _Entry | None:
    """The entry of a key with this sequence, if it is shown. A name that leads to what has no
    versions has one entry, at its begin."""
    for stretch in stretches_of(source, bucket.root, key, sequence, sequence + 1):
        erased = erased_entries(source, bucket.id, key, stretch.begin, stretch.until)
        shown = entry_at(source, stretch, erased, sequence)
        if shown is not None and shown.sequence == sequence:
            until = _next_entry(source, stretch, erased, shown.version)
            since = _since(source, stretch, erased, sequence)
            return _Entry(stretch, sequence, since, shown.version, until)
        if (
            shown is None
            and sequence == stretch.begin
            and is_there(source, stretch, erased, sequence)
            and not source.scan(
                VERSION, (stretch.ino,), lower=sequence, upper=stretch.until, limit=1
            )
        ):
            return _Entry(stretch, sequence, sequence, None, stretch.until)
    return None


def _since(source: Source, stretch: Stretch, erased: set[int], sequence: int) -> int:
    """Since when the path has shown what goes with an entry."""
    begin = stretch.begin
    if begin < stretch.shown or begin in erased:
        return sequence
    return sequence if entry_at(source, stretch, erased, sequence - 1) else begin


def _next_entry(source: Source, stretch: Stretch, erased: set[int], version: Version) -> int:
    """Where the entry after this one begins, or the stretch ends."""
    sealed = version.sealed
    lower = max(sealed, stretch.begin) + 1
    while True:
        rows = source.scan(VERSION, (stretch.ino,), lower=lower, upper=stretch.until, limit=1)
        if not rows:
            return stretch.until
        if rows[0].sealed not in erased and rows[0].sealed >= stretch.shown:
            return int(rows[0].sealed)
        lower = rows[0].sealed + 1


def is_current(entry: _Entry) -> bool:
    """Whether this is what the path shows now."""
    return entry.stretch.until == FOREVER and entry.until == FOREVER
