"""Checks of versions and extents. See `fsck_work` for how a check works.

What has to hold:

- an inode's newest version is the one that it says, and the bytes that its extents hold are as many
  as it and each of its versions say;
- a version belongs to an inode that is or was;
- of one content no two extents hold the same byte at a moment; none is empty, longer than
  EXTENT_BYTES_MAX, or of the future.
"""

import stat
from collections.abc import Sequence

from msgspec.structs import replace

from objfs.base.limits import EXTENT_BYTES_MAX, FSCK_PAGE_ROWS
from objfs.maint.fsck_mend import Mends
from objfs.maint.fsck_work import Checking, Mend, Work
from objfs.meta.database import Change
from objfs.meta.rows import Extent, ExtentPast, Inode, Unsealed
from objfs.meta.tables import EXTENT, EXTENT_PAST, INODE, INODE_PAST, VERSION, table_of
from objfs.volume.content import extents_of
from objfs.volume.extents import cut, from_past, past
from objfs.volume.history import FOREVER

Row = Extent | ExtentPast


class ByteChecks:
    """The checks of one step."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._database = work.database
        self._mends = Mends(work.core)

    # --- inodes ----------------------------------------------------------------------------------

    def inode(self, ino: int) -> Checking[None]:
        """What an inode says of its versions and bytes."""
        row = self._database.get(INODE, ino)
        if row is None:
            return
        self._newest(row)
        if not stat.S_ISREG(row.mode) or ino in self._work.core.building:
            return

        def allocated(row: Inode) -> Checking[int]:
            return (yield from self._allocated(row.content, row.content_at))

        counted = yield from self._work.steady(ino, allocated)
        if counted is not None and counted[0].allocated != counted[1]:
            what = f"it counts {counted[0].allocated} allocated bytes, extents hold {counted[1]}"
            total = counted[1]
            self._work.report(
                "inode-allocated",
                f"inode {ino}",
                what,
                lambda change: self._mends.update(change, ino, allocated=total),
                ino=ino,
            )

    def _newest(self, row: Inode) -> None:
        found = self._database.scan(VERSION, (row.ino,), reverse=True, limit=1)
        newest = found[0].sealed if found else 0
        if newest == row.sealed or not row.nlink:  # of one without a name they may be erased
            return
        what = f"its newest version is {newest or 'none'}, it says {row.sealed or 'none'}"

        def mend(change: Change) -> None:
            self._mends.update(change, row.ino, sealed=newest)
            if newest < row.sealed:
                change.put(Unsealed(row.ino, change.sequence))

        self._work.report("inode-version", f"inode {row.ino}", what, mend, ino=row.ino)

    def _allocated(self, content: int, content_at: int) -> Checking[int]:
        """Bytes that the extents of a content hold, now (0) or as of a sequence."""
        unsharing = self._work.core.unsharing
        unsharing[content] += 1  # a step begins where the last one ended: no rows are merged
        try:
            total = start = 0
            while True:
                span = self._span(content, start)
                total += sum(
                    row.length
                    for row in extents_of(self._database, content, content_at, start, span)
                    if row.offset >= start
                )
                if span >= FOREVER:
                    return total
                start = span
                yield
        finally:
            unsharing[content] -= 1

    def _span(self, content: int, start: int) -> int:
        """Where to stop, so that a bounded number of rows lies in [start, stop)."""
        rows: list[Row] = [
            *self._database.scan(EXTENT, (content,), lower=start, limit=FSCK_PAGE_ROWS),
            *self._database.scan(EXTENT_PAST, (content,), lower=start, limit=FSCK_PAGE_ROWS),
        ]
        if len(rows) < FSCK_PAGE_ROWS:
            return FOREVER
        offsets = sorted(row.offset for row in rows)
        return max(offsets[FSCK_PAGE_ROWS - 1], start + 1)

    # --- versions --------------------------------------------------------------------------------

    def version(self, ino: int, sealed: int) -> Checking[None]:
        """One version."""
        row = self._database.get(VERSION, ino, sealed)
        if row is None:
            return
        about, now = f"version {sealed:x} of inode {ino}", self._database.sequence
        if row.sealed > now or row.content_at > now:
            what = f"it was sealed at {row.sealed} as of {row.content_at}, which has not come yet"
            self._work.report("version-future", about, what, ino=ino)
        if self._database.get(INODE, ino) is None and not self._database.scan(
            INODE_PAST, (ino,), limit=1
        ):
            what = "nothing is known of the inode"
            self._work.report("version-of-nothing", about, what, self._mends.revive(row))
        total = yield from self._allocated(row.content, row.content_at)
        if self._database.get(VERSION, ino, sealed) == row and row.allocated != total:
            what = f"it counts {row.allocated} allocated bytes, extents hold {total}"
            fixed = replace(row, allocated=total)
            self._work.report(
                "version-allocated", about, what, lambda change: change.put(fixed), ino=ino
            )

    # --- extents ---------------------------------------------------------------------------------

    def extent(self, row: Row) -> None:
        """One extent, current or past: its form, and what holds the same bytes. One stretch."""
        about = f"extent of content {row.content} at {row.offset}"
        wrong = self._form(row)
        if wrong is not None:
            empty = isinstance(row, ExtentPast) and row.since >= row.until
            mend = self._drop(row) if empty or row.length <= 0 else None
            self._work.report("extent-form", about, wrong, mend)
            return
        for other in self._overlapping(row):
            mend = self._later_counts(row, other)
            since = f"since {row.since}, and the one at {other.offset} since {other.since}"
            what = f"it holds {row.length} bytes {since}: both hold some of the same"
            self._work.report("extent-overlap", about, what, mend)
            return

    def _form(self, row: Row) -> str | None:
        now = self._database.sequence
        if not 0 < row.length <= EXTENT_BYTES_MAX:
            return f"it is {row.length} bytes long"
        if row.offset < 0 or row.skip < 0 or row.offset + row.length > FOREVER:
            return f"it lies at {row.offset}, {row.skip} bytes into its record"
        if row.since > now:
            return f"it began at {row.since}, which has not come yet"
        if isinstance(row, ExtentPast) and not row.since < row.until <= now:
            return f"it began at {row.since} and ended at {row.until}"
        return None

    def _overlapping(self, row: Row) -> Sequence[Row]:
        """Others of the content that hold a byte of `row` at a moment of it, and come after it:
        each pair is looked at once, from the row that begins first."""
        end, until = row.offset + row.length, _until(row)
        prefix = (row.content,)
        found: list[Row] = [
            *self._database.scan(EXTENT, prefix, lower=row.offset, upper=end, limit=FSCK_PAGE_ROWS),
            *self._database.scan(EXTENT_PAST, prefix, lower=row.offset, upper=end),
        ]
        mine = (row.offset, until)
        return [
            other
            for other in found
            if (other.offset, _until(other)) > mine
            and other.since < until
            and row.since < _until(other)
        ]

    def _later_counts(self, one: Row, other: Row) -> Mend | None:
        """Where two hold the same byte, the one that began later was written over the other; when
        it ends first, the other holds again, so that no moment loses a byte."""
        if one.since == other.since:
            return None
        older, newer = (one, other) if one.since < other.since else (other, one)
        whole = older if isinstance(older, Extent) else from_past(older)
        cutting = cut([whole], newer.offset, newer.offset + newer.length, newer.since)
        pieces = list(cutting.remaining)
        if _until(newer) < _until(older):
            start = max(whole.offset, newer.offset)
            length = min(whole.offset + whole.length, newer.offset + newer.length) - start
            skip = whole.skip + start - whole.offset
            since = _until(newer)
            pieces.append(replace(whole, offset=start, length=length, skip=skip, since=since))

        def mend(change: Change) -> None:
            _delete(change, older)
            change.put(past(whole, newer.since))
            for piece in pieces:
                if isinstance(older, ExtentPast):
                    change.put(past(piece, older.until))
                elif change.get(EXTENT, piece.content, piece.offset) is None:
                    change.put(piece)
            for opened in self._work.core.open_inodes.values():
                opened.forget_extents()

        return mend

    def _drop(self, row: Row) -> Mend:
        return lambda change: _delete(change, row)


def _until(row: Row) -> int:
    return row.until if isinstance(row, ExtentPast) else FOREVER


def _delete(change: Change, row: Row) -> None:
    table = table_of(row)
    change.delete(table, *table.key_of(row))
