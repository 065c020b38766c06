"""The past: the tree at a sequence number, and the versions of a path.

The theory (DESIGN 5): every state holds in [since, until); `view.py` has the tree at a sequence.

A path leads to an inode from `begin`, the latest `since` along it, until the first of these entries
closes: a *stretch*. The entries of a stretch are the version current at `begin` and each one sealed
inside it. An entry's sequence, max(begin, sealed), is its version id, its order and its age. Where
a stretch ends and none begins, the path was deleted.
"""

from typing import NamedTuple

from objfs.base import limits
from objfs.base.errors import InvalidRequest, IsADirectory, NotADirectory, NotFound
from objfs.meta.rows import Dentry, DentryPast, Version
from objfs.meta.tables import BUCKET, DENTRY, DENTRY_PAST, VERSION
from objfs.volume.core import Core
from objfs.volume.moments import resolve, time_of
from objfs.volume.reading import Reader
from objfs.volume.view import PastFile, View, version_at

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
