"""Shared contents: after a restore an inode reads the bytes of a version, and gets extents of its
own before they are first changed.

Copying goes in batches, each one change. Until the last, which gives the inode the new content, the
copies belong to nobody: a row in `purge` lets the next opening remove them after a crash.
"""

import trio
from msgspec.structs import replace

from objfs.base import limits
from objfs.meta.rows import Extent, Inode, Purge
from objfs.meta.tables import EXTENT, EXTENT_PAST, PURGE
from objfs.volume.content import copy_extents
from objfs.volume.core import Core
from objfs.volume.extents import from_past
from objfs.volume.handles import OpenInode
from objfs.volume.inodes import put_state
from objfs.volume.unseen import sweep_without_version


async def unshare(core: Core, opened: OpenInode) -> None:
    """Give an inode whose content is shared extents of its own. The caller holds its flush lock."""
    row = core.row(opened.ino)
    if not row.content_at:
        return
    content = 0
    position: int | None = 0
    core.unsharing[row.content] += 1  # a batch begins where the last one ended: no rows are merged
    try:
        while position is not None:
            content, position = _copy_batch(core, opened, row, content, position)
            await trio.lowlevel.checkpoint()
    finally:
        core.unsharing[row.content] -= 1


def _copy_batch(
    core: Core, opened: OpenInode, shared: Inode, content: int, position: int
) -> tuple[int, int | None]:
    """Copy a bounded number of extents from `position` on. Returns the new content and where
    to go on, None at the end: then the inode has the new content."""
    with core.change() as change:
        first = content == 0
        content = content or change.new_id()
        rows, following = _shared_rows(core, shared, position)
        copy_extents(change, rows, content)
        if following is not None:
            if first:
                change.put(Purge(content, 0, 0))
            return content, following
        if not first:
            change.delete(PURGE, content, 0)
        row = core.row(opened.ino)
        sweep_without_version(change, row)
        put_state(core, change, row, replace(row, content=content, content_at=0))
    opened.forget_extents()
    return content, None


def _shared_rows(core: Core, shared: Inode, position: int) -> tuple[list[Extent], int | None]:
    """Extents of a shared content from `position` on, at most `ROWS_PER_BATCH_MAX`, and where the
    next batch begins. Goes from row to row, so holes cost nothing."""
    scan, content, at = core.database.scan, (shared.content,), shared.content_at
    most = pasts = limits.ROWS_PER_BATCH_MAX
    current = scan(EXTENT, content, lower=position, limit=most)
    past = scan(EXTENT_PAST, content, lower=position, limit=pasts)
    while len(past) == pasts and past[-1].offset == position:
        pasts *= 2  # one place that was written over and over
        past = scan(EXTENT_PAST, content, lower=position, limit=pasts)
    # Beyond the last row of a full page nothing is known.
    ends = [current[-1].offset] if len(current) == most else []
    ends += [past[-1].offset] if len(past) == pasts else []
    rows = [row for row in current if row.since <= at]
    rows += [from_past(row) for row in past if row.since <= at < row.until]
    rows.sort(key=lambda row: row.offset)
    if len(rows) > most:
        ends.append(rows[most].offset)
    following = min(ends, default=None)
    if following is not None:
        rows = [row for row in rows if row.offset < following]
    return rows, following
