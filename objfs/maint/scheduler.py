"""The scheduler: background work of a store under one I/O budget.

A *job* does one kind of work (compaction, scrub, retention, ...) each time it is due. Jobs run side
by side, each in a task of its own inside the owner's process, and pay for the bytes that they read
and write out of one token bucket. Part of paying is to wait while a request of the mount is recent,
for a bounded time: work yields to traffic, and still ends under traffic that never does.

What always holds:

- A job runs at most once at a time. Whoever runs one by hand (`by_hand`) waits for a round that is
  under way, which hurries meanwhile, and then is not held to the budget.
- Nothing runs on an idle store: between due times the tasks sleep, and a job that asks for it is
  not due before the store changed.
- A round with a result or an error is kept in the row `background:NAME` of `setting`: due
  times and results outlive the process. A round that found nothing to do writes nothing.
- Paused (a row too: it lasts until `resume`), no round begins; one under way waits where it pays.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import trio

from objfs.base import limits
from objfs.base.errors import InvalidRequest, ObjfsError
from objfs.maint.forms import time_text
from objfs.meta.rows import Setting
from objfs.meta.tables import SETTING
from objfs.volume.core import Core

logger = logging.getLogger(__name__)

_PAUSED = "background"  # the row that says so
Result = dict[str, object] | None  # JSON-able; None: there was nothing to do


class TokenBucket:
    """So many bytes a second, whoever spends them. 0: no limit."""

    def __init__(self, bytes_per_second: int) -> None:
        self.bytes_per_second = bytes_per_second
        self._left = float(bytes_per_second) * limits.BACKGROUND_BURST_SECONDS
        self._at = trio.current_time()

    def take(self, count: int) -> float:
        """Spend `count` bytes, on credit if need be; the seconds until they are paid off."""
        rate = self.bytes_per_second
        if not rate:
            return 0.0
        now = trio.current_time()
        most = rate * limits.BACKGROUND_BURST_SECONDS
        self._left = min(most, self._left + (now - self._at) * rate) - count
        self._at = now
        return max(0.0, -self._left / rate)


class Budget:
    """What a round of a job is given: it pays here before each piece of its work, and says how far
    it has come."""

    def __init__(self, core: Core, bucket: TokenBucket | None, gate: "Gate") -> None:
        self.bucket = bucket  # None: not held to the budget
        self.progress: tuple[int, int] | None = None
        self._core = core
        self._gate = gate

    async def spend(self, count: int) -> None:
        """Pay for `count` bytes about to be read or written. Always a checkpoint. Pieces of about
        a megabyte keep the work even."""
        while self.bucket is not None and self._gate.closed:
            await self._gate.wait_moved()
        wait = self.bucket.take(count) if self.bucket is not None else 0
        if wait:
            await trio.sleep(wait)
        await self._yield_to_requests()

    async def _yield_to_requests(self) -> None:
        """Wait for a pause in the traffic, for a bounded time."""
        await trio.lowlevel.checkpoint()
        core, waited = self._core, 0.0
        while waited < limits.BACKGROUND_YIELD_SECONDS_MAX:
            if core.clock.monotonic() - core.request_at() > limits.BACKGROUND_QUIET_SECONDS:
                return
            await trio.sleep(limits.BACKGROUND_QUIET_SECONDS)
            waited += limits.BACKGROUND_QUIET_SECONDS

    def report(self, done: int, total: int) -> None:
        """How far the round has come, in units of its own."""
        self.progress = (done, total)

    def hurry(self) -> None:
        """Somebody waits for the end: no longer held to the budget, nor to a pause."""
        self.bucket = None
        self._gate.move()


class Gate:
    """Closed while background work is paused."""

    def __init__(self, closed: bool) -> None:
        self.closed = closed
        self._moved = trio.Event()

    def move(self, closed: bool | None = None) -> None:
        """Open or close it, or only have those who wait look again."""
        self.closed = self.closed if closed is None else closed
        self._moved.set()
        self._moved = trio.Event()

    async def wait_moved(self) -> None:
        """Until the next `move`."""
        await self._moved.wait()


@dataclass(frozen=True)
class Job:
    """One kind of background work. `run` does one round and can be cancelled wherever it waits: the
    next round goes on."""

    name: str
    run: Callable[[Budget], Awaitable[Result]]
    interval_seconds: float
    after_changes: bool = False  # not due again before the store changed
    start_seconds: float = limits.BACKGROUND_START_SECONDS  # after a mount, before the first round
    totals: Mapping[str, int] = field(default_factory=dict)  # what it counted since the mount


class Ended(msgspec.Struct, frozen=True):
    """How a round ended: what the row keeps."""

    started_ns: int
    ended_ns: int
    result: dict[str, Any] | None = None
    error: str | None = None


class _Task:
    """A job and where it stands. `due` is on the monotonic clock."""

    def __init__(self, job: Job, core: Core) -> None:
        self.job = job
        self.turn = trio.Lock()
        self.budget: Budget | None = None  # of the round under way
        self.woken = trio.Event()
        self._core = core
        self.last = self._read()
        self.sequence = -1  # of the store after the last round of this process
        delay = job.start_seconds
        if self.last is not None:
            passed = (core.clock.now_ns() - self.last.ended_ns) / 1e9
            delay = max(delay, min(job.interval_seconds - passed, job.interval_seconds))
        self.due = core.clock.monotonic() + delay

    def _read(self) -> Ended | None:
        row = self._core.database.get(SETTING, f"{_PAUSED}:{self.job.name}")
        if row is None:
            return None
        try:
            return msgspec.json.decode(row.value, type=Ended)
        except msgspec.MsgspecError:
            logger.warning("the row of the background job %s is malformed", self.job.name)
            return None

    def ended(self, ended: Ended) -> None:
        """Keep what is worth it: a result, an error, or that an error is over."""
        core = self._core
        worth = ended.result is not None or ended.error is not None
        before = self.last.error if self.last else None
        if worth or before is not None:
            self.last = ended
            value = msgspec.json.encode(ended)
            if not core.read_only and core.log.failed is None and core.database.failed is None:
                with core.change() as change:
                    change.put(Setting(f"{_PAUSED}:{self.job.name}", value))
        self.sequence = core.database.sequence
        self.due = core.clock.monotonic() + self.job.interval_seconds

    def wake(self) -> None:
        self.sequence = -1
        self.due = self._core.clock.monotonic()
        self.woken.set()

    async def wait_due(self) -> None:
        """Until the job is due, and the store changed if it wants that."""
        core = self._core
        while True:
            wait = self.due - core.clock.monotonic()
            unchanged = self.job.after_changes and core.database.sequence == self.sequence
            if wait <= 0 and not unchanged:
                return
            if wait <= 0:
                await core.active.wait()
                await trio.sleep(limits.BACKGROUND_LOOK_SECONDS)
                continue
            self.woken = trio.Event()
            # A machine that sleeps meanwhile stops the clock that trio waits by.
            with trio.move_on_after(min(wait, limits.BACKGROUND_SLEEP_SECONDS_MAX)):
                await self.woken.wait()

    def form(self) -> dict[str, object]:
        last = self.last
        progress = self.budget.progress if self.budget else None
        return {
            "name": self.job.name,
            "running": self.turn.locked(),
            "done": progress[0] if progress else None,
            "total": progress[1] if progress else None,
            "totals": dict(self.job.totals),
            "due_seconds": max(0, round(self.due - self._core.clock.monotonic())),
            "last": None
            if last is None
            else {
                "started": time_text(last.started_ns),
                "ended": time_text(last.ended_ns),
                "result": last.result,
                "error": last.error,
            },
        }


class Scheduler:
    """See the module. One per volume: `objfs.maint.jobs.scheduler_of`."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._tasks: dict[str, _Task] = {}
        self._gate = Gate(core.database.get(SETTING, _PAUSED) is not None)
        self._running = False

    def add(self, job: Job) -> None:
        """Before `run`."""
        assert not self._running
        assert job.name not in self._tasks
        self._tasks[job.name] = _Task(job, self._core)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the jobs when they are due, until cancelled. Nothing in a read-only store."""
        bucket = TokenBucket(self._core.settings.background_bytes_per_second)
        async with trio.open_nursery() as nursery:
            task_status.started()
            if self._core.read_only:
                return
            self._running = True
            for task in self._tasks.values():
                nursery.start_soon(self._serve, task, bucket)

    async def _serve(self, task: _Task, bucket: TokenBucket) -> None:
        while self._core.log.failed is None:
            await task.wait_due()
            while self._gate.closed:
                await self._gate.wait_moved()
            async with task.turn:
                await self._round(task, Budget(self._core, bucket, self._gate))

    async def _round(self, task: _Task, budget: Budget) -> None:
        """One round; whatever goes wrong in it is its result."""
        task.budget = budget
        started = self._core.clock.now_ns()
        result: Result = None
        error: str | None = None
        try:
            result = await task.job.run(budget)
        except ObjfsError as raised:
            logger.warning("%s: %s", task.job.name, raised)
            error = str(raised)
        except Exception as raised:  # a bug in a job must not end the mount
            logger.exception("the background job %s failed unexpectedly", task.job.name)
            error = f"unexpected: {raised!r}"
        finally:
            task.budget = None
        try:
            task.ended(Ended(started, self._core.clock.now_ns(), result, error))
        except ObjfsError as raised:
            logger.warning("the result of %s is not kept: %s", task.job.name, raised)

    # --- By hand ---------------------------------------------------------------------------------

    @asynccontextmanager
    async def by_hand(self, name: str) -> AsyncIterator[Budget]:
        """Do a job's work inside: no round of it runs meanwhile. The budget given does not bind."""
        task = self._task(name)
        if task.budget is not None:
            task.budget.hurry()
        async with task.turn:
            task.budget = budget = Budget(self._core, None, self._gate)
            try:
                yield budget
            finally:
                task.budget = None

    def keep(self, name: str, started_ns: int, result: dict[str, object]) -> None:
        """A round done by hand had this result."""
        self._task(name).ended(Ended(started_ns, self._core.clock.now_ns(), result))

    def wake(self, name: str) -> None:
        """The job is due now."""
        self._task(name).wake()

    def pause(self) -> None:
        """Begin nothing more, and go on nowhere, until `resume`; also after another start."""
        self._gate.move(closed=True)
        with self._core.change() as change:
            change.put(Setting(_PAUSED, b"paused"))

    def resume(self) -> None:
        """Undo `pause`."""
        with self._core.change() as change:
            if change.get(SETTING, _PAUSED) is not None:
                change.delete(SETTING, _PAUSED)
        self._gate.move(closed=False)

    def status(self) -> dict[str, object]:
        """The stable JSON form."""
        return {
            "paused": self._gate.closed,
            "bytes_per_second": self._core.settings.background_bytes_per_second,
            "jobs": [task.form() for task in self._tasks.values()],
        }

    def _task(self, name: str) -> _Task:
        task = self._tasks.get(name)
        if task is None:
            known = ", ".join(self._tasks) or "none"
            raise InvalidRequest(f"there is no background job {name!r}; there are: {known}")
        return task
