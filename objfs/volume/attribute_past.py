"""Past states of attributes: which are needed, and how the others go.

A moment reads the first past state that ends after it, else the current one. So when a state goes,
its moments read the next later one that is left. Needed whatever rules say are

- states that a snapshot reads;
- the one that each version, and each name, had last: what a restore brings back;
- the last one of an inode that is gone: there is no later one.

For directories this is most of their past: with each name that comes or goes a directory has new
times.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator

from objfs.base.limits import ROWS_PER_BATCH_MAX
from objfs.meta.database import Database
from objfs.meta.rows import InodePast
from objfs.meta.tables import DENTRY_PAST, INODE, INODE_PAST, VERSION
from objfs.volume.core import Core
from objfs.volume.showing import FOREVER

_PAGE = ROWS_PER_BATCH_MAX


def has_states(database: Database, ino: int) -> bool:
    """Whether there is more than one past state: else there is nothing to thin."""
    return len(database.scan(INODE_PAST, (ino,), limit=2)) > 1


def last_moments(database: Database, ino: int) -> Iterator[int | None]:
    """The last moments of the versions and names of an inode, in no order; None between pages."""
    for name in database.scan(DENTRY_PAST, (ino,), index="ino"):
        yield name.until - 1
    lower = 0
    while True:
        page = database.scan(VERSION, (ino,), lower=lower, limit=_PAGE)
        yield from (row.sealed - 1 for row in (page if lower else page[1:]))
        if len(page) < _PAGE:
            return
        lower = page[-1].sealed + 1
        yield None


def thin_states(
    core: Core,
    ino: int,
    upper: int,
    needed: list[int],
    keeps: Callable[[int, InodePast, bool], bool],
) -> int | None:
    """Judge one page of states that end before `upper`, newest first, and remove what goes, in one
    change. `needed`: moments whose state stays, ascending; `keeps(begin, state, oldest)` is asked
    about each of the others, and of them too. Returns `upper` of the next page, None at the end."""
    with core.change() as change:
        rows = change.scan(INODE_PAST, (ino,), upper=upper, limit=_PAGE + 1, reverse=True)
        inode = change.get(INODE, ino)
        gone = inode is None or inode.nlink == 0
        for place, row in enumerate(rows[:_PAGE]):
            oldest = place == len(rows) - 1
            begin = 0 if oldest else rows[place + 1].until
            kept = keeps(begin, row, oldest)
            last = gone and upper == FOREVER and place == 0
            pins = core.pins.of_bucket(row.inode.bucket)
            if not (kept or last or _any(needed, begin, row.until) or _any(pins, begin, row.until)):
                change.delete(INODE_PAST, ino, row.until)
    return rows[_PAGE - 1].until if len(rows) > _PAGE else None


def _any(moments: list[int], begin: int, until: int) -> bool:
    """Whether one of the ascending moments lies in [begin, until)."""
    at = bisect_left(moments, begin)
    return at < len(moments) and moments[at] < until
