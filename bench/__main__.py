"""The command line of the bench; `scripts/bench --help` shows it."""

import json
import sys
from dataclasses import asdict, replace
from fnmatch import fnmatchcase
from pathlib import Path

import click
from rich.console import Console

from bench import machine, profiling
from bench.child import WorkFailed
from bench.columns import NAMES, ColumnFailed
from bench.figures import Result
from bench.rows import BY_KEY, ROWS
from bench.run import CannotRun, Plan, Run, runnable, workspace
from bench.sizes import FULL, PROFILED, QUICK
from bench.table import as_json, render

TABLE_CHARS = 170  # a table in a file or a pipe is not folded


def chosen(text: str | None, among: list[str], option: str) -> list[str]:
    """Those of `among` that a comma-separated list of globs names, in their own order."""
    if text is None:
        return among
    patterns = [part.strip() for part in text.split(",")]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in among):
            raise click.UsageError(f"{option}: {pattern!r} is none of {', '.join(among)}")
    return [name for name in among if any(fnmatchcase(name, each) for each in patterns)]


def say(line: str) -> None:
    """Progress: one line that is overwritten on a terminal, lines elsewhere."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{line}")
    else:
        sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


@click.command(epilog=f"Rows: {', '.join(row.key for row in ROWS)}.")
@click.option("--rows", help="Only these rows: names or globs with commas between.")
@click.option("--columns", help=f"Only these of {', '.join(NAMES)}; globs too.")
@click.option(
    "--rounds", type=click.IntRange(min=1), help="Times each row is measured in each column. [3]"
)
@click.option("--quick", is_flag=True, help="Small sizes and one round: a minute, rough figures.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write all values here.")
@click.option("--profile", "profiled", metavar="ROW", help="Sample the objfs process in this row.")
@click.option(
    "--stacks", type=click.Path(path_type=Path), help="With --profile: keep the raw stacks here."
)
@click.option(
    "--directory",
    type=click.Path(path_type=Path, exists=True, file_okay=False, resolve_path=True),
    default=Path("/var/tmp"),
    show_default=True,
    help="Where to work; the disk under test is the one it lies on.",
)
def main(
    rows: str | None,
    columns: str | None,
    rounds: int | None,
    quick: bool,
    json_file: Path | None,
    profiled: str | None,
    stacks: Path | None,
    directory: Path,
) -> None:
    """Measure objfs, a filesystem that does nothing and the plain disk side by side.

    Exit status: 0 done and every floor reached, 1 a floor missed or the run failed, 2 wrong usage.
    """
    plan = Plan(
        rows=[BY_KEY[key] for key in chosen(rows or profiled, list(BY_KEY), "--rows")],
        columns=chosen(columns, list(NAMES), "--columns"),
        rounds=rounds or (1 if quick else 3),
        sizes=QUICK if quick else FULL,
        directory=directory,
    )
    try:
        if profiled is not None:
            _profile(plan, stacks)
            return
        results = _measure(plan, json_file)
    except (CannotRun, ColumnFailed, WorkFailed, profiling.NoProfiler) as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        say("")
        raise click.Abort from None
    if any(result.passed() is False for result in results):
        sys.exit(1)


def _measure(plan: Plan, json_file: Path | None) -> list[Result]:
    plan = runnable(plan, say)
    about = machine.describe(plan.directory)
    with workspace(plan.directory) as base:
        results = Run(plan, base, say).measure()
    say("")
    console = Console()
    if not console.is_terminal:
        console = Console(width=TABLE_CHARS)
    console.print(render(results, plan.columns))
    rounds = f"medians of {plan.rounds} rounds" if plan.rounds > 1 else "one round"
    facts = ", ".join(f"{name} {value}" for name, value in about.items())
    console.print(f"\n{rounds}; ratios are of speed, over 1 objfs is faster; {facts}")
    if json_file is not None:
        document = {
            "machine": about,
            "rounds": plan.rounds,
            "sizes": asdict(plan.sizes),
            "results": as_json(results),
        }
        json_file.write_text(json.dumps(document, indent=1) + "\n")
    return results


def _profile(plan: Plan, stacks: Path | None) -> None:
    plan = replace(plan, rows=plan.rows[:1], columns=["objfs"], rounds=1, sizes=PROFILED)
    plan = runnable(plan, say)
    with workspace(plan.directory) as base:
        recorded = base / "stacks"
        results = Run(plan, base, say).profile(plan.rows[0], recorded)
        text = recorded.read_text()
        if stacks is not None:
            profiling.keep(recorded, stacks)
    for result in results:
        click.echo(f"{result.title} {result.figure.name}: {result.median('objfs'):.1f} sampled")
    click.echo(profiling.report(text.splitlines()))


if __name__ == "__main__":
    main(prog_name="scripts/bench")
