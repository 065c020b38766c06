"""The rules of retention: where they are kept, and which of them a path has.

Rules belong to the whole store (bucket 0), to a bucket (prefix b""), or to a path of it and all
that lies below. Those with the longest prefix count, alone: rules of a prefix do not add to those
of its bucket. Where there are none, everything is kept. What they mean is in
`objfs/volume/retention_policy.py`.
"""

from msgspec.structs import replace

from objfs.base.errors import InvalidRequest, NotFound
from objfs.base.limits import (
    NAME_BYTES_MAX,
    PATH_BYTES_MAX,
    RETENTION_COUNT_MAX,
    RETENTION_SECONDS_MAX,
)
from objfs.meta.rows import Bucket, Retention
from objfs.meta.tables import BUCKET, RETENTION
from objfs.volume.core import Core
from objfs.volume.retention_policy import PERIODS, has_rule

COUNTS = ("keep_last", *PERIODS)
WHOLE_STORE = 0


class RetentionRules:
    """The verbs of rules."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._database = core.database

    def set(self, bucket: str | None, prefix: bytes, rules: Retention) -> Retention:
        """Give rules to a path and what lies below it, in the place of those it has. `bucket` None:
        the whole store. Of `rules`, bucket and prefix do not count. InvalidRequest, NotFound."""
        rules = checked(rules)
        with self._core.change() as change:
            row = replace(
                rules,
                bucket=self._bucket_id(bucket),
                prefix=checked_prefix(bucket, prefix),
                set_ns=change.time_ns,
            )
            change.put(row)
        return row

    def remove(self, bucket: str | None, prefix: bytes) -> None:
        """Take rules away. NotFound if there are none."""
        key = (self._bucket_id(bucket), checked_prefix(bucket, prefix))
        with self._core.change() as change:
            if change.get(RETENTION, *key) is None:
                raise NotFound("there are no rules of its own: `objfs retention show` lists them")
            change.delete(RETENTION, *key)

    def rules(self) -> list[tuple[str | None, Retention]]:
        """All rules with the name of their bucket, None for the whole store."""
        found: list[tuple[str | None, Retention]] = []
        for row in self._database.scan(RETENTION):
            bucket = self._database.get(BUCKET, row.bucket)
            if bucket is not None or row.bucket == WHOLE_STORE:
                found.append((bucket.name if bucket else None, row))
        return found

    def of_path(self, bucket: int, key: bytes) -> Retention | None:
        """The rules that count for a path (its key in a bucket, a directory's with a slash at its
        end). None: everything is kept."""
        path = key.rstrip(b"/")
        while True:
            row = self._database.get(RETENTION, bucket, path)
            if row is not None:
                return row
            if not path:
                return self._database.get(RETENTION, WHOLE_STORE, b"")
            path = path.rpartition(b"/")[0]

    def any(self) -> bool:
        """Whether there are rules at all."""
        return bool(self._database.scan(RETENTION, limit=1))

    def _bucket_id(self, name: str | None) -> int:
        if name is None:
            return WHOLE_STORE
        rows: list[Bucket] = self._database.scan(BUCKET, (name,), index="name", limit=1)
        if not rows:
            raise NotFound(f"there is no bucket {name!r}: `objfs bucket list` shows them")
        return rows[0].id


def checked(rules: Retention) -> Retention:
    """InvalidRequest for rules that make no sense. A limit for deleted paths alone keeps the
    rest."""
    for name in COUNTS:
        count = getattr(rules, name)
        if not 0 <= count <= RETENTION_COUNT_MAX:
            shown = "--" + name.replace("_", "-")
            raise InvalidRequest(
                f"{shown} is a number from 1 to {RETENTION_COUNT_MAX}, not {count}"
            )
    if not 0 <= rules.keep_for_seconds <= RETENTION_SECONDS_MAX:
        years = RETENTION_SECONDS_MAX // (366 * 86400)
        raise InvalidRequest(f"--keep-for is a time of at most {years} years")
    if not 0 <= rules.deleted_days <= RETENTION_SECONDS_MAX // 86400:
        raise InvalidRequest(f"--deleted-days is at least 1, not {rules.deleted_days}")
    others = rules.keep_for_seconds or any(getattr(rules, name) for name in COUNTS)
    if rules.keep_all and others:
        raise InvalidRequest("--keep-all keeps everything: give it, or the other rules")
    if not has_rule(rules):
        if not rules.deleted_days:
            raise InvalidRequest(
                "these rules would keep nothing but what is there now: give at least one, "
                "--keep-for 30d say"
            )
        rules = replace(rules, keep_all=True)
    return rules


def checked_prefix(bucket: str | None, prefix: bytes) -> bytes:
    """A prefix in the form that rows have. InvalidRequest."""
    prefix = prefix.strip(b"/")
    if prefix and bucket is None:
        raise InvalidRequest("rules for a path need its bucket")
    parts = prefix.split(b"/") if prefix else []
    if len(prefix) > PATH_BYTES_MAX or any(
        part in (b"", b".", b"..") or len(part) > NAME_BYTES_MAX or b"\0" in part for part in parts
    ):
        raise InvalidRequest(f"{prefix[:60]!r} cannot be a path in a bucket")
    return prefix
