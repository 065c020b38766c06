"""The scheduler: due times, one budget, pauses, what outlives the process. Time is trio's."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from objfs.base.errors import DataLost, InvalidRequest
from objfs.base.limits import BACKGROUND_START_SECONDS, BACKGROUND_YIELD_SECONDS_MAX, MIB
from objfs.maint.scheduler import Budget, Job, Result, Scheduler, TokenBucket
from objfs.volume.volume import Volume
from tests.volume.store import Store

DAY = 86_400.0


class TrioTime:
    """The clock of the running loop, wall clock included."""

    def now_ns(self) -> int:
        return 1_700_000_000 * 10**9 + int(trio.current_time() * 1e9)

    def monotonic(self) -> float:
        return trio.current_time()


@pytest.fixture
async def store() -> Store:
    store = Store()
    store.clock = TrioTime()  # type: ignore[assignment]
    store.open().create_bucket("main")
    return store


class Counting:
    """A job that says when it ran."""

    def __init__(self, result: Result = None) -> None:
        self.result = result
        self.ran: list[float] = []

    async def run(self, budget: Budget) -> Result:
        self.ran.append(trio.current_time())
        await budget.spend(10)
        return self.result


async def rounds(volume: Volume, seconds: float, *jobs: Job) -> Scheduler:
    """Run jobs for some time."""
    scheduler = Scheduler(volume.core)
    for job in jobs:
        scheduler.add(job)
    with trio.move_on_after(seconds):
        await scheduler.run()
    return scheduler


def forms(scheduler: Scheduler) -> Any:
    return scheduler.status()["jobs"]


async def test_a_job_runs_when_it_is_due(store: Store, autojump_clock: MockClock) -> None:
    job = Counting()
    started = trio.current_time()
    await rounds(store.volume, 3.5 * DAY, Job("count", job.run, DAY))
    assert [round(at - started) for at in job.ran] == [
        BACKGROUND_START_SECONDS + DAY * n for n in range(4)
    ]


async def test_what_found_nothing_writes_nothing(store: Store, autojump_clock: MockClock) -> None:
    before = store.volume.core.database.sequence
    await rounds(store.volume, 3 * DAY, Job("count", Counting().run, DAY))
    assert store.volume.core.database.sequence == before


async def test_a_job_that_asks_for_it_waits_for_a_change(
    store: Store, autojump_clock: MockClock
) -> None:
    """No wake-up on an idle store: the loop's clock jumps over days without a round."""
    store.volume.core.go_idle()
    job = Counting()

    async def change_later() -> None:
        await trio.sleep(10 * DAY)
        await store.put("a", b"x")

    async with trio.open_nursery() as nursery:
        await nursery.start(store.volume.run)
        nursery.start_soon(change_later)
        await rounds(store.volume, 20 * DAY, Job("count", job.run, DAY, after_changes=True))
        nursery.cancel_scope.cancel()
    assert len(job.ran) == 2
    assert job.ran[1] - job.ran[0] > 9 * DAY


async def test_results_and_due_times_outlive_the_process(
    store: Store, autojump_clock: MockClock
) -> None:
    job = Counting({"freed_bytes": 7})
    await rounds(store.volume, 1000, Job("count", job.run, DAY))
    await store.close()
    volume = store.again()
    again = Counting()
    scheduler = await rounds(volume, DAY / 2, Job("count", again.run, DAY))
    (form,) = forms(scheduler)
    assert form["last"]["result"] == {"freed_bytes": 7}
    assert not again.ran


async def test_an_error_is_kept_and_the_job_goes_on(
    store: Store, autojump_clock: MockClock
) -> None:
    async def fail(budget: Budget) -> Result:
        raise DataLost("record 7 does not verify")

    async def break_(budget: Budget) -> Result:
        raise ZeroDivisionError

    jobs = Job("lost", fail, DAY), Job("bug", break_, DAY)
    scheduler = await rounds(store.volume, 1.5 * DAY, *jobs)
    lost, bug = forms(scheduler)
    assert lost["last"]["error"] == "record 7 does not verify"
    assert "ZeroDivisionError" in bug["last"]["error"]


async def test_all_jobs_share_one_budget(store: Store, autojump_clock: MockClock) -> None:
    """Two jobs move 64 MiB each: together they take as long as 128 MiB take."""
    ended: list[float] = []

    async def move(budget: Budget) -> Result:
        for done in range(64):
            await budget.spend(MIB)
            budget.report(done + 1, 64)
        ended.append(trio.current_time())
        return None

    started = trio.current_time()
    await rounds(store.volume, 1000, Job("one", move, DAY), Job("two", move, DAY))
    rate = store.volume.core.settings.background_bytes_per_second
    took = max(ended) - started - BACKGROUND_START_SECONDS
    assert took == pytest.approx(128 * MIB / rate - 1, abs=0.5)  # a second's worth was saved up


async def test_a_bucket_without_a_limit_never_waits(autojump_clock: MockClock) -> None:
    assert TokenBucket(0).take(1 << 40) == 0
    limited = TokenBucket(1000)
    limited.take(1000)
    assert limited.take(500) == pytest.approx(0.5)


async def test_work_waits_for_requests_but_not_for_ever(
    store: Store, autojump_clock: MockClock
) -> None:
    core = store.volume.core
    core.asked.append(trio.current_time)
    times: list[float] = []

    async def work(budget: Budget) -> Result:
        times.append(trio.current_time())
        await budget.spend(1)
        times.append(trio.current_time())
        return None

    await rounds(store.volume, 1000, Job("work", work, DAY))
    assert 0 < times[1] - times[0] <= BACKGROUND_YIELD_SECONDS_MAX * 1.2


async def test_a_pause_lasts_until_it_is_undone(store: Store, autojump_clock: MockClock) -> None:
    Scheduler(store.volume.core).pause()
    await store.close()
    job = Counting()
    scheduler = await rounds(store.again(), 3 * DAY, Job("count", job.run, DAY))
    assert scheduler.status()["paused"]
    assert not job.ran
    scheduler.resume()
    await rounds(store.volume, DAY / 2, Job("count", job.run, DAY))
    assert len(job.ran) == 1


async def test_by_hand_overtakes_the_budget_and_a_pause(
    store: Store, autojump_clock: MockClock
) -> None:
    """A round under way, held by the budget or a pause, is hurried to its end."""
    began = trio.Event()
    done: list[str] = []

    async def slow(budget: Budget) -> Result:
        began.set()
        for _ in range(100):
            await budget.spend(100 * MIB)
        done.append("round")
        return None

    scheduler = Scheduler(store.volume.core)
    scheduler.add(Job("slow", slow, DAY))
    async with trio.open_nursery() as nursery:
        await nursery.start(scheduler.run)
        await began.wait()
        scheduler.pause()
        await trio.sleep(100)
        at = trio.current_time()
        async with scheduler.by_hand("slow") as budget:
            assert done == ["round"]
            assert trio.current_time() - at < 10
            await budget.spend(1 << 40)
            assert trio.current_time() - at < 10
        nursery.cancel_scope.cancel()
    with pytest.raises(InvalidRequest, match="slow"):
        scheduler.wake("other")


async def test_nothing_runs_in_a_read_only_store(store: Store, autojump_clock: MockClock) -> None:
    store.volume.core.read_only = True
    job = Counting()
    await rounds(store.volume, 3 * DAY, Job("count", job.run, DAY))
    assert not job.ran
