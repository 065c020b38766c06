"""Random operations of both doors against a reference of buckets, versions and delete markers,
compared after each of them: what S3 shows of every key, and what the mount shows of every name."""

import os
from random import Random
from typing import NamedTuple

import pytest

from objfs.base.errors import IsDeleteMarker, NoSuchKey, NotFound
from objfs.maint.fsck import Asked, Fsck
from objfs.volume.object_types import NULL_VERSION, PutAttributes
from tests.volume.store import ME, Store

BUCKET = "objects"
KEYS = [b"a", b"a/z", b"b", b"d/", b"d/x", b"d/y", b"e//f", b"n" * 256]
FILES = [b"a", b"a/z", b"b", b"d/x", b"d/y"]  # that the mount can name
STATES = ("off", "on", "suspended")


class Kept(NamedTuple):
    """An entry as S3 shows it; no data: a delete marker."""

    id: str
    data: bytes | None
    null: bool


class Reference:
    """What S3 says of a bucket, with one definition of right: entries by key, the newest first."""

    def __init__(self, state: str) -> None:
        self.state = state
        self.keys: dict[bytes, list[Kept]] = {key: [] for key in KEYS}

    def live(self, key: bytes) -> bytes | None:
        entries = self.keys.get(key)
        return entries[0].data if entries else None

    def is_directory(self, key: bytes) -> bool:
        return any(self.live(each) is not None for each in self.keys if each.startswith(key))

    def put(self, key: bytes, data: bytes | None) -> None:
        """A new entry, whose id is learned when it is seen."""
        null = self.state != "on"
        entries = self.keys.setdefault(key, [])
        if null:
            entries[:] = [each for each in entries if not each.null]
        if data is not None or self.state != "off":
            entries.insert(0, Kept(NULL_VERSION if null else "", data, null))

    def erase(self, key: bytes, id: str) -> None:
        self.keys[key] = [each for each in self.keys[key] if each.id != id]


class Run:
    """A store and its reference."""

    def __init__(self, seed: int, state: str) -> None:
        self.random = Random(seed)
        self.store = Store()
        self.state = state
        self.reference = Reference(state)

    async def begin(self) -> None:
        await self.store.make()
        self.store.volume.create_bucket(BUCKET, versioning=self.state)

    async def step(self) -> str:
        names = ["put"] * 5 + ["delete"] * 3 + ["erase"] * 4
        names += ["write"] * 3 + ["unlink", "rename", "copy", "versioning", "crash"]
        name = self.random.choice(names)
        if self.random.random() < 0.3:
            self.store.clock.advance(self.random.choice((1, 10_000)))
        await getattr(self, name)()
        return name

    def data(self) -> bytes:
        return self.random.randbytes(self.random.choice((0, 3, 10)))

    # --- S3 --------------------------------------------------------------------------------------

    async def put(self) -> None:
        key, data = self.random.choice(KEYS), self.data()
        body = self.store.volume.objects.put(BUCKET, key)
        await body.write(data)
        info = await body.commit(PutAttributes())
        self.reference.put(key, data)
        assert info == self.store.volume.objects.head(BUCKET, key)

    async def delete(self) -> None:
        key = self.random.choice(KEYS)
        deleted = await self.store.volume.objects.delete(BUCKET, key)
        self.reference.put(key, None)
        assert deleted.delete_marker is (self.reference.state != "off")

    async def erase(self) -> None:
        key = self.random.choice([key for key, kept in self.reference.keys.items() if kept] or KEYS)
        kept = self.reference.keys[key]
        id = self.random.choice(kept).id if kept else "1"
        await self.store.volume.objects.delete(BUCKET, key, id)
        self.reference.erase(key, id)

    async def copy(self) -> None:
        objects = self.store.volume.objects
        key = self.random.choice([key for key, kept in self.reference.keys.items() if kept] or KEYS)
        found = [each for each in self.reference.keys[key] if each.data is not None]
        if found:
            source, target = self.random.choice(found), self.random.choice(KEYS)
            info = objects.head(BUCKET, key, source.id)
            await objects.copy(info, BUCKET, target, PutAttributes())
            self.reference.put(target, source.data)

    async def versioning(self) -> None:
        state = self.random.choice(("on", "suspended"))
        self.store.volume.set_bucket(BUCKET, versioning=state)
        self.reference.state = state

    # --- the mount -------------------------------------------------------------------------------

    def directory(self, path: bytes) -> int:
        """Make the directory of a file, as a program would."""
        ino = self.store.volume.root(BUCKET)
        way = b""
        for part in path.split(b"/")[:-1]:
            way += part + b"/"
            if not self.reference.is_directory(way):
                self.store.volume.mkdir(ino, part, 0o755, ME)
                self.reference.put(way, b"")
            ino = self.store.volume.lookup(ino, part).ino
        return ino

    def is_file(self, path: bytes) -> bool:
        return self.reference.live(path) is not None and not self.reference.is_directory(
            path + b"/"
        )

    async def write(self) -> None:
        path, data = self.random.choice(FILES), self.data()
        above = path.rpartition(b"/")[0]
        if self.reference.is_directory(path + b"/") or (above and self.is_file(above)):
            return
        directory, leaf = self.directory(path), path.rpartition(b"/")[2]
        volume = self.store.volume
        if self.is_file(path):
            ino = volume.lookup(directory, leaf).ino
            handle = await volume.open(ino, os.O_RDWR | os.O_TRUNC)
        else:
            handle, _ = volume.create(directory, leaf, 0o644, os.O_RDWR, ME)
        await volume.write(handle, 0, data)
        await self.store.close_handle(handle)
        self.reference.put(path, data)

    async def unlink(self) -> None:
        path = self.random.choice(FILES)
        if not self.is_file(path):
            return
        directory, leaf = self.directory(path), path.rpartition(b"/")[2]
        await self.store.volume.unlink(directory, leaf)
        self.reference.put(path, None)
        self.keep(path)

    def keep(self, path: bytes) -> None:
        """A directory that was emptied through the mount is an object from then on."""
        above = path.rpartition(b"/")[0]
        if above and not self.reference.is_directory(above + b"/"):
            self.reference.put(above + b"/", b"")

    async def rename(self) -> None:
        source, target = self.random.choice(FILES), self.random.choice(FILES)
        above = target.rpartition(b"/")[0]
        if (
            source == target
            or not self.is_file(source)
            or self.reference.is_directory(target + b"/")
            or (above and not self.reference.is_directory(above + b"/"))
        ):
            return
        old, new = self.directory(source), self.directory(target)
        leaf, new_leaf = source.rpartition(b"/")[2], target.rpartition(b"/")[2]
        await self.store.volume.rename(old, leaf, new, new_leaf)
        data = self.reference.live(source)
        self.reference.put(source, None)
        self.reference.put(target, data)
        self.keep(source)

    async def crash(self) -> None:
        await self.store.volume.sync()
        self.store.crash()
        self.store.again()

    # --- comparing -------------------------------------------------------------------------------

    async def compare(self) -> None:
        for key, kept in self.reference.keys.items():
            await self.compare_key(key, kept)
        await self.compare_lists()
        seen = await self.tree(self.store.volume.root(BUCKET), b"")
        live = {
            key: self.reference.live(key)
            for key in self.reference.keys
            if not key.endswith(b"/") and self.is_file(key) and key in FILES
        }
        assert seen == live

    async def compare_key(self, key: bytes, kept: list[Kept]) -> None:
        objects = self.store.volume.objects
        infos = objects.versions(BUCKET, key)
        assert [info.delete_marker for info in infos] == [each.data is None for each in kept], key
        assert [info.latest for info in infos] == [at == 0 for at in range(len(kept))]
        for at, (info, each) in enumerate(zip(infos, kept, strict=True)):
            if not each.id:
                assert all(info.version_id != other.id for other in kept), key
                kept[at] = each._replace(id=info.version_id)
            assert info.version_id == kept[at].id, key
            if each.data is not None:
                assert objects.head(BUCKET, key, info.version_id) == info
                file = objects.open(info)
                assert (info.size, bytes(await file.read(0, 100))) == (len(each.data), each.data)
        if not infos:
            with pytest.raises(NoSuchKey):
                objects.head(BUCKET, key)
        elif infos[0].delete_marker:
            with pytest.raises(IsDeleteMarker) as raised:
                objects.head(BUCKET, key)
            assert raised.value.version_id == infos[0].version_id
        else:
            assert objects.head(BUCKET, key) == infos[0]

    async def compare_lists(self) -> None:
        """The lists of the bucket, in small pages."""
        keys = self.store.volume.keys
        live, after = [], b""
        while True:
            page = await keys.list_keys(BUCKET, after=after, limit=3)
            live += [(info.key, info.version_id) for info in page.entries]
            after = page.next
            if not page.truncated:
                break
        expected = sorted(self.reference.keys.items())
        assert live == [
            (key, kept[0].id) for key, kept in expected if kept and kept[0].data is not None
        ]
        listed, key_marker, version_marker = [], b"", ""
        while True:
            versions = await keys.list_versions(
                BUCKET, key_marker=key_marker, version_marker=version_marker, limit=3
            )
            listed += [
                (info.key, info.version_id, info.delete_marker, info.latest)
                for info in versions.entries
            ]
            key_marker, version_marker = versions.next_key, versions.next_version
            if not versions.truncated:
                break
        assert listed == [
            (key, each.id, each.data is None, at == 0)
            for key, kept in expected
            for at, each in enumerate(kept)
        ]

    async def tree(self, ino: int, path: bytes) -> dict[bytes, bytes]:
        """The files that the mount shows, with their bytes."""
        found: dict[bytes, bytes] = {}
        volume = self.store.volume
        for name, _, inode in volume.list_directory(ino, 0, 1000):
            assert volume.lookup(ino, name).ino == inode.ino
            if inode.nlink >= 2:
                found |= await self.tree(inode.ino, path + name + b"/")
            else:
                handle = await volume.open(inode.ino, os.O_RDONLY)
                found[path + name] = bytes(await volume.read(handle, 0, 100))
                await volume.release(handle)
        return found


async def check(seed: int, state: str, steps: int) -> None:
    run = Run(seed, state)
    await run.begin()
    history = []
    for _ in range(steps):
        history.append(await run.step())
        try:
            await run.compare()
        except (AssertionError, NotFound) as error:
            raise AssertionError(
                f"seed {seed}, {state}: {history[-10:]} ({len(history)})"
            ) from error
    state_found = await Fsck(run.store.volume).run(Asked(), restart=True)
    assert not state_found.problems
    await run.store.close()
    run.store.open()
    rows = run.store.dump()
    await run.store.close()
    run.store.open("lost")
    assert run.store.dump() == rows
    await run.compare()


@pytest.mark.parametrize("state", STATES)
async def test_both_doors_agree(state: str) -> None:
    """S13.1, S13.6, S13.9, S13.10"""
    await check(1, state, 30)


@pytest.mark.slow
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("seed", range(100, 112))
async def test_both_doors_agree_for_long(seed: int, state: str) -> None:
    await check(seed, state, 120)
