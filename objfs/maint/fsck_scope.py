"""Which objects a check of a path looks at: what is, and was, at and below it.

The tree is gone through depth first; the stack of places is how far it is, so it can go on later. A
directory that moved away is not followed from where it was: it is checked where it is now.
"""

import stat
from typing import NamedTuple

from objfs.maint.fsck_bytes import ByteChecks
from objfs.maint.fsck_tree import TreeChecks
from objfs.maint.fsck_work import Checking, Stage, Work
from objfs.maint.live_records import TABLES as EXTENTS
from objfs.meta.paging import rows_after
from objfs.meta.rows import DentryPast
from objfs.meta.tables import (
    DENTRY,
    DENTRY_PAST,
    INODE,
    INODE_PAST,
    VERSION,
    Key,
)

_ROWS = 64


class Place(NamedTuple):
    """An inode on the way. `phase` 0: not looked at yet; 1: its current names, after `key`; 2: its
    past ones, after (`key`, `until`)."""

    ino: int
    phase: int = 0
    key: bytes | None = None
    until: int = 0


class Scope:
    """Visits everything at and below some inodes."""

    def __init__(
        self, work: Work, tree: TreeChecks, content: ByteChecks, places: list[Place]
    ) -> None:
        self._work = work
        self._database = work.database
        self._tree = tree
        self._content = content
        self._stack = places

    def visit(self) -> Stage:
        """Every object; yields the stack of places."""
        while self._stack:
            place = self._stack.pop()
            if place.phase == 0:
                yield from self._inode(place.ino)
                if self._is_directory(place.ino):
                    self._stack.append(Place(place.ino, 1))
            elif place.phase == 1:
                self._current(place)
            else:
                self._past(place)
            self._work.objects += 1
            yield tuple(self._stack)

    def _is_directory(self, ino: int) -> bool:
        row = self._database.get(INODE, ino)
        if row is None:
            past = self._database.scan(INODE_PAST, (ino,), reverse=True, limit=1)
            row = past[0].inode if past else None
        return row is not None and stat.S_ISDIR(row.mode)

    def _current(self, place: Place) -> None:
        """The next current name of a directory."""
        lower = None if place.key is None else place.key + b"\0"
        rows = self._database.scan(DENTRY, (place.ino,), lower=lower, limit=1)
        if not rows:
            self._stack.append(Place(place.ino, 2))
            return
        (row,) = rows
        self._stack.append(place._replace(key=row.key))
        self._tree.dentry(row)
        if row.ino != place.ino and all(each.ino != row.ino for each in self._stack):
            self._stack.append(Place(row.ino))

    def _past(self, place: Place) -> None:
        """The next past name."""
        after: Key = () if place.key is None else (place.ino, place.key, place.until)
        rows = rows_after(self._database, DENTRY_PAST, after, 1, prefix=(place.ino,))
        if not rows:
            return
        (row,) = rows
        self._stack.append(place._replace(key=row.key, until=row.until))
        self._tree.dentry_past(row)
        if not self._lives_elsewhere(row) and all(each.ino != row.ino for each in self._stack):
            self._stack.append(Place(row.ino))

    def _lives_elsewhere(self, row: DentryPast) -> bool:
        return row.key.endswith(b"/") and self._database.get(INODE, row.ino) is not None

    def _inode(self, ino: int) -> Checking[None]:
        """An inode with its names, versions and extents."""
        for name in self._database.scan(DENTRY, (ino,), index="ino", limit=_ROWS):
            self._tree.dentry(name)
        yield from self._tree.inode(ino)
        yield from self._content.inode(ino)
        row = self._database.get(INODE, ino)
        contents = {row.content} if row is not None and row.content else set[int]()
        after: Key = ()
        while versions := rows_after(self._database, VERSION, after, _ROWS, prefix=(ino,)):
            for version in versions:
                contents.add(version.content)
                yield from self._content.version(ino, version.sealed)
            after = VERSION.key_of(versions[-1])
        for content in sorted(contents):
            yield from self._extents(content)

    def _extents(self, content: int) -> Checking[None]:
        for table in EXTENTS:
            after: Key = ()
            while rows := rows_after(self._database, table, after, _ROWS, prefix=(content,)):
                for row in rows:
                    self._content.extent(row)
                self._work.extents += rows
                after = table.key_of(rows[-1])
                yield
