"""`objfs snapshot create|list|delete`."""

from typing import Any

import click

from objfs.cli.access import hand_over_writes, reach, run, run_command
from objfs.cli.output import json_option, print_json, print_table
from objfs.cli.store_directory import is_store, read_store
from objfs.cli.targets import Target, store_of, target_of
from objfs.cli.version_commands import local_time


@click.group()
def snapshot() -> None:
    """Snapshots: names for moments that nothing erases."""


@snapshot.command("create")
@click.argument("what", metavar="STORE|STORE:BUCKET/PREFIX|PATH")
@click.argument("name")
@json_option
def create(what: str, name: str, as_json: bool) -> None:
    """Keep this moment under the name NAME.

    STORE keeps the whole store, STORE:BUCKET a bucket, a PATH in a mount what lies at and below it.
    It takes as long for a million files as for one. Open files are kept as they are now.
    """
    target = (
        None if is_store(what.encode(errors="surrogateescape")) else target_of(what, whole=True)
    )

    async def main() -> Any:
        directory = store_of(what) if target is None else read_store(target.store)
        async with reach(directory) as access:
            await hand_over_writes(access)
            return await access.call("snapshot_create", name=name, **_scope(target))

    made = run(main)
    if as_json:
        print_json(made)
    else:
        click.echo(f"made snapshot {name} of {_shown_scope(made)}")


def _scope(target: Target | None) -> dict[str, Any]:
    if target is None or not target.bucket:
        return {}
    return {"bucket": target.bucket, "prefix": target.key}


def _shown_scope(form: dict[str, Any]) -> str:
    if form["bucket"] is None:
        return "the whole store"
    return f"{form['bucket']}/{form['prefix']}" if form["prefix"] else f"bucket {form['bucket']}"


@snapshot.command("list")
@click.argument("store", metavar="STORE|MOUNTPOINT")
@json_option
def list_snapshots(store: str, as_json: bool) -> None:
    """List the snapshots of STORE, oldest first."""
    answer = run_command(store_of(store), "snapshot_list")
    if as_json:
        print_json(answer)
        return
    print_table(
        ("NAME", "TIME", "OF"),
        (
            (each["name"], local_time(each["time"]), _shown_scope(each))
            for each in answer["snapshots"]
        ),
    )


@snapshot.command("delete")
@click.argument("store", metavar="STORE|MOUNTPOINT")
@click.argument("name")
@json_option
def delete(store: str, name: str, as_json: bool) -> None:
    """Give the snapshot NAME up.

    The versions that it showed stay as long as retention keeps them.
    """
    gone = run_command(store_of(store), "snapshot_delete", name=name)
    if as_json:
        print_json(gone)
    else:
        click.echo(f"deleted snapshot {name}")
