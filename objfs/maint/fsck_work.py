"""What the checks of fsck share: how they walk, report and mend.

The theory of checking a store that is in use. The index changes on the loop only, one whole change
at a time. A check is a generator; **between two of its yields nothing else runs**, so what it reads
there is one state of the index, and what it finds wrong there is wrong. No lock, no snapshot, no
false alarm. A mend is a change made in the same stretch as the finding. Every yield is a place
where the driver may let others run, when the check has had the loop for FSCK_STRETCH_SECONDS.

What is too large for one stretch (a file with a million names or extents) is counted in parts and
believed only if the row that every change of it touches is the same afterwards (`steady`).
"""

from collections.abc import Callable, Generator, Iterator
from typing import Any, TypeVar

import msgspec

from objfs.base.limits import FSCK_PAGE_ROWS, FSCK_STEADY_TRIES, IDS_PER_CHANGE_MAX
from objfs.maint.fsck_codes import CODES
from objfs.maint.hits import path_of
from objfs.meta.database import Change
from objfs.meta.paging import rows_after
from objfs.meta.rows import Extent, ExtentPast, Inode
from objfs.meta.tables import INODE, MOMENT, Key, R, Table
from objfs.volume.core import Core
from objfs.volume.history import FOREVER
from objfs.volume.volume import Volume

T = TypeVar("T")
Checking = Generator[None, None, T]
Mend = Callable[[Change], None]
Stage = Generator[Any, None, None]
"""A check of many objects; yields the place of each that is done, or None to let others run."""


class Problem(msgspec.Struct):
    """Something that is not as it has to be."""

    code: str
    object: str  # what it is about, as `inode 12`
    what: str
    path: str = ""
    mended: bool = False

    @property
    def do(self) -> str:
        """What to do about it."""
        return CODES[self.code]


class Work:
    """One step of a check of a volume."""

    def __init__(self, volume: Volume, *, repair: bool, began: int) -> None:
        self.volume = volume
        self.core: Core = volume.core
        self.database = volume.core.database
        self.repair = repair and not volume.core.read_only
        self.began = began  # the sequence: what was made later is not looked at
        self.problems: list[Problem] = []
        self.objects = 0  # looked at
        self.extents: list[Extent | ExtentPast] = []  # whose records are to be looked at

    def report(
        self, code: str, about: str, what: str, mend: Mend | None = None, *, ino: int = 0
    ) -> bool:
        """Note a problem; mend it, if that was asked for and can be done. Whether it was."""
        assert code in CODES, code
        problem = Problem(code, about, what, self.path(ino) if ino else "")
        if mend is not None and self.repair:
            with self.core.change() as change:
                mend(change)
            problem.mended = True
        self.problems.append(problem)
        return problem.mended

    def is_in_use(self, ino: int) -> bool:
        """Whether somebody has a file open, or is making it."""
        return ino in self.core.open_inodes or ino in self.core.building

    def path(self, ino: int) -> str:
        """A path of an inode, for people."""
        return path_of(self.database, ino, FOREVER - 1).decode(errors="backslashreplace")

    def walk(self, table: Table[R], after: Key) -> Iterator[R]:
        """The rows after a key, each as it is when it is handed out; a row may have been deleted
        since the one before it was, and then does not come. Those of inodes and contents that were
        made after the check began do not come either: it would never end."""
        newest = (self.began + 1) * IDS_PER_CHANGE_MAX
        bounded = table.key_types[0] is int and table is not MOMENT
        while rows := rows_after(self.database, table, after, FSCK_PAGE_ROWS):
            sequence = self.database.sequence
            for row in rows:
                self.objects += 1
                after = table.key_of(row)
                if bounded and newest < after[0] <= self._highest_id():  # type: ignore[operator]
                    # Of the others that follow, none can have been made yet.
                    lower = self._highest_id() + 1
                    yield from self.database.scan(table, lower=lower, limit=FSCK_PAGE_ROWS)
                    return
                yield row
                if self.database.sequence != sequence:
                    break  # read again from here

    def _highest_id(self) -> int:
        """No identifier above it has been given away."""
        return (self.database.sequence + 1) * IDS_PER_CHANGE_MAX

    def count(
        self, table: Table[R], prefix: Key, which: Callable[[R], int], index: str | None = None
    ) -> Checking[int]:
        """The sum of `which` over a range, in parts."""
        total, order = 0, table.orders[index]
        place: Key = ()
        while rows := rows_after(
            self.database, table, place, FSCK_PAGE_ROWS, prefix=prefix, index=index
        ):
            total += sum(map(which, rows))
            if len(rows) < FSCK_PAGE_ROWS:
                break
            place = order.of(rows[-1])
            yield
        return total

    def steady(
        self, ino: int, count: Callable[[Inode], Checking[T]]
    ) -> Checking[tuple[Inode, T] | None]:
        """What `count` gives of an inode that was the same before and after; None if it is gone,
        or changes all the time: then it is in order for all that can be seen."""
        for _ in range(FSCK_STEADY_TRIES):
            row = self.database.get(INODE, ino)
            if row is None:
                return None
            counted = yield from count(row)
            if self.database.get(INODE, ino) == row:
                return row, counted
        return None
