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

_ROWS_READ_MAX = 2 * limits.ROWS_PER_BATCH_MAX


class Sweeping:
    """Works off the rows in `sweep`."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def sweep_all(self) -> None:
        """Until there are no more rows in `sweep`."""
        after = 0
        while rows := self._core.database.scan(SWEEP, lower=after, limit=1):
            content = rows[0].content
            while not self._core.freeing(partial(self.sweep_batch, content)):
                await trio.lowlevel.checkpoint()
            after = content + 1
            await trio.lowlevel.checkpoint()

    def sweep_batch(self, content: int) -> bool:
        """One batch, as one change. Returns whether the content is done."""
        with self._core.change() as change:
            sweep = change.get(SWEEP, content)
            if sweep is None:
                return True
            following = self._current(change, sweep) if sweep.current else self._past(change, sweep)
            if following is None:
                change.delete(SWEEP, content)
                return True
            change.put(following)
            return False

    def _past(self, change: Change, sweep: Sweep) -> Sweep:
        """Sweep a page of past extents. Returns where to go on."""
        content = sweep.content
        rows = change.scan(
            EXTENT_PAST,
            (content, sweep.offset),
            lower=sweep.until,
            limit=_ROWS_READ_MAX,
        )
        if len(rows) < _ROWS_READ_MAX:
            rows += change.scan(
                EXTENT_PAST,
                (content,),
                lower=sweep.offset + 1,
                limit=_ROWS_READ_MAX - len(rows),
            )
        sharing = self._orphans_sharing(change, content)
        for row in rows:
            if _was_seen(sweep, row.since, row.until) and not self._is_needed(row, sharing):
                change.delete(EXTENT_PAST, content, row.offset, row.until)
        if len(rows) < _ROWS_READ_MAX:
            return replace(sweep, current=True, offset=0, until=0)
        return replace(sweep, offset=rows[-1].offset, until=rows[-1].until + 1)

    def _current(self, change: Change, sweep: Sweep) -> Sweep | None:
        """Sweep a page of current extents. Returns where to go on, None at the end."""
        content = sweep.content
        if self._has_owner(change, content):
            return None
        rows = change.scan(EXTENT, (content,), lower=sweep.offset, limit=_ROWS_READ_MAX)
        sharing = self._orphans_sharing(change, content)
        for row in rows:
            if _was_seen(sweep, row.since, FOREVER) and not self._is_needed(row, sharing):
                change.delete(EXTENT, content, row.offset)
        if len(rows) < _ROWS_READ_MAX:
            return None
        return replace(sweep, offset=rows[-1].offset + 1)

    def _has_owner(self, change: Change, content: int) -> bool:
        """Whether an inode that is not gone has this content for itself.

        A linked owner's current version is the newest one of the content, or it never had one and
        nothing was erased. An owner without a name is an orphan.
        """
        newest = change.scan(VERSION, (content,), index="content", reverse=True, limit=1)
        inos: set[int] = {content, *(row.ino for row in change.scan(ORPHAN))}
        if newest:
            at = newest[0].content_at
            inos |= {row.ino for row in change.scan(VERSION, (content, at), index="content")}
        return any(
            inode is not None and inode.content == content and not inode.content_at
            for inode in change.get_many(INODE, [(ino,) for ino in sorted(inos)])
        )

    def _orphans_sharing(self, change: Change, content: int) -> list[int]:
        """The sequences at which inodes without a name read this content."""
        inodes = change.get_many(INODE, [(row.ino,) for row in change.scan(ORPHAN)])
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
