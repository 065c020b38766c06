"""Operations over a volume in memory, and real mounts served by a process of their own."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from objfs.fuse.mount_point import MNT_DETACH, mounted_at
from objfs.fuse.operations import Operations
from objfs.volume.volume import Volume
from tests.fuse.past import LONG, Past
from tests.model.harness import BUCKET, Harness
from tests.volume.store import Store

PATIENCE_SECONDS = 60.0

fuse_needed = pytest.mark.skipif(not os.path.exists("/dev/fuse"), reason="there is no /dev/fuse")


class Kernel(NamedTuple):
    """What stands in for the kernel: the calls, and the volume below them."""

    do: Operations
    volume: Volume
    bucket: int  # the root of the bucket `main`


@pytest.fixture
async def kernel() -> AsyncIterator[Kernel]:
    """The bucket `main`, mounted without a kernel."""
    volume = await Harness().make()
    root = volume.root(BUCKET)
    yield Kernel(Operations(volume, root), volume, root)
    await volume.close()


@pytest.fixture
async def all_buckets() -> AsyncIterator[Kernel]:
    """The buckets `main` and `other`, mounted side by side."""
    volume = await Harness().make()
    volume.create_bucket("other")
    yield Kernel(Operations(volume, None), volume, volume.root(BUCKET))
    await volume.close()


@pytest.fixture
async def past() -> Past:
    store = Store()
    await store.make()
    store.clock.advance(LONG)
    return Past(store, Operations(store.volume, store.root))


class Server:
    """A process that serves a mount."""

    def __init__(self, module: str, mountpoint: Path, arguments: tuple[str, ...]) -> None:
        self.mountpoint = mountpoint
        how = ["-m", module]
        if "no-shim" in arguments:  # which has to be in the process before pyfuse3 is
            how = ["-c", f"import pyfuse3, runpy; runpy.run_module('{module}', None, '__main__')"]
        self.process = subprocess.Popen(
            [sys.executable, *how, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_ready(self) -> None:
        assert self.process.stdout is not None
        if self.process.stdout.readline().strip() != "ready":
            _, said = self.process.communicate(timeout=PATIENCE_SECONDS)
            raise AssertionError(f"the server is not ready: {said}")

    def stop(self, number: int = signal.SIGTERM) -> tuple[str, str]:
        """Send a signal and wait for the end; what the server printed, and its log."""
        self.process.send_signal(number)
        return self.wait()

    def unmount(self) -> tuple[str, str]:
        """umount(8), and wait for the end."""
        subprocess.run(["umount", self.mountpoint], check=True)
        return self.wait()

    def wait(self) -> tuple[str, str]:
        return self.process.communicate(timeout=PATIENCE_SECONDS)

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def clean_up(self) -> None:
        """Leave nothing mounted and nobody running, whatever the test did."""
        point = os.fsencode(self.mountpoint)
        while mounted_at(point) is not None:
            ctypes.CDLL(None).umount2(point, MNT_DETACH)
        if self.process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(2)
            self.process.kill()
        self.process.communicate()


Serve = Callable[..., Server]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """`serve()` mounts the bucket `main` of the store `tmp_path/store` at `tmp_path/mnt`."""
    servers: list[Server] = []

    def start(root: str = "main", *words: str, wait: bool = True) -> Server:
        mountpoint = tmp_path / "mnt"
        with contextlib.suppress(FileExistsError, OSError):
            mountpoint.mkdir()
        arguments = (str(tmp_path / "store"), str(mountpoint), root, *words)
        server = Server("tests.fuse.server", mountpoint, arguments)
        servers.append(server)
        if wait:
            server.wait_ready()
        return server

    yield start
    for server in servers:
        server.clean_up()


@pytest.fixture
def serve_nothing(tmp_path: Path) -> Iterator[Serve]:
    """`serve_nothing()` mounts a filesystem in memory that needs no volume."""
    servers: list[Server] = []

    def start(*words: str) -> Server:
        mountpoint = tmp_path / "nothing"
        mountpoint.mkdir()
        server = Server("tests.fuse.memory_filesystem", mountpoint, (str(mountpoint), *words))
        servers.append(server)
        server.wait_ready()
        return server

    yield start
    for server in servers:
        server.clean_up()
