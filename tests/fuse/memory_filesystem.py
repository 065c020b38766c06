"""A filesystem in memory that needs no volume: for tests of the waiter.

    python -m tests.fuse.memory_filesystem MOUNTPOINT [lying] [slow]

One directory of files. With `slow`, an open holds the loop up for some milliseconds. With `lying`,
the waiter believes now and then that a request is there when there is none, as it does when a
client is killed at the wrong moment. Prints "ready", and at the end, as JSON, the waiter's
statistics with the names that were looked up and the offsets that were written, in order. To keep
the shim out, load pyfuse3 first.
"""

import errno
import json
import os
import stat
import sys
import time

import trio

from objfs.base.limits import FUSE_WORKERS_IDLE_MAX, FUSE_WORKERS_MAX
from objfs.base.system import SystemClock
from objfs.fuse.waiter import Waiter, install

# Below objfs.fuse, which has to load the shim before this comes into the process.
import pyfuse3  # isort: skip
from pyfuse3 import EntryAttributes, FileInfo, FUSEError, RequestContext  # isort: skip

HOLD_UP_SECONDS = 0.003


class MemoryFilesystem(pyfuse3.Operations):
    """Names to bytes. The handle of a file is its inode number."""

    def __init__(self, slow: bool) -> None:
        super().__init__()
        self._slow = slow
        self._inodes: dict[bytes, int] = {}
        self._data: dict[int, bytearray] = {}
        self.served: list[str | int] = []

    def _attributes(self, inode: int) -> EntryAttributes:
        entry = EntryAttributes()
        entry.st_ino = inode
        entry.st_mode = (stat.S_IFREG if inode in self._data else stat.S_IFDIR) | 0o755
        entry.st_size = len(self._data.get(inode, b""))
        entry.entry_timeout = entry.attr_timeout = 0
        return entry

    async def lookup(self, parent: int, name: bytes, ctx: RequestContext) -> EntryAttributes:
        self.served.append(name.decode())
        if name not in self._inodes:
            raise FUSEError(errno.ENOENT)
        return self._attributes(self._inodes[name])

    async def getattr(self, inode: int, ctx: RequestContext) -> EntryAttributes:
        return self._attributes(inode)

    async def create(
        self, parent: int, name: bytes, mode: int, flags: int, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        inode = self._inodes.setdefault(name, len(self._inodes) + 2)
        self._data[inode] = bytearray()
        return FileInfo(fh=inode), self._attributes(inode)

    async def open(self, inode: int, flags: int, ctx: RequestContext) -> FileInfo:
        if self._slow:
            time.sleep(HOLD_UP_SECONDS)  # noqa: ASYNC251 - holding the loop up is meant
        return FileInfo(fh=inode, direct_io=True)

    async def read(self, fh: int, off: int, size: int) -> bytes:
        await trio.lowlevel.checkpoint()  # other workers go on meanwhile
        return bytes(self._data[fh][off : off + size])

    async def write(self, fh: int, off: int, buf: bytes) -> int:
        self.served.append(off)
        self._data[fh][off : off + len(buf)] = buf
        return len(buf)


def lie(waiter: Waiter) -> None:
    """Let the waiter believe every third time that a request is there."""
    prepare = waiter.lowlevel._prepare
    count = 0

    def prepare_lying(fd: int) -> object:
        honest = prepare(fd)

        def poll(timeout: int) -> list[tuple[int, int]]:
            nonlocal count
            count += 1
            return honest(timeout) or ([(fd, 1)] if count % 3 == 0 else [])

        waiter.lowlevel._poll = poll
        return poll

    waiter.lowlevel._prepare = prepare_lying  # type: ignore[method-assign, assignment]


async def run(mountpoint: str, words: list[str]) -> None:
    """Serve until unmounted."""
    waiter = install(SystemClock())
    if "lying" in words:
        lie(waiter)
    filesystem = MemoryFilesystem("slow" in words)
    pyfuse3.init(filesystem, mountpoint, {"fsname=memory"})
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pyfuse3.main, FUSE_WORKERS_IDLE_MAX, FUSE_WORKERS_MAX)
            await trio.to_thread.run_sync(os.stat, mountpoint)
            print("ready", flush=True)
    finally:
        pyfuse3.close(unmount=False)
    statistics = waiter.statistics()._asdict() | {"served": filesystem.served}
    print(json.dumps(statistics), flush=True)


if __name__ == "__main__":
    trio.run(run, sys.argv[1], sys.argv[2:])
