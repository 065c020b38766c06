"""A log on a memory device, with everything passed in that a test wants to steer.

META payloads in these tests are msgpack lists of [segment, offset, length, hash32], one per DATA
record they refer to, then an optional filler; `references` reads them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

import msgspec

from objfs.base.ports import Threads
from objfs.base.settings import Settings
from objfs.base.system import InlineThreads
from objfs.base.types import Location, Stored
from objfs.store.device import Device
from objfs.store.log import Log
from objfs.store.memory import MemoryDevice
from objfs.store.placement import Placement

STORE = bytes(range(16))
PLAIN = Settings(compression="none", segment_bytes=1 << 16)


class FixedClock:
    """A clock that stands still."""

    def now_ns(self) -> int:
        return 1_700_000_000_000_000_000

    def monotonic(self) -> float:
        return 0.0


class SeededRandomness:
    """Random bits that are the same in every run."""

    def __init__(self, seed: int = 1) -> None:
        self._random = Random(seed)

    def bits(self, count: int) -> int:
        return self._random.getrandbits(count)


@dataclass
class Rig:
    """Opens logs on one device."""

    device: Device = field(default_factory=MemoryDevice)
    settings: Settings = PLAIN
    store_id: bytes = STORE
    threads: Threads = field(default_factory=InlineThreads)
    randomness: SeededRandomness = field(default_factory=SeededRandomness)

    def open(self, read_only: bool = False) -> Log:
        return Log.open(
            Placement(self.device),
            store_id=self.store_id,
            settings=self.settings,
            clock=FixedClock(),
            randomness=self.randomness,
            threads=self.threads,
            references=references,
            read_only=read_only,
        )


def references(payload: bytes) -> Iterator[tuple[Location, int]]:
    rows, _ = msgspec.msgpack.decode(payload, type=tuple[list[list[int]], bytes])
    for segment, offset, length, hash32 in rows:
        yield Location(segment, offset, length), hash32


def meta(*stored: Stored, filler: bytes = b"") -> bytes:
    """A META payload that refers to these."""
    rows = [[*one.location, one.hash32] for one in stored]
    return msgspec.msgpack.encode((rows, filler))


def payloads(log: Log, after: int = 0) -> list[tuple[int, bytes]]:
    return [(one.sequence, one.payload) for one in log.metas(after)]
