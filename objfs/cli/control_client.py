"""A command's end of the control socket: blocking, one connection."""

import os
import socket
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from objfs.base.errors import StoreError
from objfs.maint.control import SOCKET_NAME, WAIT_CLOSED
from objfs.maint.protocol import (
    LENGTH_BYTES,
    Request,
    Response,
    body_bytes,
    decode_response,
    encode,
    error_of,
)


def connect(directory: Path) -> "ControlClient | None":
    """None when no process listens for the store in `directory`."""
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(f"/proc/self/fd/{descriptor}/{SOCKET_NAME}")
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    except OSError:
        connection.close()
        raise
    finally:
        os.close(descriptor)
    return ControlClient(connection, directory)


class ControlClient:
    """Runs commands in the process that owns a store."""

    def __init__(self, connection: socket.socket, directory: Path) -> None:
        self._connection = connection
        self._directory = directory

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up; waiting ends."""
        self._connection.close()

    def call(self, command: str, arguments: dict[str, Any] | None = None) -> Any:
        """What the command gave, or its error as if it had run here."""
        self._send(Request(command=command, arguments=arguments or {}))
        return self._receive().result

    def announce_wait(self) -> None:
        """Ask to be told when the volume is closed; `wait_closed` waits for it."""
        self.call(WAIT_CLOSED)

    def wait_closed(self) -> None:
        """Returns when the volume is closed and durable; raises what prevented it."""
        self._receive()

    def _send(self, request: Request) -> None:
        try:
            self._connection.sendall(encode(request))
        except (BrokenPipeError, ConnectionResetError):
            self._receive()  # it hung up before it read: it may have said why
            raise self._gone() from None

    def _receive(self) -> Response:
        response = decode_response(self._exactly(body_bytes(self._exactly(LENGTH_BYTES))))
        if response.error is not None:
            raise error_of(response.error)
        return response

    def _exactly(self, count: int) -> bytes:
        received = bytearray()
        while len(received) < count:
            try:
                chunk = self._connection.recv(count - len(received))
            except ConnectionResetError as error:
                raise self._gone() from error
            if not chunk:
                raise self._gone()
            received += chunk
        return bytes(received)

    def _gone(self) -> StoreError:
        return StoreError(
            f"{self._directory}: the process that owned the store ended before it answered; "
            f"{self._directory}/log/objfs.log says why"
        )
