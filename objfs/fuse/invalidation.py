"""Telling the kernel what changed behind it.

The volume calls an `Invalidations` where a name or an inode changed other than through the mount.
That only queues: the notification itself may block until requests in progress are answered, so it
must come from a thread, while the loop serves. No verb waits for it: a change is visible in the
mount a moment after it happened. A command that promises to be seen waits for `settled`.

The queue is bounded. When it is full, the names in the mounted root are invalidated instead, each
with everything the kernel knows below it.
"""

import errno
import logging
from collections.abc import Callable, Iterator

import trio

from objfs.base.limits import INVALIDATIONS_QUEUED_MAX
from objfs.base.ports import Threads

logger = logging.getLogger(__name__)

# The kernel does not know the name or inode, or is about to forget everything.
_NOTHING_TO_DO = (errno.ENOENT, errno.ENOTCONN, errno.ENODEV, errno.ENOTDIR)
_BATCH = 256

Change = tuple[int, bytes | None]  # the kernel's ids: (parent, name), or (inode, None)


class Invalidations:
    """A queue of changes, and the task that tells the kernel."""

    def __init__(
        self,
        threads: Threads,
        *,
        forget_entry: Callable[[int, bytes], None],
        forget_attributes: Callable[[int], None],
        everything: Callable[[], Iterator[Change]],
    ) -> None:
        self._threads = threads
        self._forget_entry = forget_entry
        self._forget_attributes = forget_attributes
        self._everything = everything
        self._queue: dict[Change, None] = {}  # in order, each once
        self._overflowed = False
        self._wake = trio.Event()
        self._settled = trio.Event()  # set while nothing is to be told
        self._settled.set()

    def add(self, id: int, name: bytes | None) -> None:
        """Queue an entry of the directory `id`, or the inode's attributes. Never waits."""
        if len(self._queue) >= INVALIDATIONS_QUEUED_MAX:
            self._queue.clear()
            self._overflowed = True
        self._queue[id, name] = None
        if self._settled.is_set():
            self._settled = trio.Event()
        self._wake.set()

    async def settled(self) -> None:
        """Return when the kernel was told everything."""
        await self._settled.wait()

    async def run(self) -> None:
        """Tell the kernel, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            if self._overflowed:
                self._overflowed = False
                logger.warning("too many changes to tell the kernel one by one: all is told anew")
                await self._tell_all(self._everything())
            queued, self._queue = self._queue, {}
            await self._tell_all(iter(queued))
            if not self._queue and not self._overflowed:
                self._settled.set()

    async def _tell_all(self, changes: Iterator[Change]) -> None:
        batch: list[Change] = []
        for change in changes:
            batch.append(change)
            if len(batch) == _BATCH:
                await self._threads.run(self._tell, batch)
                batch = []
        if batch:
            await self._threads.run(self._tell, batch)

    def _tell(self, changes: list[Change]) -> None:
        for id, name in changes:
            try:
                if name is None:
                    self._forget_attributes(id)
                else:
                    self._forget_entry(id, name)
            except OSError as error:
                if error.errno not in _NOTHING_TO_DO:
                    logger.error("the kernel may show old state of %d, %r: %s", id, name, error)
