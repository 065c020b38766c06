"""`objfs bucket create|list|set|delete`."""

import os
import re

import click

from objfs.cli.access import run_command
from objfs.cli.output import json_option, print_json, print_table, size_text
from objfs.cli.targets import store_of
from objfs.cli.version_commands import local_time

VERSIONING = ("on", "suspended", "off")


class Size(click.ParamType[int]):
    """A number of bytes: 500, 20M, 1.5G; the letters count in steps of 1024."""

    name = "SIZE"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)", str(value).upper())
        if found is None:
            self.fail(f"{value!r} is no size; write bytes, or 20M, 1.5G", param, ctx)
        return int(float(found[1]) * 1024 ** " KMGT".index(found[2] or " "))


versioning_option = click.option("--versioning", type=click.Choice(VERSIONING))
quota_option = click.option(
    "--quota", type=Size(), help="Bytes that it may hold, old versions included; 0: no limit."
)


@click.group()
def bucket() -> None:
    """Buckets: trees of their own within one store."""


@bucket.command("create")
@click.argument("store")
@click.argument("name")
@versioning_option
@quota_option
def create(store: str, name: str, versioning: str | None, quota: int | None) -> None:
    """Make the bucket NAME in STORE. Its root directory belongs to you."""
    run_command(
        store_of(store),
        "bucket_create",
        name=name,
        versioning=versioning or "on",
        quota_bytes=quota or 0,
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
        ("BUCKET", "CREATED", "VERSIONING", ">FILES", ">SIZE", ">OLD VERSIONS", ">QUOTA"),
        (
            (
                each["name"],
                local_time(each["created"]),
                each["versioning"],
                each.get("objects", 0),
                size_text(each.get("live_bytes", 0)),
                size_text(each.get("past_bytes", 0)),
                size_text(each["quota_bytes"]) if each["quota_bytes"] else "none",
            )
            for each in answer["buckets"]
        ),
    )


@bucket.command("set")
@click.argument("store")
@click.argument("name")
@versioning_option
@quota_option
def set_(store: str, name: str, versioning: str | None, quota: int | None) -> None:
    """Change the rules of the bucket NAME."""
    if versioning is None and quota is None:
        raise click.UsageError("say what to set: --versioning or --quota")
    rules = run_command(
        store_of(store), "bucket_set", name=name, versioning=versioning, quota_bytes=quota
    )
    limit = size_text(rules["quota_bytes"]) if rules["quota_bytes"] else "none"
    click.echo(f"bucket {name}: versioning {rules['versioning']}, quota {limit}")


@bucket.command("delete")
@click.argument("store")
@click.argument("name")
@click.option("--force", is_flag=True, help="Give up the history of its deleted files too.")
def delete(store: str, name: str, force: bool) -> None:
    """Remove the empty bucket NAME."""
    run_command(store_of(store), "bucket_delete", name=name, force=force)
    click.echo(f"removed bucket {name}")
