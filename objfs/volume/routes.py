"""The paths of an inode, from the inode up: which names it had, and by which paths it was reached
through them.

A *route* is a stretch seen from its end: the inode was reached by `key` in [begin, until). A name
in a directory that was renamed has several routes, one after the other; hard links have some at the
same time. Going up follows the intervals: directories may have changed places over time, but at one
moment they are a tree, so every climb ends at a bucket's root. What no route leads to, nobody sees.
"""

from typing import NamedTuple

from objfs.meta.rows import Inode
from objfs.meta.tables import BUCKET, DENTRY, DENTRY_PAST, INODE
from objfs.volume.content import Source
from objfs.volume.showing import FOREVER, OWN_ENTRY


class Name(NamedTuple):
    """An entry of a directory that leads, or led, to `ino` in [since, until)."""

    parent: int
    key: bytes
    ino: int
    since: int
    until: int
    shown: int
    replaced: bool

    @property
    def visible(self) -> int:
        """The first sequence at which it may show something."""
        return max(self.since, self.shown)


class Route(NamedTuple):
    """An inode was reached by `key` of a bucket in [begin, until)."""

    bucket: int
    key: bytes
    begin: int
    until: int


def names_of(source: Source, ino: int) -> list[Name]:
    """The names of an inode, past and current, without a directory's own entry."""
    names = [
        Name(row.parent, row.key, ino, row.since, row.until, row.shown, row.replaced)
        for row in source.scan(DENTRY_PAST, (ino,), index="ino")
        if row.parent != ino
    ]
    names += [
        Name(row.parent, row.key, ino, row.since, FOREVER, row.shown, False)
        for row in source.scan(DENTRY, (ino,), index="ino")
        if row.parent != ino
    ]
    return names


class Routes:
    """Finds routes; remembers the names of directories, so it is good for one change only."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._names: dict[int, list[Name]] = {}
        self._roots: dict[int, int] = {}  # bucket by root, 0 for what is no root

    def of(self, name: Name, lower: int = 0, upper: int = FOREVER) -> list[Route]:
        """The routes through a name that overlap [lower, upper), oldest first."""
        found: list[Route] = []
        pending = [(name.parent, name.key or OWN_ENTRY, name.since, name.until)]
        while pending:
            directory, key, begin, until = pending.pop()
            if begin >= until or begin >= upper or until <= lower:
                continue
            bucket = self._bucket(directory)
            if bucket:
                found.append(Route(bucket, key, begin, until))
                continue
            for above in self._directory_names(directory):
                begins, ends = max(begin, above.since), min(until, above.until)
                if begins < ends:
                    pending.append((above.parent, above.key + key, begins, ends))
        return sorted(found, key=lambda route: route.begin)

    def of_directory(self, ino: int, lower: int, upper: int) -> list[Route]:
        """The routes to a directory that overlap [lower, upper); a bucket's root has the key b""
        for ever."""
        bucket = self._bucket(ino)
        if bucket:
            return [Route(bucket, b"", 0, FOREVER)]
        return [
            route for name in self._directory_names(ino) for route in self.of(name, lower, upper)
        ]

    def _directory_names(self, ino: int) -> list[Name]:
        names = self._names.get(ino)
        if names is None:
            names = self._names[ino] = names_of(self._source, ino)
        return names

    def _bucket(self, ino: int) -> int:
        """The bucket whose root this is, 0 for any other inode."""
        bucket = self._roots.get(ino)
        if bucket is None:
            inode: Inode | None = self._source.get(INODE, ino)
            row = self._source.get(BUCKET, inode.bucket) if inode is not None else None
            bucket = self._roots[ino] = row.id if row is not None and row.root == ino else 0
        return bucket
