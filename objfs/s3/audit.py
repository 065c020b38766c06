"""The audit log: one line of JSON for every request, in `audit.jsonl`, rotated by size.

Promises: no secret is ever written. Of a query only the values of known, harmless parameters are
kept; signatures, tokens and whatever else came are shown as `*`. Lines are whole: one that a crash
cut off is ended before the next begins. Writing happens in a thread, many lines at a time; what
does not fit into the queue, or onto the disk, is counted, and the next line that is written says
how many are missing. Who may read the files may see what everybody did: they are 0600.
"""

import logging
import os
from collections import deque
from pathlib import Path

import msgspec
import trio

from objfs.base.limits import (
    S3_AUDIT_FILE_BYTES_MAX,
    S3_AUDIT_FILES_KEPT,
    S3_AUDIT_QUEUED_MAX,
    S3_AUDIT_SECONDS,
    S3_AUDIT_TEXT_CHARS_MAX,
)
from objfs.base.ports import Threads
from objfs.s3.connection import Outcome
from objfs.s3.dates import iso_date
from objfs.s3.http import Request, decode_text

logger = logging.getLogger(__name__)

FILE = "audit.jsonl"

# Parameters whose values say what was asked, in lower case. Every other value may be a secret.
HARMLESS = frozenset(
    [
        "action",
        "continuation-token",
        "delimiter",
        "encoding-type",
        "fetch-owner",
        "id",
        "key-marker",
        "list-type",
        "marker",
        "max-buckets",
        "max-keys",
        "max-parts",
        "max-uploads",
        "part-number-marker",
        "partnumber",
        "prefix",
        "response-cache-control",
        "response-content-disposition",
        "response-content-encoding",
        "response-content-language",
        "response-content-type",
        "response-expires",
        "start-after",
        "upload-id-marker",
        "uploadid",
        "version",
        "version-id-marker",
        "versionid",
        "x-amz-algorithm",
        "x-amz-credential",
        "x-amz-date",
        "x-amz-expires",
        "x-amz-signedheaders",
        "x-id",
    ]
)


class Entry(msgspec.Struct, frozen=True):
    """A line. Fields are added at the end, never renamed or removed."""

    time: str
    request_id: str
    principal: str | None
    source: str
    operation: str | None
    bucket: str | None
    key: str | None
    version: str | None
    status: int  # 0: the client left before it was answered
    bytes: int  # of both bodies
    duration: float  # seconds
    error: str | None
    method: str
    target: str


class Missing(msgspec.Struct, frozen=True):
    """A line instead of others."""

    missing: int
    reason: str


def entry_of(outcome: Outcome) -> Entry:
    """What is written of a request."""
    request = outcome.request
    notes = request.notes
    return Entry(
        time=iso_date(request.received_ns),
        request_id=request.id,
        principal=_text(notes.principal),
        source=request.peer,
        operation=notes.operation,
        bucket=_text(notes.bucket),
        key=_text(notes.key),
        version=_text(notes.version),
        status=outcome.status,
        bytes=outcome.bytes_received + outcome.bytes_sent,
        duration=round(outcome.seconds, 6),
        error=notes.error,
        method=request.method,
        target=redacted(request),
    )


def redacted(request: Request) -> str:
    """The target, without what may be a secret."""
    parts = []
    for pair in request.query:
        value = pair.raw_value
        if value and pair.name.lower() not in HARMLESS:
            value = b"*"
        parts.append(pair.raw_name + (b"" if value is None else b"=" + value))
    query = b"?" + b"&".join(parts) if parts else b""
    return _text(decode_text(request.raw_path + query)) or ""


def _text(text: str | None) -> str | None:
    """What JSON can say of a text, and not too much of it."""
    if text is None:
        return None
    return text[:S3_AUDIT_TEXT_CHARS_MAX].encode("utf-8", "backslashreplace").decode()


class AuditLog:
    """Writes the log into a directory, which is there, while `run` runs."""

    def __init__(self, directory: Path, threads: Threads) -> None:
        self.missing = 0  # lines that were not written, ever
        self._path = directory / FILE
        self._threads = threads
        self._queue: deque[Outcome] = deque()
        self._unsaid = 0  # lines missing that no line has told of
        self._filled = trio.Event()

    def add(self, outcome: Outcome) -> None:
        """Have a line written soon. Never waits, never fails."""
        if len(self._queue) >= S3_AUDIT_QUEUED_MAX:
            self._miss(1)
            return
        self._queue.append(outcome)
        self._filled.set()

    def _miss(self, count: int) -> None:
        self.missing += count
        self._unsaid += count

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write until cancelled, and then what is left."""
        task_status.started()
        try:
            while True:
                await self._filled.wait()
                await trio.sleep(S3_AUDIT_SECONDS)
                await self._write()
        finally:
            with trio.CancelScope(shield=True):
                await self._write()

    async def _write(self) -> None:
        self._filled = trio.Event()
        batch, unsaid = list(self._queue), self._unsaid
        self._queue.clear()
        if not batch and not unsaid:
            return
        try:
            await self._threads.run(self._append, batch, unsaid)
            self._unsaid -= unsaid
        except OSError as error:
            logger.error("%d lines of the audit log are lost: %s", len(batch), error)
            self._miss(len(batch))

    def _append(self, batch: list[Outcome], unsaid: int) -> None:
        """In a thread; one at a time."""
        lines: list[Entry | Missing] = [entry_of(outcome) for outcome in batch]
        if unsaid:
            lines.append(Missing(unsaid, "too many at a time, or the disk refused them"))
        data = msgspec.json.Encoder().encode_lines(lines)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                data = b"\n" + data
            _write_all(descriptor, data)
        finally:
            os.close(descriptor)
        if size + len(data) > S3_AUDIT_FILE_BYTES_MAX:
            self._rotate()

    def _rotate(self) -> None:
        for number in range(S3_AUDIT_FILES_KEPT - 1, 0, -1):
            older = self._path.with_name(f"{FILE}.{number}")
            if older.exists():
                older.replace(self._path.with_name(f"{FILE}.{number + 1}"))
        self._path.replace(self._path.with_name(f"{FILE}.1"))


def _write_all(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]
