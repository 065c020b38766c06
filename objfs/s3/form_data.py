"""The framing of a browser's form, `multipart/form-data` (RFC 7578, 2046): fields, then one file.

Pure and pushed: bytes go in, events come out; payload are memoryviews of what was fed, but for the
few bytes that may belong to a boundary. Fields come before the file, and what follows the file is
ignored, as S3 has it.

Promises: fields and heads together have at most FORM_FIELDS_BYTES_MAX bytes; a form that ends
within a part is IncompleteBody, what is no form MalformedPOSTRequest.
"""

import email.message
import enum
import re
from typing import NamedTuple, TypeAlias

from objfs.base.limits import FORM_BOUNDARY_BYTES_MAX, FORM_FIELDS_BYTES_MAX
from objfs.s3.errors import S3Error


class Field(NamedTuple):
    """A field before the file; the name in lower case."""

    name: str
    value: str


class FileBegins(NamedTuple):
    """The file comes; "" for what the browser did not say."""

    filename: str
    content_type: str


class FileEnds(NamedTuple):
    """All of it was given out."""


Event: TypeAlias = Field | FileBegins | memoryview | FileEnds


class _State(enum.Enum):
    PREAMBLE = enum.auto()  # up to the first boundary
    AFTER_BOUNDARY = enum.auto()  # a line end, or the two hyphens of the last one
    HEAD = enum.auto()  # headers of a part
    FIELD = enum.auto()
    FILE = enum.auto()
    DONE = enum.auto()


_NAME = "file"
_BOUNDARY = re.compile(rb"[0-9a-zA-Z'()+_,\-./:=? ]*[0-9a-zA-Z'()+_,\-./:=?]")


def boundary_of(content_type: str | None) -> bytes:
    """The boundary in a Content-Type. RequestIsNotMultiPartContent, MalformedPOSTRequest."""
    message = email.message.Message()
    message["content-type"] = content_type or ""
    if message.get_content_type() != "multipart/form-data":
        raise S3Error("RequestIsNotMultiPartContent")
    boundary = (message.get_boundary() or "").encode("utf-8", "surrogateescape")
    if not _BOUNDARY.fullmatch(boundary) or len(boundary) > FORM_BOUNDARY_BYTES_MAX:
        raise S3Error("MalformedPOSTRequest")
    return boundary


class FormDecoder:
    """The decoder of one form."""

    def __init__(self, boundary: bytes) -> None:
        self._mark = b"\r\n--" + boundary
        self._held = bytearray(b"\r\n")  # the first boundary may be the first bytes
        self._state = _State.PREAMBLE
        self._spent = 0  # bytes of fields and heads
        self._name = ""

    @property
    def done(self) -> bool:
        """Whether the file has ended."""
        return self._state is _State.DONE

    def feed(self, data: bytes | bytearray | memoryview) -> list[Event]:
        """What these next bytes hold. Views of the file are good until the next call."""
        if self.done:
            return []
        self._held += data
        held, self._held = self._held, bytearray()
        events: list[Event] = []
        position = 0
        while not self.done:
            before = position
            position = self._step(held, position, events)
            if position == before:
                break
        if not self.done:
            self._held = held[position:]
            if self._state is not _State.FILE and len(self._held) > FORM_FIELDS_BYTES_MAX:
                raise _too_long()
        return events

    def close(self) -> None:
        """There are no more bytes. IncompleteBody, MalformedPOSTRequest."""
        if self._state is _State.FILE:
            raise S3Error("IncompleteBody")
        if not self.done:
            raise _no_file()

    def _step(self, held: bytearray, position: int, events: list[Event]) -> int:
        """Understand what is at `position`; returns where to go on, `position` itself if more
        bytes are needed."""
        if self._state is _State.AFTER_BOUNDARY:
            return self._after_boundary(held, position)
        if self._state is _State.HEAD:
            return self._take_head(held, position, events)
        end = held.find(self._mark, position)
        if end < 0:
            return self._without_end(held, position, events)
        if self._state is _State.FILE:
            if end > position:
                events.append(memoryview(held)[position:end])
            events.append(FileEnds())
            self._state = _State.DONE
            return end
        if self._state is _State.FIELD:
            self._spend(end - position)
            value = bytes(held[position:end]).decode("utf-8", "surrogateescape")
            events.append(Field(self._name, value))
        self._state = _State.AFTER_BOUNDARY
        return end + len(self._mark)

    def _without_end(self, held: bytearray, position: int, events: list[Event]) -> int:
        """What cannot belong to a boundary is of the file."""
        if self._state is not _State.FILE:
            return position
        safe = len(held) - len(self._mark) + 1
        if safe <= position:
            return position
        events.append(memoryview(held)[position:safe])
        return safe

    def _after_boundary(self, held: bytearray, position: int) -> int:
        if len(held) < position + 2:
            return position
        following = bytes(held[position : position + 2])
        if following != b"\r\n":
            if following == b"--":
                raise _no_file()
            raise S3Error("MalformedPOSTRequest")
        self._state = _State.HEAD
        return position + 2

    def _take_head(self, held: bytearray, position: int, events: list[Event]) -> int:
        end = held.find(b"\r\n\r\n", position)
        if end < 0:
            return position
        self._spend(end - position)
        text = bytes(held[position:end]).decode("utf-8", "surrogateescape")
        message = email.message.Message()
        for line in text.split("\r\n"):
            name, colon, value = line.partition(":")
            if not colon or "\n" in line or "\r" in line:
                raise S3Error("MalformedPOSTRequest")
            if name.strip().lower() not in message:
                message[name.strip()] = value.strip()
        named = message.get_param("name", header="content-disposition")
        if not isinstance(named, str):
            raise S3Error("MalformedPOSTRequest")
        self._name = named.lower()
        if self._name == _NAME:
            events.append(FileBegins(_filename(message), message.get("content-type", "")))
            self._state = _State.FILE
        else:
            self._state = _State.FIELD
        return end + 4

    def _spend(self, count: int) -> None:
        self._spent += count
        if self._spent > FORM_FIELDS_BYTES_MAX:
            raise _too_long()


def _filename(message: email.message.Message) -> str:
    """The last part of the name: some browsers sent whole paths."""
    name = message.get_param("filename", header="content-disposition")
    return name.replace("\\", "/").rpartition("/")[2] if isinstance(name, str) else ""


def _no_file() -> S3Error:
    return S3Error(
        "InvalidArgument",
        "POST requires exactly one file upload per request.",
        ArgumentName=_NAME,
        ArgumentValue="0",
    )


def _too_long() -> S3Error:
    return S3Error("MaxPostPreDataLengthExceededError")
