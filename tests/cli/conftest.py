"""A command line to call in-process, and stores with known histories."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import trio

from objfs.base.system import SystemClock, SystemRandomness
from objfs.base.types import Caller
from objfs.cli.main import run_command_line
from objfs.cli.opening import open_store, take_lock
from objfs.cli.store_directory import StoreDirectory, create_store, read_store
from objfs.volume.volume import Volume

CALLER = Caller(os.getuid(), os.getgid(), 0o022)


class Ran(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.out)


CommandLine = Callable[..., Ran]


@pytest.fixture
def objfs(capfd: pytest.CaptureFixture[str]) -> CommandLine:
    """`objfs("status", store)` runs a command in this process. An error has to be one line."""

    def run(*arguments: object) -> Ran:
        capfd.readouterr()
        # A command sets up the logging of its process, which is this one and goes on.
        root = logging.getLogger()
        handlers, level = list(root.handlers), root.level
        try:
            status = run_command_line([str(argument) for argument in arguments])
        finally:
            root.handlers[:] = handlers
            root.setLevel(level)
        ran = Ran(status, *capfd.readouterr())
        if status:
            assert "Traceback" not in ran.err
            assert ran.err.count("\n") <= 1
            assert not ran.err or ran.err.startswith("objfs: ")
        return ran

    return run


@pytest.fixture
def store(tmp_path: Path, objfs: CommandLine) -> Path:
    """An empty store with the bucket main."""
    path = tmp_path / "store"
    assert objfs("init", path).status == 0
    return path


def with_volume(store: Path, work: Callable[[Volume], Any]) -> Any:
    """Run `await work(volume)` on the opened store."""
    directory = read_store(store)

    async def main() -> Any:
        async with open_store(directory, take_lock(directory)) as volume:
            return await work(volume)

    return trio.run(main)


async def write_file(volume: Volume, name: bytes, data: bytes, bucket: str = "main") -> None:
    """Create or overwrite a file, and close it."""
    root = volume.root(bucket)
    names = {entry[0] for entry in volume.list_directory(root, 0, 1000)}
    if name in names:
        handle = await volume.open(volume.lookup(root, name).ino, os.O_WRONLY | os.O_TRUNC)
    else:
        handle, _ = volume.create(root, name, 0o644, os.O_WRONLY, CALLER)
    await volume.write(handle, 0, data)
    await volume.flush(handle)
    await volume.release(handle)


def put(store: Path, name: bytes, *contents: bytes, bucket: str = "main") -> None:
    """One version of a file after the other."""

    async def work(volume: Volume) -> None:
        for data in contents:
            await write_file(volume, name, data, bucket)

    with_volume(store, work)


def empty_store(path: Path) -> StoreDirectory:
    """A store without any bucket."""
    return create_store(path, SystemClock(), SystemRandomness())


def version_ids(objfs: CommandLine, path: object) -> list[str]:
    """Newest first."""
    return [entry["version_id"] for entry in objfs("versions", path, "--json").json["versions"]]
