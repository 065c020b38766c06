"""A server of HTTP in the test's own loop: on sockets of 127.0.0.1, and on streams in memory."""

import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
import trio
import trio.testing

from bench.certificate import make_certificate
from objfs.base.ports import Clock
from objfs.base.system import SystemClock, SystemRandomness
from objfs.s3.answers import Identity
from objfs.s3.bodies import Buffers
from objfs.s3.connection import Connection, Outcome
from objfs.s3.http import Bytes, Handler, Request
from objfs.s3.listening import Address, Certificate, bind
from objfs.s3.server import Server

MemoryStream = trio.StapledStream[trio.testing.MemorySendStream, trio.testing.MemoryReceiveStream]


# --- In memory ------------------------------------------------------------------------------------


class MemoryTransport:
    """One end of a pair of streams in memory, as a connection wants it."""

    secure = False
    peer = "memory"

    def __init__(self, stream: MemoryStream) -> None:
        self._stream = stream
        self._seen = b""
        self.lingered = False

    def arrived(self) -> bool:
        return bool(self._seen)

    async def wait_readable(self) -> None:
        if not self._seen:
            self._seen = bytes(await self._stream.receive_some())

    async def receive_into(self, buffer: memoryview) -> int:
        if not self._seen:
            self._seen = bytes(await self._stream.receive_some(len(buffer)))
        taken, self._seen = self._seen[: len(buffer)], self._seen[len(buffer) :]
        buffer[: len(taken)] = taken
        return len(taken)

    async def send(self, pieces: Sequence[Bytes]) -> None:
        await self._stream.send_all(b"".join(pieces))

    async def linger(self, scratch: memoryview) -> None:
        self.lingered = True

    def close(self) -> None:
        self._stream.send_stream.close()
        self._stream.receive_stream.close()


class MemoryServer:
    """What a connection has around it, without a server."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.clock: Clock = SystemClock()
        self.identity = Identity(self.clock, SystemRandomness())
        self.buffers = Buffers(1)
        self.scratch = memoryview(bytearray(1 << 16))
        self.stopping = False
        self.full = False
        self.outcomes: list[Outcome] = []

    def begin(self, request: Request) -> bool:
        return not self.full

    def end(self, outcome: Outcome, counted: bool) -> None:
        self.outcomes.append(outcome)


class Talk(NamedTuple):
    """A client's end, and what is behind the other one."""

    client: MemoryStream
    server: MemoryServer
    connection: Connection
    transport: MemoryTransport

    async def say(self, *pieces: bytes) -> None:
        for piece in pieces:
            await self.client.send_all(piece)
            await trio.testing.wait_all_tasks_blocked()

    async def hear(self) -> bytes:
        """Everything up to the end of the connection."""
        return b"".join([bytes(piece) async for piece in self.client])

    async def hear_until(self, end: bytes) -> bytes:
        heard = bytearray()
        while not heard.endswith(end):
            piece = await self.client.receive_some()
            assert piece, heard
            heard += piece
        return bytes(heard)

    async def end(self) -> None:
        await self.client.send_eof()


@contextlib.asynccontextmanager
async def talking(handler: Handler) -> AsyncIterator[Talk]:
    """A connection in memory, answered by `handler`."""
    ours, theirs = trio.testing.memory_stream_pair()
    server = MemoryServer(handler)
    transport = MemoryTransport(theirs)
    connection = Connection(transport, server, admitted=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.run)
        yield Talk(ours, server, connection, transport)
        nursery.cancel_scope.cancel()


# --- On sockets -----------------------------------------------------------------------------------


class Running(NamedTuple):
    """A server on a socket of 127.0.0.1."""

    server: Server
    port: int
    outcomes: list[Outcome]
    clients: list[trio.abc.Stream]

    async def connect(self, tls: ssl.SSLContext | None = None) -> trio.abc.Stream:
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        self.clients.append(stream)
        if tls is None:
            return stream
        secured = trio.SSLStream(stream, tls, server_hostname="127.0.0.1", https_compatible=True)
        await secured.do_handshake()
        return secured


@contextlib.asynccontextmanager
async def serving(
    handler: Handler, tls: Path | None = None, address: str = "127.0.0.1"
) -> AsyncIterator[Running]:
    """A server in the test's loop; cancelled at the end, and its clients closed."""
    outcomes: list[Outcome] = []
    sockets = bind(Address(address, 0))
    server = Server(
        handler,
        sockets,
        clock=SystemClock(),
        randomness=SystemRandomness(),
        ended=outcomes.append,
        tls=None if tls is None else Certificate(tls),
    )
    async with trio.open_nursery() as nursery:
        port = sockets[0].getsockname()[1]
        await nursery.start(server.serve)
        running = Running(server, port, outcomes, [])
        try:
            yield running
        finally:
            for client in running.clients:
                await trio.aclose_forcefully(client)
        nursery.cancel_scope.cancel()


def reset(stream: trio.abc.Stream) -> None:
    """Close a connection so that the peer gets a reset."""
    assert isinstance(stream, trio.SocketStream)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    stream.socket.close()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once for all tests."""
    return make_certificate(tmp_path_factory.mktemp("tls") / "server.pem")


@pytest.fixture
def trusting(certificate: Path) -> ssl.SSLContext:
    """A client's context that knows the certificate."""
    return ssl.create_default_context(cafile=str(certificate))
