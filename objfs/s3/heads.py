"""The head of a request, from bytes: the only use of h11. No I/O.

h11 reads the request line and the headers by the grammar; what it leaves to its user is decided
here: bounds, how the body is framed, whether the connection may go on. A head that came whole and
has nothing unusual (`_PLAIN`: what clients send) is read without h11, in a fifth of the time; h11
reads the same from it, which a test compares, and all else is left to it. Promises: a request whose
framing two readers could understand in two ways (both Content-Length and Transfer-Encoding, a
coding under HTTP/1.0) is refused, so nothing can be smuggled past a proxy.
"""

import re
from typing import NamedTuple

import h11

from objfs.base.limits import (
    S3_BODY_BYTES_MAX,
    S3_HEAD_BYTES_MAX,
    S3_HEADERS_MAX,
    S3_TARGET_BYTES_MAX,
)
from objfs.s3.errors import S3Error
from objfs.s3.http import Headers, too_large

_METHOD_CHARS_MAX = 32
_PLAIN = re.compile(
    rb"([A-Z]{1,32}) (/[!-~]*) HTTP/1\.1\r\n"  # no alternative to any byte: it never goes back
    rb"((?:[A-Za-z0-9-]+:[ \t]*[!-~][ -~]*\r\n)+)\r\n"
)
_LENGTH = re.compile(rb"[0-9]{1,20}")


class Head(NamedTuple):
    """A request's head."""

    method: str
    target: bytes
    headers: Headers
    version: str  # "1.0" or "1.1"
    length: int | None  # of the body; None: chunked
    expects_continue: bool
    keep_alive: bool
    leftover: bytes  # what came after the head


class HeadReader:
    """Reads one head from bytes as they come."""

    def __init__(self) -> None:
        self._connection: h11.Connection | None = None
        self._received = 0

    @property
    def began(self) -> bool:
        """Whether there is anything of a head."""
        return self._received > 0

    def feed(self, data: bytes) -> Head | None:
        """The head once it is complete. S3Error."""
        if not self._received:
            data = data.lstrip(b"\r\n")  # RFC 9112, section 2.2
            if not data:
                return None
            plain = plain_head(data)
            if plain is not None:
                self._received = len(data)
                return plain
        self._received += len(data)
        return self._feed_h11(data)

    def _feed_h11(self, data: bytes) -> Head | None:
        if self._connection is None:
            self._connection = h11.Connection(
                h11.SERVER, max_incomplete_event_size=S3_HEAD_BYTES_MAX
            )
        try:
            self._connection.receive_data(data)
            event = self._connection.next_event()
        except h11.RemoteProtocolError as error:
            raise self._refusal(error) from error
        if event is h11.NEED_DATA:
            return None
        assert isinstance(event, h11.Request)
        leftover = bytes(self._connection.trailing_data[0])
        if self._received - len(leftover) > S3_HEAD_BYTES_MAX:
            raise _head_too_large()
        version = event.http_version.decode("ascii")
        return _head(event.method, bytes(event.target), list(event.headers), version, leftover)

    def _refusal(self, error: h11.RemoteProtocolError) -> S3Error:
        if self._received > S3_HEAD_BYTES_MAX:
            return _head_too_large()
        if error.error_status_hint == 501:
            return S3Error("NotImplemented", "The only transfer coding understood is chunked.")
        return bad_request(f"This is no HTTP request: {error}")


def bad_request(message: str) -> S3Error:
    """A request that breaks the rules of HTTP."""
    return S3Error("BadRequest", message)


def _head_too_large() -> S3Error:
    return S3Error("RequestHeaderSectionTooLarge", MaxSizeAllowed=S3_HEAD_BYTES_MAX)


def plain_head(data: bytes) -> Head | None:
    """The head at the beginning of `data`; None for one that h11 has to look at. S3Error."""
    found = _PLAIN.match(data, 0, S3_HEAD_BYTES_MAX)
    if found is None:
        return None
    method, target, lines = found.groups()
    pairs = []
    hosts = lengths = 0
    for line in lines.split(b"\r\n")[:-1]:
        name, _, value = line.partition(b":")
        name, value = name.lower(), value.strip(b" \t")
        hosts += name == b"host"
        if name == b"content-length":
            lengths += 1
            if not _LENGTH.fullmatch(value):
                return None
        elif name == b"transfer-encoding":
            return None
        pairs.append((name, value))
    if hosts != 1 or lengths > 1:
        return None
    return _head(method, target, pairs, "1.1", data[found.end() :])


def _head(
    method: bytes, target: bytes, pairs: list[tuple[bytes, bytes]], version: str, leftover: bytes
) -> Head:
    if len(pairs) > S3_HEADERS_MAX:
        raise _head_too_large()
    if len(target) > S3_TARGET_BYTES_MAX:
        raise S3Error("RequestURITooLong", MaxSizeAllowed=S3_TARGET_BYTES_MAX)
    if len(method) > _METHOD_CHARS_MAX:
        raise bad_request("There is no such method")
    if not version.startswith("1."):
        raise S3Error("HttpVersionNotSupported")
    version = "1.0" if version == "1.0" else "1.1"
    headers = Headers(pairs)
    return Head(
        method.decode("ascii"),
        target,
        headers,
        version,
        _body_length(headers, version),
        _expects_continue(headers, version),
        _keep_alive(headers, version),
        leftover,
    )


def _body_length(headers: Headers, version: str) -> int | None:
    """How the body is framed (RFC 9112, section 6); None for chunked. h11 has checked that each
    header alone makes sense."""
    declared = headers.get("content-length")
    if "transfer-encoding" in headers:
        if declared is not None:
            raise bad_request("Content-Length and Transfer-Encoding exclude each other")
        if version == "1.0":
            raise bad_request("HTTP/1.0 has no transfer codings")
        return None
    length = int(declared or 0)
    if length > S3_BODY_BYTES_MAX:
        raise too_large(S3_BODY_BYTES_MAX)
    return length


def _expects_continue(headers: Headers, version: str) -> bool:
    expected = headers.get("expect")
    if expected is None or version == "1.0":
        return False
    if expected.lower() != "100-continue":
        raise S3Error("ExpectationFailed")
    return True


def _keep_alive(headers: Headers, version: str) -> bool:
    words = {
        word.strip().lower() for value in headers.all("connection") for word in value.split(",")
    }
    return "keep-alive" in words if version == "1.0" else "close" not in words
