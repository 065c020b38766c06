"""What a restore puts into the tree, inside a change: inodes with the state of a moment.

A restored file is a new inode that shares the content of a version; the inode that had the name
goes to the past, and whoever has it open keeps it: the kernel may know its size and times, so its
content is never changed. Attributes of what the kernel does not own (a directory, anything with one
name and the bytes that it shall have) are set in place.
"""

import stat
from collections.abc import Iterator
from typing import NamedTuple

from msgspec.structs import replace

from objfs.base.errors import NotFound
from objfs.meta.database import Change
from objfs.meta.rows import Dentry, Inode, Orphan, Version, Xattr, counted_bytes
from objfs.meta.tables import DENTRY, INODE, INODE_PAST, ORPHAN, VERSION, XATTR
from objfs.volume.content import drop_version
from objfs.volume.core import Core
from objfs.volume.hidden_names import can_be_seen, is_hidden, keep_directory, shadow
from objfs.volume.inodes import (
    count_usage,
    delete_rows,
    drop_link,
    put_state,
    sealed_size,
    touch_directory,
    xattrs_of,
)
from objfs.volume.namespace import close_entry
from objfs.volume.trees import State


class Restored(NamedTuple):
    """What a restore did: entries by what happened to them, and the bytes of files put back."""

    added: int = 0
    replaced: int = 0
    attributes: int = 0  # changed in place
    removed: int = 0
    unchanged: int = 0
    bytes: int = 0
    ino: int = 0  # what the restored path leads to now


def same_bytes(change: Change, was: State, row: Inode) -> bool:
    """Whether the inode, clean, is of the same kind as `was` and holds the same: bytes (known by
    their identity), target, device."""
    if stat.S_IFMT(was.inode.mode) != stat.S_IFMT(row.mode):
        return False
    if not stat.S_ISREG(row.mode):
        return (was.inode.target, was.inode.rdev) == (row.target, row.rdev)
    version = change.get(VERSION, row.ino, row.sealed) if row.sealed else None
    return _bytes_of(was.version) == _bytes_of(version)


def _bytes_of(version: Version | None) -> tuple[int, ...]:
    if version is None or not version.size:
        return (0,)
    return (version.size, version.content, version.content_at)


def same_attributes(change: Change, was: State, row: Inode) -> bool:
    """Whether mode, owner, mtime and extended attributes are those of `was`."""
    return (
        (was.inode.mode, was.inode.uid, was.inode.gid, was.inode.mtime_ns)
        == (row.mode, row.uid, row.gid, row.mtime_ns)
        and (not (was.xattrs or row.has_xattrs) or was.xattrs == xattrs_of(change, row))
    )  # fmt: skip


def attribute_rows(change: Change, was: State, row: Inode) -> int:
    """How many rows `set_attributes` may put."""
    return 3 + len(was.xattrs) + len(xattrs_of(change, row))


def set_attributes(core: Core, change: Change, was: State, row: Inode) -> None:
    """Give an inode the attributes of `was`, as a new state."""
    before = xattrs_of(change, row)
    new = replace(
        row,
        mode=was.inode.mode,
        uid=was.inode.uid,
        gid=was.inode.gid,
        mtime_ns=was.inode.mtime_ns,
        ctime_ns=change.time_ns,
        has_xattrs=bool(was.xattrs),
    )
    put_state(core, change, row, new)
    for name in before.keys() - was.xattrs.keys():
        change.delete(XATTR, row.ino, name)
    for name, value in was.xattrs.items():
        if before.get(name) != value:
            change.put(Xattr(row.ino, name, value))


def new_inode(change: Change, was: State, directory: Inode) -> Inode:
    """Put a new inode like `was`: a file shares the bytes, a directory is empty. Counts it.
    NotFound when the version was erased since `was` was read: its bytes may be gone."""
    ino, is_directory = change.new_id(), stat.S_ISDIR(was.inode.mode)
    version = was.version
    if version is not None and change.get(VERSION, version.ino, version.sealed) is None:
        raise NotFound(f"the version {version.sealed:x} of a file was erased meanwhile")
    inode = replace(
        was.inode,
        ino=ino,
        bucket=directory.bucket,
        nlink=2 if is_directory else 1,
        ctime_ns=change.time_ns,
        birth_ns=change.time_ns,
        content=0,
        content_at=0,
        has_xattrs=bool(was.xattrs),
        sealed=0,
        since=change.sequence,
        since_ns=change.time_ns,
        given=True,
    )
    if version is not None:
        inode = replace(
            inode,
            content=version.content,
            content_at=version.content_at,
            sealed=change.sequence,
        )
        change.put(replace(version, ino=ino, sealed=change.sequence, time_ns=change.time_ns))
    elif stat.S_ISREG(inode.mode):
        inode = replace(inode, content=ino)
    change.put(inode)
    for name, value in was.xattrs.items():
        change.put(Xattr(ino, name, value))
    if is_directory:
        change.put(Dentry(ino, b"", ino, change.sequence, change.new_id()))
    size = counted_bytes(version.size) if version else 0
    count_usage(change, inode.bucket, live=size, objects=1)
    return inode


def put_entry(core: Core, change: Change, directory: int, key: bytes, ino: int) -> None:
    """Give an inode a name, which is free."""
    if key.endswith(b"/"):
        hidden = not can_be_seen(change, directory, key)
        shadow(change, directory, key)
    else:
        hidden = is_hidden(change, directory, key)
    change.put(Dentry(directory, key, ino, change.sequence, change.new_id(), hidden=hidden))
    row = change.get(INODE, directory)
    assert row is not None
    touch_directory(core, change, row, links=int(key.endswith(b"/")))


def link_entry(core: Core, change: Change, directory: int, key: bytes, inode: Inode) -> None:
    """Give a file another name, which is free."""
    linked = replace(inode, nlink=inode.nlink + 1, ctime_ns=change.time_ns)
    put_state(core, change, inode, linked)
    put_entry(core, change, directory, key, inode.ino)


def remove_file(core: Core, change: Change, dentry: Dentry) -> None:
    """End a name of a file; what was sealed of it stays in the past."""
    inode = change.get(INODE, dentry.ino)
    assert inode is not None
    close_entry(core, change, dentry)
    drop_link(core, change, inode)
    keep_directory(change, dentry.parent)


def begin_building(change: Change, was: State, directory: Inode) -> Inode:
    """A new directory that has no name yet; an opening that finds it discards it."""
    inode = new_inode(change, was, directory)
    change.put(Orphan(inode.ino, change.sequence))
    return inode


def end_building(core: Core, change: Change, directory: int, key: bytes, ino: int) -> None:
    """What was built appears under a name, which is free."""
    change.delete(ORPHAN, ino)
    put_entry(core, change, directory, key, ino)


def discard_building(core: Core, ino: int) -> Iterator[None]:
    """Remove what was built without a name: nobody ever saw it, so no past is kept. A change for
    each turn of the iterator; safe to be left and begun again."""
    way = [ino]
    while way:
        with core.change() as change:
            _discard_batch(change, way)
        yield


def _discard_batch(change: Change, way: list[int]) -> None:
    """Some rows of the directory that `way` ends with, or of one below it."""
    rows_max = 32  # of directory entries: each may have several rows
    rows = change.scan(DENTRY, (way[-1],), limit=rows_max)
    for row in rows:
        if row.key.endswith(b"/"):
            way.append(row.ino)
            return
        if len(change) > rows_max:
            return
        if row.key:
            _discard_file(change, row)
    if len(rows) == rows_max:
        return
    directory = change.get(INODE, way.pop())
    if directory is None:
        return
    change.delete(DENTRY, directory.ino, b"")
    for name in change.scan(DENTRY, (directory.ino,), index="ino", limit=2):
        change.delete(DENTRY, name.parent, name.key)
    _discard_inode(change, directory)


def _discard_file(change: Change, dentry: Dentry) -> None:
    inode = change.get(INODE, dentry.ino)
    change.delete(DENTRY, dentry.parent, dentry.key)
    if inode is not None and inode.nlink > 1:
        change.put(replace(inode, nlink=inode.nlink - 1))
    elif inode is not None:
        _discard_inode(change, inode)


def _discard_inode(change: Change, inode: Inode) -> None:
    size = sealed_size(change, inode) if stat.S_ISREG(inode.mode) else 0
    count_usage(change, inode.bucket, live=-size, objects=-1)
    version = change.get(VERSION, inode.ino, inode.sealed) if inode.sealed else None
    if version is not None:
        drop_version(change, version)
    for past in change.scan(INODE_PAST, (inode.ino,), limit=32):
        change.delete(INODE_PAST, past.ino, past.until)
    delete_rows(change, inode)
