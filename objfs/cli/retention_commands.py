"""`objfs retention set|show|remove|apply`: how much of the past is kept."""

import os
import re
from pathlib import Path
from typing import Any

import click

from objfs.base.limits import RETENTION_COUNT_MAX, RETENTION_SECONDS_MAX
from objfs.cli import mountinfo
from objfs.cli.access import run_command
from objfs.cli.output import json_option, print_json, print_table, size_text
from objfs.cli.store_directory import StoreDirectory, is_store, read_store
from objfs.cli.targets import (
    is_object_name,
    parse_store_argument,
    source_of,
    store_of,
    target_of,
)

_UNIT_SECONDS = {"y": 365 * 86400, "w": 7 * 86400, "d": 86400, "h": 3600, "m": 60, "s": 1}
_DURATION = re.compile("".join(rf"(?:(\d{{1,9}}){unit})?" for unit in _UNIT_SECONDS), re.ASCII)
_COUNTED = {
    "keep_last": "last",
    "hourly": "hourly",
    "daily": "daily",
    "weekly": "weekly",
    "monthly": "monthly",
    "yearly": "yearly",
}


class Duration(click.ParamType[int]):
    """A time span in seconds: 30d, 1y, 12h, 1d12h; a year has 365 days."""

    name = "TIME"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        found = _DURATION.fullmatch(str(value).strip().lower())
        counts = [int(count or 0) for count in found.groups()] if found else []
        seconds = sum(
            count * unit for count, unit in zip(counts, _UNIT_SECONDS.values(), strict=False)
        )
        if not 0 < seconds <= RETENTION_SECONDS_MAX:
            self.fail(f"{value!r} is no time span; write 30d, 1y, 12h (y w d h m s)", param, ctx)
        return seconds


def duration_text(seconds: int) -> str:
    """As `Duration` reads it: 30d, 1y, 1d12h."""
    parts = []
    for name, unit in _UNIT_SECONDS.items():
        if name != "w":  # people say 30d, not 4w2d
            count, seconds = divmod(seconds, unit)
            parts += [f"{count}{name}"] if count else []
    return "".join(parts)


@click.group()
def retention() -> None:
    """How much of the past is kept: rules for a store, a bucket, or a directory.

    Without rules, everything is kept. TARGET is STORE, STORE:BUCKET, STORE:BUCKET/PATH, or a path
    inside a mount. The rules of the nearest directory above a file count for it, alone.
    """


_count = click.IntRange(1, RETENTION_COUNT_MAX)


@retention.command("set")
@click.argument("target")
@click.option("--keep-all", is_flag=True, help="Every version; what there is without rules.")
@click.option(
    "--keep-for", "keep_for_seconds", type=Duration(), help="All that was there since: 30d, 1y."
)
@click.option("--keep-last", type=_count, help="The last N versions of each file.")
@click.option("--hourly", type=_count, help="The newest version of an hour, for N hours.")
@click.option("--daily", type=_count, help="The newest of a day, for N days.")
@click.option("--weekly", type=_count, help="The newest of a week, for N weeks.")
@click.option("--monthly", type=_count, help="The newest of a month, for N months.")
@click.option("--yearly", type=_count, help="The newest of a year, for N years.")
@click.option(
    "--deleted-days",
    type=click.IntRange(1, RETENTION_SECONDS_MAX // 86400),
    help="Days after which all of a deleted file goes.",
)
@json_option
def set_(target: str, as_json: bool, **given: Any) -> None:
    """Give rules to TARGET, in the place of those it has.

    A version is kept if any of the rules keeps it. What is there now is always kept, and so is what
    a snapshot shows. See with `objfs retention apply --dry-run` what would go.
    """
    rules = {name: value for name, value in given.items() if value}
    if not rules:
        raise click.UsageError("say what to keep: --keep-for 30d, --daily 7, ... (see --help)")
    store, bucket, prefix = _place_of(target)
    answer = run_command(store, "retention_set", bucket=bucket, prefix=prefix, rules=rules)
    if as_json:
        print_json(answer)
        return
    click.echo(f"{target}: keeps {_rules_text(answer['rules'])}")


@retention.command("remove")
@click.argument("target")
def remove(target: str) -> None:
    """Take the rules of TARGET away: those above it count again."""
    store, bucket, prefix = _place_of(target)
    run_command(store, "retention_remove", bucket=bucket, prefix=prefix)
    click.echo(f"{target}: has no rules of its own any more")


@retention.command("show")
@click.argument("store")
@json_option
def show(store: str, as_json: bool) -> None:
    """List the rules of STORE (or of the store mounted there)."""
    answer = run_command(store_of(store), "retention_show")
    if as_json:
        print_json(answer)
        return
    if not answer["retention"]:
        click.echo("no rules: everything is kept")
        return
    print_table(
        ("BUCKET", "PATH", "KEEPS"),
        (
            (each["bucket"] or "(all)", each["prefix"] or "/", _rules_text(each["rules"]))
            for each in answer["retention"]
        ),
    )


@retention.command("apply")
@click.argument("store")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@json_option
def apply(store: str, dry_run: bool, as_json: bool) -> None:
    """Erase what the rules of STORE do not keep, now.

    A mounted store does it by itself, from time to time. What is erased is gone for good; its bytes
    return to the disk when the store is compacted.
    """
    answer = run_command(store_of(store), "retention_apply", dry_run=dry_run)
    if as_json:
        print_json(answer)
        return
    verb = "would go" if dry_run else "went"
    click.echo(
        f"{answer['entries']} entries of {answer['paths']} paths {verb}: "
        f"{answer['versions']} versions of {size_text(answer['bytes'])} in all"
    )
    if answer["pinned"]:
        names = ", ".join(f"{name} ({count})" for name, count in answer["snapshots"].items())
        click.echo(f"{answer['pinned']} more are kept by snapshots only: {names}")
    if answer["locked"]:
        click.echo(f"{answer['locked']} more are kept by object lock only")


def _rules_text(rules: dict[str, Any]) -> str:
    parts = []
    if rules.get("keep_all"):
        parts.append("all")
    if rules.get("keep_for_seconds"):
        parts.append(f"for {duration_text(rules['keep_for_seconds'])}")
    parts += [f"{rules[name]} {word}" for name, word in _COUNTED.items() if rules.get(name)]
    if rules.get("deleted_days"):
        parts.append(f"deleted files {rules['deleted_days']} days")
    return ", ".join(parts)


def _place_of(text: str) -> tuple[StoreDirectory, str | None, bytes]:
    """The store, bucket and path that TARGET means; no bucket: the whole store."""
    mounts = mountinfo.read_mounts()
    path = mountinfo.resolve(text, mounts, follow_last=True)
    mount = mountinfo.mount_at(path, mounts)
    if mount is not None and mount.filesystem == mountinfo.FILESYSTEM:
        return _mounted(mount)
    if is_object_name(text):
        source = mountinfo.parse_source(os.fsencode(text), is_store)
        if source is not None and len(source.store) < len(os.fsencode(text)):
            source = parse_store_argument(text)
            return read_store(Path(os.fsdecode(source.store))), source.bucket, source.prefix
        target = target_of(text)
        return read_store(target.store), target.bucket, target.key.strip(b"/")
    return read_store(Path(text)), None, b""


def _mounted(mount: mountinfo.Mount) -> tuple[StoreDirectory, str | None, bytes]:
    """What the root of a mount shows."""
    source = source_of(mount)
    store = read_store(Path(os.fsdecode(source.store)))
    inside = mount.root.strip(b"/")
    if source.bucket != mountinfo.ALL_BUCKETS:
        return store, source.bucket, b"/".join(part for part in (source.prefix, inside) if part)
    bucket, _, prefix = inside.partition(b"/")
    return store, os.fsdecode(bucket) or None, prefix
