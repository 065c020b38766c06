"""The process behind a mount: the volume, its background tasks, the control socket and the mount
itself, started in this order and ended in the reverse one.

    lock -> volume -> background tasks -> control socket -> mount -> ready
    unmounted -> no more commands -> volume closed -> who waits is told -> lock

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
from typing import Any, NamedTuple

import trio

from objfs.base.errors import Busy, ObjfsError
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
from objfs.cli.store_directory import StoreDirectory
from objfs.fuse.mount import MountOptions, serve
from objfs.maint import commands
from objfs.maint.control import ControlServer
from objfs.maint.jobs import scheduler_of
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


def serve_mount(plan: MountPlan, ready: Callable[[], None]) -> None:
    """Serve until it is unmounted. `ready` is called when the mount is usable. StoreError and
    NotFound before that; afterwards what kept the volume from closing well."""
    sys.setswitchinterval(INTERPRETER_SWITCH_SECONDS)
    with contextlib.suppress(PermissionError):  # an ordinary user's drive waits its turn
        os.setpriority(os.PRIO_PROCESS, 0, MOUNT_NICENESS)
    found = take_lock(plan.directory) if plan.moment is None else run(partial(_find, plan))
    if isinstance(found, ControlClient):
        _serve_beside(plan, found, ready)
    else:
        with found:
            volume = construct(plan.directory, read_only=plan.options.read_only)
            run(lambda: _serve(plan, volume, ready))
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


async def _serve(plan: MountPlan, volume: Volume, ready: Callable[[], None]) -> None:
    owner = _Owner(plan, volume)
    server = ControlServer(plan.directory.path, owner.run)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        failure: ObjfsError | None = None
        try:
            async with trio.open_nursery() as background:
                await background.start(volume.run)
                await background.start(scheduler_of(volume).run)
                await _mount(plan, volume, ready)
                owner.closing = True
                background.cancel_scope.cancel()
        finally:
            owner.closing = True
            try:
                await volume.close()
            except ObjfsError as error:
                failure = error
            await server.finish(failure)
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure


class _Owner:
    """Runs other processes' commands on the volume, and says who it is."""

    def __init__(self, plan: MountPlan, volume: Volume) -> None:
        self._plan = plan
        self._volume = volume
        self.closing = False

    async def run(self, command: str, arguments: dict[str, Any]) -> object:
        if self.closing:
            raise Busy(f"{self._plan.point} is being unmounted; try again in a moment")
        result = await commands.run(self._volume, command, arguments)
        if command == "status":
            result["owner"] = {
                "pid": os.getpid(),
                "mountpoint": str(self._plan.point),
                "source": os.fsdecode(self._plan.source.encode()),
                "read_only": self._plan.options.read_only,
            }
        return result


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
