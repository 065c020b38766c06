"""The device: the one interface through which the log touches storage.

A device holds named files in one flat name space. Implementations: `posix` (a directory), `memory`
(for crash tests), `faults` (a wrapper that fails on command). tests/store/test_device_contract.py
runs on all of them.

The contract, for every method:
- Methods block; they are called from the loop (inline appends) or from worker threads. Different
  files, and different ranges of one file, may be used by several threads at once.
- Errors are OSError, with the errno of the kernel. The device decides nothing about them: no
  retries, no mapping. The log decides what is permanent.
- What was written can be read back at once. It survives a crash of the process, and a power cut
  only after `sync` of the file *and*, for a new or removed name, `sync_names`. Without those any
  subset of the unsynced writes may survive, each of them in part.
- After a failed `sync` nothing may be concluded from reading back.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from objfs.store.format import Buffer


class Space(NamedTuple):
    """Bytes of the file system under the device. `available` is what this user may still take."""

    total: int
    free: int
    available: int


class DeviceFile(Protocol):
    """One open file. Closed when it is told to, or when the last reference goes."""

    def read(self, offset: int, length: int) -> bytes:
        """The bytes at `offset`; fewer only at the end of the file."""

    def read_into(self, offset: int, buffers: Sequence[bytearray | memoryview]) -> int:
        """Fill the buffers in turn; bytes read, fewer only at the end of the file."""

    def read_into_nowait(self, offset: int, buffers: Sequence[bytearray], length: int) -> bool:
        """Fill the buffers, `length` bytes together. False when the device would have to wait,
        cannot tell, or the file ends before: the waiting call finds out which."""

    def write(self, offset: int, buffers: Sequence[Buffer], length: int) -> None:
        """Write the buffers, `length` bytes together, one after the other. On an error any part
        of them may have been written. A gap before `offset` reads as zeros."""

    def truncate(self, length: int) -> None:
        """Cut or extend (with zeros) to `length`."""

    def forget(self, offset: int, length: int) -> None:
        """Let go of what is cached of this range, as far as it is clean and can be: the next read
        asks the device. No promise, and no error when it cannot be done."""

    def size(self) -> int:
        """Bytes of the file."""

    def sync(self) -> None:
        """Everything written so far, and the length, survives a power cut when this returns."""

    def close(self) -> None:
        """No call after this one, but `close` again."""


class Device(Protocol):
    """A flat name space of files."""

    def names(self) -> list[str]:
        """All names, in no order."""

    def create(self, name: str) -> DeviceFile:
        """A new empty file, open for reading and writing. FileExistsError."""

    def open(self, name: str, writable: bool) -> DeviceFile:
        """FileNotFoundError."""

    def remove(self, name: str) -> None:
        """The name is gone; open files stay readable. FileNotFoundError."""

    def sync_names(self) -> None:
        """Names created, removed and renamed so far survive a power cut when this returns."""

    def space(self) -> Space:
        """How full it is."""
