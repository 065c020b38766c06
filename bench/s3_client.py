"""A lean S3 client for measuring servers: signed requests over plain sockets, nothing else.

botocore signs, with UNSIGNED-PAYLOAD as clients do over TLS, before anything is timed: what is
measured is the server. Each connection has a thread of its own and is kept open.
"""

import socket
import threading
import time
from collections.abc import Callable, Sequence
from urllib.parse import quote, urlencode
from xml.etree import ElementTree

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from bench.sizes import KIB, MIB

REGION = "us-east-1"
HOST = "127.0.0.1"


class RequestFailed(Exception):
    """A server answered something else than success; the message says what."""


class _Signer(S3SigV4Auth):  # type: ignore[misc]  # botocore has no types
    """Signs everything but the body."""

    def payload(self, request: AWSRequest) -> str:
        return "UNSIGNED-PAYLOAD"


class Endpoint:
    """Where a server listens, and with which key it is asked."""

    def __init__(self, port: int, access_key: str, secret: str) -> None:
        self.port = port
        self._signer = _Signer(Credentials(access_key, secret), "s3", REGION)

    def head(
        self, method: str, path: str, length: int = 0, query: dict[str, str] | None = None
    ) -> bytes:
        """The signed head of a request whose body has `length` bytes."""
        target = quote(path) + (f"?{urlencode(query, quote_via=quote)}" if query else "")
        request = AWSRequest(
            method,
            f"http://{HOST}:{self.port}{target}",
            headers={"Content-Length": str(length)},
        )
        self._signer.add_auth(request)
        lines = [f"{method} {target} HTTP/1.1", f"Host: {HOST}:{self.port}"]
        lines += [f"{name}: {value}" for name, value in request.headers.items()]
        return "\r\n".join(lines).encode() + b"\r\n\r\n"

    def connect(self) -> "Connection":
        """A new connection."""
        return Connection(self.port)


class Connection:
    """One connection, used by one thread; made anew when the server ends it after an answer."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connect()
        self._buffer = memoryview(bytearray(MIB))

    def _connect(self) -> None:
        self._socket = socket.create_connection((HOST, self._port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def ask(self, head: bytes, body: memoryview | bytes = b"", times: int = 1) -> None:
        """Send a request with `body` that many times over as its body; the answer's is dropped.
        RequestFailed."""
        self._send(head, body, times)
        status, headers, begin = self._head()
        kept = self._rest(headers, begin, keep=status >= 300)
        if status >= 300:
            raise RequestFailed(f"{head.splitlines()[0].decode()}: {status} {kept[:300]!r}")

    def read(self, head: bytes, body: bytes = b"") -> tuple[dict[str, str], bytes]:
        """The headers and the body of an answer. RequestFailed."""
        self._send(head, body, 1)
        status, headers, begin = self._head()
        kept = self._rest(headers, begin, keep=True)
        if status >= 300:
            raise RequestFailed(f"{head.splitlines()[0].decode()}: {status} {kept[:300]!r}")
        return headers, kept

    def put_part(self, head: bytes, body: memoryview, times: int) -> str:
        """The ETag of a part. RequestFailed."""
        self._send(head, body, times)
        status, headers, begin = self._head()
        kept = self._rest(headers, begin, keep=True)
        if status >= 300:
            raise RequestFailed(f"{status} {kept[:300]!r}")
        return headers["etag"]

    def _send(self, head: bytes, body: memoryview | bytes, times: int) -> None:
        if times == 1 and len(body) <= 16 * KIB:
            self._socket.sendall(head + bytes(body))
            return
        self._socket.sendall(head)
        for _ in range(times):
            self._socket.sendall(body)

    def _head(self) -> tuple[int, dict[str, str], bytes]:
        received = b""
        while b"\r\n\r\n" not in received:
            more = self._socket.recv(64 * KIB)
            if not more:
                raise RequestFailed("the server hung up")
            received += more
        top, _, begin = received.partition(b"\r\n\r\n")
        lines = top.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines[1:])
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        return int(lines[0].split()[1]), headers, begin

    def _rest(self, headers: dict[str, str], begin: bytes, *, keep: bool) -> bytes:
        body = self._body(headers, begin, keep=keep)
        if headers.get("connection") == "close":
            self._socket.close()
            self._connect()
        return body

    def _body(self, headers: dict[str, str], begin: bytes, *, keep: bool) -> bytes:
        if headers.get("transfer-encoding") == "chunked":
            return self._chunks(begin)
        left = int(headers.get("content-length", 0)) - len(begin)
        pieces = [begin]
        while left:
            count = self._socket.recv_into(self._buffer, min(left, MIB))
            if not count:
                raise RequestFailed("the server hung up in the middle of an answer")
            left -= count
            if keep:
                pieces.append(bytes(self._buffer[:count]))
        return b"".join(pieces)

    def _chunks(self, received: bytes) -> bytes:
        body = b""
        while True:
            while b"\r\n" not in received:
                received += self._socket.recv(64 * KIB)
            line, _, received = received.partition(b"\r\n")
            size = int(line.partition(b";")[0], 16)
            while len(received) < size + 2:
                received += self._socket.recv(MIB)
            body += received[:size]
            received = received[size + 2 :]
            if not size:
                return body


def in_parallel(
    endpoint: Endpoint, connections: int, works: Sequence[Callable[[Connection], object]]
) -> float:
    """Do all works over some connections, each as soon as one is free. Returns the seconds; an
    error of one is raised."""
    pending = iter(works)
    errors: list[BaseException] = []

    def run(connection: Connection) -> None:
        try:
            for work in pending:  # taken under the interpreter's lock
                work(connection)
        except BaseException as error:
            errors.append(error)

    opened = [endpoint.connect() for _ in range(connections)]
    try:
        threads = [threading.Thread(target=run, args=(each,)) for each in opened]
        begin = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - begin
    finally:
        for each in opened:
            each.close()
    if errors:
        raise errors[0]
    return seconds


def text_of(document: bytes, name: str) -> str:
    """The text of the first element with this name, in any namespace; "" without one."""
    for element in ElementTree.fromstring(document).iter():
        if element.tag.rpartition("}")[2] == name:
            return element.text or ""
    return ""
