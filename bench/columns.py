"""What is measured: the plain disk, the filesystem that does nothing, objfs.

A column is a context manager. While it is open, `root` is a directory to work in; leaving it
unmounts, ends its process and removes what it made, whatever happened.
"""

import shutil
import subprocess
import sys
import time
from abc import abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.figures import DISK, NOTHING, OBJFS

WAITER = "nothing+waiter"
NAMES = (OBJFS, NOTHING, WAITER, DISK)
STOP_SECONDS = 60.0
BUSY_TRIES = 20
BUSY_SECONDS = 0.25


class ColumnFailed(Exception):
    """A filesystem could not be mounted or unmounted."""


class Column:
    """The plain disk, and what the others share."""

    def __init__(self, name: str, base: Path) -> None:
        self.name = name
        self.base = base / name

    @property
    def root(self) -> Path:
        """Where rows work."""
        return self.base

    def __enter__(self) -> Self:
        self.base.mkdir()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        shutil.rmtree(self.base)

    def forget(self) -> None:
        """Drop what the process itself caches; the kernel's caches are not the column's."""

    def pid(self) -> int | None:
        """The process that serves it, if there is one."""
        return None


class Mounted(Column):
    """A column with a mount point."""

    @property
    def root(self) -> Path:
        return self.base / "mount"

    def __enter__(self) -> Self:
        super().__enter__()
        self.root.mkdir()
        try:
            self.mount()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._unmount_patiently()
        finally:
            if is_mounted(self.root):
                _run("fusermount3", "-u", "-z", self.root)
        super().__exit__(kind, error, traceback)

    def _unmount_patiently(self) -> None:
        # A program that was killed may still sit in a system call for a moment.
        for _ in range(BUSY_TRIES):
            try:
                return self.unmount()
            except ColumnFailed:
                time.sleep(BUSY_SECONDS)
        self.unmount()

    @abstractmethod
    def mount(self) -> None:
        """Make `root` usable; ColumnFailed."""

    @abstractmethod
    def unmount(self) -> None:
        """Undo `mount`, also a half done one."""


class Nothing(Mounted):
    """`bench.nothing_fs` or `bench.nothing_waiting` in a process of its own."""

    def __init__(self, name: str, base: Path, *, waiter: bool) -> None:
        super().__init__(name, base)
        self._module = "bench.nothing_waiting" if waiter else "bench.nothing_fs"
        self._process: subprocess.Popen[str] | None = None

    def mount(self) -> None:
        # A session of its own: ^C is for the bench, which then unmounts.
        self._process = subprocess.Popen(
            [sys.executable, "-m", self._module, self.root],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            raise ColumnFailed(f"{self.name} did not mount on {self.root}; see above")

    def unmount(self) -> None:
        if is_mounted(self.root):
            _run("fusermount3", "-u", self.root)
        if self._process is None:
            return
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        finally:
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def pid(self) -> int | None:
        return self._process.pid if self._process else None


class Objfs(Mounted):
    """A fresh store, through the command line that users have."""

    def __init__(self, name: str, base: Path) -> None:
        super().__init__(name, base)
        self._store = self.base / "store"
        self._program = Path(sys.executable).with_name("objfs")

    def mount(self) -> None:
        if not self._store.exists():
            _run(self._program, "init", self._store)
        _run(self._program, "mount", self._store, self.root)

    def unmount(self) -> None:
        if is_mounted(self.root):
            _run(self._program, "umount", self.root)

    def forget(self) -> None:
        self.unmount()
        self.mount()

    def pid(self) -> int | None:
        return holder(self._store / "lock")


def open_column(name: str, base: Path) -> Column:
    """The column of that name, working below `base`."""
    if name == OBJFS:
        return Objfs(name, base)
    if name in (NOTHING, WAITER):
        return Nothing(name, base, waiter=name == WAITER)
    assert name == DISK
    return Column(name, base)


def holder(path: Path) -> int | None:
    """The process that holds a lock (flock) on the file, by the kernel's list of locks."""
    if not path.exists():
        return None
    inode = str(path.stat().st_ino)
    for line in Path("/proc/locks").read_text().splitlines():
        fields = line.split()
        if fields[1] == "FLOCK" and fields[5].rsplit(":", 1)[-1] == inode:
            return int(fields[4])
    return None


def is_mounted(path: Path) -> bool:
    """Whether something is mounted there. Asks the mount table, not the filesystem: that may be
    dead."""
    return any(line.split()[4] == str(path) for line in _mount_table())


def _mount_table() -> list[str]:
    return Path("/proc/self/mountinfo").read_text().splitlines()


def _run(*command: str | Path) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise ColumnFailed(f"{' '.join(map(str, command))} failed ({done.returncode}): {said}")
    return done.stdout
