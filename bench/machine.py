"""What the bench asks of the machine: caches to drop, memory of a process, a description."""

import os
import platform
import subprocess
import time
from pathlib import Path

from bench.sizes import KIB, MIB

DROP_CACHES = Path("/proc/sys/vm/drop_caches")
EVERYTHING = "3\n"  # inodes that still hold pages survive dropping inodes alone


def can_drop_caches() -> bool:
    """Whether cold rows are possible: only root may drop the kernel's caches."""
    return os.access(DROP_CACHES, os.W_OK)


def settle() -> None:
    """Write back all dirty pages of the machine, so that nobody pays for another's."""
    os.sync()


def drop_caches(seconds: float) -> None:
    """Drop clean pages, dentries and inodes; then leave a FUSE process the time to read its
    forgets."""
    DROP_CACHES.write_text(EVERYTHING)
    time.sleep(seconds)


def take_memory(directory: Path, length: int) -> None:
    """Have free pages at hand. A virtual machine gives free memory back to its host and pays for
    every page it takes again (a tenth of the speed of a write to the page cache): whoever comes
    first would pay for all."""
    path = directory / "pages"
    chunk = bytes(MIB)
    with path.open("wb", buffering=0) as file:
        for _ in range(length // MIB):
            file.write(chunk)
    path.unlink()


def memory_bytes(pid: int) -> tuple[int, int]:
    """Resident bytes of a process: now, and the most so far."""
    found = {}
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in {"VmRSS", "VmHWM"}:
            found[name] = int(value.split()[0]) * KIB
    return found["VmRSS"], found["VmHWM"]


def describe(directory: Path) -> dict[str, str]:
    """What the figures depend on."""
    kind = subprocess.run(
        ["findmnt", "-n", "-o", "FSTYPE", "-T", directory],
        check=False,
        capture_output=True,
        text=True,
    )
    return {
        "kernel": platform.release(),
        "cores": str(os.cpu_count()),
        "load": "{:.1f} {:.1f} {:.1f}".format(*os.getloadavg()),
        "python": platform.python_version(),
        "filesystem": kind.stdout.strip() or "unknown",
    }
