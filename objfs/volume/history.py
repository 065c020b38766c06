"""The past: the tree at a sequence number, and the versions of a path.

The theory (DESIGN 5): every state holds in [since, until). The tree *at* sequence s is made of the
rows that hold at s; a regular file has the bytes of its newest version sealed at or before s.

A path leads to an inode from `begin`, the latest `since` along it, until the first of these entries
closes: a *stretch*. The entries of a stretch are the version current at `begin` and each one sealed
inside it. An entry's sequence, max(begin, sealed), is its version id, its order and its age. Where
a stretch ends and none begins, the path was deleted.
"""

import stat
from typing import NamedTuple

from msgspec.structs import replace

from objfs.base import limits
from objfs.base.errors import InvalidRequest, IsADirectory, NotADirectory, NotFound
from objfs.meta.database import Database
from objfs.meta.rows import Dentry, DentryPast, Inode, Version
from objfs.meta.tables import (
    BUCKET,
    DENTRY,
    DENTRY_PAST,
    INODE,
    INODE_PAST,
    VERSION,
    XATTR,
)
from objfs.volume.content import extents_at
from objfs.volume.core import Core
from objfs.volume.dirty import Buffer
from objfs.volume.moments import resolve, time_of
from objfs.volume.reading import Reader

FOREVER = limits.FILE_BYTES_MAX  # the `until` of what holds now: above every sequence


class VersionEntry(NamedTuple):
    """One entry in the history of a path. Times in nanoseconds since 1970, sizes in bytes."""

    version_id: str
    sequence: int
    time_ns: int
    size: int
    etag: str
    latest: bool
    deleted: bool
    ino: int
    sealed: int  # 0 for a delete


class Stretch(NamedTuple):
    """A path leads to `ino` for the sequences in [begin, until)."""

    ino: int
    begin: int
    until: int


def version_id(sequence: int) -> str:
    """How a version is named to people and to S3."""
    return f"{sequence:x}"


def sequence_of(name: str) -> int:
    """The inverse of `version_id`. InvalidRequest."""
    try:
        sequence = int(name, 16)
    except ValueError:
        sequence = 0
    if not 0 < sequence < FOREVER:
        raise InvalidRequest(
            f"{name!r} is no version id: `objfs versions PATH` lists the ids of a file"
        )
    return sequence


def split_key(key: bytes) -> list[bytes]:
    """The dentry keys along a path: every directory with its slash, the last as it is."""
    parts = key.split(b"/")
    return [part + b"/" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


class View:
    """The tree as it was when META `sequence` had been applied. Read-only."""

    def __init__(self, core: Core, reader: Reader, sequence: int) -> None:
        self._core = core
        self._database = core.database
        self._reader = reader
        self.sequence = sequence

    def dentry(self, parent: int, key: bytes) -> Dentry | None:
        """The entry with this key, as a current one. None if there was none."""
        return dentry_at(self._database, parent, key, self.sequence)

    def lookup(self, parent: int, name: bytes) -> Inode:
        """The inode behind a name. NotFound."""
        dentry = self.dentry(parent, name + b"/") or self.dentry(parent, name)
        if dentry is None:
            raise NotFound(f"no entry {name!r} in directory {parent} at {self.sequence}")
        return self.getattr(dentry.ino)

    def getattr(self, ino: int) -> Inode:
        """The attributes of that moment, with the size that was sealed. NotFound."""
        inode, _ = self._state(ino)
        if not stat.S_ISREG(inode.mode):
            return inode
        version = version_at(self._database, ino, self.sequence)
        if version is None:
            return replace(inode, size=0, allocated=0)
        return replace(inode, size=version.size, allocated=version.allocated)

    def _state(self, ino: int) -> tuple[Inode, dict[bytes, bytes] | None]:
        """The row of that moment, and its xattrs if they are past."""
        row = self._database.get(INODE, ino)
        if row is not None and row.since <= self.sequence and row.nlink > 0:
            return row, None
        for past in self._database.scan(INODE_PAST, (ino,), lower=self.sequence + 1, limit=1):
            if past.inode.since <= self.sequence:
                return past.inode, past.xattrs
        raise NotFound(f"inode {ino} did not exist at {self.sequence}")

    def xattrs(self, ino: int) -> dict[bytes, bytes]:
        """The extended attributes of that moment."""
        inode, past = self._state(ino)
        if past is not None:
            return dict(past)
        if not inode.has_xattrs:
            return {}
        return {row.name: row.value for row in self._database.scan(XATTR, (ino,))}

    def list_directory(self, ino: int) -> list[tuple[bytes, Inode]]:
        """The entries of that moment in key order: (name, inode)."""
        found = [
            (row.key, row.ino)
            for row in self._database.scan(DENTRY, (ino,))
            if row.since <= self.sequence and row.key
        ]
        found += [
            (past.key, past.ino)
            for past in self._database.scan(DENTRY_PAST, (ino,))
            if past.since <= self.sequence < past.until and past.key
        ]
        return [(key.rstrip(b"/"), self.getattr(child)) for key, child in sorted(found)]

    async def read(self, ino: int, offset: int, size: int) -> Buffer:
        """Sealed bytes of that moment. DataLost."""
        return await self.file(ino).read(offset, size)

    def file(self, ino: int) -> "PastFile":
        """The bytes that a regular file had. NotFound, IsADirectory."""
        inode, _ = self._state(ino)
        if stat.S_ISDIR(inode.mode):
            raise IsADirectory(f"inode {ino} is a directory")
        self._core.expose(ino)
        return PastFile(self._core, self._reader, version_at(self._database, ino, self.sequence))


class PastFile:
    """The bytes of one version."""

    def __init__(self, core: Core, reader: Reader, version: Version | None) -> None:
        self._core = core
        self._reader = reader
        self._version = version
        self.size = version.size if version else 0

    async def read(self, offset: int, size: int) -> Buffer:
        """At most `size` bytes at `offset`, fewer only at the end. DataLost."""
        end = min(offset + size, self.size)
        if self._version is None or end <= offset:
            return b""
        extents = extents_at(
            self._core.database,
            self._version.content,
            self._version.content_at,
            offset,
            end,
        )
        return await self._reader.read_extents(extents, offset, end)


def dentry_at(database: Database, parent: int, key: bytes, sequence: int) -> Dentry | None:
    """The entry that held at `sequence`."""
    row = database.get(DENTRY, parent, key)
    if row is not None and row.since <= sequence:
        return row
    for past in database.scan(DENTRY_PAST, (parent, key), lower=sequence + 1, limit=1):
        if past.since <= sequence:
            return Dentry(parent, key, past.ino, past.since, 0, past.entry, past.null)
    return None


def version_at(database: Database, ino: int, sequence: int) -> Version | None:
    """The newest version sealed at or before `sequence`."""
    rows = database.scan(VERSION, (ino,), upper=sequence + 1, reverse=True, limit=1)
    return rows[0] if rows else None


class History:
    """The versions of paths."""

    def __init__(self, core: Core, reader: Reader) -> None:
        self._core = core
        self._database = core.database
        self._reader = reader

    def at(self, sequence: int) -> View:
        """The tree at a sequence. InvalidRequest for one that has not come yet."""
        if not 0 <= sequence <= self._database.sequence:
            raise InvalidRequest(f"sequence {sequence} has not come yet")
        return View(self._core, self._reader, sequence)

    def moment(self, when: str | int) -> int:
        """The sequence of a time, a text or nanoseconds; see `moments.resolve`. InvalidRequest."""
        return resolve(self._core, when)

    def _root(self, bucket: str) -> int:
        for row in self._database.scan(BUCKET, (bucket,), index="name", limit=1):
            return row.root
        raise NotFound(f"there is no bucket {bucket!r}: `objfs bucket list` shows them")

    def stretches(self, bucket: str, key: bytes) -> list[Stretch]:
        """When the path led to which inode, newest first. NotFound if it never did."""
        reached = [Stretch(self._root(bucket), 0, FOREVER)]
        parts = split_key(key)
        if not parts:
            raise IsADirectory("the path names the bucket itself: give the path of a file")
        for part in parts:
            reached = [stretch for above in reached for stretch in self._below(above, part)]
        if not reached:
            raise NotFound(f"{_shown(key)} never existed in bucket {bucket!r}")
        return sorted(reached, key=lambda stretch: stretch.begin, reverse=True)

    def _below(self, above: Stretch, key: bytes) -> list[Stretch]:
        """The stretches of an entry while its directory was reached."""
        past = self._database.scan(DENTRY_PAST, (above.ino, key), lower=above.begin + 1)
        rows: list[Dentry | DentryPast] = [*past]
        current = self._database.get(DENTRY, above.ino, key)
        if current is not None:
            rows.append(current)
        found = []
        for row in rows:
            until = row.until if isinstance(row, DentryPast) else FOREVER
            begin, end = max(above.begin, row.since), min(above.until, until)
            if begin < end:
                found.append(Stretch(row.ino, begin, end))
        return found

    def versions(
        self, bucket: str, key: bytes, limit: int = 1000, before: int | None = None
    ) -> list[VersionEntry]:
        """The history of a path, newest first; `before` (a sequence) pages on. NotFound."""
        entries: list[VersionEntry] = []
        stretches = self.stretches(bucket, key)
        begins = {stretch.begin for stretch in stretches}
        latest = True
        for stretch in stretches:
            if stretch.until != FOREVER and stretch.until not in begins:
                entries.append(self._delete(stretch.until, latest))
                latest = False
            for entry in self._entries(stretch):
                entries.append(entry._replace(latest=latest))
                latest = False
            below = [each for each in entries if before is None or each.sequence < before]
            if len(below) >= limit:
                break
        return [each for each in entries if before is None or each.sequence < before][:limit]

    def _delete(self, sequence: int, latest: bool) -> VersionEntry:
        time_ns = time_of(self._database, sequence)
        return VersionEntry(version_id(sequence), sequence, time_ns, 0, "", latest, True, 0, 0)

    def _entries(self, stretch: Stretch) -> list[VersionEntry]:
        """The versions that a stretch shows, newest first."""
        inside = self._database.scan(
            VERSION,
            (stretch.ino,),
            lower=stretch.begin + 1,
            upper=stretch.until,
            reverse=True,
        )
        entries = [self._entry(row, row.sealed, row.time_ns) for row in inside]
        current = version_at(self._database, stretch.ino, stretch.begin)
        if current is not None:
            time_ns = max(current.time_ns, time_of(self._database, stretch.begin))
            entries.append(self._entry(current, stretch.begin, time_ns))
        return entries

    def _entry(self, row: Version, sequence: int, time_ns: int) -> VersionEntry:
        return VersionEntry(
            version_id(sequence),
            sequence,
            time_ns,
            row.size,
            row.etag,
            False,
            False,
            row.ino,
            row.sealed,
        )

    def find(self, bucket: str, key: bytes, name: str) -> tuple[VersionEntry, Version]:
        """The entry with this version id and its version. NotFound, InvalidRequest."""
        sequence = sequence_of(name)
        for stretch in self.stretches(bucket, key):
            if not stretch.begin <= sequence <= stretch.until:
                continue
            for entry in self._entries(stretch):
                if entry.sequence == sequence:
                    version = self._database.get(VERSION, entry.ino, entry.sealed)
                    assert version is not None
                    self._core.expose(entry.ino)
                    return entry, version
            if sequence == stretch.until:
                raise InvalidRequest(
                    f"version {name} of {_shown(key)} is its deletion and has no bytes: "
                    "choose the version before it"
                )
        raise NotFound(f"{_shown(key)} has no version {name}: `objfs versions` lists those it has")

    def open_version(self, bucket: str, key: bytes, name: str) -> PastFile:
        """The bytes of one version of a path. NotFound, InvalidRequest."""
        _, version = self.find(bucket, key, name)
        return PastFile(self._core, self._reader, version)

    def directory_at(self, bucket: str, key: bytes) -> int:
        """The current directory at `key` (b"" for the bucket's root). NotFound, NotADirectory."""
        ino = self._root(bucket)
        for part in key.strip(b"/").split(b"/") if key.strip(b"/") else []:
            dentry = self._database.get(DENTRY, ino, part + b"/")
            if dentry is None:
                if self._database.get(DENTRY, ino, part) is not None:
                    raise NotADirectory(f"{_shown(part)} in {_shown(key)} is a file")
                raise NotFound(f"there is no directory {_shown(key)} in bucket {bucket!r}")
            ino = dentry.ino
        return ino


def _shown(key: bytes) -> str:
    """A key for a message."""
    return key.decode(errors="backslashreplace")
