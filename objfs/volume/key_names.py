"""The keys that a bucket ever had, in the order of their bytes, from any byte string on.

The walk of `key_walk.py` over everything that was: a level is a path, and the directories that it
ever led to; its names are theirs, past and present, together. Keys that were never there but for
a stored delete marker come from the table of those. Of a name with a long past a few rows are read.
"""

from collections.abc import Iterator
from itertools import chain

from objfs.meta.rows import Bucket, Marker
from objfs.meta.tables import DENTRY, DENTRY_PAST, MARKER
from objfs.volume.content import Source
from objfs.volume.key_entries import Directories, KeyEntry, KeyHistory, entries, reach
from objfs.volume.key_paging import beyond, component
from objfs.volume.showing import FOREVER

_ROWS_FIRST, _ROWS_MAX = 8, 512
_GROWTH = 4


class KeysEver:
    """A walk over the keys that begin with a prefix."""

    def __init__(self, source: Source, bucket: Bucket, prefix: bytes) -> None:
        self._source = source
        self._bucket = bucket
        self._end = beyond(prefix)
        self._levels = [_Level(b"", reach(source, bucket, []))]
        self._marked: bytes | None = b""  # the next key with a stored marker; b"": not read yet
        self._named: tuple[bytes, KeyHistory] | None = None  # the next one in the tree

    def next_key(self, at: bytes) -> tuple[bytes, Iterator[KeyEntry]] | None:
        """The first key at or above `at` that shows something, and its entries."""
        while True:
            named, marked = self._next_named(at), self._next_marked(at)
            if named is None and marked is None:
                return None
            if named is not None and (marked is None or named[0] <= marked):
                key, found = named[0], named[1].entries()
            else:
                assert marked is not None
                key, found = marked, entries(self._source, self._bucket, marked)
            first = next(found, None)
            if first is not None:
                return key, chain([first], found)
            at = key + b"\0"

    def _next_marked(self, at: bytes) -> bytes | None:
        if self._marked is not None and (not self._marked or self._marked < at):
            rows: list[Marker] = self._source.scan(
                MARKER, (self._bucket.id,), lower=at, upper=self._end, limit=1
            )
            self._marked = rows[0].key if rows else None
        return self._marked

    def _next_named(self, at: bytes) -> tuple[bytes, KeyHistory] | None:
        if self._named is None or self._named[0] < at:
            self._named = self._walk(at)
        return self._named

    def _walk(self, at: bytes) -> tuple[bytes, KeyHistory] | None:
        levels = self._levels
        while levels and not at.startswith(levels[-1].prefix):
            levels.pop()
        while levels:
            level = levels[-1]
            name = level.next_name(self._source, at)
            if name is None:
                levels.pop()
                continue
            key = level.prefix + name
            if self._end is not None and key >= self._end:
                return None
            if name.endswith(b"/"):
                levels.append(_Level(key, level.directories.below(name)))
            elif key:
                above = level.directories
                return key, KeyHistory(self._source, self._bucket, key, above, name)
        return None


class _Level:
    """A path, and the names of all directories that it led to."""

    def __init__(self, prefix: bytes, directories: Directories) -> None:
        self.prefix = prefix
        found = list(directories.before(FOREVER))
        self.directories = directories.of(found)
        self._inos = list({each.ino: None for each in found})
        self._rows = _ROWS_FIRST
        self._lower = b""
        self._ready: list[bytes] = []  # the next names, last first
        self._ended = False

    def next_name(self, source: Source, at: bytes) -> bytes | None:
        """The next name whose keys may be at or above `at`."""
        low = component(self.prefix, at)
        while self._ready and self._ready[-1] < low:
            self._ready.pop()
        if not self._ready and not self._ended:
            self._read(source, max(low, self._lower))
        return self._ready.pop() if self._ready else None

    def _read(self, source: Source, lower: bytes) -> None:
        names: set[bytes] = set()
        bound: bytes | None = None  # beyond it, some names were not read
        for ino in self._inos:
            for table in (DENTRY, DENTRY_PAST):
                page = [
                    row.key for row in source.scan(table, (ino,), lower=lower, limit=self._rows)
                ]
                names.update(page)
                if len(page) == self._rows and (bound is None or page[-1] < bound):
                    bound = page[-1]
        self._ended = bound is None
        known = sorted((name for name in names if bound is None or name <= bound), reverse=True)
        self._ready = known
        if known:
            self._lower = known[0] + b"\0"
        # Names with a long past fill a page with themselves: then less is read at a time.
        many = len(known) * 2 > self._rows
        self._rows = min(self._rows * _GROWTH, _ROWS_MAX) if many else _ROWS_FIRST
