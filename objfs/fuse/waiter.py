"""The waiter: what pyfuse3 uses in place of trio to wait for the kernel's requests.

pyfuse3 takes its scheduler from a module attribute, `pyfuse3.trio`, of which it uses a handful of
names. `install` puts a `Waiter` there. As pyfuse3 comes, each request costs two checkpoints and a
change of tasks; and the process sleeps between requests, so each one waits for a wake-up too.
Measured with a filesystem that does nothing: three times the rate of creates, twice the lookups.

How requests are taken. Workers are tasks of pyfuse3 that take the turn to read, wait until the
device is readable, read one request, leave the turn, and answer. Always holds:

- At most one worker waits for the device: the one that holds the `Turn`.
- A free turn is taken without a checkpoint, and leaving it does not pass it on: a worker whose
  operations never wait serves request after request, alone. Leaving makes one parked worker ready
  to run, so if this one has to wait inside an operation, the next goes on. That costs one change of
  tasks per yield, not per request.
- A worker yields to the other tasks of the loop once it worked for `WORK_SECONDS_MAX`.
- Before it parks, a worker polls, and spins for at most `SPIN_SECONDS_MAX` if the last request came
  less than `RECENT_SECONDS` ago. So an idle mount uses no CPU.

Killed clients. A request whose client is killed is withdrawn by the kernel, also after the device
became readable for it. A blocking read then blocks the whole loop until some other request comes.
So the device is set to O_NONBLOCK; libfuse then reports EAGAIN. Our shim (`objfs/fuse/shim.py`)
turns that into EINTR, after which pyfuse3 goes on by itself. Without the shim pyfuse3 raises, and
the worker is started again here; that loses libfuse's buffer of the worker (1 MiB of address
space), which is why it is only the second choice.

Rejected: trio's own `Lock` (passing it on is a change of tasks for each request); several workers
that wait for the device (the kernel wakes all of them); a `read` without polling before it (EAGAIN
is an exception without the shim).
"""

import errno
import os
import select
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import NamedTuple

import pyfuse3
import trio

from objfs.base.limits import RECENT_SECONDS, SPIN_SECONDS_MAX, WORK_SECONDS_MAX
from objfs.base.ports import Clock
from objfs.fuse import SHIM

# EAGAIN: the request was withdrawn. ENOENT, ECONNABORTED: the connection ended while libfuse
# spliced the request; the next read says so in the way that ends the loop in good order.
_RESTARTED = (errno.EAGAIN, errno.ENOENT, errno.ECONNABORTED)


class WaiterStatistics(NamedTuple):
    """How waiting ended, and what it took. Counts since the start."""

    at_once: int  # the next request was there already
    spun: int  # it came while spinning
    parked: int  # the process went to sleep
    yielded: int  # other tasks of the loop were let in
    workers: int  # tasks started
    restarted: int  # workers that met a withdrawn request


class Turn:
    """The right to read from the device. A lock that is unfair on purpose: see above."""

    def __init__(self) -> None:
        self._held = False
        self._parked: list[trio.lowlevel.Task] = []  # last in, first out: its memory is warm
        self._called = False  # one of the parked was made ready and did not run yet

    async def __aenter__(self) -> None:
        while self._held:
            await self._park()
        self._held = True

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._held = False
        if self._parked and not self._called:
            self._called = True
            trio.lowlevel.reschedule(self._parked.pop())

    async def _park(self) -> None:
        task = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            self._parked.remove(task)
            return trio.lowlevel.Abort.SUCCEEDED

        self._parked.append(task)
        # Cancelled, the task was not called: whoever was, clears the flag when it runs.
        await trio.lowlevel.wait_task_rescheduled(abort)
        self._called = False


class _Workers:
    """pyfuse3's nursery: starts workers, and starts one again that met a withdrawn request."""

    def __init__(self) -> None:
        self.started = 0
        self.restarted = 0
        self._opening = trio.open_nursery()
        self._nursery: trio.Nursery

    async def __aenter__(self) -> "_Workers":
        self._nursery = await self._opening.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await self._opening.__aexit__(kind, error, traceback)

    def start_soon(
        self, worker: Callable[..., Awaitable[None]], *arguments: object, name: str
    ) -> None:
        self.started += 1
        self._nursery.start_soon(self._run, worker, *arguments, name=name)

    async def _run(self, worker: Callable[..., Awaitable[None]], *arguments: object) -> None:
        while True:
            try:
                return await worker(*arguments)
            except OSError as error:
                if error.errno not in _RESTARTED:
                    raise
                self.restarted += 1


class _LowLevel:
    """The names of `trio.lowlevel` that pyfuse3 uses."""

    def __init__(
        self, clock: Clock, at_work: Callable[[], bool], waiting: Callable[[], int]
    ) -> None:
        self._at_work = at_work
        self._waiting = waiting
        self.current_task = trio.lowlevel.current_task
        self.current_trio_token = trio.lowlevel.current_trio_token
        self.notify_closing = trio.lowlevel.notify_closing
        self.at_once = self.spun = self.parked = self.yielded = 0
        self._now = clock.monotonic
        self._poll: Callable[[int], list[tuple[int, int]]] | None = None
        self._yielded_at = 0.0  # when the other tasks of the loop ran last
        self.request_at = 0.0  # when the last request came

    async def wait_readable(self, fd: int) -> None:
        """Return when a request seems to be there. Not always a checkpoint."""
        poll = self._poll or self._prepare(fd)
        now = self._now()
        if now - self._yielded_at > WORK_SECONDS_MAX:
            self.yielded += 1
            await trio.lowlevel.checkpoint()
            now = self._yielded_at = self._now()
        if self._waiting() or poll(0):
            self.at_once += 1
            self.request_at = now
        elif now - self.request_at < RECENT_SECONDS and not self._at_work() and self._spin(now):
            self.spun += 1
        else:
            await trio.lowlevel.wait_readable(fd)
            self.parked += 1
            self._yielded_at = self.request_at = self._now()

    @property
    def requests(self) -> int:
        """How many came."""
        return self.at_once + self.spun + self.parked

    def _spin(self, now: float) -> bool:
        """Poll until a request comes, but not for long."""
        poll = self._poll
        assert poll is not None
        end = now + SPIN_SECONDS_MAX
        while now < end:
            now = self._now()
            if poll(0):
                self.request_at = now
                return True
        return False

    def _prepare(self, fd: int) -> Callable[[int], list[tuple[int, int]]]:
        os.set_blocking(fd, False)
        device = select.poll()
        device.register(fd, select.POLLIN)
        self._poll = device.poll
        return self._poll


class Waiter:
    """Stands in for the module trio inside pyfuse3. Good for one run of `pyfuse3.main`."""

    Lock = Turn
    ClosedResourceError = trio.ClosedResourceError

    def __init__(
        self,
        clock: Clock,
        at_work: Callable[[], bool] = lambda: False,
        waiting: Callable[[], int] = lambda: 0,  # requests read from the device already
    ) -> None:
        self.lowlevel = _LowLevel(clock, at_work, waiting)
        self._workers: _Workers | None = None

    def open_nursery(self) -> _Workers:
        """The nursery that `pyfuse3.main` runs its workers in."""
        self._workers = _Workers()
        return self._workers

    def statistics(self) -> WaiterStatistics:
        waiting, workers = self.lowlevel, self._workers
        return WaiterStatistics(
            waiting.at_once,
            waiting.spun,
            waiting.parked,
            waiting.yielded,
            workers.started if workers else 0,
            workers.restarted if workers else 0,
        )


def install(
    clock: Clock,
    at_work: Callable[[], bool] = lambda: False,
) -> Waiter:
    """Make pyfuse3 wait our way; before `pyfuse3.main` runs. While `at_work()`, threads need the
    interpreter, and nothing spins."""
    waiter = Waiter(clock, at_work, SHIM.waiting)
    pyfuse3.trio = waiter  # type: ignore[attr-defined]
    return waiter
