"""Listing a directory: a page of entries is two reads of the index, whatever its size.

A reader who goes on to the end, as readdir does, gets the next page read while it works on this
one. What was read ahead is given out only if nothing was logged since: a name that was removed
meanwhile must not come back. What open files have not logged yet is put on top when it is given.
"""

from objfs.meta.database import Database
from objfs.meta.rows import Dentry, Inode
from objfs.meta.tables import DENTRY, INODE
from objfs.volume.core import Core

Entry = tuple[bytes, int, Inode]  # name, cookie, inode


def logged_page(database: Database, ino: int, after: int, limit: int) -> list[Entry]:
    """At most `limit` entries with a cookie over `after`, in cookie order, as they are logged.
    Empty only at the end, and for a directory that was removed."""
    dentries: list[Dentry] = []
    while not dentries:
        page = database.scan(DENTRY, (ino,), index="cookie", lower=after + 1, limit=limit)
        if not page:
            return []
        after = page[-1].cookie
        dentries = [dentry for dentry in page if dentry.key and not dentry.hidden]
    inodes = database.get_many(INODE, [(dentry.ino,) for dentry in dentries])
    entries = []
    for dentry, inode in zip(dentries, inodes, strict=True):
        assert inode is not None, f"entry {dentry.key!r} of {ino} leads to no inode"
        entries.append((dentry.key.rstrip(b"/"), dentry.cookie, inode))
    return entries


class Listing:
    """One reader of the directory `ino`."""

    __slots__ = ("_after", "_ahead", "_core", "_ino", "_sequence")

    def __init__(self, core: Core, ino: int) -> None:
        self._core = core
        self._ino = ino
        self._ahead: list[Entry] | None = None
        self._after = self._sequence = -1  # what it follows, and the last META it knows

    def page(self, after: int, limit: int) -> list[Entry]:
        """The entries after the cookie `after`; `limit` is what one read of the index gives."""
        core, ahead = self._core, self._ahead
        self._ahead = None
        if ahead is None or after != self._after or self._sequence != core.database.sequence:
            ahead = logged_page(core.database, self._ino, after, limit)
        if not core.open_inodes and not core.late_ctimes:
            return ahead
        current = core.current
        return [(name, cookie, current(inode)) for name, cookie, inode in ahead]

    def look_ahead(self, after: int, limit: int) -> None:
        """Read what follows `after` once the loop has nothing to answer."""
        self._core.run_soon(self._read_ahead, after, limit)

    async def _read_ahead(self, after: int, limit: int) -> None:
        database = self._core.database
        self._ahead = logged_page(database, self._ino, after, limit)
        self._after, self._sequence = after, database.sequence
