"""Large collections, gone through and given up so few at a time that the loop is not held.

To free a million objects takes a tenth of a second, in one go when the last reference to what holds
them goes; to sort them takes several.
"""

import heapq
from array import array
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any, TypeVar

import trio

from objfs.base.limits import GRADUAL_ITEMS

T = TypeVar("T")


async def let_go(held: dict[Any, T], look: Callable[[T], object] = lambda _: None) -> None:
    """Free what it holds, the last first, after a last look at each value."""
    while held:
        for _ in range(min(GRADUAL_ITEMS, len(held))):
            look(held.popitem()[1])
        await trio.lowlevel.checkpoint()


def merged(runs: Iterable[Sequence[int]]) -> "array[int]":
    """The numbers of sorted runs, in order, each once. For a thread: it gives the interpreter to
    others, which sorting does not."""
    return array("q", (number for number, _ in groupby(heapq.merge(*runs))))
