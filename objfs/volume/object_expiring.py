"""Noncurrent versions erased several at a time, for rules that let them go in numbers.

The same as a DELETE of each version, where that is simple: `object_deleting.py` reads all entries
of a key, because a delete marker or an older version may have to take a new place. Neither is so
for a version

- that is named by its own sequence (it never came back) and is not null,
- in a stretch that goes on, or is followed by another at once: there is no marker at its end; or
  the end of which has a stored marker already that stands for the whole stretch.

Such versions are found by seeks, so the cost does not grow with the history of the key.
"""

from collections.abc import Sequence
from typing import NamedTuple

from objfs.meta.database import Change
from objfs.meta.rows import Bucket, Marker
from objfs.meta.tables import MARKER
from objfs.volume.core import Core
from objfs.volume.erasing import MARKS_PER_CHANGE, Erasing, find_entry, is_current
from objfs.volume.history import version_id
from objfs.volume.object_entries import is_null, is_object
from objfs.volume.object_keys import path_of
from objfs.volume.object_lock import locked_until
from objfs.volume.object_reading import ObjectReading
from objfs.volume.object_types import ObjectInfo
from objfs.volume.showing import FOREVER, Stretch, stretches_of

EXPIRED_AT_ONCE_MAX = MARKS_PER_CHANGE
_MARKERS_READ = 16


class Expired(NamedTuple):
    """What became of versions."""

    erased: int
    locked: int
    pinned: int
    left: list[ObjectInfo]  # for a DELETE of each


class ObjectExpiring:
    """The verb `expire`."""

    def __init__(self, core: Core, reading: ObjectReading, erasing: Erasing) -> None:
        self._core = core
        self._reading = reading
        self._erasing = erasing

    async def expire(self, bucket: str, key: bytes, infos: Sequence[ObjectInfo]) -> Expired:
        """Erase noncurrent versions of a key, at most EXPIRED_AT_ONCE_MAX. Those that are not what
        a list told of them, with their tags, stay. NoSuchBucket."""
        row, path = self._reading.bucket(bucket), path_of(key)
        sorting = _Sorting(self._core, row, key)
        await self._erasing.erase_object(
            row, path, lambda change: sorting.sort(change, infos), lambda change: None
        )
        return Expired(sorting.erased, sorting.locked, sorting.pinned, sorting.left)


class _Sorting:
    """What may go, inside of the change that erases it."""

    def __init__(self, core: Core, bucket: Bucket, key: bytes) -> None:
        self._core = core
        self._bucket = bucket
        self._key = key
        self._clear()

    def _clear(self) -> None:
        self.erased = self.locked = self.pinned = 0
        self.left: list[ObjectInfo] = []

    def sort(self, change: Change, infos: Sequence[ObjectInfo]) -> list[int]:
        """The sequences to erase. Called again if the change has to be made again."""
        self._clear()
        found = [info.sequence for info in infos if self._may_go(change, info)]
        self.erased = len(found)
        return found

    def _may_go(self, change: Change, info: ObjectInfo) -> bool:
        bucket, sequence = self._bucket, info.sequence
        if info.version_id != version_id(sequence) or is_null(bucket, sequence):
            self.left.append(info)
            return False
        entry = find_entry(change, bucket, path_of(self._key), sequence)
        if entry is None or entry.version is None or is_current(entry):
            self.left.append(info)
        elif (entry.version.tags or {}) != info.tags:
            return False
        elif locked_until(entry.version, change.time_ns) is not None:
            self.locked += 1
        elif self._core.pins.holds(bucket.id, path_of(self._key), entry.since, entry.until):
            self.pinned += 1
        elif self._moves_no_marker(change, entry.stretch):
            return True
        else:
            self.left.append(info)
        return False

    def _moves_no_marker(self, change: Change, stretch: Stretch) -> bool:
        """Whether no delete marker depends on the versions of a stretch."""
        if stretch.own or stretch.entry:
            return False
        if stretch.until == FOREVER:
            return True
        rows: list[Marker] = change.scan(
            MARKER, (self._bucket.id, self._key), lower=stretch.until, limit=_MARKERS_READ
        )
        for row in rows:
            if row.since and row.since <= stretch.until:
                return row.since <= stretch.begin
        if len(rows) == _MARKERS_READ:
            return False
        return stretch.replaced or self._is_followed(change, stretch.until)

    def _is_followed(self, change: Change, end: int) -> bool:
        """Whether the key leads to another object from the end of a stretch on."""
        after = stretches_of(change, self._bucket.root, path_of(self._key), end, end + 1)
        return any(each.begin == end and is_object(change, each) for each in after)
