"""The POSIX device: a directory. System calls only; see `device` for the contract."""

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from objfs.base.limits import UNCACHED_WRITE_BYTES_MIN
from objfs.store.device import Space
from objfs.store.format import Buffer

_VECTORS_MAX: Final = 1024  # IOV_MAX of Linux
_RWF_DONTCACHE: Final = 0x80  # <linux/fs.h> of Linux 6.14


class PosixFile:
    """A file descriptor. It is closed when the last reference goes: a reader in a thread keeps
    the file open by holding this object, whatever the cache of open files does meanwhile.

    Large writes ask the kernel to begin with the disk at once and to let go of the pages when it is
    done: a sync finds little left to do, and the next write gets pages that are warm. Where kernel
    or file system do not know that, they go through the page cache like all others."""

    _knows_uncached = True  # until a file system says otherwise

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __del__(self) -> None:
        self.close()

    def read(self, offset: int, length: int) -> bytes:
        data = os.pread(self._descriptor, length, offset)
        if len(data) == length or not data:
            return data
        pieces = [data]  # reads of regular files are short at the end only, or above 2 GiB
        done = len(data)
        while done < length:
            data = os.pread(self._descriptor, length - done, offset + done)
            if not data:
                break
            pieces.append(data)
            done += len(data)
        return b"".join(pieces)

    def read_into(self, offset: int, buffers: Sequence[bytearray | memoryview]) -> int:
        done = 0
        for start in range(0, len(buffers), _VECTORS_MAX):
            batch = buffers[start : start + _VECTORS_MAX]
            wanted = sum(map(len, batch))
            count = os.preadv(self._descriptor, batch, offset + done)
            done += count
            if count < wanted:
                break
        return done

    def read_into_nowait(self, offset: int, buffers: Sequence[bytearray], length: int) -> bool:
        if len(buffers) > _VECTORS_MAX:
            return False
        try:
            return os.preadv(self._descriptor, buffers, offset, os.RWF_NOWAIT) == length
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EOPNOTSUPP):
                return False
            raise

    def write(self, offset: int, buffers: Sequence[Buffer], length: int) -> None:
        if len(buffers) <= _VECTORS_MAX:
            written = self._write_vectors(offset, buffers, length)
            if written == length:
                return
        else:
            written = 0
        self._write_rest(offset, buffers, length, written)

    def _write_vectors(self, offset: int, buffers: Sequence[Buffer], length: int) -> int:
        if length >= UNCACHED_WRITE_BYTES_MIN and self._knows_uncached:
            try:
                return os.pwritev(self._descriptor, buffers, offset, _RWF_DONTCACHE)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                    raise
                self._knows_uncached = False
        return os.pwritev(self._descriptor, buffers, offset)

    def _write_rest(
        self, offset: int, buffers: Sequence[Buffer], length: int, written: int
    ) -> None:
        """After a short write: the next call tells the reason."""
        rest = memoryview(b"".join(buffers))
        assert len(rest) == length
        while written < length:
            count = os.pwrite(self._descriptor, rest[written:], offset + written)
            if count == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written += count

    def truncate(self, length: int) -> None:
        os.ftruncate(self._descriptor, length)

    def forget(self, offset: int, length: int) -> None:
        with suppress(OSError):
            os.posix_fadvise(self._descriptor, offset, length, os.POSIX_FADV_DONTNEED)

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def sync(self) -> None:
        os.fdatasync(self._descriptor)
        os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class PosixDevice:
    """The files of one directory, which exists."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def names(self) -> list[str]:
        return os.listdir(self._directory)

    def create(self, name: str) -> PosixFile:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        return PosixFile(os.open(self._directory / name, flags, 0o600))

    def open(self, name: str, writable: bool) -> PosixFile:
        flags = (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC
        return PosixFile(os.open(self._directory / name, flags))

    def remove(self, name: str) -> None:
        os.unlink(self._directory / name)

    def sync_names(self) -> None:
        descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def space(self) -> Space:
        figures = os.statvfs(self._directory)
        unit = figures.f_frsize
        return Space(figures.f_blocks * unit, figures.f_bfree * unit, figures.f_bavail * unit)
