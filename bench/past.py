"""Stores with a long history, made below the mount: a hundred thousand versions in seconds."""

import datetime
import os
from pathlib import Path

import trio

from objfs.base.errors import NotFound
from objfs.base.types import Caller
from objfs.cli.opening import open_store, take_lock
from objfs.cli.store_directory import read_store
from objfs.volume.volume import Volume

_CALLER = Caller(0, 0, 0o022)
_FILES_PER_DIRECTORY = 1_000


def make_history(store: Path, files: int, versions: int) -> str:
    """Files below `files/`, with `versions` each: the first half written in place, the others
    written under another name and renamed, as rsync does. Returns a time half-way."""
    return trio.run(_make, store, files, versions)


async def _make(store: Path, files: int, versions: int) -> str:
    directory = read_store(store)
    half_way = ""
    async with open_store(directory, take_lock(directory)) as volume:
        top = volume.mkdir(volume.root("main"), b"files", 0o755, _CALLER).ino
        count = -(-files // _FILES_PER_DIRECTORY)
        parents = [volume.mkdir(top, b"%04d" % n, 0o755, _CALLER).ino for n in range(count)]
        for version in range(versions):
            for index in range(files):
                parent = parents[index // _FILES_PER_DIRECTORY]
                name = b"%06d" % index
                data = b"%d of %s" % (version, name)
                await _write(volume, parent, name, data, in_place=version < versions // 2)
                if index % 100 == 0:
                    await trio.lowlevel.checkpoint()
            if version == versions // 2:
                await trio.sleep(0.3)  # moments are 0.1 s apart
                half_way = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
                await trio.sleep(0.3)
    return half_way


async def _write(volume: Volume, parent: int, name: bytes, data: bytes, *, in_place: bool) -> None:
    temporary = name if in_place else b"new-" + name
    try:
        known = volume.lookup(parent, temporary).ino
        handle = await volume.open(known, os.O_WRONLY | os.O_TRUNC)
    except NotFound:
        handle, _ = volume.create(parent, temporary, 0o644, os.O_WRONLY, _CALLER)
    await volume.write(handle, 0, data)
    await volume.flush(handle)
    await volume.release(handle)
    if not in_place:
        await volume.rename(parent, temporary, parent, name, 0)
