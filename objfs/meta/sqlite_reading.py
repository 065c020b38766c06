"""The index, read by another process than its owner: a connection that cannot write.

SQLite's WAL lets it read beside the writer. A read transaction shows one state, and is open from
the first read to `commit`, which has to come soon: while it is open the owner's WAL cannot be
folded back. Rows are cached within one transaction only.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from objfs.base.errors import ReadOnly
from objfs.meta.engine import Applied, Changed
from objfs.meta.sqlite import SqliteEngine
from objfs.meta.sqlite_file import open_reading, read_applied


class SqliteReader(SqliteEngine):
    """See `Engine`; what writes raises ReadOnly. IndexFailed when there is no index that can be
    read. `began` is called in each new transaction."""

    def __init__(self, directory: Path, store_id: bytes) -> None:
        self.began: Callable[[], None] = lambda: None
        super().__init__(directory, store_id)

    def _connect(self) -> None:
        self._connection = open_reading(self.path, self.store_id)

    def _begin(self) -> None:
        if self._active:
            return
        super()._begin()
        self.applied: Applied | None = read_applied(self._connection, self.store_id)
        self.began()

    def commit(self) -> None:
        if self._active:
            self._execute("COMMIT")
            self._active = False
        for rows in self._cached:
            rows.clear()

    def apply(self, changes: Sequence[Changed], sequence: int, checksum: bytes) -> None:
        raise ReadOnly("the index is read beside its owner")

    def reset(self) -> None:
        raise ReadOnly("the index is read beside its owner")

    def load(self, parts: Iterable[bytes], sequence: int) -> None:
        raise ReadOnly("the index is read beside its owner")

    def checkpoint_wal(self) -> None:
        """That is the owner's work."""
