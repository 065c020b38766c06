"""`objfs restore`: a version of a file, or a moment of a file or a tree, is there again."""

import os
from pathlib import Path
from typing import Any

import click

from objfs.base.errors import AlreadyExists, InvalidRequest, IsADirectory, NotFound
from objfs.cli.access import hand_over_writes, reach, run
from objfs.cli.difference_commands import plan_pages, print_pages
from objfs.cli.output import json_option, print_json, progress_bar, size_text
from objfs.cli.store_directory import read_store
from objfs.cli.targets import Target, is_object_name, live_target_of, target_of
from objfs.cli.version_commands import contents, version_size

at_option = click.option(
    "--at", metavar="TIME", help="As it was then: 2026-11-20T10:00, 1h (ago), yesterday, ..."
)
snapshot_option = click.option("--snapshot", metavar="NAME", help="As a snapshot shows it.")


@click.command()
@click.argument("path")
@click.option("--version", "version_id", metavar="ID", help="As `objfs versions` shows it.")
@at_option
@snapshot_option
@click.option("--to", "destination", metavar="DEST", help="Put it there instead.")
@click.option("--dry-run", is_flag=True, help="Only list what would be done.")
@json_option
def restore(
    path: str,
    version_id: str | None,
    at: str | None,
    snapshot: str | None,
    destination: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Bring back the file or the tree PATH as it was: a version, a time, or a snapshot.

    A tree is afterwards what it was: what is newer is replaced or removed, what did not change is
    not touched. All of that stays in the history, so a restore is undone by a restore to the time
    before it. No data is copied.

    With --to DEST it appears there instead: inside a mount, or as STORE:BUCKET/KEY; in a directory
    that exists, under its own name. A file can also go to a new file outside of any store.
    """
    if sum(each is not None for each in (version_id, at, snapshot)) != 1:
        raise click.UsageError("give one of --version, --at and --snapshot")
    named = live_target_of if destination is None and not dry_run else target_of
    target = named(path, whole=version_id is None)
    if not target.bucket:
        raise InvalidRequest(f"{path}: these are all buckets: choose one of them")
    if dry_run:
        moment = {"version_id": version_id, "at": at, "snapshot": snapshot}
        run(lambda: _print_plan(target, moment, destination is not None, as_json))
        return
    if destination is not None and not is_object_name(destination):
        _restore_outside(target, version_id, at, snapshot, destination)
        done: dict[str, Any] = {}
    else:
        new = None if destination is None else _new_target(destination, target)
        if version_id is not None:
            done = run(lambda: _restore_version(target, version_id, new or target))
        else:
            done = run(lambda: _restore_moment(target, at, snapshot, new))
    if as_json:
        print_json(done)
        return
    where = f"{path} to {destination}" if destination is not None else path
    if version_id is not None:
        click.echo(f"restored version {version_id} of {where}")
    else:
        click.echo(f"restored {where}: {_summary(done)}" if done else f"restored {where}")
        if done.get("replaced") or done.get("removed"):
            click.echo(
                "what was replaced or removed stays in the history: see `objfs versions`, or undo "
                "all of it by a restore to a time before"
            )


async def _print_plan(
    target: Target, moment: dict[str, str | None], elsewhere: bool, as_json: bool
) -> None:
    async with reach(read_store(target.store)) as access:
        await hand_over_writes(access)
        pages = plan_pages(access, target, **moment, elsewhere=elsewhere)
        await print_pages(pages, "actions", target.key, as_json)


_SHOWN = (
    ("added", "added"),
    ("replaced", "replaced"),
    ("removed", "removed"),
    ("attributes", "with attributes of then"),
    ("unchanged", "unchanged"),
)


def _summary(done: dict[str, Any]) -> str:
    counts = [f"{done[name]} {text}" for name, text in _SHOWN if done[name]]
    return ", ".join(counts) + f" ({size_text(done['bytes'])})" * bool(done["bytes"])


async def _restore_version(target: Target, version_id: str, new: Target) -> Any:
    async with reach(read_store(target.store)) as access:
        return await access.call(
            "restore",
            bucket=target.bucket,
            key=target.key,
            version_id=version_id,
            to_bucket=new.bucket,
            to_key=new.key,
        )


async def _restore_moment(
    target: Target, at: str | None, snapshot: str | None, new: Target | None
) -> Any:
    async with reach(read_store(target.store)) as access:
        await hand_over_writes(access)
        return await access.call(
            "restore_at",
            bucket=target.bucket,
            key=target.key,
            at=at,
            snapshot=snapshot,
            to_bucket=None if new is None else new.bucket,
            to_key=None if new is None else new.key,
        )


def _restore_outside(
    target: Target, version_id: str | None, at: str | None, snapshot: str | None, destination: str
) -> None:
    """To a file outside of any store, with its bytes."""
    if version_id is None:
        version_id = run(lambda: _version_at(target, at, snapshot))
    _copy_out(target, version_id, _new_file(destination, target))


async def _version_at(target: Target, at: str | None, snapshot: str | None) -> str:
    """The version that a file showed at a moment."""
    named: dict[str, Any] = {"bucket": target.bucket, "key": target.key}
    async with reach(read_store(target.store)) as access:
        moment = await access.call("moment", **named, at=at, snapshot=snapshot)
        if moment["kind"] == "directory":
            raise IsADirectory(
                f"{target.name} was a directory: mount the moment with `objfs mount --at`, and "
                "copy from there to a place outside of the store"
            )
        page = await access.call("versions", **named, before=moment["sequence"] + 1, limit=1)
    if moment["kind"] is not None and not page["versions"]:
        raise InvalidRequest(
            f"{target.name} was no regular file: restore it to a path in a mount of its store"
        )
    if moment["kind"] is None:
        raise NotFound(f"{target.name} did not exist at that moment: `objfs versions` shows it")
    version: str = page["versions"][0]["version_id"]
    return version


def _leaf(target: Target) -> bytes:
    """The name that something keeps in another directory."""
    leaf = target.key.rstrip(b"/").rpartition(b"/")[2]
    if not leaf:
        raise InvalidRequest(f"{target.name} has no name of its own: name a new path with --to")
    return leaf


def _new_target(destination: str, target: Target) -> Target:
    """Where a restored version goes inside the store; into a directory under its own name."""
    try:
        new = live_target_of(destination)
    except IsADirectory:  # a bucket, or the root of a mount
        new = live_target_of(os.path.join(destination, os.fsdecode(_leaf(target))))
    if new.store != target.store:
        raise InvalidRequest(
            f"{destination}: this is another store than that of {target.name}; restore to a path "
            "in a mount of it"
        )
    into = new.key.endswith(b"/") or (new.path is not None and os.path.isdir(new.path))
    if into:
        leaf = _leaf(target)
        path = None if new.path is None else os.path.join(new.path, leaf)
        new = new._replace(key=new.key.rstrip(b"/") + b"/" + leaf, path=path)
    return new


def _new_file(destination: str, target: Target) -> Path:
    path = Path(destination)
    if path.is_dir():
        path /= os.fsdecode(_leaf(target))
    if os.path.lexists(path):
        raise AlreadyExists(
            f"{path}: there is something already; move it away or take another name"
        )
    if not path.parent.is_dir():
        raise NotFound(f"{path.parent}: there is no such directory")
    return path


def _copy_out(target: Target, version_id: str, path: Path) -> None:
    """Durable when it returns; nothing is left of a copy that failed."""

    async def main() -> None:
        async with reach(read_store(target.store)) as access:
            size = await version_size(access, target, version_id)
            with progress_bar(path.name, size) as bar:
                async for data in contents(access, target, version_id):
                    file.write(data)
                    bar.advance(len(data))

    with path.open("xb") as file:
        try:
            run(main)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            path.unlink()
            raise
