"""The table in the terminal, and the same as JSON values. Pure: text from results."""

from collections.abc import Sequence

from rich.table import Table

from bench.figures import DISK, NOTHING, OBJFS, Result

RATIOS = (NOTHING, "nothing+waiter", DISK)
VERDICTS = {True: "[green]pass[/]", False: "[red]FAIL[/]", None: ""}


def number(value: float | None) -> str:
    """Three or more significant digits, thousands apart; a dash for what was not measured."""
    if value is None:
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def render(results: Sequence[Result], columns: Sequence[str]) -> Table:
    """Rows by figures, columns by filesystems, then the ratios and the floor."""
    compared = [name for name in RATIOS if OBJFS in columns and name in columns]
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("work", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for name in compared:
        table.add_column(f"objfs/\n{name}", justify="right", no_wrap=True)
    table.add_column("floor", no_wrap=True)
    table.add_column("")
    for result in results:
        floor = result.figure.floor
        table.add_row(
            f"{result.title} {result.figure.name}".strip(),
            result.figure.unit,
            *(number(result.median(name)) for name in columns),
            *(ratio(result.ratio(name)) for name in compared),
            floor.says() if floor else "",
            VERDICTS[result.passed()],
        )
    return table


def ratio(value: float | None) -> str:
    """A ratio with two digits behind the point, a dash for none."""
    return "-" if value is None else f"{value:.2f}"


def as_json(results: Sequence[Result]) -> list[dict[str, object]]:
    """Every value of every round, with what the table says about it."""
    return [
        {
            "row": result.row,
            "title": result.title,
            "figure": result.figure.name,
            "unit": result.figure.unit,
            "values": {name: list(values) for name, values in result.values.items()},
            "medians": {name: result.median(name) for name in result.values},
            "ratios": {name: value for name in RATIOS if (value := result.ratio(name)) is not None},
            "floor": result.figure.floor.says() if result.figure.floor else None,
            "passed": result.passed(),
        }
        for result in results
    ]
