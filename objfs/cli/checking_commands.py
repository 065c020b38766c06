"""`objfs scrub`, `objfs fsck`: is everything still there, as it was written, and does it agree?"""

import os
from collections.abc import Iterable
from typing import Any

import click

from objfs.base.errors import IsADirectory
from objfs.cli.access import Access, reach, run
from objfs.cli.output import json_option, print_json, progress_bar, size_text
from objfs.cli.store_directory import StoreDirectory, read_store
from objfs.cli.targets import is_object_name, parse_store_argument, store_of, target_of

DAMAGED = 1  # exit status


@click.command()
@click.argument("store", metavar="STORE|MOUNTPOINT")
@click.option("--restart", is_flag=True, help="Begin anew, do not go on with an interrupted scrub.")
@json_option
@click.pass_context
def scrub(context: click.Context, store: str, restart: bool, as_json: bool) -> None:
    """Read and verify everything that STORE keeps. Exit status 1 if there is damage.

    It may be interrupted at any time; the next one goes on there. `objfs status` shows what is
    known of damage until a later scrub finds it mended.
    """

    async def main() -> Any:
        async with reach(store_of(store)) as access:
            return await _scrub(access, restart)

    answer = run(main)
    if as_json:
        print_json(answer)
    else:
        read, records = size_text(answer["read_bytes"]), answer["records"]
        click.echo(f"verified {records} records, {read}; damaged: {answer['damaged_records']}")
        for each in answer["damage"]:
            click.echo("\n".join(damage_lines(each)))
    if answer["damage"] or answer["damaged_records"]:
        context.exit(DAMAGED)


async def _scrub(access: Access, restart: bool) -> Any:
    """Step after step, to the end."""
    with progress_bar("scrubbing", 1) as bar:
        started: str | None = None
        while True:
            answer = await access.call("scrub", restart=restart, started=started)
            if answer["finished"] is not None:
                return answer
            restart, started = False, answer["started"]
            bar.update(answer["done_bytes"], answer["total_bytes"])


def damage_lines(damage: dict[str, Any]) -> Iterable[str]:
    """One finding, and below it the files that it hits."""
    yield f"damage: segment {damage['segment']:016x}, offset {damage['offset']}: {damage['what']}"
    for hit in damage["hits"]:
        versions = ", ".join(hit["versions"])
        more = f" and {hit['more_versions']} more" if hit["more_versions"] else ""
        which = ["the current file"] * hit["current"] + [f"versions {versions}{more}"] * bool(
            versions
        )
        where = f"bytes {hit['start']} to {hit['end']}"
        yield f"  {hit['bucket']}:{hit['path']}: {where}; {', '.join(which)}"
    if damage["more_hits"]:
        yield f"  and {damage['more_hits']} more files"


@click.command()
@click.argument("path", metavar="[PATH|STORE|MOUNTPOINT]", default=".")
@click.option("--repair", is_flag=True, help="Mend what can be mended.")
@click.option("--deep", is_flag=True, help="Compare the whole index with the log, row for row.")
@click.option("--data", is_flag=True, help="Verify the bytes of all records too, as scrub does.")
@click.option("--restart", is_flag=True, help="Begin anew, do not go on with an interrupted check.")
@json_option
@click.pass_context
def fsck(
    context: click.Context,
    path: str,
    repair: bool,
    deep: bool,
    data: bool,
    restart: bool,
    as_json: bool,
) -> None:
    """Check that log, index and tree of a store agree, or those of what is and was at PATH.

    The store may be in use. Exit status 1 if there are problems that are not mended. Interrupted,
    it goes on where it was. What the codes mean and what to do is in docs/OPERATIONS.md.
    """
    directory, scope = _scope_of(path)
    asked = {"repair": repair, "deep": deep, "data": data, **scope}

    async def main() -> Any:
        async with reach(directory) as access:
            return await _fsck(access, asked, restart)

    answer = run(main)
    if as_json:
        print_json(answer)
    else:
        for problem in answer["problems"]:
            click.echo("\n".join(_problem_lines(problem)))
        if answer["more"]:
            click.echo(f"and {answer['more']} more problems that are not mended")
        mended = sum(problem["mended"] for problem in answer["problems"])
        found = f"{mended} problems mended, {answer['left']} left" if mended else answer["left"]
        click.echo(f"checked {answer['objects']} objects; problems: {found}")
    if answer["left"]:
        context.exit(DAMAGED)


def _scope_of(path: str) -> tuple[StoreDirectory, dict[str, object]]:
    """The store, and the bucket and key that PATH means; neither for the whole store."""
    if not is_object_name(path):
        return store_of(path), {}
    try:
        target = target_of(path)
    except IsADirectory:
        bucket = "" if os.path.exists(path) else parse_store_argument(path).bucket
        return store_of(path), {"bucket": bucket} if bucket else {}
    return read_store(target.store), {"bucket": target.bucket, "key": target.key}


async def _fsck(access: Access, asked: dict[str, object], restart: bool) -> Any:
    """Step after step, to the end."""
    with progress_bar("checking", 1) as bar:
        while True:
            answer = await access.call("fsck", restart=restart, **asked)
            if answer["finished"] is not None:
                return answer
            restart = False
            bar.update(answer["stages_done"], answer["stages"])


def _problem_lines(problem: dict[str, Any]) -> Iterable[str]:
    where = f" ({problem['path']})" if problem["path"] else ""
    state = "mended" if problem["mended"] else "problem"
    yield f"{state}: {problem['code']}: {problem['object']}{where}: {problem['what']}"
    if not problem["mended"]:
        yield f"  do: {problem['do']}"
