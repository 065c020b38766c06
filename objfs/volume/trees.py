"""The tree of a bucket at a sequence, for walks: places in key order, a page at a time, and what
they were like.

The order of keys is that of their bytes, a directory's with its slash: so a walk that goes down
into a directory where it meets its key passes all keys of the tree in order, and can go on after
any. What a page costs is what lies in its part of the directory, its past included.
"""

import stat
from collections.abc import Sequence
from typing import NamedTuple

from objfs.base import limits
from objfs.base.errors import NotFound
from objfs.meta.database import Database
from objfs.meta.rows import Bucket, Dentry, DentryPast, Inode, Version
from objfs.meta.tables import DENTRY, DENTRY_PAST
from objfs.volume.showing import split_key
from objfs.volume.view import View


class Place(NamedTuple):
    """What a key leads to at a moment."""

    key: bytes  # the whole key in its bucket; a directory's ends with a slash, the root's is b""
    ino: int
    begin: int  # since when the key has led there

    @property
    def is_directory(self) -> bool:
        return not self.key or self.key.endswith(b"/")

    @property
    def leaf(self) -> bytes:
        """The last component of the key, a directory's with its slash."""
        return self.key[self.key.rfind(b"/", 0, max(len(self.key) - 1, 0)) + 1 :]


class State(NamedTuple):
    """What an inode was like at a moment."""

    inode: Inode  # with the size that was sealed
    version: Version | None  # of a regular file; None: never sealed
    xattrs: dict[bytes, bytes]


class Tree:
    """The tree of `bucket` as `view` shows it."""

    def __init__(self, database: Database, view: View, bucket: Bucket) -> None:
        self._database = database
        self.view = view
        self.bucket = bucket
        self.sequence = view.sequence
        self.root = Place(b"", bucket.root, 0)

    @property
    def hides_versions(self) -> bool:
        """Whether entries may be hidden, which the row of an inode does not tell."""
        return self.view.hides_versions

    def child(self, directory: Place, key: bytes) -> Place | None:
        """The entry with this key (a directory's with its slash). None if there was none."""
        row = self.view.dentry(directory.ino, key)
        return None if row is None else _place(directory, row)

    def named(self, directory: Place, name: bytes) -> Place | None:
        """The entry that a name leads to: of a directory and a file, the directory."""
        return self.child(directory, name + b"/") or self.child(directory, name)

    def way_to(self, key: bytes) -> list[Place]:
        """The places along a path, the root first, as far as it existed."""
        way = [self.root]
        for part in split_key(key):
            found = self.named(way[-1], part.rstrip(b"/"))
            if found is None:
                break
            way.append(found)
            if not found.is_directory:
                break
        return way

    def find(self, key: bytes) -> Place | None:
        """The place that a path led to, whatever it was."""
        way = self.way_to(key)
        return way[-1] if len(way) == len(split_key(key)) + 1 else None

    def existing(self, key: bytes) -> Place:
        """The same. NotFound if there was none."""
        place = self.find(key)
        if place is None:
            raise NotFound(
                f"{shown_key(key)} did not exist in bucket {self.bucket.name!r} at that moment: "
                "`objfs versions` shows when it did"
            )
        return place

    def children(
        self, directory: Place, after: bytes = b"", limit: int = limits.LISTING_PAGE_ENTRIES
    ) -> tuple[list[Place], bytes | None]:
        """Entries with a key of their own over `after`, in order, and the key to go on after; None
        at the end."""
        rows, reached = self.view.names(directory.ino, after, limit)
        return [_place(directory, row) for row in rows], reached

    def state(self, place: Place) -> State:
        """What a place was like. NotFound when nothing is left of it."""
        state = self.states([place]).get(place.ino)
        if state is None:
            raise NotFound(f"nothing is left of {shown_key(place.key)} at {self.sequence}")
        return state

    def states(self, places: Sequence[Place]) -> dict[int, State]:
        """What many were like, by their inodes; those of which nothing is left are not in it."""
        view = self.view
        inodes = view.inodes([place.ino for place in places])
        files = [ino for ino, inode in inodes.items() if stat.S_ISREG(inode.mode)]
        versions = dict(zip(files, view.versions(files), strict=True))
        return {
            ino: State(inode, versions.get(ino), view.xattrs(ino) if inode.has_xattrs else {})
            for ino, inode in inodes.items()
        }

    def has_several_names(self, inode: Inode) -> bool:
        """Whether a file had. The link count alone does not tell: it may have been amended since,
        by a name that came or went."""
        return inode.nlink > 1 or self._has_several_names(inode.ino)

    def _has_several_names(self, ino: int) -> bool:
        past = self._database.scan(DENTRY_PAST, (ino,), index="ino")
        names = [row for row in past if row.since <= self.sequence < row.until]
        if not names:
            return False  # those of now are counted
        current = self._database.scan(DENTRY, (ino,), index="ino", limit=2)
        return len(names) + len([row for row in current if row.since <= self.sequence]) > 1


def shown_key(key: bytes) -> str:
    """A key for a message."""
    return key.decode(errors="backslashreplace")


def _place(directory: Place, row: Dentry | DentryPast) -> Place:
    return Place(directory.key + row.key, row.ino, max(directory.begin, row.since))
