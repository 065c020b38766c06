"""The past: the versions of a path.

The theory (DESIGN 5): every state holds in [since, until); `view.py` has the tree at a sequence.
What the names of a path show, its *stretches* and *entries*, is told by `showing.py`. An entry's
sequence is its version id, its order and its age. Where a stretch ends and none begins, the path
was deleted.
"""

from typing import NamedTuple

from objfs.base.errors import InvalidRequest, IsADirectory, NotADirectory, NotFound
from objfs.meta.rows import Bucket, Version
from objfs.meta.tables import BUCKET, DENTRY
from objfs.volume.core import Core
from objfs.volume.moments import resolve, time_of
from objfs.volume.reading import Reader
from objfs.volume.showing import (
    FOREVER,
    Stretch,
    entries_of,
    entry_at,
    erased_entries,
    is_there,
    split_key,
    stretches_of,
)
from objfs.volume.trees import Tree
from objfs.volume.view import PastFile, View

__all__ = [
    "FOREVER",
    "History",
    "PastFile",
    "Stretch",
    "VersionEntry",
    "View",
    "sequence_of",
    "split_key",
    "time_of",
    "version_id",
]


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

    def tree(self, bucket: Bucket, sequence: int) -> Tree:
        """The same, of one bucket and to be walked. InvalidRequest."""
        return Tree(self._database, self.at(sequence), bucket)

    def moment(self, when: str | int) -> int:
        """The sequence of a time, a text or nanoseconds; see `moments.resolve`. InvalidRequest."""
        return resolve(self._core, when)

    def bucket(self, bucket: str) -> Bucket:
        """The row of a bucket. NotFound."""
        for row in self._database.scan(BUCKET, (bucket,), index="name", limit=1):
            return row
        raise NotFound(f"there is no bucket {bucket!r}: `objfs bucket list` shows them")

    def stretches(self, bucket: str, key: bytes) -> list[Stretch]:
        """When the path led to which inode, newest first. NotFound if it never did."""
        if not split_key(key):
            raise IsADirectory("the path names the bucket itself: give the path of a file")
        found = stretches_of(self._database, self.bucket(bucket).root, key)
        if not found:
            raise NotFound(f"{_shown(key)} never existed in bucket {bucket!r}")
        return found

    def versions(
        self, bucket: str, key: bytes, limit: int = 1000, before: int | None = None
    ) -> list[VersionEntry]:
        """The history of a path, newest first; `before` (a sequence) pages on. NotFound."""
        entries: list[VersionEntry] = []
        stretches = self.stretches(bucket, key)
        begins = {stretch.begin for stretch in stretches}
        erased = erased_entries(self._database, self.bucket(bucket).id, key)
        latest, deleted = True, False
        for stretch in stretches:
            deleted = deleted or _ends_deleted(stretch, begins)
            if not is_there(self._database, stretch, erased, stretch.until - 1):
                continue
            if deleted:
                entries.append(self._delete(stretch.until, latest))
                latest = deleted = False
            for entry in self._entries(stretch, erased):
                entries.append(entry._replace(latest=latest))
                latest = False
            below = [each for each in entries if before is None or each.sequence < before]
            if len(below) >= limit:
                break
        return [each for each in entries if before is None or each.sequence < before][:limit]

    def _delete(self, sequence: int, latest: bool) -> VersionEntry:
        time_ns = time_of(self._database, sequence)
        return VersionEntry(version_id(sequence), sequence, time_ns, 0, "", latest, True, 0, 0)

    def _entries(self, stretch: Stretch, erased: set[int]) -> list[VersionEntry]:
        """The versions that a stretch shows, newest first."""
        entries = []
        for sequence, row in entries_of(self._database, stretch, erased):
            time_ns = row.time_ns
            if sequence != row.sealed:
                time_ns = max(time_ns, time_of(self._database, sequence))
            entries.append(self._entry(row, sequence, time_ns))
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
        erased = erased_entries(self._database, self.bucket(bucket).id, key)
        stretches = self.stretches(bucket, key)
        begins = {stretch.begin for stretch in stretches}
        deleted = False
        for stretch in stretches:
            deleted = deleted or _ends_deleted(stretch, begins)
            if not is_there(self._database, stretch, erased, stretch.until - 1):
                continue
            if deleted and sequence == stretch.until:
                raise InvalidRequest(
                    f"version {name} of {_shown(key)} is its deletion and has no bytes: "
                    "choose the version before it"
                )
            deleted = False
            if not stretch.begin <= sequence < stretch.until:
                continue
            shown = entry_at(self._database, stretch, erased, sequence)
            if shown is not None and shown.sequence == sequence:
                version = shown.version
                time_ns = max(version.time_ns, time_of(self._database, sequence))
                self._core.expose(version.ino)
                return self._entry(version, sequence, time_ns), version
        raise NotFound(f"{_shown(key)} has no version {name}: `objfs versions` lists those it has")

    def open_version(self, bucket: str, key: bytes, name: str) -> PastFile:
        """The bytes of one version of a path. NotFound, InvalidRequest."""
        _, version = self.find(bucket, key, name)
        return PastFile(self._core, self._reader, version)

    def directory_at(self, bucket: str, key: bytes) -> int:
        """The current directory at `key` (b"" for the bucket's root). NotFound, NotADirectory."""
        ino = self.bucket(bucket).root
        for part in key.strip(b"/").split(b"/") if key.strip(b"/") else []:
            dentry = self._database.get(DENTRY, ino, part + b"/")
            if dentry is None:
                if self._database.get(DENTRY, ino, part) is not None:
                    raise NotADirectory(f"{_shown(part)} in {_shown(key)} is a file")
                raise NotFound(f"there is no directory {_shown(key)} in bucket {bucket!r}")
            ino = dentry.ino
        return ino


def _ends_deleted(stretch: Stretch, begins: set[int]) -> bool:
    """Whether nothing took the place of what the path led to."""
    return stretch.until not in begins and stretch.until != FOREVER and not stretch.replaced


def _shown(key: bytes) -> str:
    """A key for a message."""
    return key.decode(errors="backslashreplace")
