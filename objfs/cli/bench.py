"""`objfs bench MOUNTPOINT`: how fast a directory is, in a few seconds.

Works in a directory of its own, which it removes. Run it on a plain disk too, to compare;
scripts/bench measures with more care.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from objfs.base.limits import KIB, MIB
from objfs.base.ports import Clock, Randomness

BLOCK = 1 * MIB
SMALL = 4 * KIB


class Figure(NamedTuple):
    """One measurement. `unit` says what `rate` counts per second."""

    name: str
    rate: float
    unit: str
    seconds: float


def bench(
    directory: Path, clock: Clock, randomness: Randomness, files: int, large_bytes: int
) -> Iterator[Figure]:
    """The figures, one by one. Leaves nothing behind."""
    place = Path(tempfile.mkdtemp(prefix=".objfs-bench-", dir=directory))
    try:
        block = randomness.bits(8 * BLOCK).to_bytes(BLOCK, "little")  # does not compress
        yield from _small_files(place, clock, files, block[:SMALL])
        yield from _large_file(place / "large", clock, large_bytes, block)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _small_files(place: Path, clock: Clock, count: int, data: bytes) -> Iterator[Figure]:
    paths = [str(place / f"{number:06d}") for number in range(count)]

    def create(path: str) -> None:
        with open(path, "wb", buffering=0) as file:
            file.write(data)

    def read(path: str) -> None:
        with open(path, "rb", buffering=0) as file:
            file.read(SMALL)

    steps: list[tuple[str, Callable[[str], object]]] = [
        ("create 4 KiB files", create),
        ("stat", os.stat),
        ("open and read 4 KiB files", read),
        ("rename", lambda path: os.rename(path, path + "-renamed")),
        ("unlink", lambda path: os.unlink(path + "-renamed")),
    ]
    for name, step in steps:
        began = clock.monotonic()
        for path in paths:
            step(path)
        yield _figure(name, count, "files/s", clock.monotonic() - began)


def _large_file(path: Path, clock: Clock, size: int, block: bytes) -> Iterator[Figure]:
    blocks = max(size // BLOCK, 1)
    began = clock.monotonic()
    with open(path, "wb", buffering=0) as file:
        for _ in range(blocks):
            file.write(block)
        os.fsync(file.fileno())
    yield _figure("write, with fsync", blocks, "MiB/s", clock.monotonic() - began)
    began = clock.monotonic()
    with open(path, "rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while file.read(BLOCK):
            pass
    yield _figure("read", blocks, "MiB/s", clock.monotonic() - began)


def _figure(name: str, count: int, unit: str, seconds: float) -> Figure:
    seconds = max(seconds, 1e-9)
    return Figure(name, count / seconds, unit, seconds)
