"""The entries of a key as S3 shows them: versions, delete markers, null entries (DESIGN 5).

The theory. What a path led to, and when, is told by its stretches (`objfs/volume/showing.py`); an
entry is a version that a stretch shows. To that, S3 adds:

- A *delete marker* is derived where a stretch ends and none begins, or stored (`Marker`) where a
  delete closed nothing. When S3 erases a version, the marker after it has to stay: then it becomes
  a stored one that stands for all ends in [since, at]. One that S3 erased stays as a row that is
  `gone`, so that the ends it stands for show none.
- An entry made while the bucket's versioning was not on is *null*. Of a key's null entries only the
  newest is shown. While versioning was off, deletes left no marker: such a one is seen only if
  there is something below it to be deleted, a version that is not null.
- An entry that *came back*, because everything newer was erased, is the first one of a stretch with
  `entry`: it is the same entry under the same id. The earlier one is not shown twice.

Symlinks, special files and files that were never sealed are no entries, and end none.
"""

import stat
from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from objfs.meta.rows import Bucket, Dentry, Inode, Marker, Version
from objfs.meta.tables import DENTRY, INODE, MARKER, VERSION
from objfs.volume.content import Source
from objfs.volume.object_keys import components, path_of
from objfs.volume.showing import (
    FOREVER,
    Stretch,
    entries_of,
    erased_entries,
    is_there,
    stretches_of,
)


class Entry(NamedTuple):
    """One entry of a key."""

    sequence: int  # its place in history, and what it is called when it is erased
    id: int  # what S3 calls it: another one for an entry that came back
    null: bool
    stretch: Stretch | None  # None: a stored delete marker
    version: Version | None  # None: a delete marker, or a directory's own entry
    marker: bool = False
    owner: str | None = None  # of a stored marker
    until: int = FOREVER  # where the next entry of the stretch begins, or it ends


def is_null(bucket: Bucket, sequence: int) -> bool:
    """Whether an entry made at that sequence is null."""
    return _inside(bucket.null_spans, sequence, bucket.versioning != "on")


def was_off(bucket: Bucket, sequence: int) -> bool:
    """Whether versioning was off at that sequence: deletes left no marker."""
    return _inside(bucket.off_spans, sequence, bucket.versioning == "off")


def _inside(spans: list[int], sequence: int, always: bool) -> bool:
    """`always`: what counts when nothing was ever noted down."""
    return bool(bisect_right(spans, sequence) % 2) if spans else always


def shown_entries(source: Source, bucket: Bucket, key: bytes) -> list[Entry]:
    """What S3 shows of a key, the latest first."""
    found: list[Entry] = []
    ids: set[int] = set()
    seen_null = False
    for entry in all_entries(source, bucket, key):
        if entry.id in ids or (entry.null and seen_null):
            continue
        ids.add(entry.id)
        seen_null = seen_null or entry.null
        found.append(entry)
    return _without_old_deletes(bucket, found)


def _without_old_deletes(bucket: Bucket, entries: list[Entry]) -> list[Entry]:
    """Leave out what deletes of a bucket without versioning would show as markers."""
    while entries and entries[-1].marker and was_off(bucket, entries[-1].sequence):
        entries.pop()
    return entries


def all_entries(source: Source, bucket: Bucket, key: bytes) -> Iterator[Entry]:
    """All entries of a key, the newest first: also null ones that S3 does not show any more, and
    twice what came back."""
    path = path_of(key)
    stored = [row for row in source.scan(MARKER, (bucket.id, key), reverse=True) if row.at]
    stretches = stretches_of(source, bucket.root, path)
    erased = erased_entries(source, bucket.id, path) if stretches else set()
    markers = [
        Entry(row.at, row.at, is_null(bucket, row.at), None, None, True, row.owner)
        for row in stored
        if not row.gone
    ]
    for entry in _of_stretches(source, bucket, stretches, erased, stored):
        while markers and markers[0].sequence >= entry.sequence:
            marker = markers.pop(0)
            if not (entry.marker and marker.sequence == entry.sequence):
                yield marker
        yield entry
    yield from markers


def _of_stretches(
    source: Source,
    bucket: Bucket,
    stretches: list[Stretch],
    erased: set[int],
    stored: list[Marker],
) -> Iterator[Entry]:
    objects = [each for each in stretches if is_object(source, each)]
    begins = {stretch.begin for stretch in objects}
    deleted = False
    for stretch in objects:
        until = stretch.until
        ended = until not in begins and until != FOREVER and not stretch.replaced
        deleted = deleted or (ended and cover_of(stored, until) is None)
        entries = list(_of_stretch(source, bucket, stretch, erased))
        if not entries:
            continue
        if deleted:
            yield Entry(until, until, is_null(bucket, until), stretch, None, True)
            deleted = False
        yield from entries


def is_object(source: Source, stretch: Stretch) -> bool:
    """Whether S3 ever saw what a stretch led to: a sealed file, or a directory's own entry."""
    return stretch.own or bool(source.scan(VERSION, (stretch.ino,), upper=stretch.until, limit=1))


def cover_of(stored: list[Marker], end: int) -> Marker | None:
    """The stored marker, perhaps a gone one, that stands for the end of a stretch."""
    return next((row for row in stored if row.since and row.since <= end <= row.at), None)


def _of_stretch(
    source: Source, bucket: Bucket, stretch: Stretch, erased: set[int]
) -> Iterator[Entry]:
    until = stretch.until
    if stretch.own:
        if is_there(source, stretch, erased, until - 1):
            begin = stretch.begin
            id = stretch.entry or begin
            yield Entry(begin, id, is_null(bucket, id), stretch, None, until=until)
        return
    for sequence, version in entries_of(source, stretch, erased):
        id = stretch.entry if stretch.entry and sequence == stretch.begin else sequence
        yield Entry(sequence, id, is_null(bucket, id), stretch, version, until=until)
        until = sequence


class Current(NamedTuple):
    """What a key leads to in the tree of now."""

    parent: int  # the directory that holds the name; 0: it does not exist
    dentry: Dentry | None
    inode: Inode | None
    entry: Entry | None  # None: nothing, or no object


NOTHING = Current(0, None, None, None)


def current_of(source: Source, bucket: Bucket, key: bytes) -> Current:
    """The same as the first of `shown_entries`, if that is no marker, at the cost of a lookup."""
    parts = components(key)
    parent, begin = bucket.root, 0
    for part in parts[:-1]:
        above: Dentry | None = source.get(DENTRY, parent, part)
        if above is None:
            return NOTHING
        parent, begin = above.ino, max(begin, above.since)
    dentry: Dentry | None = source.get(DENTRY, parent, parts[-1])
    if dentry is None:
        return Current(parent, None, None, None)
    inode: Inode | None = source.get(INODE, dentry.ino)
    assert inode is not None, f"entry {dentry.key!r} of {parent} leads to no inode"
    return Current(parent, dentry, inode, _current_entry(source, bucket, dentry, inode, begin))


def _current_entry(
    source: Source, bucket: Bucket, dentry: Dentry, inode: Inode, above: int
) -> Entry | None:
    begin = max(above, dentry.since)
    own = dentry.ino == dentry.parent
    came_back = dentry.entry if begin == dentry.since else 0
    stretch = Stretch(dentry.ino, begin, FOREVER, dentry.shown, False, came_back, own)
    if own:
        id = came_back or begin
        return Entry(begin, id, is_null(bucket, id), stretch, None)
    if not stat.S_ISREG(inode.mode) or not inode.sealed:
        return None
    version: Version | None = source.get(VERSION, inode.ino, inode.sealed)
    if version is None:
        return None
    sequence = max(begin, version.sealed)
    id = came_back if came_back and sequence == begin else sequence
    return Entry(sequence, id, is_null(bucket, id), stretch, version)
