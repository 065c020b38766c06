"""What an index engine offers: ordered tables of typed rows, and nothing more.

The contract, which `tests/meta/test_engine_contract.py` runs on every engine:

- What `apply` was given is seen by every later read of the same engine, at once.
- `commit` makes everything applied so far survive a `kill -9` of the process, together with
  `applied`. Without it an engine may forget what was applied since the last commit, but only from
  the end: after reopening, rows and `applied` agree with each other.
- `apply` holds row images, so applying the same changes again changes nothing.
- One engine is used by one thread, the loop's. Only what `begin_backup` returns goes to another.
- An engine that cannot do its part raises IndexFailed. If what was applied may be lost by it,
  `failed` is set as well: it takes nothing more, and what it reads is no longer to be believed.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from objfs.base.errors import IndexFailed
from objfs.meta.tables import AnyRow, Key, KeyValue, R, Table

INDEX_VERSION = 1  # of what engines keep; an index of another version is rebuilt from the log

Changed = tuple[Table[Any], Key, AnyRow | None]  # a row to put, or None to delete the key


class Applied(NamedTuple):
    """The last META that the index has: its sequence number and its record's checksum."""

    sequence: int
    checksum: bytes


class Backup(NamedTuple):
    """A copy of the index as of `sequence`, in parts of at most CHECKPOINT_PART_BYTES."""

    sequence: int
    parts: Generator[bytes]


class Engine(Protocol):
    """Ordered tables of typed rows."""

    @property
    def applied(self) -> Applied | None:
        """The last META applied; None in an empty index."""

    @property
    def failed(self) -> IndexFailed | None:
        """Set once, when what was applied may be lost."""

    @property
    def discarded(self) -> str | None:
        """Why the index found at opening was not used, None if it was (or there was none), and
        after a reset."""

    def get(self, table: Table[R], *key: KeyValue) -> R | None:
        """The row with this full key."""

    def get_many(self, table: Table[R], keys: Sequence[Key]) -> list[R | None]:
        """The rows with these full keys, in their order."""

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
        """Rows whose leading key columns equal `prefix` and whose next column is in
        [lower, upper), in key order.

        With `index`, the columns are that index's fields and then those of the key that it does
        not have, and the order is theirs. `reverse` turns the order round before `limit` cuts.
        """

    def nearest(
        self, table: Table[R], groups: Sequence[Key], bound: int, *, newest: bool = False
    ) -> list[R | None]:
        """A group is all key columns but the last, an integer. For each group the row with the
        smallest last column above `bound`; with `newest`, the largest at or below it."""

    def scan_nearest(
        self,
        table: Table[R],
        prefix: Key,
        bound: int,
        *,
        after: KeyValue | None = None,
        before: KeyValue | None = None,
        newest: bool = False,
        rows: int,
    ) -> tuple[list[R], KeyValue | None]:
        """Of each group that begins with `prefix`, all key columns but the last two, the row that
        `nearest` finds, in key order; as far as the groups' own column is
        above `after` and below `before`. Looks at about `rows` rows, at whole groups in any case,
        and says at which value of that column it stopped: None at the end."""

    def scan_holding(
        self,
        table: Table[R],
        prefix: Key,
        at: int,
        *,
        after: KeyValue | None = None,
        before: KeyValue | None = None,
        rows: int,
    ) -> tuple[list[R], KeyValue | None]:
        """Of the same rows those that hold `at`: their `since`, one of the table's columns, is at
        or below it and their last key column above. Bounded and stopped as `scan_nearest` is."""

    def apply(self, changes: Sequence[Changed], sequence: int, checksum: bytes) -> None:
        """Put and delete rows: the content of META `sequence`. The live path and replay both come
        here; where a row points to is not followed."""

    def commit(self) -> None:
        """Keep everything applied so far."""

    def reset(self) -> None:
        """Forget everything."""

    def count(self, table: Table[Any]) -> int:
        """How many rows a table has. Reads all of it."""

    def dump(self) -> Iterator[tuple[str, AnyRow]]:
        """Every row with its table's name: tables by id, rows in key order."""

    def read_ahead(self) -> None:
        """Let the system read the index into memory; may be called from a thread."""

    def wal_bytes(self) -> int:
        """How long the engine's own write-ahead log is; 0 if it has none."""

    def checkpoint_wal(self) -> None:
        """Fold the write-ahead log back into the file, as far as nobody reads it. For a thread; to
        be called when `wal_bytes` has grown. A log over INDEX_WAL_BYTES_MAX is cut by the next
        `commit`."""

    def begin_backup(self) -> Callable[[], Backup]:
        """Commits, and returns what makes the copy. The copy is to be made in a thread, and the
        parts are read or closed before the next backup begins."""

    def load(self, parts: Iterable[bytes], sequence: int) -> None:
        """Become the copy that a backup of `sequence` made. DataLost when it is not one of this
        store, or damaged; then nothing was changed."""

    def close(self) -> None:
        """Commit, unless failed, and let go of everything."""
