"""The index as the volume sees it: reads as of now, and changes that become META records.

What always holds:

- **The append is the commit.** A change collects row images; on a clean exit they are encoded and
  appended to the journal as one META record, and only then applied to the engine. If the append
  raises, nothing has happened and the caller gets the error. If the engine raises after the append,
  the operation *has* happened but this view does not show it: the database is `failed`, every later
  call raises IndexFailed, nothing more is appended, and the next opening replays the log.
- A change is one synchronous stretch on the loop: no `await` inside, and no second change inside.
- What changes nothing writes nothing. A put of what is there already is dropped, if the change read
  that row, or if nothing else remains.
- Time never stands still: a change's `time_ns` is max(wall clock, last change's + 1).
- A `moment` row maps time to sequence, one per MOMENT_GAP_NS at most; the commit adds it by itself.

The engine's own transaction stays open over many changes; `commit` closes it. That only decides how
much of the log is replayed after a `kill -9`, never what survives.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Literal, NamedTuple, Protocol, cast

from objfs.base import limits
from objfs.base.errors import IndexFailed, InvalidRequest
from objfs.base.limits import (
    CLOCK_JUMP_NS,
    CLOCK_JUMPS_KEPT_MAX,
    COMMIT_METAS_MAX,
    IDS_PER_CHANGE_MAX,
    MOMENT_GAP_NS,
    TRANSACTION_ROWS_MAX,
)
from objfs.base.ports import Clock
from objfs.meta.change_record import encode_change
from objfs.meta.engine import Backup, Changed, Engine
from objfs.meta.rows import Moment
from objfs.meta.tables import (
    MOMENT,
    TABLE_OF,
    AnyRow,
    Key,
    KeyValue,
    Order,
    R,
    Table,
    integers_fit,
)

logger = logging.getLogger(__name__)

_Place = tuple[int, Key]  # table id and key
_UNREAD = object()


class Journal(Protocol):
    """Where META records go; `store.Log` is one."""

    @property
    def last_sequence(self) -> int:
        """The newest META's sequence number; 0 when there is none."""

    def append_meta(self, payload: bytes) -> bytes:
        """Append a META with sequence `last_sequence + 1`; returns its record's checksum. When it
        raises, nothing was appended."""


class ClockJump(NamedTuple):
    """The wall clock moved by more than CLOCK_JUMP_NS against the last change."""

    sequence: int  # the first change after it
    from_ns: int
    to_ns: int


class CatchUp(NamedTuple):
    """How the index was brought up to the log at opening."""

    outcome: Literal["current", "replayed", "rebuilt"]
    reason: str  # in words; "" when current
    checkpoint: int  # the sequence of the checkpoint that was loaded; 0: none
    checkpoints_damaged: int
    replayed: int  # METAs applied
    missing: int  # METAs that the log no longer has, passed over


class Database:
    """The index; see the module's docstring. `time_ns` is when the last META was made, if known."""

    def __init__(
        self,
        engine: Engine,
        journal: Journal,
        clock: Clock,
        *,
        time_ns: int = 0,
        caught_up: CatchUp | None = None,
    ) -> None:
        self.engine = engine
        self.caught_up = caught_up
        self.clock_jumps: deque[ClockJump] = deque(maxlen=CLOCK_JUMPS_KEPT_MAX)
        self.sequence = journal.last_sequence
        self._journal = journal
        self._clock = clock
        self._failed: IndexFailed | None = None
        self._open: Change | None = None
        self._uncommitted = 0  # METAs applied since the engine's last commit
        newest = engine.scan(MOMENT, limit=1, reverse=True)
        self._moment_ns = newest[0].time_ns if newest else -MOMENT_GAP_NS
        self._last_ns = max(time_ns, self._moment_ns, 0)
        self._wall_ns = self._last_ns  # the wall clock at the last change
        self._monotonic: float | None = None  # the other clock at the last change of this opening

    @property
    def failed(self) -> IndexFailed | None:
        """Set once, when the view no longer shows the log: everything raises from then on."""
        return self._failed or self.engine.failed

    @property
    def time_ns(self) -> int:
        """When the last change was made; the next one is later."""
        return self._last_ns

    def get(self, table: Table[R], *key: KeyValue) -> R | None:
        """The row with this full key."""
        if self._failed is not None:
            raise self._refusal()
        return self.engine.get(table, *key)

    def get_many(self, table: Table[R], keys: Sequence[Key]) -> list[R | None]:
        """The rows with these full keys, in their order."""
        if self._failed is not None:
            raise self._refusal()
        return self.engine.get_many(table, keys)

    def scan(
        self,
        table: Table[R],
        prefix: Key = (),
        *,
        lower: KeyValue | None = None,
        upper: KeyValue | None = None,
        limit: int | None = None,
        reverse: bool = False,
        index: str | None = None,
    ) -> list[R]:
        """Rows in key order; see `Engine.scan`."""
        if self._failed is not None:
            raise self._refusal()
        try:
            return self.engine.scan(
                table, prefix, lower=lower, upper=upper, limit=limit, reverse=reverse, index=index
            )
        except IndexFailed:
            self._failed = self.engine.failed  # a scan may have to write what was applied
            raise

    def nearest(
        self, table: Table[R], groups: Sequence[Key], bound: int, *, newest: bool = False
    ) -> list[R | None]:
        """One row of each group of a table of the past; see `Engine.nearest`."""
        if self._failed is not None:
            raise self._refusal()
        return self.engine.nearest(table, groups, bound, newest=newest)

    def scan_nearest(
        self,
        table: Table[R],
        prefix: Key,
        bound: int,
        *,
        after: KeyValue | None = None,
        before: KeyValue | None = None,
        newest: bool = False,
        rows: int = limits.PAST_ROWS_MAX,
    ) -> tuple[list[R], KeyValue | None]:
        """A part of a skip-scan, and where it stopped; see `Engine.scan_nearest`."""
        if self._failed is not None:
            raise self._refusal()
        return self.engine.scan_nearest(
            table, prefix, bound, after=after, before=before, newest=newest, rows=rows
        )

    def scan_holding(
        self,
        table: Table[R],
        prefix: Key,
        at: int,
        *,
        after: KeyValue | None = None,
        before: KeyValue | None = None,
        rows: int = limits.PAST_ROWS_MAX,
    ) -> tuple[list[R], KeyValue | None]:
        """A part of what held, and where it stopped; see `Engine.scan_holding`."""
        if self._failed is not None:
            raise self._refusal()
        return self.engine.scan_holding(table, prefix, at, after=after, before=before, rows=rows)

    def change(self) -> "Change":
        """A new change, to be used in a `with` statement at once."""
        if self._failed is not None or self.engine.failed is not None:
            raise self._refusal()
        assert self._open is None, "a change inside a change"
        return Change(self, self._journal.last_sequence + 1, self._clock.now_ns())

    def commit(self) -> None:
        """Close the engine's open transaction; other connections see everything from then on."""
        if self._failed is not None:
            raise self._refusal()
        self._uncommitted = 0
        try:
            self.engine.commit()
        except IndexFailed:
            self._failed = self.engine.failed
            raise

    def begin_backup(self) -> Callable[[], Backup]:
        """Commit, and return what copies the index in a thread; see `Engine.begin_backup`."""
        self.commit()
        return self.engine.begin_backup()

    def close(self) -> None:
        """Close the engine, which commits unless it failed."""
        self.engine.close()

    def _refusal(self) -> IndexFailed:
        failed = self.failed
        assert failed is not None
        refusal = IndexFailed(str(failed))
        refusal.__cause__ = failed
        return refusal

    def _write(self, change: "Change", changes: list[Changed]) -> None:
        """Append, then apply. From the append on, the change has happened."""
        assert len(changes) <= TRANSACTION_ROWS_MAX, "long work goes in batches"
        journal, time_ns, sequence = self._journal, change.time_ns, change.sequence
        assert journal.last_sequence == sequence - 1, "somebody else appended inside a change"
        if time_ns - self._moment_ns >= MOMENT_GAP_NS:
            changes.append((MOMENT, (time_ns,), Moment(time_ns, sequence)))
        assert integers_fit(changes), changes
        try:
            payload = encode_change(time_ns, changes)
        except OverflowError as error:
            raise InvalidRequest(f"a value is out of the range of 64 bits: {error}") from error
        checksum = journal.append_meta(payload)
        self.sequence = sequence
        try:
            self.engine.apply(changes, sequence, checksum)
            self._uncommitted += 1
            if self._uncommitted >= COMMIT_METAS_MAX:
                self.commit()
        except BaseException as error:
            self._failed = IndexFailed(
                f"the index failed after META {sequence} was logged ({error!r}); nothing is lost: "
                "open the store again to replay the log, or run objfs rebuild"
            )
            raise self._failed from error
        self._observe_clock(change.wall_ns, sequence)
        self._last_ns = time_ns
        if changes[-1][0] is MOMENT:
            self._moment_ns = time_ns

    def _observe_clock(self, wall_ns: int, sequence: int) -> None:
        """Record a jump of the wall clock. Time that really passed while the store was open is
        known from the monotonic clock and is no jump."""
        monotonic = self._clock.monotonic()
        elapsed_ns = 0
        if self._monotonic is not None:
            elapsed_ns = int((monotonic - self._monotonic) * 1e9)
        jump_ns = wall_ns - self._wall_ns - elapsed_ns
        if abs(jump_ns) > CLOCK_JUMP_NS and self._wall_ns:
            self.clock_jumps.append(ClockJump(sequence, self._wall_ns, wall_ns))
            # Forward, at the first change after opening: the store may just have lain idle.
            idle = jump_ns > 0 and self._monotonic is None
            logger.log(
                logging.INFO if idle else logging.WARNING,
                "the clock moved by %.1f days between META %d and %d; versions keep their order, "
                "and times go on from the later one; check the machine's clock",
                jump_ns / 86_400e9,
                sequence - 1,
                sequence,
            )
        self._wall_ns, self._monotonic = wall_ns, monotonic


class Change:
    """Row images that become one META record, or nothing at all.

    Reads see the change's own rows. An exception inside the `with` drops everything.
    """

    __slots__ = ("_buffer", "_database", "_ids", "_seen", "sequence", "time_ns", "wall_ns")

    def __init__(self, database: Database, sequence: int, wall_ns: int) -> None:
        last_ns = database._last_ns
        self.sequence = sequence
        self.time_ns = wall_ns if wall_ns > last_ns else last_ns + 1
        self.wall_ns = wall_ns
        self._database = database
        self._buffer: dict[_Place, Changed] = {}
        self._seen: dict[_Place, AnyRow | None] = {}  # what was there before, as far as read
        self._ids = 0

    def __enter__(self) -> "Change":
        assert self._database._open is None, "a change inside a change"
        self._database._open = self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        database = self._database
        assert database._open is self, "a change is used in one `with` statement"
        database._open = None
        if kind is None and self._buffer:
            changes = self._effective()
            if changes:
                database._write(self, changes)

    def __len__(self) -> int:
        """How many rows it puts or deletes so far."""
        return len(self._buffer)

    def get(self, table: Table[R], *key: KeyValue) -> R | None:
        """The row with this full key."""
        place = (table.id, key)
        row: Any
        if place in self._buffer:
            row = self._buffer[place][2]
        elif place in self._seen:
            row = self._seen[place]
        else:
            row = self._seen[place] = self._database.get(table, *key)
        return row  # type: ignore[no-any-return]

    def get_many(self, table: Table[R], keys: Sequence[Key]) -> list[R | None]:
        """The rows with these full keys, in their order."""
        found = self._database.get_many(table, keys)
        table_id, buffer = table.id, self._buffer
        for at, key in enumerate(keys):
            place = (table_id, key)
            self._seen.setdefault(place, found[at])
            if place in buffer:
                found[at] = cast("R | None", buffer[place][2])
        return found

    def scan(
        self,
        table: Table[R],
        prefix: Key = (),
        *,
        lower: KeyValue | None = None,
        upper: KeyValue | None = None,
        limit: int | None = None,
        reverse: bool = False,
        index: str | None = None,
    ) -> list[R]:
        """Rows in key order; see `Engine.scan`."""
        own = {key: row for owner, key, row in self._buffer.values() if owner is table}
        # Each of the change's own rows may hide one that is stored.
        reach = limit if limit is None else limit + len(own)
        found = self._database.scan(
            table, prefix, lower=lower, upper=upper, limit=reach, reverse=reverse, index=index
        )
        if not own:
            return found
        order = table.orders[index]
        merged = [row for row in found if table.key_of(row) not in own]
        mine = (cast("R", row) for row in own.values() if row is not None)
        merged += [row for row in mine if _within(order, row, prefix, lower, upper)]
        merged.sort(key=order.of, reverse=reverse)
        return merged[:limit]

    def put(self, row: AnyRow) -> None:
        """Store a row in place of any other with its key."""
        table = TABLE_OF[type(row)]
        key = table.key_of(row)
        self._buffer[table.id, key] = (table, key, row)

    def delete(self, table: Table[Any], *key: KeyValue) -> None:
        """Remove the row with this full key, if there is one."""
        assert len(key) == len(table.key)
        self._buffer[table.id, key] = (table, key, None)

    def new_id(self) -> int:
        """An identifier that was never used before and never will be again."""
        k = self._ids
        assert k < IDS_PER_CHANGE_MAX, "long work goes in batches"
        self._ids = k + 1
        return self.sequence * IDS_PER_CHANGE_MAX + k

    def _effective(self) -> list[Changed]:
        """The buffered rows without those known to be there already; empty when all of them are.

        Rows that the change did not read are looked up only while nothing is known to change: a
        superfluous image does no harm in a META that is written anyway.
        """
        seen, changed = self._seen, False
        if seen:
            changes, unread = [], False
            for place, change in self._buffer.items():
                before = seen.get(place, _UNREAD)
                if before == change[2]:
                    continue
                changes.append(change)
                if before is _UNREAD:
                    unread = True
                else:
                    changed = True
        else:
            changes, unread = list(self._buffer.values()), True
        if changed or not unread:
            return changes
        get = self._database.engine.get
        differs = any(get(table, *key) != row for table, key, row in changes)
        return changes if differs else []


def _within(
    order: Order[R], row: R, prefix: Key, lower: KeyValue | None, upper: KeyValue | None
) -> bool:
    """Whether an order's range has this row."""
    values, width = order.of(row), len(prefix)
    if values[:width] != prefix:
        return False
    if lower is not None and values[width] < lower:  # type: ignore[operator]
        return False
    return upper is None or values[width] < upper  # type: ignore[operator]
