"""What no version sees of a content: when its inode goes, or takes another one, somebody has to
look through its extents. A row in `sweep` is the order to do so; `sweeping.py` carries it out,
after the next erasing or at the next opening at the latest.
"""

from objfs.meta.database import Change
from objfs.meta.rows import Inode, Sweep, Version
from objfs.meta.tables import SWEEP, UNSEALED, VERSION


def has_unseen_extents(change: Change, row: Inode) -> bool:
    """Whether the content of an inode may have extents that its newest version does not see: it
    was written since, or extents of its own were made (`sharing.py`) and nothing came of it."""
    if row.content_at:
        return False
    if change.get(UNSEALED, row.ino) is not None:
        return True
    if not row.sealed:
        return False
    version: Version | None = change.get(VERSION, row.ino, row.sealed)
    return version is None or version.content != row.content


def sweep_without_version(change: Change, row: Inode) -> None:
    """An inode without a name lets go of its content: if its versions were erased while it was
    open, nobody else will look through the extents."""
    if row.nlink == 0 and row.sealed and change.get(VERSION, row.ino, row.sealed) is None:
        put_sweep(change, row.content, 0, change.sequence)


def put_sweep(change: Change, content: int, low: int, high: int) -> None:
    """Extents of `content` seen in [low, high] may not be needed any more."""
    if not content:
        return
    begun = change.get(SWEEP, content)
    if begun is not None:
        low, high = min(low, begun.low), max(high, begun.high)
    change.put(Sweep(content, low, high))
