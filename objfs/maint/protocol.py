"""The frames of the control socket, as values: no I/O here.

    frame    = length (4 bytes, little-endian) body
    body     = msgpack map, at most CONTROL_MESSAGE_BYTES_MAX bytes
    request  = {"protocol": 1, "command": text, "arguments": {text: value}}
    response = {"result": value} | {"error": {"kind": text, "message": text}}

A text that is no UTF-8, as names of files may be (surrogates stand for its bytes), is an extension
of type 1 with those bytes.

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
_RAW_TEXT = 1  # the extension type


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
        try:
            body = msgspec.msgpack.encode(message)
        except UnicodeEncodeError:
            body = msgspec.msgpack.encode(_with_raw_texts(msgspec.to_builtins(message, **_AS_IS)))
    except (TypeError, OverflowError) as error:
        raise InvalidRequest(f"this cannot be sent over the control socket: {error}") from error
    if len(body) > CONTROL_MESSAGE_BYTES_MAX:
        raise InvalidRequest(
            f"{len(body)} bytes are too many for one message of the control socket, whose limit is "
            f"{CONTROL_MESSAGE_BYTES_MAX}; ask for less at a time"
        )
    return len(body).to_bytes(LENGTH_BYTES, "little") + body


_AS_IS: dict[str, Any] = {"builtin_types": (bytes, bytearray, memoryview)}


def _with_raw_texts(value: Any) -> Any:
    """The same value; texts that are no UTF-8 as their bytes."""
    if isinstance(value, str) and not value.isascii():
        raw = value.encode(errors="surrogateescape")
        return (
            value if raw == value.encode(errors="replace") else msgspec.msgpack.Ext(_RAW_TEXT, raw)
        )
    if isinstance(value, dict):
        return {name: _with_raw_texts(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_with_raw_texts(each) for each in value]
    return value


def _extension(code: int, data: memoryview) -> str:
    if code != _RAW_TEXT:
        raise InvalidRequest(f"not a message of the control socket: extension {code}")
    return bytes(data).decode(errors="surrogateescape")


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
        return msgspec.msgpack.decode(body, type=kind, ext_hook=_extension)
    except msgspec.MsgspecError as error:
        raise InvalidRequest(f"not a message of the control socket: {error}") from error


def failure_of(error: ObjfsError) -> Failure:
    message = str(error).encode(errors="backslashreplace").decode()
    return Failure(type(error).__name__, message)


def error_of(failure: Failure) -> ObjfsError:
    """The error as the caller would have met it in its own process."""
    kind = getattr(errors, failure.kind, ObjfsError)
    if not (isinstance(kind, type) and issubclass(kind, ObjfsError)):
        kind = ObjfsError
    return kind(failure.message)
