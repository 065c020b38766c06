"""Every path that a bucket ever had, in the order of keys, and what each one showed.

A path has been there if it has a stretch (`objfs/volume/showing.py`). A directory comes after all
that lies below it, so that who empties directories meets them empty. The walk goes on after any
key: its order is that of the bytes, and a directory's key ends with a slash.

Walks are generators that yield None where the caller should let others run; nothing is held in
between but keys, so what changes meanwhile is seen or not. Of a name with a long past one page is
read, whatever its length.
"""

from collections.abc import Callable, Generator, Iterator
from typing import NamedTuple

from objfs.base.limits import KEY_BYTES_MAX, ROWS_PER_BATCH_MAX
from objfs.meta.database import Database
from objfs.meta.rows import Bucket, Version
from objfs.meta.tables import DENTRY, DENTRY_PAST, VERSION
from objfs.volume.moments import time_of
from objfs.volume.showing import (
    FOREVER,
    OWN_ENTRY,
    Stretch,
    erased_entries,
    is_there,
    split_key,
    stretches_of,
    version_at,
)

_PAGE = ROWS_PER_BATCH_MAX
_AFTER_ALL = b"\xff" * (KEY_BYTES_MAX + 1)  # no name comes after this


class Place(NamedTuple):
    """A path and its stretches, newest first."""

    key: bytes
    stretches: list[Stretch]

    @property
    def is_directory(self) -> bool:
        return self.key.endswith(b"/")


class PathEntry(NamedTuple):
    """What a path showed in [sequence, until). Without a version: a directory, a symlink, what was
    never sealed. From `since` on the name was there because of it: a file that was made and not
    sealed yet has no entry of its own."""

    sequence: int
    since: int
    until: int
    time_ns: int
    stretch: Stretch
    version: Version | None


def paths_ever(
    database: Database, bucket: Bucket, after: bytes, passed_over: Callable[[bytes], bool]
) -> Iterator[Place | None]:
    """The paths after the key `after` (b"": all of them), the bucket's root left out. Directories
    that are `passed_over`, and what lies below them, are left out too."""
    levels = [_Level(b"", b"", [bucket.root])]
    for part in split_key(after):
        levels[-1].after = part or _AFTER_ALL
        prefix = levels[-1].prefix + part
        if part.endswith(b"/") and prefix != after:
            levels.append(_Level(prefix, b"", _directories(database, bucket, prefix)))
    while levels:
        level = levels[-1]
        key = yield from level.next_key(database)
        path = level.prefix + (key or b"")
        if key is None:
            levels.pop()
            if not path:
                return
            own = stretches_of(database, bucket.root, path + OWN_ENTRY)
            if own := [each for each in own if not each.own]:  # an object `dir/` that S3 put
                yield Place(path + OWN_ENTRY, own)
        elif key.endswith(b"/"):
            if not passed_over(path):
                levels.append(_Level(path, b"", _directories(database, bucket, path)))
            continue
        stretches = stretches_of(database, bucket.root, path)
        yield Place(path, stretches) if stretches else None


def _directories(database: Database, bucket: Bucket, key: bytes) -> list[int]:
    """The inodes that a directory's path led to."""
    return list({stretch.ino: None for stretch in stretches_of(database, bucket.root, key)})


class _Level:
    """The names that a path's directories ever had."""

    def __init__(self, prefix: bytes, after: bytes, inos: list[int]) -> None:
        self.prefix = prefix
        self.after = after  # the last name that was handled
        self._inos = inos
        self._ready: list[bytes] = []  # the next ones, last first

    def next_key(self, database: Database) -> Generator[None, None, bytes | None]:
        """The next name, as the generator's value; None at the end."""
        while not self._ready:
            names: set[bytes] = set()
            bound: bytes | None = None  # beyond it, some names were not read
            for ino in self._inos:
                lower = self.after + b"\0"
                now = [row.key for row in database.scan(DENTRY, (ino,), lower=lower, limit=_PAGE)]
                past = database.scan(DENTRY_PAST, (ino,), lower=lower, limit=_PAGE)
                for page in (now, [row.key for row in past]):
                    names.update(page)
                    if len(page) == _PAGE and (bound is None or page[-1] < bound):
                        bound = page[-1]
                yield None
            if not names:
                return None
            self._ready = sorted(
                (name for name in names if bound is None or name <= bound), reverse=True
            )
        self.after = self._ready.pop()
        return self.after


def entries_ever(database: Database, bucket: Bucket, place: Place) -> Iterator[PathEntry | None]:
    """What a path showed, newest first."""
    for stretch in place.stretches:
        yield from _entries(database, bucket, place.key, stretch)


def _entries(
    database: Database, bucket: Bucket, key: bytes, stretch: Stretch
) -> Iterator[PathEntry | None]:
    ino, begin, until = stretch.ino, stretch.begin, stretch.until
    erased = erased_entries(database, bucket.id, key, begin, until)
    begin_hidden = begin < stretch.shown or begin in erased
    first = None if begin_hidden else version_at(database, ino, begin)
    held: Version | None = None  # the one before it may be the first
    lower, upper = max(begin + 1, stretch.shown), until
    seen = False
    while True:
        page = database.scan(VERSION, (ino,), lower=lower, upper=upper, limit=_PAGE, reverse=True)
        seen = seen or bool(page)
        for row in page:
            if row.sealed in erased:
                continue
            if held is not None:
                yield PathEntry(held.sealed, held.sealed, until, held.time_ns, stretch, held)
                until = held.sealed
            held = row
        if len(page) < _PAGE:
            break
        upper = page[-1].sealed
        yield None
    if held is not None:
        since = held.sealed if begin_hidden or first is not None else begin
        yield PathEntry(held.sealed, since, until, held.time_ns, stretch, held)
        until = held.sealed
    if first is not None:
        time_ns = first.time_ns
        if first.sealed != begin:
            time_ns = max(time_ns, time_of(database, begin))
        yield PathEntry(begin, begin, until, time_ns, stretch, first)
    elif not begin_hidden and not seen and is_there(database, stretch, erased, begin):
        yield PathEntry(begin, begin, until, time_of(database, begin), stretch, None)


def shows_something_below(
    database: Database, bucket: Bucket, key: bytes, stretch: Stretch
) -> Iterator[bool | None]:
    """Whether anything directly in the directory `key` is still shown while it was `stretch.ino`.
    Ends with True or False, None before."""
    level = _Level(key, b"", [stretch.ino])
    while True:
        name = yield from level.next_key(database)
        if name is None:
            yield False
            return
        below = stretches_of(database, bucket.root, key + name, stretch.begin, stretch.until)
        inside = [
            each for each in below if stretch.begin <= each.begin and each.until <= stretch.until
        ]
        for entry in entries_ever(database, bucket, Place(key + name, inside)):
            if entry is not None:
                yield True
                return
            yield None
        yield None


def deleted_at(database: Database, place: Place) -> int | None:
    """When a path ended to lead anywhere, in nanoseconds since 1970; None while it does."""
    until = place.stretches[0].until
    return None if until >= FOREVER else time_of(database, until)
