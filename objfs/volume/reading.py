"""Reading: working extents, sealed extents and holes merged; sequential reads fetched ahead.

`read_nowait` answers from memory (dirty data, the store's block cache, the kernel's page cache of
the segments) without a task switch, or says that it cannot. `read` waits for the device in threads.
Data is verified by the store whenever it comes from a record.

Compaction moves records and removes segments while reads are under way. A move is a change like any
other and is counted in `Core.moves`: the extents that an open inode remembers are looked up anew
after one, and a read that finds its segment gone starts over.

Prefetch: a handle that reads on where it left off, and meets bytes that are not in memory, gets the
next windows read in threads before they are asked for. (While the kernel has the segments cached,
reading them inline is faster than any thread.) A window is used once and dropped; it holds logged
bytes only, so it is of no use once the inode is written to: its generation tells.
"""

from bisect import bisect_right
from operator import attrgetter

import trio

from objfs.base import limits
from objfs.base.errors import BadHandle, DataLost, ObjfsError, StaleInode
from objfs.base.types import Location
from objfs.meta.rows import Extent
from objfs.meta.tables import VERSION
from objfs.volume.content import extents_at, extents_of
from objfs.volume.core import Core
from objfs.volume.dirty import Buffer
from objfs.volume.extents import Span, spans, within
from objfs.volume.handles import Handle, OpenInode, Prefetched

_WINDOW_BYTES = 32 * limits.MIB
_PAST_WINDOW_BYTES = 4 * limits.MIB  # whose past rows may be many
_WINDOWS_MAX = limits.PREFETCH_BYTES_MAX // limits.PREFETCH_WINDOW_BYTES - (
    2 * limits.PREFETCH_WINDOWS_MAX
)
_STREAK = 3  # reads in a row that make a handle sequential
_offset_of = attrgetter("offset")


def location_of(extent: Extent) -> Location:
    """The record that an extent lies in."""
    return Location(extent.segment, extent.position, extent.stored)


class Reader:
    """Reads of open files."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._fetching: dict[Handle, None] = {}  # handles with windows, the latest last

    def read_nowait(self, handle: Handle, offset: int, size: int) -> Buffer | None:
        """At most `size` bytes at `offset`, fewer only at the end of the file. None: the device
        would have to wait, call `read`."""
        if handle.closed:
            raise BadHandle("the handle is closed")
        opened = handle.open_inode
        size = min(size, opened.size - offset)
        if size <= 0:
            return b""
        sequential = self._follow(handle, offset, size)
        if handle.ahead:
            window = self._from_ahead(handle, offset, size)
            if window is not None:
                self._look_ahead(handle)
                return window
        try:
            data = self._merge_nowait(opened, offset, size)
        except DataLost:  # or moved, by the process that owns the store: `read` finds out
            return None
        if data is None and sequential:
            self._look_ahead(handle)
        return data

    async def read(self, handle: Handle, offset: int, size: int) -> Buffer:
        """The same, waiting for the device. DataLost for what does not verify."""
        if handle.closed:
            raise BadHandle("the handle is closed")
        coming = handle.ahead.get(offset - offset % limits.PREFETCH_WINDOW_BYTES)
        if coming is not None:
            await coming.done.wait()
            data = self.read_nowait(handle, offset, size)
            if data is not None:
                return data
        opened = handle.open_inode
        while True:
            end = min(offset + size, opened.size)
            if end <= offset:
                return b""
            extents = self._extents(opened, offset, end)
            try:
                data = await self.read_extents(extents, offset, end)
            except DataLost:
                self._core.renew()
                opened.forget_extents()
                if extents == self._extents(opened, offset, end):
                    raise
                continue  # compaction moved them and removed their segment
            if extents == self._extents(opened, offset, end) and end <= opened.size:
                return self._overlay(opened, data, offset, end)

    # --- merging -------------------------------------------------------------------------------

    def _merge_nowait(self, opened: OpenInode, offset: int, size: int) -> Buffer | None:
        end = offset + size
        extents = self._extents(opened, offset, end)
        if len(extents) == 1:
            extent = extents[0]
            inside = offset - extent.offset
            if inside >= 0 and end <= extent.offset + extent.length:
                data = self._core.log.read_nowait(
                    location_of(extent), extent.hash32, extent.skip + inside, size
                )
                return None if data is None else self._overlay(opened, data, offset, end)
        merged = bytearray(size)
        for span in spans(extents, offset, end):
            if span.extent is None:
                continue
            data = self._core.log.read_nowait(*_place(span))
            if data is None:
                return None
            merged[span.offset - offset : span.offset - offset + span.length] = data
        return self._overlay(opened, merged, offset, end)

    def _overlay(self, opened: OpenInode, data: Buffer, offset: int, end: int) -> Buffer:
        """`data` with what is not logged yet on top."""
        if not opened.dirty and opened.flushing is None:
            return data
        layers = [layer for layer in (opened.flushing, opened.dirty) if layer]  # lowest first
        pieces = [piece for layer in layers for piece in layer.pieces_in(offset, end)]
        if not pieces:
            return data
        if len(pieces) == 1 and len(pieces[0][1]) == end - offset:
            return bytes(pieces[0][1])
        merged = data if isinstance(data, bytearray) else bytearray(data)
        for start, piece in pieces:
            merged[start - offset : start - offset + len(piece)] = piece
        return merged

    def _extents(self, opened: OpenInode, offset: int, end: int) -> list[Extent]:
        """The logged extents in [offset, end), from the window that the open inode keeps."""
        if (
            opened.extents_start > offset
            or end > opened.extents_end
            or opened.extents_moves != self._core.moves
        ):
            self._load_window(opened, offset, end)
        extents = opened.extents
        if len(extents) <= 1:
            first, last = 0, len(extents)
        else:
            first = max(bisect_right(extents, offset, key=_offset_of) - 1, 0)
            last = bisect_right(extents, end - 1, lo=first, key=_offset_of)
        return [
            extent
            for extent in extents[first:last]
            if extent.offset < end and extent.offset + extent.length > offset
        ]

    def _load_window(self, opened: OpenInode, offset: int, end: int) -> None:
        """Read the rows of the extents from `offset` on, to `end` at least."""
        if opened.past is not None:
            version = opened.past
            # In one stretch with the look at the extents: those of an erased one are swept away.
            kept = self._core.database.get(VERSION, version.ino, version.sealed)
            if kept is None or kept.content != version.content:
                raise StaleInode(f"the version of inode {version.ino} that is read was erased")
            stop = max(end, offset + _PAST_WINDOW_BYTES)
            extents = extents_at(
                self._core.database, version.content, version.content_at, offset, stop
            )
        else:
            row = self._core.row(opened.ino)
            stop = max(end, offset + _WINDOW_BYTES)
            extents = extents_of(self._core.database, row.content, row.content_at, offset, stop)
            if extents and extents[-1].offset + extents[-1].length > row.size:
                extents = within(extents, row.size)  # a truncation is not finished
        opened.extents = extents
        opened.extents_moves = self._core.moves
        opened.extents_start, opened.extents_end = offset, stop

    async def read_extents(self, extents: list[Extent], offset: int, end: int) -> Buffer:
        """The bytes [offset, end) of a content, zeros where no extent is."""
        pieces = list(spans(extents, offset, end))
        if len(pieces) == 1 and pieces[0].extent is not None:
            return await self._core.log.read(*_place(pieces[0]))
        merged = bytearray(end - offset)
        for span in pieces:
            if span.extent is None:
                await trio.lowlevel.checkpoint_if_cancelled()
                continue
            data = self._core.log.read_nowait(*_place(span))
            if data is None:
                data = await self._core.log.read(*_place(span))
            merged[span.offset - offset : span.offset - offset + span.length] = data
        return merged

    # --- prefetch --------------------------------------------------------------------------------

    def _follow(self, handle: Handle, offset: int, size: int) -> bool:
        """Whether the handle reads sequentially, and large enough to be worth a thread."""
        near = handle.next_offset - size <= offset <= handle.next_offset + size
        if not near or size < limits.CHECKSUM_BLOCK_BYTES:
            handle.next_offset = offset + size
            handle.streak = 0
            handle.ahead.clear()
            return False
        handle.next_offset = max(offset + size, handle.next_offset)
        handle.streak += 1
        return handle.streak >= _STREAK

    def _look_ahead(self, handle: Handle) -> None:
        """Start reading the windows after the place that a sequential read has come to."""
        core, opened = self._core, handle.open_inode
        spawn = core.spawn
        if spawn is None or opened.changed:
            return
        step = limits.PREFETCH_WINDOW_BYTES
        place = handle.next_offset
        for old in [start for start in handle.ahead if start + 4 * step <= place]:
            del handle.ahead[old]
        begin = place + -place % step
        count = min(limits.PREFETCH_WINDOWS_MAX, core.settings.read_ahead_bytes // step)
        self._bound_windows(handle)
        for start in range(begin, min(begin + count * step, opened.size), step):
            if start not in handle.ahead and len(handle.ahead) < 2 * count:
                window = handle.ahead[start] = Prefetched(opened.generation)
                spawn(self._fetch, handle, start, min(start + step, opened.size), window)

    def _bound_windows(self, handle: Handle) -> None:
        """Take windows from the handles that used theirs longest ago."""
        fetching = self._fetching
        fetching.pop(handle, None)
        fetching[handle] = None
        held = sum(len(each.ahead) for each in fetching)
        for oldest in list(fetching)[:-1]:
            if held < _WINDOWS_MAX and oldest.ahead:
                break
            held -= len(oldest.ahead)
            oldest.ahead.clear()
            del fetching[oldest]

    async def _fetch(self, handle: Handle, start: int, end: int, window: Prefetched) -> None:
        """Fill one window. A failure is left to the read that asks for the bytes."""
        opened = handle.open_inode
        try:
            extents = self._extents(opened, start, end)
            data = await self.read_extents(extents, start, end)
            if window.generation == opened.generation:
                window.data = data
        except ObjfsError:
            window.data = None
        finally:
            if window.data is None:
                handle.ahead.pop(start, None)
            window.done.set()

    def _from_ahead(self, handle: Handle, offset: int, size: int) -> Buffer | None:
        """The bytes from a window fetched ahead, if it has them all and they are still right."""
        opened = handle.open_inode
        start = offset - offset % limits.PREFETCH_WINDOW_BYTES
        window = handle.ahead.get(start)
        if opened.changed or (window is not None and window.generation != opened.generation):
            handle.ahead.clear()
            return None
        if window is None or window.data is None:
            return None
        inside = offset - start
        if inside + size > len(window.data):
            return None
        if inside + size == len(window.data):
            del handle.ahead[start]
        return memoryview(window.data)[inside : inside + size]


def _place(span: Span) -> tuple[Location, int, int, int]:
    """What the log needs to read a span that has an extent."""
    extent = span.extent
    assert extent is not None
    return (
        location_of(extent),
        extent.hash32,
        extent.skip + span.offset - extent.offset,
        span.length,
    )
