"""The tree as it was: names, attributes, extended attributes and bytes at a sequence number.

Every state holds in [since, until). The tree *at* sequence s is made of the rows that hold at s; a
regular file has the bytes of its newest version sealed at or before s. What an inode shows at s is
decided in one place, `View.versions`. What was erased is not shown (`showing.py`). A moment whose
attributes were erased reads the next later state that is kept.

A page of a listing is one synchronous function of bounded work: it looks at a bounded number of
current and of past names, in key order, and says where it stopped. It may have found nothing there:
a directory's past can be much larger than what held at s. The engine leaves out names that did not
hold (`scan_holding`) and skips states (`nearest`), so of the ten states of a file one is decoded.
"""

import stat
from collections.abc import Sequence
from typing import NamedTuple

import trio
from msgspec.structs import replace

from objfs.base import limits
from objfs.base.errors import IsADirectory, NoAttribute, NotFound
from objfs.meta.database import Database
from objfs.meta.rows import Dentry, DentryPast, Inode, Version
from objfs.meta.tables import DENTRY, DENTRY_PAST, INODE, INODE_PAST, VERSION, XATTR
from objfs.volume.core import Core
from objfs.volume.dirty import Buffer
from objfs.volume.handles import Handle, OpenInode
from objfs.volume.object_keys import mount_can_name
from objfs.volume.reading import Reader
from objfs.volume.routes import Routes, names_of
from objfs.volume.showing import (
    FOREVER,
    Stretch,
    dentry_at,
    entry_at,
    erased_entries,
    is_there,
)

_SAMPLE = 16  # inodes

Entry = tuple[bytes, Inode]  # key and inode


class Page(NamedTuple):
    """A part of a listing, in key order; `reached` is where to go on after, None at the end."""

    entries: list[Entry]
    reached: bytes | None


class View:
    """The tree as it was when META `sequence` had been applied. Read-only."""

    def __init__(self, core: Core, reader: Reader, sequence: int) -> None:
        self._core = core
        self._database = core.database
        self._reader = reader
        self.sequence = sequence

    @property
    def hides_versions(self) -> bool:
        """Whether entries of keys may be hidden, which the row of an inode does not tell."""
        return bool(self._core.erased)

    # --- names -----------------------------------------------------------------------------------

    def dentry(self, parent: int, key: bytes) -> Dentry | None:
        """The entry with this key, as a current one. None if there was none."""
        found = dentry_at(self._database, parent, key, self.sequence)
        return found if found is None or not self._core.erased or self._shows(found) else None

    def lookup(self, parent: int, name: bytes) -> Inode:
        """The inode behind a name. NotFound."""
        dentry = self.dentry(parent, name + b"/") or self.dentry(parent, name)
        if dentry is None:
            raise NotFound(f"no entry {name!r} in directory {parent} at {self.sequence}")
        return self.getattr(dentry.ino)

    def walk(self, ino: int, path: bytes) -> Inode:
        """The inode at a path below directory `ino`. NotFound."""
        for part in path.split(b"/"):
            if part:
                ino = self.lookup(ino, part).ino
        return self.getattr(ino)

    def list_directory(self, ino: int) -> list[tuple[bytes, Inode]]:
        """All entries of that moment in key order: (name, inode)."""
        found: list[Entry] = []
        reached: bytes | None = b""
        while reached is not None:
            entries, reached = self.page(ino, reached)
            found += entries
        return [(key.rstrip(b"/"), inode) for key, inode in found]

    def page(self, ino: int, after: bytes = b"", limit: int = limits.LISTING_PAGE_ENTRIES) -> Page:
        """About `limit` entries with keys above `after`, those of directories with their slash."""
        dentries, reached = self.names(ino, after, limit)
        dentries = self._visible(dentries)
        inodes = self.inodes([each.ino for each in dentries])
        # What shows no state any more (it was erased) is left out.
        return Page(
            [(each.key, inodes[each.ino]) for each in dentries if each.ino in inodes], reached
        )

    def _visible(self, found: list[Dentry | DentryPast]) -> list[Dentry | DentryPast]:
        """What the mount could name then: `hidden` tells how it is now, or was last."""
        directories = {each.key for each in found if each.key.endswith(b"/")}
        return [
            each
            for each in found
            if each.key + b"/" not in directories and (not each.hidden or self._was_visible(each))
        ]

    def _was_visible(self, row: Dentry | DentryPast) -> bool:
        key = row.key
        if not mount_can_name(key, at_root=True):
            return False
        return key.endswith(b"/") or self.dentry(row.parent, key + b"/") is None

    def names(
        self, ino: int, after: bytes, limit: int
    ) -> tuple[list[Dentry | DentryPast], bytes | None]:
        """The entries of the next part of a directory, in key order, and where it stopped, as in
        `page`. Of a name at most one row holds."""
        database, sequence = self._database, self.sequence
        current = database.scan(DENTRY, (ino,), lower=after + b"\0", limit=limit)
        reached = current[-1].key if len(current) == limit else None
        past, stopped = database.scan_holding(
            DENTRY_PAST,
            (ino,),
            sequence,
            after=after,
            before=None if reached is None else reached + b"\0",
        )
        if stopped is not None:
            assert isinstance(stopped, bytes)
            reached = stopped if reached is None else min(reached, stopped)
        holding = [
            row
            for row in current
            if row.since <= sequence and (reached is None or row.key <= reached)
        ]
        rows: list[Dentry | DentryPast] = [*holding, *past]
        rows = [row for row in rows if row.shown <= sequence and row.key]
        if self._core.erased:
            rows = [row for row in rows if self._shows(row)]
        if past and holding:
            rows.sort(key=lambda row: row.key)
        return rows, reached

    def _shows(self, dentry: Dentry | DentryPast) -> bool:
        """Whether the path through this entry leads to something that was not erased."""
        database, sequence = self._database, self.sequence
        for route in Routes(database).of_directory(dentry.parent, sequence, sequence + 1):
            begin = max(route.begin, dentry.since)
            key = route.key + dentry.key
            erased = erased_entries(database, route.bucket, key, begin, sequence + 1)
            stretch = Stretch(dentry.ino, begin, FOREVER, dentry.shown)
            return is_there(database, stretch, erased, sequence)
        return True

    # --- attributes ------------------------------------------------------------------------------

    def getattr(self, ino: int) -> Inode:
        """The attributes of that moment, with the size that was sealed. NotFound."""
        try:
            return self.inodes([ino])[ino]
        except KeyError:
            raise NotFound(f"inode {ino} did not exist at {self.sequence}") from None

    def inodes(self, inos: Sequence[int]) -> dict[int, Inode]:
        """The attributes of many; those that did not exist are left out."""
        states, current = self._states(inos)
        sequence, unsure = self.sequence, []
        for ino, inode in states.items():
            if not stat.S_ISREG(inode.mode):
                continue
            if inode.sealed == 0:
                states[ino] = replace(inode, size=0, allocated=0)
            elif inode.sealed > sequence or ino not in current or self._is_unsure(ino):
                unsure.append(ino)
        if unsure:
            for ino, version in zip(unsure, self.versions(unsure), strict=True):
                size, allocated = (version.size, version.allocated) if version else (0, 0)
                state = states[ino]
                if state.size != size or state.allocated != allocated:  # as a rule they agree
                    states[ino] = replace(state, size=size, allocated=allocated)
        return states

    def _is_unsure(self, ino: int) -> bool:
        """Whether the size in the current row may be one that is not sealed, or not shown."""
        core = self._core
        return core.read_only or core.erased or ino in core.open_inodes

    def _states(self, inos: Sequence[int]) -> tuple[dict[int, Inode], set[int]]:
        """The rows that held, and which of them hold now.

        A past row that holds says that the current one does not, so either may be asked for first:
        some are, to see which of them holds more often.
        """
        sequence = self.sequence
        # An id tells the change that its inode was born in.
        wanted = [
            ino for ino in dict.fromkeys(inos) if ino // limits.IDS_PER_CHANGE_MAX <= sequence
        ]
        asked = wanted[:_SAMPLE]
        states = self._past_states(asked)
        if 2 * len(states) >= _SAMPLE:
            states |= self._past_states(wanted[_SAMPLE:])
            asked = wanted
        rest = [ino for ino in wanted if ino not in states]
        rows = self._database.get_many(INODE, [(ino,) for ino in rest])
        current = {row.ino: row for row in rows if row is not None and row.nlink > 0}
        holding = {ino for ino, row in current.items() if row.since <= sequence}
        known = {*asked, *holding}
        states |= self._past_states([ino for ino in rest if ino not in known])
        # What held may have been erased: then the next state that is kept counts.
        states |= {ino: row for ino, row in current.items() if ino not in states}
        return states, holding

    def _past_states(self, inos: Sequence[int]) -> dict[int, Inode]:
        """The first states that ended after this moment."""
        pasts = self._database.nearest(INODE_PAST, [(ino,) for ino in inos], self.sequence)
        return {past.ino: past.inode for past in pasts if past is not None}

    def xattrs(self, ino: int) -> dict[bytes, bytes]:
        """The extended attributes of that moment. NotFound."""
        row = self._database.get(INODE, ino)
        there = row is not None and row.nlink > 0
        if row is None or not there or row.since > self.sequence:
            if ino // limits.IDS_PER_CHANGE_MAX > self.sequence:
                raise NotFound(f"inode {ino} did not exist at {self.sequence}")
            (past,) = self._database.nearest(INODE_PAST, [(ino,)], self.sequence)
            if past is not None:
                return dict(past.xattrs)
        if row is None or not there:
            raise NotFound(f"inode {ino} did not exist at {self.sequence}")
        if not row.has_xattrs:
            return {}
        return {each.name: each.value for each in self._database.scan(XATTR, (ino,))}

    def getxattr(self, ino: int, name: bytes) -> bytes:
        """One of them. NoAttribute."""
        try:
            return self.xattrs(ino)[name]
        except KeyError:
            raise NoAttribute(f"inode {ino} had no attribute {name!r}") from None

    # --- bytes -----------------------------------------------------------------------------------

    async def read(self, ino: int, offset: int, size: int) -> Buffer:
        """Sealed bytes of that moment. DataLost."""
        return await self.file(ino).read(offset, size)

    def versions(self, inos: Sequence[int]) -> list[Version | None]:
        """Which version each inode shows at this moment: the only place that decides it."""
        found = versions_at(self._database, inos, self.sequence)
        if not self._core.erased:
            return found
        return [None if version is None else self._shown_version(version.ino) for version in found]

    def _shown_version(self, ino: int) -> Version | None:
        """The newest version that any name of the inode shows: hard links are one file, also where
        the entry of one of them was erased."""
        database, sequence = self._database, self.sequence
        routes = Routes(database)
        found: Version | None = None
        for name in names_of(database, ino):
            for route in routes.of(name, sequence, sequence + 1):
                erased = erased_entries(database, route.bucket, route.key, route.begin, route.until)
                stretch = Stretch(ino, route.begin, route.until, name.shown)
                entry = entry_at(database, stretch, erased, sequence)
                if entry is not None and (found is None or entry.version.sealed > found.sealed):
                    found = entry.version
        return found

    def file(self, ino: int) -> "PastFile":
        """The bytes that a regular file had. NotFound, IsADirectory."""
        if stat.S_ISDIR(self.getattr(ino).mode):
            raise IsADirectory(f"inode {ino} is a directory")
        self._core.expose(ino)
        (version,) = self.versions([ino])
        return PastFile(self._core, self._reader, version)


class PastFile:
    """The bytes of one version, read as those of an open file are: `handle` is one that only
    `Reader` may have, of an open inode that nobody else knows and that never changes. When the
    version is erased meanwhile, reading fails sooner or later, with StaleInode."""

    def __init__(self, core: Core, reader: Reader, version: Version | None) -> None:
        self._reader = reader
        self.size = version.size if version else 0
        ino = version.ino if version else 0
        opened = OpenInode(ino, 0, 0, self.size, core.clock.monotonic())
        opened.past = version
        self.handle = Handle(opened, 0)

    async def read(self, offset: int, size: int) -> Buffer:
        """At most `size` bytes at `offset`, fewer only at the end. DataLost, StaleInode."""
        data = self._reader.read_nowait(self.handle, offset, size)
        if data is not None:
            await trio.lowlevel.checkpoint()
            return data
        return await self._reader.read(self.handle, offset, size)


def versions_at(database: Database, inos: Sequence[int], sequence: int) -> list[Version | None]:
    """The newest version of each inode sealed at or before `sequence`."""
    return database.nearest(VERSION, [(ino,) for ino in inos], sequence, newest=True)
