"""Views by path: the versions of a file, and what was deleted below a directory."""

import os
import re
import stat
from collections.abc import Iterator

from msgspec.structs import replace

from objfs.base import limits
from objfs.base.errors import IsADirectory, NotFound
from objfs.base.limits import CHANGING_VIEW_SECONDS, KERNEL_CACHE_SECONDS
from objfs.meta.rows import Inode
from objfs.volume import past_names
from objfs.volume.history import VersionEntry
from objfs.volume.moments import time_text
from objfs.volume.past_nodes import Found, Grounds, Node, Page, Past, Position, Way, found, shown
from objfs.volume.showing import stretches_of

_EXTENSION_BYTES_MAX = 32
_VERSION_NAME = re.compile(
    rb"\d{4}-\d\d-\d\dT\d\d\.\d\d\.\d\d\.\d{3}Z-([0-9a-f]{1,16})(\..*)?", re.S
)


class DeletedIn(Way):
    """What was deleted below directories that had one name, the newest first."""

    __slots__ = ("_directories",)

    def __init__(self, tree: Grounds, directories: tuple[int, ...]) -> None:
        super().__init__(tree, ("deleted", directories), directories[0], CHANGING_VIEW_SECONDS)
        self._directories = directories

    def inode(self) -> Inode:
        return self.tree.of_now(self.live)

    def lookup(self, name: bytes) -> Found:
        entry = past_names.deleted_entry(self.tree.database, self._directories, name)
        if entry is None:
            raise NotFound(f"nothing called {name!r} was deleted here, or it is not kept")
        return found(name, self._node(entry), CHANGING_VIEW_SECONDS)

    def _node(self, entry: past_names.Deleted) -> Node:
        if entry.directories:
            return DeletedIn(self.tree, entry.directories)
        return Past(self.tree, entry.ino, entry.until - 1)

    def page(self, after: Position) -> Page:
        deleted, reached = past_names.deleted_names(self.tree.database, self._directories, after[1])
        entries = []
        for each in deleted:
            node = self._node(each)
            entries += shown(each.name, node, CHANGING_VIEW_SECONDS)
        return Page(entries, None if reached is None else (0, reached))


class Versions(Way):
    """A path: the versions of the files that it led to, and the names below the directories."""

    __slots__ = ("_bucket", "_key")

    def __init__(self, tree: Grounds, bucket: str, key: bytes) -> None:
        super().__init__(tree, ("versions", bucket, key), seconds=CHANGING_VIEW_SECONDS)
        self._bucket = bucket
        self._key = key
        directories = self._directories()
        self.live = directories[0] if directories else self._newest_file()

    def _directories(self) -> list[int]:
        """The directories that the path led to, the newest first."""
        root = self.tree.history.directory_at(self._bucket, b"")
        key = self._key + b"/" if self._key else b""
        stretches = stretches_of(self.tree.database, root, key)
        return list(dict.fromkeys(stretch.ino for stretch in stretches))

    def _newest_file(self) -> int:
        try:
            return self.tree.history.stretches(self._bucket, self._key)[0].ino
        except NotFound:
            return 0

    def _versions(self, before: int | None = None) -> list[VersionEntry]:
        limit = limits.LISTING_PAGE_ENTRIES
        try:
            return self.tree.history.versions(self._bucket, self._key, limit, before)
        except (NotFound, IsADirectory):
            return []

    def inode(self) -> Inode:
        """As the directory, or as the file with permission to search where it may be read."""
        if not self.live:
            raise NotFound(f"{self._key!r} never existed, or is not kept")
        inode = self.tree.of_now(self.live)
        if stat.S_ISDIR(inode.mode):
            return inode
        readable = inode.mode & 0o444
        return replace(
            inode,
            mode=stat.S_IFDIR | readable | readable >> 2,
            nlink=2,
            size=0,
            allocated=0,
            rdev=0,
        )

    def lookup(self, name: bytes) -> Found:
        match = _VERSION_NAME.fullmatch(name)
        if match is not None and self._key:
            # The page of versions that begins with this one, if it exists.
            for entry in self._versions(int(match[1], 16) + 1)[:1]:
                if not entry.deleted and self._name(entry) == name:
                    return found(name, self._node(entry), KERNEL_CACHE_SECONDS)
        directories = self._directories()
        if not directories or not past_names.was_ever(self.tree.database, directories, name):
            raise NotFound(f"there never was a {name!r} here")
        return found(name, self._child(name), CHANGING_VIEW_SECONDS)

    def _child(self, name: bytes) -> Node:
        return Versions(self.tree, self._bucket, b"/".join(filter(None, (self._key, name))))

    def _node(self, entry: VersionEntry) -> Node:
        return Past(self.tree, entry.ino, entry.sequence)

    def _name(self, entry: VersionEntry) -> bytes:
        extension = os.path.splitext(self._key.rpartition(b"/")[2])[1][:_EXTENSION_BYTES_MAX]
        time = time_text(entry.time_ns).replace(":", ".")
        return f"{time}-{entry.version_id}".encode() + extension

    def page(self, after: Position) -> Page:
        before, key = after
        if key == b"" and self._key and before >= 0:
            versions = self._versions(before or None)
            if versions:
                return Page(list(self._files(versions)), (versions[-1].sequence, b""))
        directories = self._directories()
        if not directories:
            return Page([], None)
        names, reached = past_names.names_ever(self.tree.database, directories, key)
        entries = []
        for name in names:
            node = self._child(name)
            entries += shown(name, node, CHANGING_VIEW_SECONDS)
        return Page(entries, None if reached is None else (-1, reached))

    def _files(self, versions: list[VersionEntry]) -> Iterator[Found]:
        for version in versions:
            if version.deleted:
                continue
            yield from shown(self._name(version), self._node(version), KERNEL_CACHE_SECONDS)
