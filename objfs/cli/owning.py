"""A process that owns a store and serves it: the volume, its background tasks, the control socket
and the doors, started in this order and ended in the reverse one.

    lock -> address of S3 -> volume -> background tasks -> control socket -> S3 -> mount -> ready
    unmounted -> S3 stopped -> no more commands -> volume closed -> who waits is told -> lock
"""

import os
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from objfs.base.errors import Busy, ObjfsError
from objfs.cli.store_directory import StoreDirectory
from objfs.maint import commands
from objfs.maint.control import ControlServer
from objfs.maint.jobs import scheduler_of
from objfs.s3.service import Service
from objfs.volume.volume import Volume


class Owner:
    """Runs other processes' commands on the volume, and says who it is: `about`."""

    def __init__(self, directory: StoreDirectory, volume: Volume, about: dict[str, object]) -> None:
        self._directory = directory
        self._volume = volume
        self._about = about
        self.closing = False

    async def run(self, command: str, arguments: dict[str, Any]) -> object:
        """A command of another process. Busy at the end."""
        if self.closing:
            raise Busy(f"{self._directory.path} is being closed; try again in a moment")
        result = await commands.run(self._volume, command, arguments)
        if command == "status":
            result["owner"] = {"pid": os.getpid(), **self._about}
        return result


async def own(
    directory: StoreDirectory,
    volume: Volume,
    about: dict[str, object],
    s3: Service | None,
    serve: Callable[[], Awaitable[None]],
) -> None:
    """Run all of it around `serve`, which comes last and ends it. Raises what `serve` raised, or
    what kept the volume from closing well."""
    owner = Owner(directory, volume, about)
    server = ControlServer(directory.path, owner.run)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        failure: ObjfsError | None = None
        try:
            async with trio.open_nursery() as background:
                await background.start(volume.run)
                await background.start(scheduler_of(volume).run)
                if s3 is not None:
                    await background.start(s3.run)
                await serve()
                if s3 is not None:
                    await s3.stop()
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
