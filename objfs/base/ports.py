"""What is passed in: clock, randomness, threads. Direct use outside `objfs/base/system.py` is
banned by `tests/tidy/`, so that crash tests and simulation stay in control."""

from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Clock(Protocol):
    """Time as the store sees it."""

    def now_ns(self) -> int:
        """The wall clock: nanoseconds since 1970."""

    def monotonic(self) -> float:
        """Seconds that only grow; for intervals."""


class Randomness(Protocol):
    """A source of random bits."""

    def bits(self, count: int) -> int:
        """An integer of `count` random bits."""


class Threads(Protocol):
    """Where blocking work goes."""

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        """Run `function(*arguments)` off the loop and return its result. Not cancellable: a
        cancelled caller waits for the function to end. Always a checkpoint."""


class Fetch(Protocol):
    """Where documents of other servers come from: the keys of an issuer of identities."""

    async def get(self, url: str, limit: int) -> bytes:
        """The body of a GET, at most `limit` bytes. StorageError when it does not come."""
