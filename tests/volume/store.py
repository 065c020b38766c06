"""A volume in memory and the few steps that most tests of it begin with."""

import os

from objfs.base.types import Caller
from objfs.volume.volume import Handle, Volume
from tests.model.harness import BUCKET, Harness

ME = Caller(uid=1000, gid=1000, umask=0o022)


class Store(Harness):
    """A harness with files by name in the root of its bucket."""

    def __init__(self) -> None:
        super().__init__(segment_bytes=1 << 20)

    def again(self) -> Volume:
        """Open what the last crash or close left, with no faults."""
        return self.open()

    @property
    def root(self) -> int:
        return self.volume.root(BUCKET)

    def create(self, name: str, parent: int | None = None) -> Handle:
        handle, _ = self.volume.create(
            self.root if parent is None else parent, name.encode(), 0o644, os.O_RDWR, ME
        )
        return handle

    async def close_handle(self, handle: Handle) -> None:
        await self.volume.flush(handle)
        await self.volume.release(handle)

    async def put(self, name: str, data: bytes, parent: int | None = None) -> int:
        """Write a whole file, new or not. Returns its inode number."""
        directory = self.root if parent is None else parent
        if name.encode() in self.names(directory):
            ino = self.volume.lookup(directory, name.encode()).ino
            handle = await self.volume.open(ino, os.O_RDWR | os.O_TRUNC)
        else:
            handle = self.create(name, directory)
        await self.volume.write(handle, 0, data)
        await self.close_handle(handle)
        return handle.ino

    async def get(self, name: str, parent: int | None = None) -> bytes:
        """Read a whole file."""
        directory = self.root if parent is None else parent
        inode = self.volume.lookup(directory, name.encode())
        handle = await self.volume.open(inode.ino, os.O_RDONLY)
        data = bytes(await self.volume.read(handle, 0, inode.size + 10))
        await self.volume.release(handle)
        return data

    def names(self, directory: int | None = None) -> list[bytes]:
        ino = self.root if directory is None else directory
        return [name for name, _, _ in self.volume.list_directory(ino, 0, 1000)]

    async def history(self, name: str) -> list[bytes | None]:
        """The contents of the versions of a path, newest first; None for a delete."""
        contents: list[bytes | None] = []
        for entry in self.volume.versions(BUCKET, name.encode()):
            if entry.deleted:
                contents.append(None)
                continue
            past = self.volume.open_version(BUCKET, name.encode(), entry.version_id)
            contents.append(bytes(await past.read(0, past.size)))
        return contents
