"""Who notices that a client left while its request is worked on and nothing is read from it.

One epoll of our own watches every connection for the end of what it sends (EPOLLRDHUP) and for
errors, edge-triggered, so data that nobody reads yet does not wake anybody; one task waits for that
epoll. A connection costs one system call in its life, a request none.
"""

import select
from collections.abc import Callable

import trio

EVENTS_MAX = 256  # handled in one go

GONE = select.EPOLLERR | select.EPOLLHUP


class Departures:
    """Calls a function when a socket's peer has ended its side (False) or is gone (True)."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: dict[int, Callable[[bool], None]] = {}

    def watch(self, descriptor: int, left: Callable[[bool], None]) -> None:
        """From now on until `forget`. `left(gone)` may come more than once."""
        self._watched[descriptor] = left
        self._epoll.register(descriptor, select.EPOLLRDHUP | select.EPOLLET)

    def forget(self, descriptor: int) -> None:
        """Before the descriptor is closed."""
        if self._watched.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    async def run(self) -> None:
        """Watch until cancelled."""
        try:
            while True:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                for descriptor, events in self._epoll.poll(0, EVENTS_MAX):
                    left = self._watched.get(descriptor)
                    if left is not None:
                        left(bool(events & GONE))
        finally:
            self._watched.clear()
            self._epoll.close()
