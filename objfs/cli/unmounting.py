"""Taking a mount away: `objfs umount` returns when everything is durable and the process is gone.

A mount whose process died is detached; nothing is asked of it. Whether the process that owns the
store serves this mount, or another one, is learned from itself.
"""

import os
import select

from objfs.base.errors import Busy, MountError, StoreError
from objfs.cli import mountinfo, presence
from objfs.cli.control_client import ControlClient
from objfs.cli.mountinfo import FILESYSTEM, Mount
from objfs.cli.targets import absolute, serving_owner
from objfs.fuse import mount_point


def objfs_mount_at(text: str) -> Mount:
    """The objfs mount at a mount point. MountError."""
    point = absolute(text)
    mount = mountinfo.mount_at(point, mountinfo.read_mounts())
    if mount is None:
        raise MountError(f"{text}: nothing is mounted there")
    if mount.filesystem != FILESYSTEM:
        raise MountError(f"{text}: this is no objfs mount but {mount.filesystem}; use umount(8)")
    return mount


def unmount(text: str, lazy: bool) -> str:
    """Unmount; what was done, in words. Busy, MountError, StoreError when it is not durable."""
    mount = objfs_mount_at(text)
    client = serving_owner(mount)
    if client is None:
        server = presence.server_of(mount.device)
        if server is not None:
            return _unmount_beside(text, mount, server, lazy)
        kernel_unmount(mount.point, lazy=True)
        return f"{text}: its process was gone; took the dead mount away"
    with client:
        if lazy:
            client.call("sync")
            kernel_unmount(mount.point, lazy=True)
            return f"{text}: durable and detached; its process ends with the last user"
        elsewhere = [
            each.point
            for each in mountinfo.read_mounts()
            if each.device == mount.device and each.point != mount.point
        ]
        if elsewhere:  # the process goes on for those
            client.call("sync")
            kernel_unmount(mount.point, lazy=False)
            return (
                f"{text}: unmounted and durable; still mounted at "
                f"{', '.join(map(os.fsdecode, elsewhere))}"
            )
        process = os.pidfd_open(client.call("status")["owner"]["pid"])
        try:
            _unmount_and_wait(client, mount.point, process)
        finally:
            os.close(process)
    return f"{text}: unmounted, everything is durable"


def _unmount_beside(text: str, mount: Mount, server: int, lazy: bool) -> str:
    """A mount of a moment, by a process that does not own the store: there is nothing to write."""
    process = os.pidfd_open(server)
    try:
        kernel_unmount(mount.point, lazy=lazy)
        mounts = mountinfo.read_mounts()
        if not lazy and all(each.device != mount.device for each in mounts):
            select.select([process], [], [])
    finally:
        os.close(process)
    return f"{text}: {'detached' if lazy else 'unmounted'}"


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
    """Take a mount away. Busy, MountError."""
    try:
        mount_point.unmount(point, lazy=lazy)
    except Busy as error:
        name = os.fsdecode(point)
        raise Busy(
            f"{name} is in use (`fuser -vm {name}` shows by whom); close that, or use "
            f"`objfs umount --lazy {name}`"
        ) from error
