"""The real clock, randomness and threads: the only home of their direct use."""

import datetime
import secrets
import time
from collections.abc import Callable
from typing import TypeVar

import trio

from objfs.base.limits import THREADS_MAX

T = TypeVar("T")


class SystemClock:
    """The machine's clocks; the time of day may be behind by `behind_ns`."""

    def __init__(self, behind_ns: int = 0) -> None:
        self._behind_ns = behind_ns

    def now_ns(self) -> int:
        return time.time_ns() - self._behind_ns

    def monotonic(self) -> float:
        return time.monotonic()


class LocalZone(datetime.tzinfo):
    """The machine's time zone, with its changes over the years."""

    def utcoffset(self, moment: datetime.datetime | None) -> datetime.timedelta | None:
        if moment is None:
            return None
        return moment.replace(tzinfo=None).astimezone().utcoffset()

    def dst(self, moment: datetime.datetime | None) -> datetime.timedelta | None:
        return None  # the offset says it all

    def tzname(self, moment: datetime.datetime | None) -> str | None:
        return None if moment is None else moment.replace(tzinfo=None).astimezone().tzname()

    def fromutc(self, moment: datetime.datetime) -> datetime.datetime:
        return moment.replace(tzinfo=datetime.UTC).astimezone().replace(tzinfo=self)


class SystemRandomness:
    """The kernel's random bits."""

    def bits(self, count: int) -> int:
        return secrets.randbits(count)


class TrioThreads:
    """trio's worker threads, at most `THREADS_MAX` at a time."""

    def __init__(self) -> None:
        self._limiter = trio.CapacityLimiter(THREADS_MAX)
        self.in_flight = 0

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        self.in_flight += 1
        try:
            return await trio.to_thread.run_sync(function, *arguments, limiter=self._limiter)
        finally:
            self.in_flight -= 1


class InlineThreads:
    """Runs the work on the loop, after a checkpoint. For tests and for tools with no mount."""

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        await trio.lowlevel.checkpoint()
        return function(*arguments)
