"""The control socket: commands of other processes, and peers that do not behave."""

import os
import socket
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from objfs.base import limits
from objfs.base.errors import Busy, DataLost, InvalidRequest, NotFound, ObjfsError, StoreError
from objfs.cli import control_client
from objfs.maint.control import ControlServer
from objfs.maint.protocol import Failure, Request, Response, encode, error_of, failure_of


async def answer(command: str, arguments: dict[str, Any]) -> object:
    """A stand-in for the commands of a volume."""
    if command == "echo":
        return arguments
    if command == "lost":
        raise DataLost("record 7 does not verify")
    if command == "missing":
        raise NotFound(f"no {arguments['name']}")
    if command == "bug":
        raise ZeroDivisionError("oh")
    if command == "large":
        return bytes(limits.CONTROL_MESSAGE_BYTES_MAX)
    raise InvalidRequest(f"no {command}")


@asynccontextmanager
async def serving(directory: Path) -> AsyncIterator[ControlServer]:
    server = ControlServer(directory, answer)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        yield server
        nursery.cancel_scope.cancel()


def connected(directory: Path) -> control_client.ControlClient:
    client = control_client.connect(directory)
    assert client is not None
    return client


def one_call(directory: Path, command: str, **arguments: object) -> Any:
    with connected(directory) as client:
        return client.call(command, arguments)


in_thread: Callable[..., Any] = trio.to_thread.run_sync


async def test_a_command_comes_back(tmp_path: Path) -> None:
    async with serving(tmp_path):
        given = {"key": b"\xff/a", "n": 7, "list": [1, None, "x"]}
        assert await in_thread(lambda: one_call(tmp_path, "echo", **given)) == given


async def test_names_that_are_no_utf_8_come_back(tmp_path: Path) -> None:
    async with serving(tmp_path):
        given = {"path": "d\udcff/\u00e9", "rows": [{"prefix": "\udcfe"}, "\u00e9"], "raw": b"\xff"}
        assert await in_thread(lambda: one_call(tmp_path, "echo", **given)) == given


async def test_an_error_about_a_name_that_is_no_utf_8_comes_back(tmp_path: Path) -> None:
    async with serving(tmp_path):
        with pytest.raises(NotFound, match=r"no d\\udcff"):
            await in_thread(lambda: one_call(tmp_path, "missing", name="d\udcff"))


async def test_the_socket_is_for_its_owner_alone_and_goes_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    async with serving(tmp_path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()
    assert control_client.connect(tmp_path) is None


async def test_a_directory_with_a_long_name(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120) / ("e" * 120)
    deep.mkdir(parents=True)
    async with serving(deep):
        assert await in_thread(lambda: one_call(deep, "echo", a=1)) == {"a": 1}


async def test_a_socket_that_was_left_behind_is_replaced(tmp_path: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "control.sock"))
    left.close()
    assert control_client.connect(tmp_path) is None
    async with serving(tmp_path):
        assert await in_thread(lambda: one_call(tmp_path, "echo")) == {}


async def test_errors_come_back_as_they_were(tmp_path: Path) -> None:
    async with serving(tmp_path):
        with pytest.raises(DataLost, match="record 7"):
            await in_thread(lambda: one_call(tmp_path, "lost"))
        with pytest.raises(InvalidRequest, match="no nothing"):
            await in_thread(lambda: one_call(tmp_path, "nothing"))


async def test_a_bug_in_a_command_is_answered_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(tmp_path):
        with pytest.raises(ObjfsError, match="bug failed unexpectedly"):
            await in_thread(lambda: one_call(tmp_path, "bug"))
        assert await in_thread(lambda: one_call(tmp_path, "echo")) == {}
    assert "ZeroDivisionError" in caplog.text


async def test_an_answer_that_is_too_large_is_an_error(tmp_path: Path) -> None:
    async with serving(tmp_path):
        with pytest.raises(InvalidRequest, match="too many for one message"):
            await in_thread(lambda: one_call(tmp_path, "large"))


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0\0\0\0",
        b"\xff\xff\xff\xff",
        b"\3\0\0\0abc",
        (5).to_bytes(4, "little") + msgspec.msgpack.encode([1, 2, 3, 4]),
    ],
)
async def test_a_peer_that_breaks_the_grammar_is_cut_off(tmp_path: Path, sent: bytes) -> None:
    async with serving(tmp_path):
        received = b""
        async with await trio.open_unix_socket(str(tmp_path / "control.sock")) as stream:
            await stream.send_all(sent)
            # What was not read of the peer's bytes makes its end a reset.
            with trio.fail_after(5), suppress(trio.BrokenResourceError):
                while chunk := await stream.receive_some():
                    received += chunk
        assert b"InvalidRequest" in received
        assert await in_thread(lambda: one_call(tmp_path, "echo")) == {}


async def test_another_version_is_told_so(tmp_path: Path) -> None:
    path = str(tmp_path / "control.sock")
    async with serving(tmp_path), await trio.open_unix_socket(path) as stream:
        await stream.send_all(encode(Request(protocol=2, command="echo")))
        assert b"another version of objfs" in await stream.receive_some()


async def test_peers_that_vanish_do_no_harm(tmp_path: Path) -> None:
    async with serving(tmp_path):
        for sent in (
            b"",
            b"\5",
            encode(Request(command="echo"))[:-1],
            encode(Request(command="x")),
        ):
            stream = await trio.open_unix_socket(str(tmp_path / "control.sock"))
            await stream.send_all(sent)
            await stream.aclose()
        assert await in_thread(lambda: one_call(tmp_path, "echo")) == {}


async def test_a_silent_peer_is_let_go(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with serving(tmp_path):
        began = trio.current_time()
        async with await trio.open_unix_socket(str(tmp_path / "control.sock")) as stream:
            assert await stream.receive_some() == b""
        assert trio.current_time() - began == limits.CONTROL_IDLE_SECONDS_MAX


async def test_the_number_of_connections_is_bounded(tmp_path: Path) -> None:
    async with serving(tmp_path), trio.open_nursery() as nursery:
        streams = []
        for _ in range(limits.CONTROL_CONNECTIONS_MAX):
            stream = await trio.open_unix_socket(str(tmp_path / "control.sock"))
            await stream.send_all(encode(Request(command="echo")))
            await stream.receive_some()
            streams.append(stream)
        with pytest.raises(Busy):
            await in_thread(lambda: one_call(tmp_path, "echo"))
        for stream in streams:
            await stream.aclose()
        nursery.cancel_scope.cancel()


def test_an_owner_that_hangs_up_before_it_reads_may_have_said_why(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    theirs.sendall(encode(Response(error=failure_of(Busy("too many commands")))))
    theirs.close()
    with (
        control_client.ControlClient(ours, tmp_path) as client,
        pytest.raises(Busy, match="too many"),
    ):
        client.call("echo")


@pytest.mark.parametrize("failure", [None, StoreError("the last sync failed")])
async def test_who_waits_for_the_end_learns_how_it_went(
    tmp_path: Path, failure: ObjfsError | None
) -> None:
    client = None
    async with serving(tmp_path) as server:
        client = await in_thread(lambda: connected(tmp_path))
        await in_thread(client.announce_wait)
        await server.finish(failure)
    with client:
        if failure is None:
            client.wait_closed()
        else:
            with pytest.raises(StoreError, match="the last sync failed"):
                client.wait_closed()


async def test_an_owner_that_dies_is_noticed(tmp_path: Path) -> None:
    async with serving(tmp_path):
        client = await in_thread(lambda: connected(tmp_path))
        await in_thread(client.announce_wait)
    with client, pytest.raises(StoreError, match=r"ended before it answered.*objfs\.log"):
        client.wait_closed()


def test_an_error_that_this_version_does_not_know() -> None:
    assert type(error_of(Failure("Sunspots", "many"))) is ObjfsError
    assert type(error_of(Failure("annotations", "x"))) is ObjfsError
    assert isinstance(error_of(Failure("NotFound", "x")), NotFound)


def test_what_cannot_be_said_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="cannot be sent"):
        encode(Response(result=object()))


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    assert control_client.connect(tmp_path) is None
    assert len(os.listdir("/proc/self/fd")) == before
