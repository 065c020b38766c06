"""The keys of a bucket as they are now, in the order of their bytes, from any byte string on.

A directory's key ends with a slash, so the order of a directory's entries is that of the keys below
it: the walk goes down where it meets a directory, and passes all keys in order. To seek, it leaves
the levels that lie behind and reads on in the one that is left, so what a common prefix stands for
is not read. Only what S3 calls an object is met: sealed files, and what directories are themselves.
"""

import stat
from typing import Any, NamedTuple, Protocol

from objfs.meta.rows import Bucket, Dentry, Inode
from objfs.meta.tables import DENTRY, INODE
from objfs.volume.key_paging import Question, beyond, component

_ROWS_FIRST, _ROWS_FIRST_BELOW_PREFIX = 64, 4
_GROWTH = 4


class PageSource(Protocol):
    """What a page is read from: an engine, the database or a change."""

    @property
    def get(self) -> Any:
        """See `objfs.meta.engine.Engine.get`."""

    @property
    def get_many(self) -> Any:
        """See `objfs.meta.engine.Engine.get_many`."""

    @property
    def scan(self) -> Any:
        """See `objfs.meta.engine.Engine.scan`."""


class Met(NamedTuple):
    """A key and what it leads to."""

    key: bytes
    begin: int  # since when the key has led there
    dentry: Dentry
    inode: Inode | None  # None: it is the object of a directory


class KeyWalk:
    """A walk over the keys that may answer a question. Good as long as nothing changes."""

    def __init__(self, source: PageSource, bucket: Bucket, question: Question) -> None:
        self._source = source
        self._question = question
        self._end = beyond(question.prefix)
        self._levels = [self._level(b"", bucket.root, 0)]

    def next_key(self, at: bytes) -> Met | None:
        """The first key at or above `at`, which is above the one before. None at the end."""
        levels = self._levels
        while levels and not at.startswith(levels[-1].prefix):
            levels.pop()
        while levels:
            level = levels[-1]
            found = level.next_row(self._source, at)
            if found is None:
                levels.pop()
                continue
            row, inode = found
            key, begin = level.prefix + row.key, max(level.begin, row.since)
            if self._end is not None and key >= self._end:
                return None
            if row.key.endswith(b"/"):
                levels.append(self._level(key, row.ino, begin))
            elif not row.key:
                if key and (inode is None or inode.sealed):
                    return Met(key, begin, row, inode)
            elif inode is not None and inode.sealed and stat.S_ISREG(inode.mode):
                return Met(key, begin, row, inode)
        return None

    def _level(self, prefix: bytes, ino: int, begin: int) -> "_Level":
        question = self._question
        rows = _ROWS_FIRST
        if question.prefix.startswith(prefix):
            inside = question.prefix[len(prefix) :]
            rows = 1 if b"/" in inside else question.limit + 1
        elif question.delimiter:
            rows = _ROWS_FIRST_BELOW_PREFIX
        return _Level(prefix, ino, begin, rows, max(rows, question.limit + 1))


class _Level:
    """One directory of the way down."""

    def __init__(self, prefix: bytes, ino: int, begin: int, rows: int, most: int) -> None:
        self.prefix = prefix
        self.begin = begin
        self._ino = ino
        self._rows = rows  # to read next
        self._most = most
        self._ready: list[Dentry] = []  # the next ones, last first
        self._inodes: dict[int, Inode] = {}
        self._lower = b""  # what was not read yet begins here
        self._ended = False

    def next_row(self, source: PageSource, at: bytes) -> tuple[Dentry, Inode | None] | None:
        """The next entry whose keys may be at or above `at`; without an inode, a directory."""
        low = component(self.prefix, at)
        ready = self._ready
        while ready and ready[-1].key < low:
            ready.pop()
        if not ready:
            self._read(source, low)
            ready = self._ready
        if not ready:
            return None
        row = ready.pop()
        return row, self._inodes.get(row.ino)

    def _read(self, source: PageSource, low: bytes) -> None:
        if self._ended:
            return
        lower = max(low, self._lower)
        page: list[Dentry] = source.scan(DENTRY, (self._ino,), lower=lower, limit=self._rows)
        self._ended = len(page) < self._rows
        self._rows = min(self._rows * _GROWTH, self._most)
        self._ready = page[::-1]
        if page:
            self._lower = page[-1].key + b"\0"
        inos = [(row.ino,) for row in page if row.ino != self._ino and row.key[-1:] != b"/"]
        rows: list[Inode | None] = source.get_many(INODE, inos) if inos else []
        self._inodes = {row.ino: row for row in rows if row is not None}
