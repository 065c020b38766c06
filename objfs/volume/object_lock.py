"""Object lock, as functions over values: what retention and legal hold of a version allow.

A version under a legal hold, or under retention that has not run out, is not erased by anybody: not
by S3, nor by `objfs forget`, retention rules or lifecycle. Retention in GOVERNANCE mode gives way
to who may and wants to bypass it; in COMPLIANCE mode it only ever becomes longer.
"""

from typing import NamedTuple

import msgspec

from objfs.base.errors import InvalidRequest, Locked
from objfs.base.limits import DAY_NS, RETENTION_DAYS_MAX
from objfs.meta.rows import Bucket, Version
from objfs.volume.object_types import LockRetention

GOVERNANCE = "GOVERNANCE"
COMPLIANCE = "COMPLIANCE"
LOCK_RULE = "lock-rule"  # the name of the rule among a bucket's documents
_DECODER = msgspec.msgpack.Decoder(LockRetention)


class LockRule(NamedTuple):
    """What a bucket gives to versions that nobody says more of."""

    mode: str
    days: int

    def at(self, now_ns: int) -> LockRetention:
        """The retention of a version made now."""
        return LockRetention(self.mode, now_ns + self.days * DAY_NS)


_RULE_DECODER = msgspec.msgpack.Decoder(LockRule)


def encode_rule(rule: LockRule) -> bytes:
    """The form that a bucket's row has. InvalidRequest."""
    if rule.mode not in (GOVERNANCE, COMPLIANCE) or not 0 < rule.days <= RETENTION_DAYS_MAX:
        raise InvalidRequest(f"a default retention has a mode and 1 to {RETENTION_DAYS_MAX} days")
    return msgspec.msgpack.encode(rule)


def lock_rule(bucket: Bucket) -> LockRule | None:
    """The rule of a bucket, if it has one."""
    value = bucket.policy.get(LOCK_RULE)
    return None if value is None else _RULE_DECODER.decode(value)


def encode_retention(retention: LockRetention | None) -> bytes | None:
    """The form that a version's row has: the pair in MessagePack. InvalidRequest."""
    if retention is None:
        return None
    if retention.mode not in (GOVERNANCE, COMPLIANCE):
        raise InvalidRequest(f"a retention's mode is {GOVERNANCE} or {COMPLIANCE}")
    return msgspec.msgpack.encode(retention)


def decode_retention(value: bytes | None) -> LockRetention | None:
    """The inverse."""
    return None if value is None else _DECODER.decode(value)


def locked_until(version: Version, now_ns: int, *, bypass_governance: bool = False) -> int | None:
    """Until when a version may not be erased; None: it may be now. A hold has no end: the largest
    64-bit number."""
    if version.hold:
        return (1 << 63) - 1
    retention = decode_retention(version.retention)
    if retention is None or retention.until_ns <= now_ns:
        return None
    if bypass_governance and retention.mode == GOVERNANCE:
        return None
    return retention.until_ns


def check_retention_change(
    old: LockRetention | None,
    new: LockRetention | None,
    now_ns: int,
    *,
    bypass_governance: bool = False,
) -> None:
    """Whether a version's retention may become another one (None: none). Locked, InvalidRequest for
    one that is over already."""
    if new is not None and new.until_ns <= now_ns:
        raise InvalidRequest("the end of a retention lies in the future")
    if old is None or old.until_ns <= now_ns:
        return
    longer = new is not None and new.until_ns >= old.until_ns
    if longer and new is not None and new.mode in (old.mode, COMPLIANCE):
        return
    if old.mode == COMPLIANCE:
        raise Locked("retention in COMPLIANCE mode can only become longer")
    if not bypass_governance:
        raise Locked("retention in GOVERNANCE mode is shortened only by who bypasses it")
