"""Where a row works inside a column, what it leaves there, and how it is timed."""

import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.sizes import KIB, MIB, Sizes

BUFFER_BYTES = 64 * MIB  # further apart than any compressor of a filesystem looks back
CHUNK_BYTES = 1 * MIB
SMALL_BYTES = 4 * KIB


@dataclass(frozen=True)
class Place:
    """One row in one column. `root` is a directory of the filesystem under test; `source` is a
    real tree on the plain disk."""

    root: Path
    row: str
    round: int
    source: Path
    sizes: Sizes

    def own(self) -> Path:
        """The row's directory, made if needed; it is removed after the last round."""
        path = self.root / self.row
        path.mkdir(exist_ok=True)
        return path

    def fresh(self) -> Path:
        """An empty directory for this round."""
        path = self.own() / f"round-{self.round}"
        path.mkdir()
        return path

    def fixture(self, name: str, make: Callable[[Path], None]) -> Path:
        """What several rows and rounds share: made once, under another name until complete."""
        path = self.root / f"fixture-{name}"
        if not path.exists():
            unfinished = self.root / f"unfinished-{name}"
            make(unfinished)
            unfinished.rename(path)
        return path

    def clean(self) -> None:
        """Remove the row's own directory."""
        shutil.rmtree(self.root / self.row, ignore_errors=False)


def per_second(operation: Callable[[int], object], *, seconds: float, most: int) -> float:
    """Call `operation` with 0, 1, ... until `seconds` are over or `most` calls are made; calls a
    second."""
    clock = time.perf_counter
    begin = clock()
    end = begin + seconds
    count = 0
    while count < most:
        operation(count)
        count += 1
        if clock() >= end:
            break
    return count / (clock() - begin)


def seconds_of(*command: str | Path, stdin: int | None = None) -> float:
    """The seconds a program takes; CalledProcessError if it fails."""
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdin=stdin, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def write_file(path: Path, data: bytes) -> None:
    """Create, write, close: three calls and nothing else."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    os.write(descriptor, data)
    os.close(descriptor)


def make_files(directory: Path, count: int) -> None:
    """`count` files of 4 KiB, each with other bytes."""
    directory.mkdir(parents=True)
    generator = random.Random(0)
    for index in range(count):
        write_file(directory / f"{index:06d}", generator.randbytes(SMALL_BYTES))


def incompressible() -> bytes:
    """Random bytes, the same in every process."""
    return random.Random(1).randbytes(BUFFER_BYTES)


def text(source: Path) -> bytes:
    """The program texts of the tree, one after the other, repeated to the buffer's size."""
    joined = b"".join(path.read_bytes() for path in sorted(source.rglob("*.py")))
    return (joined * (BUFFER_BYTES // len(joined) + 1))[:BUFFER_BYTES]


def stream_out(path: Path, buffer: bytes, length: int, *, sync: bool) -> None:
    """Write `length` bytes in chunks of 1 MiB, the buffer over and over."""
    view = memoryview(buffer)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        for offset in range(0, length, CHUNK_BYTES):
            at = offset % len(buffer)
            size = min(CHUNK_BYTES, length - offset)
            chunk = view[at : at + size]
            while chunk:
                chunk = chunk[os.write(descriptor, chunk) :]
        if sync:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def stream_in(path: Path) -> int:
    """Read a file from begin to end in chunks of 1 MiB into one buffer; its bytes."""
    buffer = bytearray(CHUNK_BYTES)
    total = 0
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            total += count
    return total
