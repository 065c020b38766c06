"""What counts of the steps of background work."""

import trio

from bench.steps import Steps


def test_the_longest_one_in_a_thousand_at_a_place_is_left_out() -> None:
    steps = Steps()
    often, seldom = ("a:1", "a:2"), ("b:1", "b:2")
    for _ in range(999):
        steps.add(often, 0.001)
    steps.add(often, 0.5)
    assert steps.longest() == (1.0, "a:1 to a:2")
    steps.add(seldom, 0.003)
    assert steps.longest() == (3.0, "b:1 to b:2")
    steps.forget()
    assert steps.longest()[0] == 0


def test_steps_of_tasks_are_measured() -> None:
    async def work() -> None:
        await trio.lowlevel.checkpoint()
        sum(range(100_000))
        await trio.lowlevel.checkpoint()

    steps = Steps()
    trio.run(work, instruments=[steps])
    milliseconds, _ = steps.longest()
    assert milliseconds > 0
