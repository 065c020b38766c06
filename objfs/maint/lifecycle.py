"""Lifecycle applied: walks the buckets that have rules, and does what S3 says of what is due.

What always holds:

- Everything goes through the verbs of S3: what is the newest entry of a key is deleted as a DELETE
  does it (a marker where versions are kept), what is not is erased as a DELETE of that version does
  it, several versions at a time where that is simple (`object_expiring.py`). So what object lock,
  legal holds and snapshots keep stays, and is counted.
- What was judged is looked at again in the change that deletes it (`Unchanged`): an entry that is
  not the same any more, or is the newest now and was not, stays until it is judged again.
- The rules are read again before each page is acted upon: rules that are gone do nothing more.
- Once a day, when it begins, and soon after rules were given. A pass notes the last key that is
  done with; one that was stopped, by a crash too, goes on there, and the next day begins anew.
- Pages are read in threads; between two pieces of work others run. A page is acted upon after the
  next one was read, since that begins behind an entry of it.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

import msgspec

from objfs.base.errors import (
    KeyTooLong,
    Locked,
    NoSuchBucket,
    NoSuchUpload,
    Pinned,
    PreconditionFailed,
)
from objfs.base.limits import (
    BACKGROUND_START_SECONDS,
    KIB,
    LIFECYCLE_LOOKS_PER_DAY,
    LIFECYCLE_NOTE_SECONDS,
    LIFECYCLE_RULES_AT_ONCE_MAX,
)
from objfs.maint.scheduler import Budget, Job, Result
from objfs.meta.rows import Bucket
from objfs.volume import work_rows
from objfs.volume.lifecycle_rules import (
    LIFECYCLE,
    Entry,
    LifecycleConfiguration,
    due,
    key_text,
    lifecycle_of,
    prefixes_of,
    upload_due,
)
from objfs.volume.object_expiring import EXPIRED_AT_ONCE_MAX
from objfs.volume.object_types import Conditions, ObjectInfo
from objfs.volume.volume import Volume

_PAGE_BYTES = 64 * KIB  # that a page of entries counts for
_DELETE_BYTES = 8 * KIB
_UPLOADS_PER_PAGE = 100


class Applied(msgspec.Struct):
    """What a pass did: how many of each."""

    expired: int = 0  # newest versions that were deleted
    noncurrent: int = 0  # noncurrent versions and markers that were erased
    markers: int = 0  # delete markers with nothing below them
    uploads: int = 0  # that were aborted
    locked: int = 0  # versions that were due, but object lock keeps them
    pinned: int = 0  # the same, and a snapshot shows them


class Cursor(msgspec.Struct):
    """How far a pass is that began on a day: everything up to the key `after` of `bucket`."""

    day: int = 0
    bucket: int = 0
    after: bytes = b""
    applied: Applied = msgspec.field(default_factory=Applied)


class Unchanged(Conditions, frozen=True, kw_only=True):
    """Demands that an entry is what was judged."""

    judged: ObjectInfo

    def check_write(self, info: ObjectInfo | None) -> None:
        """PreconditionFailed. Of delete markers nothing is told, nor of what is gone."""
        if self.judged.delete_marker and info is None:
            return
        if info is None or _identity(info) != _identity(self.judged):
            raise PreconditionFailed("lifecycle", "the entry changed since it was judged")


def _identity(info: ObjectInfo) -> tuple[int, bool, bool, dict[str, str]]:
    return info.sequence, info.delete_marker, info.latest, info.tags


class _Place(NamedTuple):
    """Where a walk is within a key."""

    info: ObjectInfo  # its next neighbour is not known yet
    newer: ObjectInfo | None = None  # the entry before it
    newer_noncurrent: int = 0  # noncurrent versions before it

    @property
    def is_single(self) -> bool:
        """Whether it is no noncurrent version: those go several at a time."""
        return self.newer is None or self.info.delete_marker

    def followed_by(self, info: ObjectInfo) -> "_Place":
        """The place of the entry after this one."""
        if info.key != self.info.key:
            return _Place(info)
        counts = self.newer is not None and not self.info.delete_marker
        return _Place(info, self.info, self.newer_noncurrent + counts)

    def entry(self, following: ObjectInfo | None) -> Entry:
        """What the rules look at."""
        info, newer = self.info, self.newer
        return Entry(
            key_text(info.key),
            info.time_ns,
            info.size,
            info.tags,
            delete_marker=info.delete_marker,
            noncurrent_since_ns=None if newer is None else newer.time_ns,
            newer_noncurrent=self.newer_noncurrent,
            alone=newer is None and (following is None or following.key != info.key),
        )


def _together(places: list[_Place]) -> Iterator[list[_Place]]:
    """Noncurrent versions of one key that follow each other, a few at a time; all else alone."""
    group: list[_Place] = []
    for place in places:
        full = len(group) == EXPIRED_AT_ONCE_MAX or place.is_single
        if group and (full or group[0].is_single or group[0].info.key != place.info.key):
            yield group
            group = []
        group.append(place)
    if group:
        yield group


class LifecyclePass:
    """One walk over all buckets."""

    def __init__(
        self, volume: Volume, day_ns: int, spend: Callable[[int], Awaitable[None]]
    ) -> None:
        """`spend` is awaited before each piece of work, with the bytes that it counts for."""
        self._volume = volume
        self._core = volume.core
        self._day_ns = day_ns
        self._spend = spend
        self._now_ns = now_ns(volume)
        self._noted_at = self._core.clock.monotonic()
        self._looked = 0  # rules since others ran
        self._place: _Place | None = None
        self._whole = b""  # the last key of which everything was judged
        self._cursor = Cursor()

    async def run(self, cursor: Cursor) -> Applied:
        """Everything behind the cursor."""
        self._cursor = cursor
        for bucket in sorted(self._volume.buckets(), key=lambda row: row.id):
            configuration = lifecycle_of(bucket)
            if configuration is not None and bucket.id >= cursor.bucket:
                if bucket.id > cursor.bucket:
                    cursor.bucket, cursor.after = bucket.id, b""
                await self._bucket(bucket, configuration)
        work_rows.save_note(self._core, work_rows.LIFECYCLE, None)
        return cursor.applied

    async def _bucket(self, bucket: Bucket, configuration: LifecycleConfiguration) -> None:
        try:
            if not await self._uploads(bucket, configuration):
                return
            for prefix in prefixes_of(configuration):
                text = prefix.encode("utf-8", "surrogateescape")
                if not await self._keys(bucket, configuration, text):
                    return
        except NoSuchBucket:  # deleted meanwhile
            return

    async def _uploads(self, bucket: Bucket, configuration: LifecycleConfiguration) -> bool:
        """Uploads that go on; False when the rules changed meanwhile. There are few, so a pass that
        is resumed begins anew with them."""
        uploads = self._volume.uploads
        key, upload, truncated = b"", "", any(rule.abort_days for rule in configuration.rules)
        while truncated:
            await self._spend(_PAGE_BYTES)
            page = uploads.list_uploads(bucket.name, b"", key, upload, limit=_UPLOADS_PER_PAGE)
            for info in page.uploads:
                text = key_text(info.key)
                await self._look(configuration)
                found = upload_due(configuration, text, info.time_ns, day_ns=self._day_ns)
                if found is None or found.time_ns > self._now_ns:
                    continue
                await self._spend(_DELETE_BYTES)
                if self._are_other(bucket):
                    return False
                with suppress(NoSuchUpload):  # it was completed meanwhile
                    await uploads.abort(bucket.name, info.key, info.upload_id)
                    self._cursor.applied.uploads += 1
            key, upload, truncated = page.next_key, page.next_upload, page.truncated
        return True

    async def _look(self, configuration: LifecycleConfiguration) -> None:
        """Let others run when many rules were looked at."""
        self._looked += len(configuration.rules)
        if self._looked >= LIFECYCLE_RULES_AT_ONCE_MAX:
            self._looked = 0
            await self._spend(0)

    async def _keys(
        self, bucket: Bucket, configuration: LifecycleConfiguration, prefix: bytes
    ) -> bool:
        """The keys with a prefix; False when the rules changed meanwhile."""
        after, version, truncated = self._cursor.after, "", True
        self._place, self._whole = None, after
        found: list[_Place] = []
        whole = after
        while truncated:
            await self._spend(_PAGE_BYTES)
            page = await self._volume.keys.list_versions(bucket.name, prefix, after, version)
            if not await self._act(bucket, found, whole):
                return False
            found = []
            for info in page.entries:
                found += await self._judge(configuration, info)
            whole = self._whole
            after, version, truncated = page.next_key, page.next_version, page.truncated
        found += await self._judge(configuration, None)
        return await self._act(bucket, found, self._whole)

    async def _judge(
        self, configuration: LifecycleConfiguration, following: ObjectInfo | None
    ) -> list[_Place]:
        """The entry before `following` (None: the last one), if it is due."""
        place, self._place = self._place, None
        if following is not None:
            self._place = _Place(following) if place is None else place.followed_by(following)
        if place is None:
            return []
        if following is None or following.key != place.info.key:
            self._whole = place.info.key
        await self._look(configuration)
        found = due(configuration, place.entry(following), day_ns=self._day_ns)
        return [place] if found is not None and found.time_ns <= self._now_ns else []

    async def _act(self, bucket: Bucket, found: list[_Place], whole: bytes) -> bool:
        """Delete what is due; False when the rules changed. Then everything up to `whole` is
        done."""
        for places in _together(found):
            await self._spend(_DELETE_BYTES * len(places))
            if self._are_other(bucket):
                return False
            for place in await self._expire(bucket.name, places):
                await self._spend(_DELETE_BYTES)
                await self._delete(bucket.name, place)
        cursor = self._cursor
        cursor.bucket, cursor.after = bucket.id, whole
        if self._core.clock.monotonic() - self._noted_at >= LIFECYCLE_NOTE_SECONDS:
            self._noted_at = self._core.clock.monotonic()
            work_rows.save_note(self._core, work_rows.LIFECYCLE, cursor)
        return not self._are_other(bucket)

    def _are_other(self, bucket: Bucket) -> bool:
        """Whether the rules are not those that were read."""
        row = self._volume.bucket(bucket.name)
        return row.id != bucket.id or row.policy.get(LIFECYCLE) != bucket.policy.get(LIFECYCLE)

    async def _expire(self, bucket: str, places: list[_Place]) -> list[_Place]:
        """Erase noncurrent versions of a key together; those that are left for `_delete`."""
        if places[0].is_single:
            return places
        key, applied = places[0].info.key, self._cursor.applied
        expired = await self._volume.objects.expire(bucket, key, [each.info for each in places])
        applied.noncurrent += expired.erased
        applied.locked += expired.locked
        applied.pinned += expired.pinned
        return [each for each in places if each.info in expired.left]

    async def _delete(self, bucket: str, place: _Place) -> None:
        applied, info = self._cursor.applied, place.info
        is_newest = place.newer is None and not info.delete_marker
        try:
            await self._volume.objects.delete(
                bucket,
                info.key,
                None if is_newest else info.version_id,
                conditions=Unchanged(judged=info),
                sync=False,
            )
        except Locked:
            applied.locked += 1
        except Pinned:
            applied.pinned += 1
        except (PreconditionFailed, KeyTooLong):  # a path of the mount that is no key
            return
        else:
            applied.expired += is_newest
            applied.noncurrent += place.newer is not None
            applied.markers += place.newer is None and info.delete_marker


def now_ns(volume: Volume) -> int:
    """The time that entries are judged at: a store's own time never goes back."""
    return max(volume.core.clock.now_ns(), volume.core.database.time_ns)


class _Worker:
    """The job's memory."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._day_ns = volume.lifecycle_day_ns
        self._done: object = None  # the day that was done last, and by which rules
        self.totals = dict.fromkeys(Applied.__struct_fields__, 0)

    async def run(self, budget: Budget) -> Result:
        """A pass, if one was stopped, the day is new, or the rules are."""
        volume = self._volume
        rules = [(row.id, row.policy.get(LIFECYCLE)) for row in volume.buckets()]
        if not any(stored for _, stored in rules):
            return None
        cursor = work_rows.load_note(volume.core.database, work_rows.LIFECYCLE, Cursor)
        if cursor is None:
            cursor = Cursor(day=now_ns(volume) // self._day_ns)
            if (cursor.day, rules) == self._done:
                return None
        applied = await LifecyclePass(volume, self._day_ns, budget.spend).run(cursor)
        self._done = (cursor.day, rules)
        counts = msgspec.structs.asdict(applied)
        for name, count in counts.items():
            self.totals[name] += count
        return counts if any(counts.values()) else None


def lifecycle_job(volume: Volume) -> Job:
    """Applies rules in the background."""
    worker = _Worker(volume)
    interval = volume.lifecycle_day_ns / 1e9 / LIFECYCLE_LOOKS_PER_DAY
    return Job(
        "lifecycle",
        worker.run,
        interval,
        start_seconds=min(interval, BACKGROUND_START_SECONDS),
        totals=worker.totals,
    )
