"""What changed at and below a directory, newest first: names that came, went or moved, and versions
that were sealed, by the paths that they had then.

A change is an event of one name: it began (created, renamed, or changed if the path went on from
another file), a version was sealed while it held (changed), or it ended (deleted; a rename is told
at the new name, or at the old one if the new one lies elsewhere). What moves with a directory that
was renamed did not change.

The index has no order of time over paths, so a page costs a walk through the history of the whole
subtree, deleted directories included; what cannot have anything as new as what was found already is
passed over. Memory is bounded by the page and by the depth. Changes with one sequence stay
together, so a page can be a little longer than asked.
"""

import stat
from collections.abc import Generator, Iterator
from typing import NamedTuple

from objfs.base.limits import ROWS_PER_BATCH_MAX
from objfs.meta.database import Database
from objfs.meta.rows import Bucket, Dentry, DentryPast
from objfs.meta.tables import DENTRY, DENTRY_PAST, INODE, INODE_PAST
from objfs.volume.moments import time_of
from objfs.volume.routes import Name, Routes, names_of
from objfs.volume.showing import (
    FOREVER,
    Shown,
    Stretch,
    entries_of,
    erased_entries,
    is_there,
    stretches_of,
)

_PAGE = ROWS_PER_BATCH_MAX


class PathChange(NamedTuple):
    """One change of one path."""

    sequence: int  # its version id, if it has a version
    key: bytes
    kind: str  # created | changed | deleted | renamed
    before: bytes | None  # of what was renamed, the key before
    size: int | None  # of a version, in bytes
    time_ns: int
    type: str  # file | directory | symlink | other


class _Newest:
    """The newest changes below a bound, at least `limit` of them if there are so many."""

    def __init__(self, limit: int, before: int) -> None:
        self._limit = limit
        self._before = before
        self._groups: dict[int, list[PathChange]] = {}  # by sequence
        self._count = 0
        self.floor = 0  # nothing at or below it is wanted

    def add(self, change: PathChange) -> None:
        if not self.floor < change.sequence < self._before:
            return
        self._groups.setdefault(change.sequence, []).append(change)
        self._count += 1
        if self._count > 2 * self._limit + _PAGE:
            self._drop()

    def _drop(self) -> None:
        kept = 0
        for sequence in sorted(self._groups, reverse=True):
            if kept >= self._limit:
                self._count -= len(self._groups.pop(sequence))
                self.floor = max(self.floor, sequence)
            else:
                kept += len(self._groups[sequence])

    def page(self) -> list[PathChange]:
        """Newest first, and by key."""
        self._drop()
        return [
            change
            for sequence in sorted(self._groups, reverse=True)
            for change in sorted(self._groups[sequence], key=lambda each: each.key)
        ]


class Changes:
    """The history of a subtree. Made for one page."""

    def __init__(self, database: Database, bucket: Bucket) -> None:
        self._database = database
        self._bucket = bucket
        self._routes = Routes(database)
        self._top = b""

    def newest(
        self, key: bytes, limit: int, before: int = FOREVER
    ) -> Generator[None, None, list[PathChange]]:
        """The changes at and below the directory `key` with a sequence below `before`. Yields where
        the caller should let others run."""
        self._top = key if not key or key.endswith(b"/") else key + b"/"
        found = _Newest(limit, before)
        root = self._bucket.root
        stretches = [Stretch(root, 0, FOREVER)]
        if self._top:
            stretches = stretches_of(self._database, root, self._top)
        stack = [self._directory(self._top, each, found) for each in stretches]
        while stack:
            try:
                below = next(stack[-1])
            except StopIteration:
                stack.pop()
                continue
            if below is None:
                yield
            else:
                stack.append(self._directory(*below, found))
        return found.page()

    # --- the walk ------------------------------------------------------------------------------

    def _directory(
        self, key: bytes, stretch: Stretch, found: _Newest
    ) -> Iterator[tuple[bytes, Stretch] | None]:
        """All names that a directory had while it was reached. Gives the directories among them,
        and None after each page."""
        for rows in self._pages(stretch.ino):
            for row in rows:
                until = row.until if isinstance(row, DentryPast) else FOREVER
                begin, end = max(stretch.begin, row.since), min(stretch.until, until)
                if not row.key or begin >= end or end <= found.floor:
                    continue
                replaced = isinstance(row, DentryPast) and row.replaced
                held = Stretch(row.ino, begin, end, row.shown, replaced)
                self._name(key + row.key, row, until, held, found)
                if row.key.endswith(b"/"):
                    yield key + row.key, held
            yield None

    def _pages(self, ino: int) -> Iterator[list[Dentry] | list[DentryPast]]:
        lower = b""
        while current := self._database.scan(DENTRY, (ino,), lower=lower, limit=_PAGE):
            yield current
            lower = current[-1].key + b"\0"
        lower = b""
        while past := self._database.scan(DENTRY_PAST, (ino,), lower=lower, limit=_PAGE):
            yield past
            last = past[-1]
            while past := self._database.scan(
                DENTRY_PAST, (ino, last.key), lower=last.until + 1, limit=_PAGE
            ):
                yield past
                last = past[-1]
            lower = last.key + b"\0"

    # --- one name ------------------------------------------------------------------------------

    def _name(
        self, key: bytes, row: Dentry | DentryPast, until: int, held: Stretch, found: _Newest
    ) -> None:
        """The events of a name while its directory was reached by this path."""
        database = self._database
        erased = erased_entries(database, self._bucket.id, key, held.begin, held.until)
        entries: list[Shown] = []
        if not key.endswith(b"/"):
            entries = entries_of(database, held, erased)
        kind, before = "", None
        first = entries[-1].sequence if entries else FOREVER
        if held.begin == row.since and first > found.floor:
            kind, before = self._beginning(row)
        if kind and first > held.begin and not (kind == "created" and entries):
            if is_there(database, held, erased, held.begin):
                self._add(found, held.begin, key, held.ino, kind, before)
            kind, before = "changed", None
        for sequence, version in entries:
            if sequence <= found.floor or (sequence == held.begin and not kind):
                continue
            time_ns = version.time_ns
            if version.sealed != sequence:
                time_ns = max(time_ns, time_of(database, sequence))
            told = (kind, before) if sequence == first and kind else ("changed", None)
            found.add(PathChange(sequence, key, *told, version.size, time_ns, "file"))
        ends_here = held.until == until != FOREVER and not held.replaced
        if ends_here and is_there(database, held, erased, until - 1):
            self._end(key, row, until, found)

    def _add(
        self, found: _Newest, sequence: int, key: bytes, ino: int, kind: str, before: bytes | None
    ) -> None:
        """A change without a version."""
        if sequence > found.floor:
            time_ns = time_of(self._database, sequence)
            type_ = self._type_of(ino)
            found.add(PathChange(sequence, key, kind, before, None, time_ns, type_))

    def _beginning(self, row: Dentry | DentryPast) -> tuple[str, bytes | None]:
        """How a name began, and the key before if by a rename."""
        for name in names_of(self._database, row.ino):
            if name.until == row.since:
                before = self._key_of(name, row.since - 1)
                if before is not None:
                    return "renamed", before
        if self._database.get(DENTRY_PAST, row.parent, row.key, row.since) is not None:
            return "changed", None  # another file had the path
        return "created", None

    def _end(self, key: bytes, row: Dentry | DentryPast, until: int, found: _Newest) -> None:
        """How a name ended."""
        for name in names_of(self._database, row.ino):
            if name.since == until:
                after = self._key_of(name, until)
                if after is not None and not after.startswith(self._top):
                    self._add(found, until, after, row.ino, "renamed", key)
                if after is not None:
                    return
        if not self._goes_on(row, until):
            self._add(found, until, key, row.ino, "deleted", None)

    def _goes_on(self, row: Dentry | DentryPast, until: int) -> bool:
        """Whether another file took the name when this one left it."""
        following = self._database.scan(
            DENTRY_PAST, (row.parent, row.key), lower=until + 1, limit=1
        )
        if following:
            return following[0].since == until
        current = self._database.get(DENTRY, row.parent, row.key)
        return current is not None and current.since == until

    def _key_of(self, name: Name, sequence: int) -> bytes | None:
        """The key of a name at a moment, in this bucket."""
        for route in self._routes.of(name, sequence, sequence + 1):
            if route.bucket == self._bucket.id and route.begin <= sequence < route.until:
                return route.key
        return None

    def _type_of(self, ino: int) -> str:
        row = self._database.get(INODE, ino)
        if row is None:
            past = self._database.scan(INODE_PAST, (ino,), reverse=True, limit=1)
            row = past[0].inode if past else None
        kind = stat.S_IFMT(row.mode) if row is not None else stat.S_IFREG
        known = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink"}
        return known.get(kind, "other")


def last_kind(database: Database, bucket: Bucket, key: bytes) -> str | None:
    """What a path is, or was last: "file" or "directory"; None if it never was."""
    if not key:
        return "directory"
    if key.endswith(b"/"):
        return "directory" if stretches_of(database, bucket.root, key) else None
    newest = []
    for kind, each in (("file", key), ("directory", key + b"/")):
        stretches = stretches_of(database, bucket.root, each)
        newest += [(stretches[0].until, stretches[0].begin, kind)] if stretches else []
    return max(newest)[2] if newest else None
