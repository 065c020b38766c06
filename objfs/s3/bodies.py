"""Bodies of requests, as they come off a connection: of a declared length, or in chunked coding.

Promises: data goes from the socket into the buffer of who reads, without a copy in between (but for
what came in one packet with the head, or with the line of a chunk); no byte after the body is
taken for a part of it, none of it for the next request. What ends too early, breaks the framing or
a bound is an S3Error, and the connection takes no further request.
"""

from collections.abc import Awaitable, Callable

from objfs.base.limits import (
    S3_BODY_BYTES_MAX,
    S3_CHUNK_LINE_BYTES_MAX,
    S3_PIECE_BYTES,
    S3_RECEIVE_BYTES,
    S3_TRAILERS_MAX,
)
from objfs.s3.errors import S3Error
from objfs.s3.http import Body, too_large

_HEXADECIMAL = frozenset(b"0123456789abcdefABCDEF")
_SIZE_DIGITS_MAX = 15


class Source:
    """What comes from a client: bytes received and not taken yet, then the connection."""

    def __init__(self, receive_into: Callable[[memoryview], Awaitable[int]]) -> None:
        self._receive_into = receive_into
        self._kept = memoryview(b"")

    @property
    def kept(self) -> int:
        """How many received bytes nobody took yet."""
        return len(self._kept)

    def keep(self, data: bytes) -> None:
        """Bytes that come before what the connection still has."""
        assert not self._kept
        self._kept = memoryview(data)

    def take_nowait(self, limit: int) -> memoryview:
        """Up to `limit` of the bytes that are there."""
        taken, self._kept = self._kept[:limit], self._kept[limit:]
        return taken

    async def receive(self) -> bytes:
        """Some bytes, of those kept or new; b"" at the end."""
        if self._kept:
            return bytes(self.take_nowait(len(self._kept)))
        buffer = bytearray(S3_RECEIVE_BYTES)
        count = await self._receive_into(memoryview(buffer))
        return bytes(memoryview(buffer)[:count])

    async def receive_into(self, buffer: memoryview) -> int:
        """Some bytes into `buffer`; 0 at the end."""
        if self._kept:
            taken = self.take_nowait(len(buffer))
            buffer[: len(taken)] = taken
            return len(taken)
        return await self._receive_into(buffer)

    async def line(self) -> bytes:
        """Up to the next line end, without it. S3Error for one too long, or none."""
        line = bytearray()
        while True:
            data = await self.receive()
            if not data:
                raise incomplete()
            before, end, after = data.partition(b"\n")
            line += before
            if len(line) > S3_CHUNK_LINE_BYTES_MAX:
                raise _bad_chunk("a line is too long")
            if end:
                self.keep(after)
                return bytes(line.removesuffix(b"\r"))


class Buffers:
    """Buffers of S3_PIECE_BYTES that are used again: what is given back, up to a number, is kept.
    A new one costs more than filling it does."""

    def __init__(self, kept_max: int) -> None:
        self._kept_max = kept_max
        self._kept: list[bytearray] = []

    def take(self) -> bytearray:
        return self._kept.pop() if self._kept else bytearray(S3_PIECE_BYTES)

    def give_back(self, buffer: bytearray) -> None:
        if len(self._kept) < self._kept_max:
            self._kept.append(buffer)


class WireBody(Body):
    """A body on its way. `proceed` is awaited before the first byte is received: it tells the
    client to go on, if that waits for it."""

    def __init__(
        self,
        source: Source,
        length: int | None,
        buffers: Buffers,
        proceed: Callable[[], Awaitable[None]] | None,
    ) -> None:
        self.length = length
        self.received = 0
        self.complete = length == 0  # nothing of it is left to read
        self.broken = False  # nothing after it can be understood
        self._source = source
        self._buffers = buffers
        self._proceed = proceed
        self._left = length or 0  # of the body, or of the current chunk
        self._chunks = 0
        self._buffer: bytearray | None = None

    @property
    def left_max(self) -> int | None:
        """How many bytes may be unread; None: not known."""
        if self.complete:
            return 0
        return None if self.length is None or self.broken else self._left

    @property
    def is_awaited(self) -> bool:
        """Whether the client still waits to be told to send it."""
        return self._proceed is not None

    async def read_some_into(self, buffer: memoryview) -> int:
        if self.complete or not len(buffer):
            return 0
        if self._proceed is not None:
            await self._go_on()
        try:
            if self.length is None and not self._left and not await self._next_chunk():
                self.complete = True
                return 0
            count = await self._source.receive_into(buffer[: self._left])
            if not count:
                raise incomplete()
        except OSError as error:
            self.broken = True
            raise incomplete() from error
        except BaseException:
            self.broken = True  # cancelled too: who knows how much was taken
            raise
        self._left -= count
        self.received += count
        if self.length is None:
            self._check_bound()
        elif not self._left:
            self.complete = True
        return count

    async def _go_on(self) -> None:
        proceed, self._proceed = self._proceed, None
        if proceed is not None and not self._source.kept:  # else it did not wait
            await proceed()

    def _check_bound(self) -> None:
        if self.received > S3_BODY_BYTES_MAX:
            self.broken = True
            raise too_large(S3_BODY_BYTES_MAX)

    async def _next_chunk(self) -> bool:
        """Read up to the data of the next chunk; False after the last one and its trailer."""
        if self._chunks and await self._source.line():
            raise _bad_chunk("data goes on after its length")
        self._chunks += 1
        self._left = chunk_size(await self._source.line())
        if self._left:
            return True
        for _ in range(S3_TRAILERS_MAX):
            if not await self._source.line():
                return False
        raise _bad_chunk("the trailer is too long")

    async def __anext__(self) -> memoryview:
        if 0 < (self.left_max or 0) <= self._source.kept:
            return self._take_all()
        if self._buffer is None:
            self._buffer = self._buffers.take()
        count = await self.read_into(self._buffer)
        if not count:
            raise StopAsyncIteration
        return memoryview(self._buffer)[:count]

    def _take_all(self) -> memoryview:
        """What is left, which has come: no copy."""
        piece = self._source.take_nowait(self._left)
        self._proceed = None
        self._left = 0
        self.received += len(piece)
        self.complete = True
        return piece

    def release(self) -> None:
        """Nobody uses a piece any more."""
        if self._buffer is not None:
            self._buffers.give_back(self._buffer)
            self._buffer = None

    async def discard(self, scratch: memoryview) -> None:
        """Read what is left and forget it. S3Error."""
        while await self.read_some_into(scratch):
            pass


def chunk_size(line: bytes) -> int:
    """The size in a chunk's line; extensions are ignored (RFC 9112, section 7.1.1). S3Error."""
    digits = line.partition(b";")[0].strip(b" \t")
    if not digits or len(digits) > _SIZE_DIGITS_MAX or not _HEXADECIMAL.issuperset(digits):
        raise _bad_chunk("the size of a chunk is no hexadecimal number")
    return int(digits, 16)


def incomplete() -> S3Error:
    """The client stopped sending before the end of the body."""
    return S3Error("IncompleteBody")


def _bad_chunk(what: str) -> S3Error:
    return S3Error("InvalidRequest", f"The chunked transfer coding is broken: {what}")
