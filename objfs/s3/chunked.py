"""The framing of `aws-chunked`: a body in chunks of a declared size, and headers after it.

    chunk-size [";chunk-signature=" 64 hex] CRLF data CRLF ... 0 [";chunk-signature=" ...] CRLF
    *( name ":" value CRLF ) [ "x-amz-trailer-signature:" 64 hex CRLF ] CRLF

Owns the grammar and its bounds. Pure and pushed: bytes go in, events come out, in order: payload as
memoryviews of what was fed (nothing is copied), the end of each chunk, and at last the trailer.
`verify` hands the events of a signed body to its verifier; that is where the time goes, so it is a
function of its own, for a thread.

Promises: never more payload than was declared; a body that ends early, goes on, or breaks a bound
raises a BadFraming before anybody believes it complete.

Source: "Signature Calculations: Transferring Payload in Multiple Chunks" and "Including Trailing
Headers (Chunked Upload)" of the Amazon S3 API Reference. Tolerated because clients send them: a
trailer line that ends with a bare LF, and an empty line before the trailer's signature.
"""

import enum
import re
from collections.abc import Collection, Iterable
from typing import NamedTuple, TypeAlias

from objfs.auth.chunks import ChunkVerifier
from objfs.auth.claims import Payload
from objfs.base.errors import BadChunkSize, BadFraming, BadTrailer, IncompleteBody
from objfs.base.limits import (
    CHUNK_BYTES_MAX,
    CHUNK_BYTES_MIN,
    CHUNK_LINE_BYTES_MAX,
    TRAILER_BYTES_MAX,
    TRAILERS_MAX,
)


class ChunkEnd(NamedTuple):
    """All bytes of a chunk were given out. The last chunk has none."""

    signature: str  # empty in an unsigned body


class Trailer(NamedTuple):
    """The end of the body: its headers, (name in lower case, value), in their order."""

    headers: tuple[tuple[str, str], ...]
    signature: str | None


Event: TypeAlias = memoryview | ChunkEnd | Trailer


class _State(enum.Enum):
    SIZE = enum.auto()  # a line with the size of the next chunk
    DATA = enum.auto()  # bytes of a chunk
    AFTER_DATA = enum.auto()  # the line end behind them
    TRAILER = enum.auto()  # lines up to an empty one
    DONE = enum.auto()


_SIGNED_SIZE = re.compile(rb"([0-9a-fA-F]{1,16});chunk-signature=([0-9a-fA-F]{64})")
_UNSIGNED_SIZE = re.compile(rb"([0-9a-fA-F]{1,16})")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*:[ \t]*([\x20-\x7e\t\x80-\xff]*)")
_TRAILER_SIGNATURE = "x-amz-trailer-signature"


class ChunkedDecoder:
    """The decoder of one body. `done` once the trailer was given out."""

    def __init__(
        self, decoded_length: int, *, signed: bool, trailer: bool, names: Collection[str] = ()
    ) -> None:
        """`decoded_length` is `x-amz-decoded-content-length`, `names` what `x-amz-trailer`
        announces (in lower case): all of them have to come, and no other."""
        self.done = False
        self._missing = decoded_length
        self._signed = signed
        self._trailer = trailer
        self._names = frozenset(names)
        self._size_line = _SIGNED_SIZE if signed else _UNSIGNED_SIZE
        self._state = _State.SIZE
        self._line = bytearray()  # the beginning of one that is not complete
        self._left = 0  # bytes of the chunk
        self._small = False  # a chunk was: it has to be the last
        self._signature = ""
        self._headers: list[tuple[str, str]] = []
        self._trailer_signature: str | None = None
        self._trailer_bytes = 0

    def feed(self, data: bytes | bytearray | memoryview) -> list[Event]:
        """What these next bytes hold. The memoryviews are of `data`: valid as long as it is."""
        view = memoryview(data)
        events: list[Event] = []
        position = 0
        while position < len(view):
            if self._state is _State.DATA:
                piece = view[position : position + self._left]
                events.append(piece)
                position += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._state = _State.AFTER_DATA
                    events.append(ChunkEnd(self._signature))
            else:
                position = self._take_line(view, position, events)
        return events

    def close(self) -> None:
        """There will be no more bytes. IncompleteBody unless it was all."""
        if not self.done:
            raise _incomplete("the body ends within its chunks")

    # --- Lines ------------------------------------------------------------------------------------

    def _take_line(self, view: memoryview, position: int, events: list[Event]) -> int:
        """Reads up to the end of a line; returns the position behind it, or that of the end."""
        if self._state is _State.DONE:
            return self._after_end(view, position)
        bound = TRAILER_BYTES_MAX if self._state is _State.TRAILER else CHUNK_LINE_BYTES_MAX
        window = bytes(view[position : position + bound - len(self._line)])
        end = window.find(b"\n") + 1
        self._line += window[: end or len(window)]
        if not end:
            if len(self._line) >= bound:
                raise BadFraming(f"a line within the chunks of the body has over {bound} bytes")
            return position + len(window)
        line = bytes(self._line)
        self._line.clear()
        self._understand(line, events)
        return position + end

    def _understand(self, line: bytes, events: list[Event]) -> None:
        if self._state is _State.TRAILER:
            self._trailer_line(line, events)
            return
        if not line.endswith(b"\r\n"):
            raise BadFraming("a line within the chunks of the body does not end with CR LF")
        if self._state is _State.SIZE:
            self._chunk(line[:-2], events)
        elif len(line) > 2:
            raise BadFraming("a chunk of the body is longer than its size says")
        else:
            self._state = _State.SIZE

    def _chunk(self, line: bytes, events: list[Event]) -> None:
        match = self._size_line.fullmatch(line)
        if match is None:
            raise BadFraming("the size of a chunk of the body cannot be read")
        size = int(match[1], 16)
        self._signature = match[2].decode() if self._signed else ""
        if not size:
            if self._missing:
                raise _incomplete(f"{self._missing} bytes fewer came than were declared")
            events.append(ChunkEnd(self._signature))
            self._state = _State.TRAILER
            return
        if size > CHUNK_BYTES_MAX:
            raise BadChunkSize(f"a chunk of {size} bytes; they have at most {CHUNK_BYTES_MAX}")
        if self._small:
            raise BadChunkSize(
                f"Only the last chunk is allowed to have a size less than {CHUNK_BYTES_MIN} bytes"
            )
        if size > self._missing:
            raise _incomplete("more bytes came than were declared")
        self._small = size < CHUNK_BYTES_MIN
        self._missing -= size
        self._left = size
        self._state = _State.DATA

    # --- The trailer ------------------------------------------------------------------------------

    def _trailer_line(self, line: bytes, events: list[Event]) -> None:
        self._trailer_bytes += len(line)
        if self._trailer_bytes > TRAILER_BYTES_MAX:
            raise BadTrailer(f"the trailer of the body has over {TRAILER_BYTES_MAX} bytes")
        line = line[:-1].removesuffix(b"\r")
        if line:
            self._trailer_header(line)
        elif not (self._awaits_signature() and self._headers):
            self._end(events)

    def _awaits_signature(self) -> bool:
        return self._signed and self._trailer and self._trailer_signature is None

    def _trailer_header(self, line: bytes) -> None:
        match = _HEADER.fullmatch(line)
        if match is None or not self._trailer or self._trailer_signature is not None:
            raise _bad_trailer()
        name = match[1].decode("ascii").lower()
        value = match[2].decode("utf-8", "surrogateescape").rstrip(" \t")
        if self._signed and name == _TRAILER_SIGNATURE:
            self._trailer_signature = value
            return
        if name not in self._names or any(name == each for each, _ in self._headers):
            raise _bad_trailer()
        if len(self._headers) == TRAILERS_MAX:
            raise BadTrailer(f"the trailer of the body has over {TRAILERS_MAX} headers")
        self._headers.append((name, value))

    def _end(self, events: list[Event]) -> None:
        if len(self._headers) < len(self._names) or self._awaits_signature():
            raise _bad_trailer()
        self._state = _State.DONE
        self.done = True
        events.append(Trailer(tuple(self._headers), self._trailer_signature))

    def _after_end(self, view: memoryview, position: int) -> int:
        self._trailer_bytes += len(view) - position
        rest = bytes(view[position : position + TRAILER_BYTES_MAX])
        if self._trailer_bytes > TRAILER_BYTES_MAX or rest.strip(b"\r\n"):
            raise BadFraming("the body goes on after its last chunk")
        return len(view)


def decoder_of(payload: Payload, decoded_length: int, trailer: str | None) -> ChunkedDecoder:
    """The decoder for a body that is covered so; `trailer` is the value of `x-amz-trailer`."""
    return ChunkedDecoder(
        decoded_length,
        signed=payload.signed_chunks,
        trailer=payload.trailer,
        names=_announced(trailer),
    )


def verify(events: Iterable[Event], verifier: ChunkVerifier) -> None:
    """The signatures of a body, as far as the events go. NotAuthenticated when one is wrong. Hashes
    the payload: for a thread."""
    for event in events:
        if isinstance(event, memoryview):
            verifier.update(event)
        elif isinstance(event, ChunkEnd):
            verifier.end_chunk(event.signature)
        elif event.signature is not None:
            verifier.end_trailer(event.headers, event.signature)


def _announced(header: str | None) -> frozenset[str]:
    names = [name.strip().lower() for name in (header or "").split(",")]
    found = frozenset(name for name in names if name)
    if len(found) > TRAILERS_MAX:
        raise BadTrailer(f"x-amz-trailer names over {TRAILERS_MAX} headers")
    return found


def _incomplete(what: str) -> IncompleteBody:
    return IncompleteBody(
        "You did not provide the number of bytes specified by the x-amz-decoded-content-length "
        f"HTTP header: {what}"
    )


def _bad_trailer() -> BadTrailer:
    return BadTrailer(
        "The request contained trailing data that was not well-formed or did not conform to our "
        "published schema."
    )
