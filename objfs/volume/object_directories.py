"""The directories along a key, inside a change: made by a PUT, removed by the delete that empties
them.

A directory that S3 made has no entry of its own: it is there because something lies in it. Long
chains go in several changes (`DIRECTORIES_PER_CHANGE_MAX`); what a crash leaves of such a one is an
empty directory of the mount, no object.
"""

import stat
from collections.abc import Sequence
from typing import NamedTuple

from objfs.base.limits import DIRECTORIES_PER_CHANGE_MAX
from objfs.meta.database import Change
from objfs.meta.rows import Bucket, Dentry, Inode, Xattr, new_inode
from objfs.meta.tables import DENTRY, INODE, XATTR
from objfs.volume import acl
from objfs.volume.attributes import ACL_ACCESS, ACL_DEFAULT
from objfs.volume.content import Source
from objfs.volume.core import Core
from objfs.volume.hidden_names import can_be_seen, shadow, unshadow
from objfs.volume.inodes import count_usage, end_directory, touch_directory
from objfs.volume.namespace import close_entry

UMASK = 0o022  # of what S3 makes where no default ACL says otherwise


class Owner(NamedTuple):
    """Who owns what is new; None: as the directory above."""

    uid: int | None = None
    gid: int | None = None


def missing_of(source: Source, root: int, directories: Sequence[bytes]) -> tuple[int, list[bytes]]:
    """The deepest directory along the components that is there, and the components below it."""
    ino = root
    for at, part in enumerate(directories):
        row = source.get(DENTRY, ino, part)
        if row is None:
            return ino, list(directories[at:])
        ino = row.ino
    return ino, []


def make_directories(
    core: Core, change: Change, bucket: Bucket, directories: Sequence[bytes], owner: Owner
) -> Inode:
    """The row of the last directory along the components; at most DIRECTORIES_PER_CHANGE_MAX of
    those that are missing are made: then it is the deepest of these."""
    ino, missing = missing_of(change, bucket.root, directories)
    row = change.get(INODE, ino)
    assert row is not None
    for part in missing[:DIRECTORIES_PER_CHANGE_MAX]:
        row = _make(core, change, row, part, owner)
    return row


def _make(core: Core, change: Change, above: Inode, part: bytes, owner: Owner) -> Inode:
    row = new_object_inode(change, above, stat.S_IFDIR | 0o777, owner)
    change.put(row)
    hidden = not can_be_seen(change, above.ino, part)
    change.put(Dentry(above.ino, part, row.ino, change.sequence, change.new_id(), hidden=hidden))
    shadow(change, above.ino, part)
    touch_directory(core, change, above, links=1)
    count_usage(change, above.bucket, objects=1)
    return row


def new_object_inode(change: Change, above: Inode, mode: int, owner: Owner) -> Inode:
    """The row of a new inode in a directory, not put yet; the ACLs that it inherits are put."""
    default = change.get(XATTR, above.ino, ACL_DEFAULT) if above.has_xattrs else None
    mode, access, passed_on = acl.inherit(default.value if default else None, mode, UMASK)
    gid = above.gid if owner.gid is None else owner.gid
    if above.mode & stat.S_ISGID:
        gid = above.gid
        mode |= stat.S_ISGID if stat.S_ISDIR(mode) else 0
    ino = change.new_id()
    for name, value in ((ACL_ACCESS, access), (ACL_DEFAULT, passed_on)):
        if value is not None:
            change.put(Xattr(ino, name, value))
    return new_inode(
        ino,
        above.bucket,
        mode,
        change.time_ns,
        change.sequence,
        uid=above.uid if owner.uid is None else owner.uid,
        gid=gid,
        nlink=2 if stat.S_ISDIR(mode) else 1,
        has_xattrs=access is not None or passed_on is not None,
    )


def remove_emptied(core: Core, change: Change, bucket: Bucket, ino: int) -> tuple[int, bool]:
    """Remove a directory that has no entry any more, and those above it that this empties. Returns
    the deepest that stays, and whether it may have to go in a further change."""
    for _ in range(DIRECTORIES_PER_CHANGE_MAX):
        if ino == bucket.root or change.scan(DENTRY, (ino,), limit=1):
            return ino, False
        (name,) = change.scan(DENTRY, (ino,), index="ino", limit=1)
        inode, above = change.get(INODE, ino), change.get(INODE, name.parent)
        assert inode is not None
        assert above is not None
        close_entry(core, change, name)
        end_directory(change, inode)
        touch_directory(core, change, above, links=-1)
        unshadow(core, change, above.ino, name.key)
        core.invalidate(above.ino, name.key.removesuffix(b"/"))
        ino = above.ino
    return ino, True
