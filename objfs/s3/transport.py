"""Sockets of the S3 door: plain, and with TLS.

System calls are tried first and waited for only when they would block, so that what is there
already costs no round through the scheduler; after S3_TURN_BYTES the other tasks get their turn.
TLS runs on the socket itself: OpenSSL decrypts straight into the buffer of who reads. Errors are
OSError (ssl.SSLError is one) and S3Error for a peer that is too slow.
"""

import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Protocol

import trio

from objfs.base.limits import (
    KIB,
    S3_LINGER_BYTES_MAX,
    S3_LINGER_SECONDS_MAX,
    S3_LINGER_STALL_SECONDS_MAX,
    S3_STALL_BYTES,
    S3_STALL_SECONDS_MAX,
    S3_TURN_BYTES,
)
from objfs.s3.errors import S3Error
from objfs.s3.http import Bytes

_PIECES_MAX = 64  # of one sendmsg
_JOINED_BYTES_MAX = 16 * KIB  # what goes into one record of TLS


class Transport(Protocol):
    """A connection's bytes. `receive` and `send` wait as long as the peer makes progress."""

    secure: bool
    peer: str

    def arrived(self) -> bool:
        """Whether the peer has sent something that was not received yet."""

    async def wait_readable(self) -> None:
        """Return when the peer sent something, or ended: however long that takes."""

    async def receive_into(self, buffer: memoryview) -> int:
        """At least one byte; 0 at the end."""

    async def send(self, pieces: Sequence[Bytes]) -> None:
        """All of it, in order."""

    async def linger(self, scratch: memoryview) -> None:
        """Say that nothing more comes, and let the peer send on for a while: it reads the answer
        before it finds the connection closed. Ends the transport."""

    def close(self) -> None:
        """End the connection; also what is half sent."""


class Patience:
    """How long a peer may keep us waiting: S3_STALL_SECONDS_MAX for every S3_STALL_BYTES."""

    def __init__(self) -> None:
        self._moved = 0
        self._waited = 0.0

    def moved(self, count: int) -> None:
        """The peer sent or took so much."""
        self._moved += count
        if self._moved >= S3_STALL_BYTES:
            self._moved = 0
            self._waited = 0.0

    async def wait(self, until: "Wait", connection: socket.socket) -> None:
        """Wait with what is left of the time. S3Error."""
        begin = trio.current_time()
        with trio.move_on_at(begin + S3_STALL_SECONDS_MAX - self._waited) as scope:
            await until(connection)
        if scope.cancelled_caught:
            raise S3Error("RequestTimeout")
        self._waited += trio.current_time() - begin


class SocketTransport:
    """A connected TCP socket."""

    secure = False

    def __init__(self, connection: socket.socket, peer: str) -> None:
        connection.setblocking(False)
        self.peer = peer
        self._socket = connection
        self._receiving = Patience()
        self._sending = Patience()
        self._turn = 0  # bytes since other tasks had theirs
        self.on_close: Callable[[], None] = lambda: None  # called while the descriptor is ours

    def fileno(self) -> int:
        return self._socket.fileno()

    def pending(self) -> bool:
        """Whether bytes are there that the socket does not show any more."""
        return False

    def arrived(self) -> bool:
        """See Transport. What was not decrypted yet counts."""
        try:
            # Past TLS: an SSLSocket has no flags.
            return self.pending() or socket.socket.recv(self._socket, 1, socket.MSG_PEEK) != b""
        except OSError:
            return False

    async def wait_readable(self) -> None:
        """Return when the peer sent something, or ended. Always a checkpoint."""
        if self.pending():
            await trio.lowlevel.checkpoint()
        else:
            await trio.lowlevel.wait_readable(self._socket)

    async def receive_into(self, buffer: memoryview) -> int:
        while True:
            try:
                count = self._receive_nowait(buffer)
            except (BlockingIOError, ssl.SSLWantReadError):
                await self._receiving.wait(trio.lowlevel.wait_readable, self._socket)
            except ssl.SSLWantWriteError:
                await self._receiving.wait(trio.lowlevel.wait_writable, self._socket)
            else:
                self._receiving.moved(count)
                await self._take_turns(count)
                return count

    async def send(self, pieces: Sequence[Bytes]) -> None:
        left = [memoryview(piece) for piece in pieces if len(piece)]
        while left:
            try:
                count = self._send_nowait(left)
            except (BlockingIOError, ssl.SSLWantWriteError):
                await self._sending.wait(trio.lowlevel.wait_writable, self._socket)
            except ssl.SSLWantReadError:
                await self._sending.wait(trio.lowlevel.wait_readable, self._socket)
            else:
                self._sending.moved(count)
                left = _after(left, count)
                await self._take_turns(count)

    def _receive_nowait(self, buffer: memoryview) -> int:
        return self._socket.recv_into(buffer)

    def _send_nowait(self, pieces: list[memoryview]) -> int:
        if len(pieces) == 1:
            return self._socket.send(pieces[0])
        return self._socket.sendmsg(pieces[:_PIECES_MAX])

    async def _take_turns(self, count: int) -> None:
        self._turn += count
        if self._turn >= S3_TURN_BYTES:
            self._turn = 0
            await trio.lowlevel.checkpoint()

    async def linger(self, scratch: memoryview) -> None:
        try:
            with trio.move_on_after(S3_LINGER_SECONDS_MAX):
                await self._end_writing()
                await self._discard(scratch)
        except OSError:
            pass  # it is gone; that is what was waited for
        finally:
            self.close()

    async def _end_writing(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    async def _discard(self, scratch: memoryview) -> None:
        """Receive until the peer ends, without looking: with MSG_TRUNC the kernel copies nothing
        (tcp(7)). Under TLS this reads past it."""
        left = S3_LINGER_BYTES_MAX
        while left > 0:
            try:
                count = self._socket.recv_into(scratch, len(scratch), socket.MSG_TRUNC)
            except BlockingIOError:
                with trio.move_on_after(S3_LINGER_STALL_SECONDS_MAX) as scope:
                    await trio.lowlevel.wait_readable(self._socket)
                if scope.cancelled_caught:
                    return
                continue
            if not count:
                return
            left -= count
            await self._take_turns(count)

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            self.on_close()
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()


class Wait(Protocol):
    async def __call__(self, connection: socket.socket, /) -> None: ...


def _after(pieces: list[memoryview], count: int) -> list[memoryview]:
    """What is left of `pieces` after `count` bytes."""
    for index, piece in enumerate(pieces):
        if count < len(piece):
            return [piece[count:], *pieces[index + 1 :]]
        count -= len(piece)
    return []


class TlsTransport(SocketTransport):
    """The same under TLS."""

    secure = True
    _socket: ssl.SSLSocket

    def __init__(self, connection: socket.socket, peer: str, context: ssl.SSLContext) -> None:
        connection.setblocking(False)
        wrapped = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        super().__init__(wrapped, peer)

    async def handshake(self) -> None:
        """Before anything else. OSError."""
        while True:
            try:
                return self._socket.do_handshake()
            except ssl.SSLWantReadError:
                await trio.lowlevel.wait_readable(self._socket)
            except ssl.SSLWantWriteError:
                await trio.lowlevel.wait_writable(self._socket)

    def pending(self) -> bool:
        return self._socket.pending() > 0

    def _send_nowait(self, pieces: list[memoryview]) -> int:
        first = pieces[0]
        if len(pieces) > 1 and len(first) < _JOINED_BYTES_MAX:
            # OpenSSL wants the same bytes again after it had to wait: joining gives them.
            first = memoryview(b"".join([first, pieces[1][: _JOINED_BYTES_MAX - len(first)]]))
        return self._socket.send(first[:S3_TURN_BYTES])

    async def _end_writing(self) -> None:
        try:
            self._socket.unwrap()
        except ssl.SSLWantWriteError:
            await trio.lowlevel.wait_writable(self._socket)
        except (ssl.SSLError, ValueError):
            pass  # our goodbye is sent; the peer's comes after what it is sending now
        self._socket.shutdown(socket.SHUT_WR)  # from here on the socket is a plain one
