"""What a store, a bucket or a path holds on the device, and what forgetting its history gives back.

Sizes are *logical* (of files, holes included, as `ls -l` shows them) or *stored* (of records in the
log: compressed, shared records once). A record is *current* if the current state of a file in scope
shows any of it, *past* if only versions in scope do, and *reclaimable* if besides nothing out of
scope and no snapshot needs it: `objfs forget` and then `objfs compact` give that much back.

All is counted from rows. Versions and extents are joined content by content, in three streams that
go by content side by side: nothing is held but one content's records. So two contents that share
records, a restored file that was written to and its origin, count them twice. What is written and
not sealed yet is in no version, and not counted.
"""

from bisect import bisect_left
from collections.abc import AsyncIterator, Iterable
from typing import NamedTuple

import msgspec
import trio

from objfs.base.limits import ROWS_PER_BATCH_MAX
from objfs.meta.database import Database
from objfs.meta.maintenance import Reader, open_reader
from objfs.meta.rows import Extent, ExtentPast, Version
from objfs.meta.tables import (
    DENTRY,
    DENTRY_PAST,
    EXTENT,
    EXTENT_PAST,
    INODE,
    INODE_PAST,
    PART,
    UPLOAD,
    VERSION,
    R,
    Table,
)
from objfs.volume.routes import Route, Routes, names_of
from objfs.volume.showing import FOREVER, stretches_of
from objfs.volume.volume import Volume

CURRENT, PAST, ELSEWHERE = 1, 2, 4


class DiskUsage(msgspec.Struct):
    """Counts and sizes in bytes; see the module."""

    files: int = 0
    versions: int = 0  # the current ones among them
    current_bytes: int = 0
    past_bytes: int = 0
    current_stored_bytes: int = 0
    past_stored_bytes: int = 0
    reclaimable_stored_bytes: int = 0
    upload_bytes: int = 0  # of parts of uploads that go on, not counted in any of the others


async def disk_usage(volume: Volume, bucket: str | None = None, key: bytes = b"") -> DiskUsage:
    """Of the whole store, a bucket, or a path of it with what lies below. NotFound."""
    if bucket is None or not key:
        usage = await _of_buckets(volume, bucket)
    else:
        usage = await _of_path(volume, bucket, key)
    usage.upload_bytes = await _of_uploads(volume, bucket, key)
    return usage


def _is_within(path: bytes, key: bytes) -> bool:
    """Whether a key is that path, with or without a slash at its end, or lies below it."""
    name = path.removesuffix(b"/")
    return key == name or key.startswith(name + b"/")


async def _of_uploads(volume: Volume, bucket: str | None, key: bytes) -> int:
    """The bytes of parts whose upload is of a key in scope."""
    scope = () if bucket is None else (volume.bucket(bucket).id,)
    async with open_reader(volume.core.database) as reader:
        uploads = {
            upload.id
            async for page in reader.stream(UPLOAD, scope)
            for upload in page
            if not key or _is_within(key, upload.key)
        }
        total = 0
        async for parts in reader.stream(PART):
            total += sum(part.size for part in parts if part.upload in uploads)
    return total


class _Tally:
    """Adds up contents."""

    def __init__(self) -> None:
        self.usage = DiskUsage()

    def version(self, version: Version, rank: int) -> None:
        """A version in scope, or not."""
        usage = self.usage
        if rank & CURRENT:
            usage.files += 1
            usage.versions += 1
            usage.current_bytes += version.size
        elif rank & PAST:
            usage.versions += 1
            usage.past_bytes += version.size

    def content(self, ranks: dict[int, int], extents: Iterable[Extent | ExtentPast]) -> None:
        """The records of one content, whose versions are read at the sequences in `ranks`."""
        ats = sorted(ranks)
        records: dict[tuple[int, int], tuple[int, int]] = {}
        for row in extents:
            until = row.until if isinstance(row, ExtentPast) else FOREVER
            rank = 0
            for at in ats[bisect_left(ats, row.since) : bisect_left(ats, until)]:
                rank |= ranks[at]
            place = (row.segment, row.position)
            records[place] = (row.stored, rank | records.get(place, (0, 0))[1])
        for stored, rank in records.values():
            if rank & CURRENT:
                self.usage.current_stored_bytes += stored
            elif rank & PAST:
                self.usage.past_stored_bytes += stored
                if not rank & ELSEWHERE:
                    self.usage.reclaimable_stored_bytes += stored


# --- The store, or a bucket -----------------------------------------------------------------------


async def _of_buckets(volume: Volume, bucket: str | None) -> DiskUsage:
    rank = _OfBuckets(volume, volume.bucket(bucket).id if bucket is not None else 0)
    tally = _Tally()
    async with open_reader(volume.core.database) as reader:
        extents = _ByContent(reader.stream(EXTENT))
        pasts = _ByContent(reader.stream(EXTENT_PAST))
        content, ranks = 0, dict[int, int]()
        async for page in reader.stream(VERSION, index="content"):
            for number, version in enumerate(page):
                if version.content != content:
                    tally.content(ranks, [*await extents.of(content), *await pasts.of(content)])
                    content, ranks = version.content, {}
                if number % ROWS_PER_BATCH_MAX == 0:
                    await trio.lowlevel.checkpoint()
                found = rank(version)
                tally.version(version, found)
                ranks[version.content_at] = ranks.get(version.content_at, 0) | found
        tally.content(ranks, [*await extents.of(content), *await pasts.of(content)])
    return tally.usage


class _OfBuckets:
    """The versions of a bucket, 0 for all."""

    def __init__(self, volume: Volume, bucket: int) -> None:
        self._database = volume.core.database
        self._pins = volume.core.pins
        self._bucket = bucket

    def __call__(self, version: Version) -> int:
        inode = self._database.get(INODE, version.ino)
        if inode is None:
            last = self._database.scan(INODE_PAST, (version.ino,), reverse=True, limit=1)
            bucket = last[0].inode.bucket if last else 0
        else:
            bucket = inode.bucket
        if self._bucket not in (0, bucket):
            return ELSEWHERE
        if inode is not None and inode.nlink and inode.sealed == version.sealed:
            return CURRENT
        pins = self._pins.of_bucket(bucket)
        return PAST | (ELSEWHERE if _is_pinned(self._database, version, pins) else 0)


def _is_pinned(database: Database, version: Version, pins: list[int]) -> bool:
    at = bisect_left(pins, version.sealed)
    return at < len(pins) and pins[at] < _until(database, version)


def _until(database: Database, version: Version) -> int:
    """Where the next version of the inode begins."""
    following = database.scan(VERSION, (version.ino,), lower=version.sealed + 1, limit=1)
    return following[0].sealed if following else FOREVER


class _ByContent:
    """The rows of one content after the other, from a stream that is read once."""

    def __init__(self, pages: AsyncIterator[list[Extent]] | AsyncIterator[list[ExtentPast]]):
        self._pages = pages
        self._page: list[Extent] | list[ExtentPast] = []
        self._start = 0

    async def of(self, content: int) -> list[Extent | ExtentPast]:
        """Contents come in ascending order."""
        found: list[Extent | ExtentPast] = []
        while self._start < len(self._page) or await self._turn():
            row = self._page[self._start]
            if row.content > content:
                break
            self._start += 1
            if row.content == content:
                found.append(row)
        return found

    async def _turn(self) -> bool:
        self._page, self._start = await anext(self._pages, []), 0
        return bool(self._page)


# --- A path ---------------------------------------------------------------------------------------


class _Window(NamedTuple):
    """An inode was below the path in [begin, until)."""

    begin: int
    until: int


async def _of_path(volume: Volume, bucket: str, key: bytes) -> DiskUsage:
    database, row = volume.core.database, volume.bucket(bucket)
    windows: dict[int, list[_Window]] = {}
    name = key.removesuffix(b"/")
    plain = bool(name) and not name.endswith(b"/")  # else the slash is no way of writing it
    for path in (name, name + b"/") if plain else (name + b"/",):
        for stretch in stretches_of(database, row.root, path):
            windows.setdefault(stretch.ino, []).append(_Window(stretch.begin, stretch.until))
    if not windows:
        shown = key.decode(errors="backslashreplace")
        volume.versions(bucket, key)  # says what is wrong
        raise AssertionError(f"{shown} has versions and no stretches")
    tally, contents = _Tally(), set[int]()
    async with open_reader(database) as reader:
        rows = _Rows(database, reader)
        await _widen(rows, windows)
        rank = _OfPath(volume, row.id, key, windows)
        for ino in windows:
            for version in await rows.of(VERSION, ino):
                tally.version(version, rank(version))
                contents.add(version.content)
        for content in sorted(contents):
            ranks: dict[int, int] = {}
            for version in await rows.of(VERSION, content, index="content"):
                at = version.content_at
                ranks[at] = ranks.get(at, 0) | rank(version)
            extents = await rows.of(EXTENT, content)
            tally.content(ranks, [*extents, *await rows.of(EXTENT_PAST, content)])
    return tally.usage


class _Rows:
    """Rows by their first column: few at once, many through the reader."""

    def __init__(self, database: Database, reader: Reader) -> None:
        self._database = database
        self._reader = reader

    async def of(self, table: Table[R], first: int, *, index: str | None = None) -> list[R]:
        found = self._database.scan(table, (first,), limit=ROWS_PER_BATCH_MAX, index=index)
        await trio.lowlevel.checkpoint()
        if len(found) < ROWS_PER_BATCH_MAX:
            return found
        pages = self._reader.stream(table, (first,), index=index)
        return [row async for page in pages for row in page]


async def _widen(rows: _Rows, windows: dict[int, list[_Window]]) -> None:
    """Add what is and was below the directories among them."""
    pending = [(ino, window) for ino, found in windows.items() for window in found]
    while pending:
        directory, window = pending.pop()
        names = [(row.ino, row.since, FOREVER) for row in await rows.of(DENTRY, directory)]
        names += [(row.ino, row.since, row.until) for row in await rows.of(DENTRY_PAST, directory)]
        for ino, since, until in names:
            below = _Window(max(since, window.begin), min(until, window.until))
            if ino != directory and below.begin < below.until:
                windows.setdefault(ino, []).append(below)
                pending.append((ino, below))


class _OfPath:
    """The versions of what was below a path."""

    def __init__(
        self, volume: Volume, bucket: int, key: bytes, windows: dict[int, list[_Window]]
    ) -> None:
        self._database = volume.core.database
        self._pins = volume.core.pins.of_bucket(bucket)
        self._bucket = bucket
        self._key = key
        self._windows = windows

    def __call__(self, version: Version) -> int:
        until = _until(self._database, version)
        inside = [
            window
            for window in self._windows.get(version.ino, [])
            if window.begin < until and window.until > version.sealed
        ]
        inode = self._database.get(INODE, version.ino)
        current = inode is not None and inode.nlink and inode.sealed == version.sealed
        if not inside:
            return ELSEWHERE
        if current and any(window.until == FOREVER for window in inside):
            return CURRENT
        elsewhere = (
            current
            or self._is_outside(version, until)
            or _is_pinned(self._database, version, self._pins)
        )
        return PAST | (ELSEWHERE if elsewhere else 0)

    def _is_outside(self, version: Version, until: int) -> bool:
        """Whether another path shows the version too."""
        routes = Routes(self._database)
        return any(
            not self._covers(route)
            for name in names_of(self._database, version.ino)
            for route in routes.of(name, max(version.sealed, name.shown), until)
        )

    def _covers(self, route: Route) -> bool:
        return route.bucket == self._bucket and _is_within(self._key, route.key)
