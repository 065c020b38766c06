"""`objfs scrub`: is everything still there, and as it was written?"""

from collections.abc import Iterable
from typing import Any

import click

from objfs.cli.access import Access, reach, run
from objfs.cli.output import json_option, print_json, progress_bar, size_text
from objfs.cli.targets import store_of

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
        while True:
            answer = await access.call("scrub", restart=restart)
            if answer["finished"] is not None:
                return answer
            restart = False
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
