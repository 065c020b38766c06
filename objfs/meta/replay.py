"""Bringing the index up to the log at opening: nothing to do, replay, or rebuild.

    index and log agree                     current
    index behind, its last META in the log  replayed: the METAs after it are applied
    anything else                           rebuilt: emptied, the newest checkpoint that verifies is
                                            loaded, the METAs above it are applied

"Anything else" is an index that is empty, damaged, ahead of the log, of another history (the log's
META at the index's sequence has another checksum, or is no longer there to compare), of another
version or of another store. Both ways end with the same rows: row images are applied in order by
the same `Engine.apply` as live changes, and a checkpoint holds what they gave.

A META that the log lost to damage is counted and passed over: history goes on. But if METAs are
missing that a checkpoint covers, they were freed and not lost, and the checkpoint is loaded. The
pages below a loaded checkpoint are checked; METAs are verified by the log that yields them.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, NamedTuple, Protocol, TypeVar

from objfs.base.errors import DataLost, IndexFailed
from objfs.base.limits import INDEX_WAL_BYTES_MAX, REPLAY_COMMIT_METAS
from objfs.base.ports import Clock
from objfs.meta.change_record import decode_change
from objfs.meta.database import CatchUp, Database, Journal
from objfs.meta.engine import Engine

logger = logging.getLogger(__name__)


class MetaRecord(Protocol):
    """A META record as the log yields it, verified."""

    @property
    def sequence(self) -> int: ...

    @property
    def checksum(self) -> bytes: ...

    @property
    def payload(self) -> bytes: ...


class CheckpointRecord(Protocol):
    """A complete checkpoint in the log."""

    @property
    def sequence(self) -> int: ...


Progress = Callable[[int, int], None]
C = TypeVar("C", bound=CheckpointRecord)


class LogPort(Journal, Protocol[C]):
    """What is needed of the log; `store.Log` is one."""

    def metas(self, after: int) -> Iterator[MetaRecord]:
        """META records with a greater sequence number, in order."""

    def meta_checksum(self, sequence: int) -> bytes | None:
        """The checksum of this META's record; None when the log has none that verifies."""

    def checkpoints(self) -> list[C]:
        """The complete ones, newest first."""

    def read_checkpoint(self, checkpoint: C) -> Iterable[bytes]:
        """Its parts, verified; DataLost when one does not verify."""


class _Replayed(NamedTuple):
    metas: int  # applied
    missing: int
    time_ns: int  # of the last META applied; 0: none was


def catch_up(
    engine: Engine, log: LogPort[C], clock: Clock, *, progress: Progress | None = None
) -> Database:
    """The database of this log, caught up with it; `Database.caught_up` says how. `progress` is
    called now and then with the METAs done and to do.

    Raises NewerFormat when the log has changes that this version does not know, DataLost when a
    META is no change at all, IndexFailed when the engine fails on a fresh index too.
    """
    work = _CatchingUp(engine, log, clock, progress)
    try:
        reason = work.why_rebuild()
        if reason is None:
            return work.follow()
    except IndexFailed as error:
        logger.warning("the index cannot be used: %s", error)
        reason = "it failed when it was read"
    except _Freed as freed:
        reason = str(freed)
    return work.rebuild(reason)


class _Freed(Exception):
    """METAs that the index lacks were freed below a checkpoint."""


class _CatchingUp(Generic[C]):
    """One opening's work."""

    def __init__(
        self, engine: Engine, log: LogPort[C], clock: Clock, progress: Progress | None
    ) -> None:
        self._engine = engine
        self._log = log
        self._clock = clock
        self._progress = progress

    def why_rebuild(self) -> str | None:
        """None when the index is a state of this log's history."""
        engine, last = self._engine, self._log.last_sequence
        applied = engine.applied
        if engine.discarded is not None:
            return engine.discarded
        if applied is None:
            return "it is empty" if last else None
        if applied.sequence > last:
            return f"it is ahead of the log: it has META {applied.sequence}, the log ends at {last}"
        checksum = self._log.meta_checksum(applied.sequence)
        if checksum is None:
            return f"the log no longer has META {applied.sequence} to compare it with"
        if checksum != applied.checksum:
            return f"it has diverged from the log: META {applied.sequence} is another one there"
        return None

    def follow(self) -> Database:
        """Apply what the index lacks."""
        after = self._engine.applied.sequence if self._engine.applied else 0
        covered = max((checkpoint.sequence for checkpoint in self._log.checkpoints()), default=0)
        replayed = self._replay(after, covered)
        outcome = CatchUp(
            "replayed" if replayed.metas else "current",
            f"it ended at META {after}" if replayed.metas else "",
            checkpoint=0,
            checkpoints_damaged=0,
            replayed=replayed.metas,
            missing=replayed.missing,
        )
        return self._database(replayed.time_ns, outcome)

    def rebuild(self, reason: str) -> Database:
        """Start from the newest checkpoint that verifies, or from nothing."""
        logger.info("rebuilding the index: %s", reason)
        self._engine.reset()
        loaded, damaged = self._load_newest()
        if damaged and not loaded:
            self._check_beginning(damaged)
        replayed = self._replay(loaded, loaded)
        outcome = CatchUp("rebuilt", reason, loaded, damaged, replayed.metas, replayed.missing)
        return self._database(replayed.time_ns, outcome)

    def _load_newest(self) -> tuple[int, int]:
        """The sequence of the checkpoint that was loaded, 0 for none, and how many did not
        verify."""
        damaged = 0
        for checkpoint in self._log.checkpoints():
            try:
                self._load(checkpoint)
            except DataLost as error:
                logger.warning("%s; going on without this checkpoint", error)
                damaged += 1
            else:
                return checkpoint.sequence, damaged
        return 0, damaged

    def _check_beginning(self, damaged: int) -> None:
        """Without a checkpoint everything has to be replayed from META 1 on. DataLost when what the
        checkpoints covered was freed: an index of the rest would look like an empty store."""
        for meta in self._log.metas(0):
            if meta.sequence == 1:
                return
            break
        raise DataLost(
            f"the index cannot be made again: none of {damaged} checkpoints verifies, and the "
            "changes that they covered were freed; put the damaged bulk segments (`objfs inspect` "
            "finds them) or the directory index/ back from a backup of the store"
        )

    def _load(self, checkpoint: C) -> None:
        """Raises DataLost when it is not a state of this log's history; the index is empty then."""
        sequence = checkpoint.sequence
        if sequence > self._log.last_sequence:
            raise DataLost(f"a checkpoint covers META {sequence}, which the log does not have")
        self._engine.load(self._log.read_checkpoint(checkpoint), sequence)
        applied, checksum = self._engine.applied, self._log.meta_checksum(sequence)
        assert applied is not None
        if checksum is not None and checksum != applied.checksum:
            self._engine.reset()
            raise DataLost(f"a checkpoint was made of another META {sequence} than the log's")

    def _replay(self, after: int, covered: int) -> _Replayed:
        """Apply the METAs above `after`. Raises _Freed if one up to `covered` is missing: then a
        checkpoint has it, and what was applied here is thrown away."""
        done, time_ns, missing, expected = 0, 0, 0, after + 1
        for meta in self._log.metas(after):
            assert meta.sequence >= expected, "METAs come in order"
            missing += _gap(expected, meta.sequence, covered)
            expected = meta.sequence + 1
            time_ns, changes = decode_change(meta.payload, meta.sequence)
            self._engine.apply(changes, meta.sequence, meta.checksum)
            done += 1
            if done % REPLAY_COMMIT_METAS == 0:
                self._keep(meta.sequence - after, self._log.last_sequence - after)
        missing += _gap(expected, self._log.last_sequence + 1, covered)
        if missing:
            logger.error("%d METAs are missing from the log and were passed over", missing)
        self._engine.commit()
        return _Replayed(done, missing, time_ns)

    def _keep(self, done: int, total: int) -> None:
        self._engine.commit()
        if self._engine.wal_bytes() > INDEX_WAL_BYTES_MAX:
            self._engine.checkpoint_wal()
        if self._progress is not None:
            self._progress(done, total)

    def _database(self, time_ns: int, outcome: CatchUp) -> Database:
        if not time_ns:
            # Nothing was replayed: the log knows when its last META was made.
            for meta in self._log.metas(max(self._log.last_sequence - 1, 0)):
                time_ns = decode_change(meta.payload, meta.sequence).time_ns
        return Database(self._engine, self._log, self._clock, time_ns=time_ns, caught_up=outcome)


def _gap(expected: int, found: int, covered: int) -> int:
    """How many METAs lie between; raises _Freed if a checkpoint covers the first of them."""
    if found > expected and expected <= covered:
        raise _Freed(f"the log no longer has META {expected}, but a checkpoint does")
    return found - expected
