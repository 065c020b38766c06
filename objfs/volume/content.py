"""The extents of a content: as they are, as they were, cut, copied and purged.

All functions work on a `Source`: a change (which sees its own rows) or the database.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from msgspec.structs import replace

from objfs.base import limits
from objfs.meta.database import Change, Database
from objfs.meta.rows import Extent, ExtentPast, Inode, Purge, Version
from objfs.meta.tables import EXTENT, EXTENT_PAST, INODE, PURGE, UNSEALED, VERSION
from objfs.volume.core import Core
from objfs.volume.extents import cut, from_past, past
from objfs.volume.inodes import delete_rows, put_state
from objfs.volume.unseen import has_unseen_extents, put_sweep, sweep_without_version


class Source(Protocol):
    """What can be read: the database or a change."""

    @property
    def get(self) -> Any:
        """See `objfs.meta.engine.Engine.get`."""

    @property
    def scan(self) -> Any:
        """See `objfs.meta.engine.Engine.scan`."""


def overlapping(
    source: Source, content: int, start: int, end: int | None, limit: int | None = None
) -> list[Extent]:
    """The current extents that reach into [start, end), in order; at most `limit` of them."""
    rows: list[Extent] = source.scan(EXTENT, (content,), upper=start, reverse=True, limit=1)
    if rows and rows[0].offset + rows[0].length <= start:
        rows = []
    rows += source.scan(EXTENT, (content,), lower=start, upper=end, limit=limit)
    return rows if limit is None else rows[:limit]


def extents_at(source: Source, content: int, at: int, start: int, end: int) -> list[Extent]:
    """The extents that held at sequence `at` and reach into [start, end), in order.

    None is longer than `EXTENT_BYTES_MAX`, so what begins further back cannot reach in.
    """
    lower = max(0, start - limits.EXTENT_BYTES_MAX)
    rows: list[Extent] = [
        row for row in source.scan(EXTENT, (content,), lower=lower, upper=end) if row.since <= at
    ]
    rows += [from_past(row) for row in _ended_after(source, content, at, lower, end)]
    rows = [row for row in rows if row.offset + row.length > start]
    rows.sort(key=lambda row: row.offset)
    return rows


def _ended_after(
    source: Source, content: int, at: int, lower: int, end: int
) -> Iterator[ExtentPast]:
    """The past extents that held at `at` and begin in [lower, end)."""
    if not isinstance(source, Database):  # a change, whose own rows are seen by a scan only
        rows = source.scan(EXTENT_PAST, (content,), lower=lower, upper=end)
        yield from (row for row in rows if row.since <= at < row.until)
        return
    after: Any = lower - 1
    while after is not None:
        found, after = source.scan_nearest(EXTENT_PAST, (content,), at, after=after, before=end)
        yield from (row for row in found if row.since <= at)


def extents_of(source: Source, content: int, content_at: int, start: int, end: int) -> list[Extent]:
    """The extents of an inode's working content in [start, end)."""
    if content_at:
        return extents_at(source, content, content_at, start, end)
    return overlapping(source, content, start, end)


def end_extents(
    change: Change, ended: Sequence[Extent], remaining: Sequence[Extent], above: int
) -> None:
    """Rows that a cut ended go: to the past if a version saw them (since <= `above`)."""
    for extent in ended:
        change.delete(EXTENT, extent.content, extent.offset)
        if extent.since <= above:
            change.put(past(extent, change.sequence))
    for extent in remaining:
        change.put(extent)


def purge_batch(core: Core, purge: Purge) -> bool:
    """One batch of a purge, as one change. Returns whether it is done."""
    with core.change() as change:
        rows = overlapping(change, purge.content, purge.offset, None, limits.ROWS_PER_BATCH_MAX)
        done = len(rows) < limits.ROWS_PER_BATCH_MAX
        if rows:
            end = rows[-1].offset + rows[-1].length
            piece = cut(rows, purge.offset, end, change.sequence)
            ended = piece.ended
            if not purge.ino:  # abandoned: what versions see may stay as it is
                ended = [row for row in ended if row.since > purge.above]
            end_extents(change, ended, piece.remaining, purge.above)
            _shrink(core, change, purge, piece.freed)
        if done:
            change.delete(PURGE, purge.content, purge.offset)
        elif not purge.ino:
            change.delete(PURGE, purge.content, purge.offset)
            change.put(replace(purge, offset=end))
    return done


def _shrink(core: Core, change: Change, purge: Purge, freed: int) -> None:
    """Count freed bytes at the inode that a truncation shortens."""
    inode: Inode | None = change.get(INODE, purge.ino) if purge.ino else None
    if inode is not None and inode.content == purge.content:
        put_state(core, change, inode, replace(inode, allocated=inode.allocated - freed))


def finish_purges(core: Core) -> None:
    """Finish what a crash interrupted."""
    while purges := core.database.scan(PURGE, limit=1):
        purge_batch(core, purges[0])


def purge_content(core: Core, content: int) -> None:
    """Run the purges of one content to their end."""
    while purges := core.database.scan(PURGE, (content,), limit=1):
        purge_batch(core, purges[0])


def copy_extents(change: Change, rows: Sequence[Extent], content: int) -> None:
    """Put copies of `rows` under another content: the same records, a life of their own."""
    for row in rows:
        change.put(replace(row, content=content, since=change.sequence))


def end_orphan(core: Core, ino: int) -> None:
    """Remove an inode without a name; what no version saw of its bytes goes."""
    with core.change() as change:
        row = change.get(INODE, ino)
        assert row is not None
        assert row.nlink == 0
        unseen = has_unseen_extents(change, row)
        delete_rows(change, row)
        if change.get(UNSEALED, ino) is not None:
            change.delete(UNSEALED, ino)
        if unseen:
            change.put(Purge(row.content, 0, row.sealed))
        sweep_without_version(change, row)
    purge_content(core, row.content)


def drop_version(change: Change, version: Version) -> None:
    """Remove the row of a version, and have its extents looked through, unless another version
    shows exactly the same bytes."""
    change.delete(VERSION, version.ino, version.sealed)
    content, at = version.content, version.content_at
    if not change.scan(VERSION, (content, at), index="content", limit=1):
        put_sweep(change, content, at, at)
