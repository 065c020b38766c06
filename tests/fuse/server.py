"""The process behind a mount in the tests: a store in a directory, served until unmounted.

    python -m tests.fuse.server STORE MOUNTPOINT ROOT [WORD...]

ROOT is a bucket, or `*` for all. The words are mount options. Prints "ready". It takes no lock, so
a test must not start two on one store. SIGUSR1 puts a symlink `behind` into the root of `main`,
behind the kernel; SIGUSR2 cancels the mount.
"""

import logging
import signal
import sys
from functools import partial
from pathlib import Path

import trio

from objfs.base.settings import Settings
from objfs.base.system import SystemClock, SystemRandomness, TrioThreads
from objfs.base.types import Caller
from objfs.fuse.mount import MountOptions, serve
from objfs.meta.sqlite import SqliteEngine
from objfs.store.log import Log
from objfs.store.placement import Placement
from objfs.store.posix import PosixDevice
from objfs.volume.opening import data_references, open_volume
from objfs.volume.volume import Volume

STORE_ID = bytes(16)


def open_store(store: Path) -> Volume:
    """The volume in a directory, made if it is new, with the buckets `main` and `other`."""
    for part in ("segments", "index"):
        (store / part).mkdir(parents=True, exist_ok=True)
    clock, threads, settings = SystemClock(), TrioThreads(), Settings()
    log = Log.open(
        Placement(PosixDevice(store / "segments")),
        store_id=STORE_ID,
        settings=settings,
        clock=clock,
        randomness=SystemRandomness(),
        threads=threads,
        references=data_references,
    )
    engine = SqliteEngine(store / "index", STORE_ID)
    volume = open_volume(log, engine, clock=clock, threads=threads, settings=settings)
    if not volume.buckets():
        volume.create_bucket("main")
        volume.create_bucket("other")
    return volume


async def obey(volume: Volume, scope: trio.CancelScope) -> None:
    """What the signals ask for."""
    with trio.open_signal_receiver(signal.SIGUSR1, signal.SIGUSR2) as signals:
        async for number in signals:
            if number == signal.SIGUSR2:
                scope.cancel()
                continue
            root = volume.root("main")
            volume.symlink(root, b"behind", b"nowhere", Caller(0, 0, 0))
            volume.core.invalidate(root, b"behind")


async def run(store: Path, mountpoint: Path, root: str, words: tuple[str, ...]) -> None:
    """Serve until unmounted."""
    volume = open_store(store)
    known = {"ro", "allow_other", "no-shim"}
    options = MountOptions(
        source=bytes(store),
        read_only="ro" in words,
        allow_other="allow_other" in words,
        words=tuple(word for word in words if word not in known),
    )
    clock, threads = SystemClock(), TrioThreads()
    ino = None if root == "*" else volume.root(root)
    serving = partial(serve, volume, ino, mountpoint, options, clock=clock, threads=threads)
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(volume.run)
            async with trio.open_nursery() as mounting:
                nursery.start_soon(obey, volume, mounting.cancel_scope)
                await mounting.start(serving)
                print("ready", flush=True)
            nursery.cancel_scope.cancel()
    finally:
        await volume.close()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    trio.run(run, Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], tuple(sys.argv[4:]))
