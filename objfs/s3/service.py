"""The S3 service of a volume: the door, the HTTP server, audit log and figures, as one thing that
is run and stopped."""

import socket
from collections.abc import Sequence
from pathlib import Path

import trio

from objfs.base.ports import Clock, Fetch, Randomness, Threads
from objfs.s3.audit import AuditLog
from objfs.s3.calls import DoorSettings
from objfs.s3.connection import Outcome
from objfs.s3.door import Door
from objfs.s3.endpoints import Endpoints
from objfs.s3.figures import Figures
from objfs.s3.listening import Certificate
from objfs.s3.metrics import Metrics
from objfs.s3.server import Server
from objfs.volume.volume import Volume


class Service:
    """Serves a volume on bound sockets."""

    def __init__(
        self,
        volume: Volume,
        sockets: Sequence[socket.socket],
        settings: DoorSettings,
        *,
        tls: Certificate | None,
        log_directory: Path,
        clock: Clock,
        randomness: Randomness,
        threads: Threads,
        fetch: Fetch,
    ) -> None:
        self._volume = volume
        self._figures = Figures()
        self._audit = AuditLog(log_directory, threads)
        endpoints = Endpoints(
            Door(volume, clock, settings, threads=threads, fetch=fetch),
            Metrics(volume.status, self._figures),
            self._trouble,
            domains=settings.domains,
            public_metrics=settings.public_metrics,
        )
        self._server = Server(
            endpoints,
            sockets,
            clock=clock,
            randomness=randomness,
            ended=self._ended,
            tls=tls,
            unbounded=endpoints.is_one,
        )
        self.url = self._server.url

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve; started when clients can connect. Returns after `stop`. ListenError."""
        core = self._volume.core
        async with trio.open_nursery() as nursery:
            await nursery.start(self._audit.run)
            self._volume.doors["s3"] = self.statistics
            core.asked.append(self._last_request)
            try:
                await self._server.serve(task_status=task_status)
            finally:
                core.asked.remove(self._last_request)
                del self._volume.doors["s3"]
            nursery.cancel_scope.cancel()

    async def stop(self) -> None:
        """Take nothing more, and return when what runs has ended, or its time is over."""
        await self._server.stop()

    def statistics(self) -> dict[str, object]:
        """What `objfs status` shows of this door."""
        return {
            "url": self.url,
            "connections": self._server.connections,
            "active": self._server.requests,
            **self._figures.statistics(),
            "audit_missing": self._audit.missing,
        }

    def _last_request(self) -> float:
        return self._server.request_at

    def _ended(self, outcome: Outcome) -> None:
        self._figures.add(outcome)
        self._audit.add(outcome)

    def _trouble(self) -> str | None:
        if self._server.stopping:
            return "the service is being stopped"
        core = self._volume.core
        failed = core.log.failed or core.database.failed
        return None if failed is None else str(failed)
