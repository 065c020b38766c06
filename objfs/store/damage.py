"""What opening a store found: the report that recovery makes and that reads add to."""

from dataclasses import dataclass, field
from typing import NamedTuple


class Damage(NamedTuple):
    """Something that was durable and does not verify. `length` 0: not known."""

    segment: int
    offset: int
    length: int
    what: str

    def __str__(self) -> str:
        return f"segment {self.segment:016x}, offset {self.offset}: {self.what}"


@dataclass
class RecoveryReport:
    """What was found and done. Damage found later, by reading META records, is added."""

    segments: int = 0
    scanned: int = 0  # segments without a valid footer
    last_sequence: int = 0
    synced_through: int = 0  # what the log itself proves to have been durable
    cut_bytes: int = 0  # of the torn tail
    cut_metas: int = 0
    cut_because: str = ""  # why history ends where it does; empty: nothing was lost
    rewritten_bytes: int = 0  # verified, and written again because they were never known synced
    removed: list[str] = field(default_factory=list)  # unfinished segments
    damage: list[Damage] = field(default_factory=list)
