"""Arithmetic over measured values: medians, percentiles, ratios, verdicts. No I/O.

A ratio is always a ratio of *speed*: over 1 the first is the better one, whether the unit is a
rate or a time.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

NOTHING = "nothing"
DISK = "disk"
OBJFS = "objfs"


@dataclass(frozen=True)
class Floor:
    """What a figure of objfs must reach: a share of another column's, or a least or a most in its
    own unit."""

    against: str | None = None
    share: float = 0.0
    most: float = 0.0
    least: float = 0.0

    def says(self) -> str:
        """The floor in a few words, for the table."""
        if self.least:
            return f">= {self.least:g}"
        if self.against is None:
            return f"< {self.most:g}"
        return f">= {self.share:g} {self.against}"


@dataclass(frozen=True)
class Figure:
    """One number that a row yields. `name` is empty where a row has only one."""

    name: str
    unit: str
    lower_is_better: bool = False
    floor: Floor | None = None


@dataclass(frozen=True)
class Result:
    """What all rounds of one figure gave, by column, in the order of the rounds."""

    row: str
    title: str
    figure: Figure
    values: Mapping[str, Sequence[float]]

    def median(self, column: str) -> float | None:
        """The median over the rounds; None where the column was not measured."""
        values = self.values.get(column)
        return statistics.median(values) if values else None

    def ratio(self, against: str) -> float | None:
        """How fast objfs is relative to `against`, medians compared."""
        mine, other = self.median(OBJFS), self.median(against)
        if mine is None or other is None:
            return None
        above, below = (other, mine) if self.figure.lower_is_better else (mine, other)
        return above / below if below else None

    def passed(self) -> bool | None:
        """Whether objfs is at its floor or above; None where there is none or nothing to
        compare."""
        floor = self.figure.floor
        if floor is None:
            return None
        if floor.against is None:
            median = self.median(OBJFS)
            if median is None:
                return None
            return median >= floor.least if floor.least else median < floor.most
        ratio = self.ratio(floor.against)
        return None if ratio is None else ratio >= floor.share


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all values do not exceed (nearest rank)."""
    if not values:
        raise ValueError("a percentile of nothing")
    ordered = sorted(values)
    rank = -int(-share * len(ordered) // 1)  # the ceiling
    return ordered[max(rank, 1) - 1]


def latency_figures(seconds: Sequence[float]) -> tuple[float, float, float]:
    """Median, 99th percentile and the longest, in milliseconds."""
    return (
        percentile(seconds, 0.5) * 1e3,
        percentile(seconds, 0.99) * 1e3,
        max(seconds) * 1e3,
    )
