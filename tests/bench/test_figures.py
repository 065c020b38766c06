"""The arithmetic of the bench's table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.figures import Figure, Floor, Result, latency_figures, percentile


def result(figure: Figure, **values: list[float]) -> Result:
    return Result("row", "title", figure, values)


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1, 50, 99, 100]
    assert percentile([7.0], 0.99) == 7.0


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 1))
def test_at_most_the_rest_lies_above_a_percentile(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-6


def test_a_percentile_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing"):
        percentile([], 0.5)


def test_latencies_are_milliseconds() -> None:
    assert latency_figures([0.001] * 99 + [0.5]) == (1.0, 1.0, 500.0)


def test_medians_are_compared() -> None:
    rates = result(Figure("", "files/s"), objfs=[90, 500, 100], nothing=[200, 1, 300])
    assert rates.median("objfs") == 100
    assert rates.ratio("nothing") == 0.5


def test_over_one_is_better_for_times_too() -> None:
    times = result(Figure("", "ms", lower_is_better=True), objfs=[2], nothing=[6])
    assert times.ratio("nothing") == 3


def test_what_was_not_measured_is_not_compared() -> None:
    alone = result(Figure("", "files/s", floor=Floor("nothing", 0.5)), objfs=[1])
    assert alone.median("disk") is None
    assert alone.ratio("nothing") is None
    assert alone.passed() is None


@pytest.mark.parametrize(("rate", "passed"), [(50, True), (49.9, False)])
def test_a_share_is_a_least(rate: float, passed: bool) -> None:
    figure = Figure("", "files/s", floor=Floor("nothing", 0.5))
    assert result(figure, objfs=[rate], nothing=[100]).passed() is passed


@pytest.mark.parametrize(("value", "passed"), [(9.9, True), (10, False)])
def test_a_limit_is_a_most(value: float, passed: bool) -> None:
    figure = Figure("p99", "ms", lower_is_better=True, floor=Floor(most=10))
    assert result(figure, objfs=[value]).passed() is passed


def test_a_least_is_reached_or_missed() -> None:
    floor = Floor(least=0.95)
    figure = Figure("", "share", floor=floor)
    assert floor.says() == ">= 0.95"
    assert result(figure, objfs=[0.95]).passed() is True
    assert result(figure, objfs=[0.9]).passed() is False
    assert result(figure).passed() is None
