"""`objfs mount` and `umount`."""

import os
from pathlib import Path

import click

from objfs.base.errors import InvalidRequest
from objfs.cli.daemon import LOG_FILE, in_background, log_to_stderr, name_process
from objfs.cli.moment_mount import LOG_FILE as MOMENT_LOG_FILE
from objfs.cli.moment_mount import Moment
from objfs.cli.mount_options import parse_options
from objfs.cli.mount_point import prepare_mount_point
from objfs.cli.mountinfo import ALL_BUCKETS
from objfs.cli.mounting import MountPlan, serve_mount
from objfs.cli.s3_options import s3_options, s3_plan
from objfs.cli.store_directory import read_store
from objfs.cli.targets import TIME, parse_store_argument
from objfs.cli.unmounting import unmount
from objfs.s3.listening import Address


@click.command()
@click.argument("store", metavar="STORE[:BUCKET[/PREFIX]]")
@click.argument("mountpoint")
@click.option("-f", "--foreground", is_flag=True, help="Stay, and log to standard error.")
@click.option("--read-only", is_flag=True, help="Refuse changes.")
@click.option("--allow-other", is_flag=True, help="Let other users in; modes decide what they may.")
@click.option("--all-buckets", is_flag=True, help="Every bucket as a top-level directory.")
@click.option("--at", "at_ns", type=TIME, metavar="TIME", help="The store as it was, read-only.")
@click.option("--snapshot", metavar="NAME", help="The store as a snapshot has it, read-only.")
@click.option("-o", "options", multiple=True, metavar="OPTIONS", help="As mount(8) takes them.")
@s3_options(required=False)
def mount(
    store: str,
    mountpoint: str,
    foreground: bool,
    read_only: bool,
    allow_other: bool,
    all_buckets: bool,
    at_ns: int | None,
    snapshot: str | None,
    options: tuple[str, ...],
    address: Address | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    domains: tuple[str, ...],
    region: str,
    public_metrics: bool,
) -> None:
    """Mount STORE on the directory MOUNTPOINT.

    Returns when the mount is usable; a process in the background serves it. Plain STORE mounts its
    bucket `main`. With --at or --snapshot it shows a moment, also of a store that is mounted
    elsewhere; TIME is as `2026-11-20T10:00`, `1h`, `yesterday`. With --s3 the same process serves
    the store's buckets over S3.
    """
    moment = _moment(at_ns, snapshot)
    s3 = s3_plan(address, tls_cert, tls_key, domains, region, public_metrics)
    if moment is not None and s3 is not None:
        raise click.UsageError("--s3 serves what the store is now: it does not go with a moment")
    try:
        parsed = parse_options(options, read_only, allow_other)
    except InvalidRequest as error:
        raise click.UsageError(str(error)) from error
    source = parse_store_argument(store)
    if all_buckets:
        if source.encode() != source.store:
            raise click.UsageError("--all-buckets goes with STORE alone, not with one bucket of it")
        source = source._replace(bucket=ALL_BUCKETS)
    if moment is not None:
        parsed = parsed._replace(read_only=True)
    directory = read_store(Path(os.fsdecode(source.store)))
    point = prepare_mount_point(mountpoint, directory.path, parsed.nonempty)
    plan = MountPlan(directory, source, point, parsed, moment, s3)
    if foreground:
        log_to_stderr()
        name_process()
        serve_mount(plan, lambda: None)
    else:
        log_file = LOG_FILE if moment is None else MOMENT_LOG_FILE
        in_background(directory.log, lambda ready: serve_mount(plan, ready), log_file)


def _moment(at_ns: int | None, snapshot: str | None) -> Moment | None:
    if at_ns is not None and snapshot is not None:
        raise click.UsageError("--at and --snapshot each name a moment: give one of them")
    if at_ns is None and snapshot is None:
        return None
    return Moment(at_ns, snapshot)


@click.command()
@click.argument("mountpoint")
@click.option(
    "-l", "--lazy", is_flag=True, help="Detach a mount that is in use; it ends with its last user."
)
def umount(mountpoint: str, lazy: bool) -> None:
    """Unmount MOUNTPOINT: returns when everything is durable and the process has gone.

    Takes dead mounts away too.
    """
    click.echo(unmount(mountpoint, lazy))
