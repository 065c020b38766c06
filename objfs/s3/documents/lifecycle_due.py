"""What lifecycle rules decide: when an entry or an upload is due. Functions over values.

S3's rule of time: an action is due some days after its entry came to be, at the next midnight UTC
("Lifecycle rules based on an object's age"). How long a day is, is passed in, because tests of
whole systems shorten it; days then begin at multiples of that length.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from objfs.base.limits import DAY_NS
from objfs.s3.dates import http_date
from objfs.s3.documents.lifecycle import Filter, LifecycleConfiguration, Rule


class Entry(NamedTuple):
    """One entry of a key, as far as rules look at it. `noncurrent_since_ns` is when a newer entry
    came (None: it is the latest); `newer_noncurrent` counts the noncurrent ones that are newer;
    `alone` says that the key has no other entry."""

    key: str
    time_ns: int
    size: int = 0
    tags: Mapping[str, str] = MappingProxyType({})
    delete_marker: bool = False
    noncurrent_since_ns: int | None = None
    newer_noncurrent: int = 0
    alone: bool = False


class Due(NamedTuple):
    """Since when a rule wants an entry gone, and which rule."""

    time_ns: int
    rule: str


def _after(start_ns: int, days: int, day_ns: int) -> int:
    """The first beginning of a day not before `days` after `start_ns`."""
    return -(-(start_ns + days * day_ns) // day_ns) * day_ns


def _matches(of: Filter, entry: Entry) -> bool:
    return (
        entry.key.startswith(of.prefix)
        and all(entry.tags.get(key) == value for key, value in of.tags.items())
        and (of.larger_than is None or entry.size > of.larger_than)
        and (of.smaller_than is None or entry.size < of.smaller_than)
    )


def _earliest(found: Iterable[Due | None]) -> Due | None:
    return min((each for each in found if each is not None), default=None)


def due(configuration: LifecycleConfiguration, entry: Entry, *, day_ns: int = DAY_NS) -> Due | None:
    """From when on an entry is due to go, None if no rule is about it: the latest gets a delete
    marker (or is erased where there are no versions), a noncurrent one is erased, and so is a
    delete marker with nothing below it."""
    return _earliest(
        _due_by(rule, entry, day_ns)
        for rule in configuration.rules
        if rule.enabled and _matches(rule.filter, entry)
    )


def _due_by(rule: Rule, entry: Entry, day_ns: int) -> Due | None:
    if entry.noncurrent_since_ns is not None:
        if rule.noncurrent_days is None or entry.newer_noncurrent < rule.newer_noncurrent:
            return None
        return Due(_after(entry.noncurrent_since_ns, rule.noncurrent_days, day_ns), rule.id)
    if entry.delete_marker:
        if not entry.alone:
            return None
        if rule.expired_marker:
            return Due(entry.time_ns, rule.id)
    if rule.days is not None:
        return Due(_after(entry.time_ns, rule.days, day_ns), rule.id)
    return None if rule.date_ns is None else Due(rule.date_ns, rule.id)


def upload_due(
    configuration: LifecycleConfiguration, key: str, started_ns: int, *, day_ns: int = DAY_NS
) -> Due | None:
    """From when on an unfinished upload is to be aborted."""
    return _earliest(
        Due(_after(started_ns, rule.abort_days, day_ns), rule.id)
        for rule in configuration.rules
        if rule.enabled and rule.abort_days is not None and key.startswith(rule.filter.prefix)
    )


def expiration_header(found: Due) -> str:
    """The value of `x-amz-expiration`."""
    rule = found.rule.replace("\\", "\\\\").replace('"', '\\"')
    return f'expiry-date="{http_date(found.time_ns)}", rule-id="{rule}"'
