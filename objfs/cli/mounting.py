"""The process behind a mount: it owns the store (`objfs/cli/owning.py`), and its mount may have an
S3 door beside it.

A mount of a moment does the same, read-only; or does without lock and control socket when another
process owns the store (`objfs/cli/moment_mount.py`).
"""

import contextlib
import logging
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import trio

from objfs.base.heap import freeze_program
from objfs.base.limits import INTERPRETER_SWITCH_SECONDS, MOUNT_NICENESS
from objfs.base.system import TrioThreads
from objfs.cli.access import owner_or_ownership, run
from objfs.cli.clock import command_clock
from objfs.cli.control_client import ControlClient
from objfs.cli.moment_mount import (
    Moment,
    ask_owner,
    construct_beside,
    root_of,
    serve_beside,
)
from objfs.cli.mount_options import AskedOptions
from objfs.cli.mountinfo import ALL_BUCKETS, Source
from objfs.cli.opening import construct, take_lock
from objfs.cli.owning import own
from objfs.cli.s3_options import BoundS3, S3Plan, bind_s3
from objfs.cli.store_directory import StoreDirectory
from objfs.fuse.mount import MountOptions, serve
from objfs.maint.view_commands import sequence_of_moment
from objfs.store.lock import StoreLock
from objfs.volume.past_nodes import Node
from objfs.volume.volume import Volume

logger = logging.getLogger(__name__)


class MountPlan(NamedTuple):
    """What is to be mounted where."""

    directory: StoreDirectory
    source: Source
    point: Path
    options: AskedOptions
    moment: Moment | None = None
    s3: S3Plan | None = None


def serve_mount(plan: MountPlan, ready: Callable[[], None]) -> None:
    """Serve until it is unmounted. `ready` is called when the mount is usable. StoreError and
    NotFound before that; afterwards what kept the volume from closing well."""
    sys.setswitchinterval(INTERPRETER_SWITCH_SECONDS)
    freeze_program()
    with contextlib.suppress(PermissionError):  # an ordinary user's drive waits its turn
        os.setpriority(os.PRIO_PROCESS, 0, MOUNT_NICENESS)
    found = take_lock(plan.directory) if plan.moment is None else run(partial(_find, plan))
    if isinstance(found, ControlClient):
        _serve_beside(plan, found, ready)
    else:
        with found:
            _serve_owned(plan, ready)
    logger.info("unmounted %s", plan.point)


async def _find(plan: MountPlan) -> ControlClient | StoreLock:
    return await owner_or_ownership(plan.directory)


def _serve_beside(plan: MountPlan, client: ControlClient, ready: Callable[[], None]) -> None:
    """Show a moment while another process owns the store."""
    assert plan.moment is not None
    with client:
        sequence = ask_owner(client, plan.moment)
        volume = construct_beside(plan.directory, sequence)
    node = root_of(volume, plan.source, sequence)
    run(lambda: serve_beside(volume, node, plan.point, _mount_options(plan), ready))


def _mount_options(plan: MountPlan) -> MountOptions:
    asked = plan.options
    return MountOptions(plan.source.encode(), asked.read_only, asked.allow_other, asked.kernel)


def _serve_owned(plan: MountPlan, ready: Callable[[], None]) -> None:
    """Serve as the owner of the store."""
    bound = bind_s3(plan.s3) if plan.s3 is not None else None
    try:
        volume = construct(plan.directory, read_only=plan.options.read_only)
        run(lambda: _serve(plan, volume, bound, ready))
    finally:
        if bound is not None:
            bound.close()


async def _serve(
    plan: MountPlan, volume: Volume, bound: BoundS3 | None, ready: Callable[[], None]
) -> None:
    service = None if bound is None else bound.service(plan.directory, volume)
    about: dict[str, object] = {
        "mountpoint": str(plan.point),
        "source": os.fsdecode(plan.source.encode()),
        "read_only": plan.options.read_only,
        "s3": None if service is None else service.url,
    }
    if service is not None:
        logger.info("serving S3 at %s", service.url)
    await own(plan.directory, volume, about, service, partial(_mount, plan, volume, ready))


async def _mount(plan: MountPlan, volume: Volume, ready: Callable[[], None]) -> None:
    """Serve the mount to its end; `ready` when it is usable. NotFound, MountError."""
    source = plan.source
    root: int | Node | None
    if plan.moment is not None:
        found = sequence_of_moment(volume, *plan.moment)
        root = root_of(volume, source, found)
    elif source.bucket == ALL_BUCKETS:
        root = None
    else:
        root = volume.root(source.bucket, source.prefix)
    serving = partial(
        serve,
        volume,
        root,
        plan.point,
        _mount_options(plan),
        clock=command_clock(),
        threads=TrioThreads(),
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(serving)
        logger.info("mounted %s on %s", os.fsdecode(source.encode()), plan.point)
        ready()
