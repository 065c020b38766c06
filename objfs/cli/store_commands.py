"""`objfs init`, `status`, `sync`, `rebuild`, `inspect`, `bench`: a store as a whole."""

import os
import shutil
from pathlib import Path
from typing import Any

import click

from objfs.base.errors import NotFound
from objfs.base.limits import MIB
from objfs.base.settings import Settings
from objfs.base.system import SystemRandomness
from objfs.cli.access import hand_over_writes, reach, run, run_command
from objfs.cli.bench import bench as measure
from objfs.cli.clock import command_clock
from objfs.cli.mountinfo import MAIN_BUCKET
from objfs.cli.opening import open_store, take_lock
from objfs.cli.output import (
    json_option,
    print_facts,
    print_json,
    print_table,
    progress_bar,
    size_text,
)
from objfs.cli.store_directory import (
    DESCRIPTION,
    SEGMENTS,
    StoreDirectory,
    create_store,
    read_store,
    write_description,
)
from objfs.cli.targets import store_of
from objfs.cli.version_commands import local_time
from objfs.maint import commands, inspection
from objfs.maint.forms import time_text
from objfs.store.inspect import SegmentReport, inspect_segment
from objfs.volume.volume import Volume

DAMAGED = 1  # exit status


@click.command()
@click.argument("store", type=click.Path(path_type=Path))
def init(store: Path) -> None:
    """Make a store in the new or empty directory STORE, with the bucket `main`."""
    existed = store.is_dir()
    directory = create_store(store, command_clock(), SystemRandomness())
    try:
        run_command(directory, "bucket_create", name=MAIN_BUCKET, uid=os.getuid(), gid=os.getgid())
    except BaseException:
        _remove_what_init_made(directory, existed)
        raise
    click.echo(f"made store {directory.path}; mount it with: objfs mount {store} MOUNTPOINT")


def _remove_what_init_made(directory: StoreDirectory, existed: bool) -> None:
    """The directory was empty: all that is in it now came from here."""
    for entry in directory.path.iterdir():
        if entry.is_dir() and entry.name != "lost+found":
            shutil.rmtree(entry)
        elif not entry.is_dir():
            entry.unlink()
    if not existed:
        directory.path.rmdir()


@click.command()
@click.argument("store", metavar="STORE|MOUNTPOINT")
@click.option("--recount", is_flag=True, help="Count anew what the buckets hold, and compare.")
@json_option
@click.pass_context
def status(context: click.Context, store: str, recount: bool, as_json: bool) -> None:
    """Show how a store is. Exit status 1 if it failed or is damaged."""
    directory = store_of(store)
    answer = {"store": str(directory.path), **run_command(directory, "status")}
    if recount:
        answer["recount"] = run_command(directory, "recount")
    if as_json:
        print_json(answer)
    else:
        print_facts(_status_facts(answer))
    if answer["damage"] or answer["error"] or _miscounted(answer):
        context.exit(DAMAGED)


def _miscounted(answer: dict[str, Any]) -> list[str]:
    """The buckets whose figures are wrong."""
    recount = answer.get("recount")
    if recount is None or not recount["exact"]:
        return []
    return [name for name, each in recount["buckets"].items() if each["counted"] != each["kept"]]


def _status_facts(answer: dict[str, Any]) -> list[tuple[str, object]]:
    log = answer["log"]
    owner = answer.get("owner")
    point = owner and owner["mountpoint"]
    served = f"by process {owner['pid']}" if owner else "no"
    facts: list[tuple[str, object]] = [
        ("store", answer["store"]),
        ("mounted", f"at {point} {served}" if point else "no"),
        ("S3", _s3_text(answer["doors"].get("s3"), served)),
        ("state", answer["state"] + (f": {answer['error']}" if answer["error"] else "")),
        ("segments", f"{log['segments']}, {size_text(log['segment_bytes'])}"),
        ("not written yet", size_text(answer["dirty_bytes"])),
        ("changes", answer["sequence"]),
        ("durable up to", answer["synced_sequence"]),
        ("free on the disk", size_text(log["device_free_bytes"])),
    ]
    for name, use in answer["buckets"].items():
        live, past = size_text(use["live_bytes"]), size_text(use["past_bytes"])
        facts.append((f"bucket {name}", f"{use['objects']} files, {live}; old versions {past}"))
    facts.append(("damage", "none found" if not answer["damage"] else ""))
    facts += [("", each) for each in answer["damage"]]
    facts.append(("last scrub", _scrub_text(answer["scrub"])))
    if "recount" in answer:
        exact = answer["recount"]["exact"]
        wrong = ", ".join(_miscounted(answer)) or ("all right" if exact else "changed meanwhile")
        facts.append(("recount", wrong))
    return facts


def _s3_text(door: dict[str, Any] | None, served: str) -> str:
    if door is None:
        return "no"
    count = sum(sum(each.values()) for each in door["requests"].values())
    return f"at {door['url']} {served}; {count} requests, {door['connections']} connections"


def _scrub_text(scrub: dict[str, Any]) -> str:
    last, running = scrub["last"], scrub["running"]
    text = "never"
    if last is not None:
        when = local_time(time_text(last["finished_ns"]))
        read, damaged = size_text(last["read_bytes"]), last["damaged"]
        text = f"{when}: {last['records']} records, {read}; damaged: {damaged}"
    if running is not None:
        text += f"; one is under way, {size_text(running['read_bytes'])} so far"
    return text


@click.command()
@click.argument("store", metavar="STORE|MOUNTPOINT")
def sync(store: str) -> None:
    """Return when everything written so far is durable."""

    async def main() -> None:
        async with reach(store_of(store)) as access:
            await hand_over_writes(access, all_of_it=True)
            await access.call("sync")

    run(main)


@click.command()
@click.argument("store", type=click.Path(path_type=Path))
@json_option
@click.pass_context
def rebuild(context: click.Context, store: Path, as_json: bool) -> None:
    """Make the index of STORE again from its log, and objfs.toml if it is gone.

    Exit status 1 if the log turned out to be damaged: the index then has what is left.
    """
    directory = _read_or_describe(store)
    lock = take_lock(directory)
    try:
        shutil.rmtree(directory.index, ignore_errors=True)
        directory.index.mkdir(mode=0o700)
    except BaseException:
        lock.release()
        raise

    async def main() -> dict[str, Any]:
        with progress_bar("replaying", 1) as bar:
            async with open_store(directory, lock, progress=bar.update) as volume:
                return _rebuilt(directory, await commands.status(volume), volume)

    answer = run(main)
    if as_json:
        print_json(answer)
    else:
        click.echo(f"rebuilt the index of {directory.path}: {answer['replayed']} changes replayed")
        for each in answer["damage"]:
            click.echo(f"damage: {each}")
    if answer["damage"] or answer["missing_metas"]:
        context.exit(DAMAGED)


def _rebuilt(directory: StoreDirectory, status: dict[str, Any], volume: Volume) -> dict[str, Any]:
    caught_up = volume.core.database.caught_up
    return {
        "store": str(directory.path),
        "sequence": status["sequence"],
        "replayed": caught_up.replayed if caught_up else 0,
        "missing_metas": status["missing_metas"],
        "damage": status["damage"],
    }


def _read_or_describe(store: Path) -> StoreDirectory:
    """The store; its description is made again from the segments if it is gone."""
    path = Path(os.path.realpath(store))
    if (path / DESCRIPTION).exists() or not (path / SEGMENTS).is_dir():
        return read_store(path)
    store_id = inspection.store_of_segments(path / SEGMENTS)
    write_description(path, store_id, command_clock(), Settings())
    click.echo(f"made {path / DESCRIPTION} again; settings other than the defaults are lost")
    return read_store(path)


@click.command()
@click.argument("segment", type=click.Path(path_type=Path))
@click.option("--records", is_flag=True, help="List every record.")
@json_option
@click.pass_context
def inspect(context: click.Context, segment: Path, records: bool, as_json: bool) -> None:
    """Show what a segment file holds and verify all of it. Exit status 1 for damage."""
    if not segment.is_file():
        raise NotFound(f"{segment}: there is no such file")
    report = inspect_segment(segment)
    form = inspection.report_form(report, records)
    if as_json:
        print_json(form)
    else:
        if records:
            _print_records(report)
        _print_report(form)
    if form["damaged"]:
        context.exit(DAMAGED)


def _print_records(report: SegmentReport) -> None:
    print_table(
        (">OFFSET", ">BYTES", "KIND", "CODEC", ">RAW", "OWNER", ""),
        (
            (
                record.offset,
                record.length,
                record.kind.name,
                record.codec.name.lower(),
                record.raw,
                inspection.owner_text(record),
                "" if record.verified else "DAMAGED",
            )
            for record in report.records
        ),
    )
    click.echo()


def _print_report(form: dict[str, Any]) -> None:
    counts = [f"{count} {kind}" for kind, count in sorted(form["records"].items())]
    created = form["created_ns"]
    print_facts(
        [
            ("segment", f"{form['segment']} ({form['kind']})" if form["segment"] else "unreadable"),
            ("store", form["store"]),
            ("epoch", form["epoch"]),
            ("created", time_text(created) if created else None),
            ("sealed", "yes" if form["sealed"] else "no"),
            ("bytes", form["bytes"]),
            ("records", ", ".join(counts) or "none"),
            ("sequences", f"{form['first_sequence']} to {form['last_sequence']}"),
            ("damaged", "yes" if form["damaged"] else "no"),
            *(("", problem) for problem in form["problems"]),
        ]
    )


@click.command()
@click.argument("mountpoint", type=click.Path(path_type=Path))
@click.option("--files", default=2000, show_default=True, type=click.IntRange(1))
@click.option("--mebibytes", default=256, show_default=True, type=click.IntRange(1))
@json_option
def bench(mountpoint: Path, files: int, mebibytes: int, as_json: bool) -> None:
    """Measure how fast the directory MOUNTPOINT is; any directory will do."""
    if not mountpoint.is_dir():
        raise NotFound(f"{mountpoint}: there is no such directory")
    steps = measure(mountpoint, command_clock(), SystemRandomness(), files, mebibytes * MIB)
    figures = list(steps)
    if as_json:
        print_json({"figures": [figure._asdict() for figure in figures]})
        return
    print_table(
        ("WHAT", ">RATE", "", ">SECONDS"),
        ((each.name, f"{each.rate:.0f}", each.unit, f"{each.seconds:.2f}") for each in figures),
    )
