"""A device in memory that keeps *written* and *synced* images apart, so that a test can cut the
power at any moment and look at every device that may be left.

Every file remembers its synced bytes and the unsynced operations since; so does the name space.
`after_power_cut` applies a chosen part of the unsynced operations to the synced image.
"""

import errno
import os
from collections.abc import Callable, Sequence
from typing import Final

from objfs.store.device import Space
from objfs.store.format import Buffer

_TOTAL_BYTES: Final = 1 << 40

Survives = Callable[[int], tuple[int, int]]
"""Given the length of an unsynced write: which of its bytes, [from, to), reach the medium. For a
truncation or a change of names the length is 1: (0, 1) means that it does."""


def nothing_survives(length: int) -> tuple[int, int]:
    """The strictest power cut: synced bytes only."""
    return (0, 0)


def everything_survives(length: int) -> tuple[int, int]:
    """The kindest power cut, and what `kill -9` leaves."""
    return (0, length)


class _Contents:
    """A file's bytes as they read now, as they were synced, and the way from there to here."""

    def __init__(self, synced: bytes = b"") -> None:
        self.written = bytearray(synced)
        self.synced = bytes(synced)
        self.pending: list[tuple[int, bytes | None]] = []  # (offset, data) or (length, None)

    def write(self, offset: int, data: bytes) -> None:
        _overwrite(self.written, offset, data)
        self.pending.append((offset, data))

    def truncate(self, length: int) -> None:
        _set_length(self.written, length)
        self.pending.append((length, None))

    def sync(self) -> None:
        """Apply what is pending, and only that: what was dropped is gone for good."""
        self.synced = self.left(everything_survives)
        self.pending.clear()

    def left(self, survives: Survives) -> bytes:
        """What the medium holds after a power cut."""
        image = bytearray(self.synced)
        for offset, data in self.pending:
            start, end = survives(1 if data is None else len(data))
            if start >= end:
                continue
            if data is None:
                _set_length(image, offset)
            else:
                _overwrite(image, offset + start, data[start:end])
        return bytes(image)


class MemoryFile:
    """An open file of a `MemoryDevice`."""

    def __init__(self, device: "MemoryDevice", contents: _Contents, writable: bool) -> None:
        self._device = device
        self._contents = contents
        self._writable = writable
        self._closed = False

    def read(self, offset: int, length: int) -> bytes:
        self._check()
        return bytes(self._contents.written[offset : offset + length])

    def read_into(self, offset: int, buffers: Sequence[bytearray | memoryview]) -> int:
        self._check()
        done = 0
        for buffer in buffers:
            piece = self._contents.written[offset + done : offset + done + len(buffer)]
            memoryview(buffer)[: len(piece)] = piece
            done += len(piece)
        return done

    def read_into_nowait(self, offset: int, buffers: Sequence[bytearray], length: int) -> bool:
        return self._device.nowait and self.read_into(offset, buffers) == length

    def write(self, offset: int, buffers: Sequence[Buffer], length: int) -> None:
        self._check()
        if not self._writable:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        data = b"".join(buffers)
        assert len(data) == length
        grown = max(0, offset + length - len(self._contents.written))
        room = self._device.room()
        if grown > room:
            self._contents.write(offset, data[: max(0, length - (grown - room))])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._contents.write(offset, data)

    def truncate(self, length: int) -> None:
        self._check()
        self._contents.truncate(length)

    def forget(self, offset: int, length: int) -> None:
        self._check()

    def size(self) -> int:
        self._check()
        return len(self._contents.written)

    def sync(self) -> None:
        self._check()
        self._contents.sync()

    def close(self) -> None:
        self._closed = True

    def _check(self) -> None:
        if self._closed:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))


class MemoryDevice:
    """A flat name space of byte strings. `capacity` bounds the sum of their lengths."""

    def __init__(self, files: dict[str, bytes] | None = None, capacity: int = _TOTAL_BYTES) -> None:
        self.capacity = capacity
        self.nowait = True  # whether reads that must not wait find what they look for
        self._names = {name: _Contents(data) for name, data in (files or {}).items()}
        self._synced_names = dict(self._names)
        # (name, contents, or None when the name went), in order
        self._pending: list[tuple[str, _Contents | None]] = []

    def names(self) -> list[str]:
        return list(self._names)

    def create(self, name: str) -> MemoryFile:
        if name in self._names:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
        contents = _Contents()
        self._set_name(name, contents)
        return MemoryFile(self, contents, True)

    def open(self, name: str, writable: bool) -> MemoryFile:
        return MemoryFile(self, self._find(name), writable)

    def remove(self, name: str) -> None:
        self._find(name)
        self._set_name(name, None)

    def sync_names(self) -> None:
        self._synced_names = dict(self._names)
        self._pending.clear()

    def space(self) -> Space:
        room = self.room()
        return Space(self.capacity, room, room)

    def room(self) -> int:
        """Bytes that still fit."""
        return max(0, self.capacity - sum(len(c.written) for c in self._names.values()))

    def files(self) -> dict[str, bytes]:
        """Everything as it reads now."""
        return {name: bytes(contents.written) for name, contents in self._names.items()}

    def drop_unsynced(self) -> None:
        """What a failed fsync may do on Linux: everything unsynced reads as it was written, counts
        as clean, is written by no later sync, and is not on the medium."""
        for contents in self._names.values():
            contents.pending.clear()

    def after_power_cut(self, survives: Survives = nothing_survives) -> "MemoryDevice":
        """A new device with what this one's medium holds. The old one is not changed."""
        names = dict(self._synced_names)
        for name, contents in self._pending:
            if survives(1) != (0, 1):
                continue
            if contents is None:
                names.pop(name, None)
            else:
                names[name] = contents
        left = {name: contents.left(survives) for name, contents in names.items()}
        return MemoryDevice(left, self.capacity)

    def _find(self, name: str) -> _Contents:
        if name not in self._names:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        return self._names[name]

    def _set_name(self, name: str, contents: _Contents | None) -> None:
        if contents is None:
            del self._names[name]
        else:
            self._names[name] = contents
        self._pending.append((name, contents))


def _overwrite(target: bytearray, offset: int, data: bytes) -> None:
    if data and offset > len(target):
        target.extend(bytes(offset - len(target)))
    target[offset : offset + len(data)] = data


def _set_length(target: bytearray, length: int) -> None:
    if length <= len(target):
        del target[length:]
    else:
        target.extend(bytes(length - len(target)))
