"""Walks a segment's records from its bytes alone: for segments without a valid footer.

A position either holds a header that verifies for it, or it does not; then the walk looks for the
next one, at multiples of 16 bytes. Because a header's checksum is salted and bound to its offset,
nothing inside a payload is ever taken for a record, whatever it contains.
"""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from objfs.base.limits import MIB, RECORD_ALIGNMENT_BYTES
from objfs.store.device import DeviceFile
from objfs.store.format import (
    RECORD_HEADER_BYTES,
    RECORD_MAGIC_BYTES,
    SEGMENT_HEADER_BYTES,
    RecordKind,
    aligned,
)
from objfs.store.record import RecordHeader, unpack_header, verify_payload, verify_sums

WINDOW_BYTES: Final = 1 * MIB


class Scanned(NamedTuple):
    """A record whose header verifies, or (header None) bytes that hold none."""

    offset: int
    length: int
    header: RecordHeader | None
    intact: bool  # the payload verified, or was not looked at

    @property
    def end(self) -> int:
        """Where the next record may start."""
        return aligned(self.offset + self.length)


class Window:
    """Reads a file front to back in large pieces."""

    def __init__(self, file: DeviceFile, size: int, piece_bytes: int = WINDOW_BYTES) -> None:
        self._file = file
        self.size = size
        self._piece = piece_bytes
        self._start = 0
        self._data = memoryview(b"")

    def exact(self) -> "Window":
        """A window on the same file that reads only what is asked for."""
        return Window(self._file, self.size, 0)

    def view(self, offset: int, length: int) -> memoryview:
        """Bytes at `offset`, fewer at the end of the file. OSError."""
        at = offset - self._start
        if at < 0 or at + length > len(self._data):
            wanted = min(max(length, self._piece), max(self.size - offset, 0))
            self._data = memoryview(self._file.read(offset, wanted))
            self._start, at = offset, 0
        return self._data[at : at + length]


def scan(
    window: Window,
    seed: int,
    look_at: Callable[[RecordHeader], bool],
    start: int = SEGMENT_HEADER_BYTES,
) -> Iterator[Scanned]:
    """Every record from `start`, in order, and the stretches between that hold none. The payloads
    for which `look_at` says so are verified, and the window still holds them when they are
    yielded. Ends after a FOOTER. OSError."""
    at = start
    while at < window.size:
        found = scan_one(window, seed, at, look_at)
        if found is None:
            following = _find_header(window, seed, at + RECORD_ALIGNMENT_BYTES)
            yield Scanned(at, following - at, None, False)
            at = following
            continue
        yield found
        at = found.end
        if found.header is not None and found.header.kind == RecordKind.FOOTER:
            return


def scan_one(
    window: Window, seed: int, at: int, look_at: Callable[[RecordHeader], bool]
) -> Scanned | None:
    """The record at `at`, or None when none is there, or when the file ends inside it."""
    header = unpack_header(window.view(at, RECORD_HEADER_BYTES), 0, seed + at)
    if header is None:
        return None
    head_bytes = header.head_bytes
    length = head_bytes + header.stored
    if at + length > window.size:
        return None
    intact = True
    if look_at(header):
        record = window.view(at, length)
        intact = verify_payload(header, record[head_bytes:])
        if intact and head_bytes > RECORD_HEADER_BYTES:
            intact = verify_sums(header, record[RECORD_HEADER_BYTES:head_bytes])
    return Scanned(at, length, header, intact)


def _find_header(window: Window, seed: int, start: int) -> int:
    """Where the next header that verifies lies; the file's size when there is none."""
    at = start
    while at < window.size:
        view = window.view(at, min(WINDOW_BYTES, window.size - at))
        found = _find_in(view, seed, at)
        if found is not None:
            return found
        step = (len(view) - RECORD_HEADER_BYTES) & -RECORD_ALIGNMENT_BYTES
        if at + len(view) >= window.size or step <= 0:
            break
        at += step
    return window.size


def _find_in(view: memoryview, seed: int, base: int) -> int | None:
    data = bytes(view)
    at = data.find(RECORD_MAGIC_BYTES)
    while at >= 0:
        if at % RECORD_ALIGNMENT_BYTES == 0 and unpack_header(data, at, seed + base + at):
            return base + at
        at = data.find(RECORD_MAGIC_BYTES, at + 1)
    return None
