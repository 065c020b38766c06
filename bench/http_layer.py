"""The HTTP layer of the S3 door alone: how fast bodies go through it, and what a small request
costs. `python -m bench.http_layer` prints a table; nothing is stored and nothing hashed.

The server runs in a process of its own; the client is this one, over plain sockets and ssl, with as
little as possible around them.
"""

import contextlib
import multiprocessing
import os
import resource
import socket
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import NamedTuple

import trio

from bench.certificate import make_certificate
from objfs.base.limits import GIB, KIB, MIB
from objfs.base.system import SystemClock, SystemRandomness
from objfs.s3.http import Bytes, Request, Response, Stream
from objfs.s3.listening import Address, Certificate, bind
from objfs.s3.server import Server

STREAM_BYTES = GIB
SMALL_BYTES = 4 * KIB
SMALL_REQUESTS = 5000
HEAD = (
    "{method} /bucket/{size} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench/1 (a client)\r\n"
    "x-amz-content-sha256: UNSIGNED-PAYLOAD\r\nX-Amz-Date: 20261121T012020Z\r\n"
    "Authorization: AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/20261121/us-east-1/s3/aws4_request, "
    "SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={signature}\r\n"
    "Content-Length: {length}\r\n\r\n"
)


# --- The server -----------------------------------------------------------------------------------

PIECE = memoryview(os.urandom(MIB))


async def _pieces(length: int) -> AsyncIterator[Bytes]:
    while length:
        piece = PIECE[:length]
        length -= len(piece)
        yield piece


async def _answer(request: Request) -> Response:
    """GET of /bucket/N gives N bytes, /cpu the seconds of CPU used; PUT counts."""
    if request.method == "PUT":
        count = 0
        async for piece in request.body:
            count += len(piece)
        return Response(200, [("ETag", f'"{count}"')])
    if request.path == b"/cpu":
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return Response(200, (), f"{usage.ru_utime + usage.ru_stime}".encode())
    length = int(request.path.rpartition(b"/")[2])
    return Response(200, [("Content-Type", "binary/octet-stream")], Stream(length, _pieces(length)))


def _serve(tls: Path | None, pipe: Pipe) -> None:
    context = Certificate(tls) if tls is not None else None
    sockets = bind(Address("127.0.0.1", 0))
    server = Server(
        _answer,
        sockets,
        clock=SystemClock(),
        randomness=SystemRandomness(),
        ended=lambda outcome: None,
        tls=context,
    )
    pipe.send(sockets[0].getsockname()[1])
    trio.run(server.serve)


@contextlib.contextmanager
def serving(tls: Path | None) -> Iterator[socket.socket]:
    """A connection to a server of its own process."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=_serve, args=(tls, theirs), daemon=True)
    process.start()
    try:
        port = ours.recv()
        connection = None
        while connection is None:  # it is bound before it listens
            with contextlib.suppress(ConnectionRefusedError):
                connection = socket.create_connection(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            context = ssl.create_default_context(cafile=str(tls))
            connection = context.wrap_socket(connection, server_hostname="127.0.0.1")
        with connection:
            yield connection
    finally:
        process.kill()
        process.join()


# --- The client -----------------------------------------------------------------------------------

BUFFER = memoryview(bytearray(MIB))


def head(method: str, size: int, length: int) -> bytes:
    return HEAD.format(method=method, size=size, length=length, signature="0" * 64).encode()


def read_answer(connection: socket.socket) -> bytes:
    """What came of the body; BUFFER is overwritten with the rest."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(16 * KIB)
    top, _, body = received.partition(b"\r\n\r\n")
    if not top.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(top.decode())
    left = int(top.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]) - len(body)
    while left:
        left -= connection.recv_into(BUFFER, min(left, MIB))
    return body


def cpu_seconds(connection: socket.socket) -> float:
    connection.sendall(b"GET /cpu HTTP/1.1\r\nHost: a\r\n\r\n")
    return float(read_answer(connection))


class Figure(NamedTuple):
    """A row: its rate, and the server's CPU."""

    name: str
    rate: str
    cpu: str


def stream(connection: socket.socket, method: str, name: str) -> Figure:
    before = cpu_seconds(connection)
    begin = time.perf_counter()
    if method == "PUT":
        connection.sendall(head("PUT", 0, STREAM_BYTES))
        for _ in range(STREAM_BYTES // MIB):
            connection.sendall(BUFFER)
    else:
        connection.sendall(head("GET", STREAM_BYTES, 0))
    read_answer(connection)
    seconds = time.perf_counter() - begin
    used = cpu_seconds(connection) - before
    rate = f"{STREAM_BYTES / seconds / 1e6:.0f} MB/s"
    return Figure(f"{method} 1 GiB{name}", rate, f"{used / (STREAM_BYTES / GIB):.2f} s/GiB")


def small(connection: socket.socket, method: str, name: str) -> Figure:
    request = head(method, SMALL_BYTES, SMALL_BYTES if method == "PUT" else 0)
    if method == "PUT":
        request += bytes(BUFFER[:SMALL_BYTES])
    before = cpu_seconds(connection)
    begin = time.perf_counter()
    for _ in range(SMALL_REQUESTS):
        connection.sendall(request)
        read_answer(connection)
    seconds = time.perf_counter() - begin
    used = (cpu_seconds(connection) - before) / SMALL_REQUESTS
    rate = f"{SMALL_REQUESTS / seconds:.0f}/s"
    return Figure(f"{method} 4 KiB{name}", rate, f"{used * 1e6:.0f} us/request")


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        file = make_certificate(Path(directory) / "server.pem")
        for tls, name in ((None, ""), (file, ", TLS")):
            for measure in (stream, small):
                for method in ("PUT", "GET"):
                    with serving(tls) as connection:
                        figure = measure(connection, method, name)
                    print(f"{figure.name:20} {figure.rate:>12} {figure.cpu:>18}")


if __name__ == "__main__":
    main()
