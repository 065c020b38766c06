"""`objfs background status|pause|resume`: the work that a mount does by itself."""

from typing import Any

import click

from objfs.cli.access import run_command
from objfs.cli.output import json_option, print_json, print_table, size_text
from objfs.cli.targets import store_of
from objfs.cli.version_commands import local_time


@click.group()
def background() -> None:
    """Compaction, scrub, retention: what a mount does by itself, under one I/O budget."""


@background.command("status")
@click.argument("store", metavar="STORE|MOUNTPOINT")
@json_option
def status(store: str, as_json: bool) -> None:
    """Show the background jobs: what they do, and how they went."""
    answer = run_command(store_of(store), "background_status")
    if as_json:
        print_json(answer)
        return
    rate = answer["bytes_per_second"]
    budget = f"{size_text(rate)} a second" if rate else "without limit"
    click.echo(f"{'paused' if answer['paused'] else 'running'}, {budget}")
    print_table(("JOB", "NOW", "LAST ROUND", "RESULT"), (_row(each) for each in answer["jobs"]))


def _row(job: dict[str, Any]) -> tuple[str, str, str, str]:
    last = job["last"] or {}
    result = last.get("error") or ", ".join(
        f"{name} {value}"
        for name, value in (last.get("result") or {}).items()
        if isinstance(value, int | str)
    )
    ended = local_time(last["ended"]) if last else "never"
    return job["name"], _now(job), ended, result


def _now(job: dict[str, Any]) -> str:
    if not job["running"]:
        return f"due in {job['due_seconds']} s" if job["due_seconds"] else "waits for a change"
    return f"{100 * job['done'] // job['total']} %" if job["total"] else "at work"


@background.command("pause")
@click.argument("store", metavar="STORE|MOUNTPOINT")
def pause(store: str) -> None:
    """Stop background work until `objfs background resume`."""
    run_command(store_of(store), "background_pause")
    click.echo("background work is paused; go on with: objfs background resume")


@background.command("resume")
@click.argument("store", metavar="STORE|MOUNTPOINT")
def resume(store: str) -> None:
    """Let background work go on."""
    run_command(store_of(store), "background_resume")
    click.echo("background work goes on")
