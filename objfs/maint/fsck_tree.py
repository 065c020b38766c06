"""Checks of inodes, names and the tree. See `fsck_work` for how a check works.

What has to hold:

- a name leads to an inode of its directory's bucket; a slash at its end says directory, and nothing
  else has one; cookies are unique in a directory;
- an inode has as many names as it counts; a directory has one (the root of a bucket none) and
  counts 2 and its subdirectories, which lead up to the root; one without other entries has its own
  entry b"";
- an inode that counts no names is an orphan, and nothing else is;
- of one name at most one inode holds at a moment, and of one inode one state.
"""

import stat
from collections.abc import Generator

from msgspec.structs import replace

from objfs.base.limits import LINKS_MAX
from objfs.maint.fsck_mend import Mends
from objfs.maint.fsck_work import Checking, Work
from objfs.meta.rows import Dentry, DentryPast, Inode, InodePast, Orphan, Xattr
from objfs.meta.tables import (
    BUCKET,
    DENTRY,
    DENTRY_PAST,
    INODE,
    INODE_PAST,
    ORPHAN,
    XATTR,
    Key,
)

_KINDS = frozenset(
    (
        stat.S_IFREG,
        stat.S_IFDIR,
        stat.S_IFLNK,
        stat.S_IFIFO,
        stat.S_IFSOCK,
        stat.S_IFBLK,
        stat.S_IFCHR,
    )
)
_WALK_UP_MAX = 100_000  # directories above each other

Stage = Generator[None, None, None]


class TreeChecks:
    """The checks of one step."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._database = work.database
        self._mends = Mends(work.core)
        self._rooted: set[int] = set()  # directories that were seen to lead up to a root
        self._roots = {bucket.root: bucket.id for bucket in self._database.scan(BUCKET)}

    # --- inodes ----------------------------------------------------------------------------------

    def inode(self, ino: int) -> Checking[None]:
        """One inode: its fields, names, links and extended attributes."""
        work, row = self._work, self._database.get(INODE, ino)
        if row is None:
            return
        about = f"inode {ino}"
        if row.since > self._database.sequence:
            what = f"its state began at {row.since}, which has not come yet"
            now = self._database.sequence
            fixed = replace(row, since=now)
            work.report("inode-future", about, what, lambda change: change.put(fixed), ino=ino)
            row = fixed if work.repair else row
        if stat.S_IFMT(row.mode) not in _KINDS:
            work.report("inode-kind", about, f"its mode is {row.mode:o}", ino=ino)
        if self._database.get(BUCKET, row.bucket) is None:
            what = f"its bucket {row.bucket} does not exist"
            mend = self._mends.bucket_of(row)
            work.report("inode-bucket", about, what, mend, ino=ino)
        self._xattr_flag(row)
        yield
        yield from self._names(ino)
        if stat.S_ISDIR(row.mode):
            yield from self._directory(ino)
        yield from self._states(ino)

    def _xattr_flag(self, row: Inode) -> None:
        has = bool(self._database.scan(XATTR, (row.ino,), limit=1))
        if has != row.has_xattrs:
            what = f"it says has_xattrs={row.has_xattrs}, there are {'some' if has else 'none'}"
            self._work.report(
                "xattr-flag",
                f"inode {row.ino}",
                what,
                lambda change: self._mends.update(change, row.ino, has_xattrs=has),
                ino=row.ino,
            )

    def _names(self, ino: int) -> Checking[None]:
        """Names against the count of links."""

        def names(_: Inode) -> Checking[int]:
            return (
                yield from self._work.count(DENTRY, (ino,), lambda row: row.parent != ino, "ino")
            )

        counted = yield from self._work.steady(ino, names)
        if counted is None:
            return
        row, count = counted
        about, orphan = f"inode {ino}", self._database.get(ORPHAN, ino)
        if count and orphan is not None:
            what = f"it has {count} names and is said to have none (orphan)"
            self._work.report(
                "orphan-wrong", about, what, lambda change: change.delete(ORPHAN, ino), ino=ino
            )
        if stat.S_ISDIR(row.mode):
            self._directory_names(row, count)
        elif not count and row.nlink:
            what = f"it counts {row.nlink} names and has none"
            self._work.report("inode-unnamed", about, what, self._mends.reconnect(ino))
        elif count != row.nlink:
            what = f"it counts {row.nlink} names and has {count}"
            self._work.report(
                "link-count",
                about,
                what,
                lambda change: self._mends.update(change, ino, nlink=min(count, LINKS_MAX)),
                ino=ino,
            )
        elif not count and orphan is None:
            what = "it has no name and is not known as an orphan"
            self._work.report(
                "orphan-wrong",
                about,
                what,
                lambda change: change.put(Orphan(ino, change.sequence)),
            )

    def _directory_names(self, row: Inode, count: int) -> None:
        ino, about = row.ino, f"inode {row.ino}"
        if ino in self._roots:
            expected = 0
        elif row.nlink == 0:
            return
        else:
            expected = 1
        if count < expected:
            what = "no directory has this one"
            self._work.report("inode-unnamed", about, what, self._mends.reconnect(ino))
        elif count > expected:
            what = f"it has {count} names, a directory has {expected}"
            mend = self._mends.one_name(ino, expected)
            self._work.report("directory-names", about, what, mend, ino=ino)

    # --- directories -----------------------------------------------------------------------------

    def _directory(self, ino: int) -> Checking[None]:
        def entries(_: Inode) -> Checking[tuple[int, int]]:
            return (yield from self._entries(ino))

        counted = yield from self._work.steady(ino, entries)
        if counted is not None:
            row, (subdirectories, others) = counted
            links = 2 + subdirectories
            about = f"directory {ino}"
            if row.nlink != links:
                what = f"it counts {row.nlink} links, its subdirectories make it {links}"
                self._work.report(
                    "link-count",
                    about,
                    what,
                    lambda change: self._mends.update(change, ino, nlink=min(links, LINKS_MAX)),
                    ino=ino,
                )
            own = self._database.get(DENTRY, ino, b"")
            if own is None and not subdirectories and not others:
                mend = self._mends.own_entry(ino)
                self._work.report("directory-entry", about, "it lacks its own entry", mend, ino=ino)
        yield from self._leads_up(ino)

    def _entries(self, ino: int) -> Checking[tuple[int, int]]:
        """How many subdirectories and how many other entries."""
        both = 1 << 32

        def weight(row: Dentry) -> int:
            if not row.key:
                return 0
            return both if row.key.endswith(b"/") else 1

        total = yield from self._work.count(DENTRY, (ino,), weight)
        return total // both, total % both

    def _leads_up(self, ino: int) -> Checking[None]:
        """Whether the directories above end at a root. Walked again in one stretch before it is
        said that they do not: they may have been moved on the way."""
        for row in self._up(ino):
            if row:
                return
            yield
        if self._database.get(INODE, ino) is None or any(self._up(ino)):
            return
        what = "the directories above it do not lead to the root of a bucket"
        self._work.report("tree-unreached", f"directory {ino}", what, self._mends.adopt(ino))
        self._rooted.clear()

    def _up(self, ino: int) -> Generator[bool, None, None]:
        """One step up at a time; true at the end if it is a root, or known to lead to one."""
        seen: set[int] = set()
        while ino not in self._roots and ino not in self._rooted:
            seen.add(ino)
            above = [
                row.parent
                for row in self._database.scan(DENTRY, (ino,), index="ino", limit=3)
                if row.parent != ino
            ]
            if not above:
                # Without a name: found by `_names`, or removed meanwhile; here it is no circle.
                yield True
                return
            if above[0] in seen or len(seen) > _WALK_UP_MAX:
                yield False
                return
            ino = above[0]
            yield False
        self._rooted |= seen
        yield True

    # --- states ----------------------------------------------------------------------------------

    def _states(self, ino: int) -> Checking[None]:
        """Past states: each ends after it began, and before the next begins."""
        after: Key = (ino, 0)
        before: InodePast | None = None
        while rows := self._database.scan(INODE_PAST, (ino,), lower=after[1] + 1, limit=64):  # type: ignore[operator]
            for past in rows:
                self._state(past, before)
                before = past
            after = (ino, rows[-1].until)
            if len(rows) < 64:
                break
            yield
        row = self._database.get(INODE, ino)
        last = self._database.scan(INODE_PAST, (ino,), reverse=True, limit=1)
        if row is not None and last and last[0].until > row.since:
            what = f"a past state ends at {last[0].until}, after the current began ({row.since})"
            mend = self._mends.end_state(last[0], row.since)
            self._work.report("inode-past-order", f"inode {ino}", what, mend, ino=ino)

    def _state(self, past: InodePast, before: InodePast | None) -> None:
        ino, about = past.ino, f"inode {past.ino}"
        began = past.inode.since
        if began >= past.until or past.until > self._database.sequence:
            what = f"a past state began at {began} and ended at {past.until}"
            mend = self._mends.begin_state(past, before)
            self._work.report("inode-past-order", about, what, mend, ino=ino)
        elif before is not None and before.until > began:
            what = f"a past state ends at {before.until}, after the next began ({began})"
            mend = self._mends.begin_state(past, before)
            self._work.report("inode-past-order", about, what, mend, ino=ino)

    # --- names -----------------------------------------------------------------------------------

    def dentry(self, row: Dentry) -> None:
        """One current name. One stretch."""
        work, get = self._work, self._database.get
        inode, parent = get(INODE, row.ino), get(INODE, row.parent)
        about = f"name {_shown(row.key)} in directory {row.parent}"
        if parent is None or not stat.S_ISDIR(parent.mode):
            what = f"inode {row.parent} is no directory" if parent else "the directory is gone"
            work.report("name-in-nothing", about, what, self._mends.rescue(row), ino=row.ino)
            return
        if inode is None:
            what = f"it leads to inode {row.ino}, which does not exist"
            work.report("name-of-nothing", about, what, self._mends.revive_or_end(row))
            return
        if max(row.since, row.shown) > self._database.sequence:
            what = f"it began at {max(row.since, row.shown)}, which has not come yet"
            at = self._database.sequence
            now = replace(row, since=min(row.since, at), shown=min(row.shown, at))
            work.report("name-future", about, what, lambda change: change.put(now), ino=row.ino)
        if row.key and row.key.endswith(b"/") != stat.S_ISDIR(inode.mode):
            what = f"inode {row.ino} is {'a' if stat.S_ISDIR(inode.mode) else 'no'} directory"
            work.report("name-type", about, what, self._mends.retype(row, inode), ino=row.ino)
            return
        if inode.bucket != parent.bucket:
            what = f"it leads from bucket {parent.bucket} to inode {row.ino} of {inode.bucket}"
            mend = self._mends.bucket_of(inode)
            work.report("inode-bucket", f"inode {row.ino}", what, mend, ino=row.ino)
        self._cookie(row, about)
        self._overlap(row, about)

    def _cookie(self, row: Dentry, about: str) -> None:
        same = self._database.scan(DENTRY, (row.parent, row.cookie), index="cookie", limit=2)
        if len(same) > 1 and same[0].key != row.key:
            what = f"its cookie {row.cookie} is that of {_shown(same[0].key)} too"
            mend = self._mends.new_cookie(row)
            self._work.report("cookie-twice", about, what, mend, ino=row.ino)

    def _overlap(self, row: Dentry, about: str) -> None:
        past = self._database.scan(DENTRY_PAST, (row.parent, row.key), reverse=True, limit=1)
        if past and past[0].until > row.since:
            what = f"it led to inode {past[0].ino} until {past[0].until}, this began {row.since}"
            mend = self._mends.end_name(past[0], row.since)
            self._work.report("name-overlap", about, what, mend, ino=row.ino)

    def dentry_past(self, row: DentryPast) -> None:
        """One past name. One stretch."""
        about = f"past name {_shown(row.key)} in directory {row.parent}"
        before = self._database.scan(
            DENTRY_PAST, (row.parent, row.key), upper=row.until, reverse=True, limit=1
        )
        if row.since >= row.until or row.until > self._database.sequence:
            what = f"it began at {row.since} and ended at {row.until}"
            mend = self._mends.drop_past_name(row)
            self._work.report("name-overlap", about, what, mend)
        elif before and before[0].until > row.since:
            what = f"it led to inode {before[0].ino} until {before[0].until}, after {row.since}"
            mend = self._mends.end_name(before[0], row.since)
            self._work.report("name-overlap", about, what, mend)
        if not self._existed(row.ino):
            what = f"nothing is known of inode {row.ino}, to which it led"
            mend = self._mends.remember_or_drop(row)
            self._work.report("past-name-of-nothing", about, what, mend)

    def _existed(self, ino: int) -> bool:
        return self._database.get(INODE, ino) is not None or bool(
            self._database.scan(INODE_PAST, (ino,), limit=1)
        )

    # --- rows that belong to an inode ------------------------------------------------------------

    def xattr(self, row: Xattr) -> None:
        """One extended attribute."""
        if self._database.get(INODE, row.ino) is None:
            self._work.report(
                "xattr-of-nothing",
                f"attribute {_shown(row.name)} of inode {row.ino}",
                "the inode does not exist",
                lambda change: change.delete(XATTR, row.ino, row.name),
            )


def _shown(key: bytes) -> str:
    return repr(key)[1:]
