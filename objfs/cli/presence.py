"""How a mount that does not own its store is found: it listens on an abstract socket named by the
mount's device number. The kernel says who listens; nothing is said over it, nothing is written
anywhere, and it is gone with the process.
"""

import logging
import os
import socket
import struct

import trio

logger = logging.getLogger(__name__)

_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid: struct ucred of unix(7)
_WAITING_MAX = 16


def _name(device: str) -> bytes:
    return b"\0objfs-mount-" + device.encode()


async def announce(device: str) -> None:
    """Be found as the server of the mount with this device number, until cancelled."""
    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        try:
            await listener.bind(_name(device))
        except OSError as error:
            logger.error("the mount %s cannot announce itself: %s", device, error)
            return
        listener.listen(_WAITING_MAX)
        while True:
            connection, _ = await listener.accept()
            connection.close()


def server_of(device: str) -> int | None:
    """The process that announced itself for this mount; None when there is none."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(_name(device))
        except OSError:
            return None
        found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(found)
    return pid if uid in (0, os.getuid()) or os.getuid() == 0 else None
