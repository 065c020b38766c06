"""What differs between two moments of a tree: added, changed, deleted, renamed, in key order.

Both trees are walked side by side; a pair of directories is compared name by name. What is the same
inode in a state that began before both moments is the same without a look at more than its row. All
directories are walked: nothing in a directory's row tells of changes further down.

A name is (directory, key). An inode that lost names and got others was renamed: the first name that
it lost is paired with the first that it got, and so on. A renamed directory is compared with itself
where it is now, so what lies in it is not renamed. Without `renames` it is deleted and added.

The walk can be left after any difference and resumed after its key.
"""

import stat
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from objfs.base.errors import NotFound
from objfs.meta.database import Database
from objfs.meta.rows import Inode
from objfs.meta.tables import INODE
from objfs.volume.routes import Name, Routes, names_of
from objfs.volume.showing import split_key
from objfs.volume.trees import Place, State, Tree

_PAGE = 64  # names of a directory that are read at a time
_TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}


class Difference(NamedTuple):
    """One path that is not what it was. Sizes in bytes, of regular files only."""

    kind: str  # added | changed | deleted | renamed
    key: bytes  # after; of what was deleted, where it would be now
    before: (
        bytes | None
    )  # the key before, if that was another: it, or a directory above, was renamed
    type: str
    size_before: int | None
    size_after: int | None
    content: bool  # the bytes, the target or the type changed
    attributes: list[str]  # mode, owner, mtime, xattrs: those that changed


_Met = tuple[Place | None, Place | None, bool]  # before, after, whether it was renamed


class _Frame:
    """A pair of directories on the way."""

    __slots__ = ("after", "before", "key", "pairs", "passed", "resume")

    def __init__(self, key: bytes, before: Place | None, after: Place | None) -> None:
        self.key = key  # in the walk
        self.before = before
        self.after = after
        self.pairs: deque[tuple[bytes, Place | None, Place | None]] = deque()
        self.passed = b""  # the last name that was read
        self.resume: bytes | None = b""  # where to read on, None at the end


class Differences:
    """A comparison of what two moments show at a key. `before` None: everything was added."""

    def __init__(
        self, database: Database, before: Tree | None, after: Tree, *, renames: bool = True
    ) -> None:
        self._database = database
        self._before = before
        self._after = after
        self._renames = renames and before is not None
        self._routes = Routes(database)
        self._since = min(after.sequence, before.sequence if before else 0)
        self._stack: list[_Frame] = []
        self._states: tuple[dict[int, State], dict[int, State]] = ({}, {})  # of the last page

    def walk(self, key: bytes, passed: bytes | None = None) -> Iterator[Difference | None]:
        """The differences at and below `key` with a key over `passed` (None: all); None where the
        caller should let others run. NotFound if neither moment has the key."""
        name = key.removesuffix(b"/")
        before = self._before.find(name) if self._before else None
        after = self._after.find(name)
        if before is None and after is None:
            raise NotFound(
                f"{name.decode(errors='backslashreplace')} existed at neither of the moments: "
                "`objfs versions` shows when it did"
            )
        if before and after and before.is_directory != after.is_directory:
            pairs = [(before.key, before, None), (after.key, None, after)]
            pairs.sort(key=lambda pair: pair[0])
        else:
            pairs = [((after or before).key, before, after)]  # type: ignore[union-attr]
        for top, one, other in pairs:
            # By this path, whatever was renamed to it or away; but what is new may have been so.
            moved = one is None and self._renames and len(pairs) == 1
            met = self._meet(one, other) if moved else (one, other, False)
            yield from self._entry(top, met, passed)
            yield from self._below(passed)

    def _below(self, passed: bytes | None) -> Iterator[Difference | None]:
        """The rest of what was entered."""
        while self._stack:
            frame = self._stack[-1]
            if frame.pairs:
                leaf, one, other = frame.pairs.popleft()
                yield from self._entry(frame.key + leaf, self._meet(one, other), passed)
            elif frame.resume is None:
                self._stack.pop()
            else:
                self._read(frame)
                yield None

    # --- the walk ------------------------------------------------------------------------------

    def _entry(self, key: bytes, met: _Met, passed: bytes | None) -> Iterator[Difference]:
        """One name at two moments; a pair of directories is entered."""
        before, after, moved = met
        if before is None and after is None:
            return
        if passed is None or key > passed:
            found = self._compare(key, before, after, moved)
            if found is not None:
                yield found
        if key.endswith(b"/") or not key:
            self._enter(key, before, after, passed)

    def _enter(
        self, key: bytes, before: Place | None, after: Place | None, passed: bytes | None
    ) -> None:
        """Into a pair of directories, behind what was passed."""
        if passed and not passed.startswith(key) and passed > key:
            return  # all of it lies before
        frame = _Frame(key, before, after)
        if passed and passed.startswith(key) and len(passed) > len(key):
            leaf = split_key(passed[len(key) :])[0]
            frame.resume = leaf
            self._stack.append(frame)
            if leaf.endswith(b"/"):  # it may not be done yet
                frame.pairs.append((leaf, *self._children(frame, leaf)))
            return
        self._stack.append(frame)

    def _children(self, frame: _Frame, leaf: bytes) -> tuple[Place | None, Place | None]:
        before = after = None
        if frame.before is not None and self._before is not None:
            before = self._before.child(frame.before, leaf)
        if frame.after is not None:
            after = self._after.child(frame.after, leaf)
        return before, after

    def _read(self, frame: _Frame) -> None:
        """The next names of both."""
        lower = frame.resume or b""
        sides: list[dict[bytes, Place]] = []
        ends: list[bytes] = []
        for tree, directory in ((self._before, frame.before), (self._after, frame.after)):
            places: list[Place] = []
            if tree is not None and directory is not None:
                places, reached = tree.children(directory, lower, _PAGE)
                ends += [] if reached is None else [reached]
            sides.append({place.leaf: place for place in places})
        end = min(ends, default=None)
        frame.resume = end
        before, after = sides
        self._look_up(before, after)
        for leaf in sorted({*before, *after}):
            if end is None or leaf <= end:
                frame.pairs.append((leaf, before.get(leaf), after.get(leaf)))

    def _look_up(self, before: dict[bytes, Place], after: dict[bytes, Place]) -> None:
        """The states of a page of names, those left out that are the same at a glance."""
        some = {
            leaf
            for leaf in {*before, *after}
            if leaf not in before
            or leaf not in after
            or before[leaf].ino != after[leaf].ino
            or not self._is_old(after[leaf].ino)
        }
        self._states = (
            self._before.states([before[leaf] for leaf in some & before.keys()])
            if self._before
            else {},
            self._after.states([after[leaf] for leaf in some & after.keys()]),
        )

    # --- renames -------------------------------------------------------------------------------

    def _meet(self, before: Place | None, after: Place | None) -> _Met:
        """What is to be compared: a renamed inode with itself, at its new name only. And whether
        it was renamed."""
        if not self._renames or (before and after and before.ino == after.ino):
            return before, after, False
        if before is not None and self._partner(before, self._before, self._after):
            before = None  # told where it is now
        if after is not None:
            origin = self._partner(after, self._after, self._before)
            if origin is not None:
                return origin, after, True
        return before, after, False

    def _partner(self, place: Place, here: Tree | None, there: Tree | None) -> Place | None:
        """Where the inode at a name that only one moment has was at the other moment."""
        assert here is not None
        assert there is not None
        names = names_of(self._database, place.ino)
        mine = {(name.parent, name.key): name for name in names if _holds(name, here.sequence)}
        others = {(name.parent, name.key): name for name in names if _holds(name, there.sequence)}
        left = sorted(mine.keys() - others.keys())
        came = sorted(others.keys() - mine.keys())
        for at, name in enumerate(left[: len(came)]):
            route = self._route(mine[name], here)
            if route is not None and route.key == place.key:
                found = self._route(others[came[at]], there)
                return found if found is not None and self._in_scope(found) else None
        return None

    def _route(self, name: Name, tree: Tree) -> Place | None:
        """The place that a name made at a moment, if it was in the bucket's tree."""
        for route in self._routes.of(name, tree.sequence, tree.sequence + 1):
            if route.bucket == tree.bucket.id and route.begin <= tree.sequence < route.until:
                return Place(route.key, name.ino, route.begin)
        return None

    def _in_scope(self, place: Place) -> bool:
        top = self._stack[0].key if self._stack else None
        return top is None or place.key.startswith(top)

    # --- one pair ------------------------------------------------------------------------------

    def _compare(
        self, key: bytes, before: Place | None, after: Place | None, moved: bool
    ) -> Difference | None:
        if before and after and not moved and before.ino == after.ino and self._is_old(after.ino):
            return None
        was = _state(self._before, before, self._states[0])
        now = _state(self._after, after, self._states[1])
        if was is None and now is None:
            return None
        content = _content_of(was) != _content_of(now)
        attributes = [] if was is None or now is None else _attributes(was.inode, now.inode)
        if was is not None and now is not None:
            if was.xattrs != now.xattrs:
                attributes.append("xattrs")
            if not (content or attributes or moved):
                return None
        kind = "renamed" if moved else "changed"
        if was is None or now is None:
            kind = "added" if was is None else "deleted"
        shown = now or was
        assert shown is not None
        return Difference(
            kind,
            key,
            before.key if before and before.key != key else None,
            _TYPES.get(stat.S_IFMT(shown.inode.mode), "file"),
            _size(was),
            _size(now),
            content,
            attributes,
        )

    def _is_old(self, ino: int) -> bool:
        """Whether the state of now held at both moments, with the same bytes."""
        row = self._database.get(INODE, ino)
        return (
            row is not None
            and row.nlink > 0
            and row.since <= self._since
            and row.sealed <= self._since
            and not self._after.hides_versions
        )


def _holds(name: Name, sequence: int) -> bool:
    return name.visible <= sequence < name.until


def _state(tree: Tree | None, place: Place | None, known: dict[int, State]) -> State | None:
    """None, too, when nothing is left of it."""
    if tree is None or place is None:
        return None
    return known.get(place.ino) or tree.states([place]).get(place.ino)


def _content_of(state: State | None) -> tuple[object, ...]:
    """What the content of an inode is known by."""
    if state is None:
        return ()
    inode, version = state.inode, state.version
    kind = stat.S_IFMT(inode.mode)
    if version is None or not version.size:
        return (kind, inode.target, inode.rdev)
    return (kind, version.size, version.content, version.content_at)


def _attributes(was: Inode, now: Inode) -> list[str]:
    """Which differ; the times of a directory only say that names in it changed."""
    pairs = [
        ("mode", stat.S_IMODE(was.mode), stat.S_IMODE(now.mode)),
        ("owner", (was.uid, was.gid), (now.uid, now.gid)),
    ]
    if not stat.S_ISDIR(now.mode):
        pairs.append(("mtime", was.mtime_ns, now.mtime_ns))
    return [name for name, one, other in pairs if one != other]


def _size(state: State | None) -> int | None:
    if state is None or not stat.S_ISREG(state.inode.mode):
        return None
    return state.inode.size
