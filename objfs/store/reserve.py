"""The reserve: a preallocated file that is given up when the device is full, so that deleting,
`forget`, retention and compaction go on.

States: *held* (the file has its blocks) and *given* (it has none). Each method may be called in
either.
"""

import errno
import os
from pathlib import Path


class ReserveFile:
    """A file of `size` bytes at `path`."""

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size

    def release(self) -> bool:
        """Give the blocks back to the device. False when there were none. OSError."""
        if not self.bytes_held():
            return False
        with self._path.open("r+b") as file:
            file.truncate(0)
            os.fsync(file.fileno())
        return True

    def restore(self) -> bool:
        """Take the blocks, if they are not held. False, and nothing taken, when the device has no
        room for them. OSError."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if self._size:
                os.posix_fallocate(descriptor, 0, self._size)
            os.ftruncate(descriptor, self._size)  # a smaller one, if the setting shrank
        except OSError as error:
            os.ftruncate(descriptor, 0)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                return False
            raise
        finally:
            os.close(descriptor)
        return True

    def bytes_held(self) -> int:
        """What the device would get back."""
        try:
            return self._path.stat().st_blocks * 512
        except FileNotFoundError:
            return 0
