"""What keeping every version costs, and what giving it up returns: `scripts/bench history`.

Each measure makes a fresh store through the command line that users have, and yields one figure: a
ratio of two things done in the same run. docs/PERFORMANCE.md says what each one means.
"""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console

from bench import machine
from bench.__main__ import chosen
from bench.columns import open_column
from bench.figures import OBJFS, Figure, Floor, Result, percentile
from bench.past import make_history
from bench.place import SMALL_BYTES, incompressible, make_files, seconds_of, stream_out
from bench.run import workspace
from bench.sizes import GIB, MIB
from bench.steps import longest_steps
from bench.table import number

_ROUNDS = 3
_DOOMED_SHARE = 0.8
_PROBE_SECONDS = 3.0


@dataclass(frozen=True)
class Amounts:
    """How much work a run does."""

    past_files: int = 50_000
    past_versions: int = 10
    snapshot_files: int = 100_000
    stream_bytes: int = GIB
    rewrites: int = 1_000
    doomed_bytes: int = 2 * GIB
    stepped_files: int = 10_000


QUICK = Amounts(2_000, 4, 2_000, 64 * MIB, 200, 256 * MIB, 1_000)


class Drive:
    """A fresh store, mounted."""

    def __init__(self, base: Path) -> None:
        self._column = open_column(OBJFS, base)
        self.store = base / OBJFS / "store"
        self.root = self._column.root

    @contextmanager
    def opened(self) -> Iterator["Drive"]:
        """Mounted inside the block; removed after it."""
        with self._column:
            yield self

    def cold(self) -> None:
        """Nothing is in anybody's memory."""
        machine.settle()
        self._column.forget()
        machine.drop_caches(0.5)

    def objfs(self, *arguments: str | Path) -> float:
        """The seconds that a command takes; CalledProcessError if it fails."""
        return seconds_of(Path(sys.executable).with_name("objfs"), *arguments)

    def bytes_on_disk(self) -> int:
        """What the log takes, everything written so far included."""
        self.objfs("sync", self.root)
        segments = (self.store / "segments").iterdir()
        return sum(path.stat().st_blocks * 512 for path in segments)


def past_listing(drive: Drive, amounts: Amounts) -> list[float]:
    """The speed of `find -ls` of a moment half-way, relative to the live tree; all caches cold."""
    drive.objfs("umount", drive.root)
    half_way = make_history(drive.store, amounts.past_files, amounts.past_versions)
    drive.objfs("mount", drive.store, drive.root)
    past = drive.root / ".objfs" / "at" / half_way
    ratios = []
    for _ in range(_ROUNDS):
        seconds = []
        for directory in (drive.root, past):
            drive.cold()
            seconds.append(seconds_of("find", f"{directory}/files", "-ls"))
        ratios.append(seconds[0] / seconds[1])
    return ratios


def snapshot(drive: Drive, amounts: Amounts) -> list[float]:
    """Seconds to make a snapshot of a store with many files, relative to one with 100 files."""
    make_files(drive.root / "few", 100)
    few = [drive.objfs("snapshot", "create", drive.root, f"few-{n}") for n in range(_ROUNDS)]
    drive.objfs("umount", drive.root)
    make_history(drive.store, amounts.snapshot_files, 1)
    drive.objfs("mount", drive.store, drive.root)
    many = [drive.objfs("snapshot", "create", drive.root, f"many-{n}") for n in range(_ROUNDS)]
    return [after / before for before, after in zip(few, many, strict=True)]


def rewrite(drive: Drive, amounts: Amounts) -> list[float]:
    """Bytes on disk per overwritten byte: random writes of 4 KiB into a large file."""
    path = drive.root / "large"
    stream_out(path, incompressible(), amounts.stream_bytes, sync=True)
    before = drive.bytes_on_disk()
    generator = random.Random(2)
    with path.open("r+b", buffering=0) as file:
        for _ in range(amounts.rewrites):
            block = generator.randrange(amounts.stream_bytes // SMALL_BYTES)
            os.pwrite(file.fileno(), generator.randbytes(SMALL_BYTES), block * SMALL_BYTES)
    return [(drive.bytes_on_disk() - before) / (amounts.rewrites * SMALL_BYTES)]


def reclaim(drive: Drive, amounts: Amounts) -> list[float]:
    """The share of the dead bytes that compaction returned, after most files were forgotten."""
    dead = _make_garbage(drive, amounts.doomed_bytes)
    before = drive.bytes_on_disk()
    drive.objfs("compact", drive.root)
    return [(before - drive.bytes_on_disk()) / dead]


def patience(drive: Drive, amounts: Amounts) -> list[float]:
    """The 99th percentile of stat + write of 4 KiB while compaction runs, relative to idle."""
    make_files(drive.root / "probed", 1_000)
    _make_garbage(drive, amounts.doomed_bytes)
    machine.settle()
    end = time.perf_counter() + _PROBE_SECONDS
    idle = _probe(drive.root / "probed", lambda: time.perf_counter() < end)
    program = Path(sys.executable).with_name("objfs")
    with subprocess.Popen([program, "compact", drive.root], stdout=subprocess.DEVNULL) as working:
        busy = _probe(drive.root / "probed", lambda: working.poll() is None)
    if working.returncode:
        raise click.ClickException(f"objfs compact ended with status {working.returncode}")
    return [percentile(busy, 0.99) / percentile(idle, 0.99)]


def steps(drive: Drive, amounts: Amounts) -> list[float]:
    """Milliseconds that the longest step of background work holds the loop."""
    drive.objfs("umount", drive.root)
    found = longest_steps(drive.store, amounts.stepped_files, amounts.past_versions, click.echo)
    drive.objfs("mount", drive.store, drive.root)
    return [max(found)]


def _make_garbage(drive: Drive, length: int) -> int:
    """Files of 4 MiB, most of which are deleted and forgotten; how many bytes those had."""
    count = length // (4 * MIB)
    keep = max(1, round(1 / (1 - _DOOMED_SHARE)))
    (drive.root / "doomed").mkdir()
    (drive.root / "kept").mkdir()
    buffer, doomed = incompressible(), 0
    for index in range(count):
        directory = "kept" if index % keep == 0 else "doomed"
        doomed += directory == "doomed"
        at = index % 15 * 4 * MIB
        stream_out(
            drive.root / directory / f"{index:04d}", buffer[at : at + 4 * MIB], 4 * MIB, sync=False
        )
    subprocess.run(["rm", "-r", drive.root / "doomed"], check=True)
    drive.objfs("forget", "--yes", drive.root / "doomed")
    return doomed * 4 * MIB


def _probe(directory: Path, wanted: Callable[[], bool]) -> list[float]:
    """Seconds of each stat and write of 4 KiB, with a pause of 1 ms between them."""
    payload = os.urandom(SMALL_BYTES)
    samples: list[float] = []
    while wanted():
        path = directory / f"{len(samples) % 1_000:06d}"
        begin = time.perf_counter()
        path.stat()
        descriptor = os.open(path, os.O_WRONLY)
        os.pwrite(descriptor, payload, 0)
        os.close(descriptor)
        samples.append(time.perf_counter() - begin)
        time.sleep(0.001)
    return samples


@dataclass(frozen=True)
class Measure:
    """One figure and how it is made."""

    key: str
    title: str
    unit: str
    floor: Floor
    run: Callable[[Drive, Amounts], list[float]]


MEASURES = (
    Measure("past", "find -ls of the past / of today", "speed", Floor(least=0.5), past_listing),
    Measure("snapshot", "snapshot: many files / 100", "time", Floor(most=2.0), snapshot),
    Measure("rewrite", "disk per overwritten byte", "bytes", Floor(most=1.3), rewrite),
    Measure("reclaim", "dead bytes that compact returns", "share", Floor(least=0.95), reclaim),
    Measure("patience", "p99 while compacting / idle", "time", Floor(most=3.0), patience),
    Measure("steps", "longest step in the background", "ms CPU", Floor(most=5.0), steps),
)


@click.command()
@click.option("--quick", is_flag=True, help="Small amounts: too little to trust a ratio.")
@click.option("--rows", help=f"Only some of {', '.join(each.key for each in MEASURES)}.")
@click.option(
    "--directory",
    type=click.Path(path_type=Path, exists=True, file_okay=False, resolve_path=True),
    default=Path("/var/tmp"),
    show_default=True,
    help="Where to work; the disk under test is the one it lies on.",
)
def main(quick: bool, rows: str | None, directory: Path) -> None:
    """Measure what history costs. Exit status: 0 every floor reached, 1 one was missed."""
    if not machine.can_drop_caches():
        raise click.ClickException("only root may drop the kernel's caches, which this needs")
    wanted = chosen(rows, [each.key for each in MEASURES], "--rows")
    amounts = QUICK if quick else Amounts()
    results = []
    with workspace(directory) as base:
        for measure in MEASURES:
            if measure.key in wanted:
                results.append(_measured(measure, base / measure.key, amounts))
                _print(results[-1])
    facts = ", ".join(f"{name} {value}" for name, value in machine.describe(directory).items())
    Console(highlight=False).print(f"{amounts}; {facts}")
    if any(result.passed() is False for result in results):
        sys.exit(1)


def _measured(measure: Measure, base: Path, amounts: Amounts) -> Result:
    base.mkdir()
    figure = Figure("", measure.unit, lower_is_better=measure.floor.most > 0, floor=measure.floor)
    with Drive(base).opened() as drive:
        return Result(measure.key, measure.title, figure, {OBJFS: measure.run(drive, amounts)})


def _print(result: Result) -> None:
    floor = result.figure.floor
    assert floor is not None
    values = " ".join(number(value) for value in result.values[OBJFS])
    verdict = "pass" if result.passed() else "FAIL"
    click.echo(
        f"{result.title:<34} {number(result.median(OBJFS)):>8} {result.figure.unit:<6} "
        f"{floor.says():<8} {verdict}   ({values})"
    )


if __name__ == "__main__":
    main(prog_name="scripts/bench history")
