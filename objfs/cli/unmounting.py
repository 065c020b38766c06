"""Taking a mount away: `objfs umount` returns when everything is durable and the process is gone.

A mount whose process died is detached; nothing is asked of it. Whether the process that owns the
store serves this mount, or another one, is learned from itself.
"""

import errno
import os
import select
import shutil
import subprocess
from pathlib import Path

from objfs.base.errors import Busy, MountError, StoreError
from objfs.cli import control_client, kernel, mountinfo
from objfs.cli.control_client import ControlClient
from objfs.cli.mountinfo import FILESYSTEM, Mount
from objfs.cli.store_directory import is_store
from objfs.cli.targets import absolute


def objfs_mount_at(text: str) -> Mount:
    """The objfs mount at a mount point. MountError."""
    point = absolute(text)
    mount = mountinfo.mount_at(point, mountinfo.read_mounts())
    if mount is None:
        raise MountError(f"{text}: nothing is mounted there")
    if mount.filesystem != FILESYSTEM:
        raise MountError(f"{text}: this is no objfs mount but {mount.filesystem}; use umount(8)")
    return mount


def serving_owner(mount: Mount) -> ControlClient | None:
    """A connection to the process that serves this mount; None when it is dead."""
    source = mountinfo.parse_source(mount.source, is_store)
    if source is None:
        return None
    client = control_client.connect(Path(os.fsdecode(source.store)))
    if client is None:
        return None
    owner = client.call("status").get("owner")
    if owner is not None and os.fsencode(owner["mountpoint"]) == mount.point:
        return client
    client.close()
    return None


def unmount(text: str, lazy: bool) -> str:
    """Unmount; what was done, in words. Busy, MountError, StoreError when it is not durable."""
    mount = objfs_mount_at(text)
    client = serving_owner(mount)
    if client is None:
        kernel_unmount(mount.point, lazy=True)
        return f"{text}: its process was gone; took the dead mount away"
    with client:
        if lazy:
            client.call("sync")
            kernel_unmount(mount.point, lazy=True)
            return f"{text}: durable and detached; its process ends with the last user"
        process = os.pidfd_open(client.call("status")["owner"]["pid"])
        try:
            _unmount_and_wait(client, mount.point, process)
        finally:
            os.close(process)
    return f"{text}: unmounted, everything is durable"


def _unmount_and_wait(client: ControlClient, point: bytes, process: int) -> None:
    client.announce_wait()
    kernel_unmount(point, lazy=False)
    try:
        client.wait_closed()
    except StoreError as error:
        raise type(error)(
            f"{os.fsdecode(point)} is unmounted, but not all of it may be durable: {error}"
        ) from error
    finally:
        select.select([process], [], [])


def kernel_unmount(point: bytes, lazy: bool) -> None:
    """umount2(2), or fusermount3 where only that may. Busy, MountError."""
    if os.geteuid() == 0:
        _umount2(point, lazy)
        return
    program = shutil.which("fusermount3")
    if program is None:
        raise MountError("fusermount3 is missing: install the package fuse3")
    command = [program, "-u", *(["-z"] if lazy else []), "--", os.fsdecode(point)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"LC_ALL": "C"}
    )
    if done.returncode:
        reason = done.stderr.strip()
        raise _busy(point) if "busy" in reason else MountError(reason)


def _umount2(point: bytes, lazy: bool) -> None:
    try:
        kernel.umount2(point, lazy)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise _busy(point) from error
        name = os.fsdecode(point)
        raise MountError(f"{name}: it cannot be unmounted: {error.strerror}") from error


def _busy(point: bytes) -> Busy:
    name = os.fsdecode(point)
    return Busy(
        f"{name} is in use (`fuser -vm {name}` shows by whom); close that, or use "
        f"`objfs umount --lazy {name}`"
    )
