"""Extents of parts: put together under a new content, copied from versions, dropped.

No bytes move: rows are copied in batches, each one change. Until a row of something takes the new
content, it belongs to nobody, and a row in `purge` lets the next opening remove it after a crash.
`Core.building` tells whoever checks the store that somebody is at it.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import trio
from msgspec.structs import replace

from objfs.base import limits
from objfs.base.errors import NoSuchVersion
from objfs.meta.database import Change
from objfs.meta.rows import Extent, Purge, Version
from objfs.meta.tables import EXTENT, PURGE, VERSION
from objfs.volume.content import extents_at, purge_batch
from objfs.volume.core import Core

_COPIED_PER_CHANGE = limits.TRANSACTION_ROWS_MAX - 16


class Gathered:
    """A content that is being put together. Used by one task."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.content = 0
        self.size = 0
        self.allocated = 0
        self._room: list[Extent] = []

    @contextmanager
    def kept_whole(self, contents: Iterable[int]) -> Iterator[None]:
        """The rows of these contents are not merged meanwhile: a batch begins where the last one
        ended."""
        contents = list(contents)
        self._core.unsharing.update(contents)
        try:
            yield
        finally:
            self._core.unsharing.subtract(contents)

    async def add_content(self, content: int, size: int) -> None:
        """Append all `size` bytes of a content that nobody changes."""
        position: int | None = 0
        while position is not None:
            position = self._copy_current(content, position)
            await trio.lowlevel.checkpoint()
        self.size += size

    def _copy_current(self, content: int, position: int) -> int | None:
        """One batch. Returns where the next begins, None at the end."""
        rows = self._core.database.scan(
            EXTENT, (content,), lower=position, limit=_COPIED_PER_CHANGE
        )
        self._put(rows, self.size)
        return rows[-1].offset + 1 if len(rows) == _COPIED_PER_CHANGE else None

    async def add_range(self, version: Version, start: int, end: int) -> None:
        """Append the bytes [start, end) of a version. NoSuchVersion when it is erased meanwhile."""
        position = start
        while position < end:
            stop = min(end, position + limits.COPIED_BYTES_PER_BATCH)
            stop = self._copy_range(version, start, position, stop)
            await trio.lowlevel.checkpoint()
            position = stop
        self.size += end - start

    def _copy_range(self, version: Version, start: int, position: int, stop: int) -> int:
        database = self._core.database
        if database.get(VERSION, version.ino, version.sealed) is None:
            raise NoSuchVersion(f"version {version.sealed:x} was erased meanwhile")
        while True:
            rows = extents_at(database, version.content, version.content_at, position, stop)
            if len(rows) <= _COPIED_PER_CHANGE or stop - position == 1:
                break
            stop = position + (stop - position) // 2
        cut = [_within(row, position, stop) for row in rows]
        self._put(cut, self.size - start)
        return stop

    def _put(self, rows: Sequence[Extent], shift: int) -> None:
        """One change: copies of rows, so much further on."""
        if not rows:
            return
        with self._core.change() as change:
            if not self.content:
                self.content = change.new_id()
                change.put(Purge(self.content, 0, 0))
                self._core.building.add(self.content)
            for row in rows:
                moved = row.offset + shift
                change.put(replace(row, content=self.content, offset=moved, since=change.sequence))
        self.allocated += sum(row.length for row in rows)

    def take(self, change: Change) -> int:
        """The content has an owner from this change on; 0 when it has no bytes."""
        if self.content:
            change.delete(PURGE, self.content, 0)
        return self.content

    async def end(self) -> None:
        """It was taken, or it goes."""
        content, self.content = self.content, 0
        if content:
            await drop_extents(self._core, content)
        self._core.building.discard(content)


async def drop_extents(core: Core, content: int) -> None:
    """Finish what a row in `purge` says of a content, in batches; not cancellable. What a failing
    device keeps goes at the next opening."""
    with trio.CancelScope(shield=True):
        while core.log.failed is None and (rows := core.database.scan(PURGE, (content,), limit=1)):
            core.freeing(partial(purge_batch, core, rows[0]))
            await trio.lowlevel.checkpoint()


def _within(row: Extent, start: int, end: int) -> Extent:
    """What of an extent lies in [start, end)."""
    first = max(row.offset, start)
    return replace(
        row,
        offset=first,
        length=min(row.offset + row.length, end) - first,
        skip=row.skip + first - row.offset,
    )


def drop_content(change: Change, content: int) -> None:
    """The extents of a content go: those of a part, which no version ever saw."""
    change.put(Purge(content, 0, 0))
