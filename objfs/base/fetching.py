"""Documents of other servers, over HTTPS: the implementation of the port `Fetch`.

A GET and its answer, in a thread: at most FETCH_SECONDS_MAX from the connection to the last byte
(but for the resolver of names, which has its own bound), at most as many bytes as are asked for.
Promises: the server's certificate is verified with the certificates that this machine trusts;
without TLS only a server on this machine is spoken to; no redirect is followed, so that what was
configured is what is asked; no proxy, no cookie and no credential of this machine is used.
"""

import http.client
import io
import ipaddress
import re
import socket
import ssl
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from objfs.base.errors import InvalidRequest, StorageError
from objfs.base.limits import FETCH_SECONDS_MAX
from objfs.base.ports import Clock, Threads

_TARGET = re.compile(r"[\x21-\x7e]*")
_PORTS = {"https": 443, "http": 80}


class HttpsFetch:
    """Asks other servers. `trust` is a file (PEM) of certificates to trust like the machine's."""

    def __init__(self, clock: Clock, threads: Threads, trust: str | None = None) -> None:
        self._clock = clock
        self._threads = threads
        self._trust = trust

    async def get(self, url: str, limit: int) -> bytes:
        """The body of a GET, at most `limit` bytes. StorageError when it does not come,
        InvalidRequest for a URL that is none."""
        return await self._threads.run(self._get, _place(url), limit)

    def _get(self, place: "_Place", limit: int) -> bytes:
        try:
            return self._ask(place, limit)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise StorageError(f"{place.url} does not answer: {error or type(error)}") from error

    def _ask(self, place: "_Place", limit: int) -> bytes:
        end = self._clock.monotonic() + FETCH_SECONDS_MAX
        address = (place.host, place.port)
        with socket.create_connection(address, FETCH_SECONDS_MAX) as plain:
            if place.scheme == "http":
                _check_local(plain, place)
                return self._talk(plain, place, limit, end)
            context = ssl.create_default_context()
            if self._trust is not None:
                context.load_verify_locations(self._trust)
            plain.settimeout(self._left(end))
            with context.wrap_socket(plain, server_hostname=place.host) as safe:
                return self._talk(safe, place, limit, end)

    def _talk(self, connection: socket.socket, place: "_Place", limit: int, end: float) -> bytes:
        head = (
            f"GET {place.target} HTTP/1.1\r\nHost: {place.authority}\r\nUser-Agent: objfs\r\n"
            "Accept: application/json\r\nConnection: close\r\n\r\n"
        )
        connection.settimeout(self._left(end))
        connection.sendall(head.encode("ascii"))
        answer: Any = http.client.HTTPResponse(_Readable(connection, self, end))  # type: ignore[arg-type]
        answer.begin()
        if answer.status != http.client.OK:
            raise StorageError(f"{place.url} answers {answer.status} {answer.reason}")
        body: bytes = answer.read(limit + 1)
        if len(body) > limit:
            raise StorageError(f"{place.url} answers with over {limit} bytes")
        if answer.length:
            raise StorageError(f"{place.url} ends its answer before it is complete")
        return body

    def _left(self, end: float) -> float:
        left = end - self._clock.monotonic()
        if left <= 0:
            raise TimeoutError(f"it took over {FETCH_SECONDS_MAX:g} s")
        return left

    def receive(self, connection: socket.socket, buffer: memoryview, end: float) -> int:
        """Bytes of an answer, until its time is over."""
        connection.settimeout(self._left(end))
        return connection.recv_into(buffer)


class _Readable(io.RawIOBase):
    """A connection as a file: each read has what is left of the time, not a time of its own."""

    def __init__(self, connection: socket.socket, fetch: HttpsFetch, end: float) -> None:
        self._connection = connection
        self._fetch = fetch
        self._end = end

    def makefile(self, mode: str) -> io.BufferedReader:
        """What `http.client` reads from."""
        assert mode == "rb"
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._fetch.receive(self._connection, memoryview(buffer), self._end)


class _Place(NamedTuple):
    """What a URL says."""

    url: str
    scheme: str
    host: str
    port: int
    authority: str
    target: str


def _place(url: str) -> _Place:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise InvalidRequest(f"{url[:300]!r} is no URL") from None
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if parts.scheme not in _PORTS or not host or "@" in parts.netloc:
        raise InvalidRequest(f"{url[:300]!r} is no URL of a document that can be fetched")
    if not _TARGET.fullmatch(target) or not _TARGET.fullmatch(parts.netloc):
        raise InvalidRequest(f"{url[:300]!r} has characters that belong into no URL")
    number = port or _PORTS[parts.scheme]
    return _Place(url, parts.scheme, host, number, parts.netloc, target)


def _check_local(connection: socket.socket, place: _Place) -> None:
    """Whether it is this machine that is connected with."""
    peer = ipaddress.ip_address(connection.getpeername()[0].partition("%")[0])
    if not peer.is_loopback:
        raise StorageError(f"{place.url} is not asked: without TLS, what it says proves nothing")
