"""Ways in which programs write a file anew: what the mount has to make a version of."""

import ctypes
import mmap
import os
from collections.abc import Callable
from pathlib import Path

from tests.programs.drive import run

MIB = 1 << 20


def _in_place(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(1_000)
        file.write(b"in the middle")


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"and more")


def _beyond_the_end(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(5 * MIB)
        file.write(b"after a hole")


def _mapped(path: Path) -> None:
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[10:20] = b"ten bytes."


def _mapped_beyond_close(path: Path) -> None:
    file = os.open(path, os.O_RDWR)
    with mmap.mmap(file, 0) as memory:
        os.close(file)
        memory[20:30] = b"ten bytes."


def _direct(path: Path) -> None:
    file = os.open(path, os.O_WRONLY | os.O_DIRECT)
    with mmap.mmap(-1, 8192) as memory:
        memory[:] = b"directly" * 1024
        os.pwrite(file, memory, 4096)
    os.close(file)


def _rsync(path: Path, *options: str) -> None:
    source = Path(f"{path.parent}.source")
    source.write_bytes(os.urandom(100_000))
    run("rsync", *options, source, path)
    source.unlink()


def _moved_over(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"moved over it")
    run("mv", other, path)


def _copied_over(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"copied over it")
    run("cp", "-a", other, path)
    other.unlink()


def _as_editors_save(path: Path) -> None:
    backup = path.with_name(path.name + "~")
    path.rename(backup)
    with path.open("wb") as file:
        file.write(b"saved")
        file.flush()
        os.fsync(file.fileno())
    backup.unlink()


def _as_other_editors_save(path: Path) -> None:
    fresh = path.with_name(f".{path.name}.swp-new")
    with fresh.open("wb") as file:
        file.write(b"saved otherwise")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _exchanged(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"exchanged with it")
    library = ctypes.CDLL(None, use_errno=True)
    done = library.renameat2(-100, bytes(path), -100, bytes(other), 2)
    assert done == 0, os.strerror(ctypes.get_errno())


WAYS: dict[str, Callable[[Path], object]] = {
    "written anew": lambda path: path.write_bytes(b"written anew"),
    "written anew, large": lambda path: path.write_bytes(os.urandom(9 * MIB + 1)),
    "emptied": lambda path: path.write_bytes(b""),
    "in place": _in_place,
    "appended to": append,
    "written beyond its end": _beyond_the_end,
    "made shorter": lambda path: os.truncate(path, 999),
    "made longer": lambda path: os.truncate(path, 3 * MIB),
    "mapped": _mapped,
    "mapped, closed before": _mapped_beyond_close,
    "O_DIRECT": _direct,
    "rsync": lambda path: _rsync(path, "-a"),
    "rsync --inplace": lambda path: _rsync(path, "--inplace", "--no-whole-file"),
    "mv over it": _moved_over,
    "cp -a over it": _copied_over,
    "an editor": _as_editors_save,
    "another editor": _as_other_editors_save,
    "exchanged": _exchanged,
    "dd": lambda path: run("dd", "if=/dev/urandom", f"of={path}", "bs=1000", "count=7", "seek=3"),
    "shell": lambda path: run("sh", "-c", f"echo one more line >> '{path}'"),
}
