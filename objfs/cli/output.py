"""What commands print: tables for people, JSON for programs, one line for an error, a progress bar
on a terminal."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")
WIDE = 10_000  # columns where there is no terminal: nothing is cut off or wrapped

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def console(to_stderr: bool = False) -> Console:
    stream = sys.stderr if to_stderr else sys.stdout
    width = None if stream.isatty() else WIDE
    return Console(file=stream, width=width, highlight=False, soft_wrap=True)


def print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns whose name starts with `>` are aligned to the right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        right = column.startswith(">")
        table.add_column(column.lstrip(">"), justify="right" if right else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    _print(table)


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Names and values under each other."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for name, value in facts:
        table.add_row(Text(name), Text(str(value)))
    _print(table)


def _print(table: Table) -> None:
    """Without the blanks that fill the last column."""
    on = console()
    with on.capture() as captured:
        on.print(table)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())


def size_text(count: float) -> str:
    """`1.5 MiB`; bytes below a KiB are exact."""
    unit = 0
    while count >= 1024 and unit < len(UNITS) - 1:
        count /= 1024
        unit += 1
    return f"{count:.0f} {UNITS[unit]}" if unit == 0 else f"{count:.1f} {UNITS[unit]}"


def print_error(message: object) -> None:
    """One line on standard error."""
    sys.stderr.write(f"objfs: {' '.join(str(message).split())}\n")


class Bar:
    """Shows how far long work is. Without a terminal it shows nothing."""

    def __init__(self, progress: Progress, what: str, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task(what, total=total)

    def advance(self, amount: int) -> None:
        self._progress.advance(self._task, amount)

    def update(self, done: int, total: int) -> None:
        self._progress.update(self._task, completed=done, total=total)


@contextmanager
def progress_bar(what: str, total_bytes: int) -> Iterator[Bar]:
    """A bar on standard error that counts bytes."""
    on = console(to_stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True))
    with Progress(*columns, console=on, transient=True, disable=not on.is_terminal) as progress:
        yield Bar(progress, what, total_bytes)
