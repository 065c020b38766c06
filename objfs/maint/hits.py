"""Whose bytes lie in damaged records: contents, then inodes and versions, then paths.

A content does not know its owners, so they are found by one pass over inodes and versions, off the
loop. A version is named by the path that its inode had when it became current there.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from objfs.base.limits import DAMAGE_HITS_MAX, DAMAGE_VERSIONS_MAX
from objfs.maint.live_records import TABLES
from objfs.meta.database import Database
from objfs.meta.maintenance import Reader
from objfs.meta.rows import Dentry, DentryPast
from objfs.meta.tables import BUCKET, DENTRY, DENTRY_PAST, INODE, INODE_PAST, PART, VERSION
from objfs.volume.damage import Hit
from objfs.volume.history import FOREVER, version_id

_DEPTH_MAX = 4096  # of a path: in a damaged index it may go in a circle


class Piece(NamedTuple):
    """Bytes [start, end) of a content, for sequences in [since, until), in the record at `offset`
    of a segment."""

    offset: int
    content: int
    start: int
    end: int
    since: int
    until: int


class Owner(NamedTuple):
    """An inode whose version (0: its working state) has a content, read as of `at`; or the part
    `part` of the upload `ino`."""

    ino: int
    sealed: int
    at: int
    size: int
    part: int = 0


async def pieces_of(reader: Reader, segment: int, offsets: set[int] | None) -> list[Piece]:
    """What lies in the records at these offsets; None: in any."""
    found = []
    for table in TABLES:
        async for page in reader.stream(table, (segment,), index="segment"):
            for row in page:
                if offsets is None or row.position in offsets:
                    until = getattr(row, "until", FOREVER)
                    end = row.offset + row.length
                    found.append(
                        Piece(row.position, row.content, row.offset, end, row.since, until)
                    )
    return found


async def owners_of(reader: Reader, contents: set[int]) -> dict[int, list[Owner]]:
    """By content."""
    owners: dict[int, list[Owner]] = defaultdict(list)
    async for inodes in reader.stream(INODE):
        for row in inodes:
            if row.content in contents and row.nlink:
                at = row.content_at or FOREVER - 1
                owners[row.content].append(Owner(row.ino, 0, at, row.size))
    async for versions in reader.stream(VERSION):
        for version in versions:
            if version.content in contents:
                owners[version.content].append(
                    Owner(version.ino, version.sealed, version.content_at, version.size)
                )
    async for parts in reader.stream(PART):
        for part in parts:
            if part.content in contents:
                at = FOREVER - 1
                owners[part.content].append(Owner(part.upload, 0, at, part.size, part.number))
    return owners


async def hits_of(
    database: Database, reader: Reader, segment: int, offsets: Sequence[int] | None
) -> dict[int, tuple[list[Hit], int]]:
    """(the first DAMAGE_HITS_MAX files, how many more) by the offset of the record; with
    `offsets` None all of the segment under offset 0."""
    pieces = await pieces_of(reader, segment, None if offsets is None else set(offsets))
    owners = await owners_of(reader, {piece.content for piece in pieces})
    by_record: dict[int, dict[tuple[str, str], list[tuple[Piece, Owner]]]] = {}
    names = _Names(database)
    for piece in pieces:
        files = by_record.setdefault(0 if offsets is None else piece.offset, {})
        for owner in owners.get(piece.content, ()):
            if piece.since <= owner.at < piece.until and piece.start < owner.size:
                files.setdefault(names.of(owner), []).append((piece, owner))
    return {
        offset: (
            [_hit(place, found) for place, found in sorted(files.items())[:DAMAGE_HITS_MAX]],
            max(len(files) - DAMAGE_HITS_MAX, 0),
        )
        for offset, files in by_record.items()
    }


def _hit(place: tuple[str, str], found: Sequence[tuple[Piece, Owner]]) -> Hit:
    sealed = sorted({owner.sealed for _, owner in found if owner.sealed}, reverse=True)
    listed = sealed[:DAMAGE_VERSIONS_MAX]
    return Hit(
        bucket=place[0],
        path=place[1],
        versions=[version_id(each) for each in listed],
        current=any(not owner.sealed for _, owner in found),
        start=min(piece.start for piece, _ in found),
        end=min(max(piece.end for piece, _ in found), max(owner.size for _, owner in found)),
        more_versions=len(sealed) - len(listed),
    )


class _Names:
    """Bucket and path of owners, as texts."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._buckets = {row.id: row.name for row in database.scan(BUCKET)}
        self._known: dict[tuple[int, int], tuple[str, str]] = {}

    def of(self, owner: Owner) -> tuple[str, str]:
        key = owner.ino, owner.sealed
        if owner.part:
            return "", f"[part {owner.part} of upload {owner.ino:x}]"
        if key not in self._known:
            path = path_of(self._database, owner.ino, owner.sealed or FOREVER)
            text = path.decode(errors="backslashreplace")
            self._known[key] = (self._bucket(owner.ino), text)
        return self._known[key]

    def _bucket(self, ino: int) -> str:
        row = self._database.get(INODE, ino)
        if row is None:
            pasts = self._database.scan(INODE_PAST, (ino,), reverse=True, limit=1)
            row = pasts[0].inode if pasts else None
        return self._buckets.get(row.bucket, "") if row is not None else ""


def path_of(database: Database, ino: int, sequence: int) -> bytes:
    """The path that an inode had at `sequence`, or else first got after it, or else had last;
    `[inode N]` for what has no name."""
    parts: list[bytes] = []
    while len(parts) < _DEPTH_MAX:
        name = _name_of(database, ino, sequence)
        if name is None:
            break
        parts.append(name.key)
        ino, sequence = name.parent, _moment_in(name, sequence)
    return b"".join(reversed(parts)) if parts else b"[inode %d]" % ino


def _name_of(database: Database, ino: int, sequence: int) -> Dentry | DentryPast | None:
    names = [
        row
        for row in _all_names(database, ino)
        if row.parent != ino  # a directory's own entry
    ]
    held = [row for row in names if row.since <= sequence < getattr(row, "until", FOREVER + 1)]
    if held:
        return held[0]
    later = [row for row in names if row.since > sequence]
    if later:
        return min(later, key=lambda row: row.since)
    return max(names, key=lambda row: getattr(row, "until", FOREVER), default=None)


def _all_names(database: Database, ino: int) -> Iterable[Dentry | DentryPast]:
    yield from database.scan(DENTRY, (ino,), index="ino", limit=DAMAGE_HITS_MAX)
    yield from database.scan(DENTRY_PAST, (ino,), index="ino", limit=DAMAGE_HITS_MAX)


def _moment_in(name: Dentry | DentryPast, sequence: int) -> int:
    """A moment at which the name held, as near to `sequence` as can be."""
    return min(max(sequence, name.since), getattr(name, "until", FOREVER + 1) - 1)
