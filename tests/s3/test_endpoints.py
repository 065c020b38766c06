"""Health, readiness and metrics; and that metrics and status say the same."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from objfs.base.fetching import HttpsFetch
from objfs.base.system import InlineThreads, SystemClock, SystemRandomness
from objfs.s3.audit import FILE
from objfs.s3.calls import DoorSettings
from objfs.s3.endpoints import Endpoints
from objfs.s3.errors import S3Error
from objfs.s3.figures import Figures
from objfs.s3.http import Headers, Request, Response
from objfs.s3.listening import Address, bind
from objfs.s3.metrics import Metrics
from objfs.s3.service import Service
from objfs.volume.volume import Volume
from tests.volume.store import Store


@pytest.fixture
async def store() -> Store:
    store = Store()
    await store.make()
    return store


async def door(request: Request) -> Response:
    return Response(200, (), b"the door")


def asked(path: bytes, host: bytes = b"127.0.0.1", peer: str = "127.0.0.1") -> Request:
    return Request("GET", path, Headers([(b"Host", host)]), peer=peer)


class Watched:
    """Endpoints of a volume, and what they say."""

    def __init__(self, volume: Volume, *, public: bool = False) -> None:
        self.trouble: str | None = None
        metrics = Metrics(lambda: volume.status() | {"doors": {"s3": _DOOR}}, Figures())
        self.endpoints = Endpoints(
            door, metrics, lambda: self.trouble, domains=("s3.test",), public_metrics=public
        )

    async def get(self, request: Request) -> tuple[int, bytes]:
        response = await self.endpoints(request)
        assert isinstance(response.body, bytes)
        return response.status, response.body


_DOOR = {
    "connections": 1,
    "active": 1,
    "bytes_received": 0,
    "bytes_sent": 0,
    "audit_missing": 0,
}


async def test_health_and_readiness(store: Store) -> None:
    watched = Watched(store.volume)
    assert await watched.get(asked(b"/.objfs/health")) == (200, b"ok\n")
    assert await watched.get(asked(b"/.objfs/ready")) == (200, b"ready\n")
    watched.trouble = "the device failed"
    assert await watched.get(asked(b"/.objfs/ready")) == (503, b"the device failed\n")
    assert await watched.get(asked(b"/.objfs/health")) == (200, b"ok\n")


async def test_other_paths_go_to_the_door(store: Store) -> None:
    watched = Watched(store.volume)
    for request in (
        asked(b"/bucket/.objfs/health"),
        asked(b"/.objfs"),
        asked(b"/.objfs/health", b"bucket.s3.test:9000"),
    ):
        assert await watched.get(request) == (200, b"the door")
    assert await watched.get(asked(b"/.objfs/health", b"s3.test")) == (200, b"ok\n")
    with pytest.raises(S3Error, match="NoSuchKey"):
        await watched.get(asked(b"/.objfs/other"))
    with pytest.raises(S3Error, match="MethodNotAllowed"):
        await watched.get(Request("PUT", b"/.objfs/health", Headers()))


@pytest.mark.parametrize(
    ("peer", "local"),
    [("127.0.0.1", True), ("::1", True), ("::ffff:127.0.0.1", True), ("192.0.2.1", False)],
)
async def test_metrics_are_for_this_machine_unless_public(
    store: Store, peer: str, local: bool
) -> None:
    request = asked(b"/.objfs/metrics", peer=peer)
    assert (await Watched(store.volume, public=True).get(request))[0] == 200
    if local:
        assert (await Watched(store.volume).get(request))[0] == 200
    else:
        with pytest.raises(S3Error, match="AccessDenied"):
            await Watched(store.volume).get(request)


# --- The service ----------------------------------------------------------------------------------


def samples(text: str) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@asynccontextmanager
async def running(volume: Volume, directory: Path) -> AsyncIterator[Service]:
    service = Service(
        volume,
        bind(Address("127.0.0.1", 0)),
        DoorSettings(),
        tls=None,
        log_directory=directory,
        clock=SystemClock(),
        randomness=SystemRandomness(),
        threads=InlineThreads(),
        fetch=HttpsFetch(SystemClock(), InlineThreads()),
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(service.run)
        yield service
        await service.stop()


async def get(stream: trio.SocketStream, path: str) -> str:
    """The body of an answer; the connection is kept."""
    await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    heard = b""
    while b"\r\n\r\n" not in heard:
        heard += await stream.receive_some()
    head, _, body = heard.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    while len(body) < length:
        body += await stream.receive_some()
    return body.decode()


async def test_metrics_agree_with_the_status(store: Store, tmp_path: Path) -> None:
    volume = store.volume
    async with running(volume, tmp_path) as service:
        port = int(service.url.rpartition(":")[2])
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            for path in ("/.objfs/health", "/.objfs/nothing"):
                await get(stream, path)
            status: Any = volume.status()
            said = samples(await get(stream, "/.objfs/metrics"))
    figures = status["doors"]["s3"]
    assert figures["requests"] == {"Endpoint": {"200": 1, "404": 1}}
    assert said["objfs_s3_requests_total", "Endpoint", "200"] == 1
    assert said["objfs_s3_requests_total", "Endpoint", "404"] == 1
    assert said["objfs_s3_errors_total", "NoSuchKey"] == figures["errors"]["NoSuchKey"] == 1
    assert said["objfs_s3_request_seconds_count", "Endpoint"] == 2
    assert said["objfs_s3_bytes_sent_total",] == figures["bytes_sent"] > 0
    assert said["objfs_s3_connections",] == 1
    assert said["objfs_state", "writable"] == 1
    assert said["objfs_state", "failed"] == 0
    assert said["objfs_sequence",] == status["sequence"]
    for name in ("appends", "syncs", "cache_hits"):
        assert said[f"objfs_log_{name}_total",] == status["log"][name]
    for bucket, values in status["buckets"].items():
        assert said["objfs_bucket_objects", bucket] == values["objects"]
    assert volume.status()["doors"] == {}
    assert len((tmp_path / FILE).read_text().splitlines()) == 3
