"""A body: the bytes of an object on their way in, hashed and appended as they come.

What always holds:

- Bytes are in `_buffers`, on their way to the log (at most BODY_CHUNKS_MAX chunks), or in the log.
  All that is in memory counts as dirty; over the bound of dirty bytes, `write` waits.
- What is small, less than the journal takes inline, is appended in the change that gives it a name:
  one META, and nothing before it. From the first chunk on, there is an inode without a name whose
  content the bytes are; its row in `orphan` lets the next opening remove it. Each chunk is in its
  extents as soon as it is appended, so compaction never waits for a slow client.
- The change that gives the bytes a name removes that inode: the named one is born in it.
"""

import stat
from typing import NamedTuple

import trio

from objfs.base import limits
from objfs.base.errors import (
    BadHandle,
    FileTooLarge,
    ObjfsError,
    StorageError,
    first_error,
)
from objfs.base.types import Stored
from objfs.meta.database import Change
from objfs.meta.rows import Orphan, Unsealed, new_inode
from objfs.meta.tables import INODE, ORPHAN, UNSEALED
from objfs.volume.content import end_orphan
from objfs.volume.core import Core
from objfs.volume.digests import Digests
from objfs.volume.dirty import Buffer
from objfs.volume.extents import from_stored
from objfs.volume.purging import purge_unreachable

_HASHED_INLINE_BYTES = 32 * limits.KIB  # hashing more takes longer than going to a thread


class Taken(NamedTuple):
    """Bytes that a change took up, for an inode to have."""

    content: int
    content_at: int  # 0: they are nobody else's
    size: int
    allocated: int


class Body:
    """The bytes of one object or part. Used by one task."""

    def __init__(self, core: Core, bucket: int, algorithms: tuple[str, ...] = ()) -> None:
        self._core = core
        self._bucket = bucket
        self.digests = Digests(algorithms)
        self.size = 0
        self._buffers: list[Buffer] = []
        self._held = 0  # bytes in `_buffers`
        self._ino = 0  # of the inode without a name; its content has the same number
        self._in_flight = 0
        self._moved = trio.Event()  # set and replaced when a chunk is done
        self._hashed = trio.Event()  # all chunks before the next one are hashed
        self._hashed.set()
        self._error: ObjfsError | None = None
        self._stored: list[Stored] = []  # in the log, and in no extents yet
        self._ended = False

    async def write(self, data: Buffer, *, owned: bool = False) -> None:
        """Add bytes. They are copied, unless the caller gives them away (`owned`). Waits while too
        much is dirty. NoSpace, StorageError, FileTooLarge."""
        core, size = self._core, len(data)
        if self._ended:
            raise BadHandle("the body has ended")
        self._check()
        if self.size + size > limits.FILE_BYTES_MAX:
            raise FileTooLarge(f"an object ends at {limits.FILE_BYTES_MAX} bytes at most")
        core.admit(size)
        if core.quotas:
            core.check_quota(self._bucket, size)
        self._buffers.append(data if owned or isinstance(data, bytes) else bytes(data))
        self._held += size
        self.size += size
        core.dirty_bytes += size
        core.active.set()
        while self._held >= limits.BODY_CHUNK_BYTES:
            await self._send()
        if core.dirty_bytes > core.settings.dirty_bytes:
            if self._held >= limits.INLINE_DATA_BYTES_MAX:
                await self._send()
            await self._wait_in_flight(0)
        await trio.lowlevel.checkpoint()

    def _check(self) -> None:
        self._core.check_writable()
        if self._error is not None:
            raise self._error

    # --- chunks ----------------------------------------------------------------------------------

    def _take_chunk(self) -> tuple[int, list[Buffer]]:
        """The first bytes that are held, at most a chunk: (offset, buffers)."""
        offset, room = self.size - self._held, limits.BODY_CHUNK_BYTES
        chunk: list[Buffer] = []
        while room and self._buffers:
            first = self._buffers[0]
            if len(first) <= room:
                chunk.append(self._buffers.pop(0))
            else:
                view = memoryview(first)
                chunk.append(view[:room])
                self._buffers[0] = view[room:]
            room -= len(chunk[-1])
            self._held -= len(chunk[-1])
        return offset, chunk

    async def _send(self) -> None:
        """Let a chunk go to the log, in the background while there is one."""
        await self._wait_in_flight(limits.BODY_CHUNKS_MAX - 1)
        if not self._ino:
            self._begin()
        offset, chunk = self._take_chunk()
        before, self._hashed = self._hashed, trio.Event()
        self._in_flight += 1
        spawn = self._core.spawn
        if spawn is not None:
            spawn(self._store_chunk, offset, chunk, before, self._hashed)
        else:
            await self._store_chunk(offset, chunk, before, self._hashed)
            self._check()

    async def _wait_in_flight(self, most: int) -> None:
        """Wait until at most that many chunks are on their way. Raises what went wrong."""
        while self._in_flight > most:
            await self._moved.wait()
        self._check()

    def _begin(self) -> None:
        """Make the inode without a name."""
        with self._core.change() as change:
            ino = change.new_id()
            change.put(
                new_inode(
                    ino,
                    self._bucket,
                    stat.S_IFREG,
                    change.time_ns,
                    change.sequence,
                    nlink=0,
                    content=ino,
                )
            )
            change.put(Orphan(ino, change.sequence))
            change.put(Unsealed(ino, change.sequence))  # it has bytes that nobody sees
        self._ino = ino
        self._core.building.add(ino)

    async def _store_chunk(
        self, offset: int, chunk: list[Buffer], before: trio.Event, hashed: trio.Event
    ) -> None:
        """Hash and append a chunk, put it into the extents. The writer meets a failure later."""
        core = self._core
        try:
            with core.appending():
                stored = await self._append(offset, chunk, before, hashed)
                with core.change() as change:
                    for each in stored:
                        change.put(from_stored(self._ino, each, change.sequence))
        except ObjfsError as error:
            self._error = self._error or error
        except BaseException:
            self._error = self._error or StorageError("a chunk was not written: objfs ends")
            raise
        finally:
            hashed.set()
            core.dirty_bytes -= sum(map(len, chunk))
            self._in_flight -= 1
            self._moved.set()
            self._moved = trio.Event()

    async def _append(
        self, offset: int, chunk: list[Buffer], before: trio.Event, hashed: trio.Event
    ) -> list[Stored]:
        """Hash and append side by side; chunks are hashed in their order."""

        async def hash_chunk() -> None:
            await before.wait()
            await self._core.threads.run(self.digests.update, chunk)
            hashed.set()

        stored: list[Stored] = []
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(hash_chunk)
                stored = await self._core.log.append_large(self._ino, offset, chunk)
        except BaseExceptionGroup as group:
            errors, rest = group.split(ObjfsError)
            if errors is None or rest is not None:
                raise
            raise first_error(errors) from None
        return stored

    # --- the end ---------------------------------------------------------------------------------

    async def end(self) -> None:
        """All bytes came: they are hashed, and in the log but for what is small. The caller is
        inside `Core.appending`, and takes them up soon. StorageError, NoSpace."""
        if self._ended:
            return
        await self._wait_in_flight(0)
        self._ended = True
        if self._held >= limits.INLINE_DATA_BYTES_MAX:
            if not self._ino:
                self._begin()
            offset, chunk = self._take_chunk()
            assert not self._buffers
            before, self._hashed = self._hashed, trio.Event()
            try:
                self._stored = await self._append(offset, chunk, before, self._hashed)
            finally:
                self._core.dirty_bytes -= sum(map(len, chunk))
        elif self._held > _HASHED_INLINE_BYTES:
            await self._core.threads.run(self.digests.update, self._buffers)
        else:
            self.digests.update(self._buffers)

    def take(self, change: Change, ino: int) -> Taken:
        """Give the bytes to the inode `ino`, which the change makes. If the change does not happen,
        nothing was taken. NoSpace, StorageError."""
        assert self._ended
        content = self._ino or ino
        stored = self._stored
        if self._held:
            data = self._buffers[0] if len(self._buffers) == 1 else b"".join(self._buffers)
            offset = self.size - self._held
            stored = [*stored, self._core.log.append_data(content, offset, data)]
        for each in stored:
            change.put(from_stored(content, each, change.sequence))
        if self._ino:
            for table in (INODE, ORPHAN, UNSEALED):
                change.delete(table, self._ino)
        return Taken(content, 0, self.size, self.size)

    def taken(self) -> None:
        """The change that took the bytes has happened."""
        self._core.building.discard(self._ino)
        self._ino = 0
        self._let_go()

    def _let_go(self) -> None:
        self._core.dirty_bytes -= self._held
        self._held = 0
        self._buffers = []
        self._stored = []

    async def abort(self) -> None:
        """Give up: nothing is left of the bytes. To be called once the body is not wanted; after
        `taken` it does nothing. What a failing device keeps goes at the next opening."""
        self._ended = True
        if self._in_flight:
            with trio.CancelScope(shield=True):
                while self._in_flight:
                    await self._moved.wait()
        self._let_go()
        ino, self._ino = self._ino, 0
        if ino and self._core.log.failed is None:
            self._core.freeing(lambda: end_orphan(self._core, ino))
            self._core.freeing(lambda: purge_unreachable(self._core, ino))
        self._core.building.discard(ino)
