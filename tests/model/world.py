"""What the model is made of: inodes with their past, names, and one moment of both."""

import copy
import os
import stat
from dataclasses import dataclass, field
from typing import NamedTuple

from objfs.base.errors import ObjfsError

ROOT = 0
PENDING = 1 << 62  # the sequence of what is being done
NOWHERE = (-1, "")
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
    born_as: tuple[int, str] | None = None  # directory and name; None: made by a restore
    born_at: int = 0
    vanishes: bool = False  # it was removed, used in passing: nothing is kept of it
    named: bool = False  # a name of it ended that keeps its history
    purged: frozenset[int] = frozenset()  # the `since` of versions that are not kept any more
    thinned: int = 0  # moments before this sequence may have later attributes
    restorable: tuple[State, ...] = ()  # a restore took one of these, it is not known which

    @property
    def is_sealed(self) -> bool:
        """Whether the logged state is that of the newest version."""
        return bool(self.versions) and not self.unsealed

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

    def adopt(self, state: State) -> None:
        """A restore took this state."""
        self.eras, self.restorable = (self.eras[0]._replace(state=state),), ()

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


class Passed(NamedTuple):
    """A name that was used in passing, until the sequence `left`: the past does not show it."""

    left: int
    directory: int
    name: str
    number: int


class Mark(NamedTuple):
    """An entry of a path that was erased, as `Stretch.mark` names it."""

    path: str
    number: int
    begin: int
    sequence: int
    since: int  # of its version; -1: the path had none in that time


class Pin(NamedTuple):
    """A snapshot of a path, "" for all of the bucket."""

    sequence: int
    path: str

    def covers(self, path: str) -> bool:
        """Whether it shows what is at a path; those of directories end with a slash."""
        if not self.path or path.rstrip("/") == self.path or path.startswith(f"{self.path}/"):
            return True
        return path.endswith("/") and self.path.startswith(path)


class Rules(NamedTuple):
    """Rules of retention; 0: there is no such rule."""

    keep_for_seconds: int = 0
    keep_last: int = 0
    hourly: int = 0
    daily: int = 0
    deleted_days: int = 0


@dataclass
class World:
    """One moment: every inode that ever was, the names, and what is kept or gone of the past."""

    nodes: dict[int, Node] = field(default_factory=dict)
    names: dict[int, dict[str, int]] = field(default_factory=dict)
    pins: dict[str, Pin] = field(default_factory=dict)
    rules: dict[str, Rules] = field(default_factory=dict)
    erased: frozenset[Mark] = frozenset()
    touched: bool = False  # something was forgotten, or rules applied, if nothing went by it

    def copy(self) -> "World":
        nodes = {number: copy.copy(node) for number, node in self.nodes.items()}
        names = {number: dict(below) for number, below in self.names.items()}
        return World(nodes, names, dict(self.pins), dict(self.rules), self.erased, self.touched)

    @property
    def pinned(self) -> int:
        """The newest moment that a snapshot shows: no state that it has is amended."""
        return max((pin.sequence for pin in self.pins.values()), default=0)

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


def settle(world: World, sequence: int) -> list[int]:
    """What began at a later sequence, or is pending, began at this one. Returns the inodes."""
    settled = []
    for name, pin in world.pins.items():
        world.pins[name] = pin._replace(sequence=min(pin.sequence, sequence))
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
