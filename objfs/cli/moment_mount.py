"""A mount of a moment: read-only, of a time or a snapshot.

When nobody owns the store, this process becomes its owner and opens it read-only, as
`mount --read-only` does. When somebody does, it opens the store *beside* the owner and writes
nothing, nor locks anything: it asks the owner which sequence the moment is, after which everything
that the moment shows is in the index, and reads index and segments on its own from then on. It goes
on when the owner ends, or another one begins.
"""

import logging
import os
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import trio

from objfs.base.errors import NotADirectory, NotFound
from objfs.base.system import LocalZone, TrioThreads
from objfs.cli import mountinfo, presence
from objfs.cli.clock import command_clock
from objfs.cli.control_client import ControlClient
from objfs.cli.mountinfo import ALL_BUCKETS, Source
from objfs.cli.store_directory import StoreDirectory
from objfs.fuse.mount import MountOptions, serve
from objfs.meta.sqlite_reading import SqliteReader
from objfs.store.beside import LogBeside
from objfs.store.placement import Placement
from objfs.store.posix import PosixDevice
from objfs.volume.opening import open_beside
from objfs.volume.past_nodes import Node
from objfs.volume.volume import Volume

logger = logging.getLogger(__name__)

LOG_FILE = "moment.log"


class Moment(NamedTuple):
    """What to show: a time in nanoseconds since 1970, or a snapshot by its name."""

    at_ns: int | None = None
    snapshot: str | None = None


def construct_beside(directory: StoreDirectory, sequence: int) -> Volume:
    """A volume that reads beside the owner, up to `sequence`. IndexFailed."""
    threads = TrioThreads()
    log = LogBeside(
        Placement(PosixDevice(directory.segments)),
        store_id=directory.store_id,
        settings=directory.settings,
        threads=threads,
        sequence=sequence,
    )
    return open_beside(
        log,
        SqliteReader(directory.index, directory.store_id),
        clock=command_clock(),
        threads=threads,
        settings=directory.settings,
        zone=LocalZone(),
    )


def ask_owner(client: ControlClient, moment: Moment) -> int:
    """The sequence that the owner of the store says the moment is. InvalidRequest, NotFound."""
    sequence = client.call("settle_moment", moment._asdict())["sequence"]
    assert isinstance(sequence, int)
    return sequence


def root_of(volume: Volume, source: Source, sequence: int) -> Node:
    """What the mount shows. NotFound, NotADirectory."""
    if source.bucket == ALL_BUCKETS:
        return volume.past.moment(None, sequence)
    bucket = volume.bucket(source.bucket)
    try:
        inode = volume.at(sequence).walk(bucket.root, source.prefix)
    except NotFound:
        shown = os.fsdecode(source.encode())
        raise NotFound(f"{shown} did not exist at that time") from None
    if not stat.S_ISDIR(inode.mode):
        raise NotADirectory(f"{os.fsdecode(source.encode())} was no directory at that time")
    return volume.past.moment(inode.ino, sequence)


async def serve_beside(
    volume: Volume, node: Node, point: Path, options: MountOptions, ready: Callable[[], None]
) -> None:
    """Serve to the end of the mount; `ready` when it is usable. MountError."""
    serving = partial(serve, clock=command_clock(), threads=TrioThreads())
    try:
        async with trio.open_nursery() as background:
            await background.start(volume.run)
            async with trio.open_nursery() as nursery:
                await nursery.start(partial(serving, volume, node, point, options))
                mount = mountinfo.mount_at(os.fsencode(point), mountinfo.read_mounts())
                if mount is not None:
                    background.start_soon(presence.announce, mount.device)
                shown = os.fsdecode(options.source)
                logger.info("mounted %s on %s, beside its owner", shown, point)
                ready()
            background.cancel_scope.cancel()
    finally:
        await volume.close()
