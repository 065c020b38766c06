"""The frames of the control socket, as values: no I/O here.

    frame    = length (4 bytes, little-endian) body
    body     = msgpack map, at most CONTROL_MESSAGE_BYTES_MAX bytes
    request  = {"protocol": 1, "command": text, "arguments": {text: value}}
    response = {"result": value} | {"error": {"kind": text, "message": text}}

One response follows each request, in order. `kind` names a class of `objfs/base/errors.py`,
so that a command fails for the caller in the same way wherever it runs. A peer that breaks the
grammar is cut off.
"""

from typing import Any, TypeVar

import msgspec

from objfs.base import errors
from objfs.base.errors import InvalidRequest, ObjfsError
from objfs.base.limits import CONTROL_MESSAGE_BYTES_MAX

PROTOCOL = 1
LENGTH_BYTES = 4


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """Run one command."""

    protocol: int = PROTOCOL
    command: str
    arguments: dict[str, Any] = {}


class Failure(msgspec.Struct, frozen=True):
    """Why a command failed."""

    kind: str
    message: str


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """What a command gave."""

    result: Any = None
    error: Failure | None = None


def encode(message: Request | Response) -> bytes:
    """One frame. InvalidRequest if it is too large, or holds what msgpack cannot say."""
    try:
        body = msgspec.msgpack.encode(message)
    except (TypeError, OverflowError) as error:
        raise InvalidRequest(f"this cannot be sent over the control socket: {error}") from error
    if len(body) > CONTROL_MESSAGE_BYTES_MAX:
        raise InvalidRequest(
            f"{len(body)} bytes are too many for one message of the control socket, whose limit is "
            f"{CONTROL_MESSAGE_BYTES_MAX}; ask for less at a time"
        )
    return len(body).to_bytes(LENGTH_BYTES, "little") + body


def body_bytes(length: bytes) -> int:
    """How long the body after these LENGTH_BYTES is."""
    count = int.from_bytes(length, "little")
    if not 0 < count <= CONTROL_MESSAGE_BYTES_MAX:
        raise InvalidRequest(f"a control message of {count} bytes: the peer is no objfs")
    return count


def decode_request(body: bytes) -> Request:
    request = _decode(body, Request)
    if request.protocol != PROTOCOL:
        raise InvalidRequest(
            f"the command comes from another version of objfs (protocol {request.protocol}, the "
            f"running process speaks {PROTOCOL}); unmount and mount again with the new version"
        )
    return request


def decode_response(body: bytes) -> Response:
    return _decode(body, Response)


M = TypeVar("M", Request, Response)


def _decode(body: bytes, kind: type[M]) -> M:
    try:
        return msgspec.msgpack.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        raise InvalidRequest(f"not a message of the control socket: {error}") from error


def failure_of(error: ObjfsError) -> Failure:
    return Failure(type(error).__name__, str(error))


def error_of(failure: Failure) -> ObjfsError:
    """The error as the caller would have met it in its own process."""
    kind = getattr(errors, failure.kind, ObjfsError)
    if not (isinstance(kind, type) and issubclass(kind, ObjfsError)):
        kind = ObjfsError
    return kind(failure.message)
