"""The body of a call, as it was meant: unframed, and held against what was signed and sent.

Promises: nothing of a body counts before `finish` returned: by then the declared SHA-256, every
chunk's signature and the trailer agree with the bytes.
"""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

from objfs.auth.sigv4 import check_body
from objfs.base.limits import XML_BYTES_MAX
from objfs.s3.calls import Call
from objfs.s3.chunked import Trailer, decoder_of, verify
from objfs.s3.documents.checksums import HEADERS
from objfs.s3.errors import S3Error
from objfs.s3.headers.checksums import SentChecksums, sent_checksums, sent_digest
from objfs.volume.digests import Digests

_LENGTH = "content-length"
_DECODED_LENGTH = "x-amz-decoded-content-length"
_HASHED_INLINE_BYTES = 16 * 1024  # hashing more takes longer than going to a thread


def body_length(call: Call) -> int:
    """How many bytes the body of a call has, without its framing. MissingContentLength,
    InvalidArgument."""
    if not call.caller.payload.chunked:
        if call.request.body.length is None or _LENGTH not in call.headers:
            raise S3Error("MissingContentLength")
        return call.request.body.length
    text = call.headers.get(_DECODED_LENGTH)
    if text is None:
        raise S3Error("MissingContentLength")
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise S3Error("InvalidArgument", ArgumentName=_DECODED_LENGTH, ArgumentValue=text)
    return int(text)


@asynccontextmanager
async def raw_pieces(call: Call) -> AsyncIterator[AsyncIterator[memoryview]]:
    """The raw body; given back when whoever reads it stops early."""
    pieces = call.request.body.__aiter__()
    try:
        yield pieces
    finally:
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()


class Receiving:
    """One body. Iterate `pieces`, then `finish`."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._payload = call.caller.payload
        self._sha256 = hashlib.sha256() if self._payload.sha256 is not None else None
        self.length = body_length(call)
        self.sent = sent_checksums(call.headers)
        self._trailer: dict[str, str] = {}

    async def pieces(self) -> AsyncGenerator[memoryview, None]:
        """The bytes; a piece is good until the next is asked for. BadFraming, NotAuthenticated,
        what `Body` raises."""
        if self._payload.chunked:
            async with aclosing(self._unframed()) as unframed:
                async for piece in unframed:
                    yield piece
            return
        async with raw_pieces(self._call) as body:
            async for piece in body:
                if self._sha256 is not None:
                    await self._hash(self._sha256.update, piece)
                yield piece

    async def _hash(self, update: Callable[[memoryview], None], piece: memoryview) -> None:
        if len(piece) <= _HASHED_INLINE_BYTES:
            update(piece)
        else:
            await self._call.threads.run(update, piece)

    async def _unframed(self) -> AsyncGenerator[memoryview, None]:
        decoder = decoder_of(self._payload, self.length, self._call.headers.get("x-amz-trailer"))
        chunks = self._call.caller.chunks
        async with raw_pieces(self._call) as body:
            async for raw in body:
                events = decoder.feed(raw)
                if chunks is not None:
                    await self._call.threads.run(verify, events, chunks)
                for event in events:
                    if isinstance(event, memoryview):
                        yield event
                    elif isinstance(event, Trailer):
                        self._trailer = dict(event.headers)
        decoder.close()

    def finish(self) -> SentChecksums:
        """The sums that came with the body, those of its trailer too. NotAuthenticated for a body
        that is not the signed one, InvalidRequest."""
        if self._sha256 is not None:
            check_body(self._payload, self._sha256.hexdigest())
        trailer = self.sent.trailer
        if trailer is None:
            return self.sent
        value = self._trailer.get(trailer)
        if value is None:
            raise S3Error("MalformedTrailerError")
        algorithm = HEADERS[trailer]
        return self.sent._replace(digests=((algorithm, sent_digest(algorithm, value)),))


async def read_document(call: Call, limit: int = XML_BYTES_MAX) -> bytes:
    """The whole of a small body, verified. MaxMessageLengthExceeded, BadDigest and what
    `Receiving` raises."""
    if call.request.body.length == 0:
        return b""
    receiving = Receiving(call)
    if receiving.length > limit:
        raise S3Error("MaxMessageLengthExceeded", MaxMessageLengthBytes=limit)
    document = bytearray()
    async with aclosing(receiving.pieces()) as pieces:
        async for piece in pieces:
            document += piece
    sent = receiving.finish()
    digests = Digests(algorithm for algorithm, _ in sent.digests)
    digests.update([document])
    digests.check(sent.md5, dict(sent.digests))
    return bytes(document)
