"""What `.objfs` shows, as a tree of nodes over plain values; the mount only numbers them.

    .objfs/at/<time>/...         the tree as it was; a listing offers the restore points
    .objfs/snapshots/<name>/...  the same, by the name of a snapshot
    .objfs/versions/<path>/      the versions of a file, as files; what a directory ever had
    .objfs/deleted/<path>        what was deleted, and the directories above it
    .objfs/status                how the store is, as JSON

A time is resolved to its sequence when it is looked up, so a walk that began at `1h` goes on in one
state of the store.
"""

import itertools
import os
import stat
from collections.abc import Callable, Hashable, Iterator

import msgspec

from objfs.base import limits
from objfs.base.errors import InvalidRequest, NotFound
from objfs.base.limits import CHANGING_VIEW_SECONDS, KERNEL_CACHE_SECONDS
from objfs.base.times import is_relative, samba_name
from objfs.meta.rows import Bucket, Inode
from objfs.meta.tables import BUCKET, DENTRY
from objfs.volume.core import Core
from objfs.volume.handles import Handle, OpenInode
from objfs.volume.history import History
from objfs.volume.moments import resolve
from objfs.volume.past_nodes import Found, Grounds, Node, Page, Past, Position, Way, found, shown
from objfs.volume.past_paths import DeletedIn, Versions
from objfs.volume.points import restore_points

_FILE = stat.S_IFREG | 0o444


class PastTree(Grounds):
    """The ways in."""

    def __init__(
        self, core: Core, history: History, status: Callable[[], dict[str, object]]
    ) -> None:
        super().__init__(core, history)
        self._status = status
        self._numbers = itertools.count()

    def next_number(self) -> int:
        """One that was not used before."""
        return next(self._numbers)

    def top(self, root: int | None) -> Node:
        """`.objfs` in the directory `root`; None: above all buckets."""
        children = {
            b"at": _At(self, root),
            b"snapshots": _Snapshots(self, root),
            b"versions": self._in_buckets("versions", root, self.versions),
            b"deleted": self._in_buckets("deleted", root, self._deleted),
        }
        return _Top(self, ("top", root), children)

    def moment(self, root: int | None, sequence: int) -> Node:
        """The tree below a directory, or all buckets, as it was. What it shows from now on is not
        amended any more."""
        self.core.shown = max(self.core.shown, sequence)
        if root is None:
            return _Buckets(self, ("at", sequence), lambda ino: Past(self, ino, sequence))
        return Past(self, root, sequence)

    def _in_buckets(self, kind: str, root: int | None, make: Callable[[int], Node]) -> Node:
        return _Buckets(self, kind, make) if root is None else make(root)

    def _deleted(self, root: int) -> Node:
        return DeletedIn(self, (root,))

    def versions(self, root: int) -> Node:
        """The versions of everything below a directory."""
        bucket, key = self._path(root)
        return Versions(self, bucket, key)

    def _path(self, ino: int) -> tuple[str, bytes]:
        """The bucket and the key of a directory, without its last slash."""
        bucket = self.database.get(BUCKET, self.core.row(ino).bucket)
        assert bucket is not None
        parts: list[bytes] = []
        while ino != bucket.root:
            above = [
                row for row in self.database.scan(DENTRY, (ino,), index="ino") if row.parent != ino
            ]
            parts.append(above[0].key.rstrip(b"/"))
            ino = above[0].parent
        return bucket.name, b"/".join(reversed(parts))

    def buckets(self) -> list[Bucket]:
        return self.database.scan(BUCKET, index="name")

    def status(self) -> bytes:
        """The status as text."""
        return msgspec.json.format(msgspec.json.encode(self._status())) + b"\n"


class _Way(Way):
    """A node of this tree."""

    __slots__ = ()
    tree: PastTree


class _Top(_Way):
    """`.objfs` itself."""

    __slots__ = ("_children",)

    def __init__(self, tree: PastTree, key: Hashable, children: dict[bytes, Node]) -> None:
        super().__init__(tree, key, seconds=CHANGING_VIEW_SECONDS)
        self._children = children

    def lookup(self, name: bytes) -> Found:
        if name == b"status":
            return found(name, _Status(self.tree), 0)
        if name not in self._children:
            raise NotFound(f"there is no {name!r} among the views of the past")
        return found(name, self._children[name], KERNEL_CACHE_SECONDS)

    def page(self, after: Position) -> Page:
        entries = [found(name, node, KERNEL_CACHE_SECONDS) for name, node in self._children.items()]
        return Page([*entries, found(b"status", _Status(self.tree), 0)], None)


class _At(_Way):
    """`at`: any time is a name, and the restore points are listed."""

    __slots__ = ("_root",)

    def __init__(self, tree: PastTree, root: int | None) -> None:
        super().__init__(tree, ("at", root), seconds=CHANGING_VIEW_SECONDS)
        self._root = root

    def lookup(self, name: bytes) -> Found:
        text = os.fsdecode(name)
        try:
            sequence = resolve(self.tree.core, text)
        except InvalidRequest as error:
            raise NotFound(str(error)) from error
        seconds = CHANGING_VIEW_SECONDS if is_relative(text) else KERNEL_CACHE_SECONDS
        return found(name, self.tree.moment(self._root, sequence), seconds)

    def page(self, after: Position) -> Page:
        tree = self.tree
        entries = []
        for time_ns in restore_points(tree.database, tree.core.clock.now_ns()):
            node = tree.moment(self._root, resolve(tree.core, time_ns))
            entries += shown(samba_name(time_ns).encode(), node, KERNEL_CACHE_SECONDS)
        return Page(entries, None)


class _Snapshots(_Way):
    """`snapshots`: those that hold this directory's bucket."""

    __slots__ = ("_root",)

    def __init__(self, tree: PastTree, root: int | None) -> None:
        super().__init__(tree, ("snapshots", root), seconds=CHANGING_VIEW_SECONDS)
        self._root = root

    def _found(self) -> Iterator[tuple[str, int]]:
        bucket = 0 if self._root is None else self.tree.core.inode(self._root).bucket
        for row in self.tree.core.pins.snapshots():
            if not bucket or row.bucket in (0, bucket):
                yield row.name, row.sequence

    def lookup(self, name: bytes) -> Found:
        for each, sequence in self._found():
            if each.encode() == name:
                node = self.tree.moment(self._root, sequence)
                return found(name, node, CHANGING_VIEW_SECONDS)
        raise NotFound(f"there is no snapshot {name!r} here")

    def page(self, after: Position) -> Page:
        entries = []
        for name, sequence in self._found():
            node = self.tree.moment(self._root, sequence)
            entries += shown(name.encode(), node, CHANGING_VIEW_SECONDS)
        return Page(entries, None)


class _Buckets(_Way):
    """A directory of all buckets, whose roots `make` turns into nodes."""

    __slots__ = ("_make",)

    def __init__(self, tree: PastTree, key: Hashable, make: Callable[[int], Node]) -> None:
        super().__init__(tree, ("buckets", key), seconds=CHANGING_VIEW_SECONDS)
        self._make = make

    def lookup(self, name: bytes) -> Found:
        for bucket in self.tree.buckets():
            if bucket.name.encode() == name:
                return found(name, self._make(bucket.root), CHANGING_VIEW_SECONDS)
        raise NotFound(f"there is no bucket {name!r}")

    def page(self, after: Position) -> Page:
        entries = []
        for bucket in self.tree.buckets():
            node = self._make(bucket.root)
            entries += shown(bucket.name.encode(), node, CHANGING_VIEW_SECONDS)
        return Page(entries, None)


class _Status(_Way):
    """`status`: a file of its own each time it is looked up, for a kernel that caches pages keeps
    the size that it knows."""

    __slots__ = ()

    def __init__(self, tree: PastTree) -> None:
        super().__init__(tree, ("status", tree.next_number()), seconds=0)

    def inode(self) -> Inode:
        return self.tree.virtual(_FILE, len(self.tree.status()))

    def open(self) -> Handle:
        text = self.tree.status()
        opened = OpenInode(0, 0, 0, len(text), 0.0)
        opened.extents_end = limits.FILE_BYTES_MAX  # there are none
        opened.dirty.write(0, text)
        opened.changed = True
        return Handle(opened, 0)
