"""Large collections are freed and merged a little at a time."""

import trio
from hypothesis import given
from hypothesis import strategies as st

from objfs.base.limits import GRADUAL_ITEMS
from objfs.maint.gradually import let_go, merged


class Steps(trio.abc.Instrument):
    def __init__(self, held: dict[int, int]) -> None:
        self.held = held
        self.sizes: list[int] = []

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if not self.sizes or self.sizes[-1] != len(self.held):
            self.sizes.append(len(self.held))


def test_no_step_frees_more_than_a_few() -> None:
    count = 3 * GRADUAL_ITEMS + 5
    held = {n: -n for n in range(count)}
    steps = Steps(held)
    seen: list[int] = []
    trio.run(let_go, held, seen.append, instruments=[steps])
    assert held == {}
    assert sorted(seen) == sorted(-n for n in range(count))
    freed = [before - after for before, after in zip(steps.sizes, steps.sizes[1:], strict=False)]
    assert sum(freed) + (count - steps.sizes[0]) == count
    assert max(*freed, count - steps.sizes[0]) == GRADUAL_ITEMS


async def test_letting_go_of_nothing() -> None:
    await let_go({})


@given(st.lists(st.lists(st.integers(-(1 << 63), (1 << 63) - 1)).map(sorted)))
def test_runs_are_merged(runs: list[list[int]]) -> None:
    assert list(merged(runs)) == sorted({number for run in runs for number in run})
