"""Random small histories, random erasing: what was kept reads byte for byte, what was erased is
gone, and nothing is held that nobody needs. S11.1, S11.3, S11.4, S11.5"""

import os
from contextlib import suppress
from random import Random

import pytest

from objfs.base.errors import NotFound, ObjfsError
from objfs.maint.fsck import Asked, Fsck
from objfs.meta.rows import Snapshot
from objfs.meta.tables import DENTRY_PAST, ERASED, INODE, INODE_PAST, VERSION
from objfs.store.faults import Crash
from objfs.store.memory import nothing_survives
from objfs.volume.showing import entries_of, stretches_of
from objfs.volume.volume import RENAME_EXCHANGE
from tests.model.harness import BUCKET
from tests.volume.erasing_model import Truth, bytes_at, needless_extents
from tests.volume.store import ME, Store
from tests.volume.test_erasing import check_usage

NAMES = ("a", "b", "c")
DIRECTORIES = ("", "x/", "y/")
VERBS = (
    *("write", "write", "write", "overwrite", "truncate", "rename", "rename", "link", "unlink"),
    *("directory", "move", "restore", "snapshot", "chmod", "exchange", "wait"),
)


class Storyteller:
    """Does random things to a store."""

    def __init__(self, store: Store, seed: int) -> None:
        self.store = store
        self.random = Random(seed)
        self.pins: list[int] = []

    def place(self) -> tuple[int, str, str]:
        """A directory that is there, a name, and the path."""
        directory, name = self.random.choice(DIRECTORIES), self.random.choice(NAMES)
        ino = self.store.volume.root(BUCKET, directory.encode())
        return ino, name, directory + name

    async def step(self) -> None:
        with suppress(ObjfsError):  # nothing there, or something in the way
            await getattr(self, self.random.choice(VERBS))()
        if self.random.random() < 0.7:
            self.store.clock.advance(self.random.choice((1, 20, 20)))

    async def write(self) -> None:
        ino, name, _ = self.place()
        await self.store.put(name, self.random.randbytes(self.random.randint(0, 12)), ino)

    async def overwrite(self) -> None:
        ino, name, _ = self.place()
        file = self.store.volume.lookup(ino, name.encode()).ino
        handle = await self.store.volume.open(file, os.O_RDWR)
        for _ in range(self.random.randint(1, 2)):
            data = self.random.randbytes(self.random.randint(1, 5))
            await self.store.volume.write(handle, self.random.randint(0, 10), data)
            if self.random.random() < 0.3:
                await self.store.volume.fsync(file)
        await self.store.close_handle(handle)

    async def truncate(self) -> None:
        ino, name, _ = self.place()
        file = self.store.volume.lookup(ino, name.encode()).ino
        handle = await self.store.volume.open(file, os.O_RDWR)
        await self.store.volume._writeback.truncate(handle.open_inode, self.random.randint(0, 8))
        await self.store.close_handle(handle)

    async def rename(self) -> None:
        (one, name, _), (other, new_name, _) = self.place(), self.place()
        await self.store.volume.rename(one, name.encode(), other, new_name.encode())

    async def exchange(self) -> None:
        (one, name, _), (other, new_name, _) = self.place(), self.place()
        await self.store.volume.rename(
            one, name.encode(), other, new_name.encode(), RENAME_EXCHANGE
        )

    async def link(self) -> None:
        (one, name, _), (other, new_name, _) = self.place(), self.place()
        file = self.store.volume.lookup(one, name.encode()).ino
        self.store.volume.link(file, other, new_name.encode())

    async def unlink(self) -> None:
        ino, name, _ = self.place()
        await self.store.volume.unlink(ino, name.encode())

    async def directory(self) -> None:
        name = self.random.choice((b"x", b"y"))
        if self.random.random() < 0.8:
            self.store.volume.mkdir(self.store.root, name, 0o755, ME)
        else:
            self.store.volume.rmdir(self.store.root, name)

    async def move(self) -> None:
        """A directory gets another name."""
        one, other = self.random.choice(((b"x", b"y"), (b"y", b"x")))
        await self.store.volume.rename(self.store.root, one, self.store.root, other)

    async def restore(self) -> None:
        _, _, path = self.place()
        _, _, to = self.place()
        entries = self.store.volume.versions(BUCKET, path.encode())
        entry = self.random.choice([each for each in entries if not each.deleted] or entries)
        await self.store.volume.restore(
            BUCKET, path.encode(), entry.version_id, (BUCKET, to.encode())
        )

    async def snapshot(self) -> None:
        if self.random.random() < 0.7:
            return
        core = self.store.volume.core
        with core.change() as change:
            change.put(Snapshot(f"s{change.sequence}", change.sequence - 1, 0))
        core.pins.reload()
        self.pins.append(core.database.sequence - 1)

    async def chmod(self) -> None:
        ino, name, _ = self.place()
        file = self.store.volume.lookup(ino, name.encode()).ino
        self.store.volume.setxattr(file, b"user.k", self.random.randbytes(2))

    async def wait(self) -> None:
        self.store.clock.advance(3600)


async def story(seed: int, steps: int) -> Storyteller:
    store = Store()
    await store.make()
    teller = Storyteller(store, seed)
    store.volume.mkdir(store.root, b"x", 0o755, ME)
    for _ in range(steps):
        await teller.step()
    return teller


async def check(store: Store, truth: Truth, erased: set[tuple[bytes, int]]) -> None:
    for path, stretches in truth.stretches.items():
        try:
            found = store.volume.versions(BUCKET, path)
        except NotFound:
            found = []
        assert [(e.sequence, e.deleted) for e in found] == truth.versions(path, erased), path
        for stretch in stretches:
            for entry, data in stretch.entries:
                if (path, entry) in erased:
                    with pytest.raises(ObjfsError):
                        store.volume.open_version(BUCKET, path, f"{entry:x}")
                else:
                    past = store.volume.open_version(BUCKET, path, f"{entry:x}")
                    assert bytes(await past.read(0, past.size)) == data
    for sequence in truth.sequences:
        for path in truth.stretches:
            shown = await bytes_at(store, path, sequence)
            assert shown == truth.shown(path, sequence, erased), (path, sequence)


async def check_held(store: Store) -> None:
    """Nothing is held that nobody needs, and the accounts are right."""
    await store.volume.sweep()
    assert not needless_extents(store)
    await check_usage(store)
    state = await Fsck(store.volume, noting=False).run(Asked(), restart=True)
    assert state.problems == []
    database = store.volume.core.database
    assert not [name for name, _ in store.dump() if name in ("sweep", "purge")]
    named = {row.ino for row in database.scan(DENTRY_PAST)}
    for erased in database.scan(ERASED):  # each hides something
        found = stretches_of(database, store.root, erased.key, erased.entry, erased.entry + 1)
        assert [
            shown.sequence
            for stretch in found
            for shown in entries_of(database, stretch, set())
            if shown.sequence == erased.entry
        ] == [erased.entry]
    held = {row.ino for row in database.scan(VERSION)}
    held |= {row.ino for row in database.scan(INODE_PAST)}
    assert all(ino in named or database.get(INODE, ino) is not None for ino in held)


async def check_rebuilt(store: Store) -> None:
    """The log alone gives the same rows."""
    before = store.dump()
    store.volume.core.database.commit()
    store.crash(None)
    store.open("lost")
    assert store.dump() == before


@pytest.mark.parametrize("seed", range(40))
async def test_random_erasing(seed: int) -> None:
    teller = await story(seed, 40)
    await erase_at_random(teller, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1300))
async def test_random_erasing_of_many(seed: int) -> None:
    teller = await story(seed, 30 + seed % 60)
    await erase_at_random(teller, seed)


async def erase_at_random(teller: Storyteller, seed: int) -> None:
    store, random = teller.store, Random(seed)
    truth = await Truth().take(store)
    erased: set[tuple[bytes, int]] = set()
    await check(store, truth, erased)
    for _ in range(3):
        chosen = [each for each in truth.entries() if random.random() < 0.4]
        for path in {path for path, _ in chosen}:
            entries = {entry for each, entry in chosen if each == path}
            wanted = {e for e in entries if truth.is_erasable(path, e, teller.pins)}
            before = len(erased)
            report = await store.volume.erase(BUCKET, path, entries)
            erased |= {(path, entry) for entry in wanted}
            assert report.entries == len(erased) - before
        await check(store, truth, erased)
        await check_held(store)
        await check_rebuilt(store)
    everything = truth.entries()
    for path in {path for path, _ in everything}:
        entries = {entry for each, entry in everything if each == path}
        await store.volume.erase(BUCKET, path, entries)
    erased |= {each for each in everything if truth.is_erasable(*each, teller.pins)}
    await check(store, truth, erased)
    await check_held(store)
    if not teller.pins:
        await check_nothing_left(store)


async def check_nothing_left(store: Store) -> None:
    """Only current files are left, each with one version."""
    database = store.volume.core.database
    for version in database.scan(VERSION):
        inode = database.get(INODE, version.ino)
        assert inode is not None, version
        assert inode.sealed == version.sealed


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2000, 2006))
async def test_a_crash_at_any_call_of_the_device(seed: int) -> None:
    """What was hidden stays hidden, what was not is all there; going on ends it."""
    teller = await story(seed, 30)
    await teller.store.volume.sync()
    truth = await Truth().take(teller.store)
    random = Random(seed)
    chosen = [each for each in truth.entries() if random.random() < 0.6]
    call = 1
    while await crash_at(teller, truth, chosen, call):
        call += 1
    assert call > 3 or not any(truth.is_erasable(*each, teller.pins) for each in chosen)


async def crash_at(
    teller: Storyteller, truth: Truth, chosen: list[tuple[bytes, int]], call: int
) -> bool:
    """False when the work ended before that call."""
    store = teller.store.twin()
    assert isinstance(store, Store)
    store.again()
    store.plan.crash_at = len(store.plan.calls) + call
    crashed = False
    try:
        await erase_chosen(store, chosen)
    except (Crash, ObjfsError):
        crashed = True
    store.crash(None if call % 2 else nothing_survives)
    store.again()
    allowed = {each for each in chosen if truth.is_erasable(*each, teller.pins)}
    erased = set()
    for path in truth.stretches:
        there: set[int] = set()
        with suppress(NotFound):
            there = {entry.sequence for entry in store.volume.versions(BUCKET, path)}
        gone = {each for each in truth.entries() if each[0] == path and each[1] not in there}
        erased |= gone
    assert erased <= allowed
    await check(store, truth, erased)
    await store.volume._erasing.resume()
    await check_held(store)
    await erase_chosen(store, chosen)
    await check(store, truth, allowed)
    await check_held(store)
    return crashed


async def erase_chosen(store: Store, chosen: list[tuple[bytes, int]]) -> None:
    for path in sorted({path for path, _ in chosen}):
        await store.volume.erase(BUCKET, path, [entry for each, entry in chosen if each == path])
    await store.volume.sweep()
    await store.volume.sync()
