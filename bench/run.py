"""One run: columns are opened, rows are measured in interleaved rounds, memory is watched."""

import shutil
import signal
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

from bench import machine, profiling
from bench.child import CLEAN, MEASURE, PREPARE, run_child
from bench.columns import Column, open_column
from bench.figures import OBJFS, Figure, Floor, Result
from bench.place import Place
from bench.rows import Row
from bench.sizes import GIB, MIB, Sizes
from bench.work_tree import make_source
from objfs.base.settings import Settings

MEMORY_MARGIN_BYTES = 100 * MIB

Say = Callable[[str], None]


class CannotRun(Exception):
    """The machine does not offer what the run needs."""


@dataclass(frozen=True)
class Plan:
    """What a run does."""

    rows: Sequence[Row]
    columns: Sequence[str]
    rounds: int
    sizes: Sizes
    directory: Path


def runnable(plan: Plan, say: Say) -> Plan:
    """The plan without what this machine cannot do; CannotRun if nothing is left."""
    if not machine.can_drop_caches():
        left_out = [row.key for row in plan.rows if row.cold]
        if left_out:
            say(f"left out, as only root may drop the kernel's caches: {', '.join(left_out)}")
        plan = replace(plan, rows=[row for row in plan.rows if not row.cold])
    if not plan.rows:
        raise CannotRun("no rows are left to run")
    needed = plan.sizes.space_bytes(plan.rounds)
    free = shutil.disk_usage(plan.directory).free
    if free < needed:
        raise CannotRun(
            f"{plan.directory} has {free / GIB:.1f} GiB free and the run may take "
            f"{needed / GIB:.1f}: pass --directory, --quick or fewer --rounds"
        )
    return plan


@contextmanager
def workspace(directory: Path) -> Iterator[Path]:
    """A temporary directory; SIGTERM and SIGHUP end the run like ^C, so that it is removed."""

    def stop(number: int, _: FrameType | None) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    before = {name: signal.signal(name, stop) for name in (signal.SIGTERM, signal.SIGHUP)}
    try:
        with tempfile.TemporaryDirectory(prefix="objfs-bench-", dir=directory) as base:
            yield Path(base)
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


class Run:
    """The open columns, and what was measured so far."""

    def __init__(self, plan: Plan, base: Path, say: Say) -> None:
        self._plan = plan
        self._base = base
        self._say = say
        self._source = base / "source"
        self._columns: list[Column] = []
        self._memory: list[tuple[int, int]] = []

    def measure(self) -> list[Result]:
        """All rows in all columns."""
        self._say("copying a real tree to work with")
        make_source(self._source, self._plan.sizes.tree_entries)
        with ExitStack() as stack:
            for name in self._plan.columns:
                self._columns.append(stack.enter_context(open_column(name, self._base)))
            results = [result for row in self._plan.rows for result in self._row(row)]
        return results + self._memory_results()

    def _row(self, row: Row) -> list[Result]:
        values: defaultdict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for number in range(self._plan.rounds):
            for column in self._columns:
                self._say(f"{row.key}: round {number + 1} of {self._plan.rounds}, {column.name}")
                for name, value in self._once(row, column, number).items():
                    values[name][column.name].append(value)
        for column in self._columns:
            run_child(self._place(row, column, 0), CLEAN)
        return [Result(row.key, row.title, figure, values[figure.name]) for figure in row.figures]

    def _once(self, row: Row, column: Column, number: int) -> dict[str, float]:
        place = self._place(row, column, number)
        self.prepare(row, column, place)
        measured = run_child(place, MEASURE)
        self._watch(column)
        return measured

    def prepare(self, row: Row, column: Column, place: Place) -> None:
        """Everything before the clock starts."""
        run_child(place, PREPARE)
        machine.settle()
        if row.cold:
            self._watch(column)
            column.forget()
            machine.drop_caches(place.sizes.settle_seconds)
        sizes = place.sizes
        machine.take_memory(self._base, 2 * sizes.stream_bytes if row.large else sizes.memory_bytes)

    def _place(self, row: Row, column: Column, number: int) -> Place:
        return Place(column.root, row.key, number, self._source, self._plan.sizes)

    def _watch(self, column: Column) -> None:
        pid = column.pid() if column.name == OBJFS else None
        if pid is not None:
            self._memory.append(machine.memory_bytes(pid))

    def _memory_results(self) -> list[Result]:
        if not self._memory:
            return []
        settings = Settings()
        caches = settings.dirty_bytes + settings.block_cache_bytes
        limit = Floor(most=(caches + MEMORY_MARGIN_BYTES) / MIB)
        resident = max(now for now, _ in self._memory) / MIB
        peak = max(most for _, most in self._memory) / MIB
        last = self._memory[-1][0] / MIB
        figures = (
            (Figure("after the last row", "MiB", lower_is_better=True, floor=limit), last),
            (Figure("after any row", "MiB", lower_is_better=True, floor=limit), resident),
            (Figure("at its peak", "MiB", lower_is_better=True), peak),
        )
        return [
            Result("memory", "resident memory", figure, {OBJFS: [value]})
            for figure, value in figures
        ]

    def profile(self, row: Row, stacks: Path) -> list[Result]:
        """One row in the objfs column alone, sampled while it is measured."""
        make_source(self._source, self._plan.sizes.tree_entries)
        with open_column(OBJFS, self._base) as column:
            place = self._place(row, column, 0)
            self.prepare(row, column, place)
            pid = column.pid()
            if pid is None:
                raise CannotRun("the objfs process cannot be found")
            with profiling.recorded(pid, stacks):
                measured = run_child(place, MEASURE)
        return [
            Result(row.key, row.title, figure, {OBJFS: [measured[figure.name]]})
            for figure in row.figures
        ]
