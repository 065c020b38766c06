"""The operations of the random tests: plain values, how they are drawn, how they are dropped.

An operation names things by path ("" is the root) and open files by slot, never by inode or
handle: so a list of operations means something on any filesystem, and still does after some of
them were dropped. What has no sense at its place (an empty slot, a taken one) is passed over by
whoever performs it; what is refused is compared like any other result.
"""

import os
import stat
from collections.abc import Callable, Iterator
from random import Random
from typing import Protocol

from objfs.base.limits import KIB, NAME_BYTES_MAX
from objfs.base.types import Caller
from tests.model.world import Rules

Operation = tuple[str, tuple[object, ...]]  # the verb's name, its arguments

TICK_NS = 1_000_003  # all times are whole ticks; none of them adds up to AMEND_NS exactly
SLOTS = 4
NAMES = ("a", "b", "c", "d.txt", ".e.swp")
DEPTH_MAX = 3
SNAPSHOTS = ("s1", "s2", "s3")
TICKS_PER_HOUR = 3_600_000
HOURS = (1, 1, 3, 24, 30)
NOREPLACE, EXCHANGE = 1, 2  # renameat2(2)
CREATE_ONLY, REPLACE_ONLY = 1, 2  # setxattr(2): XATTR_CREATE, XATTR_REPLACE
CALLERS = (Caller(0, 0, 0o022), Caller(1000, 1000, 0o002), Caller(1001, 1000, 0o077))
MODES = (0o644, 0o600, 0o755, 0o640, 0o777, 0o444)
DIRECTORY_MODES = (0o755, 0o700, 0o1777, 0o2775)
NODE_TYPES = (stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK)
ATTRIBUTES = (b"user.a", b"trusted.t")
LENGTHS = (1, 10, 100, 1000, 4096, 5000, 20_000)
LONG_LENGTHS = (100_000, 130 * KIB, 300_000)
OFFSETS = (0, 0, 0, 1, 100, 4096, 5000, 10_000)
FAR_OFFSETS = (70_000, 200_000, 500_000)


SLOT_VERBS = {"write", "read", "flush", "release", "fsync", "truncate_open"}
ENDS: tuple[Callable[[int], list[Operation]], ...] = (
    lambda slot: [],
    lambda slot: [("flush", (slot,))],
    lambda slot: [("release", (slot,))],
    lambda slot: [("flush", (slot,)), ("release", (slot,))],
    lambda slot: [("fsync", (slot,)), ("release", (slot,))],
)


class Scene(Protocol):
    """What the generator looks at, so that most operations make sense."""

    def paths(self, kind: str) -> list[str]:
        """The existing paths of a kind: "file", "directory" (with the root), "any"."""

    def paths_ever(self) -> set[str]:
        """Every path that anything but a directory ever had."""

    def open_slots(self) -> list[int]:
        """Slots that hold a handle."""

    def size_in(self, slot: int) -> int:
        """The working size of the file in a slot."""


def ticks_of(time_ns: int) -> int:
    """A time in ticks: the nanoseconds that one change comes after another do not count."""
    return time_ns // TICK_NS


def content(seed: int, length: int) -> bytes:
    """The bytes that a write puts: random, constant or repetitive, by the seed."""
    if seed % 5 == 0:
        return bytes([seed % 251]) * length
    if seed % 5 == 1:
        return (b"%08d;" % seed * (length // 9 + 1))[:length]
    return Random(seed).randbytes(length)


class Generator:
    """Draws operations that fit a scene."""

    def __init__(
        self, random: Random, scene: Scene, *, disasters: bool = True, time: bool = False
    ) -> None:
        """`disasters`: crashes, lost indexes; `time`: what is done with the past."""
        self._random = random
        self._scene = scene
        self._draw: list[Callable[[], Operation | list[Operation]]] = []
        self._weights: list[int] = []
        for weight, draw in self._table(disasters) + (self._time_table() if time else []):
            self._weights.append(weight)
            self._draw.append(draw)

    def __iter__(self) -> Iterator[Operation]:
        for _ in range(3):
            yield self._mkdir()
        while True:
            drawn = self._random.choices(self._draw, self._weights)[0]()
            if isinstance(drawn, list):
                yield from drawn
            elif drawn[0] not in SLOT_VERBS or self._scene.open_slots():
                yield drawn

    def _table(
        self, disasters: bool
    ) -> list[tuple[int, Callable[[], Operation | list[Operation]]]]:
        usual: list[tuple[int, Callable[[], Operation | list[Operation]]]] = [
            (8, self._new_file),
            (12, self._overwrite),
            (6, self._save),
            (6, self._create),
            (10, self._open),
            (24, self._write),
            (4, self._read),
            (5, self._flush),
            (8, self._release),
            (5, self._fsync),
            (4, self._truncate),
            (6, self._truncate_open),
            (3, self._mkdir),
            (2, self._rmdir),
            (3, self._mknod),
            (3, self._symlink),
            (5, self._link),
            (4, self._unlink),
            (7, self._restore),
            (8, self._rename),
            (3, self._exchange),
            (5, self._change_mode),
            (4, self._change_owner),
            (5, self._change_times),
            (8, self._set_attribute),
            (3, self._remove_attribute),
            (1, self._list),
            (12, self._advance),
            (2, self._sync),
        ]
        if not disasters:
            return usual
        return [
            *usual,
            (4, lambda: ("upkeep", ())),
            (1, lambda: ("checkpoint", ())),
            (3, lambda: ("compact", (self._random.choice((0.0, 0.1, 0.5)),))),
            (2, lambda: ("commit", ())),
            (1, lambda: ("remount", (self._index_fault(),))),
            (3, self._crash),
        ]

    def _time_table(self) -> list[tuple[int, Callable[[], Operation | list[Operation]]]]:
        return [
            (5, self._take_snapshot),
            (4, lambda: ("drop_snapshot", (self._random.choice(SNAPSHOTS),))),
            (7, self._forget_version),
            (2, self._forget),
            (4, self._restore_to),
            (4, lambda: ("restore_tree", (self._random.random(), self._random.random()))),
            (3, self._set_rules),
            (1, lambda: ("remove_rules", (self._rules_path(),))),
            (5, lambda: ("apply_rules", ())),
            (2, lambda: [("compact", (0.0,)), ("compare", ())]),
            (1, lambda: ("scrub", ())),
            (2, lambda: ("check", ())),
            (4, lambda: ("advance", (self._random.choice(HOURS) * TICKS_PER_HOUR,))),
        ]

    # --- what operations work on -----------------------------------------------------------------

    def _path(self, kind: str, existing: float = 0.9) -> str:
        """Mostly a path of that kind that exists, else any."""
        paths = self._scene.paths(kind)
        if paths and self._random.random() < existing:
            return self._random.choice(paths)
        return self._free_path()

    def _free_path(self) -> str:
        """A name in an existing directory, mostly; it may be taken."""
        random = self._random
        if random.random() < 0.02:
            return "/".join(random.choices(NAMES, k=DEPTH_MAX))
        if random.random() < 0.01:
            return "n" * (NAME_BYTES_MAX + random.randrange(2))
        shallow = [p for p in self._scene.paths("directory") if p.count("/") < DEPTH_MAX - 1]
        taken = set(self._scene.paths("any")) if random.random() < 0.9 else set()
        path = ""
        for _ in range(5):
            path = f"{random.choice(shallow)}/{random.choice(NAMES)}".lstrip("/")
            if path not in taken:
                break
        return path

    def _slot(self) -> int:
        slots = self._scene.open_slots()
        return self._random.choice(slots) if slots else self._random.randrange(SLOTS)

    def _free_slot(self) -> int:
        free = sorted(set(range(SLOTS)) - set(self._scene.open_slots()))
        return self._random.choice(free or range(SLOTS))

    def _caller(self) -> Caller:
        return self._random.choice(CALLERS)

    def _seed(self) -> int:
        return self._random.randrange(1 << 30)

    # --- what programs do: several operations in a row -------------------------------------------

    def _new_file(self) -> list[Operation]:
        slot = self._free_slot()
        path, mode = self._free_path(), self._random.choice(MODES)
        length = self._random.choice((*LENGTHS, *LENGTHS, *LONG_LENGTHS))
        return [
            ("create", (path, mode, self._caller(), slot)),
            ("write", (slot, 0, length, self._seed())),
            ("release", (slot,)),
        ]

    def _overwrite(self) -> list[Operation]:
        """A part of a file, or several, often over what is there; sometimes it stays open."""
        random, slot = self._random, self._free_slot()
        operations: list[Operation] = [("open", (self._path("file", 1.0), os.O_RDWR, slot))]
        for _ in range(random.choice((1, 1, 1, 2, 3))):
            length = random.choice(LENGTHS[:-1])
            operations.append(("write", (slot, random.choice(OFFSETS), length, self._seed())))
        return [*operations, *random.choice(ENDS)(slot)]

    def _save(self) -> list[Operation]:
        """rsync's way, or an editor's: a temporary file, its attributes, a rename over."""
        random, slot = self._random, self._free_slot()
        to = self._path("file")
        above, _, name = to.rpartition("/")
        temporary = f"{above}/{random.choice(('.tmp', f'.{name[:200]}.Xy12aB'))}".lstrip("/")
        operations: list[Operation] = [
            ("create", (temporary, 0o600, self._caller(), slot)),
            ("write", (slot, 0, random.choice(LENGTHS), self._seed())),
            *random.choice(ENDS)(slot),
            ("change_mode", (temporary, 0o640)),
            ("change_times", (temporary, None, random.randrange(1 << 20) * TICK_NS)),
        ]
        if random.random() < 0.3:
            operations.append(("link" if random.random() < 0.5 else "rename", (to, f"{to}~")))
        operations = [(v, (*a, 0)) if v == "rename" else (v, a) for v, a in operations]
        return [*operations, ("rename", (temporary, to, 0))]

    # --- operations ------------------------------------------------------------------------------

    def _create(self) -> Operation:
        path, mode = self._free_path(), self._random.choice(MODES)
        return "create", (path, mode, self._caller(), self._free_slot())

    def _open(self) -> Operation:
        flags = self._random.choice(
            (os.O_RDONLY, os.O_RDWR, os.O_RDWR, os.O_WRONLY, os.O_RDWR | os.O_TRUNC)
        )
        return "open", (self._path("file"), flags, self._free_slot())

    def _write(self) -> Operation:
        random = self._random
        rare = random.random() < 0.12
        length = random.choice(LONG_LENGTHS if rare else LENGTHS)
        slot = self._slot()
        offset = random.choice(FAR_OFFSETS if random.random() < 0.05 else OFFSETS)
        if random.random() < 0.4:
            offset = self._scene.size_in(slot)
        return "write", (slot, offset, length, self._seed())

    def _read(self) -> Operation:
        random = self._random
        return "read", (self._slot(), random.choice(OFFSETS), random.choice(LENGTHS))

    def _flush(self) -> Operation:
        return "flush", (self._slot(),)

    def _release(self) -> Operation:
        return "release", (self._slot(),)

    def _fsync(self) -> Operation:
        return "fsync", (self._slot(),)

    def _size(self) -> int:
        return self._random.choice((0, 0, 1, 50, 4096, 4097, 9000, 30_000))

    def _truncate(self) -> Operation:
        return "truncate", (self._path("file"), self._size())

    def _truncate_open(self) -> Operation:
        return "truncate_open", (self._slot(), self._size())

    def _mkdir(self) -> Operation:
        mode = self._random.choice(DIRECTORY_MODES)
        return "mkdir", (self._free_path(), mode, self._caller())

    def _rmdir(self) -> Operation:
        return "rmdir", (self._path("directory" if self._random.random() < 0.9 else "any"),)

    def _mknod(self) -> Operation:
        kind = self._random.choice(NODE_TYPES)
        device = os.makedev(7, 3) if kind in (stat.S_IFCHR, stat.S_IFBLK) else 0
        mode = kind | self._random.choice(MODES)
        return "mknod", (self._free_path(), mode, device, self._caller())

    def _symlink(self) -> Operation:
        target = self._random.choice(("a", "../b", "/no/where", "x" * 300))
        return "symlink", (self._free_path(), target, self._caller())

    def _link(self) -> Operation:
        return "link", (self._path("any"), self._free_path())

    def _unlink(self) -> Operation:
        return "unlink", (self._path("file" if self._random.random() < 0.7 else "any"),)

    def _restore(self) -> list[Operation]:
        """A restore, and perhaps a change of what it shares with the past."""
        random, slot = self._random, self._free_slot()
        paths = sorted(self._scene.paths_ever())
        path = random.choice(paths) if paths else self._free_path()
        operations: list[Operation] = [("restore", (path, random.choice((0, 0, 1, 1, 2))))]
        change = random.randrange(4)
        if change:
            operations.append(("open", (path, os.O_RDWR, slot)))
        if change & 1:
            operations.append(("truncate_open", (slot, self._size())))
        if change & 2:
            length = random.choice(LENGTHS[:-1])
            operations.append(("write", (slot, random.choice(OFFSETS), length, self._seed())))
        return [*operations, *random.choice(ENDS)(slot)] if change else operations

    def _path_ever(self) -> str:
        paths = sorted(self._scene.paths_ever())
        return self._random.choice(paths) if paths else self._free_path()

    def _take_snapshot(self) -> Operation:
        path = "" if self._random.random() < 0.5 else self._path("any")
        return "take_snapshot", (self._random.choice(SNAPSHOTS), path)

    def _forget_version(self) -> Operation:
        return "forget_version", (self._path_ever(), self._random.choice((0, 1, 1, 1, 2, 3)))

    def _forget(self) -> Operation:
        path = self._path_ever()
        if self._random.random() < 0.5:
            path = path.rpartition("/")[0] or self._path("directory")
        return "forget", (path,)

    def _restore_to(self) -> Operation:
        to = self._path("file", 0.3)
        return "restore", (self._path_ever(), self._random.choice((0, 1, 1, 2)), to)

    def _rules_path(self) -> str:
        path = self._path("any")
        return "" if self._random.random() < 0.6 or len(path) > NAME_BYTES_MAX else path

    def _set_rules(self) -> Operation:
        random = self._random
        kept = random.choice(
            (
                Rules(keep_last=random.choice((1, 2, 3))),
                Rules(keep_for_seconds=random.choice((1, 10, 3600, 86400))),
                Rules(hourly=random.choice((1, 2)), daily=random.choice((0, 2))),
                Rules(keep_for_seconds=10, keep_last=1, daily=1),
                Rules(),
            )
        )
        days = random.choice((0, 0, 1)) if kept != Rules() else 1
        return "set_rules", (self._rules_path(), kept._replace(deleted_days=days))

    def _rename(self) -> Operation:
        random = self._random
        to = self._path("any") if random.random() < 0.5 else self._free_path()
        return "rename", (self._path("any"), to, random.choice((0, 0, 0, 0, NOREPLACE)))

    def _exchange(self) -> Operation:
        return "rename", (self._path("any"), self._path("any"), EXCHANGE)

    def _change_mode(self) -> Operation:
        mode = self._random.choice((*MODES, *DIRECTORY_MODES, 0o4755, 0o2755))
        return "change_mode", (self._path("any"), mode)

    def _change_owner(self) -> Operation:
        random = self._random
        uid, gid = random.choice((None, 0, 1000, 1001)), random.choice((None, 0, 1000))
        return "change_owner", (self._path("any"), uid, gid)

    def _change_times(self) -> Operation:
        random = self._random
        times = (random.choice((None, random.randrange(1 << 20) * TICK_NS)) for _ in range(2))
        return "change_times", (self._path("any"), *times)

    def _set_attribute(self) -> Operation:
        random = self._random
        flags = random.choice((0, 0, 0, CREATE_ONLY, REPLACE_ONLY))
        length = random.choice((0, 1, 10, 3000))
        arguments = (random.choice(ATTRIBUTES), content(self._seed(), length), flags)
        return "set_attribute", (self._path("any"), *arguments)

    def _remove_attribute(self) -> Operation:
        return "remove_attribute", (self._path("any"), self._random.choice(ATTRIBUTES))

    def _list(self) -> Operation:
        return "read_directory", (self._path("directory"), self._random.choice((1, 2, 3, 100)))

    def _advance(self) -> Operation:
        return "advance", (self._random.choice((100, 1000, 1000, 3000, 6000, 12_000, 1_000_000)),)

    def _sync(self) -> Operation:
        return "sync", ()

    def _index_fault(self) -> str:
        return self._random.choice(("kept", "kept", "kept", "lost", "garbage", "older"))

    def _crash(self) -> Operation:
        kept = self._random.choice(("synced", "some", "some", "all"))
        return "crash", (kept, self._seed(), self._index_fault())
