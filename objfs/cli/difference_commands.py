"""`objfs diff`, and what `objfs restore --dry-run` prints."""

import json
from collections.abc import AsyncIterator
from typing import Any

import click

from objfs.base.errors import InvalidRequest
from objfs.cli.access import Access, hand_over_writes, reach, run
from objfs.cli.output import json_option, size_text
from objfs.cli.store_directory import read_store
from objfs.cli.targets import Target, target_of
from objfs.cli.version_commands import path_below


@click.command()
@click.argument("path")
@click.option(
    "--from", "before", required=True, metavar="T", help="A time, or snapshot:NAME, to begin at."
)
@click.option("--to", "after", metavar="T", help="A time, or snapshot:NAME; now, if not given.")
@json_option
def diff(path: str, before: str, after: str | None, as_json: bool) -> None:
    """List what differs at and below PATH between two moments.

    PATH is what had that name: added, changed, deleted, and renamed files and directories, with
    their sizes before and after, ordered by path.
    """
    target = target_of(path, whole=True)
    if not target.bucket:
        raise InvalidRequest(f"{path}: these are all buckets: choose one of them")

    async def main() -> None:
        async with reach(read_store(target.store)) as access:
            await hand_over_writes(access)
            await print_pages(
                _pages(access, target, before, after), "differences", target.key, as_json
            )

    run(main)


async def _pages(
    access: Access, target: Target, before: str | int, after: str | int | None
) -> AsyncIterator[list[dict[str, Any]]]:
    passed: bytes | None = None
    while True:
        page = await access.call(
            "diff",
            bucket=target.bucket,
            key=target.key,
            before=before,
            after=after,
            passed=passed,
        )
        yield page["differences"]
        before, after, passed = page["before"], page["after"], page["next"]
        if passed is None:
            return


async def plan_pages(
    access: Access, target: Target, **moment: object
) -> AsyncIterator[list[dict[str, Any]]]:
    """What a restore would do, a page at a time."""
    passed: bytes | None = None
    while True:
        page = await access.call(
            "restore_plan", bucket=target.bucket, key=target.key, passed=passed, **moment
        )
        yield page["actions"]
        moment = {"sequence": page["sequence"], "elsewhere": moment.get("elsewhere", False)}
        passed = page["next"]
        if passed is None:
            return


async def print_pages(
    pages: AsyncIterator[list[dict[str, Any]]], name: str, key: bytes, as_json: bool
) -> None:
    """A line for each, as they come; as JSON, a list under `name`."""
    if not as_json:
        async for page in pages:
            for each in page:
                click.echo(_line(each, key))
        return
    separator = ""
    click.echo(f'{{"{name}": [', nl=False)
    async for page in pages:
        for each in page:
            click.echo(f"{separator}\n{json.dumps(each)}", nl=False)
            separator = ","
    click.echo("\n]}")


def _line(each: dict[str, Any], key: bytes) -> str:
    text = f"{each['kind']:<10} {path_below(each['path'], key)}"
    if each["before_path"] is not None:
        text += f"  (was {path_below(each['before_path'], key)})"
    sizes = [
        size_text(size) for size in (each["size_before"], each["size_after"]) if size is not None
    ]
    if each["size_before"] == each["size_after"] or not each["content"]:
        sizes = sizes[-1:]
    details = [" -> ".join(sizes)] if sizes else []
    if not each["content"]:
        details += each["attributes"]
    else:
        details += [name for name in each["attributes"] if name != "mtime"]
    return text + f"  {', '.join(details)}" * bool(details)
