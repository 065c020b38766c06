"""One process owns a store: an flock on STORE/lock, whose text names the owner.

The kernel drops the lock when the owner ends, however it ends, so a lock file that is left over
means nothing. The text is for people, and may be of an owner that is gone; only the flock counts.
A child of `fork` shares the lock; `rewrite` puts its own pid there.
"""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Final

import msgspec

from objfs.base.errors import StoreHeld

_TEXT_BYTES_MAX: Final = 4096


class LockOwner(msgspec.Struct, frozen=True):
    """Who holds a store."""

    pid: int
    host: str
    command: str


class StoreLock:
    """A held lock. Made by `acquire`; a context manager."""

    def __init__(self, descriptor: int, command: str) -> None:
        self._descriptor = descriptor
        self._command = command

    @classmethod
    def acquire(cls, path: Path, command: str) -> "StoreLock":
        """Take the lock, at once or not at all. StoreHeld, with who has it; OSError."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            text = os.pread(descriptor, _TEXT_BYTES_MAX, 0)
            os.close(descriptor)
            raise StoreHeld(f"{path.parent}: {_describe(text)}") from error
        except BaseException:
            os.close(descriptor)
            raise
        lock = cls(descriptor, command)
        lock.rewrite()
        return lock

    def rewrite(self) -> None:
        """Name this process as the owner; after a fork, in the child."""
        command = self._command[:1024].encode(errors="backslashreplace").decode()
        owner = LockOwner(os.getpid(), os.uname().nodename, command)
        text = msgspec.json.encode(owner) + b"\n"
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, text, 0)

    def release(self) -> None:
        """Give the lock up; again is harmless. In a process that forked, the other one keeps it."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> "StoreLock":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


def _describe(text: bytes) -> str:
    try:
        owner = msgspec.json.decode(text, type=LockOwner)
    except msgspec.DecodeError:  # its owner is just writing it
        return "another process owns this store; stop it, or use its mount"
    return (
        f"process {owner.pid} on {owner.host} ({owner.command}) owns this store; "
        "stop it, or use its mount"
    )
