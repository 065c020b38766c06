"""What the S3 door did since it was opened, counted. Metrics and `objfs status` read these."""

from bisect import bisect_left
from collections import Counter

from objfs.base.limits import S3_OPERATIONS_MAX
from objfs.s3.connection import Outcome

# Upper bounds, as Prometheus counts them; the last class has none.
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
UNKNOWN = "Unknown"  # operation of a request that none was found for


class Durations:
    """How long the requests of an operation took."""

    def __init__(self) -> None:
        self.counts = [0] * (len(SECONDS) + 1)
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(SECONDS, seconds)] += 1
        self.seconds += seconds


class Figures:
    """Counts of requests by operation and status, of bytes of bodies, of durations."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.errors: Counter[str] = Counter()  # by S3's code
        self.durations: dict[str, Durations] = {}
        self.bytes_received = 0
        self.bytes_sent = 0

    def add(self, outcome: Outcome) -> None:
        """A request ended."""
        notes = outcome.request.notes
        operation = notes.operation or UNKNOWN
        durations = self.durations.get(operation)
        if durations is None:
            if len(self.durations) >= S3_OPERATIONS_MAX:
                operation = UNKNOWN
            durations = self.durations.setdefault(operation, Durations())
        durations.add(outcome.seconds)
        self.requests[operation, outcome.status] += 1
        if notes.error is not None:
            self.errors[notes.error] += 1
        self.bytes_received += outcome.bytes_received
        self.bytes_sent += outcome.bytes_sent

    def statistics(self) -> dict[str, object]:
        """The stable JSON form. Status 0: the client left before it was answered."""
        requests: dict[str, dict[str, int]] = {}
        for (operation, status), count in sorted(self.requests.items()):
            requests.setdefault(operation, {})[str(status)] = count
        return {
            "requests": requests,
            "errors": dict(sorted(self.errors.items())),
            "bytes_received": self.bytes_received,
            "bytes_sent": self.bytes_sent,
        }
