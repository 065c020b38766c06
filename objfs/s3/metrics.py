"""Metrics in Prometheus' text form: the only use of prometheus_client.

Nothing is counted here. Every figure is read from `Volume.status` and from the figures of the doors
at the moment of the scrape, so metrics and `objfs status` cannot disagree.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import Any

import prometheus_client
from prometheus_client.core import CounterMetricFamily as Counter
from prometheus_client.core import GaugeMetricFamily as Gauge
from prometheus_client.core import HistogramMetricFamily as Histogram
from prometheus_client.registry import Collector, CollectorRegistry

from objfs.s3.figures import SECONDS, Figures

CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST
STATES = ("writable", "read-only", "failed")

Family = Counter | Gauge | Histogram
Status = dict[str, Any]

# Field of the status -> what it says; those that only grow, first.
_LOG_COUNTERS = {
    "appends": "Records appended to the log.",
    "appended_bytes": "Bytes appended to the log.",
    "syncs": "Times that the log was made durable.",
    "cache_hits": "Reads of blocks that the cache of verified blocks answered.",
    "cache_misses": "Reads of blocks that went to the device.",
}
_LOG_GAUGES = {
    "segments": "Segments of the log.",
    "journal_segments": "Segments of the journal among them.",
    "segment_bytes": "Bytes of all segment files.",
    "meta_bytes": "Stored bytes of META records.",
    "data_bytes": "Stored bytes of DATA records.",
    "raw_data_bytes": "Bytes that the DATA records hold.",
    "meta_bytes_since_checkpoint": "Bytes of META records since the last checkpoint.",
    "device_free_bytes": "Free bytes of the device.",
}
_STORE = {
    "dirty_bytes": "Bytes written by programs and not in the log yet.",
    "open_files": "Inodes in use.",
    "sequence": "Sequence number of the last change.",
    "synced_sequence": "Sequence number up to which everything is durable.",
    "missing_metas": "Changes of the log that were lost to damage.",
    "reserve_bytes": "Bytes held back for a full disk.",
}
_BUCKET = {
    "live_bytes": "Bytes of current files.",
    "past_bytes": "Bytes that only past versions have.",
    "objects": "Current files.",
}
_FUSE = {
    "requests": "Requests of the kernel.",
    "bytes_read": "Bytes that programs read through the mount, past the kernel's cache.",
    "bytes_written": "Bytes that the kernel wrote through the mount.",
}


class Metrics(Collector):
    """The metrics of a store and its doors."""

    def __init__(self, status: Callable[[], Status], figures: Figures) -> None:
        self._status = status
        self._figures = figures
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        prometheus_client.ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """A scrape, of the type CONTENT_TYPE."""
        return prometheus_client.generate_latest(self._registry)

    def describe(self) -> Iterable[Family]:
        """Nothing beforehand: that would read the status."""
        return []

    def collect(self) -> Iterator[Family]:
        """Called by the registry for a scrape."""
        status = self._status()
        yield from _store(status)
        yield from _log(status["log"])
        yield from _buckets(status["buckets"])
        if status["background"] is not None:
            yield from _background(status["background"])
        doors = status["doors"]
        if "fuse" in doors:
            yield from _all_of("objfs_fuse", _FUSE, doors["fuse"], Counter)
        yield from _s3(doors["s3"])
        yield from _s3_requests(self._figures)


def _all_of(
    prefix: str, names: dict[str, str], values: Status, kind: type[Counter] | type[Gauge]
) -> Iterator[Family]:
    for name, about in names.items():
        yield kind(f"{prefix}_{name}", about, value=values[name])


def _store(status: Status) -> Iterator[Family]:
    state = Gauge("objfs_state", "1 for the state that the store is in.", labels=["state"])
    for each in STATES:
        state.add_metric([each], float(status["state"] == each))
    yield state
    yield from _all_of("objfs", _STORE, status, Gauge)
    yield Gauge("objfs_damage", "Places known to be damaged.", value=len(status["damage"]))


def _log(log: Status) -> Iterator[Family]:
    yield from _all_of("objfs_log", _LOG_COUNTERS, log, Counter)
    yield from _all_of("objfs_log", _LOG_GAUGES, log, Gauge)


def _buckets(buckets: Status) -> Iterator[Family]:
    for name, about in _BUCKET.items():
        family = Gauge(f"objfs_bucket_{name}", about, labels=["bucket"])
        for bucket, values in buckets.items():
            family.add_metric([bucket], values[name])
        yield family


def _background(background: Status) -> Iterator[Family]:
    yield Gauge(
        "objfs_background_paused", "1 while no job may work.", value=float(background["paused"])
    )
    running = Gauge("objfs_background_running", "1 while the job works.", labels=["job"])
    failed = Gauge("objfs_background_failed", "1 if its last round failed.", labels=["job"])
    due = Gauge("objfs_background_due_seconds", "Until its next round is due.", labels=["job"])
    done = Counter(
        "objfs_background_done", "What the job did since the start.", labels=["job", "what"]
    )
    for job in background["jobs"]:
        running.add_metric([job["name"]], float(job["running"]))
        failed.add_metric([job["name"]], float(bool(job["last"] and job["last"]["error"])))
        due.add_metric([job["name"]], job["due_seconds"])
        for what, count in job["totals"].items():
            done.add_metric([job["name"], what], count)
    yield from (running, failed, due, done)


def _s3(door: Status) -> Iterator[Family]:
    yield Gauge("objfs_s3_connections", "Connections of S3 clients.", value=door["connections"])
    yield Gauge("objfs_s3_active", "S3 requests being worked on.", value=door["active"])
    for name, about in (
        ("bytes_received", "Bytes of request bodies."),
        ("bytes_sent", "Bytes of response bodies."),
        ("audit_missing", "Lines of the audit log that could not be written."),
    ):
        yield Counter(f"objfs_s3_{name}", about, value=door[name])


def _s3_requests(figures: Figures) -> Iterator[Family]:
    requests = Counter(
        "objfs_s3_requests",
        "S3 requests, by operation and status; 0 if the client left.",
        labels=["operation", "status"],
    )
    for (operation, status), count in sorted(figures.requests.items()):
        requests.add_metric([operation, str(status)], count)
    errors = Counter("objfs_s3_errors", "S3 errors, by code.", labels=["code"])
    for code, count in sorted(figures.errors.items()):
        errors.add_metric([code], count)
    seconds = Histogram(
        "objfs_s3_request_seconds",
        "From a head to the end of its answer.",
        labels=["operation"],
    )
    bounds = [str(bound) for bound in SECONDS] + ["+Inf"]
    for operation, durations in sorted(figures.durations.items()):
        counts = accumulate(durations.counts)
        seconds.add_metric([operation], list(zip(bounds, counts, strict=True)), durations.seconds)
    yield from (requests, errors, seconds)
