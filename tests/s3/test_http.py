"""What a request says: its target, query and headers, raw and decoded; bodies read in any way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objfs.base.limits import S3_PIECE_BYTES
from objfs.s3.errors import S3Error
from objfs.s3.http import (
    BytesBody,
    Headers,
    Query,
    Request,
    decode_text,
    encode_text,
    split_target,
)


@given(st.binary())
def test_text_gives_its_bytes_back(raw: bytes) -> None:
    assert encode_text(decode_text(raw)) == raw


def test_headers_are_found_in_any_case_and_kept_in_order() -> None:
    headers = Headers([(b"Host", b"a"), (b"x-amz-meta-b", b"\xc3\xa9"), (b"X-Amz-Meta-B", b"\xff")])
    assert headers.get("HOST") == "a"
    assert headers.get("x-amz-meta-b") == "é"
    assert headers.all("X-AMZ-META-B") == ["é", "\udcff"]
    assert "Content-Type" not in headers
    assert headers.get("content-type") is None
    assert [name for name, _ in headers] == ["host", "x-amz-meta-b", "x-amz-meta-b"]


def test_a_query_keeps_order_and_raw_form() -> None:
    query = Query(b"uploads&prefix=a%2Fb+c&prefix=d&&x==&%ff=%FF")
    assert [pair.name for pair in query] == ["uploads", "prefix", "prefix", "x", "\udcff"]
    assert query.get("uploads") == ""
    assert query.get("prefix") == "a/b c"
    assert query.all("prefix") == ["a/b c", "d"]
    assert query.get("x") == "="
    assert "prefix" in query
    assert "delimiter" not in query
    first, second = query.pairs[:2]
    assert (first.raw_name, first.raw_value) == (b"uploads", None)
    assert second.raw_value == b"a%2Fb+c"


@pytest.mark.parametrize(
    ("target", "path", "query", "authority"),
    [
        (b"/", b"/", b"", None),
        (b"/a%2f/b?c=d?e", b"/a%2f/b", b"c=d?e", None),
        (b"//a//b", b"//a//b", b"", None),
        (b"/x://y", b"/x://y", b"", None),
        (b"*", b"*", b"", None),
        (b"http://host:1/a?b", b"/a", b"b", b"host:1"),
        (b"HTTPS://host", b"/", b"", b"host"),
        (b"http://host?b=/c", b"/", b"b=/c", b"host"),
    ],
)
def test_targets(target: bytes, path: bytes, query: bytes, authority: bytes | None) -> None:
    assert split_target(target) == (path, query, authority)


def test_a_request_knows_its_parts() -> None:
    request = Request("GET", b"/b/%C3%A9+%2B?versionId=1", Headers([(b"Host", b"s3.example")]))
    assert request.raw_path == b"/b/%C3%A9+%2B"
    assert request.path == "/b/é++".encode()
    assert request.query.get("versionId") == "1"
    assert request.host == "s3.example"
    assert request.body.length == 0
    absolute = Request("GET", b"http://other/b", Headers([(b"Host", b"s3.example")]))
    assert absolute.host == "other"


async def test_a_body_can_be_read_in_any_way() -> None:
    data = bytes(range(256)) * (S3_PIECE_BYTES // 128 + 1)
    assert await BytesBody(data).read_all(len(data)) == data
    pieces = [bytes(piece) async for piece in BytesBody(data)]
    assert [len(piece) for piece in pieces[:2]] == [S3_PIECE_BYTES] * 2
    assert b"".join(pieces) == data
    body, buffer = BytesBody(data), bytearray(len(data) + 1)
    assert await body.read_into(memoryview(buffer)[:1000]) == 1000
    assert await body.read_into(memoryview(buffer)[1000:]) == len(data) - 1000
    assert buffer[:-1] == data
    assert await body.read_into(buffer) == 0
    assert body.received == len(data)


async def test_a_document_over_its_bound_is_refused() -> None:
    with pytest.raises(S3Error) as caught:
        await BytesBody(b"12345").read_all(4)
    assert (caught.value.status, caught.value.code) == (400, "EntityTooLarge")
