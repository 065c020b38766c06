"""The rows over large files and synced writes. Each function does one row's work in one place and
returns its rate."""

import os
import random
import time
from pathlib import Path

from bench.place import (
    SMALL_BYTES,
    Place,
    incompressible,
    per_second,
    stream_in,
    stream_out,
    text,
)
from bench.sizes import MIB


def stream(place: Place) -> Path:
    """The large incompressible file that the read rows share."""

    def make(path: Path) -> None:
        stream_out(path, incompressible(), place.sizes.stream_bytes, sync=True)

    return place.fixture("stream", make)


def random_file(place: Place) -> Path:
    """The file that is overwritten at random places."""

    def make(path: Path) -> None:
        stream_out(path, incompressible(), place.sizes.random_file_bytes, sync=True)

    return place.fixture("random", make)


def fsync_small(place: Place) -> float:
    """Append 4 KiB, fsync, again."""
    payload = os.urandom(SMALL_BYTES)
    path = place.own() / f"round-{place.round}"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)

    def one(_: int) -> None:
        os.write(descriptor, payload)
        os.fsync(descriptor)

    try:
        return per_second(one, seconds=place.sizes.seconds, most=10**9)
    finally:
        os.close(descriptor)


def _write_stream(place: Place, buffer: bytes) -> float:
    path = place.own() / "stream"
    path.unlink(missing_ok=True)
    length = place.sizes.stream_bytes
    begin = time.perf_counter()
    stream_out(path, buffer, length, sync=True)
    return length / MIB / (time.perf_counter() - begin)


def write_random_bytes(place: Place) -> float:
    """A new file of incompressible bytes, the fsync at its end included."""
    return _write_stream(place, incompressible())


def write_text(place: Place) -> float:
    """A new file of program text, the fsync at its end included."""
    return _write_stream(place, text(place.source))


def read_cold(place: Place) -> float:
    """The large file once, from begin to end."""
    begin = time.perf_counter()
    length = stream_in(place.root / "fixture-stream")
    return length / MIB / (time.perf_counter() - begin)


def read_warm(place: Place) -> float:
    """The large file again and again, after one pass that is not counted."""
    path = stream(place)
    length = stream_in(path)
    passes = per_second(lambda _: stream_in(path), seconds=place.sizes.seconds, most=10**9)
    return passes * length / MIB


def random_read_cold(place: Place) -> float:
    """4 KiB at random places of the large file."""
    blocks = place.sizes.stream_bytes // SMALL_BYTES
    generator = random.Random(place.round)
    offsets = [generator.randrange(blocks) * SMALL_BYTES for _ in range(200_000)]
    descriptor = os.open(place.root / "fixture-stream", os.O_RDONLY)
    try:
        return per_second(
            lambda index: os.pread(descriptor, SMALL_BYTES, offsets[index]),
            seconds=place.sizes.seconds,
            most=len(offsets),
        )
    finally:
        os.close(descriptor)


def random_write(place: Place) -> float:
    """4 KiB at random places of an existing file, one fsync at the end, included."""
    path = random_file(place)
    blocks = place.sizes.random_file_bytes // SMALL_BYTES
    generator = random.Random(place.round)
    count = place.sizes.random_writes
    offsets = [generator.randrange(blocks) * SMALL_BYTES for _ in range(count)]
    payload = os.urandom(SMALL_BYTES)
    descriptor = os.open(path, os.O_WRONLY)
    try:
        begin = time.perf_counter()
        for offset in offsets:
            os.pwrite(descriptor, payload, offset)
        os.fsync(descriptor)
        return count / (time.perf_counter() - begin)
    finally:
        os.close(descriptor)
