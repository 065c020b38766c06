"""The kernel is told of changes behind it, in order, bounded, and from threads."""

import errno
import os
from collections.abc import Callable

import pytest
import trio
import trio.testing

from objfs.base.ports import T
from objfs.fuse import invalidation
from objfs.fuse.invalidation import Change, Invalidations


class CountingThreads:
    """Runs work on the loop and counts how often."""

    def __init__(self) -> None:
        self.runs = 0

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        self.runs += 1
        await trio.lowlevel.checkpoint()
        return function(*arguments)


class Recorder:
    """What the kernel was told. It does not know what is in `unknown`."""

    def __init__(self, names: list[bytes]) -> None:
        self.told: list[Change] = []
        self.unknown: dict[bytes, int] = {}
        self.threads = CountingThreads()
        self.queue = Invalidations(
            self.threads,
            forget_entry=self.forget_entry,
            forget_attributes=lambda id: self.told.append((id, None)),
            everything=lambda: ((1, name) for name in names),
        )

    def forget_entry(self, parent: int, name: bytes) -> None:
        if name in self.unknown:
            raise OSError(self.unknown[name], os.strerror(self.unknown[name]))
        self.told.append((parent, name))

    async def tell(self) -> None:
        """Run until nothing is left."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.queue.run)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()


@pytest.fixture
def recorder() -> Recorder:
    return Recorder([b"a", b"b"])


async def test_changes_are_told_once_and_in_order(recorder: Recorder) -> None:
    changes: list[Change] = [(5, b"x"), (6, None), (5, b"y"), (5, b"x")]
    for change in changes:
        recorder.queue.add(*change)
    assert recorder.told == []
    await recorder.tell()
    assert recorder.told == changes[:3]
    assert recorder.threads.runs == 1
    recorder.queue.add(5, b"x")
    await recorder.tell()
    assert recorder.told == [*changes[:3], (5, b"x")]


async def test_what_the_kernel_does_not_know_is_no_error(
    recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.unknown = {b"gone": errno.ENOENT}
    for name in (b"gone", b"x"):
        recorder.queue.add(5, name)
    await recorder.tell()
    assert recorder.told == [(5, b"x")]
    assert not caplog.records


async def test_other_errors_are_logged_and_the_rest_is_told(
    recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.unknown = {b"bad": errno.EINVAL}
    for name in (b"bad", b"x"):
        recorder.queue.add(5, name)
    await recorder.tell()
    assert recorder.told == [(5, b"x")]
    assert "bad" in caplog.text


async def test_when_it_is_too_much_everything_is_told(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(invalidation, "INVALIDATIONS_QUEUED_MAX", 10)
    for number in range(11):
        recorder.queue.add(7, b"%d" % number)
    await recorder.tell()
    assert recorder.told == [(1, b"a"), (1, b"b"), (7, b"10")]
    assert "anew" in caplog.text


async def test_many_are_told_in_batches(recorder: Recorder) -> None:
    for number in range(600):
        recorder.queue.add(7, b"%d" % number)
    await recorder.tell()
    assert len(recorder.told) == 600
    assert recorder.threads.runs == 3


async def test_settled_waits_until_all_is_told(recorder: Recorder) -> None:
    await recorder.queue.settled()
    recorder.queue.add(7, b"x")
    with trio.move_on_after(0) as waiting:
        await recorder.queue.settled()
    assert waiting.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(recorder.queue.run)
        await recorder.queue.settled()
        assert recorder.told == [(7, b"x")]
        nursery.cancel_scope.cancel()
