"""A plain model of the filesystem, its past included: the one definition of right.

It knows nothing of logs, extents or rows: bytes are `bytes`, directories are dicts, and every past
moment is a copy. The store's sequence number is the only thing it is told, after each operation.

What is right:

- **Attributes.** A change that the log takes at once (names, links, modes, owners, times, xattrs)
  begins a new *era* of the inode. It amends the era before, which then reads as if it had always
  been so, if that era began less than `AMEND_NS` ago, or in the same session (while the file has
  been open without a break). The times that writing gives a file, and those set while it has
  working content, are of the working state until its content is logged.
- **Content.** What is written belongs to the *working* content. *Logged* content is what recovery
  finds: writes get there by flush, fsync, sync and write-back; truncation and O_TRUNC at once.
  *Sealed* content is what the past and every other reader sees: a version is sealed at flush and
  release if the file changed, before its last name is displaced, at a clean end, and by recovery.
- **Replacement.** A seal takes the place of the version that a flush made in the same session, if
  that was less than `AMEND_NS` ago, nothing exposed it since, nothing was cut off, and the file
  did not share its bytes with a version that a restore brought back. The replaced interval then
  reads as the version before.
- **The past.** At a moment: the names as they were, the era that holds then, the content and the
  size last sealed then.
- **A crash** leaves the moment of some sequence number, at least the last one synced: working
  content is gone, logged content is sealed, files that have no name are gone, and so are handles.
"""

import copy
import os
import stat
from dataclasses import dataclass, field
from typing import NamedTuple, NoReturn

from objfs.base.errors import (
    AlreadyExists,
    DirectoryNotEmpty,
    InvalidRequest,
    IsADirectory,
    NameTooLong,
    NoAttribute,
    NotADirectory,
    NotFound,
    NotPermitted,
    ObjfsError,
)
from objfs.base.limits import AMEND_NS, NAME_BYTES_MAX, SEAL_OPEN_SECONDS
from objfs.base.types import Caller
from tests.model.operations import CREATE_ONLY, EXCHANGE, NOREPLACE, REPLACE_ONLY, content

ROOT = 0
CHANGES_MAX = 1000  # more than one operation of these tests logs
SEAL_OPEN_NS = int(SEAL_OPEN_SECONDS * 1e9)
PENDING = 1 << 62  # the sequence of what is being done
EMPTY: tuple[tuple[bytes, bytes], ...] = ()


class Refused(Exception):
    """The operation is refused, with any of these errors: the order of checks is nobody's
    promise."""

    def __init__(self, *errors: type[ObjfsError]) -> None:
        super().__init__(" or ".join(error.__name__ for error in errors))
        self.errors = errors


class PassedOver(Exception):
    """The operation makes no sense here: an empty slot, a taken one."""


class State(NamedTuple):
    """The attributes of an inode that eras are made of."""

    mode: int
    uid: int
    gid: int
    nlink: int
    atime: int
    mtime: int
    ctime: int
    xattrs: tuple[tuple[bytes, bytes], ...] = EMPTY


class Era(NamedTuple):
    """A state and the moment it holds from."""

    since: int
    time: int
    state: State


class Sealed(NamedTuple):
    """Content and the moment the past shows it from."""

    since: int
    content: bytes


class Times(NamedTuple):
    """Times that belong to the working state; None: as logged."""

    atime: int | None = None
    mtime: int | None = None
    ctime: int | None = None


KEPT = Times()


@dataclass
class Node:
    """An inode, with all its past. Every field is immutable, so a copy is a snapshot."""

    number: int
    eras: tuple[Era, ...]
    target: bytes | None = None
    rdev: int = 0
    content: bytes = b""
    logged: bytes = b""
    versions: tuple[Sealed, ...] = ()
    dirty: bool = False  # something was written since the content was logged
    written_from: int | None = None  # the lowest offset of written bytes that are not logged
    shared: bool = False  # a restore made it, and it has no bytes of its own yet
    changed: bool = False  # there is working state that no version covers
    unsealed: bool = False  # there is logged state that no version covers
    times: Times = KEPT  # of the working state
    handles: int = 0
    session: int | None = None  # the first sequence of the session; None: not in use
    opened_at: int = 0  # when the session began or made its last version
    flushed_at: int | None = None  # when a flush of this session made the newest version

    @property
    def state(self) -> State:
        """What the log has."""
        return self.eras[-1].state

    @property
    def working(self) -> State:
        """What stat(2) tells."""
        state, times = self.state, self.times
        return state._replace(
            atime=state.atime if times.atime is None else times.atime,
            mtime=state.mtime if times.mtime is None else times.mtime,
            ctime=state.ctime if times.ctime is None else max(times.ctime, state.ctime),
        )

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.state.mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.state.mode)

    def state_at(self, sequence: int) -> State:
        """The state that the past shows."""
        return next(era.state for era in reversed(self.eras) if era.since <= sequence)

    def content_at(self, sequence: int) -> bytes:
        """The content that the past shows: empty before the first version."""
        sealed = (each.content for each in reversed(self.versions) if each.since <= sequence)
        return next(sealed, b"")


class Opened(NamedTuple):
    """What a slot holds."""

    number: int
    flags: int

    @property
    def writable(self) -> bool:
        return self.flags & os.O_ACCMODE != os.O_RDONLY


class Entry(NamedTuple):
    """One version of a path; without content it is a deletion."""

    sequence: int
    sealed: Sealed | None
    number: int = ROOT


@dataclass
class World:
    """One moment: every inode that ever was, and the names."""

    nodes: dict[int, Node] = field(default_factory=dict)
    names: dict[int, dict[str, int]] = field(default_factory=dict)

    def copy(self) -> "World":
        nodes = {number: copy.copy(node) for number, node in self.nodes.items()}
        return World(nodes, {number: dict(names) for number, names in self.names.items()})

    def tree(self) -> dict[str, int]:
        """Every path and the inode there, the root included."""
        found = {"": ROOT}
        pending = [("", ROOT)]
        while pending:
            path, number = pending.pop()
            for name, child in self.names[number].items():
                below = f"{path}/{name}".lstrip("/")
                found[below] = child
                if child in self.names:
                    pending.append((below, child))
        return found


class Reference:
    """The filesystem that cannot be wrong. `perform` does one operation of
    `tests/model/operations.py` on it; the other methods are the operations."""

    def __init__(self, root: State, sequence: int, time: int) -> None:
        node = Node(ROOT, (Era(sequence, time, root),))
        self.world = World({ROOT: node}, {ROOT: {}})
        self.slots: dict[int, Opened] = {}
        self.moments: dict[int, World] = {sequence: self.world.copy()}
        self.within: dict[int, list[World]] = {}  # by the sequence an operation ended at
        self.sequence = sequence
        self.now = time
        self._steps: list[World] = []

    def perform(self, verb: str, arguments: tuple[object, ...], now: int) -> object:
        """Do it; `settle` comes next. Raises Refused, PassedOver."""
        self.now = now
        self._steps = []
        return getattr(self, verb)(*arguments)

    def settle(self, sequence: int) -> None:
        """The store did it too, and its last sequence is this one."""
        before, self.sequence = self.sequence, sequence
        logged = _settle(self.world, sequence)
        assert not logged or sequence > before, f"the log has nothing of {logged}"
        for world in self._steps:
            _settle(world, sequence)
        if sequence != before:
            self.moments[sequence] = self.world.copy()
            self.within[sequence] = self._steps

    def interrupted(self) -> None:
        """The operation was stopped somewhere: any of its steps may be in the log."""
        self.settle(self.sequence + CHANGES_MAX)

    def twin(self) -> "Reference":
        """A model at the same place that goes on by itself."""
        twin = copy.copy(self)
        twin.world, twin.slots = self.world.copy(), dict(self.slots)
        twin.moments, twin.within = dict(self.moments), dict(self.within)
        return twin

    def exposed(self) -> None:
        """All versions were read: none is replaced any more."""
        for node in self.world.nodes.values():
            node.flushed_at = None

    # --- what the generator looks at -------------------------------------------------------------

    def paths(self, kind: str) -> list[str]:
        nodes = self.world.nodes
        return [
            path
            for path, number in self.world.tree().items()
            if (kind == "any" and path)
            or (kind == "directory" and nodes[number].is_directory)
            or (kind == "file" and nodes[number].is_file)
        ]

    def open_slots(self) -> list[int]:
        return list(self.slots)

    def size_in(self, slot: int) -> int:
        if slot not in self.slots:
            return 0
        return len(self.world.nodes[self.slots[slot].number].content)

    # --- paths -----------------------------------------------------------------------------------

    def _find(self, path: str) -> Node:
        number = ROOT
        for name in path.split("/") if path else []:
            number = self._entry(number, name)
        return self.world.nodes[number]

    def _entry(self, directory: int, name: str) -> int:
        if directory not in self.world.names:
            self._refuse(NotADirectory)
        if len(name) > NAME_BYTES_MAX:
            self._refuse(NameTooLong)
        found = self.world.names[directory].get(name)
        if found is None:
            self._refuse(NotFound)
        return found

    def _place(self, path: str) -> tuple[int, str]:
        """The directory of a path, and the last name."""
        above, _, name = path.rpartition("/")
        directory = self._find(above)
        if not directory.is_directory:
            self._refuse(NotADirectory)
        if len(name) > NAME_BYTES_MAX:
            self._refuse(NameTooLong)
        return directory.number, name

    def _refuse(self, *errors: type[ObjfsError]) -> NoReturn:
        raise Refused(*errors)

    def _opened(self, slot: int) -> tuple[Node, Opened]:
        if slot not in self.slots:
            raise PassedOver
        opened = self.slots[slot]
        return self.world.nodes[opened.number], opened

    # --- eras and versions -----------------------------------------------------------------------

    def _put(self, node: Node, **changes: object) -> None:
        """A new state: amends the era before, or begins one. One without a name always begins."""
        state = node.state._replace(**changes)  # type: ignore[arg-type]
        era = node.eras[-1]
        young = era.time > self.now - AMEND_NS
        same_session = node.session is not None and era.since >= node.session
        if (young or same_session) and state.nlink:
            node.eras = (*node.eras[:-1], era._replace(state=state))
        else:
            node.eras = (*node.eras, Era(PENDING, self.now, state))

    def _mark(self, node: Node, **changes: object) -> None:
        """A change that is logged at once; its ctime is also one of the working state."""
        self._put(node, **changes, ctime=self.now)
        if node.changed:
            node.times = node.times._replace(ctime=self.now)

    def _touch(self, directory: int, links: int = 0) -> None:
        node = self.world.nodes[directory]
        self._put(node, mtime=self.now, ctime=self.now, nlink=node.state.nlink + links)

    def _use(self, node: Node) -> None:
        if node.session is None:
            node.session = self.sequence + 1
            node.opened_at = self.now

    def _leave(self, node: Node) -> None:
        """The session ends with the last handle: what changed is sealed, what has no name ends."""
        if node.handles:
            return
        self._seal(node)
        node.session = node.flushed_at = None
        if node.state.nlink == 0:
            node.content = node.logged = b""
            node.changed = node.unsealed = node.dirty = False
            node.written_from = None
            node.times = KEPT

    def _log(self, node: Node) -> None:
        """Working content becomes logged content, with its times."""
        if node.content == node.logged and node.times == KEPT:
            return
        self._put_working(node)
        node.unsealed = True
        node.flushed_at = None
        self._step()

    def _unshare(self, node: Node) -> None:
        """Bytes of its own, by a change of its own."""
        if node.shared:
            node.shared = False
            self._put(node)
            self._step()

    def _put_working(self, node: Node) -> None:
        working = node.working
        if node.written_from is not None:
            self._unshare(node)
        self._put(node, atime=working.atime, mtime=working.mtime, ctime=working.ctime)
        node.logged, node.times, node.dirty = node.content, KEPT, False
        node.written_from = None

    def _seal(self, node: Node, *, by_flush: bool = False) -> None:
        """A version, if there is anything that none covers. Nobody will see one of a file without
        a name."""
        if not node.changed or not node.state.nlink:
            return
        if node.shared and node.written_from is not None:
            node.flushed_at = None
        replaces = node.flushed_at is not None and node.flushed_at > self.now - AMEND_NS
        kept = node.versions[:-1] if replaces else node.versions
        self._put_working(node)
        node.versions = (*kept, Sealed(PENDING, node.content))
        node.flushed_at = self.now if by_flush else None
        node.changed = node.unsealed = False
        node.opened_at = self.now
        self._step()

    def _step(self) -> None:
        """A crash may leave this moment, in the middle of the operation."""
        self._steps.append(self.world.copy())

    # --- making ----------------------------------------------------------------------------------

    def _make(
        self,
        path: str,
        mode: int,
        caller: Caller,
        *,
        target: bytes | None = None,
        rdev: int = 0,
    ) -> Node:
        directory, name = self._place(path)
        if name in self.world.names[directory]:
            self._refuse(AlreadyExists)
        above = self.world.nodes[directory].state
        gid = caller.gid
        if above.mode & stat.S_ISGID:
            gid = above.gid
            mode |= stat.S_ISGID if stat.S_ISDIR(mode) else 0
        if target is None:
            mode &= ~caller.umask
        links = 2 if stat.S_ISDIR(mode) else 1
        state = State(mode, caller.uid, gid, links, self.now, self.now, self.now)
        number = len(self.world.nodes)
        node = Node(number, (Era(PENDING, self.now, state),), target, rdev)
        self.world.nodes[number] = node
        self.world.names[directory][name] = number
        if stat.S_ISDIR(mode):
            self.world.names[number] = {}
        self._touch(directory, int(stat.S_ISDIR(mode)))
        return node

    def create(self, path: str, mode: int, caller: Caller, slot: int) -> None:
        if slot in self.slots:
            raise PassedOver
        node = self._make(path, stat.S_IFREG | mode, caller)
        node.changed = True
        node.handles = 1
        self._use(node)
        self.slots[slot] = Opened(node.number, os.O_RDWR)

    def mkdir(self, path: str, mode: int, caller: Caller) -> None:
        self._make(path, stat.S_IFDIR | mode, caller)

    def mknod(self, path: str, mode: int, rdev: int, caller: Caller) -> None:
        self._make(path, mode, caller, rdev=rdev)

    def symlink(self, path: str, target: str, caller: Caller) -> None:
        self._make(path, stat.S_IFLNK | 0o777, caller, target=target.encode())

    def link(self, path: str, new_path: str) -> None:
        node = self._find(path)
        directory, name = self._place(new_path)
        errors: list[type[ObjfsError]] = []
        if node.is_directory:
            errors.append(NotPermitted)
        if name in self.world.names[directory]:
            errors.append(AlreadyExists)
        if errors:
            self._refuse(*errors)
        self._put(node, nlink=node.state.nlink + 1, ctime=self.now)
        self.world.names[directory][name] = node.number
        self._touch(directory)

    # --- removing and moving ---------------------------------------------------------------------

    def unlink(self, path: str) -> None:
        directory, name = self._place(path)
        node = self.world.nodes[self._entry(directory, name)]
        if node.is_directory:
            self._refuse(IsADirectory)
        self._displace(node)
        del self.world.names[directory][name]
        self._drop_link(node)
        self._touch(directory)

    def _displace(self, node: Node) -> None:
        """Before a name of a file is taken away: what it holds becomes a version."""
        self._seal(node)

    def _drop_link(self, node: Node) -> None:
        self._put(node, nlink=node.state.nlink - 1, ctime=self.now)
        self._leave(node)

    def rmdir(self, path: str) -> None:
        if not path:
            raise PassedOver
        directory, name = self._place(path)
        node = self.world.nodes[self._entry(directory, name)]
        if not node.is_directory:
            self._refuse(NotADirectory)
        if self.world.names[node.number]:
            self._refuse(DirectoryNotEmpty)
        self._remove_directory(directory, name)
        self._touch(directory, -1)

    def _remove_directory(self, directory: int, name: str) -> None:
        number = self.world.names[directory].pop(name)
        del self.world.names[number]

    def rename(self, path: str, new_path: str, flags: int) -> None:
        if not path or not new_path:
            raise PassedOver
        directory, name = self._place(path)
        new_directory, new_name = self._place(new_path)
        names, new_names = self.world.names[directory], self.world.names[new_directory]
        there = new_names.get(new_name)
        if name not in names:
            self._refuse(NotFound)
        node = self.world.nodes[names[name]]
        target = None if there is None else self.world.nodes[there]
        self._check_rename(node, target, directory, new_directory, flags)
        if target is node:
            return
        if flags == EXCHANGE:
            assert target is not None
            self._exchange(node, target, (directory, name), (new_directory, new_name))
            return
        links = 0
        if target is not None and target.is_directory:
            self._remove_directory(new_directory, new_name)
            links -= 1
        elif target is not None:
            self._displace(target)
            self._drop_link(target)
        del names[name]
        new_names[new_name] = node.number
        self._put(node, ctime=self.now)
        moved = int(node.is_directory and new_directory != directory)
        self._touch(new_directory, links + moved)
        if new_directory != directory:
            self._touch(directory, -moved)

    def _check_rename(
        self, node: Node, target: Node | None, directory: int, new_directory: int, flags: int
    ) -> None:
        """Everything that is wrong with it; two names of one file are never wrong."""
        errors: list[type[ObjfsError]] = []
        if self._is_below(new_directory, node.number):
            errors.append(InvalidRequest)
        if flags == EXCHANGE:
            if target is None:
                errors.append(NotFound)
            elif self._is_below(directory, target.number):
                errors.append(InvalidRequest)
        elif target is not None and flags == NOREPLACE:
            errors.append(AlreadyExists)
        elif target is not None and target is not node:
            if target.is_directory and not node.is_directory:
                errors.append(IsADirectory)
            if node.is_directory and not target.is_directory:
                errors.append(NotADirectory)
            if target.is_directory and self.world.names[target.number]:
                errors.append(DirectoryNotEmpty)
        if errors:
            self._refuse(*errors)

    def _is_below(self, number: int, directory: int) -> bool:
        """Whether inode `number` is `directory` or lies below it."""
        if number == directory:
            return True
        below = self.world.names.get(directory, {}).values()
        return any(self._is_below(number, child) for child in below)

    def _exchange(
        self, node: Node, other: Node, place: tuple[int, str], new_place: tuple[int, str]
    ) -> None:
        for at, number in ((place, other.number), (new_place, node.number)):
            self.world.names[at[0]][at[1]] = number
        for each in (node, other):
            self._put(each, ctime=self.now)
        if place[0] == new_place[0]:
            self._touch(place[0])
        else:
            links = int(other.is_directory) - int(node.is_directory)
            self._touch(place[0], links)
            self._touch(new_place[0], -links)

    # --- versions of a path ----------------------------------------------------------------------

    def paths_ever(self) -> set[str]:
        """Every path that anything but a directory ever had."""
        return {
            path
            for world in self.moments.values()
            for path, number in world.tree().items()
            if number not in world.names
        }

    def history(self, path: str) -> list[Entry]:
        """The versions of a path, newest first. It led to a file through the same directories for
        a stretch of moments; the stretch shows what was sealed when it began, and what was sealed
        until it ended; and its end is an entry if no other stretch begins there."""
        entries: list[Entry] = []
        chain: tuple[int, ...] = ()
        begin = 0
        for at in sorted(self.moments):
            world = self.moments[at]
            found = _chain(world, path)
            if found == chain:
                continue
            if chain:
                entries += self._shown(chain[-1], begin, at)
                if not found:
                    entries.append(Entry(at, None))
            chain, begin = found, at
        if chain:
            entries += self._shown(chain[-1], begin, self.sequence)
        return entries[::-1]

    def _shown(self, number: int, begin: int, until: int) -> list[Entry]:
        """What an operation seals it seals before it takes the name away: `until` is included."""
        sealed = [each for each in self.world.nodes[number].versions if each.since <= until]
        first = [each for each in sealed if each.since <= begin][-1:]
        later = [each for each in sealed if each.since > begin]
        return [Entry(max(each.since, begin), each, number) for each in first + later]

    def restore(self, path: str, index: int) -> None:
        """Version number `index`, counted from the newest, becomes the newest."""
        history = self.history(path)
        if index >= len(history):
            raise PassedOver
        entry = history[index]
        if entry.sealed is None:
            self._refuse(InvalidRequest)
        self.world.nodes[entry.number].flushed_at = None
        directory, name = self._place(path)
        there = self.world.names[directory].get(name)
        if there is not None:
            displaced = self.world.nodes[there]
            if displaced.is_directory:
                self._refuse(IsADirectory)
            self._displace(displaced)
            self._drop_link(displaced)
        was = self.world.nodes[entry.number].state_at(entry.sequence)
        content = entry.sealed.content
        node = Node(
            len(self.world.nodes),
            (Era(PENDING, self.now, was._replace(nlink=1, ctime=self.now)),),
            content=content,
            logged=content,
            versions=(Sealed(PENDING, content),),
            shared=True,
        )
        self.world.nodes[node.number] = node
        self.world.names[directory][name] = node.number
        self._touch(directory)

    # --- open files ------------------------------------------------------------------------------

    def open(self, path: str, flags: int, slot: int) -> None:
        if slot in self.slots:
            raise PassedOver
        node = self._find(path)
        if node.is_directory:
            self._refuse(IsADirectory)
        if not node.is_file:
            raise PassedOver
        node.handles += 1
        self._use(node)
        self.slots[slot] = Opened(node.number, flags)
        if flags & os.O_TRUNC:
            self._resize(node, 0)

    def write(self, slot: int, offset: int, length: int, seed: int) -> int:
        node, opened = self._opened(slot)
        if not opened.writable:
            raise PassedOver
        old = node.content.ljust(offset, b"\0")
        node.content = old[:offset] + content(seed, length) + old[offset + length :]
        node.dirty = True
        node.written_from = min(offset, offset if node.written_from is None else node.written_from)
        self._changed(node)
        return length

    def read(self, slot: int, offset: int, size: int) -> bytes:
        node, _ = self._opened(slot)
        return node.content[offset : offset + size]

    def flush(self, slot: int) -> None:
        self._seal(self._opened(slot)[0], by_flush=True)

    def release(self, slot: int) -> None:
        node, _ = self._opened(slot)
        del self.slots[slot]
        node.handles -= 1
        self._leave(node)

    def fsync(self, slot: int) -> None:
        node, _ = self._opened(slot)
        self._log(node)
        node.flushed_at = None  # what was promised durable is not replaced

    def sync(self) -> None:
        for node in self.world.nodes.values():
            self._log(node)
            node.flushed_at = None

    def upkeep(self) -> None:
        """What the background does in its time: logs what is dirty, seals what has been changed
        for long."""
        for node in self.world.nodes.values():
            if node.dirty:
                self._log(node)
            if node.session is not None and node.opened_at <= self.now - SEAL_OPEN_NS:
                self._seal(node)

    def checkpoint(self) -> None:
        """Nothing that anybody sees."""

    def commit(self) -> None:
        """Nothing that anybody sees."""

    def _changed(self, node: Node) -> None:
        node.changed = True
        node.times = node.times._replace(mtime=self.now, ctime=self.now)

    # --- attributes ------------------------------------------------------------------------------

    def truncate(self, path: str, size: int) -> None:
        node = self._find(path)
        if node.is_directory:
            self._refuse(IsADirectory)
        if not node.is_file:
            self._refuse(InvalidRequest)
        self._use(node)
        self._resize(node, size)
        self._leave(node)

    def truncate_open(self, slot: int, size: int) -> None:
        node, opened = self._opened(slot)
        if not opened.writable:
            raise PassedOver
        self._resize(node, size)

    def _resize(self, node: Node, size: int) -> None:
        """What is cut off the logged content is cut off in the log at once."""
        if size < len(node.logged):
            if size:
                self._unshare(node)
            node.logged, node.shared = node.logged[:size], False
            node.unsealed = True
            node.flushed_at = None
            self._put(node)
            self._step()
        if node.written_from is not None and node.written_from >= size:
            node.written_from = None
        node.content = node.content[:size].ljust(size, b"\0")
        self._changed(node)

    def change_mode(self, path: str, mode: int) -> None:
        node = self._find(path)
        self._mark(node, mode=stat.S_IFMT(node.state.mode) | mode)

    def change_owner(self, path: str, uid: int | None, gid: int | None) -> None:
        if uid is None and gid is None:
            raise PassedOver
        node = self._find(path)
        state = node.state
        new_uid = state.uid if uid is None else uid
        new_gid = state.gid if gid is None else gid
        self._mark(node, uid=new_uid, gid=new_gid)

    def change_times(self, path: str, atime: int | None, mtime: int | None) -> None:
        if atime is None and mtime is None:
            raise PassedOver
        node = self._find(path)
        times = {"atime": atime, "mtime": mtime, "ctime": self.now}
        given = {name: time for name, time in times.items() if time is not None}
        if node.changed:  # they go with the working state
            node.times = node.times._replace(**given)
        else:
            self._put(node, **given)

    def set_attribute(self, path: str, name: bytes, value: bytes, flags: int) -> None:
        node = self._find(path)
        xattrs = dict(node.state.xattrs)
        if flags == CREATE_ONLY and name in xattrs:
            self._refuse(AlreadyExists)
        if flags == REPLACE_ONLY and name not in xattrs:
            self._refuse(NoAttribute)
        if xattrs.get(name) == value:
            return
        xattrs[name] = value
        self._put(node, xattrs=tuple(sorted(xattrs.items())), ctime=self.now)

    def remove_attribute(self, path: str, name: bytes) -> None:
        node = self._find(path)
        xattrs = dict(node.state.xattrs)
        if xattrs.pop(name, None) is None:
            self._refuse(NoAttribute)
        self._put(node, xattrs=tuple(sorted(xattrs.items())), ctime=self.now)

    def read_directory(self, path: str, limit: int) -> list[str]:
        node = self._find(path)
        if not node.is_directory:
            raise PassedOver
        assert limit > 0
        return sorted(self.world.names[node.number])

    def usage(self) -> tuple[int, int, int]:
        """Live bytes (sealed, of what has a name), past bytes, named inodes but the root."""
        world = self.world
        named = set(world.tree().values()) - {ROOT}
        current = [world.nodes[number] for number in named if world.nodes[number].versions]
        live = sum(len(node.versions[-1].content) for node in current)
        every = sum(len(each.content) for node in world.nodes.values() for each in node.versions)
        return live, every - live, len(named)

    # --- ends ------------------------------------------------------------------------------------

    def remount(self) -> None:
        """A clean end: everything is sealed, nothing is open."""
        self._close_all()

    def has_nameless(self) -> bool:
        """Whether a file is open that has no name."""
        nodes = self.world.nodes
        return any(not nodes[opened.number].state.nlink for opened in self.slots.values())

    def _close_all(self) -> None:
        self.slots = {}
        for node in self.world.nodes.values():
            node.handles = 0
            self._leave(node)

    def candidates(self, sequence: int) -> list[World]:
        """The worlds that a log which ends at `sequence` may stand for: one at the end of an
        operation, in the middle of one any of its steps."""
        if sequence in self.moments:
            return [self.moments[sequence]]
        before = max(each for each in self.moments if each < sequence)
        after = min(each for each in self.moments if each > sequence)
        return [self.moments[before], *self.within[after], self.moments[after]]

    def recover(self, world: World, found: int, sequence: int, now: int) -> bool:
        """Go on from `world` after a crash that left the log at `found`; recovery took it on to
        `sequence`. False if it would have had to log more than that."""
        self.world = world.copy()
        _settle(self.world, found)
        self.sequence, self.now, self.slots = found, now, {}
        for node in self.world.nodes.values():
            node.content, node.times = node.logged, KEPT
            node.session = node.flushed_at = None
            node.changed = node.dirty = False
            node.written_from = None
            node.handles = 0
        self.moments = {at: each for at, each in self.moments.items() if at < found}
        self.within = {at: each for at, each in self.within.items() if at <= found}
        self.moments[found] = self.world.copy()
        self._steps = []
        for node in self.world.nodes.values():
            if node.unsealed and node.state.nlink:
                node.versions = (*node.versions, Sealed(PENDING, node.logged))
                self._put(node, mtime=now, ctime=now)
                node.unsealed = False
                self._step()
        if self._steps and sequence == found:
            return False
        self._close_all()
        self.settle(sequence)
        return True

    def recover_partly(self, found: int, now: int) -> None:
        """Recovery began on a log that ended at `found`, and was stopped somewhere."""
        end = found + CHANGES_MAX
        worlds: list[World] = []
        for world in self.candidates(found):
            twin = self.twin()
            twin.recover(world, found, end, now)
            worlds += [twin.moments[found], *twin.within[end], twin.moments[end]]
        self.moments = {at: each for at, each in self.moments.items() if at < found}
        self.within = {end: worlds}
        self.moments[end] = worlds[-1]
        self.sequence = end


def _chain(world: World, path: str) -> tuple[int, ...]:
    """The inodes along a path to a file; empty if it leads to none."""
    chain = [ROOT]
    for name in path.split("/"):
        found = world.names.get(chain[-1], {}).get(name)
        if found is None:
            return ()
        chain.append(found)
    return () if chain[-1] in world.names else tuple(chain)


def _settle(world: World, sequence: int) -> list[int]:
    """What began at a later sequence, or is pending, began at this one. Returns the inodes."""
    settled = []
    for node in world.nodes.values():
        if node.eras[-1].since > sequence:
            node.eras = tuple(era._replace(since=min(era.since, sequence)) for era in node.eras)
            if node.state.nlink:  # of a file without a name, nobody knows what the log takes
                settled.append(node.number)
        if node.versions and node.versions[-1].since > sequence:
            node.versions = tuple(
                sealed._replace(since=min(sealed.since, sequence)) for sealed in node.versions
            )
            settled.append(node.number)
    return settled
