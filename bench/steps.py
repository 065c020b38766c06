"""How long background work holds the loop: CPU time of each step of a task, told by trio.

On a machine that others use, and under interrupts, a step may take long that has little to do. That
hits any; a step that is long by itself is long each time its task goes on at that place. So of the
steps that begin and end at the same places in the code, the longest one in a thousand is left out.
"""

import os
import random
import time
import types
from array import array
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import trio

from bench.past import make_history
from objfs.base.heap import freeze_program
from objfs.base.types import Caller
from objfs.cli.opening import open_store, take_lock
from objfs.cli.store_directory import read_store
from objfs.maint import checking_commands, forgetting_commands, retention_commands
from objfs.maint.compaction import compaction_of
from objfs.maint.merging import merging_job
from objfs.maint.scheduler import Budget, Gate
from objfs.volume.volume import Volume

_CALLER = Caller(0, 0, 0o022)
_LEFT_OUT = 1_000  # the longest one of so many
_BLOCK = 4096
_PIECES = 4_000  # of a file that is written with holes
_BLOCKS = 4_096  # of a file that has many versions
_VERSIONS = 20
_OVERWRITTEN = 100  # blocks, for each version
_KEPT_VERSIONS = 3


class Steps(trio.abc.Instrument):
    """The steps of all tasks, by the places where they begin and end."""

    def __init__(self) -> None:
        # Arrays: the collector of garbage goes through lists, in the steps that are measured.
        self._durations: dict[tuple[str, str], array[float]] = defaultdict(lambda: array("d"))
        self._place = ""
        self._began = 0.0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._place = _place(task.coro)
        self._began = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        took = time.thread_time() - self._began
        self.add((self._place, _place(task.coro)), took)

    def add(self, places: tuple[str, str], seconds: float) -> None:
        """A step that began and ended there."""
        self._durations[places].append(seconds)

    def longest(self) -> tuple[float, str]:
        """Of all that count: milliseconds of CPU, and where."""
        most, where = 0.0, ("", "")
        for places, durations in self._durations.items():
            counting = sorted(durations, reverse=True)[len(durations) // _LEFT_OUT :]
            if counting[0] > most:
                most, where = counting[0], places
        return most * 1e3, " to ".join(where)

    def forget(self) -> None:
        """Begin anew."""
        self._durations.clear()


def _place(waiting: object) -> str:
    """The innermost line of objfs in a suspended coroutine."""
    found = "its beginning"
    while waiting is not None:
        if isinstance(waiting, types.CoroutineType):
            frame, waiting = waiting.cr_frame, waiting.cr_await
        elif isinstance(waiting, types.GeneratorType):
            frame, waiting = waiting.gi_frame, waiting.gi_yieldfrom
        else:
            break
        if frame is not None and "/objfs/" in frame.f_code.co_filename:
            found = f"{Path(frame.f_code.co_filename).stem}:{frame.f_lineno}"
    return found


def longest_steps(
    store: Path, files: int, versions: int, say: Callable[[str], None]
) -> list[float]:
    """Milliseconds of the longest step of each kind of background work on a store with a history,
    which is made first."""
    make_history(store, files, versions)
    freeze_program()
    steps = Steps()
    return trio.run(_measure, store, steps, say, instruments=[steps])


async def _measure(store: Path, steps: Steps, say: Callable[[str], None]) -> list[float]:
    directory = read_store(store)
    found = []
    async with open_store(directory, take_lock(directory)) as volume:
        await _write_more(volume)
        await _remove(volume)
        for work in (_scrub, _fsck, _merging, _retention, _forgetting, _compaction):
            await trio.lowlevel.checkpoint()
            steps.forget()
            await work(volume)
            await trio.lowlevel.checkpoint()
            longest, where = steps.longest()
            say(f"  {work.__name__[1:]:<12} {longest:6.1f} ms   {where}")
            found.append(longest)
    return found


async def _write_more(volume: Volume) -> None:
    """A file of many pieces, and one of many versions that share most of their bytes."""
    generator = random.Random(3)
    root = volume.root("main")
    handle, _ = volume.create(root, b"pieces", 0o644, os.O_RDWR, _CALLER)
    for n in range(_PIECES):
        await volume.write(handle, 2 * n * _BLOCK, generator.randbytes(1000))
        if n % 100 == 0:
            await volume.flush(handle)
    await volume.release(handle)
    handle, inode = volume.create(root, b"versions", 0o644, os.O_RDWR, _CALLER)
    for n in range(_BLOCKS // 256):
        await volume.write(handle, n * 256 * _BLOCK, generator.randbytes(256 * _BLOCK))
    await volume.flush(handle)
    await volume.release(handle)
    for _ in range(_VERSIONS):
        handle = await volume.open(inode.ino, os.O_RDWR)
        for _ in range(_OVERWRITTEN):
            place = generator.randrange(_BLOCKS) * _BLOCK
            await volume.write(handle, place, generator.randbytes(_BLOCK))
        await volume.flush(handle)
        await volume.release(handle)


async def _remove(volume: Volume) -> None:
    """What will be forgotten."""
    root = volume.root("main")
    files = volume.lookup(root, b"files").ino
    inode = volume.lookup(files, b"0000")
    while page := volume.list_directory(inode.ino, 0, 100):
        for name, _, _ in page:
            await volume.unlink(inode.ino, name)
    volume.rmdir(files, b"0000")
    await volume.unlink(root, b"versions")


async def _scrub(volume: Volume) -> None:
    said = await checking_commands.scrub(volume, restart=True)
    while not said["finished"]:
        said = await checking_commands.scrub(volume, started=str(said["started"]))


async def _fsck(volume: Volume) -> None:
    said = await checking_commands.fsck(volume, deep=True, data=True, restart=True)
    while not said["finished"]:
        said = await checking_commands.fsck(volume, deep=True, data=True)


def _unhurried(volume: Volume) -> Budget:
    return Budget(volume.core, None, Gate(False))


async def _merging(volume: Volume) -> None:
    await merging_job(volume).run(_unhurried(volume))


async def _retention(volume: Volume) -> None:
    await retention_commands.retention_set(volume, "main", b"", {"keep_last": _KEPT_VERSIONS})
    await retention_commands.retention_apply(volume)


async def _forgetting(volume: Volume) -> None:
    await forgetting_commands.forget(volume, "main", b"files/0000")
    await forgetting_commands.forget(volume, "main", b"versions")


async def _compaction(volume: Volume) -> None:
    compaction, budget = compaction_of(volume), _unhurried(volume)
    await compaction.prepare(budget)
    for candidate in await compaction.candidates(budget, 0.0):
        await compaction.compact(candidate.segment, budget)
