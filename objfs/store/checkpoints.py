"""Which checkpoints the log holds: CHECKPOINT records grouped into complete ones. Pure.

The parts of one checkpoint are written in order, one checkpoint at a time, so in log order part 0
begins one and the part with a total ends it. Anything else was left by a crash, and counts for
nothing.
"""

from collections.abc import Iterable
from typing import NamedTuple

from objfs.base.types import Location
from objfs.store.footer import Part


class Checkpoint(NamedTuple):
    """A complete checkpoint: the state after META `sequence`, in the parts' order."""

    sequence: int
    parts: tuple[tuple[Location, int], ...]  # location, hash32


def complete_checkpoints(parts: Iterable[tuple[int, Part]]) -> list[Checkpoint]:
    """Complete checkpoints, newest first, from (segment, part) in log order."""
    complete: list[Checkpoint] = []
    sequence, gathered = 0, list[tuple[Location, int]]()
    for segment, part in parts:
        if part.part == 0:
            sequence, gathered = part.sequence, []
        elif part.sequence != sequence or part.part != len(gathered):
            gathered = []
            sequence = -1
            continue
        gathered.append((Location(segment, part.offset, part.length), part.hash32))
        if part.total:
            if part.total == len(gathered):
                complete.append(Checkpoint(sequence, tuple(gathered)))
            sequence, gathered = -1, []
    complete.sort(key=lambda checkpoint: checkpoint.sequence)
    return complete[::-1]
