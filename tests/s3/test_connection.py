"""A connection in memory: what is answered, in which order, and when it is kept."""

import contextlib
import re
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from objfs.base import limits
from objfs.base.errors import DataLost
from objfs.s3.errors import S3Error
from objfs.s3.http import Bytes, Request, Response, Stream
from objfs.s3.transport import Patience
from tests.s3.conftest import Talk, talking

GET = b"GET /b/k HTTP/1.1\r\nHost: h\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


def put(length: int, *lines: str) -> bytes:
    return "\r\n".join(
        ["PUT /b/k HTTP/1.1", "Host: h", f"Content-Length: {length}", *lines, "", ""]
    ).encode()


async def echo(request: Request) -> Response:
    """What was asked, and what came."""
    body = await request.body.read_all(1 << 20)
    return Response(200, [("X-Path", request.raw_path.decode())], body)


async def refuse(request: Request) -> Response:
    """Without a look at the body."""
    raise S3Error("AccessDenied", "Access <Denied>")


def answers(heard: bytes) -> list[tuple[int, dict[str, str], bytes]]:
    """Status, headers (names in lower case) and body of each."""
    found = []
    while heard:
        head, _, heard = heard.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:])
        length = int(headers.get("content-length", 0))
        found.append((int(lines[0].split()[1]), headers, heard[:length]))
        heard = heard[length:]
    return found


async def hear_all(talk: Talk) -> list[tuple[int, dict[str, str], bytes]]:
    return answers(await talk.hear())


async def test_requests_follow_each_other() -> None:
    async with talking(echo) as talk:
        for number in range(3):
            await talk.say(put(5), b"hell%d" % number)
            heard = answers(await talk.hear_until(b"hell%d" % number))
            assert [(status, body) for status, _, body in heard] == [(200, b"hell%d" % number)]
            assert heard[0][1]["connection"] == "keep-alive"
        await talk.say(LAST)
        status, headers, body = (await hear_all(talk))[0]
        assert (status, headers["x-path"], headers["connection"]) == (200, "/last", "close")
        assert body == b""
    assert [outcome.status for outcome in talk.server.outcomes] == [200] * 4
    assert [outcome.bytes_received for outcome in talk.server.outcomes] == [5, 5, 5, 0]
    assert [outcome.bytes_sent for outcome in talk.server.outcomes] == [5, 5, 5, 0]


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with talking(echo) as talk:
        chunks = b"PUT /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        chunks += b"3\r\nabc\r\n0\r\n\r\n"
        await talk.say(put(2) + b"ab" + GET + chunks + LAST)
        heard = await hear_all(talk)
    assert [body for _, _, body in heard] == [b"ab", b"", b"abc", b""]
    assert [headers["x-path"] for _, headers, _ in heard] == ["/b/k", "/b/k", "/c", "/last"]


async def test_a_request_split_at_every_byte_is_one_request() -> None:
    request = put(5, "Connection: close") + b"hello"
    for place in range(1, len(request)):
        async with talking(echo) as talk:
            await talk.say(request[:place], request[place:])
            assert [each[2] for each in await hear_all(talk)] == [b"hello"]


async def test_every_answer_has_an_id_and_a_date() -> None:
    async with talking(echo) as talk:
        await talk.say(GET, LAST)
        heard = await hear_all(talk)
    ids = [headers["x-amz-request-id"] for _, headers, _ in heard]
    assert all(re.fullmatch("[0-9a-f]{16}", id) for id in ids)
    assert len(set(ids)) == 2
    for _, headers, _ in heard:
        assert headers["x-amz-id-2"]
        assert headers["server"] == "objfs"
        assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d gmt", headers["date"])
    assert [outcome.request.id.lower() for outcome in talk.server.outcomes] == ids


async def test_a_head_is_answered_without_its_body() -> None:
    async def lengthy(request: Request) -> Response:
        if request.raw_path == b"/stream":
            return Response(200, [], Stream(7, _never()))
        return Response(200, [], b"", length=1 << 40)

    async def _never() -> AsyncIterator[Bytes]:
        yield b"seven"
        raise AssertionError("nobody asked for the body")

    async with talking(lengthy) as talk:
        await talk.say(b"HEAD /stream HTTP/1.1\r\nHost: h\r\n\r\n" + LAST.replace(b"GET", b"HEAD"))
        heard = await talk.hear()
    assert re.findall(rb"Content-Length: (\d+)", heard) == [b"7", b"1099511627776"]
    assert heard.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("status", [204, 304])
async def test_answers_without_a_body_have_no_length(status: int) -> None:
    async def handler(request: Request) -> Response:
        return Response(status, [("ETag", '"a"')], b"dropped")

    async with talking(handler) as talk:
        await talk.say(LAST)
        heard = await talk.hear()
    assert heard.endswith(b"\r\n\r\n")
    assert b"Content-Length" not in heard


# --- 100 Continue ---------------------------------------------------------------------------------


async def test_the_client_goes_on_when_the_body_is_read() -> None:
    async with talking(echo) as talk:
        await talk.say(put(5, "Expect: 100-continue"))
        assert await talk.hear_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await talk.say(b"hello", LAST)
        assert [body for _, _, body in await hear_all(talk)] == [b"hello", b""]


async def test_who_is_refused_is_not_told_to_go_on() -> None:
    async with talking(refuse) as talk:
        await talk.say(put(1 << 30, "Expect: 100-continue"))
        heard = await hear_all(talk)
    assert [status for status, _, _ in heard] == [403]
    assert heard[0][1]["connection"] == "close"
    assert talk.transport.lingered


async def test_who_does_not_wait_is_not_told_to_go_on() -> None:
    async with talking(echo) as talk:
        await talk.say(put(5, "Expect: 100-continue", "Connection: close") + b"hello")
        heard = await talk.hear()
    assert b"100 Continue" not in heard
    assert heard.endswith(b"hello")


# --- Early answers --------------------------------------------------------------------------------


async def test_a_small_unread_body_does_not_end_the_connection() -> None:
    async with talking(refuse) as talk:
        await talk.say(put(100_000), b"x" * 50_000, b"x" * 50_000 + LAST)
        heard = await hear_all(talk)
    assert [status for status, _, _ in heard] == [403, 403]
    assert not talk.transport.lingered


@pytest.mark.parametrize(
    "head",
    [
        put(limits.S3_DRAIN_BYTES_MAX + 1),
        put(1).replace(b"Content-Length: 1", b"Transfer-Encoding: chunked"),
    ],
)
async def test_a_large_unread_body_ends_it_after_the_answer(head: bytes) -> None:
    async with talking(refuse) as talk:
        await talk.say(head)
        heard = await hear_all(talk)
    assert [status for status, _, _ in heard] == [403]
    assert heard[0][1]["connection"] == "close"
    assert talk.transport.lingered


async def test_errors_are_xml() -> None:
    async with talking(refuse) as talk:
        await talk.say(LAST.replace(b"/last", b"/b/a%26%3C%01"))
        ((status, headers, body),) = await hear_all(talk)
    assert status == 403
    assert headers["content-type"] == "application/xml"
    assert b"<Code>AccessDenied</Code><Message>Access &lt;Denied&gt;</Message>" in body
    assert "<Resource>/b/a&amp;&lt;\ufffd</Resource>".encode() in body
    assert f"<RequestId>{headers['x-amz-request-id'].upper()}</RequestId>".encode() in body
    assert talk.server.outcomes[0].request.notes.error == "AccessDenied"


async def test_what_is_no_request_is_answered_with_xml_and_the_end() -> None:
    async with talking(echo) as talk:
        await talk.say(b"\x16\x03\x01 nothing\r\n\r\n" + GET)
        ((status, headers, body),) = await hear_all(talk)
    assert (status, headers["connection"]) == (400, "close")
    assert b"<Code>BadRequest</Code>" in body
    assert talk.server.outcomes == []


async def test_a_body_that_ends_early_is_answered() -> None:
    async with talking(echo) as talk:
        await talk.say(put(10), b"hello")
        await talk.end()
        ((status, headers, body),) = await hear_all(talk)
    assert (status, headers["connection"]) == (400, "close")
    assert b"<Code>IncompleteBody</Code>" in body


async def test_errors_in_a_group_are_the_errors() -> None:
    async def handler(request: Request) -> Response:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(refuse, request)
        raise AssertionError

    async with talking(handler) as talk:
        await talk.say(LAST)
        assert [status for status, _, _ in await hear_all(talk)] == [403]


async def test_a_bug_is_an_internal_error(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: Request) -> Response:
        raise KeyError("secret")

    async with talking(handler) as talk:
        await talk.say(GET, LAST)
        heard = await hear_all(talk)
    assert [status for status, _, _ in heard] == [500, 500]
    assert b"<Code>InternalError</Code>" in heard[0][2]
    assert b"secret" not in heard[0][2]
    assert "KeyError" in caplog.text


async def test_a_header_cannot_smuggle_another(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: Request) -> Response:
        return Response(200, [("x-amz-meta-a", "b\r\nX-Evil: 1")])

    async with talking(handler) as talk:
        await talk.say(LAST)
        assert await talk.hear() == b""
    assert "cannot be a header" in caplog.text


async def test_too_many_requests_are_told_to_slow_down() -> None:
    async with talking(echo) as talk:
        talk.server.full = True
        await talk.say(GET)
        heard = await talk.hear_until(b"</Error>")
        talk.server.full = False
        await talk.say(LAST)
        more = await talk.hear()
    assert b" 503 " in heard
    assert b"Retry-After: 1\r\n" in heard
    assert b"<Code>SlowDown</Code>" in heard
    assert b" 200 " in more


# --- Streams --------------------------------------------------------------------------------------


def streaming(length: int, *pieces: Bytes | list[Bytes] | Exception, closed: list[bool]) -> object:
    async def make() -> AsyncIterator[Bytes | list[Bytes]]:
        try:
            for piece in pieces:
                if isinstance(piece, Exception):
                    raise piece
                yield piece
        finally:
            closed.append(True)

    async def handler(request: Request) -> Response:
        return Response(200, [], Stream(length, make()))

    return handler


async def stream(length: int, *pieces: Bytes | list[Bytes] | Exception) -> tuple[bytes, bool]:
    """What the client got, and whether the maker was closed."""
    closed: list[bool] = []
    handler = streaming(length, *pieces, closed=closed)
    async with talking(handler) as talk:  # type: ignore[arg-type]
        await talk.say(LAST)
        heard = await talk.hear()
    return heard, closed == [True]


async def test_a_stream_is_sent_piece_by_piece() -> None:
    heard, closed = await stream(10, b"he", [b"l", memoryview(b"lo")], bytearray(b"world"))
    assert answers(heard)[0][2] == b"helloworld"
    assert closed


async def test_a_stream_that_fails_at_once_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    heard, closed = await stream(10, DataLost("gone"))
    assert answers(heard)[0][0] == 500
    assert closed
    heard, _ = await stream(10, S3Error("NoSuchKey"))
    assert answers(heard)[0][0] == 404
    assert "gone" in caplog.text


@pytest.mark.parametrize(
    "pieces", [(b"hello", DataLost("gone")), (b"hello",), (b"hello", b"worlds"), (b"hello", [])]
)
async def test_a_stream_that_breaks_breaks_the_connection(
    pieces: tuple[Bytes, ...], caplog: pytest.LogCaptureFixture
) -> None:
    heard, closed = await stream(10, *pieces)
    assert heard.endswith(b"\r\n\r\nhello")
    assert closed
    assert "failed" in caplog.text


# --- Time -----------------------------------------------------------------------------------------


async def test_an_idle_connection_ends(autojump_clock: trio.testing.MockClock) -> None:
    async with talking(echo) as talk:
        assert await talk.hear() == b""
    assert trio.current_time() == limits.S3_IDLE_SECONDS_MAX


async def test_a_slow_head_is_answered(autojump_clock: trio.testing.MockClock) -> None:
    heard = b""

    async def listen(talk: Talk) -> None:
        nonlocal heard
        heard = await talk.hear()

    async with talking(echo) as talk, trio.open_nursery() as nursery:
        nursery.start_soon(listen, talk)
        with contextlib.suppress(trio.BrokenResourceError):
            for byte in GET * 9:
                await talk.client.send_all(bytes([byte]))
                await trio.sleep(1)
    assert answers(heard)[0][0] == 400
    assert trio.current_time() <= limits.S3_HEAD_SECONDS_MAX + 2


async def test_patience_is_for_progress(autojump_clock: trio.testing.MockClock) -> None:
    async def tenth(connection: object) -> None:
        await trio.sleep(limits.S3_STALL_SECONDS_MAX / 10)

    patience = Patience()
    for _ in range(100):
        await patience.wait(tenth, None)  # type: ignore[arg-type]
        patience.moved(limits.S3_STALL_BYTES)
    with pytest.raises(S3Error) as caught:  # noqa: PT012 - the tenth wait is one too many
        for _ in range(12):
            await patience.wait(tenth, None)  # type: ignore[arg-type]
            patience.moved(1)
    assert caught.value.code == "RequestTimeout"
    assert trio.current_time() == pytest.approx(limits.S3_STALL_SECONDS_MAX * 11, abs=1)


# --- Leaving --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("gone", "seconds"), [(True, 0), (False, limits.S3_DEPARTED_SECONDS_MAX)])
async def test_who_leaves_ends_the_work(
    gone: bool, seconds: float, autojump_clock: trio.testing.MockClock
) -> None:
    ended = trio.Event()

    async def handler(request: Request) -> Response:
        try:
            await trio.sleep_forever()
        finally:
            ended.set()
        raise AssertionError

    async with talking(handler) as talk:
        await talk.client.send_all(GET)
        await trio.testing.wait_all_tasks_blocked()
        talk.connection.peer_left(gone)
        await ended.wait()
        assert await talk.hear() == b""
    assert trio.current_time() == seconds
    (outcome,) = talk.server.outcomes
    assert (outcome.status, outcome.request.notes.error) == (0, "ClientLeft")


async def test_who_said_goodbye_and_waits_gets_an_answer() -> None:
    async with talking(echo) as talk:
        talk.connection.peer_left(False)
        await talk.say(GET)
        await talk.end()
        assert [status for status, _, _ in await hear_all(talk)] == [200]


async def test_a_stopping_server_ends_a_connection_after_its_answer() -> None:
    async with talking(echo) as talk:
        await talk.say(put(2))
        talk.server.stopping = True
        await talk.say(b"ab" + GET)
        ((_, headers, body),) = await hear_all(talk)
    assert (headers["connection"], body) == ("close", b"ab")
