"""Answers as bytes: heads of responses, the headers that each has, the XML of
errors.
No I/O.

Promises: no header can smuggle another one in (a value with a line end is a bug, found before
anything is sent), and an answer's framing agrees with what is sent after it.
"""

import base64
import re
from http import HTTPStatus

from objfs.base.ports import Clock, Randomness
from objfs.base.times import SECOND_NS
from objfs.s3.dates import http_date
from objfs.s3.errors import S3Error, error_document
from objfs.s3.http import Request, Response, Stream, decode_text, encode_text

SERVER = "objfs"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
RESOURCE_CHARS_MAX = 1024

_REASONS = {status.value: status.phrase for status in HTTPStatus}
_STATUS_LINES = {
    status: f"HTTP/1.1 {status} {reason}\r\n".encode() for status, reason in _REASONS.items()
}
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_BROKEN = re.compile("[\r\n\0]")
WITHOUT_LENGTH = (204, 304)  # and without a body


class Identity:
    """Ids of requests, and the time as a header says it."""

    def __init__(self, clock: Clock, randomness: Randomness) -> None:
        self._clock = clock
        self._next = randomness.bits(64)
        self._step = randomness.bits(63) | 1  # odd: no id comes twice in 2^64
        self._host = randomness.bits(256).to_bytes(32, "big")
        self._second = -1
        self._date = ""

    def new_id(self) -> str:
        """An x-amz-request-id: 16 hexadecimal digits."""
        self._next = (self._next + self._step) & 0xFFFF_FFFF_FFFF_FFFF
        return f"{self._next:016X}"

    def second_id(self, id: str) -> str:
        """The x-amz-id-2 of a request: which server answered, and the request."""
        return base64.b64encode(self._host + bytes.fromhex(id)).decode()

    def date(self) -> str:
        """Now, in the form of RFC 9110, section 5.6.7."""
        now_ns = self._clock.now_ns()
        if now_ns // SECOND_NS != self._second:
            self._second, self._date = now_ns // SECOND_NS, http_date(now_ns)
        return self._date


def body_length(response: Response) -> int:
    """How many bytes the body has, or is said to have."""
    body = response.body
    if response.length is not None:
        return response.length
    if isinstance(body, Stream):
        return body.length
    if isinstance(body, bytes | bytearray | memoryview):
        return len(body)
    return sum(len(piece) for piece in body)


def head_bytes(response: Response, id: str, identity: Identity, *, keep_alive: bool) -> bytes:
    """The head of an answer, with the headers that every one has."""
    own: dict[str, str] = {}
    if id:
        own["x-amz-request-id"] = id
        own["x-amz-id-2"] = identity.second_id(id)
    own["Date"] = identity.date()
    own["Server"] = SERVER
    if response.status not in WITHOUT_LENGTH:
        own["Content-Length"] = str(body_length(response))
    own["Connection"] = "keep-alive" if keep_alive else "close"
    given = {name.lower() for name, _ in response.headers}
    lines = [f"{name}: {value}" for name, value in own.items() if name.lower() not in given]
    for name, value in response.headers:
        if _BROKEN.search(value) or not _NAME.fullmatch(name):
            raise ValueError(f"{name!r}: {value!r} cannot be a header")
        lines.append(f"{name}: {value}")
    status = response.status
    start = _STATUS_LINES.get(status) or f"HTTP/1.1 {status} Unknown\r\n".encode()
    return start + encode_text("\r\n".join(lines)) + b"\r\n\r\n"


def failed(error: S3Error, request: Request | None, id: str, identity: Identity) -> Response:
    """The answer that is an error, as S3 writes them; without a request, to what is none."""
    resource = ""
    if request is not None:
        resource = decode_text(request.path)[:RESOURCE_CHARS_MAX]
    headers = [("Content-Type", "application/xml"), *error.headers]
    document = error_document(error, resource, id, identity.second_id(id))
    return Response(error.status, headers, document)
