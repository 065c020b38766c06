"""Bodies framed as `aws-chunked`: what botocore frames is read back, what is broken is refused."""

import hashlib
import io
from typing import Any

import pytest
from botocore.httpchecksum import AwsChunkedWrapper, Crc32Checksum
from hypothesis import given, settings
from hypothesis import strategies as st

from objfs.auth.causes import Cause
from objfs.auth.chunks import ChunkVerifier
from objfs.auth.claims import Claim, Mode, Payload, Place, Scope
from objfs.auth.signing import EMPTY_SHA256, derive
from objfs.base.errors import (
    BadChunkSize,
    BadFraming,
    BadTrailer,
    IncompleteBody,
    NotAuthenticated,
)
from objfs.s3.chunked import ChunkedDecoder, ChunkEnd, Event, Trailer, decoder_of, verify
from tests.auth import oracle

CHECKSUM = "x-amz-checksum-crc32"
STAMP = "20261120T101500Z"
SCOPE = Scope("20261120", oracle.REGION, "s3")
SEED = "0" * 63 + "1"
UNSIGNED = Payload(Mode.UNSIGNED_CHUNKS_TRAILER)

pieces = st.lists(st.integers(1, 3000), max_size=20)


def fed(decoder: ChunkedDecoder, sent: bytes, sizes: list[int] = []) -> list[Event]:  # noqa: B006
    """The events of a body that comes in pieces of those sizes, over and over; else at once."""
    events: list[Event] = []
    at = turn = 0
    while at < len(sent):
        size = sizes[turn % len(sizes)] if sizes else len(sent)
        events += decoder.feed(sent[at : at + size])
        at += size
        turn += 1
    decoder.close()
    return events


def payload_of(events: list[Event]) -> bytes:
    return b"".join(event for event in events if isinstance(event, memoryview))


def signed_body(
    data: bytes, size: int, trailer: list[tuple[str, str]] | None = None, *, gap: bytes = b""
) -> bytes:
    """Framed and signed by the rules, each signature made by botocore's signer."""
    previous = SEED
    sent = b""
    chunks = [data[at : at + size] for at in range(0, len(data), size)] + [b""]
    beginning = f"{STAMP}\n{SCOPE}"
    for chunk in chunks:
        digest = hashlib.sha256(chunk).hexdigest()
        text = f"AWS4-HMAC-SHA256-PAYLOAD\n{beginning}\n{previous}\n{EMPTY_SHA256}\n{digest}"
        previous = oracle.signature(text, STAMP)
        sent += b"%x;chunk-signature=%s\r\n" % (len(chunk), previous.encode())
        sent += chunk + b"\r\n" if chunk else b""
    if trailer is not None:
        lines = "".join(f"{name}:{value}\n" for name, value in trailer)
        digest = hashlib.sha256(lines.encode()).hexdigest()
        made = oracle.signature(
            f"AWS4-HMAC-SHA256-TRAILER\n{beginning}\n{previous}\n{digest}", STAMP
        )
        sent += lines.replace("\n", "\n" if gap else "\r\n").encode() + gap
        sent += f"x-amz-trailer-signature:{made}\r\n".encode()
    return sent + b"\r\n"


def verifier() -> ChunkVerifier:
    payload = Payload(Mode.SIGNED_CHUNKS)
    claim = Claim(Place.HEADER, oracle.KEY, SCOPE, STAMP, ("host",), SEED, payload, None)
    return ChunkVerifier(claim, derive(oracle.SECRET, SCOPE))


# --- What is right --------------------------------------------------------------------------------


@given(st.binary(max_size=50_000), st.integers(8192, 20_000), pieces)
def test_what_botocore_frames(data: bytes, size: int, sizes: list[int]) -> None:
    wrapper: Any = AwsChunkedWrapper(io.BytesIO(data), Crc32Checksum, CHECKSUM, size)
    sent = wrapper.read()
    decoder = decoder_of(UNSIGNED, len(data), CHECKSUM.title())
    events = fed(decoder, sent, sizes)
    assert decoder.done
    assert payload_of(events) == data
    checksum = Crc32Checksum()
    checksum.update(data)
    assert events[-1] == Trailer(((CHECKSUM, checksum.b64digest()),), None)


@given(st.binary(max_size=10_000), pieces)
def test_a_trailer_is_not_needed(data: bytes, sizes: list[int]) -> None:
    wrapper: Any = AwsChunkedWrapper(io.BytesIO(data))
    events = fed(decoder_of(UNSIGNED, len(data), None), wrapper.read() + b"\r\n", sizes)
    assert payload_of(events) == data
    assert events[-1] == Trailer((), None)


@settings(max_examples=50)
@pytest.mark.parametrize("gap", [b"", b"\r\n"])
@pytest.mark.parametrize("with_trailer", [True, False])
@given(data=st.binary(max_size=30_000), size=st.integers(8192, 12_000), sizes=pieces)
def test_what_is_signed_chunk_by_chunk(
    gap: bytes, with_trailer: bool, data: bytes, size: int, sizes: list[int]
) -> None:
    trailer = [(CHECKSUM, "sOO8/Q=="), ("x-amz-meta-sum", "a b")] if with_trailer else None
    mode = Mode.SIGNED_CHUNKS_TRAILER if with_trailer else Mode.SIGNED_CHUNKS
    names = f"{CHECKSUM}, X-Amz-Meta-Sum" if with_trailer else None
    sent = signed_body(data, size, trailer, gap=gap)
    events = fed(decoder_of(Payload(mode), len(data), names), sent, sizes)
    assert payload_of(events) == data
    verify(events, verifier())
    end = events[-1]
    assert isinstance(end, Trailer)
    assert end.headers == tuple(trailer or ())


def test_payload_is_not_copied() -> None:
    sent = b"2800\r\n" + b"a" * 0x2800 + b"\r\n0\r\n\r\n"
    first = decoder_of(UNSIGNED, 0x2800, None).feed(sent)[0]
    assert isinstance(first, memoryview)
    assert first.obj is sent


# --- What was changed on its way ------------------------------------------------------------------


@given(st.data())
def test_a_changed_body_is_not_believed(data: st.DataObject) -> None:
    """Whatever byte is changed: the framing breaks, or a signature does."""
    content = bytes(range(256)) * 36
    sent = signed_body(content, 8192, [(CHECKSUM, "sOO8/Q==")])
    at = data.draw(st.integers(0, len(sent) - 5))
    changed = sent[:at] + bytes([data.draw(st.integers(0, 255))]) + sent[at + 1 :]
    decoder = decoder_of(Payload(Mode.SIGNED_CHUNKS_TRAILER), len(content), CHECKSUM)
    try:
        events = fed(decoder, changed)
        verify(events, verifier())
    except (BadFraming, NotAuthenticated):
        return
    assert payload_of(events) == content
    end = events[-1]
    assert isinstance(end, Trailer)
    assert end.headers == ((CHECKSUM, "sOO8/Q=="),)


def test_chunks_in_another_order_are_not_believed() -> None:
    sent = signed_body(b"a" * 8192 + b"b" * 8192, 8192)
    size = len(b"2000;chunk-signature=") + 64 + 2 + 8192 + 2
    swapped = sent[size : 2 * size] + sent[:size] + sent[2 * size :]
    events = fed(decoder_of(Payload(Mode.SIGNED_CHUNKS), 16_384, None), swapped)
    with pytest.raises(NotAuthenticated) as caught:
        verify(events, verifier())
    assert caught.value.cause is Cause.WRONG_SIGNATURE


@given(st.data())
def test_a_body_that_ends_early_is_never_complete(data: st.DataObject) -> None:
    sent = signed_body(b"a" * 9000, 8192, [(CHECKSUM, "sOO8/Q==")])
    decoder = decoder_of(Payload(Mode.SIGNED_CHUNKS_TRAILER), 9000, CHECKSUM)
    with pytest.raises(IncompleteBody):
        fed(decoder, sent[: data.draw(st.integers(0, len(sent) - 2))])


# --- What is refused ------------------------------------------------------------------------------

DATA = b"a" * 8192


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"2000\r\n" + DATA + b"\r\n0\r\n\r\n", None),
        (b"2000\r\n" + DATA + b"\r\n0\r\n\r\n\r\n", None),
        (b"2000\r\n" + DATA + b"\r\n0\r\n\r\nmore", BadFraming),
        (b"2000\r\n" + DATA + b"\r\n0\r\n\r\n" + b"\r\n" * 5000, BadFraming),
        (b"2000\n" + DATA + b"\r\n0\r\n\r\n", BadFraming),
        (b"2000\r\n" + DATA + b"\n0\r\n\r\n", BadFraming),
        (b"2000\r\n" + DATA + b"a\r\n0\r\n\r\n", BadFraming),
        (b"0x2000\r\n" + DATA + b"\r\n0\r\n\r\n", BadFraming),
        (b"+2000\r\n" + DATA + b"\r\n0\r\n\r\n", BadFraming),
        (b"20_00\r\n" + DATA + b"\r\n0\r\n\r\n", BadFraming),
        (b"-1\r\n", BadFraming),
        (b"\r\n", BadFraming),
        (b"2000;chunk-signature=" + b"0" * 64 + b"\r\n" + DATA + b"\r\n0\r\n\r\n", BadFraming),
        (b"0" * 300, BadFraming),
        (b"0" * 10_000 + b"\r\n", BadFraming),
        (b"2001\r\n", IncompleteBody),
        (b"1fff\r\n" + DATA[1:] + b"\r\n0\r\n\r\n", IncompleteBody),
        (b"0\r\n\r\n", IncompleteBody),
        (b"ffffffffffffffff\r\n", BadChunkSize),
        (b"1000\r\n" + DATA[:4096] + b"\r\n1000\r\n", BadChunkSize),
        (b"2000\r\n" + DATA + b"\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", BadTrailer),
        (b"2000\r\n" + DATA + b"\r\n0\r\nnothing\r\n\r\n", BadTrailer),
    ],
)
def test_framing(sent: bytes, error: type[Exception] | None) -> None:
    decoder = decoder_of(UNSIGNED, 8192, None)
    if error is None:
        assert payload_of(fed(decoder, sent)) == DATA
        return
    with pytest.raises(error) as caught:
        fed(decoder, sent)
    assert type(caught.value) is error


@pytest.mark.parametrize(
    "lines",
    [
        b"",
        b"x-amz-checksum-sha1:AAAA\r\n",
        b"x-amz-checksum-crc32 AAAAAA==\r\n",
        b":AAAAAA==\r\n",
        b"x-amz-checksum-crc32:\x00\r\n",
        b"x-amz-checksum-crc32:AAAAAA==\r\nx-amz-checksum-crc32:AAAAAA==\r\n",
        b"x-amz-checksum-crc32:" + b"A" * 5000 + b"\r\n",
        b"x-amz-trailer-signature:" + b"0" * 64 + b"\r\n",
    ],
)
def test_trailers_that_are_refused(lines: bytes) -> None:
    with pytest.raises(BadFraming) as caught:
        fed(decoder_of(UNSIGNED, 0, CHECKSUM), b"0\r\n" + lines + b"\r\n")
    assert not isinstance(caught.value, IncompleteBody)


def test_a_signed_trailer_needs_its_signature() -> None:
    sent = signed_body(b"", 8192, [(CHECKSUM, "AAAAAA==")])
    start = sent.index(b"x-amz-trailer-signature")
    with pytest.raises(BadFraming):
        fed(decoder_of(Payload(Mode.SIGNED_CHUNKS_TRAILER), 0, CHECKSUM), sent[:start] + b"\r\n")
    moved = sent[start:-2] + sent[sent.index(b"x-amz-checksum") : start] + b"\r\n"
    head = sent[: sent.index(b"x-amz-checksum")]
    with pytest.raises(BadTrailer):
        fed(decoder_of(Payload(Mode.SIGNED_CHUNKS_TRAILER), 0, CHECKSUM), head + moved)


def test_a_signed_body_has_no_trailer_unless_it_says_so() -> None:
    sent = signed_body(b"", 8192)[:-2] + b"x-amz-checksum-crc32:AAAAAA==\r\n\r\n"
    with pytest.raises(BadTrailer):
        fed(decoder_of(Payload(Mode.SIGNED_CHUNKS), 0, CHECKSUM), sent)


def test_trailers_are_bounded() -> None:
    with pytest.raises(BadTrailer):
        decoder_of(UNSIGNED, 0, ",".join(f"x-{number}" for number in range(17)))


@given(st.binary(max_size=400), pieces, st.sampled_from(list(Mode)[2:]))
def test_no_bytes_break_the_decoder(sent: bytes, sizes: list[int], mode: Mode) -> None:
    """Nothing but a BadFraming comes out, and never more than was declared."""
    decoder = decoder_of(Payload(mode), 100, CHECKSUM)
    events: list[Event] = []
    try:
        events = fed(decoder, sent, sizes)
    except BadFraming:
        return
    assert len(payload_of(events)) == 100
    assert isinstance(events[-2], ChunkEnd)
