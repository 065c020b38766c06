"""Commands about retention: rules, and what they do."""

from typing import Any

from msgspec.structs import asdict

from objfs.base.errors import InvalidRequest
from objfs.maint.jobs import scheduler_of
from objfs.maint.retention import RetentionPass
from objfs.meta.rows import Retention
from objfs.volume.retention import COUNTS
from objfs.volume.volume import Volume

RULES = ("keep_all", "keep_for_seconds", *COUNTS, "deleted_days")


def rules_form(rules: Retention) -> dict[str, Any]:
    """The rules that are set, by name."""
    return {name: value for name, value in asdict(rules).items() if name in RULES and value}


def _target_form(bucket: str | None, prefix: bytes) -> dict[str, object]:
    return {"bucket": bucket, "prefix": prefix.decode(errors="surrogateescape")}


async def retention_set(
    volume: Volume, bucket: str | None, prefix: bytes, rules: dict[str, Any]
) -> dict[str, object]:
    """Gives rules to a prefix of a bucket; `bucket` None: to all that have none of their own."""
    unknown = set(rules) - set(RULES)
    if unknown:
        raise InvalidRequest(f"there is no retention rule {sorted(unknown)[0]!r}")
    row = volume.retention.set(bucket, prefix, Retention(0, b"", **rules))
    return _target_form(bucket, row.prefix) | {"rules": rules_form(row)}


async def retention_remove(volume: Volume, bucket: str | None, prefix: bytes) -> dict[str, object]:
    """Takes the rules of a prefix away: what counts above it counts there again."""
    volume.retention.remove(bucket, prefix)
    return {"removed": True}


async def retention_show(volume: Volume) -> dict[str, object]:
    """All rules."""
    found = [
        _target_form(bucket, row.prefix) | {"rules": rules_form(row)}
        for bucket, row in volume.retention.rules()
    ]
    return {"retention": found}


async def retention_apply(volume: Volume, dry_run: bool = False) -> dict[str, object]:
    """Erases what no rule keeps; `dry_run` only counts it. Sizes in bytes."""
    scheduler, started_ns = scheduler_of(volume), volume.core.clock.now_ns()
    async with scheduler.by_hand("retention"):
        applied = asdict(await RetentionPass(volume, dry=dry_run).run())
        if not dry_run:
            scheduler.keep("retention", started_ns, applied)
    return applied | {"dry_run": dry_run}
