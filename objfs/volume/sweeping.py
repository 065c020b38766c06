"""Sweeping: extents that no version needs any more go.

A past extent [since, until) of a content is needed if some version with that content, of any inode,
has since <= content_at < until. A current one is needed if a version has since <= content_at, or if
an inode that is not gone yet reads the content: its owner needs all of them, an orphan that shares
it those of its `content_at`. (A linked inode that shares a content has a version that says so.)

Whoever deletes versions puts a row in `sweep`, in the same change. It says at which sequences they
saw the content: only what was seen then can have become needless. A batch is one change and writes
its position; a crash in between repeats at most that batch. The records themselves become dead,
which is compaction's part.
"""

from collections.abc import Iterable
from functools import partial

import trio
from msgspec.structs import replace

from objfs.base import limits
from objfs.meta.database import Change
from objfs.meta.rows import Extent, ExtentPast, Sweep
from objfs.meta.tables import EXTENT, EXTENT_PAST, INODE, ORPHAN, SWEEP, VERSION
from objfs.volume.core import Core
from objfs.volume.showing import FOREVER

_ROWS_READ_MAX = 2 * limits.ROWS_PER_BATCH_MAX  # by one change
_ROWS_PER_CONTENT = 4  # what looking at a content costs besides, in rows


class Sweeping:
    """Works off the rows in `sweep`."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def sweep_all(self) -> None:
        """Until there are no more rows in `sweep`."""
        after: int | None = 0
        while after is not None:
            after = self._core.freeing(partial(self._batch, after))
            await trio.lowlevel.checkpoint()

    def _batch(self, after: int) -> int | None:
        """One change: contents from `after` on, or a part of one. Returns where to go on."""
        first = self._core.database.scan(SWEEP, lower=after, limit=1)
        if not first:
            return None
        with self._core.change() as change:
            room = _ROWS_READ_MAX
            while room > 0:
                rows = self._core.database.scan(SWEEP, lower=after, limit=1)
                if not rows:
                    break
                sweep: Sweep | None = rows[0]
                after = rows[0].content
                while sweep is not None and room > 0:
                    page = self._current if sweep.current else self._past
                    sweep, read = page(change, sweep, room)
                    room -= read + _ROWS_PER_CONTENT
                if sweep is not None:
                    change.put(sweep)
                    break
                change.delete(SWEEP, after)
                after += 1
        return after

    def _past(self, change: Change, sweep: Sweep, room: int) -> tuple[Sweep | None, int]:
        """Sweep a page of past extents. Returns where to go on, and how many rows were read."""
        content = sweep.content
        scan = self._core.database.scan
        rows = scan(EXTENT_PAST, (content, sweep.offset), lower=sweep.until, limit=room)
        if len(rows) < room:
            following = room - len(rows)
            rows += scan(EXTENT_PAST, (content,), lower=sweep.offset + 1, limit=following)
        sharing = self._orphans_sharing(content) if rows else []
        for row in rows:
            if _was_seen(sweep, row.since, row.until) and not self._is_needed(row, sharing):
                change.delete(EXTENT_PAST, content, row.offset, row.until)
        if len(rows) < room:
            return replace(sweep, current=True, offset=0, until=0), len(rows)
        return replace(sweep, offset=rows[-1].offset, until=rows[-1].until + 1), len(rows)

    def _current(self, change: Change, sweep: Sweep, room: int) -> tuple[Sweep | None, int]:
        """Sweep a page of current extents. None instead of where to go on: the end."""
        content = sweep.content
        if self._has_owner(content):
            return None, 0
        rows = self._core.database.scan(EXTENT, (content,), lower=sweep.offset, limit=room)
        sharing = self._orphans_sharing(content) if rows else []
        for row in rows:
            if _was_seen(sweep, row.since, FOREVER) and not self._is_needed(row, sharing):
                change.delete(EXTENT, content, row.offset)
        if len(rows) < room:
            return None, len(rows)
        return replace(sweep, offset=rows[-1].offset + 1), len(rows)

    def _has_owner(self, content: int) -> bool:
        """Whether an inode that is not gone has this content for itself.

        A linked owner's current version is the newest one of the content, or it never had one and
        nothing was erased. An owner without a name is an orphan.
        """
        scan = self._core.database.scan
        newest = scan(VERSION, (content,), index="content", reverse=True, limit=1)
        inos: set[int] = {content, *(row.ino for row in scan(ORPHAN))}
        if newest:
            at = newest[0].content_at
            inos |= {row.ino for row in scan(VERSION, (content, at), index="content")}
        return any(
            inode is not None and inode.content == content and not inode.content_at
            for inode in self._core.database.get_many(INODE, [(ino,) for ino in sorted(inos)])
        )

    def _orphans_sharing(self, content: int) -> list[int]:
        """The sequences at which inodes without a name read this content."""
        orphans = self._core.database.scan(ORPHAN)
        inodes = self._core.database.get_many(INODE, [(row.ino,) for row in orphans])
        return [
            inode.content_at
            for inode in inodes
            if inode is not None and inode.content == content and inode.content_at
        ]

    def _is_needed(self, row: Extent | ExtentPast, sharing: Iterable[int]) -> bool:
        until = row.until if isinstance(row, ExtentPast) else FOREVER
        if any(row.since <= at < until for at in sharing):
            return True
        versions = self._core.database.scan(
            VERSION, (row.content,), lower=row.since, upper=until, limit=1, index="content"
        )
        return bool(versions)


def _was_seen(sweep: Sweep, since: int, until: int) -> bool:
    return since <= sweep.high and until > sweep.low
