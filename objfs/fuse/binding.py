"""pyfuse3's view of the operations: unpack, call, pack. The only module that knows its types.

Always holds:

- Nothing but `FUSEError` leaves a method (any other exception ends the mount), except what trio
  cancels with.
- Attributes are packed into objects that are used again and again: pyfuse3 copies them out before
  any other task runs, because no `await` lies between our `return` and its reply.
- Names and attributes are cached by the kernel for `KERNEL_CACHE_SECONDS`, names that are not there
  too. Whatever changes behind the kernel is invalidated (`objfs/fuse/invalidation.py`).

Long because each of pyfuse3's calls is a method with its own `try`: a wrapper around them all would
add a coroutine to each request.
"""

import errno
import logging
from collections.abc import Callable, Sequence
from functools import partial

import pyfuse3
from pyfuse3 import (
    EntryAttributes,
    FileInfo,
    FUSEError,
    ReaddirToken,
    RequestContext,
    SetattrFields,
    StatvfsData,
)

from objfs.base.errors import ObjfsError
from objfs.base.limits import (
    BUCKET_LIST_CACHE_SECONDS,
    KERNEL_CACHE_SECONDS,
    NAME_BYTES_MAX,
)
from objfs.base.types import AttributeChange, Caller
from objfs.fuse.errors import errno_of, is_expected
from objfs.fuse.operations import ROOT_ID, Operations
from objfs.fuse.views import VIEW_BIT, Shown
from objfs.volume.dirty import Buffer
from objfs.volume.volume import Inode

BLOCK_BYTES = 4096  # the unit of statfs
PREFERRED_IO_BYTES = 131_072  # what programs that ask read and write at a time

logger = logging.getLogger(__name__)


def _attributes(timeout: float) -> EntryAttributes:
    entry = EntryAttributes()
    entry.attr_timeout = entry.entry_timeout = timeout
    entry.st_blksize = PREFERRED_IO_BYTES
    return entry


def _caller(context: RequestContext) -> Caller:
    return Caller(context.uid, context.gid, context.umask, context.pid)


class Binding(pyfuse3.Operations):
    """The object that pyfuse3 calls. `connected` is called when the kernel said hello."""

    supports_dot_lookup = True
    enable_writeback_cache = True
    enable_acl = True

    def __init__(self, operations: Operations, connected: Callable[[], None]) -> None:
        super().__init__()
        self._do = operations
        self._connected = connected
        self._root = operations.root
        self._entry = _attributes(KERNEL_CACHE_SECONDS)
        self._missing = _attributes(KERNEL_CACHE_SECONDS)
        # Buckets come and go behind the kernel.
        self._all_buckets = operations.all_buckets
        self._bucket = _attributes(BUCKET_LIST_CACHE_SECONDS)
        self._missing_bucket = _attributes(BUCKET_LIST_CACHE_SECONDS)
        self._opened = FileInfo(keep_cache=True)
        self._view = _attributes(KERNEL_CACHE_SECONDS)
        self._made_at_open = FileInfo(direct_io=True)

    def init(self) -> None:
        self._connected()

    def _pack(
        self, inode: Inode, entry: EntryAttributes | None = None, id: int = 0
    ) -> EntryAttributes:
        """Its own number is the inode's id, unless `id` is."""
        entry = entry or self._entry
        ino = id or inode.ino
        entry.st_ino = ROOT_ID if ino == self._root else ino
        entry.st_mode = inode.mode
        entry.st_nlink = inode.nlink
        entry.st_uid = inode.uid
        entry.st_gid = inode.gid
        entry.st_rdev = inode.rdev
        entry.st_size = inode.size
        entry.st_blocks = (inode.allocated + 511) >> 9
        entry.st_atime_ns = inode.atime_ns
        entry.st_mtime_ns = inode.mtime_ns
        entry.st_ctime_ns = inode.ctime_ns
        return entry

    def _pack_view(self, shown: Shown) -> EntryAttributes:
        self._view.attr_timeout = self._view.entry_timeout = shown.seconds
        return self._pack(shown.inode, self._view)

    def _failed(self, call: str, error: Exception, of: int) -> FUSEError:
        """What the kernel is told of an error; what is nobody's fault but ours is logged."""
        number = errno_of(error)
        if isinstance(error, ObjfsError) and not is_expected(error):
            logger.error("%s of %d: %s", call, of, error)
        elif not is_expected(error):
            logger.error("%s of %d failed unexpectedly", call, of, exc_info=error)
        return FUSEError(number)

    # --- inodes and names ------------------------------------------------------------------------

    async def lookup(self, parent: int, name: bytes, ctx: RequestContext) -> EntryAttributes:
        try:
            if parent & VIEW_BIT:
                return self._pack_view(self._do.lookup_past(parent, name, _caller(ctx)))
            inode = self._do.lookup(parent, name)
            if parent == ROOT_ID and self._all_buckets:
                return self._pack(inode, self._bucket) if inode else self._missing_bucket
            return self._pack(inode) if inode is not None else self._missing
        except Exception as error:
            raise self._failed("lookup", error, parent) from error

    def forget(self, inodes: Sequence[tuple[int, int]]) -> None:  # type: ignore[override]
        """Not a coroutine: pyfuse3 has nothing to wait for then."""
        try:
            self._do.forget(inodes)
        except Exception:  # any would end the mount
            logger.exception("forget failed unexpectedly")

    async def getattr(self, inode: int, ctx: RequestContext) -> EntryAttributes:
        try:
            if inode & VIEW_BIT:
                return self._pack_view(self._do.views.getattr(inode))
            entry = self._bucket if self._all_buckets and inode == ROOT_ID else None
            return self._pack(self._do.getattr(inode), entry)
        except Exception as error:
            raise self._failed("getattr", error, inode) from error

    async def setattr(
        self,
        inode: int,
        attr: EntryAttributes,
        fields: SetattrFields,
        fh: int | None,
        ctx: RequestContext,
    ) -> EntryAttributes:
        try:
            change = AttributeChange(
                mode=attr.st_mode & 0o7777 if fields.update_mode else None,
                uid=attr.st_uid if fields.update_uid else None,
                gid=attr.st_gid if fields.update_gid else None,
                size=attr.st_size if fields.update_size else None,
                atime_ns=attr.st_atime_ns if fields.update_atime else None,
                mtime_ns=attr.st_mtime_ns if fields.update_mtime else None,
                ctime_ns=attr.st_ctime_ns if fields.update_ctime else None,
            )
            return self._pack(await self._do.setattr(inode, change, fh, _caller(ctx)))
        except Exception as error:
            raise self._failed("setattr", error, inode) from error

    async def readlink(self, inode: int, ctx: RequestContext) -> bytes:
        try:
            return self._do.readlink(inode)
        except Exception as error:
            raise self._failed("readlink", error, inode) from error

    async def access(self, inode: int, mode: int, ctx: RequestContext) -> bool:
        try:
            return self._do.access(inode)
        except Exception as error:
            raise self._failed("access", error, inode) from error

    # --- making, moving, removing ----------------------------------------------------------------

    async def mknod(
        self, parent: int, name: bytes, mode: int, rdev: int, ctx: RequestContext
    ) -> EntryAttributes:
        try:
            return self._pack(self._do.mknod(parent, name, mode, rdev, _caller(ctx)))
        except Exception as error:
            raise self._failed("mknod", error, parent) from error

    async def mkdir(
        self, parent: int, name: bytes, mode: int, ctx: RequestContext
    ) -> EntryAttributes:
        try:
            return self._pack(self._do.mkdir(parent, name, mode, _caller(ctx)))
        except Exception as error:
            raise self._failed("mkdir", error, parent) from error

    async def symlink(
        self, parent: int, name: bytes, target: bytes, ctx: RequestContext
    ) -> EntryAttributes:
        try:
            return self._pack(self._do.symlink(parent, name, target, _caller(ctx)))
        except Exception as error:
            raise self._failed("symlink", error, parent) from error

    async def link(
        self, inode: int, parent: int, name: bytes, ctx: RequestContext
    ) -> EntryAttributes:
        try:
            return self._pack(self._do.link(inode, parent, name))
        except Exception as error:
            raise self._failed("link", error, inode) from error

    async def unlink(self, parent: int, name: bytes, ctx: RequestContext) -> None:
        try:
            await self._do.unlink(parent, name)
        except Exception as error:
            raise self._failed("unlink", error, parent) from error

    async def rmdir(self, parent: int, name: bytes, ctx: RequestContext) -> None:
        try:
            self._do.rmdir(parent, name)
        except Exception as error:
            raise self._failed("rmdir", error, parent) from error

    async def rename(
        self,
        parent: int,
        name: bytes,
        new_parent: int,
        new_name: bytes,
        flags: int,
        ctx: RequestContext,
    ) -> None:
        try:
            await self._do.rename(parent, name, new_parent, new_name, flags)
        except Exception as error:
            raise self._failed("rename", error, parent) from error

    # --- files -----------------------------------------------------------------------------------

    async def create(
        self, parent: int, name: bytes, mode: int, flags: int, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        try:
            fh, inode = self._do.create(parent, name, mode, flags, _caller(ctx))
            return self._open(fh), self._pack(inode)
        except Exception as error:
            raise self._failed("create", error, parent) from error

    async def open(self, inode: int, flags: int, ctx: RequestContext) -> FileInfo:
        try:
            return self._open(await self._do.open(inode, flags, _caller(ctx)), inode)
        except Exception as error:
            raise self._failed("open", error, inode) from error

    def _open(self, fh: int, id: int = 0) -> FileInfo:
        opened = self._opened
        if id & VIEW_BIT and not self._do.views.is_fixed(id):
            opened = self._made_at_open
        opened.fh = fh
        return opened

    async def read(self, fh: int, off: int, size: int) -> Buffer:  # type: ignore[override]
        try:
            data = self._do.read_nowait(fh, off, size)
            return data if data is not None else await self._do.read(fh, off, size)
        except Exception as error:
            raise self._failed("read", error, fh) from error

    async def write(self, fh: int, off: int, buf: bytes) -> int:
        try:
            if self._do.write_nowait(fh, off, buf):
                return len(buf)
            return await self._do.write(fh, off, buf)
        except Exception as error:
            raise self._failed("write", error, fh) from error

    async def flush(self, fh: int) -> None:
        try:
            await self._do.flush(fh)
        except Exception as error:
            raise self._failed("flush", error, fh) from error

    async def release(self, fh: int) -> None:
        try:
            await self._do.release(fh)
        except Exception as error:
            raise self._failed("release", error, fh) from error

    async def fsync(self, fh: int, datasync: bool) -> None:
        try:
            await self._do.fsync(fh)
        except Exception as error:
            raise self._failed("fsync", error, fh) from error

    async def poll(self, inode: int, fh: int, poll_handle: object, ctx: RequestContext) -> int:
        # The kernel then answers for itself: a regular file is always ready.
        raise FUSEError(errno.ENOSYS)

    # --- directories -----------------------------------------------------------------------------

    async def opendir(self, inode: int, ctx: RequestContext) -> int:
        try:
            if inode & VIEW_BIT:
                return self._do.opendir_past(inode, _caller(ctx))
            return self._do.opendir(inode)
        except Exception as error:
            raise self._failed("opendir", error, inode) from error

    async def readdir(self, fh: int, start_id: int, token: ReaddirToken) -> None:
        try:
            pack, reply = self._pack, pyfuse3.readdir_reply
            if fh & VIEW_BIT:
                await self._do.views.readdir(fh, start_id, partial(self._give_view, token))
                return
            attributes = self._bucket if self._do.lists_buckets(fh) else self._entry
            for name, cookie, inode in self._do.readdir(fh, start_id):
                if not reply(token, name, pack(inode, attributes), cookie):
                    return
        except Exception as error:
            raise self._failed("readdir", error, fh) from error

    def _give_view(
        self, token: ReaddirToken, name: bytes, cookie: int, id: int, inode: Inode, seconds: float
    ) -> bool:
        view = self._view
        view.attr_timeout = view.entry_timeout = seconds
        return pyfuse3.readdir_reply(token, name, self._pack(inode, view, id), cookie)

    async def releasedir(self, fh: int) -> None:
        try:
            self._do.releasedir(fh)
        except Exception as error:
            raise self._failed("releasedir", error, fh) from error

    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        try:
            await self._do.fsyncdir(fh)
        except Exception as error:
            raise self._failed("fsyncdir", error, fh) from error

    async def statfs(self, ctx: RequestContext) -> StatvfsData:
        try:
            space = self._do.statfs()
        except Exception as error:
            raise self._failed("statfs", error, ROOT_ID) from error
        data = StatvfsData()
        data.f_bsize = data.f_frsize = BLOCK_BYTES
        data.f_blocks = space.total_bytes // BLOCK_BYTES
        data.f_bfree = space.free_bytes // BLOCK_BYTES
        data.f_bavail = space.available_bytes // BLOCK_BYTES
        # Inodes are bytes in the log: there is room for as many as there are free blocks.
        data.f_ffree = data.f_favail = data.f_bavail
        data.f_files = space.inodes + data.f_ffree
        data.f_namemax = NAME_BYTES_MAX
        return data

    # --- extended attributes ---------------------------------------------------------------------

    async def getxattr(self, inode: int, name: bytes, ctx: RequestContext) -> bytes:
        try:
            if inode & VIEW_BIT:
                value = self._do.getxattr_past(inode, name, _caller(ctx))
            else:
                value = self._do.getxattr(inode, name)
        except Exception as error:
            raise self._failed("getxattr", error, inode) from error
        if value is None:
            raise FUSEError(errno.ENODATA)
        return value

    async def listxattr(self, inode: int, ctx: RequestContext) -> Sequence[bytes]:
        try:
            return self._do.listxattr(inode, _caller(ctx))
        except Exception as error:
            raise self._failed("listxattr", error, inode) from error

    async def setxattr(self, inode: int, name: bytes, value: bytes, ctx: RequestContext) -> None:
        try:
            self._do.setxattr(inode, name, value)
        except Exception as error:
            raise self._failed("setxattr", error, inode) from error

    async def removexattr(self, inode: int, name: bytes, ctx: RequestContext) -> None:
        try:
            self._do.removexattr(inode, name)
        except Exception as error:
            raise self._failed("removexattr", error, inode) from error


class MomentBinding(Binding):
    """For a mount of a moment, read-only to the kernel: its root has the id of a view here."""

    def _id(self, id: int) -> int:
        return self._root if id == ROOT_ID else id

    async def lookup(self, parent: int, name: bytes, ctx: RequestContext) -> EntryAttributes:
        return await super().lookup(self._id(parent), name, ctx)

    async def getattr(self, inode: int, ctx: RequestContext) -> EntryAttributes:
        return await super().getattr(self._id(inode), ctx)

    async def opendir(self, inode: int, ctx: RequestContext) -> int:
        return await super().opendir(self._id(inode), ctx)

    async def getxattr(self, inode: int, name: bytes, ctx: RequestContext) -> bytes:
        return await super().getxattr(self._id(inode), name, ctx)

    async def listxattr(self, inode: int, ctx: RequestContext) -> Sequence[bytes]:
        return await super().listxattr(self._id(inode), ctx)
