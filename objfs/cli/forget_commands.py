"""`objfs forget` and `objfs du`: giving history up, and what it takes."""

import os
import sys
from typing import Any

import click

from objfs.base.errors import InvalidRequest
from objfs.cli.access import run_command
from objfs.cli.output import json_option, print_facts, print_json, size_text
from objfs.cli.store_directory import is_store, read_store
from objfs.cli.targets import live_target_of, store_of, target_of


@click.command()
@click.argument("path")
@click.option("--version", "version_id", metavar="ID", help="One version only.")
@click.option("--dry-run", is_flag=True, help="Tell what would go, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def forget(path: str, version_id: str | None, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Remove history for good.

    Of a file, all versions but the current one; of a deleted file, all; of a directory, the same
    for all that is or ever was beneath it. With --version ID, that version only. What a snapshot
    shows stays. `objfs compact` then gives the space back.

    PATH lies inside a mount, or is STORE:BUCKET/KEY. It may be one that was deleted.
    """
    target = live_target_of(path, whole=True)
    if not target.bucket:
        raise InvalidRequest(f"{path}: this is every bucket; name one of them")
    store = read_store(target.store)
    arguments: dict[str, Any] = {
        "bucket": target.bucket,
        "key": target.key,
        "version_id": version_id,
    }
    if not dry_run and not yes and _is_asked():
        answer = run_command(store, "forget", **arguments, dry_run=True)
        click.confirm(f"{_text(answer)} would go for good. Go on?", abort=True, err=True)
    answer = run_command(store, "forget", **arguments, dry_run=dry_run)
    if as_json:
        print_json(answer)
        return
    click.echo(f"{'would forget' if dry_run else 'forgot'} {_text(answer)}")
    if answer["pinned"]:
        click.echo(f"{answer['pinned']} more are shown by snapshots and stay")
    if answer["locked"]:
        click.echo(f"{answer['locked']} more are kept by retention or a legal hold, and stay")


def _is_asked() -> bool:
    """Whether somebody is there to answer."""
    return sys.stdin.isatty()


def _text(answer: dict[str, Any]) -> str:
    entries, versions = answer["entries"], answer["versions"]
    text = f"{entries} version{'s' * (entries != 1)}"
    if entries != versions:
        text += f", {entries - versions} of them still shown by other paths or without bytes"
    return f"{text} ({size_text(answer['bytes'])})"


@click.command()
@click.argument("path", metavar="PATH|STORE|STORE:BUCKET")
@json_option
def du(path: str, as_json: bool) -> None:
    """Show what a file, a directory, a bucket or a store takes.

    Sizes of files are as `ls -l` shows them; stored bytes are what they take in the store,
    compressed, and shared bytes once. Reclaimable is what `objfs forget` and then `objfs compact`
    would give back.
    """
    if is_store(os.fsencode(path)):
        answer = run_command(store_of(path), "du")
    else:
        target = target_of(path, whole=True)
        answer = run_command(
            read_store(target.store), "du", bucket=target.bucket or None, key=target.key
        )
    if as_json:
        print_json(answer)
        return
    print_facts(
        (
            ("files", answer["files"]),
            ("versions", answer["versions"]),
            ("current", size_text(answer["current_bytes"])),
            ("history", size_text(answer["past_bytes"])),
            ("current, stored", size_text(answer["current_stored_bytes"])),
            ("history, stored", size_text(answer["past_stored_bytes"])),
            ("reclaimable, stored", size_text(answer["reclaimable_stored_bytes"])),
            ("parts of uploads", size_text(answer["upload_bytes"])),
        )
    )
