"""Heads of requests: however they are split, within their bounds, and framed in one way only."""

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from objfs.base.limits import (
    S3_BODY_BYTES_MAX,
    S3_HEAD_BYTES_MAX,
    S3_HEADERS_MAX,
    S3_TARGET_BYTES_MAX,
)
from objfs.s3.errors import S3Error
from objfs.s3.heads import Head, HeadReader
from objfs.s3.http import Headers

PUT = (
    b"PUT /b/k%20?partNumber=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n"
    b"Expect: 100-continue\r\nX-Amz-Meta-A:  b c \r\n\r\n"
)


def read(*pieces: bytes) -> Head | None:
    reader = HeadReader()
    head = None
    for piece in pieces:
        assert head is None
        head = reader.feed(piece)
    return head


def refused(head: bytes) -> tuple[int, str]:
    with pytest.raises(S3Error) as caught:
        read(head)
    return caught.value.status, caught.value.code


def with_headers(*lines: str, version: str = "1.1") -> bytes:
    return "\r\n".join([f"PUT /b/k HTTP/{version}", "Host: h", *lines, "", ""]).encode()


def test_a_head_may_be_split_anywhere() -> None:
    for cut in range(len(PUT)):
        head = read(PUT[:cut], PUT[cut:] + b"hello") if cut else read(PUT + b"hello")
        assert head is not None
        assert (head.method, head.target, head.version) == ("PUT", b"/b/k%20?partNumber=1", "1.1")
        assert (head.length, head.expects_continue, head.keep_alive) == (5, True, True)
        assert head.headers.get("x-amz-meta-a") == "b c"
        assert head.leftover == b"hello"
    assert read(*(PUT[at : at + 1] for at in range(len(PUT)))) is not None


def test_empty_lines_before_a_head_are_skipped() -> None:
    reader = HeadReader()
    assert reader.feed(b"\r\n\r") is None
    assert not reader.began
    head = reader.feed(b"\n" + PUT)
    assert head is not None
    assert head.leftover == b""


@pytest.mark.parametrize(
    ("head", "answer"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", (400, "BadRequest")),  # no Host
        (b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", (505, "HttpVersionNotSupported")),
        (b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", (400, "BadRequest")),
        (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n", (400, "BadRequest")),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", (400, "BadRequest")),
        (b"G" * 33 + b" / HTTP/1.1\r\nHost: h\r\n\r\n", (400, "BadRequest")),
        (with_headers("Content-Length: -1"), (400, "BadRequest")),
        (with_headers("Content-Length: 1", "Content-Length: 2"), (400, "BadRequest")),
        (with_headers("Content-Length: 1", "Transfer-Encoding: chunked"), (400, "BadRequest")),
        (with_headers("Transfer-Encoding: gzip"), (501, "NotImplemented")),
        (with_headers("Transfer-Encoding: chunked", version="1.0"), (400, "BadRequest")),
        (with_headers(f"Content-Length: {S3_BODY_BYTES_MAX + 1}"), (400, "EntityTooLarge")),
        (with_headers("Expect: wonders"), (417, "ExpectationFailed")),
        (with_headers("A: b\0c"), (400, "BadRequest")),
        (with_headers("Bad Name: b"), (400, "BadRequest")),
        (with_headers("A: " + "b" * S3_HEAD_BYTES_MAX), (400, "RequestHeaderSectionTooLarge")),
        (with_headers(*["A: b"] * S3_HEADERS_MAX), (400, "RequestHeaderSectionTooLarge")),
        (b"GET /" + b"a" * S3_HEAD_BYTES_MAX, (400, "RequestHeaderSectionTooLarge")),
        (
            b"GET /" + b"a" * S3_TARGET_BYTES_MAX + b" HTTP/1.1\r\nHost: h\r\n\r\n",
            (414, "RequestURITooLong"),
        ),
    ],
)
def test_bad_heads_are_refused(head: bytes, answer: tuple[int, str]) -> None:
    assert refused(head) == answer


@pytest.mark.parametrize(
    ("lines", "version", "kept"),
    [
        ((), "1.1", True),
        (("Connection: close",), "1.1", False),
        (("Connection: TE, Close",), "1.1", False),
        ((), "1.0", False),
        (("Connection: Keep-Alive",), "1.0", True),
    ],
)
def test_who_wants_to_keep_the_connection(lines: list[str], version: str, kept: bool) -> None:
    head = read(with_headers(*lines, version=version))
    assert head is not None
    assert head.keep_alive is kept


def test_how_the_body_is_framed() -> None:
    lengths = {
        (): 0,
        ("Content-Length: 7",): 7,
        ("Content-Length: 7", "Content-Length: 7"): 7,
        ("Transfer-Encoding: Chunked",): None,
    }
    for lines, length in lengths.items():
        head = read(with_headers(*lines))
        assert head is not None
        assert head.length == length
    assert not read(with_headers("Expect: 100-continue", version="1.0")).expects_continue  # type: ignore[union-attr]


@given(st.lists(st.binary(min_size=1, max_size=200), max_size=20))
def test_noise_is_refused_or_waited_for(pieces: list[bytes]) -> None:
    reader = HeadReader()
    with contextlib.suppress(S3Error):
        assert all(reader.feed(piece) is None for piece in pieces)


@given(st.binary(max_size=60), st.integers(0, 10_000))
def test_a_damaged_head_is_read_or_refused(noise: bytes, at: int) -> None:
    place = at % len(PUT)
    with contextlib.suppress(S3Error):
        head = read(PUT[:place] + noise + PUT[place + len(noise) :])
        assert head is None or head.target


_NO_HEADERS = Headers()
_NAMES = ("Host", "content-length", "Transfer-Encoding", "Expect", "Connection", "x-amz-meta-a", "")
_VALUES = (
    "h",
    "5",
    "05",
    "-1",
    "9" * 21,
    "chunked",
    "close, x",
    "100-continue",
    " a  b\t",
    "",
    "\0",
)
_ENDS = ("\r\n", "\r\n", "\r\n", "\n", "\r", "\r\n ")


@given(
    st.sampled_from(["GET", "put", "CONNECT", "A" * 40, ""]),
    st.sampled_from(["/", "/b/%20?x=y", "h:1", "/a b", "/\x7f", "http://h/b"]),
    st.sampled_from([" HTTP/1.1", " HTTP/1.1", " HTTP/1.0", " HTTP/2.0", "  HTTP/1.1"]),
    st.lists(
        st.tuples(
            st.sampled_from(_NAMES),
            st.sampled_from([":", ": ", " :", ""]),
            st.sampled_from(_VALUES) | st.text("ab \t\x7f\xe9\r\n", max_size=4),
            st.sampled_from(_ENDS),
        ),
        max_size=4,
    ),
    st.sampled_from(["", "Host: h\r\n"]),
    st.binary(max_size=3),
)
@example("GET", "/b/k", " HTTP/1.1", [("content-length", ": ", "5", "\r\n")], "Host: h\r\n", b"ab")
def test_a_head_that_comes_whole_is_read_as_one_in_pieces(
    method: str,
    target: str,
    version: str,
    lines: list[tuple[str, str, str, str]],
    host: str,
    body: bytes,
) -> None:
    text = f"{method} {target}{version}\r\n{host}{''.join(map(''.join, lines))}\r\n"
    whole = text.encode("latin-1") + body
    assert outcome(whole) == outcome(whole[:1], whole[1:])


def outcome(*pieces: bytes) -> object:
    try:
        head = read(*pieces)
    except S3Error as error:
        return error.status, error.code
    return head and (head._replace(headers=_NO_HEADERS), head.headers.pairs)
