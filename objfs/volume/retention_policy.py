"""Which entries of a path's history are kept: the rules, as functions over values.

The theory. A history is what a path showed: entries, newest first, each shown in [sequence, until)
(see `objfs/volume/history.py`). An entry is kept if **any** rule keeps it, as `restic forget` does
(https://restic.readthedocs.io/en/stable/060_forget.html):

- `keep_all`;
- `keep_for_seconds`: it was still shown that long ago, or later. So every moment of that time reads
  as it was. (restic asks when a snapshot was made; an entry here is an interval.)
- `keep_last`: it is one of the last n;
- `hourly`, `daily`, `weekly`, `monthly`, `yearly`: it is the newest one made in its hour, day, ISO
  week, month or year, for the last n of these that have any. While a rule has counts left, it keeps
  the oldest entry too, so that a short history reaches as far back as it can.

And whatever the rules say: what the path shows now is kept, and so is what a snapshot shows.

`deleted_days` is a limit, not a rule: of a path that was deleted, the newest entry stays that long
after the deletion, whatever the rules say, and then everything goes, whatever the rules say.

What follows from this, and is tested: more rules, or larger ones, keep more; applying rules twice
changes nothing, for the newest of a period stays its newest, and erasing an entry only makes the
kept one before it last longer, never past the moment where `keep_for_seconds` begins.
"""

import datetime
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from objfs.base.limits import DAY_NS
from objfs.meta.rows import Retention

PERIODS: dict[str, Callable[[datetime.datetime], tuple[int, ...]]] = {
    "hourly": lambda at: (at.year, at.month, at.day, at.hour),
    "daily": lambda at: (at.year, at.month, at.day),
    "weekly": lambda at: at.isocalendar()[:2],
    "monthly": lambda at: (at.year, at.month),
    "yearly": lambda at: (at.year,),
}

CURRENT = "current"
PINNED = "pinned"
DELETED = "deleted"


class Shown(NamedTuple):
    """An entry of a history: shown in [sequence, until), made at `time_ns`."""

    sequence: int
    until: int
    time_ns: int


class Moment(NamedTuple):
    """When rules are applied, and what they need to know of the store."""

    now_ns: int
    horizon: int  # the sequence that the tree is read at for the time `keep_for_seconds` ago
    current: int  # the `until` of what is shown now: above every sequence
    pinned: Sequence[int] = ()  # sequences that snapshots show, ascending
    zone: datetime.tzinfo | None = None  # where days begin; None: this machine's zone


class Judge:
    """Decides about the entries of one history, newest first. It keeps a few counts, so a history
    of any length can be judged in pieces."""

    def __init__(self, rules: Retention, moment: Moment, *, deleted_ns: int | None = None) -> None:
        """`deleted_ns`: when the path was deleted; None while it leads somewhere."""
        self._rules = rules
        self._moment = moment
        self._deleted_ns = deleted_ns
        self._newest = True
        self._last = rules.keep_last
        self._left = {name: getattr(rules, name) for name in PERIODS}
        self._seen: dict[str, tuple[int, ...]] = {}

    def reasons(self, entry: Shown, *, oldest: bool) -> list[str]:
        """Why the entry is kept; nothing: it goes. `oldest`: no entry comes after it."""
        newest, self._newest = self._newest, False
        reasons = []
        if entry.until >= self._moment.current:
            reasons.append(CURRENT)
        if self._expired():
            return reasons + self._pins(entry)
        if newest and self._deleted_ns is not None and self._rules.deleted_days:
            reasons.append(DELETED)
        if self._rules.keep_all:
            reasons.append("all")
        if self._rules.keep_for_seconds and entry.until > self._moment.horizon:
            reasons.append("for")
        reasons += self._counted(entry, oldest)
        return reasons + self._pins(entry)

    def _expired(self) -> bool:
        """Whether the path was deleted too long ago."""
        if self._deleted_ns is None or not self._rules.deleted_days:
            return False
        return self._moment.now_ns - self._deleted_ns >= self._rules.deleted_days * DAY_NS

    def _counted(self, entry: Shown, oldest: bool) -> Iterator[str]:
        if self._last > 0:
            self._last -= 1
            yield "last"
        if not any(self._left.values()):
            return
        time = local_time(entry.time_ns, self._moment.zone)
        for name, period_of in PERIODS.items():
            if self._left[name] <= 0:
                continue
            period = period_of(time)
            if oldest or self._seen.get(name) != period:
                self._seen[name] = period
                self._left[name] -= 1
                yield name

    def _pins(self, entry: Shown) -> list[str]:
        pinned = any(entry.sequence <= each < entry.until for each in self._moment.pinned)
        return [PINNED] if pinned else []


def local_time(time_ns: int, zone: datetime.tzinfo | None) -> datetime.datetime:
    """A time as a calendar of the zone says it; times beyond the calendar become its ends."""
    try:
        return datetime.datetime.fromtimestamp(time_ns // 10**9, zone)
    except (OverflowError, ValueError, OSError):
        return datetime.datetime.max if time_ns > 0 else datetime.datetime.min


def kept(
    entries: Sequence[Shown],
    rules: Retention,
    moment: Moment,
    *,
    deleted_ns: int | None = None,
) -> list[list[str]]:
    """For each entry, newest first, why it is kept; an empty list: it goes."""
    judge = Judge(rules, moment, deleted_ns=deleted_ns)
    last = len(entries) - 1
    return [judge.reasons(entry, oldest=place == last) for place, entry in enumerate(entries)]


def keeps_everything(rules: Retention) -> bool:
    """Whether no entry ever goes by these rules."""
    return rules.keep_all and not rules.deleted_days


def has_rule(rules: Retention) -> bool:
    """Whether anything but what is shown now would be kept."""
    counts: Iterable[int] = (getattr(rules, name) for name in PERIODS)
    return bool(rules.keep_all or rules.keep_for_seconds or rules.keep_last or any(counts))
