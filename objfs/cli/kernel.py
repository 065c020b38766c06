"""The two system calls about mounts that Python does not have."""

import ctypes
import os

MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8


def umount2(point: bytes, lazy: bool) -> None:
    """umount2(2): a lazy one detaches at once and ends with the last user. OSError."""
    flags = UMOUNT_NOFOLLOW | (MNT_DETACH if lazy else 0)
    _call(_libc().umount2(point, flags), point)


def syncfs(directory: bytes) -> None:
    """syncfs(2): the kernel hands over what it holds of writes to this file system. OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _call(_libc().syncfs(descriptor), directory)
    finally:
        os.close(descriptor)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(result: int, path: bytes) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), os.fsdecode(path))
