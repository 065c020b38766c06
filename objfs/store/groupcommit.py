"""Group commit: one sync at a time, and everyone who asks meanwhile shares the next one.

The unit is a *round*. It covers every append counted when it starts; whoever asks waits until a
round that covers his appends has ended, and starts one himself when none is running. A round that
failed is never retried: all who wait get the error, and so does everyone after.
"""

from collections.abc import Awaitable, Callable

import trio


class GroupCommit:
    """Counts appends and runs rounds. `run_round` syncs everything counted so far, or raises;
    `check` raises when the log has failed."""

    def __init__(self, run_round: Callable[[], Awaitable[None]], check: Callable[[], None]) -> None:
        self._run_round = run_round
        self._check = check
        self.appends = 0  # everything that a sync has to cover
        self._synced = 0
        self._running: trio.Event | None = None
        self.rounds = 0

    async def wait_synced(self) -> None:
        """Everything counted when this was called is durable when it returns."""
        wanted = self.appends
        await trio.lowlevel.checkpoint()
        while True:
            self._check()
            if self._synced >= wanted:
                return
            if self._running is None:
                await self._lead()
            else:
                await self._running.wait()

    async def _lead(self) -> None:
        """Run a round. Not cancellable: others wait for it."""
        self._running = trio.Event()
        covered = self.appends
        self.rounds += 1
        try:
            with trio.CancelScope(shield=True):
                await self._run_round()
            self._synced = covered
        finally:
            self._running.set()
            self._running = None
