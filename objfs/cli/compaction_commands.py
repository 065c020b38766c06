"""`objfs compact`, also `objfs gc`: gives back what is dead."""

from typing import Any

import click

from objfs.base.errors import NoSpace
from objfs.cli.access import Access, reach, run
from objfs.cli.output import json_option, print_json, progress_bar, size_text
from objfs.cli.targets import store_of

DAMAGED = 1  # exit status
_TOTALS = ("removed_bytes", "written_bytes", "damaged")


@click.command()
@click.argument("store", metavar="STORE|MOUNTPOINT")
@click.option("--dry-run", is_flag=True, help="Only say what would come back.")
@json_option
@click.pass_context
def compact(context: click.Context, store: str, dry_run: bool, as_json: bool) -> None:
    """Give the space of deleted history back to the disk.

    Live data is copied out of segments that hold much that is dead, and those are removed. What the
    rules of retention keep is live. A mount does this by itself too, slowly. Exit status 1 if data
    was found that does not verify: its segment is kept.
    """

    async def main() -> dict[str, Any]:
        async with reach(store_of(store)) as access:
            plan: dict[str, Any] = await access.call("compact_plan", dry_run=dry_run)
            return plan if dry_run else await _compact(access, plan)

    answer = run(main)
    if as_json:
        print_json(answer)
    elif dry_run:
        _print_plan(answer)
    else:
        _print_result(answer)
    if answer.get("damaged"):
        context.exit(DAMAGED)


async def _compact(access: Access, plan: dict[str, Any]) -> dict[str, Any]:
    totals = dict.fromkeys(_TOTALS, 0)
    segments = 0
    full = False
    with progress_bar("compacting", sum(each["size"] for each in plan["segments"])) as bar:
        for each in plan["segments"]:
            outcome = await access.call("compact_segment", segment=each["segment"])
            for name in _TOTALS:
                totals[name] += outcome[name]
            segments += outcome["removed_bytes"] > 0
            bar.advance(each["size"])
            if outcome["full"]:
                full = True
                break
    answer: dict[str, Any] = await access.call(
        "compact_end", started_ns=plan["started_ns"], segments=segments, **totals
    )
    if full:
        raise NoSpace(
            f"the disk is full: compaction stopped after {segments} segments, "
            f"{size_text(answer['returned_bytes'])} came back; nothing is lost. Free some "
            "space and run it again"
        )
    return answer | {"segment_bytes_before": plan["segment_bytes"]}


def _print_plan(plan: dict[str, Any]) -> None:
    click.echo(
        f"{size_text(plan['dead_bytes'])} in {len(plan['segments'])} segments would come back, of "
        f"{size_text(plan['segment_bytes'])}"
    )


def _print_result(answer: dict[str, Any]) -> None:
    came = answer["segment_bytes_before"] - answer["segment_bytes"]
    click.echo(
        f"{size_text(max(came, 0))} came back: {answer['segments']} segments removed, "
        f"{size_text(answer['written_bytes'])} copied"
    )
    if answer["damaged"]:
        click.echo(f"{answer['damaged']} records do not verify and were kept: see objfs status")
