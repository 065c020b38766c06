"""Several tasks on one volume at once. Threads give way a random number of times, so appends, seals
and syncs are under way while everything else goes on."""

import os
from collections.abc import Callable
from itertools import pairwise
from random import Random
from typing import TypeVar

import pytest
import trio

from objfs.base.limits import KIB
from objfs.base.types import AttributeChange, Caller
from objfs.volume.volume import Volume
from tests.model.harness import BUCKET, Harness
from tests.model.operations import content
from tests.model.subject import READ_BYTES

T = TypeVar("T")
ME = Caller(1000, 1000, 0o022)
REGION = 300 * KIB
WRITERS = 4
STEPS = 25


class YieldingThreads:
    """Work is done on the loop, after other tasks had their turns."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        for _ in range(self._random.randrange(1, 8)):
            await trio.lowlevel.checkpoint()
        return function(*arguments)


class Writer:
    """Owns one region of a file that others write to as well. Knows every state it ever had."""

    def __init__(self, harness: Harness, ino: int, number: int, seed: int) -> None:
        self._harness = harness
        self._ino = ino
        self._start = number * REGION
        self._random = Random(seed * 100 + number)
        self.states = [bytes(REGION)]

    async def work(self) -> None:
        """Writes, flushes, syncs, reads, closes; always sees its own bytes."""
        volume, random = self._harness.volume, self._random
        handle = await volume.open(self._ino, os.O_RDWR)
        for _ in range(STEPS):
            self._harness.clock.advance(random.choice((1, 10, 1000)))
            await self._write(volume, handle)
            step = random.randrange(8)
            if step == 0:
                await volume.flush(handle)
            elif step == 1:
                await volume.fsync(self._ino)
            elif step == 2:
                await volume.upkeep()
            elif step == 3:
                await volume.release(handle)
                handle = await volume.open(self._ino, os.O_RDWR)
            elif step == 4:
                await volume.sync()
            await trio.lowlevel.checkpoint()
            data = bytes(await volume.read(handle, self._start, REGION)).ljust(REGION, b"\0")
            assert data == self.states[-1]
        await volume.release(handle)

    async def _write(self, volume: Volume, handle: object) -> None:
        random = self._random
        length = random.choice((1, 100, 5000, 70_000, 200_000))
        offset = random.randrange(REGION - length)
        data = content(random.randrange(1 << 30), length)
        old = self.states[-1]
        new = old[:offset] + data + old[offset + length :]
        if new != old:  # a state is known by its bytes
            self.states.append(new)
        await volume.write(handle, self._start + offset, data)  # type: ignore[arg-type]

    def state_of(self, whole: bytes) -> int:
        """Which of the states a version of the file has in this region."""
        return self.states.index(whole[self._start : self._start + REGION].ljust(REGION, b"\0"))


async def begun(seed: int) -> Harness:
    harness = Harness(seed=seed, segment_bytes=(16 * KIB, 1 << 20)[seed % 2])
    harness.threads = YieldingThreads(seed)  # type: ignore[assignment]
    await harness.make()
    return harness


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
async def test_writers_of_one_file(seed: int) -> None:
    """Each version has, of every writer, a state that it had, and never an older one than the
    version before."""
    harness = await begun(seed)
    volume = harness.volume
    root = volume.root(BUCKET)
    handle, inode = volume.create(root, b"shared", 0o644, os.O_RDWR, ME)
    writers = [Writer(harness, inode.ino, number, seed) for number in range(WRITERS)]
    async with trio.open_nursery() as nursery:
        for writer in writers:
            nursery.start_soon(writer.work)
    await volume.release(handle)
    entries = volume.versions(BUCKET, b"shared")[::-1]
    states = [
        [writer.state_of(whole) for writer in writers]
        for whole in [await version_of(volume, b"shared", entry.version_id) for entry in entries]
    ]
    assert states[-1] == [len(writer.states) - 1 for writer in writers]
    assert all(a <= b for one, next_ in pairwise(states)
               for a, b in zip(one, next_, strict=True))  # fmt: skip
    harness.crash(None)
    volume = harness.open("lost")
    assert (
        await read_all(volume, inode.ino)
        == b"".join(w.states[-1] for w in writers)[: volume.getattr(inode.ino).size]
    )
    await harness.close()


async def version_of(volume: Volume, key: bytes, version_id: str) -> bytes:
    return bytes(await volume.open_version(BUCKET, key, version_id).read(0, READ_BYTES))


async def read_all(volume: Volume, ino: int) -> bytes:
    handle = await volume.open(ino, os.O_RDONLY)
    data = bytes(await volume.read(handle, 0, READ_BYTES))
    await volume.release(handle)
    return data


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
async def test_names_and_sizes_change_while_data_is_on_its_way(seed: int) -> None:
    """A file of each task is written, cut, moved over others and removed while its own flushes
    are under way; in the end every name has what was last put there."""
    harness = await begun(seed)
    volume = harness.volume
    root = volume.root(BUCKET)
    expected: dict[bytes, bytes] = {}

    async def saver(number: int) -> None:
        random = Random(seed * 10 + number)
        for step in range(12):
            temporary, name = b".%d" % number, b"f%d-%d" % (number, random.randrange(2))
            handle, inode = volume.create(root, temporary, 0o644, os.O_RDWR, ME)
            data = content(random.randrange(1 << 30), random.choice((10, 5000, 400_000)))
            await volume.write(handle, 0, data)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(volume.fsync, inode.ino)
                nursery.start_soon(volume.flush, handle)
                if step % 3 == 0:
                    data = data[: random.randrange(len(data))]
                    await volume.setattr(inode.ino, AttributeChange(size=len(data)), handle)
                if step % 4 == 0 and name in expected:
                    await volume.unlink(root, name)
                await volume.rename(root, temporary, root, name)
            expected[name] = data
            await volume.release(handle)
            if step % 5 == 0:
                await volume.checkpoint()

    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(saver, number)
    for survives in (True, False):
        names = {name: inode for name, _, inode in volume.list_directory(root, 0, 100)}
        assert set(names) == set(expected)
        for name, data in expected.items():
            assert await read_all(volume, names[name].ino) == data, (name, survives)
        if survives:
            harness.crash(None)
            volume = harness.open("lost")
    await harness.close()
