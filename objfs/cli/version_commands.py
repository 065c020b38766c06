"""`objfs versions`, `cat`: the past of one file."""

import datetime
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

import click

from objfs.base.errors import InvalidRequest, NotFound
from objfs.base.limits import CHANGES_SHOWN, CONTROL_PAGE_ENTRIES, CONTROL_READ_BYTES_MAX
from objfs.cli.access import Access, reach, run
from objfs.cli.output import json_option, print_json, print_table, size_text
from objfs.cli.store_directory import read_store
from objfs.cli.targets import Target, target_of
from objfs.volume.history import sequence_of

version_option = click.option(
    "--version", "version_id", required=True, metavar="ID", help="As `objfs versions` shows it."
)


@click.command()
@click.argument("path")
@click.option("--limit", type=click.IntRange(1), help="At most so many (of a directory: 100).")
@click.option("--before", metavar="ID", help="Only those before a version id: the next page.")
@json_option
def versions(path: str, limit: int | None, before: str | None, as_json: bool) -> None:
    """List all versions of the file PATH, newest first; of a directory, what changed beneath it.

    PATH lies inside a mount, or is STORE:BUCKET/KEY. What was deleted has a history too.
    """
    target = target_of(path, whole=True)
    if not target.bucket:
        raise InvalidRequest(f"{path}: these are all buckets: choose one of them")
    below = None if before is None else sequence_of(before)
    found = run(lambda: _history_of(target, limit, below))
    if as_json:
        print_json(found)
    elif "changes" in found:
        _print_changes(found, target)
    else:
        _print_versions(found["versions"])


async def _history_of(target: Target, limit: int | None, before: int | None) -> dict[str, Any]:
    """The JSON form: `versions` of a file, or `changes` of a directory and the `next` page."""
    named: dict[str, Any] = {"bucket": target.bucket, "key": target.key}
    async with reach(read_store(target.store)) as access:
        kind = (await access.call("path_kind", **named))["kind"]
        if kind == "file":
            return {"versions": await _all_versions(access, target, limit, before)}
        wanted, found = limit or CHANGES_SHOWN, list[dict[str, Any]]()
        while len(found) < wanted:
            size = min(wanted - len(found), CONTROL_PAGE_ENTRIES)
            page = await access.call("changes", **named, before=before, limit=size)
            found += page["changes"]
            before = page["next"]
            if before is None:
                break
    return {"changes": found, "next": None if before is None else f"{before:x}"}


def _print_versions(entries: list[dict[str, Any]]) -> None:
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


def _print_changes(found: dict[str, Any], target: Target) -> None:
    print_table(
        ("VERSION", "TIME", ">SIZE", "KIND", "PATH"),
        (
            (
                entry["version_id"],
                local_time(entry["time"]),
                "" if entry["size"] is None else size_text(entry["size"]),
                entry["kind"],
                path_below(entry["path"], target.key)
                + (
                    ""
                    if entry["before_path"] is None
                    else f"  (was {path_below(entry['before_path'], target.key)})"
                ),
            )
            for entry in found["changes"]
        ),
    )
    if found["next"] is not None:
        click.echo(f"older ones: --before {found['next']}", err=True)


def path_below(path: str, key: bytes) -> str:
    """A path below `key` as people write it from there, or the whole of it where it is not."""
    top = os.fsdecode(key.rstrip(b"/"))
    if path.rstrip("/") == top:
        return "." if path.endswith("/") or not path else os.path.basename(path)
    return path.removeprefix(top + "/") if top else path


def local_time(text: str) -> str:
    """A time of the JSON form, in this machine's zone, to the second."""
    return f"{datetime.datetime.fromisoformat(text).astimezone():%Y-%m-%d %H:%M:%S}"


async def _all_versions(
    access: Access, target: Target, limit: int | None, before: int | None
) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    while limit is None or len(entries) < limit:
        page = await access.call("versions", bucket=target.bucket, key=target.key, before=before)
        entries += page["versions"]
        before = page["next"]
        if before is None:
            break
    if not entries:
        raise NotFound(f"{target.name}: there are no versions of it, it never was a file")
    return entries[:limit]


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
