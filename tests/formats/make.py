"""Makes the golden store of the current format: `python -m tests.formats.make DIRECTORY`.

Run once when a format lands; what it made is never made again. The history has everything that the
format can say: two closed openings and one that was killed, small and large data, compressed and
not, overwritten and cut extents, truncation, names of all types that ended and that go on, past
attributes, extended attributes and an ACL, a restored and shared content, a checkpoint, an orphan
and an unsealed working state.
"""

import os
import stat
import sys
import tomllib
from pathlib import Path
from random import Random

import msgspec
import trio

from objfs.base.settings import Settings
from objfs.base.system import InlineThreads
from objfs.base.types import AttributeChange, Caller
from objfs.meta.sqlite import SqliteEngine
from objfs.store.log import Log
from objfs.store.placement import Placement
from objfs.store.posix import PosixDevice
from objfs.volume.opening import data_references, open_volume
from objfs.volume.volume import Volume
from tests.formats.describe import describe
from tests.model.harness import SeededRandomness, SettableClock
from tests.model.operations import TICK_NS

BUCKET = "main"
STORE = "6f626a66-7320-676f-6c64-656e00000001"
STORE_ID = bytes.fromhex(STORE.replace("-", ""))
ME = Caller(uid=1000, gid=1000, umask=0o022)
MINUTE_TICKS = 60_000_000_000 // TICK_NS
random = Random(1)


class Maker:
    """One store, opened again and again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = SettableClock()
        self.randomness = SeededRandomness(7)
        self.volume: Volume

    def open(self) -> Volume:
        segments = self.directory / "segments"
        segments.mkdir(exist_ok=True)
        index = self.directory / "index"
        index.mkdir(exist_ok=True)
        settings = Settings(segment_bytes=1 << 20)
        log = Log.open(
            Placement(PosixDevice(segments)),
            store_id=STORE_ID,
            settings=settings,
            clock=self.clock,
            randomness=self.randomness,
            threads=InlineThreads(),
            references=data_references,
        )
        self.volume = open_volume(
            log,
            SqliteEngine(index, STORE_ID),
            clock=self.clock,
            threads=InlineThreads(),
            settings=settings,
        )
        return self.volume

    async def put(self, parent: int, name: bytes, data: bytes) -> int:
        self.clock.advance()
        volume = self.volume
        if any(name == entry[0] for entry in volume.list_directory(parent, 0, 1000)):
            ino = volume.lookup(parent, name).ino
            handle = await volume.open(ino, os.O_RDWR | os.O_TRUNC)
        else:
            handle, _ = volume.create(parent, name, 0o644, os.O_RDWR, ME)
        await volume.write(handle, 0, data)
        await volume.flush(handle)
        await volume.release(handle)
        return handle.ino

    async def change(self, ino: int, offset: int, data: bytes) -> None:
        self.clock.advance()
        handle = await self.volume.open(ino, os.O_RDWR)
        await self.volume.write(handle, offset, data)
        await self.volume.flush(handle)
        await self.volume.release(handle)


async def make(directory: Path) -> None:
    maker = Maker(directory)
    volume = maker.open()
    root = volume.create_bucket(BUCKET).root
    volume.create_bucket("second-bucket", versioning="suspended", quota_bytes=1 << 30)
    await first_opening(maker, volume, root)
    await volume.close()
    maker.clock.advance(MINUTE_TICKS)
    volume = maker.open()
    await second_opening(maker, volume, root)
    await volume.checkpoint()
    await volume.rename(root, b"text", root, b"renamed text")
    await volume.close()
    maker.clock.advance(MINUTE_TICKS)
    volume = maker.open()
    await killed_opening(maker, volume, root)


async def first_opening(maker: Maker, volume: Volume, root: int) -> None:
    docs = volume.mkdir(root, b"docs", 0o2775, ME).ino
    text = b"".join(b"line %d of a text that packs well\n" % number for number in range(9000))
    await maker.put(root, b"text", text)
    noise = await maker.put(root, b"noise", random.randbytes(150_000))
    small = await maker.put(docs, b"small", b"small")
    await maker.change(noise, 70_000, b"in the middle")
    await maker.change(small, 3, b"ller")
    volume.link(small, root, b"hard link")
    volume.symlink(docs, b"symlink", b"../noise", ME)
    volume.mknod(root, b"fifo", stat.S_IFIFO | 0o600, 0, ME)
    volume.mknod(root, b"device", stat.S_IFCHR | 0o600, os.makedev(1, 3), ME)
    volume.setxattr(small, b"user.colour", b"blue\0green")
    volume.setxattr(docs, b"user.kind", b"documents")
    await volume.setattr(noise, AttributeChange(mode=0o600, uid=7, gid=8, mtime_ns=-5))


async def second_opening(maker: Maker, volume: Volume, root: int) -> None:
    docs = volume.lookup(root, b"docs").ino
    noise = volume.lookup(root, b"noise").ino
    small = volume.lookup(root, b"hard link").ino
    await volume.setattr(small, AttributeChange(mode=0o640))
    volume.setxattr(small, b"user.colour", b"red")
    await volume.setattr(noise, AttributeChange(size=100_000))
    await volume.setattr(noise, AttributeChange(size=400_000))
    await maker.put(root, b".noise.tmp", random.randbytes(3000))
    await volume.rename(root, b".noise.tmp", root, b"noise")
    oldest = volume.versions(BUCKET, b"noise")[-1].version_id
    await volume.restore(BUCKET, b"noise", oldest, (BUCKET, b"docs/old noise"))
    maker.clock.advance()
    await maker.change(volume.lookup(docs, b"old noise").ino, 5, b"no longer shared")
    gone = volume.mkdir(root, b"gone", 0o755, ME).ino
    await maker.put(gone, b"file", b"deleted with its directory")
    await volume.unlink(gone, b"file")
    volume.rmdir(root, b"gone")
    await volume.rename(root, b"docs", root, b"papers")
    await maker.put(root, os.fsdecode(b"n\xff strange\n").encode("utf-8", "surrogateescape"), b"s")


async def killed_opening(maker: Maker, volume: Volume, root: int) -> None:
    await maker.put(root, b"closed", b"closed before the kill")
    orphan, _ = volume.create(root, b"orphan", 0o600, os.O_RDWR, ME)
    await volume.write(orphan, 0, b"no name")
    await volume.unlink(root, b"orphan")
    unsealed, _ = volume.create(root, b"unsealed", 0o600, os.O_RDWR, ME)
    await volume.write(unsealed, 0, b"synced, not closed")
    await volume.fsync(unsealed.ino)
    lost, _ = volume.create(root, b"never written", 0o600, os.O_RDWR, ME)
    await volume.write(lost, 0, b"in memory only")


def main() -> None:
    directory = Path(sys.argv[1])
    directory.mkdir()
    description = f'format = 1\nstore = "{STORE}"\ncreated = 2023-11-14T22:13:20Z\n'
    assert tomllib.loads(description)
    (directory / "objfs.toml").write_text(description)
    trio.run(make, directory)
    for path in (directory / "index").iterdir():
        path.unlink()
    (directory / "index").rmdir()
    expected = trio.run(describe, directory)
    form = msgspec.json.format(msgspec.json.encode(expected), indent=1)
    (directory / "expected.json").write_bytes(form + b"\n")


if __name__ == "__main__":
    main()
