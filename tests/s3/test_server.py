"""A real server on sockets of 127.0.0.1, with TLS and without."""

import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
import trio.testing
from cryptography import x509

from bench.certificate import make_certificate
from objfs.base.errors import InvalidRequest, ListenError
from objfs.base.limits import MIB
from objfs.s3 import listening
from objfs.s3.errors import S3Error
from objfs.s3.http import Bytes, Request, Response, Stream
from objfs.s3.listening import Address, Certificate, bind, parse_address
from tests.s3.conftest import reset, serving

GET = b"GET /b/k HTTP/1.1\r\nHost: h\r\n\r\n"
UNREAD_BYTES = 100_000_000
DATA = os.urandom(3 * MIB + 17)


async def count(request: Request) -> Response:
    """How long the body is, and what its bytes add up to."""
    length = checksum = 0
    async for piece in request.body:
        length += len(piece)
        checksum = (checksum + sum(piece[:: 1 << 12])) & 0xFFFF
    return Response(200, (), f"{length} {request.secure}".encode())


async def download(request: Request) -> Response:
    async def pieces() -> AsyncIterator[Bytes]:
        view = memoryview(DATA)
        for place in range(0, len(DATA), 700_001):
            yield view[place : place + 700_001]

    return Response(200, (), Stream(len(DATA), pieces()))


async def refuse(request: Request) -> Response:
    raise S3Error("AccessDenied")


async def answer_of(stream: trio.abc.Stream) -> tuple[int, bytes]:
    """Status and body of one answer."""
    heard = bytearray()
    while b"\r\n\r\n" not in heard:
        piece = await stream.receive_some(65536)
        assert piece, heard
        heard += piece
    head, _, body = bytes(heard).partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    while len(body) < length:
        piece = await stream.receive_some(MIB)
        assert piece, len(body)
        body += piece
    return int(head.split()[1]), body


def put(length: int) -> bytes:
    return f"PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n".encode()


@pytest.fixture(params=["plain", "tls"])
def tls(request: pytest.FixtureRequest, certificate: Path) -> Path | None:
    return certificate if request.param == "tls" else None


def client_context(tls: Path | None) -> ssl.SSLContext | None:
    return None if tls is None else ssl.create_default_context(cafile=str(tls))


async def test_bodies_go_both_ways(tls: Path | None) -> None:
    async def both(request: Request) -> Response:
        return await (count(request) if request.method == "PUT" else download(request))

    async with serving(both, tls) as running:
        stream = await running.connect(client_context(tls))
        for _ in range(2):
            await stream.send_all(put(len(DATA)))
            await stream.send_all(DATA)
            said = f"{len(DATA)} {tls is not None}".encode()
            assert await answer_of(stream) == (200, said)
            await stream.send_all(GET)
            assert await answer_of(stream) == (200, DATA)


async def test_many_clients_at_a_time(tls: Path | None) -> None:
    async def client() -> None:
        stream = await running.connect(client_context(tls))
        for _ in range(5):
            await stream.send_all(put(100_000) + DATA[:100_000])
            assert (await answer_of(stream))[0] == 200

    async with serving(count, tls) as running:
        async with trio.open_nursery() as nursery:
            for _ in range(16):
                nursery.start_soon(client)
        await trio.testing.wait_all_tasks_blocked()
        assert len(running.outcomes) == 80
        assert running.server.requests == 0


@pytest.mark.slow
async def test_an_early_answer_arrives_however_much_is_unread(tls: Path | None) -> None:
    """The client sends all of it before it looks, as http.client does."""
    async with serving(refuse, tls) as running:
        for _ in range(3):
            stream = await running.connect(client_context(tls))
            await stream.send_all(put(UNREAD_BYTES))
            piece = bytes(MIB)
            for _ in range(UNREAD_BYTES // MIB):
                await stream.send_all(piece)
            status, body = await answer_of(stream)
            assert status == 403
            assert b"AccessDenied" in body


async def test_a_client_that_looks_can_stop(tls: Path | None) -> None:
    async with serving(refuse, tls) as running:
        stream = await running.connect(client_context(tls))
        await stream.send_all(put(UNREAD_BYTES) + DATA[:100_000])
        assert (await answer_of(stream))[0] == 403
        assert await stream.receive_some(100) == b""


async def test_a_client_that_disappears_ends_the_work(tls: Path | None) -> None:
    began, ended = trio.Event(), trio.Event()

    async def handler(request: Request) -> Response:
        began.set()
        try:
            await trio.sleep_forever()
        finally:
            ended.set()
        raise AssertionError

    async with serving(handler, tls) as running:
        stream = await running.connect(client_context(tls))
        await stream.send_all(GET)
        await began.wait()
        reset(stream.transport_stream if isinstance(stream, trio.SSLStream) else stream)
        with trio.fail_after(20):
            await ended.wait()
            while running.server.connections:
                await trio.lowlevel.checkpoint()
    assert running.outcomes[0].request.notes.error == "ClientLeft"


async def test_a_client_that_disappears_in_its_body_is_noticed(tls: Path | None) -> None:
    async with serving(count, tls) as running:
        stream = await running.connect(client_context(tls))
        await stream.send_all(put(1000) + b"x" * 500)
        await trio.testing.wait_all_tasks_blocked()
        reset(stream.transport_stream if isinstance(stream, trio.SSLStream) else stream)
        with trio.fail_after(20):
            while running.server.connections:
                await trio.lowlevel.checkpoint()
    assert running.outcomes[0].request.notes.error in {"ClientLeft", "IncompleteBody"}


async def test_half_closed_clients_get_their_answer() -> None:
    async with serving(count) as running:
        stream = await running.connect()
        assert isinstance(stream, trio.SocketStream)
        await stream.send_all(put(5) + b"hello")
        await stream.send_eof()
        assert await answer_of(stream) == (200, b"5 False")
        stream = await running.connect()
        assert isinstance(stream, trio.SocketStream)
        await stream.send_all(put(5) + b"hell")
        await stream.send_eof()
        assert (await answer_of(stream))[0] == 400


# --- Stopping, bounds -----------------------------------------------------------------------------


async def test_stopping_lets_what_runs_end() -> None:
    go_on, began = trio.Event(), trio.Event()

    async def handler(request: Request) -> Response:
        began.set()
        await go_on.wait()
        return Response(200, (), b"done")

    async with serving(handler) as running:
        idle, busy = await running.connect(), await running.connect()
        await busy.send_all(GET)
        await began.wait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(running.server.stop)
            assert await idle.receive_some(1) == b""
            with pytest.raises(OSError, match="connect"):
                await running.connect()
            go_on.set()
            assert await answer_of(busy) == (200, b"done")
            assert await busy.receive_some(1) == b""


async def test_stopping_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("objfs.s3.server.S3_STOP_SECONDS_MAX", 0.01)
    began = trio.Event()

    async def handler(request: Request) -> Response:
        began.set()
        await trio.sleep_forever()
        raise AssertionError

    async with serving(handler) as running:
        stream = await running.connect()
        await stream.send_all(GET)
        await began.wait()
        await running.server.stop()
        assert await stream.receive_some(1) == b""


async def test_too_many_connections_are_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("objfs.s3.server.S3_CONNECTIONS_MAX", 1)
    monkeypatch.setattr("objfs.s3.server.S3_CONNECTIONS_REFUSED_MAX", 1)
    async with serving(count) as running:
        first = await running.connect()
        await first.send_all(GET)
        assert (await answer_of(first))[0] == 200
        second = await running.connect()
        await trio.testing.wait_all_tasks_blocked()
        third = await running.connect()
        await second.send_all(GET)
        status, body = await answer_of(second)
        assert (status, b"SlowDown" in body) == (503, True)
        assert await second.receive_some(1) == b""
        assert await third.receive_some(1) == b""
        await first.send_all(GET)
        assert (await answer_of(first))[0] == 200


async def test_too_many_requests_are_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("objfs.s3.server.S3_REQUESTS_MAX", 1)
    go_on, began = trio.Event(), trio.Event()

    async def handler(request: Request) -> Response:
        began.set()
        await go_on.wait()
        return Response(200)

    async with serving(handler) as running:
        first, second = await running.connect(), await running.connect()
        await first.send_all(GET)
        await began.wait()
        await second.send_all(GET)
        assert (await answer_of(second))[0] == 503
        go_on.set()
        assert (await answer_of(first))[0] == 200
        await second.send_all(GET)
        assert (await answer_of(second))[0] == 200


# --- TLS ------------------------------------------------------------------------------------------


async def test_tls_says_http_1_1(certificate: Path, trusting: ssl.SSLContext) -> None:
    async with serving(count, certificate) as running:
        trusting.set_alpn_protocols(["h2", "http/1.1"])
        stream = await running.connect(trusting)
        assert isinstance(stream, trio.SSLStream)
        assert stream.selected_alpn_protocol() == "http/1.1"
        assert stream.version() in {"TLSv1.2", "TLSv1.3"}


async def test_a_handshake_that_nobody_makes_does_not_delay_the_end(certificate: Path) -> None:
    async with serving(count, certificate) as running:
        silent = await running.connect()
        await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(5):
            await running.server.stop()
        with contextlib.suppress(trio.BrokenResourceError):
            assert await silent.receive_some(1) == b""


async def test_noise_on_a_tls_port_ends_that_connection_only(
    certificate: Path, trusting: ssl.SSLContext
) -> None:
    async with serving(count, certificate) as running:
        noisy = await running.connect()
        await noisy.send_all(GET)
        with contextlib.suppress(trio.BrokenResourceError):
            while await noisy.receive_some(100):
                pass
        stream = await running.connect(trusting)
        await stream.send_all(GET)
        assert (await answer_of(stream))[0] == 200


# --- Addresses ------------------------------------------------------------------------------------


def test_addresses() -> None:
    assert parse_address("127.0.0.1:9000") == ("127.0.0.1", 9000)
    assert parse_address("[::1]:0") == ("::1", 0)
    assert str(parse_address("[::1]:0")) == "[::1]:0"
    assert parse_address(":9000") == ("", 9000)
    for text in ("", "9000", "localhost", "::1:9000", "host:port", "host:65536", "host:-1"):
        with pytest.raises(InvalidRequest):
            parse_address(text)


def test_a_port_in_use_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenError, match=f"127.0.0.1:{port}: Address already in use"):
            bind(Address("127.0.0.1", port))
    first, second = bind(Address("127.0.0.1", port)), bind(Address("127.0.0.1", port))
    listening.listen(first)
    with pytest.raises(ListenError, match="in use"):
        listening.listen(second)
    for each in first + second:
        each.close()


def test_hosts_that_are_not_there() -> None:
    with pytest.raises(ListenError, match="no such host"):
        bind(Address("nothing.invalid", 0))
    with pytest.raises(ListenError, match="Cannot assign"):
        bind(Address("192.0.2.1", 0))


@pytest.mark.parametrize("host", ["::1", "localhost"])
async def test_other_addresses(host: str) -> None:
    async with serving(count, address=host) as running:
        for family, *_, address in socket.getaddrinfo(host, running.port, type=socket.SOCK_STREAM):
            with trio.socket.socket(family) as client:
                await client.connect(address)
                stream = trio.SocketStream(client)
                await stream.send_all(GET)
                assert (await answer_of(stream))[0] == 200


def test_certificates_that_are_none(tmp_path: Path, certificate: Path) -> None:
    with pytest.raises(ListenError, match="there is no such file"):
        Certificate(tmp_path / "none")
    (tmp_path / "noise").write_text("noise")
    with pytest.raises(ListenError, match="no certificate"):
        Certificate(certificate, tmp_path / "noise")


async def test_a_renewed_certificate_is_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = make_certificate(tmp_path / "server.pem", "first")
    async with serving(count, file) as running:

        async def served() -> str:
            blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
            stream = await running.connect(blind)
            assert isinstance(stream, trio.SSLStream)
            shown = x509.load_der_x509_certificate(stream.getpeercert(True))
            return str(shown.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)

        assert await served() == "first"
        make_certificate(tmp_path / "new.pem", "second").replace(file)
        assert await served() == "second"
        file.write_text("noise")
        assert await served() == "second"
    assert "the old certificate stays in use" in caplog.text
