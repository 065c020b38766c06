"""Opening a store: lock, device, log, index, volume, in this order; and closing them again.

The only place where these objects are made. The lock is taken first and given back last.
"""

import os
import shlex
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from objfs.base.system import LocalZone, SystemRandomness, TrioThreads
from objfs.cli.clock import command_clock, lifecycle_day_ns
from objfs.cli.store_directory import SEGMENTS, StoreDirectory
from objfs.cli.store_keys import load_store_keys
from objfs.meta.replay import Progress
from objfs.meta.sqlite import SqliteEngine
from objfs.store.lock import StoreLock
from objfs.store.log import Log
from objfs.store.placement import Placement
from objfs.store.posix import PosixDevice
from objfs.store.reserve import ReserveFile
from objfs.volume.opening import data_references, open_volume
from objfs.volume.volume import Volume


def take_lock(directory: StoreDirectory) -> StoreLock:
    """The right to open the store. StoreHeld, with the process that has it."""
    return StoreLock.acquire(directory.lock, shlex.join(["objfs", *sys.argv[1:]]))


def construct(
    directory: StoreDirectory, *, read_only: bool = False, progress: Progress | None = None
) -> Volume:
    """An open volume, for who has the lock. Blocks while it recovers and replays."""
    if not directory.segments.is_dir():
        raise directory.store_error(
            f"{SEGMENTS}/ is missing, and with it everything that was stored; put it back"
        )
    clock, threads, randomness = command_clock(), TrioThreads(), SystemRandomness()
    day_ns = lifecycle_day_ns()
    log = Log.open(
        Placement(PosixDevice(directory.segments)),
        store_id=directory.store_id,
        settings=directory.settings,
        clock=clock,
        randomness=randomness,
        threads=threads,
        references=data_references,
        read_only=read_only,
    )
    directory.index.mkdir(mode=0o700, exist_ok=True)
    volume = open_volume(
        log,
        SqliteEngine(directory.index, directory.store_id),
        clock=clock,
        threads=threads,
        settings=directory.settings,
        reserve=ReserveFile(directory.reserve, directory.settings.reserve_bytes),
        read_only=read_only,
        progress=progress,
        zone=LocalZone(),
    )
    volume.identities.use(lambda: load_store_keys(directory, os.environ, randomness), randomness)
    volume.lifecycle_day_ns = day_ns
    return volume


@asynccontextmanager
async def open_store(
    directory: StoreDirectory,
    lock: StoreLock,
    *,
    read_only: bool = False,
    progress: Progress | None = None,
) -> AsyncIterator[Volume]:
    """A volume with its background tasks, closed and durable at the end. Takes over the lock."""
    with lock:
        volume = construct(directory, read_only=read_only, progress=progress)
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(volume.run)
                yield volume
                nursery.cancel_scope.cancel()
        finally:
            await volume.close()
