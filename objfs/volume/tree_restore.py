"""Restore of a moment: a file or a whole tree becomes again what it was.

In place, the present tree is walked beside the tree of the moment, both in key order. Each entry is
settled: left alone if it is as it was, put back, or removed. What is removed or replaced goes to
the past like anything else, so a restore can itself be undone.

What always holds:

- A step is one change of bounded size, and every state in between is a mix of old and new entries.
  Nothing is lost by an interruption, and the same restore once more finishes it: what is right
  already is left alone.
- Unchanged is an entry whose inode has the bytes (by identity), attributes and hard links that it
  had; it keeps its inode and gets no version. Directories keep their inode under the same key.
- Hard links inside the tree are those of the moment (`objfs/volume/restored_links.py`).
- Elsewhere (`to`) a tree is built without a name and appears in one change; a start after a crash
  discards what was not finished (`objfs/volume/opening.py`).
- The moment, and the state before the restore, are pinned while it runs: it amends neither.
- What is written to a file under the walk is sealed before its name goes. What others create while
  the walk passes is kept or removed, as the walk meets it.
"""

import logging
import stat
from collections import deque
from itertools import pairwise
from typing import NamedTuple

import trio

from objfs.base import limits
from objfs.base.errors import (
    AlreadyExists,
    IsADirectory,
    NotADirectory,
    NotFound,
    ObjfsError,
    StorageError,
    TooManyLinks,
)
from objfs.meta.database import Change
from objfs.meta.rows import Bucket, Dentry, Inode, counted_bytes
from objfs.meta.tables import DENTRY, INODE
from objfs.volume.core import Core
from objfs.volume.hidden_names import unshadow
from objfs.volume.history import History
from objfs.volume.inodes import directory_row, end_directory, touch_directory
from objfs.volume.namespace import check_name, close_entry
from objfs.volume.restored import (
    Restored,
    attribute_rows,
    begin_building,
    discard_building,
    end_building,
    link_entry,
    new_inode,
    put_entry,
    remove_file,
    same_attributes,
    same_bytes,
    set_attributes,
)
from objfs.volume.restored_links import RestoredLinks
from objfs.volume.showing import split_key
from objfs.volume.trees import Place, State, Tree, shown_key
from objfs.volume.writeback import Writeback

logger = logging.getLogger(__name__)
_ROWS_MAX = limits.TRANSACTION_ROWS_MAX - 16
_ROWS_WANTED = 64  # in one change, so that it takes a few milliseconds only
_LOOKED_MAX = 64  # entries in one step
_PAGE = 64  # names of a directory that are read at a time


class _Frame:
    """A directory on the way of the walk."""

    __slots__ = ("after", "ended", "fresh", "pairs", "passed", "place", "row", "states")

    def __init__(self, row: Dentry, place: Place | None, *, fresh: bool = False) -> None:
        self.row = row  # its entry in the present
        self.place = place  # what it was; None: it was not, and goes
        self.fresh = fresh  # it was made by this walk: the present has nothing in it
        self.passed = False  # it only leads to what is restored, and stays as it is
        self.pairs: deque[tuple[bytes, Place | None]] = deque()  # read and not settled
        self.states: dict[int, State] = {}  # of then, of the files among the pairs
        self.after = b""
        self.ended = False  # everything was read


class _Stop(NamedTuple):
    """Why a step ends before an entry was settled: the change is full, or a file must be sealed."""

    seal: int = 0


class TreeRestore:
    """The verb that brings a moment back."""

    def __init__(self, core: Core, history: History, writeback: Writeback) -> None:
        self._core = core
        self._history = history
        self._writeback = writeback

    async def restore(
        self, bucket: Bucket, key: bytes, sequence: int, to: tuple[Bucket, bytes] | None = None
    ) -> Restored:
        """Make what `key` leads to again what it was at `sequence`, or put that at `to`, whose
        directory must exist. NotFound if it was not; AlreadyExists if a tree is to go where
        something is; NotADirectory, IsADirectory, NoSpace."""
        tree = self._history.tree(bucket, sequence)
        place = tree.existing(key)
        core = self._core
        core.check_writable()
        walk = _Walk(core, self._writeback, tree)
        # Neither the moment nor what the restore changes is amended meanwhile: it can be undone.
        with core.pins.held(sequence, core.database.sequence):
            if to is None:
                return await walk.in_place(place)
            head, _, leaf = to[1].rstrip(b"/").rpartition(b"/")
            check_name(leaf)
            parent = self._history.directory_at(to[0].name, head)
            put = walk.build if place.is_directory else walk.file
            return await put(place, parent, leaf)


class _Walk:
    """One restore."""

    def __init__(self, core: Core, writeback: Writeback, tree: Tree) -> None:
        self._core = core
        self._writeback = writeback
        self._tree = tree
        self._stack: list[_Frame] = []
        self._way: dict[bytes, Place] = {}  # from a directory above what is restored to the next
        self._links = RestoredLinks(core, writeback, tree, self._tops)
        self._counts: dict[str, int] = dict.fromkeys(Restored._fields, 0)
        self._told: list[tuple[int, bytes | None]] = []
        self._sealed = 0

    # --- the three ways ----------------------------------------------------------------------

    async def in_place(self, place: Place) -> Restored:
        """The same key as then; directories above it that are gone come back as they were."""
        way = self._tree.way_to(place.key)
        root = way[0]
        top = _Frame(Dentry(root.ino, b"", root.ino, 0, 0), root)
        self._stack.append(top)
        if place.key:
            self._check_way(way)
            self._way = {above.key: below for above, below in pairwise(way)}
            self._only(top, way[1])
            top.passed = True
        await self._run()
        return self._result(self._now(place))

    def _check_way(self, way: list[Place]) -> None:
        """NotADirectory if a file has the name of a directory above what is restored."""
        get, ino = self._core.database.get, way[0].ino
        for place in way[1:-1]:
            name = place.leaf
            row = get(DENTRY, ino, name)
            if row is None:
                if get(DENTRY, ino, name.rstrip(b"/")) is not None:
                    raise NotADirectory(
                        f"{shown_key(place.key)} was a directory and is a file now: restore that, "
                        "or restore to another place with --to"
                    )
                return
            ino = row.ino

    def _now(self, place: Place) -> int:
        """What the restored key leads to."""
        get, ino = self._core.database.get, self._tree.root.ino
        for key in split_key(place.key):
            row = get(DENTRY, ino, key)
            if row is None:
                return 0
            ino = row.ino
        return ino

    async def file(self, place: Place, parent: int, leaf: bytes) -> Restored:
        """A file under a name elsewhere, where another file may be."""
        core = self._core
        if core.database.get(DENTRY, parent, leaf + b"/") is not None:
            raise IsADirectory(f"{leaf!r} is a directory: restore to another name")
        top = _Frame(Dentry(parent, b"", parent, 0, 0), self._tree.root)
        top.passed = top.ended = True
        top.pairs.append((leaf, place))
        self._stack.append(top)
        await self._run()
        row = core.database.get(DENTRY, parent, leaf)
        return self._result(row.ino if row else 0)

    async def build(self, place: Place, parent: int, leaf: bytes) -> Restored:
        """A tree elsewhere: it appears when it is complete."""
        core, key = self._core, leaf + b"/"
        self._check_free(parent, leaf)
        core.admit(limits.KIB)
        with core.change() as change:
            built = begin_building(change, self._tree.state(place), directory_row(core, parent)).ino
        self._stack.append(_Frame(Dentry(built, b"", built, 0, 0), place, fresh=True))
        try:
            await self._run()
            core.admit(limits.KIB)
            with core.change() as change:
                directory_row(core, parent)
                self._check_free(parent, leaf)
                end_building(core, change, parent, key, built)
        except BaseException:
            await self._discard(built)
            raise
        core.invalidate(parent, leaf)
        core.invalidate(parent, None)
        self._counts["added"] += 1
        return self._result(built)

    async def _discard(self, built: int) -> None:
        """What was built is not wanted; what cannot be removed now is by the next opening."""
        try:
            with trio.CancelScope(shield=True):
                for _ in discard_building(self._core, built):
                    await trio.lowlevel.checkpoint()
        except ObjfsError as error:
            logger.error("an unfinished restore is removed at the next start: %s", error)

    def _check_free(self, parent: int, leaf: bytes) -> None:
        get = self._core.database.get
        if get(DENTRY, parent, leaf) or get(DENTRY, parent, leaf + b"/"):
            raise AlreadyExists(
                f"{shown_key(leaf)} is there already: move it away, or restore to another name"
            )

    def _result(self, ino: int) -> Restored:
        return Restored(**self._counts | {"ino": ino})

    # --- the walk ------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while self._stack:
                stopped = self._step()
                for parent, name in self._told:
                    self._core.invalidate(parent, name)
                self._told.clear()
                if stopped is not None and stopped.seal:
                    self._sealed = stopped.seal
                    await self._writeback.seal_displaced(stopped.seal)
                await trio.lowlevel.checkpoint()
        except StorageError as error:
            done = sum(self._counts[name] for name in ("added", "replaced", "removed"))
            raise type(error)(
                f"{error} (the restore stopped after {done} entries; nothing is lost, and the same "
                "command once more finishes it)"
            ) from error

    def _step(self) -> _Stop | None:
        """One change, as large as it may be."""
        looked = 0
        with self._core.change() as change:
            while self._stack and looked < _LOOKED_MAX and len(change) < _ROWS_WANTED:
                looked += 1
                frame = self._stack[-1]
                if not frame.pairs and not frame.ended:
                    self._read(frame)
                if frame.pairs:
                    stopped = self._settle(change, frame, *frame.pairs[0])
                else:
                    stopped = self._finish(change, frame)
                if stopped is not None:
                    return stopped
        return None

    def _read(self, frame: _Frame) -> None:
        """The next keys of a directory, of then and of now."""
        then: dict[bytes, Place] = {}
        ends: list[bytes] = []
        if frame.place is not None:
            places, reached = self._tree.children(frame.place, frame.after, _PAGE)
            then = {place.leaf: place for place in places}
            frame.states = self._tree.states([each for each in places if not each.is_directory])
            ends += [] if reached is None else [reached]
        keys = set(then)
        if not frame.fresh:
            lower = frame.after + b"\0"
            rows = self._core.database.scan(DENTRY, (frame.row.ino,), lower=lower, limit=_PAGE)
            keys.update(row.key for row in rows)
            ends += [rows[-1].key] if len(rows) == _PAGE else []
        end = min(ends, default=None)  # beyond it nothing is known of one side
        frame.ended = end is None
        frame.after = end or b""
        frame.pairs.extend(
            (key, then.get(key)) for key in sorted(keys) if end is None or key <= end
        )

    def _only(self, frame: _Frame, place: Place) -> None:
        """Of this directory only one name counts, as a file and as a directory."""
        name = place.leaf.rstrip(b"/")
        frame.ended = True
        if place.key in self._way:
            frame.pairs.append((name + b"/", place))
            return
        assert frame.place is not None
        for key in (name, name + b"/"):
            frame.pairs.append((key, self._tree.child(frame.place, key)))

    def _settle(
        self, change: Change, frame: _Frame, key: bytes, place: Place | None
    ) -> _Stop | None:
        """Make one entry what it was."""
        now = change.get(DENTRY, frame.row.ino, key)
        if not key.endswith(b"/"):
            stopped = self._settle_file(change, frame, key, now, place)
            if stopped is None:
                frame.pairs.popleft()
            return stopped
        if now is None and place is not None:
            return self._make_directory(change, frame, key, place)
        frame.pairs.popleft()
        if now is not None:
            self._enter(_Frame(now, place))
        return None

    def _enter(self, frame: _Frame) -> None:
        self._stack.append(frame)
        if frame.place is not None and frame.place.key in self._way:
            frame.passed = not frame.fresh
            self._only(frame, self._way[frame.place.key])

    def _make_directory(
        self, change: Change, frame: _Frame, key: bytes, place: Place
    ) -> _Stop | None:
        was = self._tree.state(place)
        if not _fits(change, 8 + len(was.xattrs)):
            return _Stop()
        self._admit(frame.row.ino, 0)
        parent = change.get(INODE, frame.row.ino)
        if parent is None:
            raise NotFound("a directory was removed while it was restored: restore again")
        made = new_inode(change, was, parent)
        put_entry(self._core, change, parent.ino, key, made.ino)
        frame.pairs.popleft()
        self._tell(frame, key)
        self._counts["added"] += 1
        entry = change.get(DENTRY, parent.ino, key)
        assert entry is not None
        self._enter(_Frame(entry, place, fresh=True))
        return None

    def _settle_file(
        self, change: Change, frame: _Frame, key: bytes, now: Dentry | None, place: Place | None
    ) -> _Stop | None:
        was = None
        if place is not None:
            was = frame.states.get(place.ino) or self._tree.state(place)
        row = None if now is None else change.get(INODE, now.ino)
        if row is not None:
            if self._writeback.must_seal(row.ino) and self._sealed != row.ino:
                return _Stop(row.ino)
            if (
                place is not None
                and was is not None
                and self._links.is_right(change, place, was, row)
            ):
                self._counts["unchanged"] += 1
                return None
        needed = 16 + (len(was.xattrs) if was else 0)
        if row is not None and row.has_xattrs:
            needed += limits.XATTRS_MAX
        if not _fits(change, needed):
            return _Stop()
        if was is not None and row is not None and self._set_in_place(change, was, row):
            return None
        if now is not None:
            remove_file(self._core, change, now)
            self._tell(frame, key)
        if place is not None and was is not None:
            self._put_file(change, frame, key, place, was)
            self._counts["added" if now is None else "replaced"] += 1
        elif now is not None:
            self._touch(change, frame.row.ino)
            self._counts["removed"] += 1
        return None

    # --- files ---------------------------------------------------------------------------------

    def _set_in_place(self, change: Change, was: State, row: Inode) -> bool:
        """Where only attributes differ that the kernel lets us change. Whether that was so."""
        if stat.S_ISREG(row.mode) and row.mtime_ns != was.inode.mtime_ns:
            return False
        if self._writeback.must_seal(row.ino) or not same_bytes(change, was, row):
            return False
        if not self._links.may_change(was, row):
            return False
        set_attributes(self._core, change, was, row)
        self._told.append((row.ino, None))
        self._counts["attributes"] += 1
        return True

    def _put_file(
        self, change: Change, frame: _Frame, key: bytes, place: Place, was: State
    ) -> None:
        """Under a name that is free."""
        row = self._links.made_for(change, place, was)
        parent = change.get(INODE, frame.row.ino)
        if parent is None:
            raise NotFound("a directory was removed while it was restored: restore again")
        if row is not None and row.bucket == parent.bucket:
            if row.nlink >= limits.LINKS_MAX:
                raise TooManyLinks(f"inode {row.ino} has {row.nlink} names already")
            self._admit(parent.ino, 0)
            self._links.stand(place, was, row)
            link_entry(self._core, change, parent.ino, key, row)
        else:
            size = counted_bytes(was.version.size) if was.version else 0
            self._admit(parent.ino, size)
            inode = new_inode(change, was, parent)
            self._links.stand(place, was, inode)
            put_entry(self._core, change, parent.ino, key, inode.ino)
            self._counts["bytes"] += was.inode.size if was.version else 0
        self._tell(frame, key)

    def _admit(self, directory: int, size: int) -> None:
        """NoSpace if the device or the quota has no room for one more entry."""
        core = self._core
        core.admit(limits.KIB)
        if core.quotas:
            row = core.database.get(INODE, directory)
            bucket = self._tree.bucket.id if row is None else row.bucket
            core.check_quota(bucket, size + limits.KIB)

    # --- directories ---------------------------------------------------------------------------

    def _finish(self, change: Change, frame: _Frame) -> _Stop | None:
        """All entries of a directory are settled: it ends, or gets its attributes back."""
        row = change.get(INODE, frame.row.ino)
        if row is None or frame.passed:
            self._stack.pop()
        elif frame.place is None:
            return self._end_directory(change, frame, row)
        else:
            was = self._tree.state(frame.place)
            if not same_attributes(change, was, row):
                if not _fits(change, attribute_rows(change, was, row)):
                    return _Stop()
                set_attributes(self._core, change, was, row)
                self._told.append((row.ino, None))
                self._counts["attributes"] += not frame.fresh
            else:
                self._counts["unchanged"] += 1
            self._stack.pop()
        return None

    def _end_directory(self, change: Change, frame: _Frame, row: Inode) -> _Stop | None:
        if not _fits(change, 12 + limits.XATTRS_MAX * row.has_xattrs):
            return _Stop()
        own = change.scan(DENTRY, (row.ino,), limit=2)
        if any(entry.key for entry in own):  # made since the walk passed
            frame.ended, frame.after = False, b""
            return None
        for entry in own:
            close_entry(self._core, change, entry)
        close_entry(self._core, change, frame.row)
        end_directory(change, row)
        unshadow(self._core, change, frame.row.parent, frame.row.key)
        self._touch(change, frame.row.parent, links=-1)
        self._told.append((frame.row.parent, frame.row.key.rstrip(b"/")))
        self._counts["removed"] += 1
        self._stack.pop()
        return None

    def _touch(self, change: Change, ino: int, links: int = 0) -> None:
        row = change.get(INODE, ino)
        if row is not None:
            touch_directory(self._core, change, row, links)
            self._told.append((ino, None))

    def _tops(self) -> set[int]:
        """The directories on the way of the walk that are those of then: an entry of one of them is
        met as the entry of then."""
        return {
            frame.row.ino
            for frame in self._stack
            if not frame.passed and frame.place is not None and frame.place.ino == frame.row.ino
        }

    def _tell(self, frame: _Frame, key: bytes) -> None:
        self._told.append((frame.row.ino, key.rstrip(b"/")))
        self._told.append((frame.row.ino, None))


def _fits(change: Change, rows: int) -> bool:
    """Whether a change has room for so many more rows; an empty one always has."""
    return len(change) == 0 or len(change) + rows <= _ROWS_MAX
