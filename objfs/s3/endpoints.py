"""What the door answers to whom watches over it, without a signature: health, readiness, metrics.

The paths begin with `/.objfs/`, which no bucket can be called. On a name below one of the door's
domains the same path is a key of that bucket, and goes to the door.

    /.objfs/health    200 while the process answers
    /.objfs/ready     200 if requests can succeed; 503 and the reason if not
    /.objfs/metrics   Prometheus' text form; for this machine only, unless it was made public
"""

import ipaddress
from collections.abc import Callable

from objfs.s3.errors import S3Error
from objfs.s3.http import Handler, Request, Response
from objfs.s3.metrics import CONTENT_TYPE, Metrics
from objfs.s3.routing import bucket_of_host

PREFIX = b"/.objfs/"


class Endpoints:
    """A handler around the door. `trouble()` says why requests cannot succeed now; None if they
    can."""

    def __init__(
        self,
        door: Handler,
        metrics: Metrics,
        trouble: Callable[[], str | None],
        *,
        domains: tuple[str, ...] = (),
        public_metrics: bool = False,
    ) -> None:
        self._door = door
        self._metrics = metrics
        self._trouble = trouble
        self._domains = domains
        self._public_metrics = public_metrics

    def is_one(self, request: Request) -> bool:
        """Whether the request is for an endpoint, to be answered however much there is to do."""
        if not request.path.startswith(PREFIX):
            return False
        return not bucket_of_host(request.host, self._domains)

    async def __call__(self, request: Request) -> Response:
        """The endpoint's answer, or the door's."""
        if not self.is_one(request):
            return await self._door(request)
        request.notes.operation = "Endpoint"
        if request.method not in {"GET", "HEAD"}:
            raise S3Error("MethodNotAllowed")
        match request.path.removeprefix(PREFIX):
            case b"health":
                return _said(200, "ok")
            case b"ready":
                trouble = self._trouble()
                return _said(200, "ready") if trouble is None else _said(503, trouble)
            case b"metrics" if self._public_metrics or _is_local(request.peer):
                return Response(200, [("Content-Type", CONTENT_TYPE)], self._metrics.text())
            case b"metrics":
                raise S3Error("AccessDenied")
            case _:
                raise S3Error("NoSuchKey")


def _said(status: int, text: str) -> Response:
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store")]
    return Response(status, headers, f"{text}\n".encode())


def _is_local(peer: str) -> bool:
    address = ipaddress.ip_address(peer.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback
