"""Documents fetched from servers on this machine, and from those that do not behave."""

import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import outcome
import pytest
import trio

from bench.certificate import make_certificate
from objfs.base import fetching
from objfs.base.errors import InvalidRequest, StorageError
from objfs.base.fetching import HttpsFetch
from objfs.base.limits import FETCH_SECONDS_MAX
from objfs.base.ports import Clock
from objfs.base.system import SystemClock, TrioThreads

SYSTEM = SystemClock()
OK = b"HTTP/1.1 200 OK\r\n"
Answering = Callable[[trio.abc.Stream], Awaitable[None]]


class Server:
    """Answers each connection in one way, on a port of 127.0.0.1."""

    def __init__(self, answering: Answering, tls: ssl.SSLContext | None = None) -> None:
        self.answering = answering
        self.tls = tls
        self.heard = b""

    async def _serve(self, stream: trio.abc.Stream) -> None:
        if self.tls is not None:
            stream = trio.SSLStream(stream, self.tls, server_side=True, https_compatible=True)
        try:
            while not self.heard.endswith(b"\r\n\r\n"):
                piece = await stream.receive_some()
                if not piece:
                    return
                self.heard += piece
            await self.answering(stream)
        except trio.BrokenResourceError:
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async def ask(
        self,
        limit: int = 100,
        trust: Path | None = None,
        host: str = "127.0.0.1",
        clock: Clock = SYSTEM,
    ) -> bytes:
        """What a client gets."""
        scheme = "http" if self.tls is None else "https"
        client = HttpsFetch(clock, TrioThreads(), None if trust is None else str(trust))
        async with trio.open_nursery() as nursery:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            port = listeners[0].socket.getsockname()[1]
            nursery.start_soon(trio.serve_listeners, self._serve, listeners)
            got = await outcome.acapture(client.get, f"{scheme}://{host}:{port}/a?b=c", limit)
            nursery.cancel_scope.cancel()
        return got.unwrap()


def saying(*pieces: bytes) -> Answering:
    async def answer(stream: trio.abc.Stream) -> None:
        for piece in pieces:
            await stream.send_all(piece)

    return answer


async def test_a_document_comes() -> None:
    server = Server(saying(OK + b"Content-Length: 4\r\n\r\n", b"text"))
    assert await server.ask() == b"text"
    assert server.heard.startswith(b"GET /a?b=c HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"Authorization" not in server.heard


async def test_in_chunks_and_up_to_the_end() -> None:
    chunked = OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nte\r\n2\r\nxt\r\n0\r\n\r\n"
    assert await Server(saying(chunked)).ask() == b"text"
    assert await Server(saying(OK + b"\r\ntext")).ask(4) == b"text"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (OK + b"Content-Length: 5\r\n\r\nabcde", "over 4 bytes"),
        (OK + b"\r\nabcde", "over 4 bytes"),
        (OK + b"Content-Length: 4\r\n\r\nab", "before it is complete"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n9\r\nab", "does not answer"),
        (OK + b"A: " + b"b" * 70_000 + b"\r\n\r\n", "does not answer"),
        (OK + b"A: b\r\n" * 200 + b"\r\n", "does not answer"),
        (b"SSH-2.0-OpenSSH\r\n", "does not answer"),
        (b"", "does not answer"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "answers 404 Not Found"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n", "answers 302"),
    ],
)
async def test_answers_that_are_none(answer: bytes, says: str) -> None:
    with pytest.raises(StorageError, match=says):
        await Server(saying(answer)).ask(4)


class EndsEarly:
    """A clock on which the time for a document is over after some looks at it."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def now_ns(self) -> int:
        return 0

    def monotonic(self) -> float:
        self.looks -= 1
        return 0.0 if self.looks >= 0 else FETCH_SECONDS_MAX


@pytest.mark.parametrize("looks", [1, 2, 3])
async def test_the_time_is_of_the_whole_answer(looks: int) -> None:
    """Drop by drop: each comes in time, all of them would not."""

    async def drip(stream: trio.abc.Stream) -> None:
        await stream.send_all(OK + b"A:")
        await trio.sleep_forever()

    with pytest.raises(StorageError, match="it took over"):
        await Server(drip).ask(clock=EndsEarly(looks))


async def test_a_server_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "FETCH_SECONDS_MAX", 0.1)

    async def silent(stream: trio.abc.Stream) -> None:
        await trio.sleep_forever()

    with pytest.raises(StorageError, match="does not answer"):
        await Server(silent).ask()


async def test_certificates_are_verified(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path / "server.pem")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    answering = saying(OK + b"Content-Length: 4\r\n\r\n", b"text")
    assert await Server(answering, tls).ask(trust=certificate) == b"text"
    with pytest.raises(StorageError, match="self-signed"):
        await Server(answering, tls).ask()
    with pytest.raises(StorageError, match="Hostname mismatch"):
        await Server(answering, tls).ask(trust=certificate, host="localhost")


async def test_nobody_listens() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    await listeners[0].aclose()
    client = HttpsFetch(SystemClock(), TrioThreads())
    with pytest.raises(StorageError, match="does not answer"):
        await client.get(f"http://127.0.0.1:{port}/", 10)


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://127.0.0.1/", "file:///etc/passwd", "127.0.0.1", "https://", "https://a:b@host/"),
        *("https://host:port/", "https://host/a b", "https://host/\r\nX: y", "https://[::1"),
        *("https://host/\N{SNOWMAN}", "https://h\N{SNOWMAN}st/"),
    ],
)
async def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(InvalidRequest):
        await HttpsFetch(SystemClock(), TrioThreads()).get(url, 10)
