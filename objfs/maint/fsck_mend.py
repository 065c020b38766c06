"""What fsck changes to mend names and inodes: changes of the index, logged like all others.

Nothing that a user stored is deleted to make a check pass: what lost its name gets one in
`lost+found` at the root of its bucket; a file whose inode is gone comes back from its newest
version. What goes are rows of nothing. Names that end go to the past.
"""

import stat
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from objfs.meta.database import Change
from objfs.meta.rows import Dentry, DentryPast, Inode, InodePast, Version, new_inode
from objfs.meta.tables import BUCKET, DENTRY, DENTRY_PAST, INODE, INODE_PAST, VERSION
from objfs.volume.core import Core
from objfs.volume.namespace import close_entry

LOST_AND_FOUND = b"lost+found"
_NAMES_MAX = 50  # of one inode, that one mend looks at

Mend = Callable[[Change], None]


class Mends:
    """Makes mends; each is a function of the change that does it."""

    def __init__(self, core: Core) -> None:
        self._core = core

    # --- inodes ----------------------------------------------------------------------------------

    def update(self, change: Change, ino: int, **fields: Any) -> None:
        """Correct fields of the current row, which stays the same state."""
        row = change.get(INODE, ino)
        if row is not None:
            change.put(replace(row, **fields))

    def bucket_of(self, row: Inode) -> Mend:
        """The bucket of the directory that it lies in, or the first there is."""

        def mend(change: Change) -> None:
            for name in _names(change, row.ino):
                parent = change.get(INODE, name.parent)
                if parent is not None and change.get(BUCKET, parent.bucket) is not None:
                    self.update(change, row.ino, bucket=parent.bucket)
                    return
            self.update(change, row.ino, bucket=_any_bucket(change))

        return mend

    def end_state(self, past: InodePast, until: int) -> Mend:
        """A past state ends at `until`; one that has no moment left goes."""

        def mend(change: Change) -> None:
            change.delete(INODE_PAST, past.ino, past.until)
            if past.inode.since < until and change.get(INODE_PAST, past.ino, until) is None:
                change.put(replace(past, until=until))

        return mend

    def begin_state(self, past: InodePast, before: InodePast | None) -> Mend:
        """A past state begins when the one before it ended, and ends by now."""

        def mend(change: Change) -> None:
            until = min(past.until, change.sequence - 1)
            since = before.until if before is not None else min(past.inode.since, until - 1)
            change.delete(INODE_PAST, past.ino, past.until)
            if 0 < since < until:
                change.put(replace(past, until=until, inode=replace(past.inode, since=since)))

        return mend

    # --- names -----------------------------------------------------------------------------------

    def reconnect(self, ino: int) -> Mend:
        """Give an inode without a name one in lost+found."""

        def mend(change: Change) -> None:
            row = change.get(INODE, ino)
            assert row is not None
            self._connect(change, row)

        return mend

    def adopt(self, ino: int) -> Mend:
        """End the name of a directory that leads nowhere, and give it one in lost+found."""

        def mend(change: Change) -> None:
            for name in _names(change, ino):
                self._end(change, name)
            row = change.get(INODE, ino)
            assert row is not None
            self._connect(change, row)

        return mend

    def one_name(self, ino: int, keep: int) -> Mend:
        """End all names of a directory but the oldest `keep`."""

        def mend(change: Change) -> None:
            names = sorted(_names(change, ino), key=lambda name: (name.since, name.cookie))
            for name in names[keep:]:
                self._end(change, name)

        return mend

    def own_entry(self, ino: int) -> Mend:
        """The entry b"" that every empty directory has."""
        return lambda change: change.put(Dentry(ino, b"", ino, change.sequence, change.new_id()))

    def rescue(self, name: Dentry) -> Mend:
        """A name in what is no directory goes; what it named gets another if it has no more."""

        def mend(change: Change) -> None:
            change.delete(DENTRY, name.parent, name.key)
            row = change.get(INODE, name.ino)
            if row is None or not name.key:
                return
            others = len(_names(change, name.ino))
            if not others:
                self._connect(change, row)
            elif not stat.S_ISDIR(row.mode):
                self.update(change, name.ino, nlink=max(row.nlink - 1, 1))

        return mend

    def revive_or_end(self, name: Dentry) -> Mend:
        """The inode comes back from its newest version; without one, the name ends."""

        def mend(change: Change) -> None:
            versions = change.scan(VERSION, (name.ino,), reverse=True, limit=1)
            past = change.scan(INODE_PAST, (name.ino,), reverse=True, limit=1)
            parent = change.get(INODE, name.parent)
            assert parent is not None
            if name.key.endswith(b"/") or not (versions or past):
                self._end(change, name)
                return
            version = versions[0] if versions else None
            was = past[0].inode if past else None
            change.put(_revived(change, name.ino, parent.bucket, version, was))

        return mend

    def revive(self, version: Version) -> Mend:
        """A file that only has versions comes back, in lost+found."""

        def mend(change: Change) -> None:
            bucket = _any_bucket(change)
            newest = change.scan(VERSION, (version.ino,), reverse=True, limit=1)[0]
            row = _revived(change, version.ino, bucket, newest, None)
            change.put(row)
            if not _names(change, version.ino):
                self._connect(change, row)

        return mend

    def retype(self, name: Dentry, inode: Inode) -> Mend:
        """The key that the type of the inode wants."""

        def mend(change: Change) -> None:
            plain = name.key.rstrip(b"/")
            key = plain + b"/" if stat.S_ISDIR(inode.mode) else plain
            change.delete(DENTRY, name.parent, name.key)
            self._count(change, name.parent, name.key, -1)
            if change.get(DENTRY, name.parent, key) is None:
                change.put(replace(name, key=key))
                self._count(change, name.parent, key, 1)
            else:
                self._connect(change, inode)

        return mend

    def new_cookie(self, name: Dentry) -> Mend:
        """One that nobody has."""
        return lambda change: change.put(replace(name, cookie=change.new_id()))

    def end_name(self, past: DentryPast, until: int) -> Mend:
        """A past name ends at `until`; one that has no moment left goes."""

        def mend(change: Change) -> None:
            change.delete(DENTRY_PAST, past.parent, past.key, past.until)
            taken = change.get(DENTRY_PAST, past.parent, past.key, until)
            if past.since < until and taken is None:
                change.put(replace(past, until=until))

        return mend

    def drop_past_name(self, past: DentryPast) -> Mend:
        """A name that held at no moment."""
        return lambda change: change.delete(DENTRY_PAST, past.parent, past.key, past.until)

    def remember_or_drop(self, past: DentryPast) -> Mend:
        """A past name of an inode of which nothing is known: with versions, it was a file."""

        def mend(change: Change) -> None:
            versions = change.scan(VERSION, (past.ino,), reverse=True, limit=1)
            if not versions:
                change.delete(DENTRY_PAST, past.parent, past.key, past.until)
                return
            parent = change.get(INODE, past.parent)
            bucket = parent.bucket if parent is not None else _any_bucket(change)
            row = _revived(change, past.ino, bucket, versions[0], None)
            row = replace(row, since=min(past.since, past.until - 1))
            change.put(InodePast(past.ino, past.until, row))

        return mend

    # --- inner -----------------------------------------------------------------------------------

    def _end(self, change: Change, name: Dentry) -> None:
        close_entry(self._core, change, name)
        self._count(change, name.parent, name.key, -1)

    def _count(self, change: Change, parent: int, key: bytes, links: int) -> None:
        """A name of a directory counts in the directory that it lies in."""
        row = change.get(INODE, parent)
        if row is not None and key.endswith(b"/"):
            change.put(replace(row, nlink=max(row.nlink + links, 2), ctime_ns=change.time_ns))

    def _connect(self, change: Change, row: Inode) -> None:
        """A name in lost+found, and the count that goes with it."""
        home = self._lost_and_found(change, row.bucket)
        is_directory = stat.S_ISDIR(row.mode)
        key = b"inode-%d" % row.ino + (b"/" if is_directory else b"")
        change.put(Dentry(home.ino, key, row.ino, change.sequence, change.new_id()))
        self._count(change, home.ino, key, 1)
        if not is_directory:
            self.update(change, row.ino, nlink=1)
        self._core.invalidate(home.ino, key.rstrip(b"/"))

    def _lost_and_found(self, change: Change, bucket_id: int) -> Inode:
        bucket = change.get(BUCKET, bucket_id) or change.get(BUCKET, _any_bucket(change))
        assert bucket is not None, "a store without buckets has no inodes to connect"
        found = change.get(DENTRY, bucket.root, LOST_AND_FOUND + b"/")
        home = change.get(INODE, found.ino) if found is not None else None
        if home is not None:
            return home
        root = change.get(INODE, bucket.root)
        assert root is not None, "roots are mended first"
        now, ino = change.time_ns, change.new_id()
        home = made_up(change, ino, bucket.id, stat.S_IFDIR | 0o700)
        home = replace(home, nlink=2, content=0, uid=root.uid, gid=root.gid)
        change.put(home)
        change.put(Dentry(ino, b"", ino, change.sequence, change.new_id()))
        name = LOST_AND_FOUND + b"/"
        change.put(Dentry(bucket.root, name, ino, change.sequence, change.new_id()))
        change.put(replace(root, nlink=root.nlink + 1, mtime_ns=now, ctime_ns=now))
        self._core.invalidate(bucket.root, LOST_AND_FOUND)
        return home


def made_up(change: Change, ino: int, bucket: int, mode: int) -> Inode:
    """An inode of which nothing is known."""
    return new_inode(ino, bucket, mode, change.time_ns, change.sequence, content=change.new_id())


def _revived(
    change: Change, ino: int, bucket: int, version: Version | None, was: Inode | None
) -> Inode:
    """The row of a file as its last known state and its newest version say."""
    row = was or made_up(change, ino, bucket, stat.S_IFREG | 0o600)
    names = len(_names(change, ino))
    row = replace(
        row,
        bucket=bucket,
        nlink=max(names, 1),
        has_xattrs=False,
        since=change.sequence,
        since_ns=change.time_ns,
    )
    if version is None:
        return row
    return replace(
        row,
        size=version.size,
        allocated=version.allocated,
        content=version.content,
        content_at=version.content_at,
        sealed=version.sealed,
    )


def _names(change: Change, ino: int) -> list[Dentry]:
    """Its current names, without a directory's own entry."""
    found = change.scan(DENTRY, (ino,), index="ino", limit=_NAMES_MAX)
    return [name for name in found if name.parent != ino]


def _any_bucket(change: Change) -> int:
    return change.scan(BUCKET, limit=1)[0].id
