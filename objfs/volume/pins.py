"""Pins: which moments the snapshots keep.

A snapshot pins its sequence for its scope: the whole store (bucket 0), a bucket (prefix b""), or a
path of a bucket and all that lies below it. The prefix has no slash at either end and ends between
components: `a` covers `a`, `a/` and `a/b`, not `ab`. A prefix is reached through the directories
above it, so those are pinned too: of `a/b` the keys `a/` and b"" (the bucket's root).

The snapshots are kept in memory: asking costs no row. Whoever puts or deletes a SNAPSHOT row calls
`reload` in the same stretch. Long work that reads a moment holds it meanwhile (`held`).
"""

from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from objfs.base.limits import IDS_PER_CHANGE_MAX
from objfs.meta.rows import Snapshot
from objfs.meta.tables import SNAPSHOT, R, Table


class Rows(Protocol):
    """What pins are read from: the database."""

    def scan(self, table: Table[R]) -> list[R]:
        """All rows of a table."""


class _Scope(NamedTuple):
    """The pinned moments of one prefix of one bucket, oldest first."""

    prefix: bytes
    sequences: list[int]


def covers(prefix: bytes, key: bytes) -> bool:
    """Whether a snapshot of `prefix` needs what lies at `key`."""
    if not prefix or key.rstrip(b"/") == prefix or key.startswith(prefix + b"/"):
        return True
    return not key or (key.endswith(b"/") and prefix.startswith(key))


class Pins:
    """The moments that snapshots keep, by scope."""

    def __init__(self, database: Rows) -> None:
        self._database = database
        self.newest = 0  # sequence of the newest snapshot: no state before it is amended
        self._scopes: dict[int, list[_Scope]] = {}  # by bucket; 0: the whole store
        self._held: list[int] = []
        self.reload()

    def reload(self) -> None:
        """The snapshots changed."""
        by_scope: dict[tuple[int, bytes], list[int]] = {}
        for row in self.snapshots():
            by_scope.setdefault((row.bucket, row.prefix), []).append(row.sequence)
        if self._held:
            whole = by_scope.get((0, b""), [])
            by_scope[0, b""] = sorted({*whole, *self._held})
        self._scopes = {}
        for (bucket, prefix), sequences in by_scope.items():
            self._scopes.setdefault(bucket, []).append(_Scope(prefix, sequences))
        self.newest = max((each[-1] for each in by_scope.values()), default=0)

    @contextmanager
    def held(self, *sequences: int) -> Iterator[None]:
        """Keep moments as a snapshot of the store would, as long as this lasts."""
        self._held += sequences
        self.reload()
        try:
            yield
        finally:
            for sequence in sequences:
                self._held.remove(sequence)
            self.reload()

    def snapshots(self) -> list[Snapshot]:
        """All of them, oldest first."""
        return sorted(self._database.scan(SNAPSHOT), key=lambda row: row.sequence)

    def sequences(self, bucket: int, key: bytes) -> list[int]:
        """The pinned moments at which `key` of this bucket must stay as it was, oldest first. `key`
        as in `History.stretches`, b"" for the bucket's root; a directory ends with a slash."""
        found = [scope.sequences for scope in self._covering(bucket, key)]
        if len(found) == 1:
            return list(found[0])
        return sorted({sequence for sequences in found for sequence in sequences})

    def holds(self, bucket: int, key: bytes, since: int, until: int) -> bool:
        """Whether a moment in [since, until) is pinned for `key`."""
        for scope in self._covering(bucket, key):
            at = bisect_left(scope.sequences, since)
            if at < len(scope.sequences) and scope.sequences[at] < until:
                return True
        return False

    def of_bucket(self, bucket: int) -> list[int]:
        """The pinned moments at which this bucket existed, in whole or in part, oldest first."""
        made = bucket // IDS_PER_CHANGE_MAX  # ids tell the change that drew them
        scopes = self._scopes.get(bucket, []) + self._scopes.get(0, [])
        return sorted({each for scope in scopes for each in scope.sequences if each >= made})

    def _covering(self, bucket: int, key: bytes) -> list[_Scope]:
        scopes = self._scopes
        if not scopes:
            return []
        found = [scope for scope in scopes.get(bucket, []) if covers(scope.prefix, key)]
        return found + scopes.get(0, [])
