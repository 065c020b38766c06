"""What the bench shows: the table, the JSON form, the choice of rows, the profile."""

import json
from pathlib import Path

import click
import pytest
from rich.console import Console

from bench.__main__ import chosen
from bench.figures import Figure, Floor, Result
from bench.profiling import functions, report
from bench.rows import ROWS
from bench.table import as_json, number, render

CREATE = Result(
    "create",
    "create + close",
    Figure("", "files/s", floor=Floor("nothing", 0.5)),
    {"objfs": [400.0], "nothing": [1_000.0], "disk": [20_000.0]},
)


def shown(results: list[Result], columns: list[str]) -> list[list[str]]:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(render(results, columns))
    return [line.split("│") for line in capture.get().splitlines()]


def test_a_row_shows_medians_ratios_and_verdict() -> None:
    cells = [cell.strip() for cell in shown([CREATE], ["objfs", "nothing", "disk"])[-1]]
    assert cells == [
        "create + close", "files/s", "400", "1,000", "20,000", "0.40", "0.02", ">= 0.5 nothing",
        "FAIL",
    ]  # fmt: skip


def test_without_objfs_nothing_is_compared() -> None:
    cells = [cell.strip() for cell in shown([CREATE], ["nothing", "disk"])[-1]]
    assert cells == ["create + close", "files/s", "1,000", "20,000", ">= 0.5 nothing", "FAIL"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.034, "0.03"), (5.25, "5.25"), (52.62, "52.6"), (1234.5, "1,234")],
)
def test_numbers_keep_three_digits(value: float | None, text: str) -> None:
    assert number(value) == text


def test_json_keeps_every_round() -> None:
    (row,) = json.loads(json.dumps(as_json([CREATE])))
    assert row["values"]["objfs"] == [400.0]
    assert row["ratios"] == {"nothing": 0.4, "disk": 0.02}
    assert row["passed"] is False


def test_rows_are_chosen_by_globs_in_their_own_order() -> None:
    keys = [row.key for row in ROWS]
    assert chosen("seq-read*,create", keys, "--rows") == ["create", "seq-read-cold", "seq-read"]
    assert chosen(None, keys, "--rows") == keys
    with pytest.raises(click.UsageError, match="no-such-row"):
        chosen("create,no-such-row", keys, "--rows")


def test_the_page_describes_every_row() -> None:
    page = Path(__file__).parents[2].joinpath("docs/PERFORMANCE.md").read_text()
    assert [row.key for row in ROWS if f"`{row.key}`" not in page] == []


def test_a_profile_counts_own_time_and_that_of_callees() -> None:
    stacks = [
        "main (a.py:1);write (b.py:10) 3",
        "main (a.py:2);write (b.py:12);write (b.py:10) 1",
        "main (a.py:9) 4",
        "",
    ]
    alone, together, total = functions(stacks)
    assert total == 8
    assert alone == {"write (b.py)": 4, "main (a.py)": 4}
    assert together == {"write (b.py)": 4, "main (a.py)": 8}
    assert "50.0%  100.0%  main (a.py)" in report(stacks)
    assert "no samples" in report([])
