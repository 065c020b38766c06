"""What the HTTP layer and a handler give each other: a request with its body, and a response.

Values of HTTP only; nothing here knows S3's operations, and nothing touches a socket. Promises:
what a client sent is kept as it was sent (the raw target and the order of the query, which
signatures are made over), next to its decoded form. Text that is no UTF-8 is decoded with
`surrogateescape`, so `encode_text` gives the very bytes back.
"""

import abc
import re
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, TypeAlias
from urllib.parse import unquote_to_bytes

from objfs.base.limits import S3_PIECE_BYTES
from objfs.s3.errors import S3Error

Bytes: TypeAlias = bytes | bytearray | memoryview


def decode_text(raw: bytes) -> str:
    """Bytes of a client as text; nothing is lost."""
    return raw.decode("utf-8", "surrogateescape")


def encode_text(text: str) -> bytes:
    """The bytes that `decode_text` made `text` of."""
    return text.encode("utf-8", "surrogateescape")


class Headers:
    """The headers of a request, in their order; names in lower case and found in any."""

    __slots__ = ("_first", "pairs")

    def __init__(self, raw: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self.pairs = [(name.decode("ascii").lower(), decode_text(value)) for name, value in raw]
        self._first: dict[str, str] = {}
        for name, value in self.pairs:
            self._first.setdefault(name, value)

    def get(self, name: str) -> str | None:
        """The first value of that name."""
        return self._first.get(name.lower())

    def all(self, name: str) -> list[str]:
        """Every value of that name, in the order they came."""
        wanted = name.lower()
        return [value for each, value in self.pairs if each == wanted]

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._first

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.pairs)


class QueryPair(NamedTuple):
    """One part of a query. `raw_value` is None where there is no `=`."""

    name: str
    value: str
    raw_name: bytes
    raw_value: bytes | None


class Query:
    """The query of a target: pairs in their order, decoded (`+` is a blank) and as they came."""

    __slots__ = ("_first", "pairs")

    def __init__(self, raw: bytes = b"") -> None:
        self.pairs = [_query_pair(part) for part in raw.split(b"&") if part] if raw else []
        self._first: dict[str, str] = {}
        for pair in self.pairs:
            self._first.setdefault(pair.name, pair.value)

    def get(self, name: str) -> str | None:
        """The first value of that name; "" for one without `=`."""
        return self._first.get(name)

    def all(self, name: str) -> list[str]:
        """Every value of that name."""
        return [pair.value for pair in self.pairs if pair.name == name]

    def __contains__(self, name: str) -> bool:
        return name in self._first

    def __iter__(self) -> Iterator[QueryPair]:
        return iter(self.pairs)


def _query_pair(part: bytes) -> QueryPair:
    name, equals, value = part.partition(b"=")
    return QueryPair(_query_text(name), _query_text(value), name, value if equals else None)


def _query_text(raw: bytes) -> str:
    return decode_text(unquote_to_bytes(raw.replace(b"+", b" ")))


class Body(AsyncIterator[memoryview]):
    """The body of a request, read once, from its beginning to its end.

    The first read lets a client that waits for `100 Continue` go on: read only what is wanted. A
    read raises S3Error when the body ends before its declared length, breaks its framing or a
    bound, or comes too slowly.
    """

    length: int | None  # of what is declared; None: chunked transfer coding, not known before
    received: int  # bytes read so far

    @abc.abstractmethod
    async def read_some_into(self, buffer: memoryview) -> int:
        """Some bytes to the start of `buffer`, as they come; 0 only at the end. Received into it
        directly. Not always a checkpoint."""

    def __aiter__(self) -> AsyncIterator[memoryview]:
        """The body in pieces of S3_PIECE_BYTES, the last one shorter. A piece is valid until the
        next is asked for: its buffer is used again."""
        return self

    @abc.abstractmethod
    async def __anext__(self) -> memoryview:
        """The next piece."""

    async def read_into(self, buffer: Bytes) -> int:
        """Fill `buffer`; how much of it, which is less only at the end of the body."""
        view = memoryview(buffer)
        filled = 0
        while filled < len(view):
            count = await self.read_some_into(view[filled:])
            if not count:
                break
            filled += count
        return filled

    async def read_all(self, limit: int) -> bytes:
        """The whole of a small body, a document. EntityTooLarge over `limit` bytes."""
        if self.length is not None and self.length > limit:
            raise too_large(limit)
        read = bytearray()
        async for piece in self:
            read += piece
            if len(read) > limit:
                raise too_large(limit)
        return bytes(read)


def too_large(limit: int) -> S3Error:
    """The body has more than `limit` bytes."""
    return S3Error("EntityTooLarge", MaxSizeAllowed=limit)


class BytesBody(Body):
    """A body that is there already: the empty one of most requests."""

    def __init__(self, data: bytes = b"") -> None:
        self.length = len(data)
        self.received = 0
        self._data = memoryview(data)

    async def read_some_into(self, buffer: memoryview) -> int:
        piece = self._take(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    async def __anext__(self) -> memoryview:
        if piece := self._take(S3_PIECE_BYTES):
            return piece
        raise StopAsyncIteration

    def _take(self, limit: int) -> memoryview:
        piece = self._data[self.received : self.received + limit]
        self.received += len(piece)
        return piece


class Notes:
    """What a handler found out about a request, for the audit log and the metrics. It may set
    each as soon as it knows it; what stays None was not known."""

    __slots__ = ("bucket", "error", "key", "operation", "principal", "version")

    def __init__(self) -> None:
        self.operation: str | None = None  # S3's name: "PutObject"
        self.principal: str | None = None
        self.bucket: str | None = None
        self.key: str | None = None
        self.version: str | None = None
        self.error: str | None = None  # S3's code


class Target(NamedTuple):
    """The target of a request line. `path` and `query` are raw."""

    path: bytes
    query: bytes
    authority: bytes | None  # of an absolute target: then it counts, not the header Host


_ABSOLUTE = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://([^/?]*)(.*)", re.DOTALL)


def split_target(target: bytes) -> Target:
    """The parts of a target, in origin form or absolute (RFC 9112, section 3.2)."""
    authority = None
    if not target.startswith(b"/") and (absolute := _ABSOLUTE.fullmatch(target)):
        authority, target = absolute.groups()
    path, _, query = target.partition(b"?")
    return Target(path or b"/", query, authority)


class Request:
    """A request whose head is there and whose body may still be under way."""

    __slots__ = (
        "body",
        "headers",
        "host",
        "id",
        "method",
        "notes",
        "path",
        "peer",
        "query",
        "raw_path",
        "raw_query",
        "received_ns",
        "secure",
        "target",
        "version",
    )

    def __init__(
        self,
        method: str,
        target: bytes,
        headers: Headers,
        body: Body | None = None,
        *,
        secure: bool = False,
        peer: str = "",
        id: str = "",
        version: str = "1.1",
        received_ns: int = 0,
    ) -> None:
        self.method = method
        self.target = target  # as it came; signatures are made over its parts
        parts = split_target(target)
        self.raw_path = parts.path  # as it came, percent-encoded, with its leading slash
        self.path = unquote_to_bytes(parts.path)
        self.raw_query = parts.query
        self.query = Query(parts.query)
        self.headers = headers
        named = headers.get("host") or ""
        self.host = named if parts.authority is None else decode_text(parts.authority)
        self.body = body if body is not None else BytesBody()
        self.secure = secure  # came over TLS
        self.peer = peer  # the client's address, without the port
        self.id = id  # x-amz-request-id of the answer
        self.version = version
        self.received_ns = received_ns  # when the head was there, by the clock of the server
        self.notes = Notes()


class Stream(NamedTuple):
    """A response body that is made while it is sent: exactly `length` bytes in pieces, each of
    them a buffer or several, which are sent without being joined. A piece has to stay as it is
    until the next one is asked for. `pieces` is closed when the client goes, if it can be."""

    length: int
    pieces: AsyncIterable[Bytes | Sequence[Bytes]]


class Response:
    """An answer. Its framing (Content-Length, Connection) and the headers that every answer has
    (Date, Server, x-amz-request-id, x-amz-id-2) are added by the server; a header of the same
    name given here wins. Names as they are to be sent; values are text of `decode_text`."""

    __slots__ = ("body", "close", "headers", "length", "status")

    def __init__(
        self,
        status: int,
        headers: Iterable[tuple[str, str]] = (),
        body: Bytes | Sequence[Bytes] | Stream = b"",
        *,
        length: int | None = None,
        close: bool = False,
    ) -> None:
        self.status = status
        self.headers = list(headers)
        self.body = body
        self.length = length  # Content-Length of the answer to a HEAD, whose body is not made
        self.close = close  # no further request on this connection


class Handler(Protocol):
    """Who answers requests. What it raises is answered as `errors.as_s3` says; when the client
    leaves, it is cancelled."""

    async def __call__(self, request: Request) -> Response:
        """The answer. It may leave the request's body unread."""
