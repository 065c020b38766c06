"""Names with a past: what was deleted below a directory, and every name that it ever had.

An entry that ended was *deleted* if its inode ended with it. If the inode lived on it was moved, or
was one of several names. A directory is followed into its own past: what was removed before the
directory itself was is found in it.

Several inodes may have been the directory of one name, one after the other; their names are listed
together. Pages are bounded as those of `View` are, and in key order.
"""

from collections.abc import Sequence
from typing import NamedTuple

from objfs.base import limits
from objfs.meta.database import Database
from objfs.meta.rows import DentryPast
from objfs.meta.tables import DENTRY, DENTRY_PAST, INODE, INODE_PAST, INTEGER_MAX
from objfs.volume.object_keys import mount_can_name

_PAGE = limits.LISTING_PAGE_ENTRIES // 2  # names that one step looks at


class Deleted(NamedTuple):
    """What a deleted name, or a live directory above deleted ones, leads to: the inodes of
    directories, newest first, or the inode of anything else and the sequence that deleted it."""

    name: bytes
    directories: tuple[int, ...]
    ino: int = 0
    until: int = 0


class NamesPage(NamedTuple):
    """A part of a listing; `reached` is where to go on after, None at the end."""

    names: list[bytes]
    reached: bytes | None


def is_deleted(database: Database, row: DentryPast) -> bool:
    """Whether the inode ended when this name did."""
    inode = database.get(INODE, row.ino)
    if inode is not None and inode.nlink > 0:
        return False
    (after,) = database.nearest(INODE_PAST, [(row.ino,)], row.until)
    return after is None or after.inode.nlink == 0


def deleted_entry(database: Database, directories: Sequence[int], name: bytes) -> Deleted | None:
    """What `name` means below these directories, the newest first, of which that may be live. None
    for a name that is in use by anything but a directory, and for one that never was deleted."""
    live = database.get(DENTRY, directories[0], name + b"/")
    found = [live.ino] if live is not None else []
    for directory in directories:
        found += [row.ino for row in _deletions(database, directory, name + b"/")]
    if found:
        return Deleted(name, tuple(dict.fromkeys(found)))
    if database.get(DENTRY, directories[0], name) is not None:
        return None
    for directory in directories:
        for row in _deletions(database, directory, name):
            return Deleted(name, (), row.ino, row.until)
    return None


def _deletions(database: Database, parent: int, key: bytes) -> list[DentryPast]:
    """The ends of an entry that were deletions, newest first."""
    rows = database.scan(DENTRY_PAST, (parent, key), reverse=True, limit=limits.ROWS_PER_BATCH_MAX)
    return [row for row in rows if is_deleted(database, row)]


def deleted_names(
    database: Database, directories: Sequence[int], after: bytes
) -> tuple[list[Deleted], bytes | None]:
    """The next entries with keys above `after`; live directories are among them."""
    current, past, reached = _keys(database, directories, after)
    keys = past | {key for key in current if key.endswith(b"/")}
    entries = (
        deleted_entry(database, directories, name)
        for name in _names(database, directories, keys, reached)
    )
    return [entry for entry in entries if entry is not None], reached


def names_ever(database: Database, directories: Sequence[int], after: bytes) -> NamesPage:
    """The next names that these directories have or had, each once, in the order of their keys."""
    current, past, reached = _keys(database, directories, after)
    return NamesPage(_names(database, directories, current | past, reached), reached)


def was_ever(database: Database, directories: Sequence[int], name: bytes) -> bool:
    """Whether one of the directories has or had an entry of this name."""
    return _is_known(database, directories, name) or _is_known(database, directories, name + b"/")


def _keys(
    database: Database, directories: Sequence[int], after: bytes
) -> tuple[set[bytes], set[bytes], bytes | None]:
    """Keys above `after` of current and of past entries, complete up to the third value."""
    current: set[bytes] = set()
    past: set[bytes] = set()
    stops: list[bytes] = []
    for directory in directories:
        rows = database.scan(DENTRY, (directory,), lower=after + b"\0", limit=_PAGE)
        current |= {row.key for row in rows}
        stops += [rows[-1].key] if len(rows) == _PAGE else []
        ended, stopped = database.scan_nearest(
            DENTRY_PAST, (directory,), INTEGER_MAX, after=after, newest=True, rows=_PAGE
        )
        past |= {row.key for row in ended}
        if stopped is not None:
            assert isinstance(stopped, bytes)
            stops.append(stopped)
    return current, past, min(stops, default=None)


def _names(
    database: Database, directories: Sequence[int], keys: set[bytes], reached: bytes | None
) -> list[bytes]:
    """The names of these keys. One that was a file and a directory comes as the file's."""
    return [
        key.rstrip(b"/")
        for key in sorted(keys)
        if mount_can_name(key, at_root=False)
        and (reached is None or key <= reached)
        and not (key.endswith(b"/") and _is_known(database, directories, key[:-1]))
    ]


def _is_known(database: Database, directories: Sequence[int], key: bytes) -> bool:
    """Whether one of the directories has or had this entry."""
    return any(
        database.get(DENTRY, directory, key) is not None
        or database.scan(DENTRY_PAST, (directory, key), limit=1)
        for directory in directories
    )
