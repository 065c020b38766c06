"""What is right after erasing, told from the store as it was before it: brute force over values.

`Truth` takes everything that can be read down before anything is erased: every path that ever was,
its stretches, its entries with their bytes, and every file of the tree at every sequence. Erasing
is then a set of (path, entry), and what must be shown follows from the definition alone.
"""

from typing import NamedTuple

from objfs.base.errors import NotFound
from objfs.meta.tables import (
    DENTRY,
    DENTRY_PAST,
    EXTENT,
    EXTENT_PAST,
    INODE,
    ORPHAN,
    PART,
    VERSION,
)
from objfs.volume.showing import FOREVER, entries_of, stretches_of
from tests.model.harness import BUCKET
from tests.volume.store import Store

KEYS_MAX = 400


class Was(NamedTuple):
    """A stretch of a path before the erasing; entries oldest first, with their bytes."""

    ino: int
    begin: int
    until: int
    entries: tuple[tuple[int, bytes], ...]
    ended: bool  # in a deletion


def paths_of(store: Store) -> list[bytes]:
    """Every path that ever was, directories with their slash."""
    database = store.volume.core.database
    root = store.volume.root(BUCKET)
    found: set[bytes] = set()
    pending = [(root, b"", 0, FOREVER)]
    while pending:
        ino, above, begin, until = pending.pop()
        rows = [(row, FOREVER) for row in database.scan(DENTRY, (ino,))]
        rows += [(row, row.until) for row in database.scan(DENTRY_PAST, (ino,))]  # type: ignore[misc]
        for row, end in rows:
            since, ends = max(begin, row.since), min(until, end)
            if row.key and since < ends:
                found.add(above + row.key)
                if row.key.endswith(b"/"):
                    pending.append((row.ino, above + row.key, since, ends))
    assert len(found) < KEYS_MAX
    return sorted(found)


async def bytes_at(store: Store, path: bytes, sequence: int) -> bytes | None:
    """What the tree at a sequence shows at a path; None for nothing."""
    view = store.volume.at(sequence)
    ino = store.volume.root(BUCKET)
    try:
        inode = view.walk(ino, path)
    except NotFound:
        return None
    data = bytes(await view.read(inode.ino, 0, 1 << 20))
    assert len(data) == inode.size
    return data


class Truth:
    """A store before the erasing."""

    def __init__(self) -> None:
        self.stretches: dict[bytes, list[Was]] = {}  # by path of a file, oldest first
        self.sequences: list[int] = []

    async def take(self, store: Store) -> "Truth":
        database = store.volume.core.database
        root = store.volume.root(BUCKET)
        self.sequences = list(range(1, database.sequence + 1))
        for path in paths_of(store):
            if path.endswith(b"/"):
                continue
            found = stretches_of(database, root, path)
            begins = {each.begin for each in found}
            self.stretches[path] = [
                Was(
                    each.ino,
                    each.begin,
                    each.until,
                    tuple(
                        [
                            (shown.sequence, await self._bytes(store, path, shown.sequence))
                            for shown in reversed(entries_of(database, each, set()))
                        ]
                    ),
                    each.until != FOREVER and each.until not in begins,
                )
                for each in reversed(found)
            ]
        return self

    async def _bytes(self, store: Store, path: bytes, sequence: int) -> bytes:
        past = store.volume.open_version(BUCKET, path, f"{sequence:x}")
        return bytes(await past.read(0, past.size))

    def entries(self) -> list[tuple[bytes, int]]:
        """All (path, entry)."""
        return [
            (path, entry)
            for path, stretches in self.stretches.items()
            for stretch in stretches
            for entry, _ in stretch.entries
        ]

    def is_erasable(self, path: bytes, entry: int, pins: list[int]) -> bool:
        for stretch in self.stretches[path]:
            ids = [each for each, _ in stretch.entries]
            if entry in ids:
                following = ids[ids.index(entry) + 1 :]
                until = following[0] if following else stretch.until
                return until != FOREVER and not any(entry <= pin < until for pin in pins)
        return False

    def versions(self, path: bytes, erased: set[tuple[bytes, int]]) -> list[tuple[int, bool]]:
        """(entry, whether it is a deletion), newest first."""
        found: list[tuple[int, bool]] = []
        deleted = False
        for stretch in reversed(self.stretches[path]):
            deleted = deleted or stretch.ended
            kept = [entry for entry, _ in stretch.entries if (path, entry) not in erased]
            if stretch.entries and not kept:
                continue
            if deleted:
                found.append((stretch.until, True))
            deleted = False
            found += [(entry, False) for entry in reversed(kept)]
        return found

    def shown(self, path: bytes, sequence: int, erased: set[tuple[bytes, int]]) -> bytes | None:
        """What the path shows: what the newest entry not erased of any name of the same inode at
        that moment does, if the path has one at all. None: nothing."""
        here = self._at(path, sequence)
        if here is None:
            return None
        mine = self._entry(path, here, sequence, erased)
        if mine is None:
            never = not any(entry <= sequence for entry, _ in here.entries)
            first = here.entries[0][0] if here.entries else 0
            return b"" if never and (path, first) not in erased else None
        best = mine
        for other in self.stretches:
            there = self._at(other, sequence)
            if there is not None and there.ino == here.ino:
                theirs = self._entry(other, there, sequence, erased)
                if theirs is not None and theirs[0] > best[0]:
                    best = theirs
        return best[1]

    def _at(self, path: bytes, sequence: int) -> Was | None:
        for stretch in self.stretches[path]:
            if stretch.begin <= sequence < stretch.until:
                return stretch
        return None

    def _entry(
        self, path: bytes, stretch: Was, sequence: int, erased: set[tuple[bytes, int]]
    ) -> tuple[int, bytes] | None:
        """The newest entry; as what it is to the inode, so that those of hard links compare."""
        for entry, data in reversed(stretch.entries):
            if entry <= sequence and (path, entry) not in erased:
                return entry, data
        return None


def needless_extents(store: Store) -> list[object]:
    """Extents that no version needs, nor an inode that is not gone."""
    database = store.volume.core.database
    seen: dict[int, list[int]] = {}
    for version in database.scan(VERSION):
        seen.setdefault(version.content, []).append(version.content_at)
    owned = {row.content for row in database.scan(INODE) if not row.content_at}
    owned |= {row.content for row in database.scan(PART)}
    for row in database.scan(INODE):
        if row.content_at and database.get(ORPHAN, row.ino) is not None:
            seen.setdefault(row.content, []).append(row.content_at)
    needless: list[object] = [
        row
        for row in database.scan(EXTENT_PAST)
        if not any(row.since <= at < row.until for at in seen.get(row.content, []))
    ]
    needless += [
        row
        for row in database.scan(EXTENT)
        if row.content not in owned and not any(row.since <= at for at in seen.get(row.content, []))
    ]
    return needless
