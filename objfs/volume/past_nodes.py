"""Nodes: what the tree of views is made of, and what they share.

A node is made when a name is looked up or listed, and means the same for ever: equal nodes are the
same. Everything is synchronous and bounded: a page of a listing may come back empty, and says where
to go on. Nothing here decides who may see what.

Most nodes are files of a past moment, made by the page and kept as long as the kernel knows them.
So what is made for each of them is a `msgspec.Struct` that the garbage collector need not look at:
nothing refers back to it.
"""

import stat
from collections.abc import Hashable
from typing import NamedTuple, Protocol, TypeAlias

import msgspec
from msgspec.structs import replace

from objfs.base.errors import IsADirectory, NotADirectory, NotFound
from objfs.base.limits import KERNEL_CACHE_SECONDS
from objfs.meta.rows import Inode, new_inode
from objfs.meta.tables import INODE, XATTR
from objfs.volume.acl import ACCESS_NAME
from objfs.volume.core import Core
from objfs.volume.handles import Handle
from objfs.volume.history import History
from objfs.volume.view import View

DIRECTORY_MODE = stat.S_IFDIR | 0o555

Position: TypeAlias = tuple[int, bytes]  # where a listing goes on; what it means is the node's
START: Position = (0, b"")


class Node(Protocol):
    """A file or directory of the past, or one that leads there."""

    @property
    def live(self) -> int:
        """The inode number of the live file that it belongs to; 0: none."""

    @property
    def seconds(self) -> float:
        """For how long its attributes may be believed."""

    def __hash__(self) -> int: ...

    def inode(self) -> Inode:
        """Its attributes; the inode number means nothing. NotFound when it was erased."""

    def xattrs(self) -> dict[bytes, bytes]:
        """Its extended attributes."""

    def lookup(self, name: bytes) -> "Found":
        """The node behind a name. NotFound, NotADirectory."""

    def page(self, after: Position) -> "Page":
        """The next part of a listing. NotADirectory."""

    def open(self) -> Handle:
        """A handle to read from, which needs no closing. IsADirectory."""


class Found(msgspec.Struct, frozen=True, gc=False):
    """A node behind a name, and for how many seconds the name may be believed to lead to it."""

    name: bytes
    node: Node
    inode: Inode
    seconds: float


class Page(NamedTuple):
    """A part of a listing; `reached` is where to go on after, None at the end."""

    entries: list[Found]
    reached: Position | None


class Way:
    """A node that leads to the past and is not of it: a directory, if it does not say otherwise.
    Two with equal `identity` are the same."""

    __slots__ = ("identity", "live", "seconds", "tree")

    def __init__(
        self, tree: "Grounds", identity: Hashable, live: int = 0, seconds: float = 0
    ) -> None:
        self.tree = tree
        self.identity = identity
        self.live = live
        self.seconds = seconds

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Way) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(self.identity)

    def inode(self) -> Inode:
        return self.tree.virtual(DIRECTORY_MODE)

    def xattrs(self) -> dict[bytes, bytes]:
        return {}

    def lookup(self, name: bytes) -> Found:
        raise NotADirectory(f"{name!r} is looked up in what is no directory")

    def page(self, after: Position) -> Page:
        raise NotADirectory("what is no directory cannot be listed")

    def open(self) -> Handle:
        raise IsADirectory("a directory cannot be read")


class Grounds:
    """What all nodes stand on."""

    def __init__(self, core: Core, history: History) -> None:
        self.core = core
        self.database = core.database
        self.history = history

    def virtual(self, mode: int, size: int = 0) -> Inode:
        """The attributes of what lies in no store."""
        now = self.database.time_ns
        return new_inode(0, 0, mode, now, 0, nlink=2 if stat.S_ISDIR(mode) else 1, size=size)

    def of_now(self, ino: int) -> Inode:
        """A directory as it is, or as it was last. NotFound."""
        inode = self.core.inode(ino)
        return inode if inode.nlink else replace(inode, nlink=2)

    def live(self, ino: int) -> tuple[Inode, bytes | None] | None:
        """A file as it is now with its access ACL; None when it is gone."""
        row = self.database.get(INODE, ino) if ino else None
        if row is None or not row.nlink:
            return None
        value = self.database.get(XATTR, ino, ACCESS_NAME) if row.has_xattrs else None
        return row, None if value is None else value.value


class Past(msgspec.Struct, frozen=True, gc=False):
    """A file or directory as it was at a sequence."""

    tree: Grounds
    live: int
    sequence: int
    seconds: float = KERNEL_CACHE_SECONDS

    @property
    def _view(self) -> View:
        return self.tree.history.at(self.sequence)

    def inode(self) -> Inode:
        return self._view.getattr(self.live)

    def xattrs(self) -> dict[bytes, bytes]:
        return self._view.xattrs(self.live)

    def lookup(self, name: bytes) -> Found:
        inode = self._view.lookup(self.live, name)
        node = Past(self.tree, inode.ino, self.sequence)
        return Found(name, node, inode, KERNEL_CACHE_SECONDS)

    def page(self, after: Position) -> Page:
        tree, sequence = self.tree, self.sequence
        entries, reached = self._view.page(self.live, after[1])
        return Page(
            [
                Found(
                    key.rstrip(b"/"), Past(tree, inode.ino, sequence), inode, KERNEL_CACHE_SECONDS
                )
                for key, inode in entries
            ],
            None if reached is None else (0, reached),
        )

    def open(self) -> Handle:
        return self._view.file(self.live).handle


def found(name: bytes, node: Node, seconds: float) -> Found:
    """NotFound for what did not exist then, or was erased."""
    return Found(name, node, node.inode(), seconds)


def shown(name: bytes, node: Node, seconds: float) -> list[Found]:
    """The same for a listing: nothing instead of an error."""
    try:
        return [found(name, node, seconds)]
    except NotFound:
        return []
