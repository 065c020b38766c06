"""`objfs versions`, `cat`: the past of one file."""

import datetime
import sys
from collections.abc import AsyncIterator
from typing import Any

import click

from objfs.base.errors import NotFound
from objfs.base.limits import (
    CONTROL_READ_BYTES_MAX,
)
from objfs.cli.access import Access, reach, run
from objfs.cli.output import json_option, print_json, print_table, size_text
from objfs.cli.store_directory import read_store
from objfs.cli.targets import Target, target_of

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
            async for data in contents(access, target, version_id):
                sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    run(main)


async def contents(access: Access, target: Target, version_id: str) -> AsyncIterator[bytes]:
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


async def version_size(access: Access, target: Target, version_id: str) -> int:
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
