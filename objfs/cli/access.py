"""How a command reaches a store: over the control socket when a process owns it, else by opening it
itself. The command does not see a difference."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol, TypeVar

import trio

from objfs.base.errors import StoreHeld
from objfs.base.limits import STORE_HELD_POLL_SECONDS, STORE_HELD_SECONDS_MAX
from objfs.cli import control_client, mountinfo
from objfs.cli.control_client import ControlClient
from objfs.cli.mountinfo import FILESYSTEM
from objfs.cli.opening import open_store, take_lock
from objfs.cli.output import print_error
from objfs.cli.store_directory import StoreDirectory
from objfs.fuse import mount_point
from objfs.maint import commands
from objfs.store.lock import StoreLock
from objfs.volume.volume import Volume

T = TypeVar("T")


class Access(Protocol):
    """A store that takes commands; see `objfs/maint/commands.py` for their names."""

    async def call(self, command: str, **arguments: object) -> Any:
        """The command's result, or its error."""


class RemoteAccess:
    """The owner runs the commands."""

    def __init__(self, client: ControlClient) -> None:
        self._client = client

    async def call(self, command: str, **arguments: object) -> Any:
        """Blocks the loop: this process has nothing else to do."""
        return self._client.call(command, arguments)


class LocalAccess:
    """This process is the owner."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume

    async def call(self, command: str, **arguments: object) -> Any:
        return await commands.run(self._volume, command, arguments)


@asynccontextmanager
async def reach(directory: StoreDirectory) -> AsyncIterator[Access]:
    """Access to a store. StoreHeld when its owner does not listen, for a bounded time."""
    found = await owner_or_ownership(directory)
    if isinstance(found, ControlClient):
        with found:
            yield RemoteAccess(found)
    else:
        async with open_store(directory, found) as volume:
            yield LocalAccess(volume)


async def owner_or_ownership(directory: StoreDirectory) -> ControlClient | StoreLock:
    """The process that owns a store, or the right to be it. StoreHeld.

    Waits while the store is held and nobody listens: another command has it, or a mount that
    is just starting or ending."""
    with trio.move_on_after(STORE_HELD_SECONDS_MAX):
        while True:
            client = control_client.connect(directory.path)
            if client is not None:
                return client
            with suppress(StoreHeld):
                return take_lock(directory)
            await trio.sleep(STORE_HELD_POLL_SECONDS)
    return take_lock(directory)  # its error says who holds the store


async def hand_over_writes(access: Access, *, all_of_it: bool = False) -> None:
    """Have the kernel hand over what its write-back cache holds, if the store is mounted where
    this process sees it. What the store did not take earlier, because it was full, the kernel
    reports once: a warning, and with `all_of_it` an OSError."""
    owner = (await access.call("status")).get("owner")
    if owner is None or owner["mountpoint"] is None:
        return
    point = os.fsencode(owner["mountpoint"])
    mount = mountinfo.mount_at(point, mountinfo.read_mounts())
    if mount is not None and mount.filesystem == FILESYSTEM:
        with mount_point.held_open(point) as descriptor:
            try:
                mount_point.sync_filesystem(descriptor)
            except OSError as error:
                if all_of_it:
                    raise
                print_error(
                    f"not all that programs wrote was taken by the store ({error.strerror}): this "
                    "goes on without it"
                )


def run_command(directory: StoreDirectory, command: str, **arguments: object) -> Any:
    """One command, from outside of trio."""

    async def main() -> Any:
        async with reach(directory) as access:
            return await access.call(command, **arguments)

    return run(main)


def run(main: Callable[[], Awaitable[T]]) -> T:
    """trio.run, with an error that happened alone in a nursery as that error."""
    try:
        return trio.run(main)
    except BaseExceptionGroup as group:
        alone: BaseException = group
        while isinstance(alone, BaseExceptionGroup) and len(alone.exceptions) == 1:
            alone = alone.exceptions[0]
        raise alone from group
