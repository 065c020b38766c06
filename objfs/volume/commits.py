"""Committing: stored pieces become extents, working states become versions, as changes.

What always holds:

- A change takes up a bounded number of pieces, each with the extents that it covers; the last one
  sets size and times, and seals. So each state in between is the file with a part of the written
  bytes, never with holes.
- What a version saw of an extent that ends goes to the past; what none saw goes for good.
- A flush's version is replaced in one change or not at all (DESIGN 5).
"""

from collections import deque

import xxhash
from msgspec.structs import replace

from objfs.base import limits
from objfs.base.types import Stored
from objfs.meta.database import Change
from objfs.meta.rows import Extent, Inode, Unsealed, Version, counted_bytes
from objfs.meta.tables import INODE, UNSEALED, VERSION
from objfs.volume.content import end_extents, overlapping
from objfs.volume.core import Core
from objfs.volume.extents import cut, from_stored
from objfs.volume.handles import FlushSeal, OpenInode
from objfs.volume.inodes import count_usage, put_state
from objfs.volume.object_lock import encode_retention

_ROW_BUDGET = limits.TRANSACTION_ROWS_MAX - 40  # for extents, in one change


class Commits:
    """Puts what was appended into the index."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def commit(
        self,
        opened: OpenInode,
        content: int,
        stored: list[Stored],
        size: int | None,
        *,
        seal: bool,
        by_flush: bool = False,
    ) -> None:
        """Take the stored pieces up into the extents, in as many changes as it needs; the last
        one sets `size` (None: as the pieces say) and seals."""
        pieces = deque(from_stored(content, each, 0) for each in stored)
        opened.forget_extents()
        if opened.flush_seal is not None and not self._fits(pieces):
            opened.flush_seal = None  # replacing a version is one change, or it is not done
        while True:
            with self._core.change() as change:
                row = change.get(INODE, opened.ino)
                assert row is not None
                assert row.content == content, "the content changed under a flush"
                replaced = self._replaceable(opened, row) if seal else None
                above = row.sealed if replaced is None else replaced.before
                of_version = row.sealed > 0 and not opened.logged and replaced is None
                row, old = self._take_up(change, row, pieces, above), row
                if not pieces:
                    row = self._last(opened, row, size)
                if seal and not pieces:
                    row = self._put_version(change, row, replaced)
                elif not opened.logged:
                    change.put(Unsealed(row.ino, change.sequence))
                put_state(self._core, change, old, row, of_version=of_version)
            opened.logged = not (seal and not pieces)
            if not pieces:
                self._remember_flush(opened, row, replaced, old, seal and by_flush)
                return
            assert replaced is None

    def _fits(self, pieces: deque[Extent]) -> bool:
        """Whether one change can take the pieces up."""
        budget = _ROW_BUDGET - 8 * len(pieces)
        for piece in pieces:
            if budget <= 0:
                break
            end = piece.offset + piece.length
            budget -= 2 * len(
                overlapping(self._core.database, piece.content, piece.offset, end, budget)
            )
        return budget > 0

    def _take_up(self, change: Change, row: Inode, pieces: deque[Extent], above: int) -> Inode:
        """Put extents for as many pieces as fit a change. Returns the row with its new sizes.

        Pieces come in order and do not overlap. So of what the change itself has put, only the
        rest behind the last cut (`tail`) can lie below the next piece.
        """
        budget = _ROW_BUDGET
        size, allocated = row.size, row.allocated
        tail: Extent | None = None
        ended: set[int] = set()  # offsets of stored rows that ended in this change
        while pieces and budget >= 8:
            piece = replace(pieces.popleft(), since=change.sequence)
            end = piece.offset + piece.length
            if piece.offset < row.size:
                most = budget // 2 - 2
                below = self._below(piece, tail, ended, most + 1)
                if len(below) > most:
                    end = below.pop().offset
                    rest = end - piece.offset
                    pieces.appendleft(
                        replace(
                            piece,
                            offset=end,
                            length=piece.length - rest,
                            skip=piece.skip + rest,
                        )
                    )
                    piece = replace(piece, length=rest)
                cutting = cut(below, piece.offset, end, change.sequence)
                end_extents(change, cutting.ended, cutting.remaining, above)
                ended.update(extent.offset for extent in cutting.ended)
                tail = next((each for each in cutting.remaining if each.offset == end), None)
                allocated -= cutting.freed
                budget -= 2 * len(below)
            change.put(piece)
            allocated += piece.length
            size = max(size, end)
            budget -= 2
        return replace(row, size=size, allocated=allocated)

    def _below(
        self, piece: Extent, tail: Extent | None, ended: set[int], limit: int
    ) -> list[Extent]:
        """What lies below a piece, in order: stored rows, and the rest of one already cut."""
        end = piece.offset + piece.length
        stored = overlapping(
            self._core.database, piece.content, piece.offset, end, limit + len(ended)
        )
        below = [extent for extent in stored if extent.offset not in ended]
        if tail is not None and tail.offset < end and tail.offset + tail.length > piece.offset:
            below.insert(0, tail)
        return below[:limit]

    def _last(self, opened: OpenInode, row: Inode, size: int | None) -> Inode:
        """The row with the working size and times."""
        return replace(
            row,
            size=row.size if size is None else size,
            atime_ns=row.atime_ns if opened.atime_ns is None else opened.atime_ns,
            mtime_ns=row.mtime_ns if opened.mtime_ns is None else opened.mtime_ns,
            ctime_ns=max(row.ctime_ns, opened.ctime_ns or 0),
        )

    def _replaceable(self, opened: OpenInode, row: Inode) -> FlushSeal | None:
        """The flush's version that the seal of `row` may replace (DESIGN 5)."""
        last = opened.flush_seal
        if last is None or last.sealed != row.sealed or last.content != row.content:
            return None
        age_ns = (self._core.clock.monotonic() - last.at) * 1e9
        seen = max(self._core.pins.newest, self._core.shown, self._core.directory_closed)
        if age_ns >= limits.AMEND_NS or row.sealed <= seen or row.bucket in self._core.locks:
            return None
        return last

    def _put_version(self, change: Change, row: Inode, replaced: FlushSeal | None) -> Inode:
        """Seal: put the version of `row`, count what it holds."""
        previous = change.get(VERSION, row.ino, row.sealed) if row.sealed else None
        before = counted_bytes(previous.size) if previous else 0
        etag = previous.etag if previous else ""
        change.put(
            Version(
                ino=row.ino,
                sealed=change.sequence,
                content=row.content,
                content_at=row.content_at or change.sequence,
                size=row.size,
                allocated=row.allocated,
                time_ns=change.time_ns,
                etag=next_etag(etag, row, change.sequence),
                retention=self._retention(row.bucket, change),
            )
        )
        if replaced is not None:
            change.delete(VERSION, row.ino, replaced.sealed)
        past = before if replaced is None else 0
        count_usage(change, row.bucket, live=counted_bytes(row.size) - before, past=past)
        if change.get(UNSEALED, row.ino) is not None:
            change.delete(UNSEALED, row.ino)
        return replace(row, sealed=change.sequence)

    def _retention(self, bucket: int, change: Change) -> bytes | None:
        """What object lock gives to a version, if its bucket has a rule."""
        rule = self._core.locks.get(bucket)
        return None if rule is None else encode_retention(rule.at(change.time_ns))

    def _remember_flush(
        self,
        opened: OpenInode,
        row: Inode,
        replaced: FlushSeal | None,
        old: Inode,
        by_flush: bool,
    ) -> None:
        if by_flush:
            before = old.sealed if replaced is None else replaced.before
            at = self._core.clock.monotonic()
            opened.flush_seal = FlushSeal(row.sealed, before, row.content, at)
        else:
            opened.flush_seal = None

    def seal_logged(self, ino: int) -> None:
        """Make a version of a logged working state that nobody has open (recovery)."""
        core = self._core
        with core.change() as change:
            old = core.row(ino)
            now = change.time_ns
            row = self._put_version(change, replace(old, mtime_ns=now, ctime_ns=now), None)
            put_state(core, change, old, row)


def next_etag(previous: str, row: Inode, sequence: int) -> str:
    """A strong validator: it changes with every seal, and never looks like an MD5 of the bytes
    (the `-1` is S3's mark of a composite ETag)."""
    identity = f"{previous}/{row.ino}/{row.content}/{row.size}/{sequence}"
    return f"{xxhash.xxh3_128_hexdigest(identity.encode())}-1"
