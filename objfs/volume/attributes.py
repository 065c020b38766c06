"""Attributes: stat, setattr, extended attributes and ACLs.

A change of mode or owner is logged at once. Times of an inode with working state stay with that
state and are logged with it: the kernel's write-back cache sends a SETATTR of times with every
write, and close follows.
"""

import stat

from msgspec.structs import replace

from objfs.base import limits
from objfs.base.errors import (
    AlreadyExists,
    AttributeTooLarge,
    InvalidRequest,
    IsADirectory,
    NameTooLong,
    NoAttribute,
    NoSpace,
    NotFound,
    StaleInode,
)
from objfs.base.types import AttributeChange
from objfs.meta.database import Change
from objfs.meta.rows import Inode, Xattr
from objfs.meta.tables import INODE, XATTR
from objfs.volume import acl
from objfs.volume.core import Core
from objfs.volume.handles import Handle, OpenInode
from objfs.volume.inodes import put_state
from objfs.volume.writeback import Writeback

XATTR_CREATE = 1
XATTR_REPLACE = 2
_TIME_MIN, _TIME_MAX = -(1 << 63), (1 << 63) - 1
ACL_ACCESS = b"system.posix_acl_access"
ACL_DEFAULT = b"system.posix_acl_default"


class Attributes:
    """The verbs of attributes."""

    def __init__(self, core: Core, writeback: Writeback) -> None:
        self._core = core
        self._database = core.database
        self._writeback = writeback

    def readlink(self, ino: int) -> bytes:
        """The target of a symlink. InvalidRequest for anything else."""
        target = self._core.inode(ino).target
        if target is None:
            raise InvalidRequest(f"inode {ino} is not a symlink")
        return target

    # --- setattr -----------------------------------------------------------------------------

    async def setattr(
        self, ino: int, change: AttributeChange, handle: Handle | None = None
    ) -> Inode:
        """Change attributes and size (chmod, chown, utimensat, truncate); returns the new state.

        A size given for an inode that nobody has open is sealed at once. The kernel's write-back
        cache sends times of files whose last name is gone already: that is no error.
        """
        core = self._core
        core.check_writable()
        row = core.database.get(INODE, ino)
        if row is None:
            return self._gone(ino, change)
        change = _storable(change)
        if change.size is not None:
            await self._resize(row, change)
        else:
            opened = core.open_inodes.get(ino)
            if opened is not None and opened.changed:
                if not self._keep_times(opened, change):
                    core.freeing(lambda: self._log(ino, change))
            elif not self._keep_late(row, change):
                core.freeing(lambda: self._log(ino, change))
        return core.inode(ino)

    def _gone(self, ino: int, change: AttributeChange) -> Inode:
        """The state of an inode that nobody sees any more. Of one that left no history nothing is
        known; to fail for its times would fail the syncfs(2) that sent them. NotFound."""
        times = replace(change, atime_ns=None, mtime_ns=None, ctime_ns=None)
        try:
            return self._core.inode(ino)
        except NotFound:
            if times != AttributeChange():
                raise
        return Inode(ino, 0, stat.S_IFREG, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, None, 0, 0, False, 0, 0, 0)

    def _keep_late(self, row: Inode, change: AttributeChange) -> bool:
        """With its write-back cache the kernel sends the ctime of a rename, a chmod or a link once
        more, a little later than ours. That is not worth a META: it is kept, and logged with the
        next round of background work."""
        core = self._core
        if not core.kernel_owns_times or core.spawn is None or change.ctime_ns is None:
            return False
        if change.mtime_ns not in (None, row.mtime_ns) or change.atime_ns not in (
            None,
            row.atime_ns,
        ):
            return False
        if change.mode is not None or change.uid is not None or change.gid is not None:
            return False
        if len(core.late_ctimes) >= limits.LATE_CTIMES_MAX:
            self.log_late()
        core.late_ctimes[row.ino] = change.ctime_ns
        core.active.set()
        return True

    def log_late(self) -> None:
        """Log the ctimes that were kept, many inodes a change."""
        core = self._core
        while core.late_ctimes:
            with core.change() as change:
                for ino in list(core.late_ctimes)[: limits.ROWS_PER_BATCH_MAX]:
                    ctime_ns = core.late_ctimes.pop(ino)
                    row = core.database.get(INODE, ino)
                    if row is not None and ctime_ns > row.ctime_ns:
                        put_state(core, change, row, replace(row, ctime_ns=ctime_ns))

    async def _resize(self, row: Inode, change: AttributeChange) -> None:
        assert change.size is not None
        if stat.S_ISDIR(row.mode):
            raise IsADirectory(f"inode {row.ino} is a directory")
        if not stat.S_ISREG(row.mode):
            raise InvalidRequest(f"inode {row.ino} has no size that could be set")
        core = self._core
        opened = core.opened(row)
        opened.handles += 1
        try:
            await self._writeback.truncate(opened, change.size)
            if not self._keep_times(opened, change):
                core.freeing(lambda: self._log(row.ino, change))
        finally:
            opened.handles -= 1
            if opened.handles == 0:
                await self._writeback.let_go(opened)

    def _keep_times(self, opened: OpenInode, change: AttributeChange) -> bool:
        """Leave times with the working state. Returns whether that was all there is to do."""
        if change.atime_ns is not None:
            opened.atime_ns = change.atime_ns
        if change.mtime_ns is not None:
            opened.mtime_ns = change.mtime_ns
        if change.ctime_ns is not None:
            opened.ctime_ns = change.ctime_ns
        elif not self._core.kernel_owns_times or opened.ctime_ns is not None:
            opened.ctime_ns = self._core.clock.now_ns()
        return change.mode is None and change.uid is None and change.gid is None

    def _log(self, ino: int, wanted: AttributeChange) -> None:
        core = self._core
        with core.change() as change:
            old = core.row(ino)
            mode = old.mode
            if wanted.mode is not None:
                mode = stat.S_IFMT(old.mode) | stat.S_IMODE(wanted.mode)
            new = replace(
                old,
                mode=mode,
                uid=old.uid if wanted.uid is None else wanted.uid,
                gid=old.gid if wanted.gid is None else wanted.gid,
                atime_ns=old.atime_ns if wanted.atime_ns is None else wanted.atime_ns,
                mtime_ns=old.mtime_ns if wanted.mtime_ns is None else wanted.mtime_ns,
                ctime_ns=change.time_ns if wanted.ctime_ns is None else wanted.ctime_ns,
            )
            if new == old:
                return
            put_state(core, change, old, new)
            if mode != old.mode and old.has_xattrs:
                self._follow_mode(change, new)

    def _follow_mode(self, change: Change, inode: Inode) -> None:
        """chmod changes the ACL's owner, mask and other entries (acl(5))."""
        row = change.get(XATTR, inode.ino, ACL_ACCESS)
        if row is not None:
            value = acl.chmod(row.value, stat.S_IMODE(inode.mode))
            change.put(Xattr(inode.ino, ACL_ACCESS, value))

    # --- extended attributes -------------------------------------------------------------------

    def getxattr(self, ino: int, name: bytes) -> bytes:
        """The value of an extended attribute. NoAttribute."""
        row = self._database.get(XATTR, ino, name)
        if row is None:
            raise NoAttribute(f"inode {ino} has no attribute {name!r}")
        return row.value

    def listxattr(self, ino: int) -> list[bytes]:
        """The names of the extended attributes."""
        inode = self._core.inode(ino)
        if not inode.has_xattrs:
            return []
        return [row.name for row in self._database.scan(XATTR, (ino,))]

    def setxattr(self, ino: int, name: bytes, value: bytes, flags: int = 0) -> None:
        """Set an extended attribute; an access ACL sets the mode too. `flags`: XATTR_CREATE,
        XATTR_REPLACE. AlreadyExists, NoAttribute, AttributeTooLarge, NameTooLong, NoSpace."""
        if not 0 < len(name) <= limits.XATTR_NAME_BYTES_MAX:
            raise NameTooLong(f"an attribute's name has 1 to {limits.XATTR_NAME_BYTES_MAX} bytes")
        if len(value) > limits.XATTR_VALUE_BYTES_MAX:
            raise AttributeTooLarge(
                f"an attribute's value has at most {limits.XATTR_VALUE_BYTES_MAX} bytes"
            )
        core = self._core
        core.check_writable()
        core.admit(len(value) + limits.KIB)
        with core.change() as change:
            self._set(change, core.row(ino), name, value, flags)

    def _set(self, change: Change, old: Inode, name: bytes, value: bytes, flags: int) -> None:
        existing = change.get(XATTR, old.ino, name)
        if flags & XATTR_CREATE and existing is not None:
            raise AlreadyExists(f"inode {old.ino} has an attribute {name!r}")
        if flags & XATTR_REPLACE and existing is None:
            raise NoAttribute(f"inode {old.ino} has no attribute {name!r}")
        mode = old.mode
        kept: bytes | None = value
        if name in (ACL_ACCESS, ACL_DEFAULT):
            mode, kept = self._acl(old, name, value)
        if kept is None:
            self._put(change, old, mode, name, None)
            return
        if existing is None:
            self._check_room(change, old, name)
        self._put(change, old, mode, name, kept)

    def _acl(self, old: Inode, name: bytes, value: bytes) -> tuple[int, bytes | None]:
        """The mode that an ACL brings, and what of it must be kept as an attribute."""
        acl.validate(value)
        if name == ACL_DEFAULT:
            if not stat.S_ISDIR(old.mode):
                raise InvalidRequest("only directories have a default ACL")
            return old.mode, value if acl.decode(value) else None
        mode = acl.mode_of(value, stat.S_IMODE(old.mode))
        kept = None if acl.is_minimal(value) else value
        return stat.S_IFMT(old.mode) | mode, kept

    def _check_room(self, change: Change, inode: Inode, name: bytes) -> None:
        names = [row.name for row in change.scan(XATTR, (inode.ino,))]
        size = sum(len(each) + 1 for each in names) + len(name) + 1
        if len(names) >= limits.XATTRS_MAX or size > limits.XATTR_TOTAL_BYTES_MAX:
            raise NoSpace(f"inode {inode.ino} has as many attributes as it can hold")

    def _put(self, change: Change, old: Inode, mode: int, name: bytes, value: bytes | None) -> None:
        """Set or remove one attribute, as a new state of the inode."""
        existing = change.get(XATTR, old.ino, name)
        if (existing is None and value is None) or (
            existing is not None and existing.value == value
        ):
            if mode != old.mode:
                put_state(self._core, change, old, replace(old, mode=mode, ctime_ns=change.time_ns))
            return
        left = value is not None or len(change.scan(XATTR, (old.ino,), limit=2)) > 1
        new = replace(old, mode=mode, ctime_ns=change.time_ns, has_xattrs=left)
        put_state(self._core, change, old, new)
        if value is None:
            change.delete(XATTR, old.ino, name)
        else:
            change.put(Xattr(old.ino, name, value))

    def removexattr(self, ino: int, name: bytes) -> None:
        """Remove an extended attribute. NoAttribute."""
        core = self._core
        core.check_writable()

        def act() -> None:
            with core.change() as change:
                if change.get(XATTR, ino, name) is None:
                    raise NoAttribute(f"inode {ino} has no attribute {name!r}")
                self._put(change, core.row(ino), core.row(ino).mode, name, None)

        core.freeing(act)

    def check_open(self, ino: int) -> Inode:
        """The row of a regular file about to be opened. StaleInode if it is gone: another may be
        under its name, and the kernel does not know yet."""
        row = self._core.row(ino)
        if stat.S_ISDIR(row.mode):
            raise IsADirectory(f"inode {ino} is a directory")
        if not stat.S_ISREG(row.mode):
            raise InvalidRequest(f"inode {ino} is not a regular file")
        if row.nlink == 0 and ino not in self._core.open_inodes:
            raise StaleInode(f"inode {ino} was removed")
        return row


def _storable(change: AttributeChange) -> AttributeChange:
    """Times outside the range of 64-bit nanoseconds (1677 to 2262) become its ends, as Linux does
    with what a file system cannot say."""
    times = (change.atime_ns, change.mtime_ns, change.ctime_ns)
    if all(each is None or _TIME_MIN <= each <= _TIME_MAX for each in times):
        return change
    clamped = [None if each is None else max(_TIME_MIN, min(each, _TIME_MAX)) for each in times]
    return replace(change, atime_ns=clamped[0], mtime_ns=clamped[1], ctime_ns=clamped[2])
