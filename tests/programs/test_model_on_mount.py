"""The random operations of tests/model as system calls on a real mount, compared with the model:
names, attributes and contents as they are now, with remounts and real kills in between."""

import ctypes
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from objfs.base.errors import NameTooLong, NotADirectory, ObjfsError
from objfs.base.types import Caller
from objfs.fuse.errors import errno_of
from tests.model.operations import TICK_NS, Generator, Operation, content
from tests.model.reference import Reference
from tests.model.world import KEPT, ROOT, Node, PassedOver, Refused, State
from tests.programs.drive import Drive

UMASK = 0o022
GIVEN_TIMES_END = (1 << 20) * TICK_NS  # times below were set by an operation, others by the clock
START = 1 << 60
OPERATIONS = 180
AT_FDCWD = -100
LIBC = ctypes.CDLL(None, use_errno=True)
NOT_SYSTEM_CALLS = {"advance", "upkeep", "checkpoint", "commit", "sync", "restore"}
SET_ID = stat.S_ISUID | stat.S_ISGID  # the kernel clears them by rules of its own


def as_system_call(operation: Operation) -> Operation | None:
    """The operation as root of this machine can do it on a mount; None for what is no system call
    or would be refused by the kernel itself."""
    verb, arguments = operation
    if verb in NOT_SYSTEM_CALLS:
        return None
    mapped: list[object] = []
    for argument in arguments:
        if isinstance(argument, Caller):
            mapped.append(Caller(0, 0, UMASK))
        elif argument == b"user.a":  # neither symlinks nor devices have those
            mapped.append(b"trusted.a")
        else:
            mapped.append(argument)
    if verb in ("create", "mkdir", "mknod", "change_mode"):
        assert isinstance(mapped[1], int)
        mapped[1] &= ~SET_ID
    if verb == "open":
        assert isinstance(mapped[1], int)
        mapped[1] = mapped[1] & ~os.O_ACCMODE | os.O_RDWR
    if verb == "symlink":
        mapped[1] = "no/where"
    return verb, tuple(mapped)


class Mounted:
    """The verbs of the model as system calls."""

    def __init__(self, drive: Drive) -> None:
        self.drive = drive
        self.slots: dict[int, int] = {}

    def at(self, path: str) -> str:
        return os.path.join(self.drive.mountpoint, path)

    def create(self, path: str, mode: int, caller: Caller, slot: int) -> None:
        self.slots[slot] = os.open(self.at(path), os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)

    def mkdir(self, path: str, mode: int, caller: Caller) -> None:
        os.mkdir(self.at(path), mode)

    def mknod(self, path: str, mode: int, rdev: int, caller: Caller) -> None:
        os.mknod(self.at(path), mode, rdev)

    def symlink(self, path: str, target: str, caller: Caller) -> None:
        os.symlink(target, self.at(path))

    def link(self, path: str, new_path: str) -> None:
        os.link(self.at(path), self.at(new_path), follow_symlinks=False)

    def unlink(self, path: str) -> None:
        os.unlink(self.at(path))

    def rmdir(self, path: str) -> None:
        os.rmdir(self.at(path))

    def rename(self, path: str, new_path: str, flags: int) -> None:
        names = (os.fsencode(self.at(path)), os.fsencode(self.at(new_path)))
        if LIBC.renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], flags) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))

    def open(self, path: str, flags: int, slot: int) -> None:
        self.slots[slot] = os.open(self.at(path), flags)

    def write(self, slot: int, offset: int, length: int, seed: int) -> int:
        return os.pwrite(self.slots[slot], content(seed, length), offset)

    def read(self, slot: int, offset: int, size: int) -> bytes:
        return os.pread(self.slots[slot], size, offset)

    def flush(self, slot: int) -> None:
        os.close(os.dup(self.slots[slot]))

    def release(self, slot: int) -> None:
        os.close(self.slots.pop(slot))

    def fsync(self, slot: int) -> None:
        os.fsync(self.slots[slot])

    def truncate(self, path: str, size: int) -> None:
        os.truncate(self.at(path), size)

    def truncate_open(self, slot: int, size: int) -> None:
        os.ftruncate(self.slots[slot], size)

    def change_mode(self, path: str, mode: int) -> None:
        os.chmod(self.at(path), mode)

    def change_owner(self, path: str, uid: int | None, gid: int | None) -> None:
        user, group = (-1 if each is None else each for each in (uid, gid))
        os.chown(self.at(path), user, group, follow_symlinks=False)

    def change_times(self, path: str, atime: int | None, mtime: int | None) -> None:
        now = os.lstat(self.at(path))
        times = (
            now.st_atime_ns if atime is None else atime,
            now.st_mtime_ns if mtime is None else mtime,
        )
        os.utime(self.at(path), ns=times, follow_symlinks=False)

    def set_attribute(self, path: str, name: bytes, value: bytes, flags: int) -> None:
        os.setxattr(self.at(path), name, value, flags, follow_symlinks=False)

    def remove_attribute(self, path: str, name: bytes) -> None:
        os.removexattr(self.at(path), name, follow_symlinks=False)

    def read_directory(self, path: str, limit: int) -> list[str]:
        return sorted(os.listdir(self.at(path)))

    def close_all(self) -> None:
        """What the process holds is gone; after a kill that is an error."""
        for descriptor in self.slots.values():
            with suppress(OSError):
                os.close(descriptor)
        self.slots = {}


class Session:
    """A mount and the model, step by step."""

    def __init__(self, drive: Drive, seed: int) -> None:
        self.mounted = Mounted(drive)
        root = os.lstat(drive.mountpoint)
        state = State(root.st_mode, root.st_uid, root.st_gid, root.st_nlink, START, START, START)
        self.reference = Reference(state, 1, START)
        self.random = Random(seed)
        self.inodes = {ROOT: root.st_ino}
        self.done: list[object] = []

    def perform(self, operation: Operation) -> None:
        verb, arguments = operation
        if self._is_symlink(verb, arguments):
            return
        reference = self.reference
        expected: object = None
        refused: tuple[type[ObjfsError], ...] = ()
        try:
            expected = reference.perform(verb, arguments, reference.now + TICK_NS)
        except PassedOver:
            return
        except Refused as error:
            refused = error.errors
        reference.settle(reference.sequence + 1)
        self.done.append(operation)
        code, result = _outcome(lambda: getattr(self.mounted, verb)(*arguments))
        if refused or code:
            assert code in _errnos(refused), f"{code} {result!r}, not {refused or expected!r}"
        else:
            assert result == expected

    def _is_symlink(self, verb: str, arguments: tuple[object, ...]) -> bool:
        """chmod(2) and truncate(2) follow symlinks."""
        if verb not in ("change_mode", "truncate"):
            return False
        assert isinstance(arguments[0], str)
        number = self.reference.world.tree().get(arguments[0])
        return number is not None and self.reference.world.nodes[number].target is not None

    def remount(self) -> None:
        self.done.append("remount")
        for slot in list(self.mounted.slots):
            self.perform(("release", (slot,)))
        self.mounted.drive.remount()
        self.compare(contents=True)

    def kill(self) -> None:
        """kill -9: what happened to names and what was closed is there. Files that are open hold
        what reached the log; the model learns what that is."""
        self.done.append("kill")
        world, drive = self.reference.world, self.mounted.drive
        opened = {each.number for each in self.reference.slots.values()}
        drive.kill()
        self.mounted.close_all()
        drive.mount()
        paths = {number: path for path, number in world.tree().items()}
        for number in opened & set(paths):
            node = world.nodes[number]
            data = Path(self.mounted.at(paths[number])).read_bytes()
            node.content = node.logged = data
            state = node.working._replace(mtime=START)
            node.changed, node.times = False, KEPT
            node.eras = (node.eras[-1]._replace(state=state),)
        self.reference.perform("remount", (), self.reference.now + TICK_NS)
        self.reference.settle(self.reference.sequence + 1)
        self.compare(contents=True)

    def compare(self, *, contents: bool) -> None:
        """The whole tree."""
        world = self.reference.world
        for path, number in world.tree().items():
            node, place = world.nodes[number], self.mounted.at(path)
            status = os.lstat(place)
            assert self.inodes.setdefault(number, status.st_ino) == status.st_ino, path
            assert _seen(status, node) == _expected(node), path
            names = os.listxattr(place, follow_symlinks=False)
            xattrs = {
                os.fsencode(name): os.getxattr(place, name, follow_symlinks=False)
                for name in names
                if name.startswith("trusted.")
            }
            assert xattrs == dict(node.state.xattrs), path
            if node.is_directory:
                assert sorted(os.listdir(place)) == sorted(world.names[number]), path
            elif node.target is not None:
                assert os.readlink(place) == node.target.decode(), path
            elif node.is_file and contents:
                assert Path(place).read_bytes() == node.content, path
        self._compare_open()

    def _compare_open(self) -> None:
        for slot, opened in self.reference.slots.items():
            node, descriptor = self.reference.world.nodes[opened.number], self.mounted.slots[slot]
            size = os.fstat(descriptor).st_size
            assert size == len(node.content)
            assert os.pread(descriptor, size + 1, 0) == node.content


def _outcome(call: Callable[[], object]) -> tuple[int | None, object]:
    try:
        return 0, call()
    except OSError as error:
        return error.errno, str(error)


def _errnos(refused: tuple[type[ObjfsError], ...]) -> set[int]:
    """What the kernel may say for them; it looks at a path's names one by one and in its own
    order."""
    codes = {errno_of(error("")) for error in refused}
    if {NotADirectory, NameTooLong} & set(refused):
        codes |= {2}  # ENOENT
    return codes


def _seen(status: os.stat_result, node: Node) -> dict[str, int]:
    seen = {
        "mode": status.st_mode,
        "uid": status.st_uid,
        "gid": status.st_gid,
        "nlink": status.st_nlink,
        "rdev": status.st_rdev,
        "size": status.st_size if node.is_file else 0,
    }
    if node.working.mtime < GIVEN_TIMES_END:
        seen["mtime"] = status.st_mtime_ns
    return seen


def _expected(node: Node) -> dict[str, int]:
    state = node.working
    expected = {
        "mode": state.mode,
        "uid": state.uid,
        "gid": state.gid,
        "nlink": state.nlink,
        "rdev": node.rdev,
        "size": len(node.content) if node.is_file else 0,
    }
    if state.mtime < GIVEN_TIMES_END:
        expected["mtime"] = state.mtime
    return expected


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    before = os.umask(UMASK)
    yield
    os.umask(before)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="makes devices, changes owners, sets trusted.*")
@pytest.mark.parametrize("seed", range(3))
def test_a_random_history_on_a_mount(drive: Drive, seed: int) -> None:
    """S1.3, S1.4"""
    session = Session(drive, seed)
    generator = Generator(Random(seed), session.reference, disasters=False)
    ends: list[Callable[[], None]] = [session.remount, session.kill]
    try:
        for number, drawn in enumerate(islice(generator, OPERATIONS), 1):
            operation = as_system_call(drawn)
            if operation is not None:
                session.perform(operation)
            session.compare(contents=session.random.random() < 0.3)
            if number % 60 == 0:
                ends[number // 60 % 2]()
        session.remount()
    except Exception:
        print("\n".join(map(repr, session.done)))
        raise
    finally:
        session.mounted.close_all()
