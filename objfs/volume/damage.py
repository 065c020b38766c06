"""Damage that is remembered: what an opening, a scrub or a fsck found, until it is mended or dead.

A segment with a footer is not read again by the next opening, so what was found in it would be
forgotten with the process that found it. Each finding is a row in `setting`, named by its place;
`status` shows them. A scrub that has read a segment again takes away what it no longer finds there:
the file was put back, or no row refers to the record any more.
"""

from collections.abc import Iterable

import msgspec

from objfs.base.limits import DAMAGE_KEPT_MAX
from objfs.meta.database import Database
from objfs.meta.rows import Setting
from objfs.meta.tables import SETTING, AnyRow
from objfs.volume.core import Core
from objfs.volume.work_rows import write_rows

_PREFIX = "damage/"
_END = "damage0"  # the first name behind all those with the prefix


class Hit(msgspec.Struct, frozen=True):
    """A file that a damaged record belongs to."""

    bucket: str
    path: str
    versions: list[str]  # ids of the versions that have the bytes
    current: bool  # the file as it is now has them
    start: int  # the bytes [start, end) of the file
    end: int
    more_versions: int = 0  # that are not listed


class KnownDamage(msgspec.Struct, frozen=True):
    """Something of the log that does not verify. `offset` and `length` 0: the whole segment."""

    segment: int
    offset: int
    length: int
    what: str
    found_ns: int
    found_at: int  # the newest META then; clocks may jump
    hits: list[Hit] = []
    more_hits: int = 0  # that are not listed

    def __str__(self) -> str:
        place = f"segment {self.segment:016x}, offset {self.offset}: {self.what}"
        if not self.hits:
            return place
        files = ", ".join(f"{hit.bucket}/{hit.path}" for hit in self.hits[:3])
        more = len(self.hits) - 3 + self.more_hits
        return f"{place}; hit: {files}" + (f" and {more} more" if more > 0 else "")


def remembered(database: Database) -> list[KnownDamage]:
    """Everything, by place."""
    rows = database.scan(SETTING, lower=_PREFIX, upper=_END)
    return [msgspec.json.decode(row.value, type=KnownDamage) for row in rows]


def remember(core: Core, found: Iterable[KnownDamage]) -> bool:
    """Keep these findings, in place of older ones at the same places. Beyond DAMAGE_KEPT_MAX they
    are only counted by who found them. False when they could not be written."""
    names = {_name(each) for each in remembered(core.database)}
    kept: list[AnyRow] = []
    for each in found:
        name = _name(each)
        if name in names or len(names) < DAMAGE_KEPT_MAX:
            names.add(name)
            kept.append(Setting(name, msgspec.json.encode(each)))
    return write_rows(core, kept)


def forget_damage(core: Core, gone: Iterable[KnownDamage]) -> None:
    """These are mended, or dead."""
    write_rows(core, [], [_name(each) for each in gone])


def remember_recovery(core: Core) -> None:
    """What opening the log found."""
    now, at = core.clock.now_ns(), core.database.sequence
    known = {_name(each): each for each in remembered(core.database)}
    new = [
        KnownDamage(each.segment, each.offset, each.length, each.what, now, at)
        for each in core.log.recovery.damage
    ]
    changed = [each for each in new if _differs(known.get(_name(each)), each)]
    core.recovery_noted = remember(core, changed)


def _differs(old: KnownDamage | None, new: KnownDamage) -> bool:
    return old is None or (old.length, old.what) != (new.length, new.what)


def _name(damage: KnownDamage) -> str:
    return f"{_PREFIX}{damage.segment:016x}/{damage.offset:016x}"
