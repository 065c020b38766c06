"""Runs lists of operations on a volume and on the model, and compares them after every step.

A failure says the seed, the operations and the difference. `shrunk` drops operations for as long
as the rest still fails.
"""

import copy
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Self

from objfs.base.errors import ObjfsError
from objfs.base.limits import KIB, MIB
from objfs.maint.fsck import Asked, Fsck
from objfs.meta.memory import MemoryEngine
from objfs.meta.tables import INODE, ORPHAN, PURGE, UNSEALED, USAGE
from objfs.store.memory import Survives, nothing_survives
from tests.model.harness import BUCKET, Harness, some_survives
from tests.model.operations import Generator, Operation
from tests.model.reference import Reference
from tests.model.restoring import restore_tree
from tests.model.subject import Subject
from tests.model.world import PassedOver, Refused, State

SURVIVORS: dict[str, Callable[[int], Survives | None]] = {
    "synced": lambda seed: nothing_survives,
    "some": some_survives,
    "all": lambda seed: None,
}
MOMENTS_AFTER_AN_OPENING = 8
SYNCS = {"fsync", "sync", "checkpoint", "take_snapshot"}
TIME = {"take_snapshot", "drop_snapshot", "forget_version", "forget", "apply_rules"}
MOMENTS_COMPARED = 30  # after an operation of these


class Differs(AssertionError):
    """The volume is not what the model is."""


class Run:
    """One store and its model, at the same place of the same history."""

    def __init__(self, harness: Harness, seed: int) -> None:
        self.harness = harness
        volume = harness.volume
        self.subject = Subject(volume, BUCKET)
        root = volume.getattr(self.subject.root)
        state = State(
            root.mode, root.uid, root.gid, root.nlink, root.atime_ns, root.mtime_ns, root.ctime_ns
        )
        self.reference = Reference(state, self._sequence, self.harness.clock.now_ns())
        self.promised = self._sequence  # everything up to this sequence was said to be durable
        self.done: list[Operation] = []
        self.moments_compared = MOMENTS_AFTER_AN_OPENING
        self._random = Random(seed)

    @classmethod
    async def begin(cls, seed: int, directory: Path | None) -> "Run":
        """In a new store."""
        segment_bytes = (16 * KIB, 256 * KIB, 4 * MIB)[seed % 3]
        harness = Harness(directory, seed=seed, segment_bytes=segment_bytes)
        await harness.make()
        return cls(harness, seed)

    # --- what the generator looks at: the model, whichever that is now ---------------------------

    def paths(self, kind: str) -> list[str]:
        return self.reference.paths(kind)

    def paths_ever(self) -> set[str]:
        return self.reference.paths_ever()

    def open_slots(self) -> list[int]:
        return self.reference.open_slots()

    def size_in(self, slot: int) -> int:
        return self.reference.size_in(slot)

    # --- steps -----------------------------------------------------------------------------------

    @property
    def _sequence(self) -> int:
        return self.harness.log.last_sequence

    async def perform(self, operation: Operation) -> None:
        """One step, and everything compared. Differs."""
        verb, arguments = operation
        self.done.append(operation)
        self.harness.clock.advance(arguments[0] if verb == "advance" else 1)  # type: ignore[arg-type]
        special: dict[str, Callable[..., Awaitable[None]]] = {
            "remount": self._remount,
            "crash": self._crash,
            "advance": self._nothing,
            "compare": self.compare_time,
            "restore_tree": self._restore_tree,
        }
        if verb in special:
            await special[verb](*arguments)
        else:
            if verb == "apply_rules":
                while self.reference.is_borderline(self.harness.clock.now_ns()):
                    self.harness.clock.advance()
            await self._compare_step(verb, arguments)
        await self.compare_present()
        if verb in TIME:
            await self.compare_time()

    async def _nothing(self, *arguments: object) -> None:
        """Time passed already."""

    async def _compare_step(self, verb: str, arguments: tuple[object, ...]) -> None:
        reference = self.reference
        expected: object = None
        refused: tuple[type[ObjfsError], ...] = ()
        try:
            expected = reference.perform(verb, arguments, self.harness.clock.now_ns())
        except PassedOver:
            self.done.pop()
            return
        except Refused as error:
            refused = error.errors
        try:
            result = await self.subject.perform(verb, arguments)
        except ObjfsError as error:
            if not isinstance(error, refused):
                raise Differs(f"it raised {error!r}, not {refused or expected!r}") from error
        else:
            if refused or result != expected:
                raise Differs(f"it returned {result!r}, not {refused or expected!r}")
        if verb in TIME:
            await self.harness.log.sync()  # a crash leaves all of it, or it did not happen
        if verb in SYNCS | TIME:
            self.promised = self._sequence
        reference.settle(self._sequence)

    async def _restore_tree(self, place: float, when: float) -> None:
        complaints = await restore_tree(self, place, when)
        await self.harness.log.sync()  # a crash leaves all of it
        self.promised = self._sequence
        self.reference.settle(self._sequence)
        if complaints:
            raise Differs("\n".join(complaints))
        await self.compare_time()

    async def _remount(self, index_fault: str) -> None:
        nameless = self.reference.has_nameless()
        self.reference.perform("remount", (), self.harness.clock.now_ns())
        await self.harness.close()
        self.promised = self._sequence
        self.reference.settle(self._sequence)
        in_memory = isinstance(self.harness.indexes.engine, MemoryEngine)
        rows = self.harness.dump() if in_memory and not nameless else None
        self.subject.take(self.harness.open(index_fault))
        if rows is not None and rows != self.harness.dump():
            different = set(map(str, rows)) ^ set(map(str, self.harness.dump()))
            raise Differs(f"the index that was made again has other rows: {different}")
        if self.harness.found != self.reference.sequence:
            raise Differs(f"the log ends at {self.harness.found} after a clean end")
        if nameless:  # they end at the next start
            self.reference.settle(self._sequence)
        if self._sequence != self.reference.sequence:
            raise Differs(f"opening after a clean end went on to {self._sequence}")
        await self.compare_after_opening()

    async def _crash(self, kept: str, seed: int, index_fault: str) -> None:
        self.harness.crash(SURVIVORS[kept](seed))
        await self.reopen(index_fault, everything=kept == "all")

    async def recovered(self, *, everything: bool = False) -> None:
        """The store was opened after a crash: find out which moment it is at, and go on there."""
        found, reference = self.harness.found, self.reference
        least = reference.sequence if everything else self.promised
        if not least <= found <= reference.sequence:
            raise Differs(f"the log ends at {found}, not in [{least}, {reference.sequence}]")
        self.promised = found  # recovery syncs what it keeps
        candidates = reference.candidates(found)
        complaints: list[str] = []
        known = self.subject.inodes
        for world in candidates:
            self.subject.inodes = {n: ino for n, ino in known.items() if n in world.nodes}
            now = self.harness.clock.now_ns()
            if not reference.recover(world, found, self._sequence, now):
                complaints = ["recovery logged nothing"]
                continue
            complaints = await self.subject.differences(reference, reference.world)
            if not complaints and len(candidates) > 1:  # they may differ in versions only
                complaints = await self._history_complaints()
            if not complaints:
                break
        else:
            raise Differs(f"not one of {len(candidates)} moments around {found}: {complaints}")
        await self.compare_after_opening()

    def twin(self, survives: Survives | None) -> Self:
        """The same history after a crash, to go on by itself. Not open yet: `reopen`."""
        twin = copy.copy(self)
        twin.harness = self.harness.twin()
        twin.harness.crash(survives)
        twin.subject = copy.copy(self.subject)
        twin.subject.inodes = dict(self.subject.inodes)
        twin.reference = self.reference.twin()
        twin.done = list(self.done)
        return twin

    async def reopen(self, index_fault: str = "kept", *, everything: bool = False) -> None:
        """Open after a crash, and compare."""
        self.subject.take(self.harness.open(index_fault))
        await self.recovered(everything=everything)

    async def compare_present(self) -> None:
        complaints = await self.subject.differences(self.reference, self.reference.world)
        if complaints:
            raise Differs("\n".join(complaints))

    async def compare_time(self) -> None:
        """After something that may change what the past shows: the moments of snapshots, and some
        others; all versions."""
        moments = list(self.reference.moments)
        chosen = set(self._random.sample(moments, min(len(moments), MOMENTS_COMPARED)))
        chosen |= {pin.sequence for pin in self.reference.world.pins.values()}
        await self.compare_past(sorted(chosen))
        await self.compare_histories()
        core = self.harness.volume.core
        for ino in core.open_inodes:
            core.expose(ino)

    async def compare_past(self, moments: Iterable[int] | None = None) -> None:
        """Every recorded moment, or those given."""
        past = self.reference.past()
        for sequence in moments or list(self.reference.moments):
            complaints = await self.subject.past_differences(self.reference, sequence, past)
            if complaints:
                raise Differs("\n".join(complaints))

    def compare_figures(self) -> None:
        """After an opening: nothing is left to be cleaned up, and what is counted with every
        change is what counting everything gives."""
        database = self.harness.volume.core.database
        left = [*database.scan(ORPHAN), *database.scan(UNSEALED), *database.scan(PURGE)]
        if left:
            raise Differs(f"the opening left {left}")
        nameless = [row.ino for row in database.scan(INODE) if row.nlink == 0]
        if nameless:
            raise Differs(f"inodes without a name: {nameless}")
        (usage,) = database.scan(USAGE)
        counted = self.reference.usage()
        if (usage.live_bytes, usage.past_bytes, usage.objects) != counted:
            raise Differs(f"{usage}, counted {counted}")

    async def compare_histories(self) -> None:
        """The versions of every path that ever was, in their order and with their bytes."""
        complaints = await self._history_complaints()
        if complaints:
            raise Differs("\n".join(complaints))

    async def _history_complaints(self) -> list[str]:
        self.reference.exposed()
        past = self.reference.past()
        for path in sorted(past.files()):
            complaints = await self.subject.history_differences(self.reference, path, past)
            if complaints:
                return complaints
        return []

    async def compare_after_opening(self) -> None:
        """The figures, and some past moments."""
        self.compare_figures()
        moments = list(self.reference.moments)
        count = min(len(moments), self.moments_compared)
        await self.compare_past(self._random.sample(moments, count))

    async def check_itself(self) -> None:
        """fsck finds nothing, whatever is open."""
        volume = self.harness.volume
        state = await Fsck(volume, noting=False).run(Asked(deep=True), restart=True)
        if state.problems:
            raise Differs(f"fsck says {state.problems}")


async def run(operations: Iterable[Operation], seed: int, directory: Path | None) -> Run:
    """The operations, all of the past, a clean end, and all of the past again."""
    return await _run(await Run.begin(seed, directory), operations)


async def _run(run: Run, operations: Iterable[Operation]) -> Run:
    for operation in operations:
        await run.perform(operation)
    await run.check_itself()
    await run.compare_past()
    await run.compare_histories()
    await run.perform(("remount", ("lost",)))
    await run.check_itself()
    await run.compare_past()
    await run.compare_histories()
    return run


async def check(seed: int, count: int, *, sqlite: bool, time: bool = False) -> None:
    """One random sequence. Raises Differs with all that is needed to repeat it, shrunk."""
    with tempfile.TemporaryDirectory() as directory:
        attempt = await Run.begin(seed, Path(directory) / "index" if sqlite else None)
        generator = Generator(Random(seed), attempt, time=time)
        operations = limited(generator, count)
        try:
            await _run(attempt, operations)
        except Exception as error:
            done = list(attempt.done)
            failure = error
        else:
            await attempt.harness.close()
            return
    shrunk, failure = await shrink(done, seed, failure)
    listing = "\n".join(f"    {operation!r}," for operation in shrunk)
    raise Differs(f"seed {seed} (sqlite={sqlite}), shrunk to\n{listing}\n{failure}") from failure


def limited(generator: Iterable[Operation], count: int) -> Iterator[Operation]:
    for _, operation in zip(range(count), generator, strict=False):
        yield operation


async def failure_of(operations: Sequence[Operation], seed: int) -> Exception | None:
    """What goes wrong with these operations, on the index in memory."""
    try:
        await run(operations, seed, None)
    except Exception as error:
        return error
    return None


async def shrink(
    operations: list[Operation],
    seed: int,
    failure: Exception,
    fails: Callable[[Sequence[Operation], int], Awaitable[Exception | None]] = failure_of,
) -> tuple[list[Operation], Exception]:
    """Drop operations, many at once and then single ones, as long as it fails with the same type
    of error. Bounded: a few hundred attempts."""
    budget = 300
    size = max(len(operations) // 2, 1)
    while size and budget:
        at = 0
        while at < len(operations) and budget:
            budget -= 1
            fewer = operations[:at] + operations[at + size :]
            error = await fails(fewer, seed)
            if type(error) is type(failure) and error is not None:
                operations, failure = fewer, error
            else:
                at += size
        size //= 2
    return operations, failure
