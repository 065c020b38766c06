"""`objfs versions`, `cat`, `restore`: the past of one file."""

import datetime
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import click
import trio

from objfs.base.errors import AlreadyExists, InvalidRequest, IsADirectory, NotFound
from objfs.base.limits import (
    CONTROL_READ_BYTES_MAX,
    VISIBLE_POLL_SECONDS,
    VISIBLE_SECONDS_MAX,
)
from objfs.cli.access import Access, RemoteAccess, reach, run
from objfs.cli.output import json_option, print_json, print_table, progress_bar, size_text
from objfs.cli.store_directory import read_store
from objfs.cli.targets import Target, is_object_name, target_of

version_option = click.option(
    "--version", "version_id", required=True, metavar="ID", help="As `objfs versions` shows it."
)


@click.command()
@click.argument("path")
@json_option
def versions(path: str, as_json: bool) -> None:
    """List all versions of the file PATH, newest first.

    PATH lies inside a mount, or is STORE:BUCKET/KEY. Deleted files have versions too.
    """
    entries = run(lambda: _all_versions(target_of(path)))
    if as_json:
        print_json({"versions": entries})
        return
    print_table(
        ("VERSION", "TIME", ">SIZE", ""),
        (
            (
                entry["version_id"],
                local_time(entry["time"]),
                "" if entry["deleted"] else size_text(entry["size"]),
                " ".join(name for name in ("latest", "deleted") if entry[name]),
            )
            for entry in entries
        ),
    )


def local_time(text: str) -> str:
    """A time of the JSON form, in this machine's zone, to the second."""
    return f"{datetime.datetime.fromisoformat(text).astimezone():%Y-%m-%d %H:%M:%S}"


async def _all_versions(target: Target) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    before: int | None = None
    async with reach(read_store(target.store)) as access:
        while True:
            page = await access.call(
                "versions", bucket=target.bucket, key=target.key, before=before
            )
            entries += page["versions"]
            before = page["next"]
            if before is None:
                break
    if not entries:
        raise NotFound(f"{target.name}: there are no versions of it, it never was a file")
    return entries


@click.command()
@click.argument("path")
@version_option
def cat(path: str, version_id: str) -> None:
    """Write an old version of the file PATH to standard output."""

    async def main() -> None:
        target = target_of(path)
        async with reach(read_store(target.store)) as access:
            async for data in _contents(access, target, version_id):
                sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    run(main)


async def _contents(access: Access, target: Target, version_id: str) -> AsyncIterator[bytes]:
    """The bytes of a version in pieces, the first one at once."""
    offset, size = 0, 1
    while offset < size:
        answer = await access.call(
            "read_version",
            bucket=target.bucket,
            key=target.key,
            version_id=version_id,
            offset=offset,
            size=CONTROL_READ_BYTES_MAX,
        )
        size = answer["size"]
        offset += len(answer["data"])
        yield answer["data"]


@click.command()
@click.argument("path")
@version_option
@click.option("--to", "destination", metavar="DEST", help="Another name, or a file elsewhere.")
def restore(path: str, version_id: str, destination: str | None) -> None:
    """Make an old version of the file PATH the current one.

    What is there now stays a version too. With --to DEST the old version appears there instead:
    inside a mount, as STORE:BUCKET/KEY, or as a new file outside of any store.
    """
    target = target_of(path)
    outside = destination is not None and not is_object_name(destination)
    if destination is not None and outside:
        _copy_out(target, version_id, _new_file(destination, target))
    else:
        new = target if destination is None else _new_target(destination, target)
        run(lambda: _restore(target, version_id, new))
    click.echo(
        f"restored version {version_id} of {path}" + f" to {destination}" * bool(destination)
    )


async def _restore(target: Target, version_id: str, new: Target) -> None:
    async with reach(read_store(target.store)) as access:
        restored = await access.call(
            "restore",
            bucket=target.bucket,
            key=target.key,
            version_id=version_id,
            to_bucket=new.bucket,
            to_key=new.key,
        )
    if new.path is not None and isinstance(access, RemoteAccess):
        await _wait_visible(new.path, restored["ino"])


async def _wait_visible(path: bytes, ino: int) -> None:
    """The mount forgets what it showed under this name a moment later."""
    with trio.move_on_after(VISIBLE_SECONDS_MAX):
        while _shows_another(path, ino):  # noqa: ASYNC110 - the kernel sets no event
            await trio.sleep(VISIBLE_POLL_SECONDS)


def _shows_another(path: bytes, ino: int) -> bool:
    try:
        return os.lstat(path).st_ino != ino
    except FileNotFoundError:
        return True
    except OSError:  # the path is in a dead mount; another one is served
        return False


def _new_target(destination: str, target: Target) -> Target:
    """Where a restored version goes inside the store; into a directory under its own name."""
    try:
        new = target_of(destination)
    except IsADirectory:  # a bucket, or the root of a mount
        name = os.fsdecode(target.key.rpartition(b"/")[2])
        new = target_of(os.path.join(destination, name))
    if new.store != target.store:
        raise InvalidRequest(
            f"{destination}: this is another store than that of {target.name}; restore to a path "
            "in a mount of it"
        )
    into = new.key.endswith(b"/") or (new.path is not None and os.path.isdir(new.path))
    if into:
        leaf = target.key.rpartition(b"/")[2]
        path = None if new.path is None else os.path.join(new.path, leaf)
        new = new._replace(key=new.key.rstrip(b"/") + b"/" + leaf, path=path)
    return new


def _new_file(destination: str, target: Target) -> Path:
    path = Path(destination)
    if path.is_dir():
        path /= os.fsdecode(target.key.rpartition(b"/")[2])
    if os.path.lexists(path):
        raise AlreadyExists(
            f"{path}: there is something already; move it away or take another name"
        )
    if not path.parent.is_dir():
        raise NotFound(f"{path.parent}: there is no such directory")
    return path


def _copy_out(target: Target, version_id: str, path: Path) -> None:
    """Durable when it returns; nothing is left of a copy that failed."""

    async def main() -> None:
        async with reach(read_store(target.store)) as access:
            size = await _size(access, target, version_id)
            with progress_bar(path.name, size) as bar:
                async for data in _contents(access, target, version_id):
                    file.write(data)
                    bar.advance(len(data))

    with path.open("xb") as file:
        try:
            run(main)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            path.unlink()
            raise


async def _size(access: Access, target: Target, version_id: str) -> int:
    answer = await access.call(
        "read_version",
        bucket=target.bucket,
        key=target.key,
        version_id=version_id,
        offset=0,
        size=0,
    )
    size: int = answer["size"]
    return size
