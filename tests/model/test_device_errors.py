"""Errors of the device at every call of a scripted history: a failed write loses nothing, a failed
sync ends the writing, and what was promised durable is there after the next opening."""

import errno
from pathlib import Path

import pytest

from objfs.base.errors import NoSpace, ObjfsError, StorageError
from objfs.store.faults import FaultPlan
from objfs.store.memory import nothing_survives
from tests.model.harness import BUCKET, Harness
from tests.model.operations import Operation
from tests.model.sequences import Differs, Run
from tests.model.subject import Subject
from tests.model.test_crash import HISTORY, ME, lived_through

# A flush that fails is made up for by write-back, which makes no version: then the next seal
# replaces none.
NO_FLUSH = tuple(operation for operation in HISTORY if operation[0] != "flush")


class PersistentSubject(Subject):
    """Does again what failed: as a program would, or after close(2), as the background does."""

    failures: list[StorageError]

    async def perform(self, verb: str, arguments: tuple[object, ...]) -> object:
        try:
            return await super().perform(verb, arguments)
        except StorageError as error:
            self.failures.append(error)
        if verb == "release":
            await self.upkeep()
            return None
        return await super().perform(verb, arguments)


class PersistentRun(Run):
    """A run on such a subject."""

    @property
    def failures(self) -> list[StorageError]:
        assert isinstance(self.subject, PersistentSubject)
        return self.subject.failures

    @classmethod
    async def begin(cls, seed: int, directory: Path | None) -> "PersistentRun":
        harness = Harness(directory, seed=seed)
        await harness.make()
        run = cls(harness, seed)
        subject = PersistentSubject(harness.volume, BUCKET)
        subject.failures = []
        run.subject = subject
        return run

    async def end(self) -> None:
        """A clean end that fails is none. The next opening has a sound device."""
        self.harness.plan = FaultPlan()
        try:
            await self.perform(("remount", ("kept",)))
        except StorageError as error:
            self.failures.append(error)
            self.reference.interrupted()
            await lived_through(self.twin(None))
        else:
            await self.compare_past()


@pytest.mark.slow
@pytest.mark.parametrize("written", [0, 40])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
async def test_a_write_that_fails_loses_nothing(code: int, written: int) -> None:
    """S3.1, S4.2"""
    calls = 1
    while True:
        run = await PersistentRun.begin(1, None)
        run.harness.plan.add("write", code, calls, written=written)
        for operation in NO_FLUSH[:-2]:
            await run.perform(operation)
        await run.end()
        if not run.failures:
            break
        if code == errno.ENOSPC:
            assert isinstance(run.failures[0], NoSpace)
        calls += 1
    assert calls > len(NO_FLUSH) / 2


async def failed_at_sync(calls: int) -> Run | None:
    """The history up to a sync that fails; None if there are not so many."""
    run = await Run.begin(1, None)
    run.harness.plan.add("sync", errno.EIO, calls)
    for operation in HISTORY:
        try:
            await run.perform(operation)
        except (Differs, ObjfsError):
            if run.harness.log.failed is None:
                raise
            run.reference.interrupted()
            return run
    return None


@pytest.mark.slow
async def test_a_sync_that_fails_ends_the_writing() -> None:
    """S4.2: nothing more is taken, and the next opening has what was promised."""
    calls = 1
    while (run := await failed_at_sync(calls)) is not None:
        if run.done[-1][0] != "remount":
            for operation in REFUSED:
                with pytest.raises(StorageError):
                    await run.subject.perform(*operation)
        await lived_through(run.twin(None))
        await lived_through(run.twin(nothing_survives))
        calls += 1
    assert calls > 3


REFUSED: tuple[Operation, ...] = (
    ("mkdir", ("never", 0o755, ME)),
    ("sync", ()),
)
