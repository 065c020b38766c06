"""fsck: a sound store is clean, each kind of damage has its code and its mend."""

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from objfs.base.limits import KIB, MIB
from objfs.maint.fsck import Asked, Fsck, FsckState
from objfs.maint.fsck_codes import CODES
from objfs.meta.rows import (
    Bucket,
    Dentry,
    DentryPast,
    Erased,
    Extent,
    Inode,
    InodePast,
    Moment,
    Orphan,
    Purge,
    Retention,
    Snapshot,
    Unsealed,
    Usage,
    Version,
    Xattr,
)
from objfs.meta.tables import (
    DENTRY,
    DENTRY_PAST,
    EXTENT,
    INODE,
    INODE_PAST,
    MOMENT,
    USAGE,
    VERSION,
    table_of,
)
from objfs.volume.extents import past
from tests.maint.test_scrub import filled
from tests.model.harness import BUCKET
from tests.volume.store import ME, Store

NOISE = os.urandom(3 * MIB)


async def checked(store: Store, **asked: Any) -> FsckState:
    """A whole check, begun anew."""
    state = await Fsck(store.volume).run(Asked(**asked), restart=True)
    assert state.finished_ns
    return state


def codes(state: FsckState) -> list[str]:
    return sorted({problem.code for problem in state.problems})


async def busy_store() -> Store:
    """A store with something of everything."""
    store = await filled()
    volume, root = store.volume, store.root
    volume.mkdir(root, b"dir", 0o755, ME)
    inner = volume.lookup(root, b"dir").ino
    await store.put("inside", b"inside " * 1000, inner)
    volume.mkdir(inner, b"deeper", 0o755, ME)
    deeper = volume.lookup(inner, b"deeper").ino
    await store.put("lowest", NOISE[: 90 * KIB], deeper)
    volume.symlink(root, b"link", b"dir/inside", ME)
    small = volume.lookup(root, b"small").ino
    volume.link(small, inner, b"hard")
    volume.setxattr(small, b"user.color", b"red")
    store.clock.advance(50_000)
    await volume.rename(root, b"dir", root, b"folder")
    await store.put("changed", b"three " * 2000)
    versions = volume.versions(BUCKET, b"changed")
    await volume.restore(BUCKET, b"changed", versions[-1].version_id, (BUCKET, b"restored"))
    store.clock.advance(50_000)
    volume.removexattr(small, b"user.color")
    await volume.unlink(inner, b"hard")
    handle = store.create("sparse")
    await volume.write(handle, 5 * MIB, b"end")
    await store.close_handle(handle)
    await volume.sync()
    return store


async def test_a_sound_store_is_clean() -> None:
    store = await busy_store()
    for asked in ({}, {"deep": True}, {"repair": True}, {"data": True}):
        state = await checked(store, **asked)
        assert state.problems == [], asked
        assert state.objects > 50
    for key in (b"", b"folder", b"folder/inside", b"gone", b"small"):
        state = await checked(store, bucket=BUCKET, key=key, data=True)
        assert state.problems == [], key
        assert state.objects
    await store.close()
    store.again()
    assert (await checked(store)).problems == []


# --- One seeded corruption for each check ---------------------------------------------------------


class Spoiler:
    """Makes rows wrong, by a change like any other: log and index agree on it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.core = store.volume.core
        self.database = store.volume.core.database

    def ino(self, *names: bytes) -> int:
        ino = self.store.root
        for name in names:
            ino = self.store.volume.lookup(ino, name).ino
        return ino

    def inode(self, *names: bytes) -> Inode:
        row = self.database.get(INODE, self.ino(*names))
        assert row is not None
        return row

    def dentry(self, *names: bytes) -> Dentry:
        parent = self.ino(*names[:-1])
        row = self.database.get(DENTRY, parent, names[-1])
        assert row is not None
        return row

    def version(self, *names: bytes) -> Version:
        return self.database.scan(VERSION, (self.ino(*names),), reverse=True, limit=1)[0]

    def extent(self, *names: bytes) -> Extent:
        return self.database.scan(EXTENT, (self.inode(*names).content,), limit=1)[0]

    def put(self, *rows: Any) -> None:
        with self.core.change() as change:
            for row in rows:
                change.put(row)

    def drop(self, *rows: Any) -> None:
        with self.core.change() as change:
            for row in rows:
                table = table_of(row)
                change.delete(table, *table.key_of(row))

    def new(self) -> int:
        return (self.database.sequence + 1) * 256 + 77


FUTURE = 1 << 40


def _bucket_root(spoil: Spoiler) -> None:
    root = spoil.database.get(INODE, spoil.store.root)
    assert root is not None
    spoil.put(Bucket(FUTURE, "other", FUTURE + 1, 1), replace(root, nlink=root.nlink))


def _name_type(spoil: Spoiler) -> None:
    name = spoil.dentry(b"small")
    spoil.drop(name)
    spoil.put(replace(name, key=b"small/"))


def _orphan_left(spoil: Spoiler) -> None:
    row = replace(spoil.inode(b"small"), ino=spoil.new(), nlink=0, has_xattrs=False, content=0)
    row = replace(row, mode=stat.S_IFIFO, sealed=0, allocated=0)
    spoil.put(row, Orphan(row.ino, 1))


def _lost_name(spoil: Spoiler) -> None:
    spoil.drop(spoil.dentry(b"folder", b"inside"))


def _lost_directory(spoil: Spoiler) -> None:
    name = spoil.dentry(b"folder", b"deeper/")
    spoil.drop(name)


def _circle(spoil: Spoiler) -> None:
    name = spoil.dentry(b"folder/")
    spoil.drop(name)
    spoil.put(replace(name, parent=spoil.database.scan(DENTRY, (name.ino, b"deeper/"))[0].ino))


def _cookie(spoil: Spoiler) -> None:
    one, other = spoil.dentry(b"small"), spoil.dentry(b"large")
    spoil.put(replace(one, cookie=other.cookie))


def _name_overlap(spoil: Spoiler) -> None:
    name = spoil.dentry(b"small")
    spoil.put(DentryPast(name.parent, name.key, name.since + 2, name.ino, name.since - 1))


def _past_overlap(spoil: Spoiler) -> None:
    past = spoil.database.scan(DENTRY_PAST, (spoil.store.root, b"gone"))[0]
    spoil.put(replace(past, until=past.until + 1, since=past.since + 1))


def _past_of_nothing(spoil: Spoiler) -> None:
    spoil.put(DentryPast(spoil.store.root, b"never", 5, spoil.new(), 4))


def _state_order(spoil: Spoiler) -> None:
    row = spoil.inode(b"small")
    spoil.put(InodePast(row.ino, row.since + 1, replace(row, since=row.since - 1)))


def _past_state_order(spoil: Spoiler) -> None:
    state, following, *_ = spoil.database.scan(INODE_PAST, (spoil.store.root,))
    assert following.inode.since == state.until
    spoil.put(replace(state, until=state.until + 1))


def _lost_inode(spoil: Spoiler) -> None:
    spoil.drop(spoil.inode(b"folder", b"inside"))


def _lost_symlink(spoil: Spoiler) -> None:
    spoil.drop(spoil.inode(b"link"))


def _name_in_nothing(spoil: Spoiler) -> None:
    name = spoil.dentry(b"small")
    spoil.drop(name)
    spoil.put(replace(name, parent=spoil.new()))


def _name_in_file(spoil: Spoiler) -> None:
    name = spoil.dentry(b"small")
    spoil.drop(name)
    spoil.put(replace(name, parent=spoil.ino(b"large")))


def _version_of_nothing(spoil: Spoiler) -> None:
    version = spoil.version(b"small")
    spoil.put(replace(version, ino=spoil.new()))


def _extent_overlap(spoil: Spoiler) -> None:
    row = spoil.extent(b"large")
    new = replace(row, offset=row.offset + 100, length=50, skip=100, since=row.since + 1)
    spoil.put(new)


def _past_extent_overlap(spoil: Spoiler) -> None:
    row = spoil.extent(b"large")
    now = spoil.database.sequence
    spoil.put(past(replace(row, since=row.since + 1, offset=row.offset + 64), now))


def _extent_of_nothing(spoil: Spoiler) -> None:
    row = spoil.extent(b"large")
    spoil.put(replace(row, content=7), past(replace(row, content=8), spoil.database.sequence))


def _empty_past_extent(spoil: Spoiler) -> None:
    row = spoil.extent(b"large")
    spoil.put(past(replace(row, offset=1 << 30), row.since))


def _moment(spoil: Spoiler) -> None:
    (first, *_) = spoil.database.scan(MOMENT)
    spoil.put(Moment(first.time_ns + 1, first.sequence))


def _usage(spoil: Spoiler) -> None:
    (row,) = spoil.database.scan(USAGE)
    spoil.put(replace(row, live_bytes=row.live_bytes + 5, objects=row.objects - 1))


Spoil = Callable[[Spoiler], None]


def putting(make: Callable[[Spoiler], Any]) -> Spoil:
    return lambda spoil: spoil.put(make(spoil))


def dropping(make: Callable[[Spoiler], Any]) -> Spoil:
    return lambda spoil: spoil.drop(make(spoil))


SPOILS: dict[str, tuple[str, Spoil]] = {
    "too many links": ("link-count", putting(lambda s: replace(s.inode(b"small"), nlink=5))),
    "too few links of a directory": (
        "link-count",
        putting(lambda s: replace(s.inode(b"folder"), nlink=2)),
    ),
    "a file without a name": ("inode-unnamed", _lost_name),
    "a directory without a name": ("inode-unnamed", _lost_directory),
    "a directory with two names": (
        "directory-names",
        putting(lambda s: replace(s.dentry(b"folder/"), key=b"twin/", cookie=s.new())),
    ),
    "a circle of directories": ("tree-unreached", _circle),
    "an empty directory without its entry": (
        "directory-entry",
        dropping(lambda s: Dentry(_empty(s), b"", 0, 0, 0)),
    ),
    "a bucket of nothing": (
        "inode-bucket",
        putting(lambda s: replace(s.inode(b"small"), bucket=99)),
    ),
    "a state of the future": (
        "inode-future",
        putting(lambda s: replace(s.inode(b"small"), since=FUTURE)),
    ),
    "a state that ends after the next began": ("inode-past-order", _state_order),
    "two past states at once": ("inode-past-order", _past_state_order),
    "a flag without attributes": (
        "xattr-flag",
        putting(lambda s: replace(s.inode(b"small"), has_xattrs=True)),
    ),
    "attributes without a flag": (
        "xattr-flag",
        putting(lambda s: Xattr(s.ino(b"small"), b"user.x", b"y")),
    ),
    "attributes of nothing": (
        "xattr-of-nothing",
        putting(lambda s: Xattr(s.new(), b"user.x", b"y")),
    ),
    "an orphan with a name": ("orphan-wrong", putting(lambda s: Orphan(s.ino(b"small"), 1))),
    "an orphan of nothing": ("orphan-wrong", putting(lambda s: Orphan(s.new(), 1))),
    "an orphan that nobody has open": ("orphan-wrong", _orphan_left),
    "an unsealed file of nothing": ("unsealed-wrong", putting(lambda s: Unsealed(s.new(), 1))),
    "an unsealed file that nobody has open": (
        "unsealed-wrong",
        putting(lambda s: Unsealed(s.ino(b"small"), 1)),
    ),
    "a purge that nobody goes on with": ("purge-left", putting(lambda s: Purge(s.new(), 0, 0))),
    "a name of nothing, with versions": ("name-of-nothing", _lost_inode),
    "a name of nothing at all": ("name-of-nothing", _lost_symlink),
    "a name in nothing": ("name-in-nothing", _name_in_nothing),
    "a name in a file": ("name-in-nothing", _name_in_file),
    "a file with a directory's name": ("name-type", _name_type),
    "a name of the future": (
        "name-future",
        putting(lambda s: replace(s.dentry(b"small"), since=FUTURE)),
    ),
    "a cookie twice": ("cookie-twice", _cookie),
    "a name twice at a moment": ("name-overlap", _name_overlap),
    "a past name twice at a moment": ("name-overlap", _past_overlap),
    "a past name of nothing": ("past-name-of-nothing", _past_of_nothing),
    "a version that is not the newest": (
        "inode-version",
        putting(lambda s: replace(s.inode(b"changed"), sealed=3)),
    ),
    "a version that is gone": ("inode-version", dropping(lambda s: s.version(b"small"))),
    "a version of nothing": ("version-of-nothing", _version_of_nothing),
    "a version with other bytes": (
        "version-allocated",
        putting(lambda s: replace(s.version(b"small"), allocated=1)),
    ),
    "an inode with other bytes": (
        "inode-allocated",
        putting(lambda s: replace(s.inode(b"small"), allocated=1)),
    ),
    "an extent over another": ("extent-overlap", _extent_overlap),
    "a past extent over a current one": ("extent-overlap", _past_extent_overlap),
    "an extent of nothing": ("extent-of-nothing", _extent_of_nothing),
    "a past extent of no moment": ("extent-form", _empty_past_extent),
    "a bucket without a root": ("bucket-root", _bucket_root),
    "a wrong account": ("usage-wrong", _usage),
    "an account of nothing": ("usage-of-nothing", putting(lambda s: Usage(s.new()))),
    "a moment out of order": ("moment-order", _moment),
    "a snapshot of the future": ("snapshot-wrong", putting(lambda s: Snapshot("x", FUTURE, 1))),
    "a snapshot of nothing": ("snapshot-wrong", putting(lambda s: Snapshot("x", 1, 1, s.new()))),
    "a hidden entry of nothing": (
        "erased-of-nothing",
        putting(lambda s: Erased(s.dentry(b"small").since, b"none", 3, 3)),
    ),
    "a hidden entry of a path that was not there": (
        "erased-of-nothing",
        putting(lambda s: Erased(s.inode(b"small").bucket, b"changed", 1, 3)),
    ),
    "a rule for nothing": ("retention-of-nothing", putting(lambda s: Retention(s.new(), b""))),
}


def _empty(spoil: Spoiler) -> int:
    return spoil.store.volume.mkdir(spoil.store.root, b"empty", 0o755, ME).ino


async def contents(store: Store) -> dict[bytes, bytes]:
    """Every file that can be read, by its path."""
    found: dict[bytes, bytes] = {}
    todo = [(store.root, b"")]
    while todo:
        directory, path = todo.pop()
        for name, _, row in store.volume.list_directory(directory, 0, 1000):
            if stat.S_ISDIR(row.mode):
                todo.append((row.ino, path + name + b"/"))
            elif stat.S_ISREG(row.mode):
                handle = await store.volume.open(row.ino, os.O_RDONLY)
                data = bytes(await store.volume.read(handle, 0, row.size + 1))
                await store.volume.release(handle)
                found[path + name] = data
    return found


@pytest.mark.parametrize("name", SPOILS)
async def test_what_is_wrong_is_found_and_mended(name: str) -> None:
    """S4.7, S4.8: each kind of damage has its code; after the repair nothing is found, and what
    was not touched is as it was."""
    code, spoil = SPOILS[name]
    store = await busy_store()
    before = await contents(store)
    spoil(Spoiler(store))
    found = await checked(store)
    assert code in codes(found), found.problems
    assert not any(problem.mended for problem in found.problems)
    repaired = await checked(store, repair=True)
    assert code in codes(repaired)
    assert repaired.left == 0, repaired.problems
    again = await checked(store, deep=True)
    assert again.problems == []
    after = await contents(store)
    kept = {data for path, data in after.items() if path not in before or before[path] == data}
    assert set(before.values()) <= kept, "every byte is still there"
    assert sum(after.get(path) != data for path, data in before.items()) <= 3
    await store.close()
    store.again()
    assert (await checked(store)).problems == []


def test_every_code_is_explained() -> None:
    """In docs/OPERATIONS.md, and given by some check."""
    root = Path(__file__).parents[2]
    manual = (root / "docs/OPERATIONS.md").read_text()
    table = {code for code in re.findall(r"`([a-z]+(?:-[a-z]+)+)`", manual) if code in CODES}
    assert table == set(CODES)
    source = "".join(path.read_text() for path in (root / "objfs/maint").glob("fsck*.py"))
    assert {code for code in CODES if source.count(f'"{code}"') < 2} == set()
