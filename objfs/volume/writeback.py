"""Write-back: from bytes in memory to records in the log, and from those to versions.

What always holds:

- A piece of dirty data is in `dirty`, in `flushing` or in the log; it leaves one only when it is in
  the next. A failed append or change puts it back, so nothing accepted is dropped.
- DATA is appended before the META whose rows refer to it (`objfs/volume/commits.py`).
- While `lock` is held, size and extents belong to the flush. Whoever changes them waits.
- A *seal* makes the working state a version. It takes everything dirty; what is written while its
  appends are under way belongs to the next one.

Small working states are written inline, with no task switch: that is the common case of a file
copied in. Large ones go through threads, several records at a time.
"""

import logging

import trio
from msgspec.structs import replace

from objfs.base import limits
from objfs.base.errors import BadHandle, FileTooLarge, NoSpace, ObjfsError, first_error
from objfs.base.types import Stored
from objfs.meta.rows import Inode, Purge, Unsealed
from objfs.volume.commits import Commits
from objfs.volume.content import end_orphan, purge_content
from objfs.volume.core import Core
from objfs.volume.dirty import Buffer, DirtyBuffer
from objfs.volume.handles import Handle, OpenInode
from objfs.volume.inodes import put_state
from objfs.volume.purging import purge_unreachable
from objfs.volume.sharing import unshare
from objfs.volume.unseen import has_unseen_extents, sweep_without_version

logger = logging.getLogger(__name__)
_SCHEDULE_BYTES = limits.LARGE_RECORD_BYTES
_SMALL_BYTES = limits.INLINE_DATA_BYTES_MAX  # what is dirty of a file that is written inline


class Writeback:
    """Writing, flushing, sealing and truncating."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._commits = Commits(core)
        self._room = trio.Event()  # set and replaced whenever dirty bytes went
        self._waiting = 0  # writers that wait for room
        self._flush_error: ObjfsError | None = None

    # --- writing -----------------------------------------------------------------------------

    def write_nowait(self, handle: Handle, offset: int, data: Buffer) -> bool:
        """Take `data` up if no waiting is needed. False: call `write`."""
        core = self._core
        size = len(data)
        opened = handle.open_inode
        if self._over(opened, size):
            return False
        if handle.closed:
            raise BadHandle("the handle is closed")
        core.check_writable()
        end = offset + size
        if end > limits.FILE_BYTES_MAX:
            raise FileTooLarge(f"a file ends at {limits.FILE_BYTES_MAX} bytes at most")
        core.admit(size)
        if core.quotas:
            core.check_quota(opened.bucket, size)
        core.active.set()
        if not opened.dirty_since:
            opened.dirty_since = core.clock.monotonic()
        before = opened.dirty.bytes
        opened.dirty.write(offset, data)
        core.dirty_bytes += opened.dirty.bytes - before
        opened.changed = True
        opened.size = max(opened.size, end)
        if not core.kernel_owns_times:
            opened.mtime_ns = opened.ctime_ns = core.clock.now_ns()
        if opened.dirty.bytes >= _SCHEDULE_BYTES and not opened.flush_scheduled:
            self._schedule(opened)
        return True

    async def write(self, handle: Handle, offset: int, data: Buffer) -> int:
        """Take `data` up; waits while too much is dirty. Returns its length."""
        while not self.write_nowait(handle, offset, data):
            await self._make_room(handle.open_inode)
        return len(data)

    def _over(self, opened: OpenInode, size: int) -> bool:
        """Whether `size` more bytes are too many. An empty buffer takes any. The last eighth of
        the bound is for small files: they do not wait for a large one that is copied in."""
        core, dirty = self._core, opened.dirty.bytes
        bound = core.settings.dirty_bytes
        if dirty + size > _SMALL_BYTES:
            bound -= bound >> 3
        return (core.dirty_bytes > 0 and core.dirty_bytes + size > bound) or (
            dirty > 0 and dirty + size > 4 * _SCHEDULE_BYTES
        )

    def _schedule(self, opened: OpenInode) -> None:
        if self._core.spawn is not None:
            opened.flush_scheduled = True
            self._core.spawn(self._flush_in_background, opened)

    async def _make_room(self, wanted: OpenInode) -> None:
        """Wait until some dirty bytes went. Raises what keeps them from going."""
        core = self._core
        victim = wanted
        if wanted.dirty.bytes < _SCHEDULE_BYTES:
            victim = max(core.open_inodes.values(), key=lambda each: each.dirty.bytes)
        if core.spawn is None:
            await self.flush_data(victim)
            return
        room = self._room
        if not victim.flush_scheduled and victim.dirty:
            self._schedule(victim)
        self._waiting += 1
        try:
            await room.wait()
        finally:
            self._waiting -= 1
        if self._flush_error is not None:
            error, self._flush_error = self._flush_error, None
            raise error

    def _account(self, gone: int) -> None:
        self._core.dirty_bytes -= gone
        self._wake()

    def _wake(self) -> None:
        self._room.set()
        self._room = trio.Event()

    async def _flush_in_background(self, opened: OpenInode) -> None:
        try:
            half = self._core.settings.dirty_bytes // 2
            while opened.dirty and (
                self._waiting
                or opened.dirty.bytes >= _SCHEDULE_BYTES
                or self._core.dirty_bytes > half
            ):
                await self.flush_data(opened)
        except ObjfsError as error:
            # The data stays dirty; whoever waits for room, flushes or syncs is told.
            self._flush_error = error
            self._wake()
            logger.error("writing inode %d back failed: %s", opened.ino, error)
        except Exception:
            logger.exception("writing inode %d back failed", opened.ino)
        finally:
            opened.flush_scheduled = False

    # --- flushing: dirty bytes to the log ------------------------------------------------------

    async def flush_data(
        self, opened: OpenInode, limit: int | None = limits.FLUSH_BATCH_BYTES
    ) -> None:
        """Log the working state: dirty bytes (about `limit` of them), size, times. Makes no
        version."""
        async with opened.flush_lock():
            if opened.gone or (not opened.dirty and not self._unlogged(opened)):
                return  # another flush or seal came first
            opened.flush_seal = None
            if opened.dirty:
                await unshare(self._core, opened)
            await self._flush_locked(opened, limit, seal=False)

    async def seal(self, opened: OpenInode, *, by_flush: bool = False) -> None:
        """Make the working state a version, if it is not one."""
        if opened.gone or (not opened.changed and not opened.busy):
            return
        if self._seal_inline(opened, by_flush):
            return
        async with opened.flush_lock():
            if opened.changed and not opened.gone:
                if opened.dirty:
                    await unshare(self._core, opened)
                await self._flush_locked(opened, None, seal=True, by_flush=by_flush)

    def _seal_inline(self, opened: OpenInode, by_flush: bool) -> bool:
        """Seal a small working state with no task switch. False when it has to wait."""
        core = self._core
        if opened.busy or opened.dirty.bytes >= limits.INLINE_DATA_BYTES_MAX:
            return False
        row = core.row(opened.ino)
        if row.content_at and opened.dirty:
            return False
        if row.nlink == 0:
            return True  # nobody will see a version of it
        core.check_writable()
        self.finish_purge(opened)
        size, dirty = opened.size, opened.dirty
        core.freeing(lambda: self._write_inline(opened, row.content, dirty, size, by_flush))
        opened.dirty = DirtyBuffer()
        self._account(dirty.bytes)
        self._sealed(opened)
        return True

    def _write_inline(
        self, opened: OpenInode, content: int, dirty: DirtyBuffer, size: int, by_flush: bool
    ) -> None:
        stored = [
            self._core.log.append_data(
                content, offset, buffers[0] if len(buffers) == 1 else b"".join(buffers)
            )
            for offset, buffers in dirty.runs(limits.INLINE_DATA_BYTES_MAX)
        ]
        self._commits.commit(opened, content, stored, size, seal=True, by_flush=by_flush)

    def _sealed(self, opened: OpenInode) -> None:
        """The working state is a version, but for what was written meanwhile."""
        opened.opened_at = self._core.clock.monotonic()
        opened.logged = False
        self._logged_all(opened)
        if not opened.dirty:
            opened.changed = False

    def _logged_all(self, opened: OpenInode) -> None:
        if opened.dirty:
            opened.dirty_since = self._core.clock.monotonic()
            return
        opened.dirty_since = 0.0
        opened.atime_ns = opened.mtime_ns = opened.ctime_ns = None

    async def _flush_locked(
        self, opened: OpenInode, limit: int | None, *, seal: bool, by_flush: bool = False
    ) -> None:
        """Append what is dirty, at most about `limit` bytes, and commit it."""
        core = self._core
        self.finish_purge(opened)
        row = core.row(opened.ino)
        seal = seal and row.nlink > 0
        taken = opened.dirty.take(opened.dirty.bytes if limit is None else limit)
        size = None if opened.dirty else opened.size
        opened.flushing = taken
        try:
            with core.appending():
                stored = await self._append(row.content, taken)
                core.freeing(
                    lambda: self._commits.commit(
                        opened, row.content, stored, size, seal=seal, by_flush=by_flush
                    )
                )
        except BaseException:
            held = opened.dirty.bytes + taken.bytes
            opened.flushing = None
            opened.dirty.give_back(taken)
            self._account(held - opened.dirty.bytes)  # what was written again meanwhile
            raise
        opened.flushing = None
        self._account(taken.bytes)
        if seal:
            self._sealed(opened)
        else:
            opened.logged = True
            self._logged_all(opened)

    async def _append(self, content: int, taken: DirtyBuffer) -> list[Stored]:
        """Append the pieces: small ones inline, large ones in threads, side by side."""
        stored: list[Stored] = []

        async def append_large(offset: int, buffers: list[Buffer]) -> None:
            stored.extend(await self._with_reserve(content, offset, buffers))

        try:
            async with trio.open_nursery() as nursery:
                for offset, buffers in taken.runs(limits.LARGE_RECORD_BYTES):
                    if sum(map(len, buffers)) >= limits.INLINE_DATA_BYTES_MAX:
                        nursery.start_soon(append_large, offset, buffers)
                    else:
                        data = buffers[0] if len(buffers) == 1 else b"".join(buffers)
                        stored.append(self._append_small(content, offset, data))
        except BaseExceptionGroup as group:
            errors, rest = group.split(ObjfsError)
            if errors is None or rest is not None:
                raise
            raise first_error(errors) from None
        stored.sort()
        return stored

    def _append_small(self, content: int, offset: int, data: Buffer) -> Stored:
        stored: Stored = self._core.freeing(
            lambda: self._core.log.append_data(content, offset, data)
        )
        return stored

    async def _with_reserve(self, content: int, offset: int, buffers: list[Buffer]) -> list[Stored]:
        """What was accepted must reach the log: on a full device the reserve is used."""
        try:
            return await self._core.log.append_large(content, offset, buffers)
        except NoSpace:
            if not self._core.give_reserve():
                raise
            return await self._core.log.append_large(content, offset, buffers)

    # --- truncating ----------------------------------------------------------------------------

    async def truncate(self, opened: OpenInode, size: int) -> None:
        """Set the working size. What is cut off stays readable in the versions that saw it."""
        if not 0 <= size <= limits.FILE_BYTES_MAX:
            raise FileTooLarge(f"a file ends at {limits.FILE_BYTES_MAX} bytes at most")
        core = self._core
        core.check_writable()
        if opened.busy or core.row(opened.ino).content_at:
            async with opened.flush_lock():
                await self._truncate_locked(opened, size)
        else:
            self._truncate_now(opened, size)

    async def _truncate_locked(self, opened: OpenInode, size: int) -> None:
        row = self._core.row(opened.ino)
        if row.content_at and 0 < size < row.size:
            await unshare(self._core, opened)
        self._truncate_now(opened, size)

    def _truncate_now(self, opened: OpenInode, size: int) -> None:
        core = self._core
        self.finish_purge(opened)
        row = core.row(opened.ino)
        purge: Purge | None = None
        if size < row.size:
            purge = core.freeing(lambda: self._log_truncation(opened, row, size))
        before = opened.dirty.bytes
        opened.dirty.discard(size)
        self._account(before - opened.dirty.bytes)
        opened.size = size
        opened.changed = True
        if not core.kernel_owns_times:
            opened.mtime_ns = opened.ctime_ns = core.clock.now_ns()
        if purge is not None:
            self._begin_purge(opened, purge)

    def _log_truncation(self, opened: OpenInode, row: Inode, size: int) -> Purge | None:
        """The truncation itself, O(1): to nothing with a new content, else with the new size. What
        is beyond it is purged in batches. Returns the purge, if there is anything to do."""
        core = self._core
        opened.flush_seal = None
        opened.forget_extents()
        purge: Purge | None = None
        with core.change() as change:
            if size == 0:
                new = replace(row, size=0, allocated=0, content=change.new_id(), content_at=0)
                sweep_without_version(change, row)
                if has_unseen_extents(change, row):
                    purge = Purge(row.content, 0, row.sealed)
            else:
                new = replace(row, size=size)
                if row.allocated:
                    purge = Purge(row.content, size, row.sealed, row.ino)
            if purge is not None:
                change.put(purge)
            of_version = row.sealed > 0 and not opened.logged
            if not opened.logged:
                change.put(Unsealed(row.ino, change.sequence))
            put_state(core, change, row, new, of_version=of_version)
        opened.logged = True
        return purge

    def _begin_purge(self, opened: OpenInode, purge: Purge) -> None:
        """The truncation has happened; if its purge fails, it is taken up again before the content
        changes (`finish_purge`), or by the next opening."""
        if purge.ino:
            opened.purging = purge.content
        try:
            self._core.freeing(lambda: purge_content(self._core, purge.content))
            opened.purging = 0
        except ObjfsError as error:
            logger.error("cutting inode %d goes on later: %s", opened.ino, error)

    def finish_purge(self, opened: OpenInode) -> None:
        """End a purge that failed before: its extents are in the way of new ones."""
        if opened.purging:
            self._core.freeing(lambda: purge_content(self._core, opened.purging))
            opened.purging = 0
            opened.forget_extents()

    # --- the life of a handle --------------------------------------------------------------------

    async def flush(self, handle: Handle) -> None:
        """close(2) of one descriptor: data and version are in the log when it returns."""
        opened = handle.open_inode
        if opened.changed or opened.busy:
            await self.seal(opened, by_flush=True)

    async def release(self, handle: Handle) -> None:
        """The last descriptor of a handle is gone."""
        if handle.closed:
            return
        handle.closed = True
        handle.ahead.clear()
        opened = handle.open_inode
        opened.handles -= 1
        if opened.handles == 0:
            await self.let_go(opened)

    async def let_go(self, opened: OpenInode) -> None:
        """Nobody holds the inode: seal it, or end it if it has no name. If the log cannot take
        it, it stays, and the periodic flush tries again."""
        if opened.gone or not self._registered(opened):
            return
        if self._core.row(opened.ino).nlink == 0:
            await self._end_orphan(opened)
            return
        await self.seal(opened, by_flush=True)
        if opened.handles == 0 and not opened.changed and self._registered(opened):
            del self._core.open_inodes[opened.ino]

    def _registered(self, opened: OpenInode) -> bool:
        """Whether it still is the open inode: after a wait, another may have its place."""
        return self._core.open_inodes.get(opened.ino) is opened

    async def _end_orphan(self, opened: OpenInode) -> None:
        async with opened.flush_lock():
            if opened.handles > 0 or opened.gone or not self._registered(opened):
                return
            self._account(opened.dirty.bytes)
            opened.dirty = DirtyBuffer()
            self._core.freeing(lambda: end_orphan(self._core, opened.ino))
            self._core.freeing(lambda: purge_unreachable(self._core, opened.ino))
            del self._core.open_inodes[opened.ino]
            opened.gone = True
            opened.changed = False
            opened.dirty_since = 0.0

    def must_seal(self, ino: int) -> bool:
        """Whether an inode has working state that its name must not go without."""
        opened = self._core.open_inodes.get(ino)
        return opened is not None and opened.changed

    async def seal_displaced(self, ino: int) -> None:
        """Before the name of an inode goes: what was written under it becomes a version."""
        opened = self._core.open_inodes.get(ino)
        if opened is not None and opened.changed:
            await self.seal(opened)

    async def fsync(self, ino: int) -> None:
        """Everything written to the inode so far is durable, with everything logged before."""
        await self.flush_for_sync(ino)
        await self._core.log.sync()

    async def flush_for_sync(self, ino: int) -> None:
        """Everything written to the inode so far is in the log, about to be promised durable."""
        opened = self._core.open_inodes.get(ino)
        if opened is None:
            return
        if opened.busy:
            async with opened.flush_lock():
                pass
        if not opened.gone and (opened.dirty or self._unlogged(opened)):
            await self.flush_data(opened, None)
        opened.flush_seal = None  # what was promised durable is not replaced

    def _unlogged(self, opened: OpenInode) -> bool:
        """Whether size or times of the working state are in memory only."""
        if not opened.changed:
            return False
        times = (opened.atime_ns, opened.mtime_ns, opened.ctime_ns)
        return any(each is not None for each in times) or (
            opened.size != self._core.row(opened.ino).size
        )

    async def seal_all(self) -> None:
        """Seal every open inode; the first error is raised after all were tried."""
        failed: ObjfsError | None = None
        for opened in list(self._core.open_inodes.values()):
            try:
                await self.seal(opened)
                if opened.handles == 0:
                    await self.let_go(opened)
            except ObjfsError as error:
                failed = failed or error
        if failed is not None:
            raise failed

    async def flush_old(self, before: float) -> None:
        """Log what has been dirty since before the monotonic time `before`."""
        for opened in list(self._core.open_inodes.values()):
            if opened.dirty_since and opened.dirty_since <= before:
                await self.flush_data(opened)
            if opened.handles == 0 and not opened.busy:
                await self.let_go(opened)

    async def seal_old(self, before: float) -> None:
        """Seal files that stay open and changed since before the monotonic time `before`."""
        for opened in list(self._core.open_inodes.values()):
            if opened.changed and opened.opened_at <= before:
                await self.seal(opened)
