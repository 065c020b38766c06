"""Background work of a volume: commits of the index, syncs, write-back of old data, sealing of
files that stay open, checkpoints, the reserve.

Nothing runs while nothing happens: the loops wait for `Core.active`, which a change or a write
sets, and an idle mount uses no CPU.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence

import trio

from objfs.base import limits
from objfs.base.errors import ObjfsError
from objfs.meta.checkpoint import checkpoint_parts
from objfs.meta.sqlite import SqliteEngine
from objfs.volume.attributes import Attributes
from objfs.volume.core import Core
from objfs.volume.writeback import Writeback

logger = logging.getLogger(__name__)


class Background:
    """The periodic tasks. Each step can be called alone; `run` calls them in their rhythm."""

    def __init__(
        self,
        core: Core,
        writeback: Writeback,
        attributes: Attributes,
        others: Sequence[Callable[[], Awaitable[None]]] = (),
    ) -> None:
        self._core = core
        self._writeback = writeback
        self._attributes = attributes
        self._others = others  # tasks that change the store and wait by themselves
        self.checkpoint_error: str | None = None
        self._checkpoint_from = 0.0  # no attempt before this monotonic time

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        core = self._core
        async with trio.open_nursery() as nursery:
            core.spawn = nursery.start_soon
            nursery.start_soon(self._commits)
            if not core.read_only:
                nursery.start_soon(self._syncs)
                nursery.start_soon(self._upkeep)
                for other in self._others:
                    nursery.start_soon(other)
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                core.spawn = None

    async def _commits(self) -> None:
        while True:
            await self._core.active.wait()
            await trio.sleep(limits.COMMIT_INTERVAL_SECONDS)
            self.commit()
            self._rest()

    def commit(self) -> None:
        """Close the index's open transaction."""
        if self._core.database.failed is None:
            try:
                self._core.make_room_for_index()
                self._core.database.commit()
            except ObjfsError as error:
                logger.error("committing the index failed: %s", error)

    def _rest(self) -> None:
        """Go idle when there is nothing left to write, sync or commit."""
        core = self._core
        log = core.log
        if log.failed is None and log.synced_sequence < log.last_sequence and not core.read_only:
            return
        if (
            not core.dirty_bytes
            and not core.late_ctimes
            and not any(opened.changed for opened in core.open_inodes.values())
        ):
            core.go_idle()

    async def _syncs(self) -> None:
        while True:
            await self._core.active.wait()
            await trio.sleep(self._core.settings.sync_seconds / 2)
            await self.sync()

    async def sync(self) -> None:
        """Make durable what is logged."""
        log = self._core.log
        if log.failed is None and log.synced_sequence < log.last_sequence:
            try:
                await log.sync()
            except ObjfsError as error:
                logger.error("syncing the log failed, the store is read-only now: %s", error)

    async def _upkeep(self) -> None:
        while True:
            await self._core.active.wait()
            await trio.sleep(max(self._core.settings.dirty_seconds / 2, 0.01))
            try:
                await self.upkeep()
            except ObjfsError as error:
                logger.error("background write-back failed: %s", error)
            except Exception:  # one inode's trouble must not end the mount
                logger.exception("background write-back failed")

    async def upkeep(self) -> None:
        """One round: old dirty data, files open for long, the index's WAL, a checkpoint."""
        core = self._core
        if core.log.failed is not None:
            return
        now = core.clock.monotonic()
        settings = core.settings
        core.keep_reserve()
        self._attributes.log_late()
        await self._writeback.flush_old(now - settings.dirty_seconds / 2)
        await self._writeback.seal_old(now - settings.seal_open_seconds)
        engine = core.database.engine
        if (
            isinstance(engine, SqliteEngine)
            and engine.wal_bytes() > limits.INDEX_WAL_BYTES_MAX // 2
        ):
            await core.threads.run(engine.checkpoint_wal)
        if now >= self._checkpoint_from and self.checkpoint_due():
            await self.checkpoint()

    def checkpoint_due(self) -> bool:
        """Whether enough META came since the last checkpoint."""
        core = self._core
        since = core.log.meta_bytes_since_checkpoint()
        due = core.settings.checkpoint_meta_bytes
        if since <= due or core.database.failed is not None:
            return False
        engine = core.database.engine
        index_bytes = engine.path.stat().st_size if isinstance(engine, SqliteEngine) else 0
        return since > max(due, index_bytes // 2)

    async def checkpoint(self) -> int:
        """Put a copy of the index into the log. Returns the sequence that it covers."""
        core = self._core
        try:
            sequence, parts = await checkpoint_parts(core.database, core.threads)
            await core.log.append_checkpoint(sequence, parts)
        except ObjfsError as error:
            self.checkpoint_error = str(error)
            self._checkpoint_from = core.clock.monotonic() + limits.CHECKPOINT_RETRY_SECONDS
            raise
        self.checkpoint_error = None
        return sequence
