"""A store in memory with everything passed in: device, index, clock, randomness, threads.

Nothing runs in the background; periodic steps are operations like any other. A crash drops the
volume as it stands: nothing is closed, and the next opening gets what the medium kept.
"""

import copy
import shutil
from pathlib import Path
from random import Random

from objfs.base.limits import KIB
from objfs.base.settings import Settings
from objfs.base.system import InlineThreads
from objfs.meta.engine import Applied, Engine
from objfs.meta.memory import MemoryEngine
from objfs.meta.sqlite import SqliteEngine
from objfs.meta.tables import INODE
from objfs.store.faults import FaultPlan, FaultyDevice
from objfs.store.log import Log
from objfs.store.memory import MemoryDevice, Survives, nothing_survives
from objfs.store.placement import Placement
from objfs.volume.opening import data_references, open_volume
from objfs.volume.volume import Volume
from tests.model.operations import TICK_NS

STORE_ID = bytes(range(16))
BUCKET = "main"
START_NS = 1_700_000_000 * TICK_NS  # a multiple of the tick


class SettableClock:
    """A clock that moves when it is told to, in whole ticks, so that a model with no nanoseconds
    of its own can tell what time it is."""

    def __init__(self) -> None:
        self._ns = START_NS

    def now_ns(self) -> int:
        return self._ns

    def monotonic(self) -> float:
        return (self._ns - START_NS) / 1e9 + 1000

    def advance(self, ticks: int = 1) -> None:
        assert ticks > 0
        self._ns += ticks * TICK_NS


class SeededRandomness:
    """Random bits from a seed."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def bits(self, count: int) -> int:
        return self._random.getrandbits(count)


class Indexes:
    """Where the index lives: in memory, or in SQLite below `directory`. Knows how indexes go
    wrong."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._older: MemoryEngine | None = None
        self.engine: Engine | None = None

    def open(self, fault: str = "kept") -> Engine:
        """The engine that an opening finds: "kept" as it was left, "lost", "garbage", "older"
        (as of the last clean end, if there was one)."""
        if self._directory is None:
            self.engine = self._open_memory(fault)
        else:
            self._spoil_file(self._directory, fault)
            self.engine = SqliteEngine(self._directory, STORE_ID)
        return self.engine

    def _open_memory(self, fault: str) -> MemoryEngine:
        assert self.engine is None or isinstance(self.engine, MemoryEngine)
        if fault == "older" and self._older is not None:
            return copied(self._older)
        if fault == "garbage" and self.engine is not None:
            return _diverged(self.engine)
        return MemoryEngine(STORE_ID) if fault == "lost" or not self.engine else self.engine

    def _spoil_file(self, directory: Path, fault: str) -> None:
        older = directory.with_name(f"{directory.name}.older")
        if fault == "lost" or (fault == "older" and older.exists()):
            shutil.rmtree(directory, ignore_errors=True)
        if fault == "older" and older.exists():
            shutil.copytree(older, directory)
        directory.mkdir(exist_ok=True)
        if fault == "garbage":
            for path in directory.iterdir():
                path.write_bytes(Random(len(path.name)).randbytes(5000))

    def twin(self) -> "Indexes":
        """The same index, for another store; in memory only."""
        assert isinstance(self.engine, MemoryEngine)
        twin = Indexes(None)
        twin.engine, twin._older = copied(self.engine), self._older
        return twin

    def left_behind(self) -> None:
        """After a clean end: the copy that "older" finds later."""
        if self._directory is None:
            assert isinstance(self.engine, MemoryEngine)
            self._older = copied(self.engine)
        else:
            older = self._directory.with_name(f"{self._directory.name}.older")
            shutil.rmtree(older, ignore_errors=True)
            shutil.copytree(self._directory, older)

    def crash(self) -> None:
        """What was not committed is gone."""
        if isinstance(self.engine, SqliteEngine):
            self.engine._connection.close()


def copied(engine: MemoryEngine) -> MemoryEngine:
    """The same rows in an engine of their own."""
    twin = MemoryEngine(STORE_ID)
    if engine.applied is not None:
        backup = engine.begin_backup()()
        twin.load(backup.parts, backup.sequence)
    return twin


def _diverged(engine: MemoryEngine) -> MemoryEngine:
    """An index of another history: some rows are missing, and its last META is another."""
    twin = copied(engine)
    if twin.applied is not None:
        gone = [(INODE, (row.ino,), None) for row in twin.scan(INODE, limit=3)]
        twin.apply(gone, twin.applied.sequence, bytes(16))
        assert twin.applied == Applied(twin.applied.sequence, bytes(16))
    return twin


class Harness:
    """A store: `volume` is the open one, `device` what lies below it."""

    def __init__(
        self, directory: Path | None = None, *, seed: int = 0, segment_bytes: int = 256 * KIB
    ) -> None:
        self.clock = SettableClock()
        self.randomness = SeededRandomness(seed)
        self.threads = InlineThreads()
        self.settings = Settings(segment_bytes=segment_bytes, dirty_seconds=0.0)
        self.memory = MemoryDevice()
        self.plan = FaultPlan()
        self.indexes = Indexes(directory)
        self.found = 0  # the last sequence in the log when it was opened
        self.log: Log
        self.volume: Volume

    async def make(self) -> Volume:
        """A new store with the bucket `BUCKET`, durable."""
        volume = self.open()
        volume.create_bucket(BUCKET)
        await volume.sync()
        self.clock.advance()
        return volume

    def open(self, index_fault: str = "kept") -> Volume:
        """Open the store as it lies on the device, which `plan` may make fail from now on."""
        self.found = -1
        self.log = Log.open(
            Placement(FaultyDevice(self.memory, self.plan)),
            store_id=STORE_ID,
            settings=self.settings,
            clock=self.clock,
            randomness=self.randomness,
            threads=self.threads,
            references=data_references,
        )
        self.found = self.log.last_sequence
        self.volume = open_volume(
            self.log,
            self.indexes.open(index_fault),
            clock=self.clock,
            threads=self.threads,
            settings=self.settings,
        )
        return self.volume

    async def close(self) -> None:
        """A clean end."""
        await self.volume.close()
        self.indexes.left_behind()

    def crash(self, survives: Survives | None = nothing_survives) -> None:
        """The process is gone; None: only the process, the machine goes on."""
        self.indexes.crash()
        self.plan = FaultPlan()
        if survives is not None:
            self.memory = self.memory.after_power_cut(survives)

    def twin(self) -> "Harness":
        """Another store with the same bytes on its device, written and synced, and the same index,
        in memory. Not open."""
        twin = copy.copy(self)
        twin.clock = copy.copy(self.clock)
        twin.memory, twin.plan = copy.deepcopy(self.memory), FaultPlan()
        twin.indexes = self.indexes.twin()
        return twin

    def dump(self) -> list[tuple[str, object]]:
        """Every row of the index."""
        engine = self.indexes.engine
        assert engine is not None
        return list(engine.dump())


def some_survives(seed: int) -> Survives:
    """A power cut that keeps a random part of what was not synced."""
    random = Random(seed)
    share = random.random()

    def survives(length: int) -> tuple[int, int]:
        if random.random() < share:
            return (0, length)
        if random.random() < 0.7:
            return (0, 0)
        start = random.choice((0, random.randrange(length)))
        return (start, random.randint(start, length))

    return survives
