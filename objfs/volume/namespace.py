"""Names: lookup, and everything that makes, moves or removes a directory entry.

Always holds: a name and what it does to its inode and its directory are one change. A name that
ends goes to `dentry_past`. A directory's key ends with a slash, so a file and a directory of one
name are different keys; through these verbs a name is taken by either. Every directory has the
entry b"" of its own, the zero-byte object `dir/` of S3, which listings of the mount do not show.
"""

import stat
from typing import Literal

from msgspec.structs import replace

from objfs.base import limits
from objfs.base.errors import (
    AlreadyExists,
    CrossBucket,
    InvalidRequest,
    IsADirectory,
    NameTooLong,
    NotADirectory,
    NotFound,
    NotPermitted,
    TooManyLinks,
)
from objfs.base.types import Caller
from objfs.meta.database import Change
from objfs.meta.rows import Dentry, DentryPast, Inode, Xattr, new_inode
from objfs.meta.tables import DENTRY, INODE, XATTR
from objfs.volume import acl
from objfs.volume.core import Core
from objfs.volume.handles import Handle
from objfs.volume.hidden_names import check_exchange, keep_directory, shadow, unshadow
from objfs.volume.inodes import (
    check_empty,
    count_usage,
    directory_row,
    drop_link,
    end_directory,
    put_state,
    touch_directory,
)
from objfs.volume.listing import Listing, logged_page
from objfs.volume.passing_names import (
    directory_leaves_no_history,
    end_before,
    leaves_no_history,
)
from objfs.volume.purging import Settling
from objfs.volume.routes import Routes
from objfs.volume.writeback import Writeback

RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2
_ACCESS = b"system.posix_acl_access"
_DEFAULT = b"system.posix_acl_default"


def check_name(name: bytes) -> None:
    """NameTooLong or InvalidRequest for what POSIX cannot name."""
    if len(name) > limits.NAME_BYTES_MAX:
        raise NameTooLong(f"a name has at most {limits.NAME_BYTES_MAX} bytes, not {len(name)}")
    if name in (b"", b".", b"..") or b"/" in name or b"\0" in name:
        raise InvalidRequest(f"{name!r} cannot be the name of an entry")


class Namespace:
    """The verbs of names."""

    def __init__(self, core: Core, writeback: Writeback) -> None:
        self._core = core
        self._database = core.database
        self._writeback = writeback
        self.umask_applied = False  # the mount: the kernel has applied the umask to modes

    # --- reading -----------------------------------------------------------------------------

    def lookup(self, parent: int, name: bytes) -> Inode:
        """The inode behind a name. NotFound, NotADirectory, NameTooLong."""
        dentry = self._entry(parent, name)
        if dentry is None:
            if len(name) > limits.NAME_BYTES_MAX:
                check_name(name)
            directory_row(self._core, parent)
            raise NotFound(f"no entry {name!r} in directory {parent}")
        return self._core.inode(dentry.ino)

    def _entry(self, parent: int, name: bytes) -> Dentry | None:
        get = self._database.get
        found = get(DENTRY, parent, name + b"/") or get(DENTRY, parent, name)
        return None if found is not None and found.hidden else found

    def parent_of(self, ino: int) -> int:
        """The directory that holds directory `ino`; the root of a bucket holds itself."""
        for dentry in self._database.scan(DENTRY, (ino,), index="ino", limit=2):
            if dentry.parent != ino:
                return dentry.parent
        return ino

    def list_directory(self, ino: int, after: int, limit: int) -> list[tuple[bytes, int, Inode]]:
        """Entries with a cookie over `after`, in cookie order: (name, cookie, inode). Empty at the
        end, and for a directory that was removed."""
        current = self._core.current
        return [
            (name, cookie, current(inode))
            for name, cookie, inode in logged_page(self._database, ino, after, limit)
        ]

    def listing(self, ino: int) -> Listing:
        """The same page by page, for one reader who goes on to the end."""
        return Listing(self._core, ino)

    # --- making ------------------------------------------------------------------------------

    def create(
        self, parent: int, name: bytes, mode: int, flags: int, caller: Caller
    ) -> tuple[Handle, Inode]:
        """Make a regular file and open it. AlreadyExists, NotFound, NotADirectory, NoSpace."""
        inode = self._make(parent, name, stat.S_IFREG | stat.S_IMODE(mode), caller)
        opened = self._core.opened(inode)
        opened.session = inode.since
        opened.changed = True  # never sealed: the first close makes the first version
        opened.handles += 1
        return Handle(opened, flags), inode

    def mknod(self, parent: int, name: bytes, mode: int, rdev: int, caller: Caller) -> Inode:
        """Make a regular file, a FIFO, a socket or a device."""
        if stat.S_IFMT(mode) in (stat.S_IFDIR, stat.S_IFLNK):
            raise InvalidRequest("mknod makes neither directories nor symlinks")
        if stat.S_IFMT(mode) == 0:
            mode |= stat.S_IFREG
        return self._make(parent, name, mode, caller, rdev=rdev)

    def symlink(self, parent: int, name: bytes, target: bytes, caller: Caller) -> Inode:
        """Make a symlink. NameTooLong for a target over `SYMLINK_BYTES_MAX`."""
        if not target:
            raise NotFound("the target of a symlink cannot be empty")
        if len(target) > limits.SYMLINK_BYTES_MAX:
            raise NameTooLong(f"a symlink holds at most {limits.SYMLINK_BYTES_MAX} bytes")
        return self._make(parent, name, stat.S_IFLNK | 0o777, caller, target=target)

    def mkdir(self, parent: int, name: bytes, mode: int, caller: Caller) -> Inode:
        """Make a directory."""
        return self._make(parent, name, stat.S_IFDIR | stat.S_IMODE(mode), caller)

    def _make(
        self,
        parent: int,
        name: bytes,
        mode: int,
        caller: Caller,
        *,
        rdev: int = 0,
        target: bytes | None = None,
    ) -> Inode:
        check_name(name)
        core = self._core
        core.check_writable()
        core.admit(limits.KIB)
        directory = directory_row(core, parent)
        if core.quotas:
            core.check_quota(directory.bucket, limits.KIB)
        is_directory = stat.S_ISDIR(mode)
        if is_directory and directory.nlink >= limits.LINKS_MAX:
            raise TooManyLinks(f"directory {parent} has too many subdirectories")
        with core.change() as change:
            if self._entry(parent, name) is not None:
                raise AlreadyExists(f"{name!r} exists in directory {parent}")
            inode = self._new_inode(change, directory, mode, caller, rdev, target)
            key = name + b"/" if is_directory else name
            change.put(Dentry(parent, key, inode.ino, change.sequence, change.new_id()))
            if is_directory:
                change.put(Dentry(inode.ino, b"", inode.ino, change.sequence, change.new_id()))
            touch_directory(core, change, directory, links=int(is_directory))
            count_usage(change, inode.bucket, objects=1)
        return inode

    def _new_inode(
        self,
        change: Change,
        directory: Inode,
        mode: int,
        caller: Caller,
        rdev: int,
        target: bytes | None,
    ) -> Inode:
        """Put the row of a new inode made in `directory`, with the ACLs it inherits."""
        gid = caller.gid
        if directory.mode & stat.S_ISGID:
            gid = directory.gid
            if stat.S_ISDIR(mode):
                mode |= stat.S_ISGID
        attributes: dict[bytes, bytes] = {}
        if not stat.S_ISLNK(mode):
            mode, attributes = self._inherit(directory, mode, caller.umask)
        ino = change.new_id()
        now = change.time_ns
        inode = new_inode(
            ino,
            directory.bucket,
            mode,
            now,
            change.sequence,
            uid=caller.uid,
            gid=gid,
            nlink=2 if stat.S_ISDIR(mode) else 1,
            size=len(target) if target is not None else 0,
            rdev=rdev,
            target=target,
            content=ino if stat.S_ISREG(mode) else 0,
            has_xattrs=bool(attributes),
        )
        change.put(inode)
        for name, value in attributes.items():
            change.put(Xattr(ino, name, value))
        return inode

    def _inherit(self, directory: Inode, mode: int, umask: int) -> tuple[int, dict[bytes, bytes]]:
        """The mode of a new inode and the ACLs it gets from its directory (acl(5))."""
        default = None
        if directory.has_xattrs:
            default = self._database.get(XATTR, directory.ino, _DEFAULT)
        if default is None:
            return (mode if self.umask_applied else mode & ~umask), {}
        mode, access, default_acl = acl.inherit(default.value, mode, umask)
        attributes = {_ACCESS: access, _DEFAULT: default_acl}
        return mode, {name: value for name, value in attributes.items() if value is not None}

    def link(self, ino: int, parent: int, name: bytes) -> Inode:
        """Give a file another name. NotPermitted for directories, CrossBucket, TooManyLinks."""
        check_name(name)
        core = self._core
        core.check_writable()
        core.admit(limits.KIB)
        directory = directory_row(core, parent)
        with core.change() as change:
            inode = core.row(ino)
            if stat.S_ISDIR(inode.mode):
                raise NotPermitted("a directory has one name")
            if inode.nlink == 0:
                raise NotFound(f"inode {ino} was removed")
            if inode.nlink >= limits.LINKS_MAX:
                raise TooManyLinks(f"inode {ino} has {inode.nlink} names already")
            if inode.bucket != directory.bucket:
                raise CrossBucket("a hard link cannot lead to another bucket: copy the file")
            if self._entry(parent, name) is not None:
                raise AlreadyExists(f"{name!r} exists in directory {parent}")
            linked = replace(inode, nlink=inode.nlink + 1, ctime_ns=change.time_ns)
            put_state(core, change, inode, linked)
            change.put(Dentry(parent, name, ino, change.sequence, change.new_id()))
            touch_directory(core, change, directory)
        return core.inode(ino)

    # --- removing ----------------------------------------------------------------------------

    async def unlink(self, parent: int, name: bytes) -> None:
        """Remove a name of anything but a directory. The bytes stay readable in the past."""
        dentry = self._file_entry(parent, name)
        if self._writeback.must_seal(dentry.ino):
            await self._writeback.seal_displaced(dentry.ino)
            dentry = self._file_entry(parent, name)
        self._core.freeing(lambda: self._unlink(parent, dentry))

    def _file_entry(self, parent: int, name: bytes) -> Dentry:
        if len(name) > limits.NAME_BYTES_MAX:
            check_name(name)
        dentry = self._entry(parent, name)
        if dentry is None:
            directory_row(self._core, parent)
            raise NotFound(f"no entry {name!r} in directory {parent}")
        if dentry.key.endswith(b"/"):
            raise IsADirectory(f"{name!r} is a directory")
        return dentry

    def _unlink(self, parent: int, dentry: Dentry) -> None:
        core = self._core
        with core.change() as change:
            remove_entry(core, change, dentry)
            keep_directory(change, parent)
            touch_directory(core, change, directory_row(core, parent))

    def rmdir(self, parent: int, name: bytes) -> None:
        """Remove an empty directory. DirectoryNotEmpty, NotADirectory, NotFound."""
        self._core.freeing(lambda: self._rmdir(parent, name))

    def _rmdir(self, parent: int, name: bytes) -> None:
        check_name(name)
        with self._core.change() as change:
            dentry = self._entry(parent, name)
            directory = directory_row(self._core, parent)
            if dentry is None:
                raise NotFound(f"no entry {name!r} in directory {parent}")
            if not dentry.key.endswith(b"/"):
                raise NotADirectory(f"{name!r} is not a directory")
            self._end_directory(change, dentry)
            keep_directory(change, parent)
            touch_directory(self._core, change, directory, links=-1)

    def _end_directory(self, change: Change, dentry: Dentry) -> None:
        """Close the name of an empty directory, and the directory."""
        core = self._core
        own = change.scan(DENTRY, (dentry.ino,), limit=2)
        check_empty([entry.key for entry in own], dentry.ino)
        inode = core.row(dentry.ino)
        unshadow(core, change, dentry.parent, dentry.key)
        if directory_leaves_no_history(core, change, dentry):
            core.directory_closed = change.sequence
            for entry in (*own, dentry):
                change.delete(DENTRY, entry.parent, entry.key)
            end_directory(change, inode)
            wipe(core, change, inode.ino)
            return
        for entry in own:
            if entry.ino == inode.ino:
                close_entry(core, change, entry)
            else:  # an object `dir/` that S3 put
                remove_entry(core, change, entry, "kept")
        close_entry(core, change, dentry)
        end_directory(change, inode)

    # --- moving ------------------------------------------------------------------------------

    async def rename(
        self, parent: int, name: bytes, new_parent: int, new_name: bytes, flags: int = 0
    ) -> None:
        """Give an entry another name, in one change (rename(2), renameat2(2))."""
        check_name(name)
        check_name(new_name)
        if flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE) or flags == (
            RENAME_NOREPLACE | RENAME_EXCHANGE
        ):
            raise InvalidRequest(f"rename flags {flags:#x} are not known")
        source = self._entry(parent, name)
        displaced = self._entry(new_parent, new_name)
        if (
            flags == 0
            and source is not None
            and displaced is not None
            and source.ino != displaced.ino
            and not source.key.endswith(b"/")
            and not displaced.key.endswith(b"/")
            and self._writeback.must_seal(displaced.ino)
        ):
            await self._writeback.seal_displaced(displaced.ino)
            source, displaced = self._entry(parent, name), self._entry(new_parent, new_name)
        self._core.freeing(
            lambda: self._rename(parent, name, source, new_parent, new_name, displaced, flags)
        )

    def _rename(
        self,
        parent: int,
        name: bytes,
        source: Dentry | None,
        new_parent: int,
        new_name: bytes,
        target: Dentry | None,
        flags: int,
    ) -> None:
        """The change. `source` and `target` are the entries as they are now."""
        core = self._core
        directory = directory_row(core, parent)
        new_directory = directory_row(core, new_parent)
        with core.change() as change:
            if source is None:
                raise NotFound(f"no entry {name!r} in directory {parent}")
            if directory.bucket != new_directory.bucket:
                raise CrossBucket("a rename cannot lead to another bucket: copy and delete")
            self._check_not_below(source, new_parent)
            if flags & RENAME_EXCHANGE:
                if target is None:
                    raise NotFound(f"no entry {new_name!r} in directory {new_parent}")
                self._check_not_below(target, parent)
                self._exchange(change, source, target)
                return
            if target is not None and flags & RENAME_NOREPLACE:
                raise AlreadyExists(f"{new_name!r} exists in directory {new_parent}")
            if target is not None and target.ino == source.ino:
                return  # two names of one file: rename(2) does nothing
            self._move(change, source, target, new_parent, new_name)

    def _check_not_below(self, entry: Dentry, directory: int) -> None:
        """InvalidRequest if `directory` is the directory of `entry` or lies below it."""
        if not entry.key.endswith(b"/") or directory == entry.parent:
            return
        above = directory
        while True:
            if above == entry.ino:
                raise InvalidRequest("a directory cannot be moved into itself")
            parent = self.parent_of(above)
            if parent == above:
                return
            above = parent

    def _move(
        self,
        change: Change,
        source: Dentry,
        target: Dentry | None,
        new_parent: int,
        new_name: bytes,
    ) -> None:
        core = self._core
        is_directory = source.key.endswith(b"/")
        replaced_links = 0
        if target is not None:
            if target.key.endswith(b"/"):
                if not is_directory:
                    raise IsADirectory(f"{new_name!r} is a directory")
                self._end_directory(change, target)
                replaced_links = -1
            elif is_directory:
                raise NotADirectory(f"{new_name!r} is not a directory")
            else:
                remove_entry(core, change, target)
        close_entry(core, change, source, "renamed")
        key = new_name + b"/" if is_directory else new_name
        change.put(Dentry(new_parent, key, source.ino, change.sequence, change.new_id()))
        keep_directory(change, source.parent)
        if is_directory:
            shadow(change, new_parent, key)  # the end of what it replaced has shown the file
            unshadow(core, change, source.parent, source.key)
        self._moved(change, source.ino)
        moved_links = int(is_directory and new_parent != source.parent)
        touch_directory(core, change, core.row(new_parent), moved_links + replaced_links)
        if new_parent != source.parent:
            touch_directory(core, change, core.row(source.parent), -moved_links)

    def _moved(self, change: Change, ino: int) -> None:
        """The inode of a moved name changes its ctime."""
        inode = change.get(INODE, ino)
        assert inode is not None
        put_state(self._core, change, inode, replace(inode, ctime_ns=change.time_ns))

    def _exchange(self, change: Change, one: Dentry, other: Dentry) -> None:
        if one.ino == other.ino:
            return
        core = self._core
        check_exchange(change, one, other)
        close_entry(core, change, one)
        close_entry(core, change, other)
        links = 0
        for entry, place in ((one, other), (other, one)):
            is_directory = entry.key.endswith(b"/")
            key = place.key.rstrip(b"/") + (b"/" if is_directory else b"")
            change.put(Dentry(place.parent, key, entry.ino, change.sequence, change.new_id()))
            self._moved(change, entry.ino)
        if one.parent != other.parent:
            links = int(other.key.endswith(b"/")) - int(one.key.endswith(b"/"))
            touch_directory(core, change, core.row(other.parent), -links)
        touch_directory(core, change, core.row(one.parent), links)


def remove_entry(
    core: Core, change: Change, dentry: Dentry, end: Literal["kept", "removed"] = "removed"
) -> None:
    """The name of a file goes, and the file with its last one. Of one that was used in passing and
    that nobody has open, nothing is left; of one that is open, when it is closed."""
    inode = core.row(dentry.ino)
    kept = close_entry(core, change, dentry, end)
    drop_link(core, change, inode)
    if not kept and change.get(INODE, dentry.ino) is None:
        wipe(core, change, dentry.ino)


def wipe(core: Core, change: Change, ino: int) -> None:
    """Nothing is left of an inode that is gone, was used in passing, and had no other name."""
    settled = Settling(core, change, Routes(change), ino).settle([])
    assert settled.done, "what is used in passing is small"


def close_entry(
    core: Core, change: Change, dentry: Dentry, end: Literal["kept", "renamed", "removed"] = "kept"
) -> bool:
    """A name ends: it goes to the past, unless it began in this very change, or was used in
    passing (how it ended decides that; False then). The version that it ends with may no longer
    be replaced."""
    core.expose(dentry.ino)
    if dentry.key.endswith(b"/"):
        core.directory_closed = change.sequence
    change.delete(DENTRY, dentry.parent, dentry.key)
    if dentry.since == change.sequence:
        return True
    if end != "kept" and leaves_no_history(core, change, dentry, removed=end == "removed"):
        end_before(change, dentry)
        return False
    change.put(
        DentryPast(
            dentry.parent,
            dentry.key,
            change.sequence,
            dentry.ino,
            dentry.since,
            dentry.entry,
            dentry.null,
            dentry.shown,
            hidden=dentry.hidden,
        )
    )
    return True
