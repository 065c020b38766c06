"""Rows of inodes inside a change: new states, the amend rule, ends.

The amend rule (DESIGN 5): a new state takes the place of the current one without a trace only if
the current one was born in the same open session or less than `AMEND_NS` ago, no snapshot has
pinned it, and it is not the state of a version that stays while the content changes: the past shows
a version with its own times. Otherwise the old state goes to `inode_past` and stays readable.
"""

import stat

from msgspec.structs import replace

from objfs.base import limits
from objfs.base.errors import DirectoryNotEmpty, NotADirectory, NotFound
from objfs.meta.database import Change
from objfs.meta.rows import (
    UNSET_MODE,
    UNSET_MTIME,
    UNSET_OWNER,
    Inode,
    InodePast,
    Orphan,
    Usage,
    counted_bytes,
)
from objfs.meta.tables import INODE, ORPHAN, USAGE, VERSION, XATTR
from objfs.volume.core import Core
from objfs.volume.unseen import put_sweep


def xattrs_of(change: Change, inode: Inode) -> dict[bytes, bytes]:
    """The extended attributes of the current state."""
    if not inode.has_xattrs:
        return {}
    return {row.name: row.value for row in change.scan(XATTR, (inode.ino,))}


def keep_past(change: Change, old: Inode) -> None:
    """`old`, the current state, ends here. Call it before its xattrs change. One that began in this
    very change held for no moment, and the one before it is kept already."""
    if old.since == change.sequence:
        return
    change.put(
        InodePast(old.ino, change.sequence, old, xattrs_of(change, old)),
    )


def put_state(
    core: Core, change: Change, old: Inode, new: Inode, *, of_version: bool = False
) -> Inode:
    """Make `new` the state of the inode whose current state is `old`. `of_version`: that is the
    state of a version, and `new` has another content. Returns the row put."""
    if new.unset:
        new = replace(new, unset=_still_unset(old, new))
    opened = core.open_inodes.get(old.ino)
    young = old.since_ns > change.time_ns - limits.AMEND_NS
    amend = (
        not of_version
        and old.since > max(core.pins.newest, core.shown)
        and (young or (opened is not None and old.since >= opened.session))
    )
    if amend or old.since == change.sequence:
        new = replace(new, since=old.since, since_ns=old.since_ns)
    else:
        keep_past(change, old)
        new = replace(new, since=change.sequence, since_ns=change.time_ns)
    change.put(new)
    return new


def _still_unset(old: Inode, new: Inode) -> int:
    """What nobody has set yet, of an inode that S3 made."""
    unset = new.unset
    if new.mode != old.mode:
        unset &= ~UNSET_MODE
    if (new.uid, new.gid) != (old.uid, old.gid):
        unset &= ~UNSET_OWNER
    if new.mtime_ns != old.mtime_ns:
        unset &= ~UNSET_MTIME
    return unset


def touch_directory(core: Core, change: Change, directory: Inode, links: int = 0) -> None:
    """An entry of `directory` changed: its times and, for subdirectories, its link count."""
    current = change.get(INODE, directory.ino)
    assert current is not None
    now = change.time_ns
    put_state(
        core,
        change,
        current,
        replace(current, mtime_ns=now, ctime_ns=now, nlink=current.nlink + links),
    )


def directory_row(core: Core, ino: int) -> Inode:
    """The row of a directory in which entries may be made. NotFound, NotADirectory."""
    row = core.database.get(INODE, ino)
    if row is None:
        raise NotFound(f"directory {ino} was removed")
    if not stat.S_ISDIR(row.mode):
        raise NotADirectory(f"inode {ino} is not a directory")
    return row


def count_usage(
    change: Change, bucket: int, *, live: int = 0, past: int = 0, objects: int = 0
) -> None:
    """Add to what the bucket holds."""
    if not (live or past or objects):
        return
    row = change.get(USAGE, bucket) or Usage(bucket)
    change.put(
        Usage(
            bucket,
            counted(row.live_bytes + live),
            counted(row.past_bytes + past),
            counted(row.objects + objects),
        )
    )


def counted(total: int) -> int:
    """A total that a row can hold: sizes of sparse files may add up to more."""
    return max(0, min(total, limits.FILE_BYTES_MAX))


def sealed_size(change: Change, inode: Inode) -> int:
    """The size of the newest version, 0 if there is none."""
    if not inode.sealed:
        return 0
    version = change.get(VERSION, inode.ino, inode.sealed)
    return counted_bytes(version.size) if version else 0


def drop_link(core: Core, change: Change, inode: Inode) -> None:
    """One name of a file is gone: count it; with the last one the inode ends, or lives on as an
    orphan while it is open."""
    now = change.time_ns
    if inode.nlink > 1:
        put_state(core, change, inode, replace(inode, nlink=inode.nlink - 1, ctime_ns=now))
        return
    version = change.get(VERSION, inode.ino, inode.sealed) if inode.sealed else None
    size = counted_bytes(version.size) if version else 0
    count_usage(change, inode.bucket, live=-size, past=size, objects=-1)
    keep_past(change, inode)
    if inode.ino in core.open_inodes:
        change.put(
            replace(inode, nlink=0, ctime_ns=now, since=change.sequence, since_ns=change.time_ns)
        )
        change.put(Orphan(inode.ino, change.sequence))
    else:
        if version is not None and version.content != inode.content and not inode.content_at:
            put_sweep(change, inode.content, 0, change.sequence)  # made its own, and wrote nothing
        delete_rows(change, inode)


def end_directory(change: Change, inode: Inode) -> None:
    """A directory was removed. Its entries were closed before."""
    count_usage(change, inode.bucket, objects=-1)
    keep_past(change, inode)
    delete_rows(change, inode)


def delete_rows(change: Change, inode: Inode) -> None:
    """Remove the current rows of an inode; its past stays."""
    if inode.has_xattrs:
        for row in change.scan(XATTR, (inode.ino,)):
            change.delete(XATTR, inode.ino, row.name)
    if change.get(ORPHAN, inode.ino) is not None:
        change.delete(ORPHAN, inode.ino)
    change.delete(INODE, inode.ino)


def check_empty(names: list[bytes], ino: int) -> None:
    """DirectoryNotEmpty if `names` has more than the directory's own entry."""
    if any(name != b"" for name in names):
        raise DirectoryNotEmpty(f"directory {ino} has entries")
