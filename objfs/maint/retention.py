"""Retention applied: walks all that ever was, asks the policy, erases what no rule keeps.

What always holds:

- What goes is erased by `Volume.erase`, which looks at snapshots and at what is current once more.
- Files first, then the directory that they lay in: a removed directory goes when nothing that lay
  in it is kept.
- The walk goes in the order of keys and notes how far it is, so a pass in the background that was
  stopped, by a crash too, goes on there. What lies before that place was judged by the rules of
  then; the next pass judges it again.
- Between two pages of reading others run (`objfs/volume/paths_ever.py`). What comes meanwhile is
  young; what was erased meanwhile is passed over by `erase`.
- In the background, rules count from RETENTION_GRACE_SECONDS after they were given: time to look at
  a dry run, and to think again.
- A dry run judges the same entries in the same order, and counts the same.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import msgspec
import trio

from objfs.base.errors import NotFound
from objfs.base.limits import (
    KIB,
    RETENTION_GRACE_SECONDS,
    RETENTION_INTERVAL_SECONDS,
    RETENTION_NOTE_SECONDS,
)
from objfs.maint.scheduler import Budget, Job, Result
from objfs.meta.rows import Bucket, InodePast, Retention, Version, counted_bytes
from objfs.meta.tables import INODE, RETENTION, VERSION
from objfs.volume import work_rows
from objfs.volume.attribute_past import has_states, last_moments, thin_states
from objfs.volume.moments import sequence_at
from objfs.volume.object_lock import locked_until
from objfs.volume.paths_ever import (
    PathEntry,
    Place,
    deleted_at,
    entries_ever,
    paths_ever,
    shows_something_below,
)
from objfs.volume.retention_policy import PINNED, Judge, Moment, Shown, keeps_everything
from objfs.volume.routes import Routes, names_of
from objfs.volume.showing import FOREVER, erased_entries
from objfs.volume.volume import Volume

_ERASED_AT_ONCE = 96  # entries given to one call of `erase`
_BREATHS_PAID = 16  # pieces of work that are paid for together


class Applied(msgspec.Struct):
    """What a pass did, or would do. Sizes in bytes."""

    paths: int = 0  # that have rules, directories not counted
    entries: int = 0  # of those paths, that went
    versions: int = 0  # that no path shows any more
    bytes: int = 0  # sizes of those
    pinned: int = 0  # entries that only snapshots keep
    snapshots: dict[str, int] = {}  # how many of those each snapshot shows
    locked: int = 0  # entries that only object lock keeps


class Cursor(msgspec.Struct):
    """How far a pass is: everything up to the path `after` of `bucket` is done."""

    bucket: int = 0
    after: bytes = b""
    applied: Applied = msgspec.field(default_factory=Applied)


class RetentionPass:
    """One walk over all buckets."""

    def __init__(
        self,
        volume: Volume,
        *,
        dry: bool = False,
        grace_seconds: float = 0.0,
        breathe: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint,
    ) -> None:
        """Rules younger than `grace_seconds` keep everything. `breathe` is awaited between two
        pieces of work."""
        self._volume = volume
        self._core = volume.core
        self._database = volume.core.database
        self._dry = dry
        self._grace_ns = int(grace_seconds * 1e9)
        self._breathe = breathe
        self._now_ns = max(self._core.clock.now_ns(), self._database.time_ns)
        self._noted_at = self._core.clock.monotonic()
        self._hidden = _Hidden(volume) if dry else None
        self._cursor = Cursor()

    async def run(self, cursor: Cursor | None = None) -> Applied:
        """The walk from its beginning, or from where another one was stopped."""
        self._cursor = cursor or Cursor()
        for bucket in sorted(self._volume.buckets(), key=lambda row: row.id):
            if bucket.id >= self._cursor.bucket:
                await self._bucket(bucket)
        if not self._dry:
            await self._volume.sweep()
            self._note(None)
        return self._cursor.applied

    async def _bucket(self, bucket: Bucket) -> None:
        cursor = self._cursor
        after = cursor.after if bucket.id == cursor.bucket else b""
        if self._is_needless(bucket, b""):
            return
        for place in paths_ever(
            self._database, bucket, after, lambda key: self._is_needless(bucket, key)
        ):
            await self._breathe()
            if place is None:
                continue
            rules = self._volume.retention.of_path(bucket.id, place.key)
            if rules is not None and self._counts(rules):
                await self._place(bucket, place, rules)
            cursor.bucket, cursor.after = bucket.id, place.key
            if self._core.clock.monotonic() - self._noted_at >= RETENTION_NOTE_SECONDS:
                self._note(cursor)
        await self._root(bucket)

    async def _root(self, bucket: Bucket) -> None:
        """The directory of the bucket itself."""
        rules = self._volume.retention.of_path(bucket.id, b"")
        if rules is not None and self._counts(rules) and not self._dry:
            place = Place(b"", [])
            await self._thin(bucket, bucket.root, rules, self._moment(bucket, place, rules))

    def _is_needless(self, bucket: Bucket, key: bytes) -> bool:
        """Whether everything at and below a directory (b"": the root) is kept."""
        rules = self._volume.retention.of_path(bucket.id, key)
        if rules is not None and self._counts(rules):
            return False
        below = self._database.scan(RETENTION, (bucket.id,), lower=key, limit=2)
        return not any(row.prefix.startswith(key) and row.prefix != key for row in below)

    def _counts(self, rules: Retention) -> bool:
        """Whether anything may go by these rules."""
        return not keeps_everything(rules) and rules.set_ns <= self._now_ns - self._grace_ns

    def _note(self, cursor: Cursor | None) -> None:
        self._noted_at = self._core.clock.monotonic()
        if not self._dry:
            work_rows.save_note(self._core, work_rows.RETENTION, cursor)

    # --- one path --------------------------------------------------------------------------------

    async def _place(self, bucket: Bucket, place: Place, rules: Retention) -> None:
        applied = self._cursor.applied
        applied.paths += not place.is_directory
        moment = self._moment(bucket, place, rules)
        judge = Judge(rules, moment, deleted_ns=deleted_at(self._database, place))
        going: list[PathEntry] = []
        async for entry, oldest in self._entries(bucket, place):
            shown = Shown(entry.since, entry.until, entry.time_ns)
            reasons = judge.reasons(shown, oldest=oldest)
            if reasons == [PINNED] and not place.is_directory:
                self._count_pinned(moment, entry)
            if not reasons and self._is_locked(entry):
                applied.locked += 1
            elif not reasons and (
                not place.is_directory or await self._is_empty(bucket, place, entry)
            ):
                going.append(entry)
            if len(going) == _ERASED_AT_ONCE:
                await self._erase(bucket, place, going)
                going = []
        await self._erase(bucket, place, going)
        if not self._dry:
            for ino in {stretch.ino: None for stretch in place.stretches}:
                await self._thin(bucket, ino, rules, moment)

    async def _thin(self, bucket: Bucket, ino: int, rules: Retention, moment: Moment) -> None:
        """Past attributes go by the same rules; those that the kept versions had last stay."""
        if not has_states(self._database, ino) or not self._rules_agree(ino, rules):
            return
        needed: list[int] = []
        for last in last_moments(self._database, ino):
            if last is None:
                await self._breathe()
            else:
                needed.append(last)
        needed.sort()
        judge = Judge(rules, moment)

        def keeps(begin: int, state: InodePast, oldest: bool) -> bool:
            shown = Shown(begin, state.until, state.inode.since_ns)
            return bool(judge.reasons(shown, oldest=oldest))

        upper: int | None = FOREVER
        while upper is not None:
            upper = self._core.freeing(partial(thin_states, self._core, ino, upper, needed, keeps))
            await self._breathe()

    def _rules_agree(self, ino: int, rules: Retention) -> bool:
        """Whether all paths of an inode have the same rules: else one may keep what another does
        not."""
        names = names_of(self._database, ino)
        if len(names) <= 1:
            return True
        routes = Routes(self._database)
        of_path = self._volume.retention.of_path
        return all(
            of_path(route.bucket, route.key) == rules for name in names for route in routes.of(name)
        )

    def _moment(self, bucket: Bucket, place: Place, rules: Retention) -> Moment:
        since = self._now_ns - rules.keep_for_seconds * 10**9
        return Moment(
            now_ns=self._now_ns,
            horizon=sequence_at(self._database, since),
            current=FOREVER,
            pinned=self._core.pins.sequences(bucket.id, place.key),
            zone=self._core.zone,
        )

    async def _entries(self, bucket: Bucket, place: Place) -> AsyncIterator[tuple[PathEntry, bool]]:
        """The entries of a path, newest first, with whether it is the oldest."""
        held: PathEntry | None = None
        for entry in entries_ever(self._database, bucket, place):
            if entry is None:
                await self._breathe()
                continue
            if held is not None:
                yield held, False
            held = entry
        if held is not None:
            yield held, True

    def _is_locked(self, entry: PathEntry) -> bool:
        version = entry.version
        return version is not None and locked_until(version, self._now_ns) is not None

    async def _is_empty(self, bucket: Bucket, place: Place, entry: PathEntry) -> bool:
        """Whether nothing that lay in a directory is shown any more."""
        for found in shows_something_below(self._database, bucket, place.key, entry.stretch):
            if found is not None:
                return not found
            await self._breathe()
        return True

    def _count_pinned(self, moment: Moment, entry: PathEntry) -> None:
        applied = self._cursor.applied
        applied.pinned += 1
        shown = {each for each in moment.pinned if entry.since <= each < entry.until}
        for snapshot in self._core.pins.snapshots():
            if snapshot.sequence in shown:
                applied.snapshots[snapshot.name] = applied.snapshots.get(snapshot.name, 0) + 1

    async def _erase(self, bucket: Bucket, place: Place, going: list[PathEntry]) -> None:
        if not going:
            return
        applied = self._cursor.applied
        if self._hidden is not None:
            if not place.is_directory:
                applied.entries += len(going)
                for entry in going:
                    freed = self._hidden.hide(bucket, place.key, entry)
                    applied.versions += len(freed)
                    applied.bytes += sum(counted_bytes(version.size) for version in freed)
            return
        # What was there before its first version goes after all of its versions.
        begins = [entry.since for entry in going if entry.since != entry.sequence]
        try:
            report = await self._volume.erase(
                bucket.name, place.key, [entry.sequence for entry in going]
            )
            if begins:
                await self._volume.erase(bucket.name, place.key, begins)
        except NotFound:  # the bucket was deleted meanwhile
            return
        if not place.is_directory:
            applied.entries += report.entries
            applied.versions += report.versions
            applied.bytes += report.bytes


class _Hidden:
    """What a dry run would have erased so far: of files with several paths, so that their versions
    count when the last path is judged."""

    def __init__(self, volume: Volume) -> None:
        self._database = volume.core.database
        self._entries: set[tuple[int, bytes, int]] = set()  # bucket, key, entry

    def hide(self, bucket: Bucket, key: bytes, entry: PathEntry) -> list[Version]:
        """The versions that no path shows any more, if this entry is erased too."""
        version, database = entry.version, self._database
        if version is None:
            return []
        inode = database.get(INODE, version.ino)
        if inode is not None and inode.nlink and inode.sealed == version.sealed:
            return []
        names = names_of(database, version.ino)
        routes = Routes(database)
        faces = [(name, route) for name in names for route in routes.of(name)]
        if len(faces) == 1:
            return [version]
        self._entries.add((bucket.id, key, entry.sequence))
        for name, route in faces:
            shown = max(version.sealed, route.begin)
            if (
                shown >= name.shown
                and shown < min(route.until, self._until(version))
                and (route.bucket, route.key, shown) not in self._entries
                and shown not in erased_entries(database, route.bucket, route.key, shown, shown + 1)
            ):
                return []
        return [version]

    def _until(self, version: Version) -> int:
        """Where the next version of the inode begins."""
        following = self._database.scan(VERSION, (version.ino,), lower=version.sealed + 1, limit=1)
        return following[0].sealed if following else FOREVER


def retention_job(volume: Volume) -> Job:
    """Applies rules in the background."""

    async def run(budget: Budget) -> Result:
        if not volume.retention.any():
            return None
        breaths = 0

        async def breathe() -> None:
            nonlocal breaths
            breaths += 1
            if breaths % _BREATHS_PAID:
                await trio.lowlevel.checkpoint()
            else:
                await budget.spend(_BREATHS_PAID * 4 * KIB)

        database = volume.core.database
        cursor = work_rows.load_note(database, work_rows.RETENTION, Cursor)
        walk = RetentionPass(volume, grace_seconds=RETENTION_GRACE_SECONDS, breathe=breathe)
        applied = await walk.run(cursor)
        return msgspec.structs.asdict(applied) if applied.entries else None

    return Job("retention", run, RETENTION_INTERVAL_SECONDS)
