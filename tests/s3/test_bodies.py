"""Bodies off the wire: every byte of them and none of what follows, however they come."""

from collections.abc import Iterable
from itertools import pairwise

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from objfs.base import limits
from objfs.base.limits import S3_PIECE_BYTES
from objfs.s3.bodies import Buffers, Source, WireBody, chunk_size
from objfs.s3.errors import S3Error


class Wire:
    """Hands out pieces, then the end."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = [piece for piece in pieces if piece]
        self.source = Source(self._receive_into)

    async def _receive_into(self, buffer: memoryview) -> int:
        if not self._pieces:
            return 0
        first = self._pieces.pop(0)
        if len(first) > len(buffer):
            self._pieces.insert(0, first[len(buffer) :])
            first = first[: len(buffer)]
        buffer[: len(first)] = first
        return len(first)

    def body(self, length: int | None) -> WireBody:
        return WireBody(self.source, length, Buffers(1), None)

    async def rest(self) -> bytes:
        rest = b""
        while data := await self.source.receive():
            rest += data
        return rest


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    edges = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[begin:end] for begin, end in pairwise(edges)]


def chunked(pieces: Iterable[bytes], trailer: bytes = b"") -> bytes:
    chunks = b"".join(b"%x;a=b\r\n%s\r\n" % (len(piece), piece) for piece in pieces if piece)
    return chunks + b"0\r\n" + trailer + b"\r\n"


@given(st.binary(max_size=3000), st.lists(st.integers(0, 5000)), st.integers(1, 500))
def test_a_declared_length_is_kept_to(data: bytes, places: list[int], size: int) -> None:
    async def main() -> None:
        wire = Wire(cut(data + b"NEXT", places))
        body = wire.body(len(data))
        buffer, read = bytearray(size), b""
        while count := await body.read_into(buffer):
            read += buffer[:count]
        assert read == data
        assert (body.complete, body.received) == (True, len(data))
        assert await wire.rest() == b"NEXT"

    trio.run(main)


@given(
    st.lists(st.binary(max_size=300), max_size=8),
    st.lists(st.integers(0, 5000)),
    st.sampled_from([b"", b"x-amz-checksum-crc32: AAAAAA==\r\n"]),
)
def test_chunks_are_joined(pieces: list[bytes], places: list[int], trailer: bytes) -> None:
    async def main() -> None:
        wire = Wire(cut(chunked(pieces, trailer) + b"NEXT", places))
        body = wire.body(None)
        assert await body.read_all(10_000) == b"".join(pieces)
        assert body.complete
        assert await wire.rest() == b"NEXT"
        body.release()

    trio.run(main)


async def test_chunks_split_at_every_byte() -> None:
    data = chunked([b"hello", b" ", b"world!" * 3], b"a: b\r\n")
    for place in range(len(data)):
        assert await Wire(cut(data, [place])).body(None).read_all(100) == b"hello " + b"world!" * 3


async def test_pieces_are_whole_and_their_buffer_is_used_again() -> None:
    data = bytes(range(251)) * (2 * S3_PIECE_BYTES // 251 + 9)
    wire = Wire(cut(data, range(0, len(data), 70_001)))
    buffers = Buffers(1)
    body = WireBody(wire.source, len(data), buffers, None)
    sizes, read = [], bytearray()
    async for piece in body:
        sizes.append(len(piece))
        read += piece
    assert read == data
    assert sizes == [S3_PIECE_BYTES, S3_PIECE_BYTES, len(data) - 2 * S3_PIECE_BYTES]
    body.release()
    buffer = buffers.take()
    assert buffer[: sizes[-1]] == data[-sizes[-1] :]
    assert buffers.take() is not buffer


async def test_what_came_with_the_head_is_not_copied() -> None:
    wire = Wire([])
    wire.source.keep(b"helloNEXT")
    body = wire.body(5)
    pieces = [bytes(piece) async for piece in body]
    assert pieces == [b"hello"]
    assert body.complete
    assert await wire.rest() == b"NEXT"


@pytest.mark.parametrize("length", [10, None])
async def test_a_body_that_ends_early(length: int | None) -> None:
    sent = b"hello" if length else b"a\r\nhello"
    body = Wire([sent]).body(length)
    with pytest.raises(S3Error) as caught:
        await body.read_all(100)
    assert (caught.value.status, caught.value.code) == (400, "IncompleteBody")
    assert body.broken
    assert body.left_max is None


@pytest.mark.parametrize(
    "sent",
    [
        b"\r\n",
        b"x\r\n",
        b"-1\r\n",
        b"0x5\r\nhello\r\n",
        b"5 5\r\nhello\r\n",
        b"f" * 16 + b"\r\n",
        b"5\r\nhelloX\r\n0\r\n\r\n",
        b"5" * (limits.S3_CHUNK_LINE_BYTES_MAX + 1),
        b"0\r\n" + b"a: b\r\n" * (limits.S3_TRAILERS_MAX + 1) + b"\r\n",
    ],
)
async def test_broken_chunks_are_refused(sent: bytes) -> None:
    body = Wire([sent]).body(None)
    with pytest.raises(S3Error) as caught:
        await body.read_all(100)
    assert (caught.value.status, caught.value.code) == (400, "InvalidRequest")
    assert body.broken


def test_sizes_of_chunks() -> None:
    assert chunk_size(b"1F") == 31
    assert chunk_size(b"00a ;chunk-signature=ff") == 10


async def test_the_client_is_told_to_go_on_once_and_only_for_a_read() -> None:
    told = []

    async def proceed() -> None:
        told.append(True)

    body = WireBody(Wire([b"he", b"llo"]).source, 5, Buffers(1), proceed)
    assert body.is_awaited
    assert await body.read_some_into(memoryview(b"")) == 0
    assert not told
    assert await body.read_all(5) == b"hello"
    assert told == [True]
    assert not body.is_awaited


async def test_a_chunked_body_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("objfs.s3.bodies.S3_BODY_BYTES_MAX", 8)
    body = Wire([chunked([b"hello", b"world"])]).body(None)
    with pytest.raises(S3Error) as caught:
        await body.read_all(100)
    assert caught.value.code == "EntityTooLarge"
