"""Open inodes and handles: what the volume keeps in memory about files in use.

An `OpenInode` exists while a file has handles or working state (see `objfs/volume/writeback.py`).
Working state is what no version covers yet:

- `dirty`: bytes that are not in the log;
- `flushing`: bytes on their way to the log, above the logged extents and below `dirty`;
- `size` and the times, which count instead of the logged row's while `changed`;
- what is logged already but not sealed (`logged`), known to recovery by a row in `unsealed`.

Life of an OpenInode: clean -> changed (write, truncate, create) -> clean (seal) ... -> gone, at the
last release, when it is clean. Without a name, the last release ends the inode itself (`gone`); a
task that waited for it finds nothing to do.
"""

import trio

from objfs.meta.rows import Extent, Version
from objfs.volume.dirty import Buffer, DirtyBuffer


class FlushSeal:
    """The version that a flush of this session made last: the next seal may replace it."""

    __slots__ = ("at", "before", "content", "sealed")

    def __init__(self, sealed: int, before: int, content: int, at: float) -> None:
        self.sealed = sealed  # its sequence
        self.before = before  # the version before it, 0 for none
        self.content = content
        self.at = at  # monotonic seconds


class Prefetched:
    """One window of a sequential read: the bytes, or the event that says they came."""

    __slots__ = ("data", "done", "generation")

    def __init__(self, generation: int) -> None:
        self.generation = generation  # of the inode's logged extents
        self.done = trio.Event()
        self.data: Buffer | None = None


class OpenInode:
    """A file in use."""

    __slots__ = (
        "atime_ns",
        "bucket",
        "changed",
        "ctime_ns",
        "dirty",
        "dirty_since",
        "extents",
        "extents_end",
        "extents_moves",
        "extents_start",
        "flush_scheduled",
        "flush_seal",
        "flushing",
        "generation",
        "gone",
        "handles",
        "ino",
        "lock",
        "logged",
        "mtime_ns",
        "opened_at",
        "past",
        "purging",
        "session",
        "size",
    )

    def __init__(self, ino: int, bucket: int, session: int, size: int, opened_at: float) -> None:
        self.ino = ino
        self.bucket = bucket
        self.handles = 0
        self.purging = 0  # the content whose truncation is not finished
        self.session = session  # states born at this sequence or later are of this session
        self.size = size
        self.changed = False
        self.gone = False  # its rows were removed: nothing is left to flush or seal
        self.logged = False
        self.dirty = DirtyBuffer()
        self.dirty_since = 0.0  # monotonic seconds; 0: not dirty
        self.flushing: DirtyBuffer | None = None
        self.flush_scheduled = False
        self.flush_seal: FlushSeal | None = None
        self.opened_at = opened_at  # monotonic seconds since the last seal or the opening
        self.atime_ns: int | None = None
        self.mtime_ns: int | None = None
        self.ctime_ns: int | None = None
        self.lock: trio.Lock | None = None  # made when a flush first has to wait
        self.extents: list[Extent] = []  # a window of the logged extents
        self.extents_start = self.extents_end = 0
        self.extents_moves = 0  # `Core.moves` when they were read
        self.generation = 0  # grows when the logged extents change
        self.past: Version | None = None  # the version that is read, and not the working state

    @property
    def busy(self) -> bool:
        """Whether a flush is on its way: size and extents must not be changed under it."""
        return self.lock is not None and self.lock.locked()

    def flush_lock(self) -> trio.Lock:
        """The lock that a flush holds while it waits for threads."""
        if self.lock is None:
            self.lock = trio.Lock()
        return self.lock

    def forget_extents(self) -> None:
        """The logged extents changed."""
        self.extents = []
        self.extents_start = self.extents_end = 0
        self.generation += 1


class Handle:
    """One open of an inode, as a door holds it."""

    __slots__ = ("ahead", "closed", "flags", "ino", "next_offset", "open_inode", "streak")

    def __init__(self, open_inode: OpenInode, flags: int) -> None:
        self.open_inode = open_inode
        self.ino = open_inode.ino
        self.flags = flags
        self.closed = False
        self.next_offset = 0  # where a sequential read would go on
        self.streak = 0  # sequential reads in a row
        self.ahead: dict[int, Prefetched] = {}  # by offset of the window
