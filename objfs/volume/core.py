"""What all verbs share: the log, the index, the open inodes, the account of space.

Owned by one trio loop. Everything here is synchronous: what a method does is done, as seen by every
other task, when it returns.
"""

import datetime
import logging
import stat
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import trio
from msgspec.structs import replace

from objfs.base import limits
from objfs.base.errors import NoSpace, NotFound, ReadOnly, StaleInode
from objfs.base.ports import Clock, Threads
from objfs.base.settings import Settings
from objfs.meta.database import Change, Database
from objfs.meta.rows import Inode
from objfs.meta.tables import BUCKET, ERASED, INODE, INODE_PAST, USAGE
from objfs.store.log import Log
from objfs.volume.handles import OpenInode
from objfs.volume.object_lock import LockRule, lock_rule
from objfs.volume.pins import Pins

logger = logging.getLogger(__name__)


class SpaceReserve(Protocol):
    """Preallocated bytes, given up when the device is full so that deleting goes on."""

    def release(self) -> bool:
        """Give the bytes back to the device. False when they are given already."""

    def restore(self) -> bool:
        """Take them again. False when the device has no room for them."""

    def bytes_held(self) -> int:
        """How many bytes are held now."""


class Core:
    """The state that the verbs of a volume work on."""

    def __init__(
        self,
        log: Log,
        database: Database,
        *,
        clock: Clock,
        threads: Threads,
        settings: Settings,
        reserve: SpaceReserve | None = None,
        read_only: bool = False,
        zone: datetime.tzinfo = datetime.UTC,
    ) -> None:
        self.log = log
        self.database = database
        self.clock = clock
        self.threads = threads
        self.settings = settings
        self.reserve = reserve
        self.read_only = read_only
        self.zone = zone  # of the people who name times here
        self.open_inodes: dict[int, OpenInode] = {}
        self.dirty_bytes = 0  # in all dirty and flushing buffers together
        self.pins = Pins(database)
        self.erased = bool(database.scan(ERASED, limit=1))  # whether a row hides any entry
        self.late_ctimes: dict[int, int] = {}  # of clean inodes, not logged yet
        self.directory_closed = 0  # when the name of a directory ended last
        self.shown = 0  # the newest moment that a view shows: no state that it has is amended
        # Look anew at what another process may have changed: for who reads beside the owner.
        self.renew: Callable[[], None] = lambda: None
        # What a view shows was erased: what the mount told the kernel must be forgotten.
        self.forget_views: Callable[[], None] = lambda: None
        # With the write-back cache the kernel sends the times of a write itself, after it.
        self.kernel_owns_times = False
        self.spawn: Callable[..., None] | None = None  # set while background tasks run
        self.asked: list[Callable[[], float]] = []  # of each door, when it was last asked anything
        self.invalidate: Callable[[int, bytes | None], None] = lambda ino, name: None
        self.invalidate_past: Callable[[], None] = lambda: None  # something of it was erased
        self.quotas = {
            bucket.id: bucket.quota_bytes for bucket in database.scan(BUCKET) if bucket.quota_bytes
        }
        # Buckets with object lock, and what a version is kept by that nobody says more of.
        self.locks: dict[int, LockRule | None] = {
            bucket.id: lock_rule(bucket) for bucket in database.scan(BUCKET) if bucket.lock
        }
        self.recovery_noted = False  # what the opening found is in the rows of known damage
        self.scrub_turn = trio.Lock()  # who drives the scrub, of several that want to
        self.fsck_turn = trio.Lock()
        self.active = trio.Event()  # set while background tasks have work
        self.moves = 0  # grows whenever compaction moved extents
        self.unsharing: Counter[int] = Counter()  # contents that are being copied, row by row
        self.uploads_ended: Callable[[], None] = lambda: None  # with their bucket: they can go
        self.building: set[int] = set()  # inodes and contents without a name that tasks are making
        self._appends: set[trio.Event] = set()  # appended and not committed yet, by their end
        self._index_read_at = float("-inf")  # when the index was read ahead
        self._growth_left = 0  # bytes that may be accepted before the next look at the device
        self._look_again = 0.0  # or when it is this late

    # --- changes ---------------------------------------------------------------------------------

    def change(self) -> Change:
        """Begin a change of the index. ReadOnly when nothing may change."""
        self.check_writable()
        self.active.set()
        return self.database.change()

    def run_soon(self, work: Callable[..., Awaitable[None]], *arguments: object) -> None:
        """Do what only saves time, once the loop has nothing to answer; or not at all."""
        if self.spawn is not None:
            self.spawn(_harmless, work, *arguments)

    def request_at(self) -> float:
        """When a door was last asked for anything, by the monotonic clock."""
        return max((asked() for asked in self.asked), default=float("-inf"))

    def read_index_ahead(self) -> None:
        """A directory is going to be listed: its rows lie scattered over the index's file, which
        the system reads much faster as a whole than page by page."""
        now = self.clock.monotonic()
        if now - self._index_read_at > limits.INDEX_READ_AHEAD_SECONDS:
            self._index_read_at = now
            self.run_soon(self.threads.run, self.database.engine.read_ahead)

    def go_idle(self) -> None:
        """Background tasks have nothing to do until the next change or write."""
        self.active = trio.Event()

    def check_writable(self) -> None:
        """ReadOnly if the volume, or the log after a failure, takes no changes."""
        if self.read_only:
            raise ReadOnly("the store is mounted read-only")
        if self.log.failed is not None:
            raise self.log.failed

    def freeing(self, act: Callable[[], Any]) -> Any:
        """Do `act`, a change that makes or may make room; on a full device, use the reserve."""
        try:
            return act()
        except NoSpace:
            if not self.give_reserve():
                raise
            return act()

    @contextmanager
    def appending(self) -> Iterator[None]:
        """Records are appended inside that no row refers to yet."""
        ended = trio.Event()
        self._appends.add(ended)
        try:
            yield
        finally:
            self._appends.remove(ended)
            ended.set()

    async def wait_committed(self) -> None:
        """What has been appended so far is referred to by rows, or never will be."""
        for ended in list(self._appends):
            await ended.wait()

    # --- inodes ----------------------------------------------------------------------------------

    def row(self, ino: int) -> Inode:
        """The logged state of an inode. NotFound; StaleInode for a file that was there."""
        row = self.database.get(INODE, ino)
        if row is None:
            last = self.database.scan(INODE_PAST, (ino,), reverse=True, limit=1)
            if last and not stat.S_ISDIR(last[0].inode.mode):
                raise StaleInode(f"inode {ino} is gone")
            raise NotFound(f"inode {ino} does not exist")
        return row

    def inode(self, ino: int) -> Inode:
        """The state of an inode with what is not logged yet; of one that is gone, its last state
        with a link count of 0. NotFound."""
        row = self.database.get(INODE, ino)
        if row is None:
            last = self.database.scan(INODE_PAST, (ino,), reverse=True, limit=1)
            if not last:
                raise NotFound(f"inode {ino} does not exist")
            return replace(last[0].inode, nlink=0)
        return self.current(row)

    def current(self, row: Inode) -> Inode:
        """`row` with what is not logged yet."""
        opened = self.open_inodes.get(row.ino)
        if opened is not None and opened.changed:
            row = self.working(row, opened)
        late = self.late_ctimes.get(row.ino)
        if late is not None and late > row.ctime_ns:
            row = replace(row, ctime_ns=late)
        return row

    def working(self, row: Inode, opened: OpenInode) -> Inode:
        """`row` with the working size and times of its open inode."""
        return replace(
            row,
            size=opened.size,
            atime_ns=row.atime_ns if opened.atime_ns is None else opened.atime_ns,
            mtime_ns=row.mtime_ns if opened.mtime_ns is None else opened.mtime_ns,
            ctime_ns=max(row.ctime_ns, opened.ctime_ns or 0),
        )

    def opened(self, row: Inode) -> OpenInode:
        """The open inode of `row`, made if there is none."""
        opened = self.open_inodes.get(row.ino)
        if opened is None:
            session = self.database.sequence + 1
            now = self.clock.monotonic()
            opened = OpenInode(row.ino, row.bucket, session, row.size, now)
            self.open_inodes[row.ino] = opened
        return opened

    def expose(self, ino: int) -> None:
        """Somebody took a version of the inode: its open session may replace it no longer."""
        opened = self.open_inodes.get(ino)
        if opened is not None:
            opened.flush_seal = None

    # --- space -----------------------------------------------------------------------------------

    def admit(self, size: int) -> None:
        """Accept `size` bytes of growth. NoSpace below the margin that deleting needs."""
        self._growth_left -= size
        now = self.clock.monotonic()
        if self._growth_left < 0 or now >= self._look_again:
            self._look_again = now + limits.SPACE_CHECK_SECONDS
            self._look_at_device(size)

    def log_space_changed(self) -> None:
        """Look at the device again before anything more is accepted."""
        self._growth_left = 0

    def _look_at_device(self, size: int) -> None:
        room = self.log.free_bytes() - limits.SPACE_MARGIN_BYTES - self.dirty_bytes - size
        if self.reserve is not None:  # what the reserve lacks is not for growth
            room -= max(self.settings.reserve_bytes - self.reserve.bytes_held(), 0)
        if room < 0:
            self._growth_left = 0
            raise NoSpace(
                "the device of the store is full: delete data or history that is not needed, "
                "or give the store a larger disk"
            )
        self._growth_left = min(room, limits.SPACE_CHECK_BYTES)

    def check_quota(self, bucket: int, size: int) -> None:
        """NoSpace when `size` more bytes are over the bucket's quota, history included."""
        quota = self.quotas.get(bucket)
        if quota is None:
            return
        usage = self.database.get(USAGE, bucket)
        held = usage.live_bytes + usage.past_bytes if usage else 0
        if held + self.dirty_bytes + size > quota:
            raise NoSpace(
                f"the bucket is at its quota of {quota} bytes, history included: "
                "`objfs bucket set` raises it"
            )

    def give_reserve(self) -> bool:
        """Release the reserve. False if there is none left."""
        if self.reserve is None or not self.reserve.release():
            return False
        logger.warning("the device is full: the reserve was released to go on deleting")
        return True

    def make_room_for_index(self) -> None:
        """Before the index writes: on a full device its commit would fail, and the view with it."""
        if self.reserve is None or self.read_only:
            return
        if self.log.free_bytes() < limits.INDEX_ROOM_BYTES:
            self.give_reserve()

    def keep_reserve(self) -> None:
        """Release the reserve before the index runs out of room, take it back when there is."""
        if self.reserve is None or self.read_only:
            return
        free = self.log.free_bytes()
        if free < limits.SPACE_MARGIN_BYTES // 2:
            self.give_reserve()
        elif self.reserve.bytes_held() < self.settings.reserve_bytes and (
            free > self.settings.reserve_bytes + limits.SPACE_MARGIN_BYTES
        ):
            self.reserve.restore()


async def _harmless(work: Callable[..., Awaitable[None]], *arguments: object) -> None:
    """An error of what nobody waits for must not end the mount: whoever asks for it meets it."""
    try:
        await work(*arguments)
    except Exception as error:
        logger.debug("working ahead failed: %r", error)
