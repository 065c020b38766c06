"""Mount points: what is mounted where, is it usable, and taking a mount away.

Everything here may block on a mount, so it runs in threads while the loop serves; only the kernel's
list (/proc/self/mountinfo) never does.
"""

import ctypes
import errno
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from objfs.base.errors import Busy, MountError
from objfs.base.limits import KERNEL_DIRTY_BYTES, KERNEL_READ_AHEAD_BYTES, KIB

FILESYSTEM = "fuse.objfs"
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8

_OCTAL = re.compile(rb"\\([0-7]{3})")
_libc = ctypes.CDLL(None, use_errno=True)  # its calls release the interpreter's lock


class Mounted(NamedTuple):
    """A line of the kernel's list."""

    point: bytes
    filesystem: str
    source: bytes
    device: str  # major:minor


def parse_mountinfo(text: bytes) -> list[Mounted]:
    """The lines of /proc/self/mountinfo (proc_pid_mountinfo(5)), oldest first."""
    mounts = []
    for line in text.splitlines():
        before, _, after = line.partition(b" - ")
        fields, tail = before.split(b" "), after.split(b" ")
        mounts.append(
            Mounted(_unescape(fields[4]), tail[0].decode(), _unescape(tail[1]), fields[2].decode())
        )
    return mounts


def _unescape(field: bytes) -> bytes:
    return _OCTAL.sub(lambda match: bytes([int(match[1], 8)]), field)


def mounted_at(point: bytes) -> Mounted | None:
    """What is mounted at an absolute path without symlinks: the uppermost."""
    mounts = parse_mountinfo(Path("/proc/self/mountinfo").read_bytes())
    return next((mount for mount in reversed(mounts) if mount.point == point), None)


def prepare(mountpoint: Path) -> bytes:
    """The mount point as an absolute path without symlinks, ready to be mounted on. A dead mount of
    ours is taken away first. MountError."""
    point = os.path.realpath(os.fsencode(mountpoint))
    mount = mounted_at(point)
    if mount is not None:
        _take_away_if_dead(mount, mountpoint)
    try:
        mode = os.stat(point).st_mode
    except OSError as error:
        raise MountError(_why(mountpoint, error)) from error
    if not stat.S_ISDIR(mode):
        raise MountError(f"{mountpoint}: a mount point has to be a directory, and this is none")
    return point


def _take_away_if_dead(mount: Mounted, shown: Path) -> None:
    source = os.fsdecode(mount.source)
    try:
        os.stat(mount.point)
    except OSError as error:
        if error.errno == errno.ENOTCONN and mount.filesystem == FILESYSTEM:
            unmount(mount.point, lazy=True)
            return
        raise MountError(_why(shown, error)) from error
    raise MountError(
        f"{shown}: busy: {source} ({mount.filesystem}) is mounted there; unmount that, or use "
        "another directory"
    )


def _why(shown: Path, error: OSError) -> str:
    match error.errno:
        case errno.ENOENT:
            return f"{shown}: the mount point is missing; make it with: mkdir {shown}"
        case errno.ENOTCONN:
            return f"{shown}: a dead mount is there; take it away with: umount {shown}"
        case _:
            return f"{shown}: {error.strerror}"


def unmount(point: bytes, *, lazy: bool) -> None:
    """umount2(2), or fusermount3 where only that may. Blocks until dirty pages arrived. `lazy`
    takes it out of the tree of names at once, whoever uses it. Busy, MountError."""
    if os.geteuid() != 0:
        _fusermount(point, lazy)
        return
    if _libc.umount2(point, UMOUNT_NOFOLLOW | (MNT_DETACH if lazy else 0)) == 0:
        return
    number = ctypes.get_errno()
    if number == errno.EBUSY:
        raise Busy(f"{os.fsdecode(point)} is in use")
    raise MountError(f"{os.fsdecode(point)} cannot be unmounted: {os.strerror(number)}")


def _fusermount(point: bytes, lazy: bool) -> None:
    program = shutil.which("fusermount3")
    if program is None:
        raise MountError("fusermount3 is missing: install the package fuse3")
    command = [program, "-u", *(["-z"] if lazy else []), "--", os.fsdecode(point)]
    environment = os.environ | {"LC_ALL": "C"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        reason = done.stderr.strip()
        raise Busy(reason) if "busy" in reason else MountError(reason)


@contextmanager
def held_open(point: bytes) -> Iterator[int]:
    """A descriptor of the mounted root, which stays valid when the mount is detached."""
    descriptor = os.open(point, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def sync_filesystem(descriptor: int) -> None:
    """syncfs(2): the kernel's dirty pages of that filesystem are written to us."""
    if _libc.syncfs(descriptor) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def tune_kernel(device: str) -> bool:
    """Let the kernel read further ahead in the mount, and gather fewer dirty pages before it
    writes: a small file's pages queue behind those of a large one. False where a setting is not
    permitted, or not known to the kernel."""
    settings = {
        "read_ahead_kb": KERNEL_READ_AHEAD_BYTES // KIB,
        "max_bytes": KERNEL_DIRTY_BYTES,
    }
    done = True
    for name, value in settings.items():
        try:
            (Path("/sys/class/bdi") / device / name).write_text(str(value))
        except OSError:  # an ordinary user, a container without a writable /sys, an old kernel
            done = False
    return done


def abort_connection(device: str) -> bool:
    """End a connection to the kernel, with the requests in it. False where that is not possible."""
    connection = Path("/sys/fs/fuse/connections") / device.partition(":")[2]
    try:
        (connection / "abort").write_text("1")
    except OSError:  # it is gone, or fusectl is not mounted: closing the device does the same
        return False
    return True
