"""The unwritten bytes of one inode: sorted pieces that do not overlap.

Appending at the end, the common case, costs one comparison. Nothing is copied when data comes in:
pieces are the buffers as the kernel's requests brought them, cut by memoryview where they overlap.
Only tiny appends are gathered, so that a hundred-byte loop does not make a piece a write.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from objfs.base.limits import KIB

Buffer = bytes | bytearray | memoryview
_GATHER_BELOW_BYTES = 4 * KIB
_GATHER_PIECE_BYTES = 64 * KIB


class DirtyBuffer:
    """Pieces of unwritten data by offset. `bytes` counts what they hold."""

    __slots__ = ("_offsets", "_pieces", "bytes")

    def __init__(self) -> None:
        self._offsets: list[int] = []
        self._pieces: list[Buffer] = []
        self.bytes = 0

    def __bool__(self) -> bool:
        return bool(self._offsets)

    def write(self, offset: int, data: Buffer) -> None:
        """Put `data` at `offset`, over what was there."""
        if data and not (self._offsets and self._gather(offset, data)):
            self._put(offset, data)

    def _put(self, offset: int, data: Buffer) -> None:
        """The same, as a piece of its own."""
        size = len(data)
        offsets, pieces = self._offsets, self._pieces
        if not offsets or offset >= offsets[-1] + len(pieces[-1]):
            offsets.append(offset)
            pieces.append(data)
            self.bytes += size
            return
        self.discard(offset, offset + size)
        at = bisect_left(offsets, offset)
        offsets.insert(at, offset)
        pieces.insert(at, data)
        self.bytes += size

    def _gather(self, offset: int, data: Buffer) -> bool:
        """Join a tiny append to the last piece. Returns whether that was done."""
        last = self._pieces[-1]
        if (
            len(data) >= _GATHER_BELOW_BYTES
            or len(last) >= _GATHER_PIECE_BYTES
            or offset != self._offsets[-1] + len(last)
        ):
            return False
        if not isinstance(last, bytearray):
            last = self._pieces[-1] = bytearray(last)
        try:
            last += data
        except BufferError:  # somebody reads it
            return False
        self.bytes += len(data)
        return True

    def discard(self, start: int, end: int | None = None) -> None:
        """Drop what lies in [start, end), or from `start` on."""
        offsets, pieces = self._offsets, self._pieces
        first = bisect_right(offsets, start) - 1
        if first < 0 or offsets[first] + len(pieces[first]) <= start:
            first += 1
        last = len(offsets) if end is None else bisect_left(offsets, end)
        if first >= last:
            return
        kept: list[tuple[int, Buffer]] = []
        head_offset, head = offsets[first], pieces[first]
        tail_offset, tail = offsets[last - 1], pieces[last - 1]
        if head_offset < start:
            kept.append((head_offset, memoryview(head)[: start - head_offset]))
        if end is not None and tail_offset + len(tail) > end:
            kept.append((end, memoryview(tail)[end - tail_offset :]))
        self.bytes -= sum(len(piece) for piece in pieces[first:last])
        self.bytes += sum(len(piece) for _, piece in kept)
        offsets[first:last] = [offset for offset, _ in kept]
        pieces[first:last] = [piece for _, piece in kept]

    def pieces_in(self, start: int, end: int) -> Iterator[tuple[int, memoryview]]:
        """The parts of the pieces inside [start, end), in order."""
        at = max(bisect_right(self._offsets, start) - 1, 0)
        for offset, piece in zip(self._offsets[at:], self._pieces[at:], strict=True):
            if offset >= end:
                return
            first, last = max(offset, start), min(offset + len(piece), end)
            if first < last:
                yield first, memoryview(piece)[first - offset : last - offset]

    def take(self, limit: int) -> "DirtyBuffer":
        """Move pieces of about `limit` bytes, from the lowest offset up, into a buffer of their
        own; at least one piece."""
        taken = DirtyBuffer()
        count = 0
        while count < len(self._pieces) and (count == 0 or taken.bytes < limit):
            taken.bytes += len(self._pieces[count])
            count += 1
        taken._offsets, self._offsets = self._offsets[:count], self._offsets[count:]
        taken._pieces, self._pieces = self._pieces[:count], self._pieces[count:]
        self.bytes -= taken.bytes
        return taken

    def give_back(self, taken: "DirtyBuffer") -> None:
        """Return pieces that could not be written; what was written since stays above them."""
        newer = list(zip(self._offsets, self._pieces, strict=True))
        self._offsets, self._pieces = taken._offsets, taken._pieces
        self.bytes = taken.bytes
        for offset, piece in newer:
            self._put(offset, piece)

    def runs(self, limit: int) -> Iterator[tuple[int, list[Buffer]]]:
        """Contiguous stretches of at most `limit` bytes: (offset, buffers)."""
        start, size, buffers = 0, 0, list[Buffer]()
        for offset, piece in zip(self._offsets, self._pieces, strict=True):
            position = 0
            if buffers and offset != start + size:
                yield start, buffers
                buffers = []
            while position < len(piece):
                if not buffers:
                    start, size = offset + position, 0
                room = min(limit - size, len(piece) - position)
                whole = position == 0 and room == len(piece)
                buffers.append(piece if whole else memoryview(piece)[position : position + room])
                size += room
                position += room
                if size == limit:
                    yield start, buffers
                    buffers = []
        if buffers:
            yield start, buffers
