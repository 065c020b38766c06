"""The control socket: other processes' commands, run by the owner of a store.

One task per connection, at most CONTROL_CONNECTIONS_MAX; requests of a connection run one after the
other. A command that fails is answered, and nothing that a peer sends ends the mount. The socket is
0600: who may connect may do anything that the store's owner may.

`wait_closed` is answered when the volume is closed: how `objfs umount` learns that all is durable.
"""

import logging
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio

from objfs.base.errors import Busy, InvalidRequest, ObjfsError
from objfs.base.limits import (
    CONTROL_CONNECTIONS_MAX,
    CONTROL_GOODBYE_SECONDS_MAX,
    CONTROL_IDLE_SECONDS_MAX,
)
from objfs.maint.protocol import (
    LENGTH_BYTES,
    Request,
    Response,
    body_bytes,
    decode_request,
    encode,
    failure_of,
)

logger = logging.getLogger(__name__)

SOCKET_NAME = "control.sock"
WAIT_CLOSED = "wait_closed"

RunCommand = Callable[[str, dict[str, Any]], Awaitable[object]]


def open_listener(directory: Path) -> socket.socket:
    """A listening socket `control.sock` in `directory`; replaces one that an owner left behind.
    Call it only as the owner of the store."""
    # The path of a socket may have 107 bytes only; through the descriptor it is always short.
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        here = Path(f"/proc/self/fd/{descriptor}")
        new = here / (SOCKET_NAME + ".new")
        new.unlink(missing_ok=True)
        listener.bind(str(new))
        new.chmod(stat.S_IRUSR | stat.S_IWUSR)  # nobody can connect before listen
        listener.listen(CONTROL_CONNECTIONS_MAX)
        new.replace(here / SOCKET_NAME)
    except OSError:
        listener.close()
        raise
    finally:
        os.close(descriptor)
    return listener


class ControlServer:
    """Answers on the control socket of the store in `directory` until cancelled."""

    def __init__(self, directory: Path, run: RunCommand) -> None:
        self._directory = directory
        self._run = run
        self._connections = 0
        self._waiting = 0  # connections that wait for the end
        self._closed = trio.Event()
        self._told = trio.Event()  # everybody who waited knows
        self._failure: ObjfsError | None = None

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Started when commands can come. Removes the socket at its end."""
        listener = open_listener(self._directory)
        try:
            stream = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
            task_status.started()
            await trio.serve_listeners(self._converse, [stream])
        finally:
            (self._directory / SOCKET_NAME).unlink(missing_ok=True)

    async def finish(self, failure: ObjfsError | None) -> None:
        """The volume is closed, or failed to close: tell those who wait for that. Bounded."""
        self._failure = failure
        self._told = trio.Event()
        self._closed.set()
        with trio.move_on_after(CONTROL_GOODBYE_SECONDS_MAX, shield=True):
            if self._waiting:
                await self._told.wait()

    async def _converse(self, stream: trio.SocketStream) -> None:
        self._connections += 1
        try:
            async with stream:
                if self._connections > CONTROL_CONNECTIONS_MAX:
                    error = Busy("too many commands are running on this store; try again later")
                    await stream.send_all(encode(Response(error=failure_of(error))))
                    return
                while await self._answer_one(stream):
                    pass
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            logger.debug("a command's process went away before its answer")
        finally:
            self._connections -= 1

    async def _answer_one(self, stream: trio.SocketStream) -> bool:
        """False when the peer is done, or not to be talked to."""
        try:
            request = await self._receive(stream)
        except InvalidRequest as error:
            await stream.send_all(encode(Response(error=failure_of(error))))
            return False
        if request is None:
            return False
        if request.command == WAIT_CLOSED:
            await self._answer_closed(stream)
        else:
            await stream.send_all(await self._response(request))
        return True

    async def _response(self, request: Request) -> bytes:
        try:
            return encode(Response(result=await self._run(request.command, request.arguments)))
        except ObjfsError as error:
            return encode(Response(error=failure_of(error)))
        except Exception as error:  # a bug in a command must not end the mount
            logger.exception("the command %s failed unexpectedly", request.command)
            text = f"{request.command} failed unexpectedly ({error!r}); the store's log says where"
            return encode(Response(error=failure_of(ObjfsError(text))))

    async def _answer_closed(self, stream: trio.SocketStream) -> None:
        self._waiting += 1
        try:
            # First answer: it is noted. Second: it has happened.
            await stream.send_all(encode(Response(result="waiting")))
            await self._closed.wait()
            failure = None if self._failure is None else failure_of(self._failure)
            with trio.CancelScope(shield=True):
                await stream.send_all(encode(Response(result="closed", error=failure)))
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._told.set()

    @staticmethod
    async def _receive(stream: trio.SocketStream) -> Request | None:
        """None at the end of the stream, and when nothing came for too long."""
        with trio.move_on_after(CONTROL_IDLE_SECONDS_MAX):
            length = await _receive_exactly(stream, LENGTH_BYTES)
            if length is None:
                return None
            body = await _receive_exactly(stream, body_bytes(length))
            return None if body is None else decode_request(body)
        return None


async def _receive_exactly(stream: trio.SocketStream, count: int) -> bytes | None:
    received = bytearray()
    while len(received) < count:
        chunk = await stream.receive_some(count - len(received))
        if not chunk:
            return None
        received += chunk
    return bytes(received)
