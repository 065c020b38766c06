"""The HTTP server of the S3 door: connections and their bounds, from the first to a graceful end.

One task a connection, one that accepts for each socket, one that watches for clients that leave.
Beyond S3_CONNECTIONS_MAX a client is told to slow down, so is a request beyond S3_REQUESTS_MAX.
`stop` takes no more connections and requests, lets those that run end, within a bound.
"""

import contextlib
import logging
import socket
from collections.abc import Callable, Sequence

import trio

from objfs.base.limits import (
    S3_ACCEPT_RETRY_SECONDS,
    S3_CONNECTIONS_MAX,
    S3_CONNECTIONS_REFUSED_MAX,
    S3_HANDSHAKE_SECONDS_MAX,
    S3_PIECE_BYTES,
    S3_REQUESTS_MAX,
    S3_STOP_SECONDS_MAX,
)
from objfs.base.ports import Clock, Randomness
from objfs.s3 import listening
from objfs.s3.answers import Identity
from objfs.s3.bodies import Buffers
from objfs.s3.connection import Connection, Outcome
from objfs.s3.departures import Departures
from objfs.s3.http import Handler, Request
from objfs.s3.transport import SocketTransport, TlsTransport

logger = logging.getLogger(__name__)

_BUFFERS_KEPT_MAX = 32


class Server:
    """Serves a handler on sockets that are bound. `ended(outcome)` is told of every request."""

    def __init__(
        self,
        handler: Handler,
        sockets: Sequence[socket.socket],
        *,
        clock: Clock,
        randomness: Randomness,
        ended: Callable[[Outcome], None],
        tls: listening.Certificate | None = None,
        unbounded: Callable[[Request], bool] = lambda request: False,
    ) -> None:
        self.handler = handler
        self.clock = clock
        self.identity = Identity(clock, randomness)
        self.buffers = Buffers(_BUFFERS_KEPT_MAX)
        self.scratch = memoryview(bytearray(S3_PIECE_BYTES))  # what is thrown away goes here
        self.stopping = False
        self.requests = 0  # worked on now, of those that are bounded
        self.request_at = float("-inf")  # when the last one came, by the monotonic clock
        self._sockets = list(sockets)
        self.url = _url(self._sockets[0], tls is not None)  # for clients on this machine
        self._tls = tls
        self._ended = ended
        self._unbounded = unbounded  # requests that are answered however much there is to do
        self._departures = Departures()
        self._connections: set[Connection] = set()
        self._handshakes: set[trio.CancelScope] = set()
        self._count = 0  # of connections, those in their handshake too
        self._stop = trio.Event()
        self._empty = trio.Event()
        self._finished = trio.Event()

    @property
    def connections(self) -> int:
        """How many there are."""
        return self._count

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Started when clients can connect; returns after `stop`. Cancelled, it drops everybody.
        ListenError."""
        try:
            listening.listen(self._sockets)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._departures.run)
                accepting = trio.CancelScope()
                for each in self._sockets:
                    nursery.start_soon(self._accept, each, nursery, accepting)
                task_status.started()
                await self._stop.wait()
                accepting.cancel()
                self._accept_last(nursery)
                await self._end_connections()
                nursery.cancel_scope.cancel()
        finally:
            self.close()
            self._finished.set()

    async def stop(self) -> None:
        """Return when everything is answered, or S3_STOP_SECONDS_MAX have passed."""
        self.stopping = True
        self._stop.set()
        await self._finished.wait()

    def close(self) -> None:
        """Give up the sockets, listening or not."""
        for each in self._sockets:
            if each.fileno() >= 0:
                trio.lowlevel.notify_closing(each)
                each.close()

    async def _end_connections(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()  # those just accepted begin
        for connection in list(self._connections):
            connection.end_when_idle()
        for scope in self._handshakes:
            scope.cancel()
        with trio.move_on_after(S3_STOP_SECONDS_MAX) as scope:
            if self._count:
                await self._empty.wait()
        if scope.cancelled_caught:
            logger.warning("%d connections were cut off by the end of the service", self._count)

    # --- connections -----------------------------------------------------------------------------

    async def _accept(
        self, listener: socket.socket, nursery: trio.Nursery, until: trio.CancelScope
    ) -> None:
        with until:
            while True:
                await trio.lowlevel.wait_readable(listener)
                try:
                    self._accept_one(listener, nursery)
                except OSError as error:
                    logger.error("cannot accept connections: %s", error)
                    await trio.sleep(S3_ACCEPT_RETRY_SECONDS)

    def _accept_last(self, nursery: trio.Nursery) -> None:
        """Those who are connected, as they see it."""
        with contextlib.suppress(OSError):
            for each in self._sockets:
                while self._accept_one(each, nursery):
                    pass

    def _accept_one(self, listener: socket.socket, nursery: trio.Nursery) -> bool:
        """False when nobody waits to be accepted. OSError."""
        try:
            connection, address = listener.accept()
        except BlockingIOError:
            return False
        except ConnectionError:  # it went while it waited
            return True
        if self._count >= S3_CONNECTIONS_MAX + S3_CONNECTIONS_REFUSED_MAX:
            connection.close()
            return True
        self._count += 1
        nursery.start_soon(self._converse, connection, address[0])
        return True

    async def _converse(self, connection: socket.socket, peer: str) -> None:
        admitted = self._count <= S3_CONNECTIONS_MAX
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            transport = await self._transport(connection, peer)
            if transport is None:
                return
            serving = Connection(transport, self, admitted=admitted)
            descriptor = transport.fileno()
            self._departures.watch(descriptor, serving.peer_left)
            transport.on_close = lambda: self._departures.forget(descriptor)
            self._connections.add(serving)
            try:
                await serving.run()
            finally:
                self._connections.discard(serving)
        except OSError as error:
            logger.debug("the connection of %s broke: %s", peer, error)
        finally:
            connection.close()
            self._count -= 1
            if not self._count:
                self._empty.set()
                self._empty = trio.Event()

    async def _transport(self, connection: socket.socket, peer: str) -> SocketTransport | None:
        """After the handshake of TLS; None if that takes too long. OSError."""
        if self._tls is None:
            return SocketTransport(connection, peer)
        transport = TlsTransport(connection, peer, self._tls.context())
        ready = False
        scope = trio.move_on_after(S3_HANDSHAKE_SECONDS_MAX)
        self._handshakes.add(scope)
        try:
            with scope:
                await transport.handshake()
                ready = True
        finally:
            self._handshakes.discard(scope)
            if not ready:
                transport.close()
        return transport if ready else None

    # --- requests --------------------------------------------------------------------------------

    def begin(self, request: Request) -> bool:
        """See Surroundings."""
        self.request_at = self.clock.monotonic()
        if self.requests >= S3_REQUESTS_MAX and not self._unbounded(request):
            return False
        self.requests += 1
        return True

    def end(self, outcome: Outcome, counted: bool) -> None:
        """See Surroundings."""
        self.requests -= counted
        self._ended(outcome)


def _url(listener: socket.socket, secure: bool) -> str:
    address = listening.bound_address(listener)
    host = {"::": "localhost", "0.0.0.0": "127.0.0.1"}.get(address.host, address.host)
    return f"{'https' if secure else 'http'}://{address._replace(host=host)}"
