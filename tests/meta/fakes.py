"""A log, a clock and threads that tests hold in their hands."""

from collections.abc import Iterator
from typing import NamedTuple

import xxhash

from objfs.base.errors import DataLost, DeviceFailed
from objfs.meta.memory import MemoryEngine
from objfs.meta.sqlite import SqliteEngine

STORE_ID = b"the store's uuid"
START_NS = 1_763_640_000_000_000_000

AnyEngine = MemoryEngine | SqliteEngine


class FakeClock:
    """Stands still unless moved."""

    def __init__(self, now_ns: int = START_NS) -> None:
        self.wall_ns = now_ns
        self.seconds = 5.0

    def now_ns(self) -> int:
        return self.wall_ns

    def monotonic(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        self.wall_ns += int(seconds * 1e9)
        self.seconds += seconds


class FakeMeta(NamedTuple):
    sequence: int
    checksum: bytes
    payload: bytes


class FakeCheckpoint(NamedTuple):
    sequence: int
    parts: list[bytes]


class FakeLog:
    """A log in memory. `lose` and the lists make damage."""

    def __init__(self) -> None:
        self.records: dict[int, FakeMeta] = {}
        self.last_sequence = 0
        self.stored_checkpoints: list[FakeCheckpoint] = []  # newest first
        self.fail_appends = False
        self.reads: list[int] = []  # what `metas` was asked for

    def append_meta(self, payload: bytes) -> bytes:
        if self.fail_appends:
            raise DeviceFailed("the device said no")
        self.last_sequence += 1
        sequence = self.last_sequence
        checksum = xxhash.xxh3_128_digest(payload + sequence.to_bytes(8, "little"))
        self.records[sequence] = FakeMeta(sequence, checksum, payload)
        return checksum

    def metas(self, after: int) -> Iterator[FakeMeta]:
        self.reads.append(after)
        for sequence in range(after + 1, self.last_sequence + 1):
            if sequence in self.records:
                yield self.records[sequence]

    def meta_checksum(self, sequence: int) -> bytes | None:
        record = self.records.get(sequence)
        return record.checksum if record else None

    def checkpoints(self) -> list[FakeCheckpoint]:
        return self.stored_checkpoints

    def read_checkpoint(self, checkpoint: FakeCheckpoint) -> Iterator[bytes]:
        for part in checkpoint.parts:
            if not part:
                raise DataLost("a part of the checkpoint does not verify")
            yield part

    def cut(self, last: int) -> None:
        """The log ends at META `last`, as after a power cut."""
        for sequence in range(last + 1, self.last_sequence + 1):
            self.records.pop(sequence, None)
        self.last_sequence = last
        self.stored_checkpoints = [c for c in self.stored_checkpoints if c.sequence <= last]

    def checkpoint(self, engine: AnyEngine) -> None:
        """Take one, as the volume does."""
        backup = engine.begin_backup()()
        self.stored_checkpoints.insert(0, FakeCheckpoint(backup.sequence, list(backup.parts)))
