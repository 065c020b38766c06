"""Whether a directory can be mounted on: checked before anything is opened. A message says what to
do. Never touches a mount that may be dead."""

import errno
import os
import stat
from pathlib import Path

from objfs.base.errors import MountError
from objfs.cli import mountinfo, presence
from objfs.cli.mountinfo import FILESYSTEM, Mount, is_below
from objfs.cli.targets import absolute, serving_owner
from objfs.cli.unmounting import kernel_unmount


def prepare_mount_point(text: str, store: Path, nonempty: bool) -> Path:
    """The mount point as an absolute path. A dead mount of ours is taken away. MountError."""
    point = absolute(text)
    mount = mountinfo.mount_at(point, mountinfo.read_mounts())
    if mount is not None:
        _clear(mount, text)
    _check_directory(point, text, nonempty)
    if is_below(point, os.fsencode(store)):
        raise MountError(f"{text}: this lies in the store {store}; mount it somewhere else")
    if is_below(os.fsencode(store), point):
        raise MountError(
            f"{text}: the store {store} lies in it and would be hidden; mount it somewhere else"
        )
    return Path(os.fsdecode(point))


def _clear(mount: Mount, text: str) -> None:
    shown = os.fsdecode(mount.source)
    if mount.filesystem != FILESYSTEM:
        raise MountError(
            f"{text}: busy: {shown} ({mount.filesystem}) is mounted there; use another directory"
        )
    client = serving_owner(mount)
    if client is not None:
        client.close()
    if client is not None or presence.server_of(mount.device) is not None:
        raise MountError(
            f"{text}: busy: {shown} is mounted there already; `objfs umount {text}` ends that"
        )
    kernel_unmount(mount.point, lazy=True)


def _check_directory(point: bytes, text: str, nonempty: bool) -> None:
    try:
        mode = os.stat(point).st_mode
        entries = os.listdir(point) if stat.S_ISDIR(mode) else []
    except OSError as error:
        raise MountError(_why(error, text)) from error
    if not stat.S_ISDIR(mode):
        raise MountError(f"{text}: a mount point has to be a directory, and this is none")
    if entries and not nonempty:
        raise MountError(
            f"{text}: the directory is not empty and a mount would hide what is in it; "
            "use an empty one, or -o nonempty"
        )


def _why(error: OSError, text: str) -> str:
    match error.errno:
        case errno.ENOENT:
            return f"{text}: the mount point is missing; make it with: mkdir {text}"
        case errno.ENOTDIR:
            return f"{text}: a part of the path is no directory"
        case errno.ENOTCONN:
            return f"{text}: a dead mount of another program is there; take it away: umount {text}"
        case _:
            return f"{text}: {error.strerror}"
