"""What each call of the kernel means, over plain values: no pyfuse3, no kernel needed.

Inode numbers in arguments are the kernel's ids, those in results (`Inode` rows) the volume's.
`id_of` translates back: the mounted root is 1 to the kernel, everything else has its own number.
A mount shows a directory of a bucket, or all buckets: then 1 is a directory that exists only here,
read-only, with the buckets' roots as entries.

Always holds:

- Nothing waits for anything but the volume; functions without `async` do not wait at all.
- The kernel's write-back cache owns size and times of regular files it knows. It reads under
  handles opened for writing, so every handle reads, and it takes care of O_APPEND.
- A position in a directory is the cookie of the entry before it. Nothing is read ahead of what is
  given out: an entry given to the kernel late would bring a removed name back in its cache.
- Lookup counts are not kept: inode numbers are never used again. Views of the past have ids of
  their own, with VIEW_BIT set, and counts (`objfs/fuse/views.py`); file and directory handles of
  theirs have the bit too. Nothing in them can be changed.

Errors are those of `objfs.base.errors`.

Long because each of the kernel's calls is a method here, and most are a few lines.
"""

import itertools
import os
import stat
from collections.abc import Iterable, Iterator

from objfs.base import limits
from objfs.base.errors import (
    BadHandle,
    NameTooLong,
    NoAttribute,
    NotADirectory,
    NotFound,
    NotPermitted,
    NotSupported,
    ReadOnly,
)
from objfs.base.types import AttributeChange, Caller, SpaceFigures
from objfs.fuse.views import VIEW_BIT, Shown, Views
from objfs.volume.acl import ACCESS_NAME, DEFAULT_NAME
from objfs.volume.dirty import Buffer
from objfs.volume.listing import Entry, Listing
from objfs.volume.past_nodes import Node
from objfs.volume.volume import Handle, Inode, Volume, new_inode

ROOT_ID = 1
RESERVED_NAME = b".objfs"  # where the past will be shown
_SPECIAL_NAMES = frozenset([b".", b"..", RESERVED_NAME])
_SELF_COOKIE, _PARENT_COOKIE = 1, 2  # those of real entries are larger
_READDIR_MARGIN = 8  # entries asked for above what the last answer held


class OpenDirectory:
    """One opendir. `page` adapts to what one answer to the kernel holds."""

    __slots__ = ("end", "ino", "listing", "page")

    def __init__(self, ino: int, listing: Listing | None) -> None:
        self.ino = ino
        self.listing = listing  # None for the list of buckets
        self.page = limits.READDIR_ENTRIES_MIN
        self.end = -1  # the position at which there was nothing more


class Operations:
    """The calls. `root` is the directory shown, None for all buckets."""

    def __init__(self, volume: Volume, root: int | None) -> None:
        self._volume = volume
        self.all_buckets = root is None
        self.root = ROOT_ID if root is None else root
        self._files: dict[int, Handle] = {}
        self._directories: dict[int, OpenDirectory] = {}
        self._numbers = itertools.count(1)
        self._without_xattrs: set[int] = set()
        self.views = Views(volume.past)
        # Handles of files whose setuid or setgid bit the next write must clear. Used only where
        # the kernel leaves that to us.
        self.kernel_kills = False
        self.bytes_read = self.bytes_written = 0
        self._killing: set[int] = set()

    @classmethod
    def of_moment(cls, volume: Volume, node: Node) -> "Operations":
        """Those of a mount that shows a view and nothing else. The kernel's root is the view's."""
        operations = cls(volume, ROOT_ID)
        operations.views = Views(volume.past, limits.MOMENT_MOUNT_SECONDS)
        operations.root = operations.views.keep(node, ROOT_ID, b"").ino
        return operations

    # --- inodes and names ------------------------------------------------------------------------

    def id_of(self, ino: int) -> int:
        """The kernel's id of an inode."""
        return ROOT_ID if ino == self.root else ino

    def _ino(self, id: int) -> int:
        return self.root if id == ROOT_ID else id

    def _inode_in(self, id: int) -> int:
        """An inode that may change. ReadOnly for the list of buckets."""
        if id & VIEW_BIT:
            raise ReadOnly("the past cannot be changed")
        if id != ROOT_ID:
            return id
        if self.all_buckets:
            raise ReadOnly("this directory lists the buckets: use `objfs bucket` to change them")
        return self.root

    def _place(self, parent: int, name: bytes) -> int:
        """The directory in which `name` may be made. ReadOnly, NotPermitted."""
        directory = self._inode_in(parent)
        if name == RESERVED_NAME and self._is_root(directory):
            raise NotPermitted(f"{name!r} is kept for the views of the past")
        return directory

    def _is_root(self, ino: int) -> bool:
        return ino == self.root or any(bucket.root == ino for bucket in self._volume.buckets())

    def lookup(self, parent: int, name: bytes) -> Inode | None:
        """The inode behind a name; None if there is no such name."""
        if name in _SPECIAL_NAMES:
            return self._special(parent, name)
        if parent == ROOT_ID:
            if self.all_buckets:
                return self._bucket_root(name)
            parent = self.root
        return self._entry(parent, name)

    def _entry(self, ino: int, name: bytes) -> Inode | None:
        try:
            return self._volume.lookup(ino, name)
        except NotFound:
            return None

    def _special(self, parent: int, name: bytes) -> Inode | None:
        """Names that may have a meaning of their own."""
        ino = self._ino(parent)
        if name == b".":
            return self.getattr(parent)
        if name == b"..":
            return self._parent(ino)
        if not self._is_root(ino):
            return self._entry(ino, name)
        above_all = self.all_buckets and ino == ROOT_ID
        return self.views.top(None if above_all else ino, parent, name)

    def _parent(self, ino: int) -> Inode:
        """The directory above; the mounted root's is itself."""
        if ino == self.root:
            return self.getattr(ROOT_ID)
        above = self._volume.parent_of(ino)
        if above == ino and self.all_buckets:
            return self.getattr(ROOT_ID)
        return self._volume.getattr(above)

    def _bucket_root(self, name: bytes) -> Inode | None:
        if len(name) > limits.NAME_BYTES_MAX:
            raise NameTooLong(f"a name has at most {limits.NAME_BYTES_MAX} bytes, not {len(name)}")
        for bucket in self._volume.buckets():
            if bucket.name.encode() == name:
                return self._volume.getattr(bucket.root)
        return None

    def _bucket_list(self) -> Inode:
        """The directory of all buckets, as an inode."""
        buckets = self._volume.buckets()
        newest = max((bucket.created_ns for bucket in buckets), default=0)
        return new_inode(ROOT_ID, 0, stat.S_IFDIR | 0o555, newest, 0, nlink=2 + len(buckets))

    def lookup_past(self, parent: int, name: bytes, caller: Caller) -> Shown:
        """The view behind a name in a view. NotFound."""
        return self.views.lookup(parent, name, caller)

    def forget(self, inodes: Iterable[tuple[int, int]]) -> None:
        """Inodes leave the kernel's memory: of ours, only views depend on that."""
        for id, lookups in inodes:
            if id & VIEW_BIT:
                self.views.forget(id, lookups)

    def getattr(self, id: int) -> Inode:
        """The attributes of an inode."""
        if id & VIEW_BIT:
            return self.views.getattr(id).inode
        if id == ROOT_ID:
            return self._bucket_list() if self.all_buckets else self._volume.getattr(self.root)
        return self._volume.getattr(id)

    async def setattr(
        self, id: int, change: AttributeChange, fh: int | None, caller: Caller
    ) -> Inode:
        """chmod, chown, truncate and utimensat."""
        ino = self._inode_in(id)
        if not self.kernel_kills:
            change = self._kill_by_change(ino, change, caller)
        handle = self._files.get(fh) if fh is not None else None
        changed = await self._volume.setattr(ino, change, handle)
        if change.mode is not None and not self.kernel_kills:
            self._mark_killing(changed)
        if change.mode is not None or change.uid is not None or change.gid is not None:
            self.views.permissions_changed(ino)
        return changed

    def readlink(self, id: int) -> bytes:
        """The target of a symlink."""
        return self.views.readlink(id) if id & VIEW_BIT else self._volume.readlink(id)

    def access(self, id: int) -> bool:
        """The kernel checks permissions itself (default_permissions); here only that it exists."""
        self.getattr(id)
        return True

    # --- setuid and setgid, where the kernel leaves clearing them to us --------------------------

    def _kill_by_change(self, ino: int, change: AttributeChange, caller: Caller) -> AttributeChange:
        """A chown, and a truncate by anyone but root, clears setuid and setgid (chown(2))."""
        owned = change.uid is not None or change.gid is not None
        if change.mode is not None or not (owned or (change.size is not None and caller.uid)):
            return change
        mode = self._volume.getattr(ino).mode
        if not _is_privileged(mode):
            return change
        return AttributeChange(
            mode=_unprivileged(mode),
            uid=change.uid,
            gid=change.gid,
            size=change.size,
            atime_ns=change.atime_ns,
            mtime_ns=change.mtime_ns,
            ctime_ns=change.ctime_ns,
        )

    def _mark_killing(self, inode: Inode) -> None:
        """Note which handles' writes have to clear setuid and setgid of this file."""
        fhs = {fh for fh, handle in self._files.items() if handle.ino == inode.ino}
        if _is_privileged(inode.mode):
            self._killing |= fhs
        else:
            self._killing -= fhs

    async def _kill_by_write(self, fh: int) -> None:
        inode = self._volume.getattr(self._files[fh].ino)
        if _is_privileged(inode.mode):
            change = AttributeChange(mode=_unprivileged(inode.mode))
            inode = await self._volume.setattr(inode.ino, change)
        self._mark_killing(inode)

    # --- making, moving, removing ----------------------------------------------------------------

    def mknod(self, parent: int, name: bytes, mode: int, rdev: int, caller: Caller) -> Inode:
        """Make a regular file, FIFO, socket or device."""
        return self._volume.mknod(self._place(parent, name), name, mode, rdev, caller)

    def mkdir(self, parent: int, name: bytes, mode: int, caller: Caller) -> Inode:
        """Make a directory."""
        return self._volume.mkdir(self._place(parent, name), name, mode, caller)

    def symlink(self, parent: int, name: bytes, target: bytes, caller: Caller) -> Inode:
        """Make a symlink."""
        return self._volume.symlink(self._place(parent, name), name, target, caller)

    def link(self, id: int, parent: int, name: bytes) -> Inode:
        """Give a file another name."""
        return self._volume.link(self._inode_in(id), self._place(parent, name), name)

    async def unlink(self, parent: int, name: bytes) -> None:
        """Remove a name of anything but a directory."""
        await self._volume.unlink(self._place(parent, name), name)

    def rmdir(self, parent: int, name: bytes) -> None:
        """Remove an empty directory."""
        self._volume.rmdir(self._place(parent, name), name)

    async def rename(
        self, parent: int, name: bytes, new_parent: int, new_name: bytes, flags: int
    ) -> None:
        """rename(2) and renameat2(2), with RENAME_NOREPLACE and RENAME_EXCHANGE."""
        source = self._place(parent, name)
        await self._volume.rename(source, name, self._place(new_parent, new_name), new_name, flags)

    # --- files -----------------------------------------------------------------------------------

    def create(
        self, parent: int, name: bytes, mode: int, flags: int, caller: Caller
    ) -> tuple[int, Inode]:
        """Make a regular file and open it."""
        handle, inode = self._volume.create(self._place(parent, name), name, mode, flags, caller)
        if not inode.has_xattrs:
            self._remember_without_xattrs(inode.ino)
        return self._keep(handle, inode.mode), inode

    async def open(self, id: int, flags: int, caller: Caller) -> int:
        """Open a regular file. O_TRUNC comes with the open (FUSE_CAP_ATOMIC_O_TRUNC)."""
        if id & VIEW_BIT:
            return self._keep_past(self.views.open(id, flags, caller))
        mode = self._volume.getattr(id).mode
        handle = await self._volume.open(id, flags)
        fh = self._keep(handle, mode)
        if flags & os.O_TRUNC and caller.uid and _is_privileged(mode):
            await self._volume.setattr(id, AttributeChange(mode=_unprivileged(mode)))
        return fh

    def _keep(self, handle: Handle, mode: int) -> int:
        fh = next(self._numbers)
        self._files[fh] = handle
        if _is_privileged(mode) and not self.kernel_kills:
            self._killing.add(fh)
        return fh

    def _keep_past(self, handle: Handle) -> int:
        fh = next(self._numbers) | VIEW_BIT
        self._files[fh] = handle
        return fh

    def _file(self, fh: int) -> Handle:
        try:
            return self._files[fh]
        except KeyError:
            raise BadHandle(f"there is no open file {fh}") from None

    def read_nowait(self, fh: int, offset: int, size: int) -> Buffer | None:
        """The bytes, if they are there without waiting; shorter only at the end of the file."""
        data = self._volume.read_nowait(self._file(fh), offset, size)
        if data is not None:
            self.bytes_read += len(data)
        return data

    async def read(self, fh: int, offset: int, size: int) -> Buffer:
        """The bytes; shorter only at the end of the file."""
        data = await self._volume.read(self._file(fh), offset, size)
        self.bytes_read += len(data)
        return data

    def write_nowait(self, fh: int, offset: int, data: bytes) -> bool:
        """Take `data` up if no waiting is needed. False: call `write`."""
        if fh in self._killing:
            return False
        taken = self._volume.write_nowait(self._file(fh), offset, data)
        self.bytes_written += len(data) if taken else 0
        return taken

    async def write(self, fh: int, offset: int, data: bytes) -> int:
        """Take `data` up. Returns its length."""
        handle = self._file(fh)
        if fh in self._killing:
            await self._kill_by_write(fh)
        count = await self._volume.write(handle, offset, data)
        self.bytes_written += count
        return count

    async def flush(self, fh: int) -> None:
        """close(2) of one descriptor."""
        if fh & VIEW_BIT:
            return
        await self._volume.flush(self._file(fh))

    async def release(self, fh: int) -> None:
        """The last descriptor is closed."""
        handle = self._file(fh)
        del self._files[fh]
        if fh & VIEW_BIT:
            return
        self._killing.discard(fh)
        await self._volume.release(handle)

    async def fsync(self, fh: int) -> None:
        """Durable, with everything logged before."""
        if not fh & VIEW_BIT:
            await self._volume.fsync(self._file(fh).ino)

    # --- directories -----------------------------------------------------------------------------

    def opendir_past(self, id: int, caller: Caller) -> int:
        """Open a directory of a view."""
        fh = next(self._numbers) | VIEW_BIT
        self._volume.core.read_index_ahead()
        self.views.opendir(id, fh, caller)
        return fh

    def opendir(self, id: int) -> int:
        """Open a directory."""
        ino = self._ino(id)
        if ino != ROOT_ID and not stat.S_ISDIR(self._volume.getattr(ino).mode):
            raise NotADirectory(f"inode {ino} is not a directory")
        fh = next(self._numbers)
        self._volume.core.read_index_ahead()
        listing = None if ino == ROOT_ID else self._volume.listing(ino)
        self._directories[fh] = OpenDirectory(ino, listing)
        return fh

    def _directory(self, fh: int) -> OpenDirectory:
        try:
            return self._directories[fh]
        except KeyError:
            raise BadHandle(f"there is no open directory {fh}") from None

    def readdir(self, fh: int, start: int) -> Iterator[Entry]:
        """The entries after the position `start` (0 at first), `.` and `..` included."""
        directory = self._directory(fh)
        if start < _SELF_COOKIE:
            yield b".", _SELF_COOKIE, self.getattr(self.id_of(directory.ino))
        if start < _PARENT_COOKIE:
            yield b"..", _PARENT_COOKIE, self._parent(directory.ino)
            start = 0
        elif start == _PARENT_COOKIE:
            start = 0
        if start != directory.end:
            yield from self._entries(directory, start)

    def _entries(self, directory: OpenDirectory, after: int) -> Iterator[Entry]:
        given, reserved = 0, self._is_root(directory.ino)
        try:
            while page := self._page(directory, after):
                for entry in page:
                    if reserved and entry[0] == RESERVED_NAME:
                        continue
                    yield entry
                    given += 1
                    after = entry[1]
                after = page[-1][1]
            directory.end = after
        finally:  # also when the kernel's buffer is full: then the last one yielded was not taken
            wanted = max(given + _READDIR_MARGIN, limits.READDIR_ENTRIES_MIN)
            directory.page = min(wanted, limits.READDIR_ENTRIES_MAX)
            if directory.listing is not None and after != directory.end:
                directory.listing.look_ahead(after, directory.page)

    def lists_buckets(self, fh: int) -> bool:
        """Whether the open directory is the list of buckets."""
        return self._directory(fh).ino == ROOT_ID

    def _page(self, directory: OpenDirectory, after: int) -> list[Entry]:
        if directory.listing is not None:
            return directory.listing.page(after, directory.page)
        buckets = sorted(self._volume.buckets(), key=lambda bucket: bucket.id)
        return [
            (bucket.name.encode(), bucket.id, self._volume.getattr(bucket.root))
            for bucket in buckets
            if bucket.id > after
        ][: directory.page]

    def releasedir(self, fh: int) -> None:
        """The directory is closed."""
        if fh & VIEW_BIT:
            self.views.releasedir(fh)
            return
        self._directory(fh)
        del self._directories[fh]

    async def fsyncdir(self, fh: int) -> None:
        """Durable, with everything logged before."""
        if fh & VIEW_BIT:
            return
        ino = self._directory(fh).ino
        if ino == ROOT_ID:
            await self._volume.sync()
        else:
            await self._volume.fsync(ino)

    def statfs(self) -> SpaceFigures:
        """The device's true figures."""
        return self._volume.space()

    # --- extended attributes ---------------------------------------------------------------------

    def getxattr_past(self, id: int, name: bytes, caller: Caller) -> bytes | None:
        """The value of an attribute in a view, None if there is no such."""
        return self.views.getxattr(id, name, caller)

    def getxattr(self, id: int, name: bytes) -> bytes | None:
        """The value, None if there is no such attribute. Each write(2) asks for
        `security.capability` first: the answer for inodes without attributes takes no query."""
        if id in self._without_xattrs or (id == ROOT_ID and self.all_buckets):
            return None
        ino = self._ino(id)
        if not self._volume.getattr(ino).has_xattrs:
            self._remember_without_xattrs(ino)
            return None
        try:
            return self._volume.getxattr(ino, name)
        except NoAttribute:
            return None

    def _remember_without_xattrs(self, ino: int) -> None:
        if len(self._without_xattrs) >= limits.INODES_WITHOUT_XATTRS_MAX:
            self._without_xattrs.clear()
        self._without_xattrs.add(ino)

    def listxattr(self, id: int, caller: Caller) -> list[bytes]:
        """The names; those of `trusted` only for root, as everywhere."""
        if id == ROOT_ID and self.all_buckets:
            return []
        past = id & VIEW_BIT
        names = self.views.listxattr(id) if past else self._volume.listxattr(self._ino(id))
        return [name for name in names if caller.uid == 0 or not name.startswith(b"trusted.")]

    def setxattr(self, id: int, name: bytes, value: bytes, flags: int = 0) -> None:
        """Set an extended attribute. NotSupported for what only a kernel can mean."""
        ino = self._inode_in(id)
        _check_attribute(name)
        self._without_xattrs.discard(ino)
        self._volume.setxattr(ino, name, value, flags)
        if name == ACCESS_NAME:
            self.views.permissions_changed(ino)

    def removexattr(self, id: int, name: bytes) -> None:
        """Remove an extended attribute."""
        ino = self._inode_in(id)
        self._volume.removexattr(ino, name)
        if name == ACCESS_NAME:
            self.views.permissions_changed(ino)

    def changed_behind(self, ino: int) -> None:
        """Something but this mount changed the inode."""
        self._without_xattrs.discard(ino)
        self.views.permissions_changed(ino)


def _check_attribute(name: bytes) -> None:
    if name.startswith(b"system.") and name not in (ACCESS_NAME, DEFAULT_NAME):
        raise NotSupported(f"{name!r}: of the attributes of the system there are only the ACLs")


def _is_privileged(mode: int) -> bool:
    """Whether a write has to clear setuid or setgid. Without group execute permission, setgid
    means something else."""
    if not mode & 0o6000 or not stat.S_ISREG(mode):
        return False
    return bool(mode & stat.S_ISUID) or mode & 0o2010 == 0o2010


def _unprivileged(mode: int) -> int:
    mode &= ~stat.S_ISUID
    return stat.S_IMODE(mode & ~stat.S_ISGID if mode & stat.S_IXGRP else mode)
