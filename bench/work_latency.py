"""What others feel while somebody copies a large file in: the latency of stat and of creating a
small file on the same filesystem."""

import os
import subprocess
import sys
import time
from pathlib import Path

from bench.figures import latency_figures
from bench.place import SMALL_BYTES, Place, incompressible, stream_out

PAUSE_SECONDS = 0.001  # between probes: they measure the load, they are not meant to be it


def latency(place: Place) -> dict[str, float]:
    """Median, 99th percentile and longest time in ms of stat (of names that the kernel does not
    know yet) and of create + write 4 KiB + close, while a file is written."""
    directory = place.fresh()
    known = str(place.root / "fixture-files")
    payload = os.urandom(SMALL_BYTES)
    stats: list[float] = []
    creates: list[float] = []
    writer = _start_writer(place.own() / "stream", place.sizes.latency_bytes)
    try:
        while writer.poll() is None:
            begin = time.perf_counter()
            os.stat(f"{known}/{len(stats) % place.sizes.files:06d}")
            between = time.perf_counter()
            descriptor = os.open(directory / f"{len(creates):06d}", os.O_WRONLY | os.O_CREAT)
            os.write(descriptor, payload)
            os.close(descriptor)
            end = time.perf_counter()
            stats.append(between - begin)
            creates.append(end - between)
            time.sleep(PAUSE_SECONDS)
    finally:
        writer.kill()
        writer.wait()
    if writer.returncode != 0:
        raise RuntimeError(f"the writer of the large file ended with status {writer.returncode}")
    names = ("p50", "p99", "max")
    return {
        f"{what} {name}": value
        for what, samples in (("stat", stats), ("create", creates))
        for name, value in zip(names, latency_figures(samples), strict=True)
    }


def _start_writer(path: Path, length: int) -> subprocess.Popen[bytes]:
    writer = subprocess.Popen(
        [sys.executable, "-m", "bench.work_latency", path, str(length)], stdout=subprocess.PIPE
    )
    assert writer.stdout is not None
    writer.stdout.readline()  # its buffer is filled, the copying begins
    return writer


def _write(path: Path, length: int) -> None:
    path.unlink(missing_ok=True)
    buffer = incompressible()
    print("ready", flush=True)
    stream_out(path, buffer, length, sync=False)


if __name__ == "__main__":
    _write(Path(sys.argv[1]), int(sys.argv[2]))
