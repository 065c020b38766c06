"""Lifecycle rules of a bucket: what they are, where they are kept, and when an entry of a key or an
upload is due by them. Functions over values.

S3's rule of time: an action is due some days after its entry came to be, at the next midnight UTC
("Lifecycle rules based on an object's age"). How long a day is, is passed in, because tests of
whole systems shorten it; days then begin at multiples of that length.

Keys are text here, as in the rules: bytes that are no UTF-8 as `key_text` has them. The XML is in
`objfs/s3/documents/lifecycle.py`; who acts by the rules is `objfs/maint/lifecycle.py`.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from objfs.base.limits import DAY_NS
from objfs.meta.rows import Bucket

LIFECYCLE = "lifecycle"  # the name of the rules among a bucket's documents


class Filter(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a rule is about: all of these hold. Sizes in bytes, both exclusive."""

    prefix: str = ""
    tags: dict[str, str] = msgspec.field(default_factory=dict)
    larger_than: int | None = None
    smaller_than: int | None = None


class Rule(msgspec.Struct, frozen=True, omit_defaults=True):
    """One rule. `days`, `date_ns` and `expired_marker` are the three forms of Expiration."""

    id: str
    enabled: bool
    filter: Filter
    days: int | None = None
    date_ns: int | None = None
    expired_marker: bool = False
    noncurrent_days: int | None = None
    newer_noncurrent: int = 0
    abort_days: int | None = None
    old_form: bool = False  # Prefix stands outside of Filter


class LifecycleConfiguration(msgspec.Struct, frozen=True, omit_defaults=True):
    """The rules of a bucket. Stored as JSON; fields are only added, with a default."""

    rules: tuple[Rule, ...]


_DECODER = msgspec.json.Decoder(LifecycleConfiguration)


def lifecycle_of(bucket: Bucket) -> LifecycleConfiguration | None:
    """The rules of a bucket that count; None if there are none."""
    stored = bucket.policy.get(LIFECYCLE)
    if stored is None:
        return None
    enabled = tuple(rule for rule in _DECODER.decode(stored).rules if rule.enabled)
    return LifecycleConfiguration(enabled) if enabled else None


def prefixes_of(configuration: LifecycleConfiguration) -> list[str]:
    """Where the keys are that rules are about: none of these begins with another, in order."""
    found: list[str] = []
    for prefix in sorted({rule.filter.prefix for rule in configuration.rules if rule.enabled}):
        if not found or not prefix.startswith(found[-1]):
            found.append(prefix)
    return found


def key_text(key: bytes) -> str:
    """A key as rules see it."""
    return key.decode("utf-8", "surrogateescape")


class Entry(NamedTuple):
    """One entry of a key, as far as rules look at it. `noncurrent_since_ns` is when a newer entry
    came (None: it is the latest); `newer_noncurrent` counts the noncurrent versions that are newer;
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
