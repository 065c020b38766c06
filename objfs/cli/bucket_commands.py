"""`objfs bucket create|list|set|delete`."""

import os

import click

from objfs.cli.access import run_command
from objfs.cli.output import json_option, print_json, print_table, size_text
from objfs.cli.targets import store_of
from objfs.cli.version_commands import local_time

VERSIONING = ("on", "suspended", "off")

versioning_type = click.Choice(VERSIONING)


@click.group()
def bucket() -> None:
    """Buckets: trees of their own within one store."""


@bucket.command("create")
@click.argument("store")
@click.argument("name")
@click.option("--versioning", type=versioning_type, default="on", show_default=True)
def create(store: str, name: str, versioning: str) -> None:
    """Make the bucket NAME in STORE. Its root directory belongs to you."""
    run_command(
        store_of(store),
        "bucket_create",
        name=name,
        versioning=versioning,
        uid=os.getuid(),
        gid=os.getgid(),
    )
    click.echo(f"made bucket {name}; mount it with: objfs mount {store}:{name} MOUNTPOINT")


@bucket.command("list")
@click.argument("store")
@json_option
def list_(store: str, as_json: bool) -> None:
    """List the buckets of STORE and what they hold."""
    answer = run_command(store_of(store), "bucket_list")
    if as_json:
        print_json(answer)
        return
    print_table(
        ("BUCKET", "CREATED", "VERSIONING", ">FILES", ">SIZE", ">OLD VERSIONS"),
        (
            (
                each["name"],
                local_time(each["created"]),
                each["versioning"],
                each.get("objects", 0),
                size_text(each.get("live_bytes", 0)),
                size_text(each.get("past_bytes", 0)),
            )
            for each in answer["buckets"]
        ),
    )


@bucket.command("set")
@click.argument("store")
@click.argument("name")
@click.option("--versioning", type=versioning_type, required=True)
def set_(store: str, name: str, versioning: str) -> None:
    """Change the rules of the bucket NAME."""
    run_command(store_of(store), "bucket_set", name=name, versioning=versioning)
    click.echo(f"bucket {name}: versioning is {versioning}")


@bucket.command("delete")
@click.argument("store")
@click.argument("name")
@click.option("--force", is_flag=True, help="Give up the history of its deleted files too.")
def delete(store: str, name: str, force: bool) -> None:
    """Remove the empty bucket NAME."""
    run_command(store_of(store), "bucket_delete", name=name, force=force)
    click.echo(f"removed bucket {name}")
