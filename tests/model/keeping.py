"""The operations of the model that are about the past: snapshots, forgetting, rules of retention.

What each one erases is a set of marks (`tests/model/past.py`); the rules are written down here once
more, as plainly as they can be, to be compared with what the product makes of them.
"""

import datetime
from typing import NoReturn

from objfs.base.errors import (
    AlreadyExists,
    InvalidRequest,
    NotFound,
    ObjfsError,
    Pinned,
)
from objfs.base.limits import DAY_NS, MOMENT_GAP_NS
from tests.model.past import FOREVER, Interval, Past
from tests.model.timeline import Timeline
from tests.model.world import PENDING, ROOT, Entry, Mark, Node, PassedOver, Pin, Refused, Rules

SECOND_NS = 10**9


class Keeping(Timeline):
    """What is kept of the past, and what goes."""

    def past(self) -> Past:
        """As it is now."""
        return Past(self)

    def history(self, path: str) -> list[Entry]:
        """The versions of a path, newest first."""
        return self.past().history(path)

    def paths_ever(self) -> set[str]:
        """Every path that anything but a directory ever had."""
        return set(self.past().files())

    def usage(self) -> tuple[int, int, int]:
        """Live bytes (sealed, of what has a name), past bytes, named inodes but the root."""
        world, past = self.world, self.past()
        named = set(world.tree().values()) - {ROOT}
        current = [world.nodes[number] for number in named if world.nodes[number].versions]
        live = sum(len(node.versions[-1].content) for node in current)
        every = sum(
            len(each.content)
            for node in world.nodes.values()
            for each in node.versions
            if not past.is_purged(node, each)
        )
        return live, every - live, len(named)

    def _refuse(self, *errors: type[ObjfsError]) -> NoReturn:
        raise Refused(*errors)

    # --- snapshots -------------------------------------------------------------------------------

    def take_snapshot(self, name: str, path: str) -> None:
        """Pin this moment of a path, or of everything; what is open there is sealed."""
        tree = self.world.tree()
        if name in self.world.pins:
            self._refuse(AlreadyExists)
        if path not in tree:
            self._refuse(NotFound)
        below = {
            number
            for each, number in tree.items()
            if not path or each == path or each.startswith(f"{path}/")
        }
        for number in sorted(below):
            node = self.world.nodes[number]
            if node.session is not None:
                self.seal(node)
        self.world.pins[name] = Pin(PENDING, path)

    def drop_snapshot(self, name: str) -> None:
        """Give a snapshot up."""
        if name not in self.world.pins:
            self._refuse(NotFound)
        del self.world.pins[name]

    # --- forgetting ------------------------------------------------------------------------------

    def _erase(self, marks: set[Mark]) -> None:
        for mark in marks:
            self.world.nodes[mark.number].flushed_at = None
        self.world.erased |= marks
        self.world.touched = True
        past = self.past()
        for node in {mark.number: self.world.nodes[mark.number] for mark in marks}.values():
            gone = [each.since for each in node.versions if past.is_purged(node, each, now=True)]
            node.purged |= set(gone)
            if node.named and node.state.nlink == 1 and not node.is_directory:
                (above, name), *_ = self._names(node)
                node.named = past.had_other_names(node, above, name)

    def _names(self, node: Node) -> list[tuple[int, str]]:
        return [
            (above, name)
            for above, below in self.world.names.items()
            for name, number in below.items()
            if number == node.number
        ]

    def forget_version(self, path: str, index: int) -> None:
        """Number `index` of a path's versions goes, counted from the newest."""
        past = self.past()
        history = past.history(path)
        if index >= len(history):
            raise PassedOver
        if history[index].sealed is None:
            self._refuse(InvalidRequest)
        interval = next(each for each in past.intervals(path) if each.entry == history[index])
        if interval.is_current:
            self._refuse(InvalidRequest)
        if past.is_pinned(interval):
            self._refuse(Pinned)
        self._erase({interval.mark})

    def forget(self, path: str) -> None:
        """The whole history of a path, and of all that lies below it if it was a directory."""
        past = self.past()
        inside = [
            each
            for each in past.stretches
            if not path or each.rstrip("/") == path or each.startswith(f"{path}/")
        ]
        if path and not past.exists(path):
            directories = past.stretches.get(f"{path}/", [])
            if not directories and path not in past.stretches:
                self._refuse(NotFound)
            if all(past.may_be_gone(each) for each in directories):
                raise PassedOver
        self._erase(
            {
                interval.mark
                for each in inside
                if not each.endswith("/")
                for interval in past.intervals(each)
                if not interval.is_current and not past.is_pinned(interval)
            }
        )
        past = self.past()
        for each in inside:
            for stretch in past.stretches[each]:
                if past.has_one_path(stretch.number):
                    self._thin(stretch.number, self.sequence + 1)
        if not path:
            self._thin(0, self.sequence + 1)

    def _thin(self, number: int, until: int) -> None:
        node = self.world.nodes[number]
        node.thinned = max(node.thinned, until)

    # --- rules -----------------------------------------------------------------------------------

    def set_rules(self, path: str, rules: Rules) -> None:
        """The rules of a path and what lies below."""
        self.world.rules[path] = rules

    def remove_rules(self, path: str) -> None:
        if self.world.rules.pop(path, None) is None:
            self._refuse(NotFound)

    def rules_of(self, path: str) -> Rules | None:
        """Those of the nearest path above it that has any."""
        path = path.rstrip("/")
        while path and path not in self.world.rules:
            path = path.rpartition("/")[0]
        return self.world.rules.get(path)

    def is_borderline(self, now: int) -> bool:
        """Whether it depends on less than the store can tell which entries the rules keep."""
        spans = {each.keep_for_seconds * SECOND_NS for each in self.world.rules.values()}
        spans |= {each.deleted_days * DAY_NS for each in self.world.rules.values()}
        moments = [now - span for span in spans if span]
        return any(
            abs(time - moment) <= 2 * MOMENT_GAP_NS
            for time in self.times.values()
            for moment in moments
        )

    def apply_rules(self) -> None:
        """What no rule keeps goes, and past attributes with it."""
        past = self.past()
        going: set[Mark] = set()
        for path, stretches in past.stretches.items():
            rules = self.rules_of(path)
            if rules is None or _keeps_everything(rules):
                continue
            if not path.endswith("/"):
                intervals = past.intervals(path)
                going |= {
                    each.mark
                    for each, kept in zip(intervals, self._kept(path, past, rules), strict=True)
                    if not kept and not past.is_pinned(each)
                }
            for stretch in stretches:
                self._thin(stretch.number, self._horizon(rules))
        rules = self.rules_of("")
        if rules is not None and not _keeps_everything(rules):
            self._thin(0, self._horizon(rules))
        self._erase(going)

    def _horizon(self, rules: Rules) -> int:
        """The moment that held when the time of `keep_for` began; without that, now."""
        if not rules.keep_for_seconds:
            return self.sequence
        since = self.now - rules.keep_for_seconds * SECOND_NS
        return max((at for at, time in self.times.items() if time <= since), default=0)

    def _kept(self, path: str, past: Past, rules: Rules) -> list[bool]:
        """For each entry of a path, newest first, whether a rule keeps it."""
        intervals = past.intervals(path)
        left = [each for each in past.stretches[path] if not past.is_gone(each)]
        deleted = left[-1].until if left and left[-1].until < FOREVER else None
        age = None if deleted is None else self.now - self.times[deleted]
        expired = bool(rules.deleted_days and age and age >= rules.deleted_days * DAY_NS)
        kept = [each.is_current for each in intervals]
        if expired:
            return kept
        if age is not None and rules.deleted_days and kept:
            kept[0] = True
        if rules == Rules(deleted_days=rules.deleted_days):
            return [True] * len(kept)
        horizon = self._horizon(rules)
        for place, interval in enumerate(intervals):
            if place < rules.keep_last:
                kept[place] = True
            if rules.keep_for_seconds and interval.until > horizon:
                kept[place] = True
        self._keep_periods(intervals, rules.hourly, "%Y-%m-%d %H", kept)
        self._keep_periods(intervals, rules.daily, "%Y-%m-%d", kept)
        return kept

    def _keep_periods(
        self, intervals: list[Interval], count: int, period: str, kept: list[bool]
    ) -> None:
        """The newest of each period, for the last `count` of them; the oldest, if some are left."""
        newest: dict[str, int] = {}
        for place, interval in enumerate(intervals):
            time = self.times[interval.sequence] // SECOND_NS
            name = datetime.datetime.fromtimestamp(time, datetime.UTC).strftime(period)
            newest.setdefault(name, place)
        for place in list(newest.values())[:count]:
            kept[place] = True
        if len(newest) < count and intervals:
            kept[-1] = True

    # --- what nobody sees ------------------------------------------------------------------------

    def scrub(self) -> None:
        """Nothing that anybody sees."""

    def check(self) -> None:
        """Nothing that anybody sees."""


def _keeps_everything(rules: Rules) -> bool:
    return rules == Rules()
