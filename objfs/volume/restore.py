"""Restore: an old version becomes the current one, without copying a byte.

A new inode shares the version's content, read as of the version's sequence, and takes the name; the
inode that had the name goes to the past, and whoever has it open keeps it. So a restore is a
version like any other and can itself be undone.
"""

import stat

from msgspec.structs import replace

from objfs.base import limits
from objfs.base.errors import IsADirectory, NotFound
from objfs.meta.database import Change
from objfs.meta.rows import Dentry, Inode, Version, Xattr, counted_bytes
from objfs.meta.tables import DENTRY, VERSION
from objfs.volume.core import Core
from objfs.volume.hidden_names import is_hidden
from objfs.volume.history import History, VersionEntry
from objfs.volume.inodes import count_usage, directory_row, drop_link, touch_directory
from objfs.volume.namespace import check_name, close_entry
from objfs.volume.view import View
from objfs.volume.writeback import Writeback


class Restore:
    """The verb that brings old versions back."""

    def __init__(self, core: Core, history: History, writeback: Writeback) -> None:
        self._core = core
        self._history = history
        self._writeback = writeback

    async def restore(
        self, bucket: str, key: bytes, name: str, to: tuple[str, bytes] | None = None
    ) -> Inode:
        """Put version `name` of a path back in place, or at `to` (bucket, key). NotFound,
        InvalidRequest, IsADirectory."""
        entry, version = self._history.find(bucket, key, name)
        new_bucket, new_key = to or (bucket, key)
        head, _, leaf = new_key.rpartition(b"/")
        check_name(leaf)
        parent = self._history.directory_at(new_bucket, head)
        dentry = self._core.database.get(DENTRY, parent, leaf)
        if dentry is not None:
            await self._writeback.seal_displaced(dentry.ino)
        inode = self._place(entry, version, parent, leaf)
        self._core.invalidate(parent, leaf)
        return inode

    def _place(self, entry: VersionEntry, version: Version, parent: int, leaf: bytes) -> Inode:
        core = self._core
        core.check_writable()
        core.admit(limits.KIB)
        directory = directory_row(core, parent)
        view = self._history.at(entry.sequence)
        with core.change() as change:
            if change.get(VERSION, version.ino, version.sealed) is None:
                raise NotFound(f"version {entry.version_id} was erased meanwhile")
            if change.get(DENTRY, parent, leaf + b"/") is not None:
                raise IsADirectory(f"{leaf!r} is a directory: restore to another name")
            dentry = change.get(DENTRY, parent, leaf)
            if dentry is not None:
                close_entry(core, change, dentry)
                drop_link(core, change, core.row(dentry.ino))
            inode = self._new_inode(change, view, version, directory)
            hidden = is_hidden(change, parent, leaf)
            change.put(
                Dentry(parent, leaf, inode.ino, change.sequence, change.new_id(), hidden=hidden)
            )
            touch_directory(core, change, directory)
            count_usage(change, inode.bucket, live=counted_bytes(version.size), objects=1)
        return inode

    def _new_inode(self, change: Change, view: View, version: Version, directory: Inode) -> Inode:
        """An inode with the bytes of `version` and the attributes of its moment."""
        was = view.getattr(version.ino)
        assert stat.S_ISREG(was.mode)
        ino = change.new_id()
        xattrs = view.xattrs(version.ino)
        inode = replace(
            was,
            ino=ino,
            bucket=directory.bucket,
            nlink=1,
            size=version.size,
            allocated=version.allocated,
            ctime_ns=change.time_ns,
            birth_ns=change.time_ns,
            content=version.content,
            content_at=version.content_at,
            has_xattrs=bool(xattrs),
            sealed=change.sequence,
            since=change.sequence,
            since_ns=change.time_ns,
            given=True,
        )
        change.put(inode)
        for name, value in xattrs.items():
            change.put(Xattr(ino, name, value))
        change.put(replace(version, ino=ino, sealed=change.sequence, time_ns=change.time_ns))
        return inode
