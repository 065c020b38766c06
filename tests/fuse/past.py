"""Operations over a volume in memory in which time passes: for tests of views of the past."""

import os

from msgspec.structs import replace

from objfs.base.limits import AMEND_NS
from objfs.base.types import Caller
from objfs.fuse.operations import ROOT_ID, Operations
from objfs.fuse.views import VIEW_BIT
from objfs.volume.volume import Inode
from tests.model.operations import TICK_NS
from tests.volume.store import Store

ROOT = Caller(0, 0, 0o022)
OWNER = Caller(1000, 1000, 0o022)
OTHER_USER = Caller(2000, 2000, 0o022)
LONG = 2 * AMEND_NS // TICK_NS


class Past:
    """A store with operations over it, and time that passes."""

    def __init__(self, store: Store, do: Operations) -> None:
        self.store = store
        self.do = do

    def moment(self) -> bytes:
        """A name for now. Time passes before and after."""
        self.store.clock.advance(LONG)
        seconds, rest_ns = divmod(self.store.clock.now_ns(), 10**9)
        self.store.clock.advance(LONG)
        return b"@%d.%09d" % (seconds, rest_ns)

    def find(self, path: bytes, caller: Caller = ROOT) -> Inode:
        inode = self.do.getattr(ROOT_ID)
        for name in path.split(b"/"):
            id = self.do.id_of(inode.ino)
            if id & VIEW_BIT:
                inode = self.do.lookup_past(id, name, caller).inode
            else:
                found = self.do.lookup(id, name)
                assert found is not None, name
                inode = found
        return inode

    async def names(self, path: bytes, caller: Caller = ROOT) -> list[bytes]:
        return [name for name, _, _ in await self.entries(path, caller)]

    async def entries(
        self, path: bytes, caller: Caller = ROOT, start: int = 2
    ) -> list[tuple[bytes, Inode, float]]:
        fh = self.do.opendir_past(self.find(path, caller).ino, caller)
        found: list[tuple[bytes, Inode, float]] = []

        def give(name: bytes, cookie: int, id: int, inode: Inode, seconds: float) -> bool:
            found.append((name, replace(inode, ino=id), seconds))
            return True

        await self.do.views.readdir(fh, start, give)
        self.do.releasedir(fh)
        return found

    async def read(self, path: bytes, caller: Caller = ROOT) -> bytes:
        fh = await self.do.open(self.find(path, caller).ino, os.O_RDONLY, caller)
        data = self.do.read_nowait(fh, 0, 1 << 20)
        if data is None:
            data = await self.do.read(fh, 0, 1 << 20)
        await self.do.flush(fh)
        await self.do.fsync(fh)
        await self.do.release(fh)
        return bytes(data)
