"""A filesystem that does nothing but answer: names in dicts, bytes in bytearrays, no disk.

It is the yardstick for what a request costs before a filesystem has done anything. It is mounted
the way objfs is: write-back cache, names and attributes cached by the kernel for a day, pages kept
over opens, the kernel checks permissions. It answers what objfs has to answer: getxattr (the kernel
asks before every write(2)) and flush (objfs seals a version there), although ENOSYS would spare it
both for ever.

    python -m bench.nothing_fs MOUNTPOINT    prints "ready", serves until unmounted
"""

import errno
import os
import stat
import sys
import time
from collections.abc import Sequence

import pyfuse3
import trio

CACHE_SECONDS = 86_400.0


class Node:
    """A file, directory or symlink; `attributes` are what the kernel is told, always current."""

    __slots__ = ("attributes", "children", "data", "target")

    def __init__(self, ino: int, mode: int, context: pyfuse3.RequestContext | None) -> None:
        self.attributes = pyfuse3.EntryAttributes()
        self.attributes.st_ino = ino
        self.attributes.st_mode = mode
        self.attributes.entry_timeout = CACHE_SECONDS
        self.attributes.attr_timeout = CACHE_SECONDS
        if context is not None:
            self.attributes.st_uid = context.uid
            self.attributes.st_gid = context.gid
        now = time.time_ns()
        self.attributes.st_atime_ns = now
        self.attributes.st_mtime_ns = now
        self.attributes.st_ctime_ns = now
        self.children: dict[bytes, Node] = {}
        self.data = bytearray()
        self.target = b""

    def set_size(self, size: int) -> None:
        """Cut, or grow with zeroes."""
        if size < len(self.data):
            del self.data[size:]
        else:
            self.data.extend(bytes(size - len(self.data)))
        self._measure()

    def write(self, offset: int, data: bytes) -> None:
        """Put bytes at an offset."""
        if offset > len(self.data):
            self.data.extend(bytes(offset - len(self.data)))
        self.data[offset : offset + len(data)] = data
        self._measure()

    def _measure(self) -> None:
        self.attributes.st_size = len(self.data)
        self.attributes.st_blocks = len(self.data) + 511 >> 9


def _no_such_name() -> pyfuse3.EntryAttributes:
    entry = pyfuse3.EntryAttributes()
    entry.st_ino = 0
    entry.entry_timeout = CACHE_SECONDS
    return entry


class Nothing(pyfuse3.Operations):
    """The requests. File handles are inode numbers; directory handles are numbers of listings."""

    enable_writeback_cache = True
    enable_acl = True
    supports_dot_lookup = False

    def __init__(self) -> None:
        super().__init__()
        root = Node(pyfuse3.ROOT_INODE, stat.S_IFDIR | 0o755, None)
        self._nodes = {pyfuse3.ROOT_INODE: root}
        self._listings: dict[int, list[tuple[bytes, Node]]] = {}
        self._last = pyfuse3.ROOT_INODE
        self._absent = _no_such_name()

    def _new(self, parent: int, name: bytes, mode: int, context: pyfuse3.RequestContext) -> Node:
        children = self._nodes[parent].children
        if name in children:
            raise pyfuse3.FUSEError(errno.EEXIST)
        self._last += 1
        node = self._nodes[self._last] = children[name] = Node(self._last, mode, context)
        return node

    def _node(self, ino: int) -> Node:
        try:
            return self._nodes[ino]
        except KeyError:
            raise pyfuse3.FUSEError(errno.ESTALE) from None

    def _child(self, parent: int, name: bytes) -> Node:
        try:
            return self._nodes[parent].children[name]
        except KeyError:
            raise pyfuse3.FUSEError(errno.ENOENT) from None

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        # The kernel forgets an inode as a whole, after its last use: only then may a removed one
        # go, as dirty times are still sent for inodes without a name.
        for ino, _ in inode_list:
            node = self._nodes.get(ino)
            if node is not None and node.attributes.st_nlink == 0:
                del self._nodes[ino]

    # --- Names ------------------------------------------------------------------------------------

    async def lookup(
        self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        node = self._nodes[parent_inode].children.get(name)
        return self._absent if node is None else node.attributes

    async def mkdir(
        self, parent_inode: int, name: bytes, mode: int, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        return self._new(parent_inode, name, mode & ~ctx.umask, ctx).attributes

    async def mknod(
        self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        node = self._new(parent_inode, name, mode & ~ctx.umask, ctx)
        node.attributes.st_rdev = rdev
        return node.attributes

    async def symlink(
        self, parent_inode: int, name: bytes, target: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        node = self._new(parent_inode, name, stat.S_IFLNK | 0o777, ctx)
        node.target = target
        node.attributes.st_size = len(target)
        return node.attributes

    async def readlink(self, inode: int, ctx: pyfuse3.RequestContext) -> bytes:
        return self._node(inode).target

    async def link(
        self, inode: int, new_parent_inode: int, new_name: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        node = self._node(inode)
        self._nodes[new_parent_inode].children[new_name] = node
        node.attributes.st_nlink += 1
        return node.attributes

    async def unlink(self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> None:
        node = self._child(parent_inode, name)
        del self._nodes[parent_inode].children[name]
        node.attributes.st_nlink -= 1

    async def rmdir(self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> None:
        if self._child(parent_inode, name).children:
            raise pyfuse3.FUSEError(errno.ENOTEMPTY)
        await self.unlink(parent_inode, name, ctx)

    async def rename(
        self,
        parent_inode_old: int,
        name_old: bytes,
        parent_inode_new: int,
        name_new: bytes,
        flags: int,
        ctx: pyfuse3.RequestContext,
    ) -> None:
        if flags & ~pyfuse3.RENAME_NOREPLACE:
            raise pyfuse3.FUSEError(errno.EINVAL)
        node = self._child(parent_inode_old, name_old)
        children = self._nodes[parent_inode_new].children
        displaced = children.get(name_new)
        if displaced is not None and flags:
            raise pyfuse3.FUSEError(errno.EEXIST)
        children[name_new] = node
        del self._nodes[parent_inode_old].children[name_old]
        if displaced is not None:
            displaced.attributes.st_nlink -= 1

    # --- Attributes -------------------------------------------------------------------------------

    async def getattr(self, inode: int, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        return self._node(inode).attributes

    async def setattr(
        self,
        inode: int,
        attr: pyfuse3.EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: int | None,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        node = self._node(inode)
        known = node.attributes
        if fields.update_size:
            node.set_size(attr.st_size)
        if fields.update_mode:
            known.st_mode = stat.S_IFMT(known.st_mode) | stat.S_IMODE(attr.st_mode)
        if fields.update_uid:
            known.st_uid = attr.st_uid
        if fields.update_gid:
            known.st_gid = attr.st_gid
        if fields.update_atime:
            known.st_atime_ns = attr.st_atime_ns
        if fields.update_mtime:
            known.st_mtime_ns = attr.st_mtime_ns
        known.st_ctime_ns = attr.st_ctime_ns if fields.update_ctime else time.time_ns()
        return known

    async def getxattr(self, inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> bytes:
        raise pyfuse3.FUSEError(errno.ENODATA)

    async def listxattr(self, inode: int, ctx: pyfuse3.RequestContext) -> Sequence[bytes]:
        return []

    async def statfs(self, ctx: pyfuse3.RequestContext) -> pyfuse3.StatvfsData:
        figures = pyfuse3.StatvfsData()
        figures.f_bsize = figures.f_frsize = 4096
        figures.f_blocks = figures.f_bfree = figures.f_bavail = 1 << 30
        figures.f_files = figures.f_ffree = figures.f_favail = 1 << 30
        figures.f_namemax = 255
        return figures

    # --- Files ------------------------------------------------------------------------------------

    async def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: pyfuse3.RequestContext
    ) -> tuple[pyfuse3.FileInfo, pyfuse3.EntryAttributes]:
        node = self._new(parent_inode, name, mode & ~ctx.umask, ctx)
        return pyfuse3.FileInfo(fh=node.attributes.st_ino, keep_cache=True), node.attributes

    async def open(self, inode: int, flags: int, ctx: pyfuse3.RequestContext) -> pyfuse3.FileInfo:
        node = self._node(inode)
        if flags & os.O_TRUNC:
            node.set_size(0)
        return pyfuse3.FileInfo(fh=inode, keep_cache=True)

    async def read(self, fh: int, off: int, size: int) -> bytes:
        return bytes(memoryview(self._nodes[fh].data)[off : off + size])

    async def write(self, fh: int, off: int, buf: bytes) -> int:
        self._nodes[fh].write(off, buf)
        return len(buf)

    async def flush(self, fh: int) -> None:
        pass

    async def fsync(self, fh: int, datasync: bool) -> None:
        pass

    async def release(self, fh: int) -> None:
        pass

    # --- Directories ------------------------------------------------------------------------------

    async def opendir(self, inode: int, ctx: pyfuse3.RequestContext) -> int:
        self._last += 1
        self._listings[self._last] = list(self._node(inode).children.items())
        return self._last

    async def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        listing = self._listings[fh]
        for index in range(start_id, len(listing)):
            name, node = listing[index]
            if not pyfuse3.readdir_reply(token, name, node.attributes, index + 1):
                break

    async def releasedir(self, fh: int) -> None:
        del self._listings[fh]

    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        pass


def main(mountpoint: str) -> None:
    """Mount and serve until somebody unmounts."""
    options = {*pyfuse3.default_options, "fsname=nothing", "subtype=nothing"}
    pyfuse3.init(Nothing(), mountpoint, options)
    print("ready", flush=True)
    try:
        trio.run(pyfuse3.main)
    finally:
        pyfuse3.close(unmount=False)


if __name__ == "__main__":
    main(sys.argv[1])
