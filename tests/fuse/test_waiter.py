"""The waiter: the turn to read, withdrawn requests, killed clients, idleness."""

import errno
import json
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import trio
import trio.testing

from objfs.base.errors import InvalidRequest
from objfs.base.limits import KIB, SPIN_SECONDS_MAX, WORK_SECONDS_MAX
from objfs.base.system import SystemClock
from objfs.fuse.waiter import Turn, Waiter
from tests.fuse.conftest import Serve, fuse_needed

QUEUED_SECONDS = 0.3  # for threads to begin a call that waits
SHIM = pytest.mark.parametrize("words", [(), ("no-shim",)], ids=["shim", "no-shim"])


class SteppingClock:
    """A clock that moves on with every look at it."""

    def __init__(self, step: float = 0.0) -> None:
        self.now = 100.0
        self.step = step

    def now_ns(self) -> int:
        return int(self.now * 1e9)

    def monotonic(self) -> float:
        self.now += self.step
        return self.now


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


# --- the turn to read ----------------------------------------------------------------------------


async def test_a_free_turn_is_taken_without_a_checkpoint() -> None:
    turn = Turn()
    with trio.testing.assert_no_checkpoints():
        for _ in range(3):
            async with turn:
                pass


async def test_a_turn_belongs_to_one() -> None:
    turn, inside, most = Turn(), 0, 0

    async def worker() -> None:
        nonlocal inside, most
        for _ in range(20):
            async with turn:
                inside += 1
                most = max(most, inside)
                await trio.lowlevel.checkpoint()
                inside -= 1

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(worker)
    assert most == 1


async def test_leaving_a_turn_does_not_pass_it_on() -> None:
    turn, order = Turn(), []

    async def other() -> None:
        async with turn:
            order.append("other")

    async with trio.open_nursery() as nursery:
        async with turn:
            nursery.start_soon(other)
            await trio.testing.wait_all_tasks_blocked()
        for _ in range(3):
            async with turn:
                order.append("mine")
        await trio.testing.wait_all_tasks_blocked()
    assert order == ["mine"] * 3 + ["other"]


async def test_a_worker_that_waits_inside_lets_the_next_one_go_on() -> None:
    turn, order = Turn(), []
    done = trio.Event()

    async def other() -> None:
        async with turn:
            order.append("other")
            done.set()

    async with trio.open_nursery() as nursery:
        async with turn:
            for _ in range(3):
                nursery.start_soon(other)
            await trio.testing.wait_all_tasks_blocked()
        await done.wait()  # an operation that has to wait
    assert order == ["other"] * 3


async def test_a_cancelled_worker_takes_nobodys_turn() -> None:
    turn, order = Turn(), []

    async def other(name: str) -> None:
        async with turn:
            order.append(name)

    async with trio.open_nursery() as nursery, turn, trio.open_nursery() as cancelled:
        nursery.start_soon(other, "stays")
        cancelled.start_soon(other, "goes")
        await trio.testing.wait_all_tasks_blocked()
        cancelled.cancel_scope.cancel()
    assert order == ["stays"]


async def test_a_worker_called_and_cancelled_at_once_does_not_stop_the_others() -> None:
    turn, order = Turn(), []

    async def other(name: str) -> None:
        async with turn:
            await trio.lowlevel.checkpoint()
            order.append(name)

    async with trio.open_nursery() as nursery, trio.open_nursery() as cancelled:
        async with turn:
            nursery.start_soon(other, "stays")
            await trio.testing.wait_all_tasks_blocked()
            cancelled.start_soon(other, "goes")
            await trio.testing.wait_all_tasks_blocked()
        cancelled.cancel_scope.cancel()  # it was called a moment ago
    assert order == ["stays"]


# --- waiting -------------------------------------------------------------------------------------


async def test_what_is_there_is_taken_at_once(pipe: tuple[int, int]) -> None:
    waiter, (reader, writer) = Waiter(SteppingClock()), pipe
    os.write(writer, b"request")
    await waiter.lowlevel.wait_readable(reader)
    with trio.testing.assert_no_checkpoints():
        await waiter.lowlevel.wait_readable(reader)
    assert waiter.statistics().at_once == 2
    assert not os.get_blocking(reader)


async def test_it_parks_when_nothing_comes(pipe: tuple[int, int]) -> None:
    waiter, (reader, writer) = Waiter(SteppingClock(step=SPIN_SECONDS_MAX / 3)), pipe
    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiter.lowlevel.wait_readable, reader)
        await trio.testing.wait_all_tasks_blocked()
        os.write(writer, b"request")
    assert waiter.statistics()[:3] == (0, 0, 1)


async def test_it_spins_only_after_recent_traffic(pipe: tuple[int, int]) -> None:
    clock = SteppingClock()
    waiter, (reader, writer) = Waiter(clock), pipe
    waiter.lowlevel.request_at = clock.now  # a request came just now
    looks = 0

    def poll(timeout: int) -> list[tuple[int, int]]:
        nonlocal looks
        looks += 1
        clock.now += SPIN_SECONDS_MAX / 5
        return [(reader, 1)] if looks == 4 else []

    waiter.lowlevel._poll = poll
    await waiter.lowlevel.wait_readable(reader)
    assert waiter.statistics()[:3] == (0, 1, 0)
    looks = 100  # it never comes now
    os.write(writer, b"request")
    await waiter.lowlevel.wait_readable(reader)
    assert waiter.statistics()[:3] == (0, 1, 1)
    assert looks - 100 <= 8
    clock.now += 1.0
    looks = 200
    await waiter.lowlevel.wait_readable(reader)
    assert looks == 201


async def test_other_tasks_run_after_some_work(pipe: tuple[int, int]) -> None:
    clock = SteppingClock(step=WORK_SECONDS_MAX / 4)
    waiter, (reader, writer) = Waiter(clock), pipe
    os.write(writer, b"request")
    turns = 0

    async def other() -> None:
        nonlocal turns
        while turns < 10:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        for _ in range(60):
            await waiter.lowlevel.wait_readable(reader)
    assert turns == 10
    assert 10 <= waiter.statistics().yielded <= 20


async def test_errors_of_workers_are_not_hidden() -> None:
    waiter = Waiter(SystemClock())

    async def worker(*arguments: object) -> None:
        raise InvalidRequest("a bug")

    async def main(worker: Callable[..., Awaitable[None]]) -> None:
        async with waiter.open_nursery() as nursery:
            nursery.start_soon(worker, name="worker")

    with pytest.RaisesGroup(InvalidRequest):
        await main(worker)


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOENT, errno.ECONNABORTED])
async def test_a_worker_that_met_the_end_of_the_connection_reads_once_more(number: int) -> None:
    waiter = Waiter(SystemClock())
    reads = iter([OSError(number, "fuse_session_receive_buf failed"), None])

    async def worker(*arguments: object) -> None:
        if (error := next(reads)) is not None:
            raise error

    async with waiter.open_nursery() as nursery:
        nursery.start_soon(worker, name="worker")
    assert next(reads, "all read") == "all read"
    assert waiter.statistics().restarted == 1


# --- a real mount --------------------------------------------------------------------------------


@fuse_needed
@pytest.mark.slow
@SHIM
def test_requests_that_are_withdrawn_do_no_harm(
    serve_nothing: Serve, words: tuple[str, ...]
) -> None:
    server = serve_nothing("lying", *words)
    script = 'for i in $(seq 50); do echo "$i" >"$0/$i" && read -r j <"$0/$i" && echo "$j"; done'
    command = ["timeout", "30", "sh", "-c", script, str(server.mountpoint)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.split() == [str(number) for number in range(1, 51)]
    statistics = json.loads(server.unmount()[0])
    assert server.process.returncode == 0
    if words:
        assert statistics["restarted"] > 10
    else:
        assert statistics["restarted"] == 0


def read(path: Path) -> bytes:
    """The file's bytes, read by another process: one that can be given up."""
    done = subprocess.run(["timeout", "20", "cat", path], check=True, capture_output=True)
    return done.stdout


@fuse_needed
@pytest.mark.slow
@SHIM
def test_clients_killed_by_the_hundred_do_not_stop_the_loop(
    serve_nothing: Serve, words: tuple[str, ...]
) -> None:
    server = serve_nothing("slow", *words)
    path = server.mountpoint / "file"
    path.write_bytes(b"x" * 5000)
    for _ in range(10):
        script = f'while :; do read -r line < "{path}"; done'
        clients = [subprocess.Popen(["sh", "-c", script]) for _ in range(20)]
        read(path)  # behind theirs: by now they have requests in the queue
        for client in clients:
            client.send_signal(signal.SIGKILL)
        for client in clients:
            client.wait()
    assert read(path) == b"x" * 5000
    server.unmount()
    assert server.process.returncode == 0


@fuse_needed
@pytest.mark.slow
async def test_an_idle_mount_uses_no_processor(serve_nothing: Serve) -> None:
    server = serve_nothing()
    (server.mountpoint / "file").write_bytes(b"x")
    await trio.sleep(0.1)
    before = server.cpu_seconds()
    await trio.sleep(1.5)  # real time: what is measured is another process
    assert server.cpu_seconds() - before <= 0.02
    os.stat(server.mountpoint / "file")


@fuse_needed
def test_a_small_request_goes_before_large_ones_that_wait(serve_nothing: Serve) -> None:
    server = serve_nothing()
    paths = [server.mountpoint / f"large-{number}" for number in range(8)]
    for path in paths:
        path.write_bytes(b"")
    chunk = bytes(512 * KIB)
    descriptors = [os.open(path, os.O_WRONLY) for path in paths]  # direct_io: a write is a request
    server.process.send_signal(signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(len(paths) + 1) as threads:
            writes = [
                threads.submit(os.pwrite, descriptor, chunk, offset)
                for offset, descriptor in enumerate(descriptors)
            ]
            time.sleep(QUEUED_SECONDS)
            found = threads.submit(os.path.exists, server.mountpoint / "small")
            time.sleep(QUEUED_SECONDS)
            server.process.send_signal(signal.SIGCONT)
            assert [write.result() for write in writes] == [len(chunk)] * len(paths)
            assert not found.result()
    finally:
        server.process.send_signal(signal.SIGCONT)
        for descriptor in descriptors:
            os.close(descriptor)
    served = json.loads(server.unmount()[0])["served"]
    written = [each for each in served if isinstance(each, int)]
    assert sorted(written) == list(range(len(paths)))
    assert served.index("small") < served.index(written[2])
