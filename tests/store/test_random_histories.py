"""Random histories of a log, with failures, crashes and reopenings in between, against the list of
what was appended and what was promised."""

import errno
import os
from random import Random

import pytest

from objfs.base.errors import StorageError
from objfs.base.settings import Settings
from objfs.store.faults import FaultPlan, FaultyDevice
from objfs.store.log import Log
from objfs.store.memory import MemoryDevice, everything_survives, nothing_survives
from tests.store.rig import Rig
from tests.store.test_crashes import NOISE, History, torn

TEXT = b"".join(b"%d lines of a text\n" % n for n in range(20_000))


class Story:
    """One random history."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.settings = Settings(
            compression=self.random.choice(("none", "zstd")),
            segment_bytes=self.random.choice((4096, 60_000, 1 << 20)),
            block_cache_bytes=self.random.choice((0, 50_000, 1 << 20)),
        )
        self.memory = MemoryDevice()
        self.plan = FaultPlan()
        self.history = History()
        self.log = self.open()

    def open(self) -> Log:
        self.plan = FaultPlan()
        return Rig(FaultyDevice(self.memory, self.plan), self.settings).open()

    def piece(self, longest: int) -> bytes:
        length = self.random.randrange(1, longest)
        start = self.random.randrange(1000)
        return self.random.choice((NOISE, TEXT))[start : start + length]

    async def run(self, steps: int) -> None:
        acts = (
            (30, self.append),
            (8, self.append_large),
            (10, self.sync),
            (1, self.checkpoint),
            (2, self.reopen),
            (4, self.power_cut),
            (6, self.fault),
            (10, self.check),
        )
        weights = [weight for weight, _ in acts]
        for _ in range(steps):
            ((_, act),) = self.random.choices(acts, weights)
            try:
                await act()
            except StorageError:
                self.history.forget_after(self.log.last_sequence)
                if self.log.failed is not None or act == self.reopen:
                    if self.random.randrange(2):
                        self.memory.drop_unsynced()
                    self.log = self.open()
                    self.take_over()
        await self.power_cut()
        await self.reopen()

    async def append(self) -> None:
        pieces = [self.piece(9000) for _ in range(self.random.randrange(3))]
        stored = [(self.log.append_data(1, 0, piece), piece) for piece in pieces]
        self.history.append(self.log, *stored, filler=self.piece(900))

    async def append_large(self) -> None:
        data = self.piece(200_000)
        cut = self.random.randrange(len(data))
        stored = await self.log.append_large(2, 0, [data[:cut], data[cut:]])
        self.history.append(
            self.log, *((one, data[one.offset : one.offset + one.length]) for one in stored)
        )

    async def sync(self) -> None:
        await self.history.sync(self.log)

    async def checkpoint(self) -> None:
        reached = self.log.last_sequence
        await self.log.append_checkpoint(reached, [NOISE[:1000], NOISE[1000:3000]])
        self.history.synced = max(self.history.synced, reached)
        self.history.checkpoints += 1

    async def reopen(self) -> None:
        failing = bool(self.plan.faults)
        await self.log.close()
        self.log = self.open()
        assert failing or self.log.recovery.scanned == 0
        self.history.synced = len(self.history.metas)
        await self.check()

    async def power_cut(self) -> None:
        seed = self.random.randrange(1 << 30)
        survives = self.random.choice((nothing_survives, everything_survives, torn(seed)))
        self.memory = self.memory.after_power_cut(survives)
        self.log = self.open()
        await self.check()
        self.take_over()

    def take_over(self) -> None:
        """History is what the log has now; all of it is durable."""
        self.history.forget_after(self.log.last_sequence)
        assert len(self.history.metas) == self.log.last_sequence
        self.history.synced = self.log.synced_sequence
        self.history.checkpoints = len(self.log.checkpoints())

    async def fault(self) -> None:
        method = self.random.choice(("write", "write", "write", "sync", "truncate", "create"))
        number = self.random.choice((errno.ENOSPC, errno.EIO))
        # Less than a record: a whole one, whose cut was not synced either, may come back.
        self.plan.add(
            method, number, at=self.random.randrange(1, 6), written=self.random.randrange(80)
        )

    async def check(self) -> None:
        self.history.check(self.log)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(int(os.environ.get("OBJFS_STORIES", "12"))))
async def test_a_random_history(seed: int) -> None:
    await Story(seed).run(120)
