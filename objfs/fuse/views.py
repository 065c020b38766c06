"""The views of the past as the kernel sees them: node ids, lookup counts, permissions of today.

The tree itself is `objfs/volume/past_tree.py`. Here its nodes get ids with VIEW_BIT set, from a
table that lasts as long as the kernel remembers the id: every lookup, and every entry of a listing
that the kernel took, counts; `forget` counts back. An id is never used again, so what the kernel
caches under it is right for ever; but when history is erased, everything gets a new id (`erased`).

**Permissions.** The kernel checks the mode and the ACL that it is shown: those of the moment. What
the same inode forbids *today* is refused here, to anybody but root: a directory at the lookup of an
entry and when it is opened, a file when it is opened, its `user.` attributes when they are read. An
inode that is gone forbids nothing. The kernel asks us about a name only once, for whoever comes
first; so entries of a directory whose permissions are not the same today are never cached
(`_seconds`), and when permissions of a directory change that a view shows, the kernel is told to
forget all views (`permissions_changed`).
"""

import logging
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec
import trio
from msgspec.structs import replace

from objfs.base import limits
from objfs.base.errors import (
    AccessDenied,
    BadHandle,
    InvalidRequest,
    NotADirectory,
    ReadOnly,
    StaleInode,
)
from objfs.base.types import Caller
from objfs.volume.access import EXECUTE, READ, may, same_permissions
from objfs.volume.acl import ACCESS_NAME
from objfs.volume.past_nodes import START, Found, Node, Page, Past, Position
from objfs.volume.past_tree import PastTree
from objfs.volume.volume import Handle, Inode

logger = logging.getLogger(__name__)

VIEW_BIT = 1 << 62
INODE_ATTRIBUTE = b"user.objfs.inode"
_OPEN_TO_EXECUTE = 0x20  # FMODE_EXEC of <linux/fs.h>: execve(2) opens the file
_FIRST = 3  # cookies 1 and 2 are those of `.` and `..`

# Name, cookie, id, attributes with another, seconds: taken?
Give = Callable[[bytes, int, int, Inode, float], bool]


class Shown(NamedTuple):
    """Attributes with the id for the kernel, and for how many seconds it may believe them."""

    inode: Inode
    seconds: float


class _Numbered(msgspec.Struct, eq=False, gc=False):
    """A node that the kernel knows, or is about to."""

    id: int
    node: Node
    parent: int  # the id of the directory that it was found in first
    lookups: int = 0


class _OpenDirectory:
    """One opendir. The cookie of an entry is its number; where the pages began is kept, so that a
    reader may go back. A reader who goes on gets the next page read while it works on this one."""

    __slots__ = ("_ahead", "_ahead_of", "entries", "first", "marks", "numbered", "reached")

    def __init__(self, numbered: _Numbered) -> None:
        self.numbered = numbered
        self.entries: list[Found] = []
        self.first = 0  # number of the first of `entries`
        self.reached: Position | None = START  # what follows them
        self.marks: list[tuple[int, Position]] = [(0, START)]
        self._ahead: Page | None = None
        self._ahead_of: Position | None = None  # what it follows

    async def load(self, number: int) -> list[Found]:
        """The entries from `number` on, some of them; none only at the end."""
        if number < self.first:
            self._go_back(number)
        while number >= self.first + len(self.entries) and self.reached is not None:
            self.first += len(self.entries)
            if self.first > self.marks[-1][0]:
                self.marks.append((self.first, self.reached))
            self.entries, self.reached = self._page(self.reached)
            if not self.entries:
                await trio.lowlevel.checkpoint()  # a long past with little in it
        return self.entries[number - self.first :]

    def _page(self, after: Position) -> Page:
        page, self._ahead = self._ahead, None
        if page is None or after != self._ahead_of:
            page = self.numbered.node.page(after)
        return page

    async def look_ahead(self) -> None:
        """Read what follows, once the loop has nothing to answer."""
        after = self.reached
        if after is None or (self._ahead is not None and self._ahead_of == after):
            return
        try:
            self._ahead, self._ahead_of = self.numbered.node.page(after), after
        except Exception as error:  # the reader will ask, and meet it
            logger.debug("reading view %d ahead failed: %s", self.numbered.id, error)

    def _go_back(self, number: int) -> None:
        first, position = [mark for mark in self.marks if mark[0] <= number][-1]
        self.first, self.reached, self.entries = first, position, []


class Views:
    """The table of nodes and the calls on them. `expire` is told what the kernel must forget: an
    entry of a directory, by ids. `seconds_max`: for how long the kernel may believe anything, where
    nobody tells what changes."""

    def __init__(self, tree: PastTree, seconds_max: float = limits.KERNEL_CACHE_SECONDS) -> None:
        self.tree = tree
        self._seconds_max = seconds_max
        self.expire: Callable[[int, bytes], None] = lambda id, name: None
        self._by_id: dict[int, _Numbered] = {}
        self._by_node: dict[Node, _Numbered] = {}
        self._directories: dict[int, int] = {}  # inode number -> how many nodes show it
        self._tops: dict[int, tuple[int, bytes]] = {}  # id -> the entry that leads there
        self._open: dict[int, _OpenDirectory] = {}
        self._next = VIEW_BIT

    # --- nodes and names -------------------------------------------------------------------------

    def top(self, root: int | None, parent: int, name: bytes) -> Inode:
        """The attributes of `.objfs` in a directory, whose id is `parent`; the id is kept."""
        return self.keep(self.tree.top(root), parent, name)

    def keep(self, node: Node, parent: int, name: bytes) -> Inode:
        """The attributes of a node that the kernel is never asked to forget."""
        numbered = self._number(node, parent)
        numbered.lookups = max(numbered.lookups, 1)
        self._tops[numbered.id] = (parent, name)
        return replace(node.inode(), ino=numbered.id)

    def _number(self, node: Node, parent: int) -> _Numbered:
        numbered = self._by_node.get(node)
        if numbered is None:
            self._next += 1
            numbered = _Numbered(self._next, node, parent)
            self._by_node[node] = self._by_id[numbered.id] = numbered
        return numbered

    def _numbered(self, id: int) -> _Numbered:
        try:
            return self._by_id[id]
        except KeyError:
            raise StaleInode(f"there is no view {id}") from None

    def _counted(self, numbered: _Numbered, inode: Inode) -> None:
        """The kernel took the node once more."""
        numbered.lookups += 1
        if numbered.lookups == 1 and stat.S_ISDIR(inode.mode) and numbered.node.live:
            ino = numbered.node.live
            self._directories[ino] = self._directories.get(ino, 0) + 1

    def _drop(self, numbered: _Numbered) -> None:
        del self._by_id[numbered.id]
        if self._by_node.get(numbered.node) is numbered:
            del self._by_node[numbered.node]

    def forget(self, id: int, lookups: int) -> None:
        """The kernel counts back."""
        numbered = self._by_id.get(id)
        if numbered is None or id in self._tops:
            return
        numbered.lookups -= lookups
        if numbered.lookups > 0:
            return
        self._drop(numbered)
        ino = numbered.node.live
        left = self._directories.get(ino, 0) - 1
        if left > 0:
            self._directories[ino] = left
        else:
            self._directories.pop(ino, None)

    def __len__(self) -> int:
        return len(self._by_id)

    def lookup(self, id: int, name: bytes, caller: Caller) -> Shown:
        """The node behind a name. NotFound, AccessDenied."""
        parent = self._numbered(id)
        if name == b".":
            return self._again(parent)
        if name == b"..":
            return self._again(self._by_id.get(parent.parent, parent))
        self._check(parent.node, caller, EXECUTE)
        found = parent.node.lookup(name)
        numbered = self._number(found.node, id)
        self._counted(numbered, found.inode)
        return Shown(replace(found.inode, ino=numbered.id), self._seconds(parent.node, found))

    def _again(self, numbered: _Numbered) -> Shown:
        inode = numbered.node.inode()
        self._counted(numbered, inode)
        return Shown(replace(inode, ino=numbered.id), 0)

    def getattr(self, id: int) -> Shown:
        """The attributes of a node. NotFound when it was erased."""
        node = self._numbered(id).node
        return Shown(replace(node.inode(), ino=id), min(node.seconds, self._seconds_max))

    def is_fixed(self, id: int) -> bool:
        """Whether what a file holds was there before it was opened."""
        return isinstance(self._numbered(id).node, Past)

    def readlink(self, id: int) -> bytes:
        """The target of a symlink. InvalidRequest."""
        target = self._numbered(id).node.inode().target
        if target is None:
            raise InvalidRequest("this is no symlink")
        return target

    # --- permissions -----------------------------------------------------------------------------

    def _check(self, node: Node, caller: Caller, wanted: int) -> None:
        """AccessDenied if the live inode forbids it today."""
        live = self.tree.live(node.live) if caller.uid else None
        if live is None:
            return
        inode, access = live
        if not stat.S_ISDIR(inode.mode) and wanted == EXECUTE:
            wanted = READ  # a file, shown as the directory of its versions
        if caller.uid != inode.uid and may(inode, access, caller.uid, {caller.gid}, wanted):
            return
        if not may(inode, access, caller.uid, groups_of(caller), wanted):
            raise AccessDenied(f"inode {node.live} forbids it today")

    def _seconds(self, parent: Node, found: Found) -> float:
        """For how long the kernel may believe an entry of `parent`."""
        return 0.0 if self._is_guarded(parent) else min(found.seconds, self._seconds_max)

    def _is_guarded(self, parent: Node) -> bool:
        """Whether somebody may be refused what the kernel would allow."""
        live = self.tree.live(parent.live) if isinstance(parent, Past) else None
        if live is None:
            return False
        then = parent.inode()
        acl = parent.xattrs().get(ACCESS_NAME) if then.has_xattrs else None
        return not same_permissions(then, acl, *live)

    def permissions_changed(self, ino: int) -> None:
        """Mode, owner or ACL of a live inode changed. Every directory above may be cached."""
        if ino in self._directories:
            self.expire_all()

    def expire_all(self) -> None:
        """The kernel must ask anew about everything."""
        for parent, name in self._tops.values():
            self.expire(parent, name)

    def erased(self) -> None:
        """Something of the past was erased: a node may show something older from now on. What the
        kernel has open keeps its id, and fails or goes on; who looks anew gets another one, from
        the tops on, without the entries and pages that the kernel keeps for what is open."""
        self.expire_all()
        self._tops = {id: place for id, place in self._tops.items() if not place[1]}
        self._by_node = {
            node: numbered for node, numbered in self._by_node.items() if numbered.id in self._tops
        }

    # --- directories -----------------------------------------------------------------------------

    def opendir(self, id: int, fh: int, caller: Caller) -> None:
        """Open a directory as `fh`. NotADirectory, AccessDenied."""
        numbered = self._numbered(id)
        if not stat.S_ISDIR(numbered.node.inode().mode):
            raise NotADirectory("this is no directory")
        self._check(numbered.node, caller, READ)
        self._open[fh] = _OpenDirectory(numbered)

    def releasedir(self, fh: int) -> None:
        """The directory is closed."""
        self._open.pop(fh, None)

    async def readdir(self, fh: int, start: int, give: Give) -> None:
        """Give the entries after the position `start`, until no more are taken."""
        try:
            directory = self._open[fh]
        except KeyError:
            raise BadHandle(f"there is no open directory {fh}") from None
        if not self._give_dots(directory.numbered, start, give):
            return
        number = max(start + 1 - _FIRST, 0)
        most = 0.0 if self._is_guarded(directory.numbered.node) else self._seconds_max
        while entries := await directory.load(number):
            given = self._give(directory.numbered.id, entries, number + _FIRST, most, give)
            if given < len(entries):
                self.tree.core.run_soon(directory.look_ahead)
                return
            number += given

    def _give_dots(self, numbered: _Numbered, start: int, give: Give) -> bool:
        above = self._by_id.get(numbered.parent, numbered)
        for cookie, name, each in ((1, b".", numbered), (2, b"..", above)):
            if start < cookie and not give(name, cookie, each.id, each.node.inode(), 0):
                return False
        return True

    def _give(self, parent: int, entries: list[Found], cookie: int, most: float, give: Give) -> int:
        """How many of the entries were taken; what the kernel does not take it does not know."""
        for given, found in enumerate(entries):
            numbered = self._number(found.node, parent)
            inode, seconds = found.inode, found.seconds
            seconds = min(seconds, most)
            if not give(found.name, cookie + given, numbered.id, inode, seconds):
                if numbered.lookups == 0:
                    self._drop(numbered)
                return given
            self._counted(numbered, inode)
        return len(entries)

    # --- files and attributes --------------------------------------------------------------------

    def open(self, id: int, flags: int, caller: Caller) -> Handle:
        """Open a file for reading. ReadOnly, AccessDenied."""
        if flags & (os.O_ACCMODE | os.O_TRUNC | os.O_APPEND):
            raise ReadOnly("the past cannot be changed: copy the file, or restore it")
        node = self._numbered(id).node
        wanted = EXECUTE if flags & _OPEN_TO_EXECUTE else READ
        self._check(node, caller, wanted)
        return node.open()

    def getxattr(self, id: int, name: bytes, caller: Caller) -> bytes | None:
        """The value, None if there is no such attribute."""
        node = self._numbered(id).node
        if name == INODE_ATTRIBUTE:
            return str(node.live).encode() if node.live else None
        if name.startswith(b"user."):
            self._check(node, caller, READ)
        return node.xattrs().get(name)

    def listxattr(self, id: int) -> list[bytes]:
        """The names. INODE_ATTRIBUTE is not among them: copies of the file should not have it."""
        return list(self._numbered(id).node.xattrs())


def groups_of(caller: Caller) -> set[int]:
    """The groups of the calling process, as the kernel checks them."""
    try:
        lines = Path(f"/proc/{caller.pid}/status").read_text().splitlines()
    except OSError:  # it is gone, or of another namespace
        return {caller.gid}
    return {caller.gid, *_numbers(line for line in lines if line.startswith("Groups:"))}


def _numbers(lines: Iterable[str]) -> list[int]:
    return [int(word) for line in lines for word in line.split()[1:]]
