"""The volume: the verbs that both doors use, over one log and one index.

The verbs live in the modules named in `__init__`; the volume binds them, so that a call costs no
further step. Everything is used on one trio loop. Errors are those of `objfs.base.errors`.
"""

import os
from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

from objfs.base.limits import DAY_NS, VISIBLE_SECONDS_MAX
from objfs.base.types import SpaceFigures
from objfs.meta.rows import Inode, new_inode
from objfs.meta.tables import USAGE
from objfs.volume.attributes import Attributes
from objfs.volume.background import Background
from objfs.volume.buckets import Buckets
from objfs.volume.core import Core
from objfs.volume.damage import remembered
from objfs.volume.erasing import Erasing
from objfs.volume.forgetting import Forgetting
from objfs.volume.handles import Handle
from objfs.volume.history import History, VersionEntry
from objfs.volume.identities import Identities
from objfs.volume.keys import Keys
from objfs.volume.namespace import RENAME_EXCHANGE, RENAME_NOREPLACE, Namespace
from objfs.volume.objects import Objects
from objfs.volume.past_tree import PastTree
from objfs.volume.reading import Reader
from objfs.volume.restore import Restore
from objfs.volume.retention import RetentionRules
from objfs.volume.snapshots import Snapshots
from objfs.volume.tree_restore import TreeRestore
from objfs.volume.uploads import Uploads
from objfs.volume.view import PastFile, View
from objfs.volume.work_rows import SCRUB, SCRUB_LAST, load_note
from objfs.volume.writeback import Writeback

__all__ = [
    "RENAME_EXCHANGE",
    "RENAME_NOREPLACE",
    "Handle",
    "Inode",
    "PastFile",
    "VersionEntry",
    "View",
    "Volume",
    "new_inode",
]


class Jobs(Protocol):
    """The background work of the layers above."""

    def status(self) -> dict[str, object]:
        """How it stands."""


class Volume:
    """A versioned store of files. Made by `objfs.volume.opening.open_volume`."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self._settled: Callable[[], Awaitable[None]] | None = None
        self.jobs: Jobs | None = None
        self.doors: dict[str, Callable[[], dict[str, object]]] = {}  # open ones, their figures
        self.compaction: object = None  # of the layers above
        self.lifecycle_day_ns = DAY_NS  # how long a day of lifecycle rules is
        self._writeback = writeback = Writeback(core)
        self._reader = reader = Reader(core)
        self._names = names = Namespace(core, writeback)
        self._attributes = attributes = Attributes(core, writeback)
        self._history = history = History(core, reader)
        buckets = Buckets(core, history)
        self._erasing = erasing = Erasing(core, history)
        # Names
        self.lookup = names.lookup
        self.parent_of = names.parent_of
        self.list_directory = names.list_directory
        self.listing = names.listing
        self.create = names.create
        self.mknod = names.mknod
        self.symlink = names.symlink
        self.mkdir = names.mkdir
        self.link = names.link
        self.unlink = names.unlink
        self.rmdir = names.rmdir
        self.rename = names.rename
        # Attributes
        self.getattr = core.inode
        self.setattr = attributes.setattr
        self.readlink = attributes.readlink
        self.getxattr = attributes.getxattr
        self.listxattr = attributes.listxattr
        self.setxattr = attributes.setxattr
        self.removexattr = attributes.removexattr
        # Bytes
        self.read_nowait = reader.read_nowait
        self.read = reader.read
        self.write_nowait = writeback.write_nowait
        self.write = writeback.write
        self.flush = writeback.flush
        self.release = writeback.release
        self.fsync = writeback.fsync
        # Buckets
        self.root = buckets.root
        self.buckets = buckets.buckets
        self.bucket = buckets.bucket
        self.create_bucket = buckets.create_bucket
        self.set_bucket = buckets.set_bucket
        self.check_deletable = buckets.check_deletable
        self.delete_bucket = buckets.delete_bucket
        self.document = buckets.document
        self.set_document = buckets.set_document
        self.set_lock = buckets.set_lock
        self.set_lock_rule = buckets.set_lock_rule
        # Objects
        self.objects = Objects(core, history, reader, writeback, erasing, buckets, self.seen)
        self.keys = Keys(core)
        self.uploads = Uploads(core, self.objects)
        # Who may ask
        self.identities = Identities(core)
        # Background
        tasks = [erasing.run, self.uploads.run]
        self._background = background = Background(core, writeback, attributes, tasks)
        self.run = background.run
        self.commit = background.commit
        self.upkeep = background.upkeep
        self.checkpoint = background.checkpoint
        self._bind_past(core, history)

    def _bind_past(self, core: Core, history: History) -> None:
        """The verbs of the past."""
        writeback, attributes = self._writeback, self._attributes
        erasing = self._erasing
        self.at = history.at
        self.tree_at = history.tree
        self.moment = history.moment
        self.past = PastTree(core, history, self.status)
        self.versions = history.versions
        self.stretches = history.stretches
        self.open_version = history.open_version
        self.restore = Restore(core, history, writeback).restore
        self.retention = RetentionRules(core)
        self.restore_at = TreeRestore(core, history, writeback).restore
        self.snapshots = Snapshots(core, writeback, attributes)
        self.erase = erasing.erase
        self.forget = Forgetting(core, history, erasing).forget
        self.sweep = erasing.sweep

    # --- what the mount sets -------------------------------------------------------------------

    def set_kernel_rules(self, *, owns_times: bool, umask_applied: bool) -> None:
        """What the kernel does before a call arrives: `owns_times`, with its write-back cache it
        sends times itself; `umask_applied`, modes come with the umask taken off."""
        self.core.kernel_owns_times = owns_times
        self._names.umask_applied = umask_applied

    def set_invalidate(
        self,
        invalidate: Callable[[int, bytes | None], None],
        settled: Callable[[], Awaitable[None]],
        past: Callable[[], None] = lambda: None,
    ) -> None:
        """`invalidate(parent, name)` or `invalidate(ino, None)` is called for what changed behind
        the kernel, `past()` when something of the past was erased; `settled` returns when the
        kernel knows."""
        self.core.invalidate = invalidate
        self.core.invalidate_past = past
        self._settled = settled

    async def seen(self) -> None:
        """Return when the mount, if there is one, shows what happened so far; bounded."""
        if self._settled is None:
            return
        with trio.move_on_after(VISIBLE_SECONDS_MAX):
            await self._settled()

    # --- files -----------------------------------------------------------------------------------

    async def open(self, ino: int, flags: int) -> Handle:
        """Open a regular file; O_TRUNC is honoured. IsADirectory, NotFound."""
        row = self._attributes.check_open(ino)
        opened = self.core.opened(row)
        handle = Handle(opened, flags)
        opened.handles += 1
        if flags & os.O_TRUNC:
            try:
                await self._writeback.truncate(opened, 0)
            except BaseException:
                await self._writeback.release(handle)
                raise
        return handle

    async def seal(self, ino: int) -> None:
        """Make the working state of a file a version now."""
        opened = self.core.open_inodes.get(ino)
        if opened is not None:
            await self._writeback.seal(opened)

    async def sync(self) -> None:
        """Everything written so far is durable when it returns. Working states are logged, not
        sealed."""
        for ino in list(self.core.open_inodes):
            await self._writeback.flush_for_sync(ino)
        if not self.core.read_only:
            self._attributes.log_late()
        await self.core.log.sync()

    # --- figures ---------------------------------------------------------------------------------

    def space(self) -> SpaceFigures:
        """What statfs tells: the device's true figures."""
        space = self.core.log.space()
        used = sum(row.objects for row in self.core.database.scan(USAGE))
        return SpaceFigures(space.total, space.free, space.available, used)

    def status(self) -> dict[str, object]:
        """How the store is, for people and monitoring. Sizes in bytes."""
        core = self.core
        log, database = core.log, core.database
        statistics = log.statistics()
        failed = log.failed or database.failed
        usage = {row.bucket: row for row in database.scan(USAGE)}
        return {
            "state": "failed" if failed else ("read-only" if core.read_only else "writable"),
            "error": str(failed) if failed else None,
            "dirty_bytes": core.dirty_bytes,
            "open_files": len(core.open_inodes),
            "sequence": log.last_sequence,
            "synced_sequence": log.synced_sequence,
            "log": statistics._asdict(),
            "damage": self._damage(),
            "scrub": {
                "running": load_note(database, SCRUB, dict),
                "last": load_note(database, SCRUB_LAST, dict),
            },
            "missing_metas": database.caught_up.missing if database.caught_up else 0,
            "index": database.caught_up.outcome if database.caught_up else "current",
            "checkpoint_error": self._background.checkpoint_error,
            "background": self.jobs.status() if self.jobs is not None else None,
            "doors": {name: figures() for name, figures in sorted(self.doors.items())},
            "reserve_bytes": core.reserve.bytes_held() if core.reserve else 0,
            "buckets": {
                bucket.name: {
                    "live_bytes": usage[bucket.id].live_bytes,
                    "past_bytes": usage[bucket.id].past_bytes,
                    "objects": usage[bucket.id].objects,
                }
                for bucket in self.buckets()
                if bucket.id in usage
            },
        }

    def _damage(self) -> list[str]:
        """What is remembered, and what this opening found, if that could not be noted down."""
        core = self.core
        known: list[object] = [*remembered(core.database)]
        return [
            str(each) for each in known + ([] if core.recovery_noted else core.log.recovery.damage)
        ]

    async def close(self) -> None:
        """Seal and sync everything, close the log and the index. What cannot be written is
        raised, after everything was closed."""
        core = self.core
        with trio.CancelScope(shield=True):
            try:
                if not core.read_only and core.log.failed is None:
                    await self._writeback.seal_all()
                    self._attributes.log_late()
                    await core.log.sync()
            finally:
                self.keys.close()
                try:
                    await core.log.close()
                finally:
                    core.database.close()
