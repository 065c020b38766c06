"""Buckets: trees of their own, each with a root directory and rules."""

import stat

from msgspec.structs import replace

from objfs.base import limits
from objfs.base.errors import (
    BucketExists,
    BucketNotEmpty,
    DirectoryNotEmpty,
    InvalidRequest,
    NoSuchBucket,
    Pinned,
)
from objfs.meta.rows import Bucket, Dentry, Usage, new_inode
from objfs.meta.tables import BUCKET, DENTRY, DENTRY_PAST, INODE, MARKER, RETENTION, USAGE
from objfs.volume.bucket_names import check_bucket_name
from objfs.volume.core import Core
from objfs.volume.history import History
from objfs.volume.object_lock import LOCK_RULE, LockRule, encode_rule, lock_rule

__all__ = ["Bucket", "Buckets"]

_VERSIONING = ("on", "suspended", "off")


class Buckets:
    """The verbs of buckets."""

    def __init__(self, core: Core, history: History) -> None:
        self._core = core
        self._database = core.database
        self._history = history

    def buckets(self) -> list[Bucket]:
        """All buckets, by name."""
        return self._database.scan(BUCKET, index="name")

    def bucket(self, name: str) -> Bucket:
        """One bucket. NotFound."""
        for row in self._database.scan(BUCKET, (name,), index="name", limit=1):
            return row
        raise NoSuchBucket(f"there is no bucket {name!r}: `objfs bucket list` shows them")

    def usage(self, name: str) -> Usage:
        """What a bucket holds. NotFound."""
        bucket = self.bucket(name)
        return self._database.get(USAGE, bucket.id) or Usage(bucket.id)

    def root(self, bucket: str, prefix: bytes = b"") -> int:
        """The inode of a bucket's root, or of the directory at `prefix`. NotFound,
        NotADirectory."""
        return self._history.directory_at(bucket, prefix)

    def create_bucket(
        self,
        name: str,
        *,
        owner: str = "",
        versioning: str = "on",
        lock: bool = False,
        quota_bytes: int = 0,
        uid: int = 0,
        gid: int = 0,
        mode: int = 0o755,
        documents: dict[str, bytes] | None = None,
    ) -> Bucket:
        """Make a bucket with an empty root directory; with object lock (`lock`) it keeps versions
        for good. `documents` as `set_document` keeps them. BucketExists, InvalidRequest."""
        check_bucket_name(name)
        _check_versioning(versioning, lock)
        with self._core.change() as change:
            for there in change.scan(BUCKET, (name,), index="name", limit=1):
                raise BucketExists(f"bucket {name!r} exists", there.owner)
            now = change.time_ns
            bucket = Bucket(
                change.new_id(),
                name,
                change.new_id(),
                now,
                owner,
                versioning,
                lock=lock,
                quota_bytes=quota_bytes,
                policy=documents or {},
                null_spans=[change.sequence] if versioning != "on" else [],
                off_spans=[change.sequence] if versioning == "off" else [],
            )
            root = new_inode(
                bucket.root,
                bucket.id,
                stat.S_IFDIR | mode,
                now,
                change.sequence,
                uid=uid,
                gid=gid,
                nlink=2,
            )
            change.put(bucket)
            change.put(root)
            change.put(Usage(bucket.id))
            change.put(Dentry(root.ino, b"", root.ino, change.sequence, change.new_id()))
        self._remember(bucket)
        return bucket

    def _remember(self, bucket: Bucket) -> None:
        if bucket.lock:
            self._core.locks[bucket.id] = lock_rule(bucket)
        if bucket.quota_bytes:
            self._core.quotas[bucket.id] = bucket.quota_bytes
        else:
            self._core.quotas.pop(bucket.id, None)

    def set_bucket(
        self,
        name: str,
        *,
        versioning: str | None = None,
        quota_bytes: int | None = None,
        lock: bool = False,
    ) -> Bucket:
        """Change a bucket's rules. `lock` True turns object lock on, and it stays. NoSuchBucket,
        InvalidRequest."""
        with self._core.change() as change:
            bucket = self.bucket(name)
            _check_versioning(versioning or bucket.versioning, lock or bucket.lock)
            bucket = replace(bucket, lock=lock or bucket.lock)
            if versioning is not None:
                bucket = _versioned(bucket, versioning, change.sequence)
            if quota_bytes is not None:
                bucket = replace(bucket, quota_bytes=quota_bytes)
            change.put(bucket)
        self._remember(bucket)
        return bucket

    # --- documents -----------------------------------------------------------------------------

    def document(self, bucket: str, name: str) -> bytes | None:
        """A configuration document of S3 ("policy", "cors", "tagging" ...), None if there is none.
        NoSuchBucket."""
        return self.bucket(bucket).policy.get(name)

    def set_document(self, bucket: str, name: str, value: bytes | None) -> None:
        """Give a bucket a document, or take it away. NoSuchBucket."""
        with self._core.change() as change:
            row = self.bucket(bucket)
            documents = {each: text for each, text in row.policy.items() if each != name}
            row = replace(row, policy=documents if value is None else documents | {name: value})
            change.put(row)
        self._remember(row)

    def set_lock_rule(self, bucket: str, rule: LockRule | None) -> None:
        """What object lock gives to versions that nobody says more of. NoSuchBucket,
        InvalidRequest."""
        if not self.bucket(bucket).lock:
            raise InvalidRequest(f"bucket {bucket!r} has no object lock")
        self.set_document(bucket, LOCK_RULE, None if rule is None else encode_rule(rule))

    def set_lock(self, bucket: str) -> None:
        """Give object lock to a bucket that keeps versions, for good. NoSuchBucket,
        InvalidRequest."""
        with self._core.change() as change:
            row = replace(self.bucket(bucket), lock=True)
            _check_versioning(row.versioning, row.lock)
            change.put(row)
        self._remember(row)

    def check_deletable(self, name: str, *, force: bool = False) -> None:
        """Raises what `delete_bucket` would."""
        bucket, scan = self.bucket(name), self._database.scan
        if any(row.key for row in scan(DENTRY, (bucket.root,), limit=2)):
            raise DirectoryNotEmpty(f"bucket {name!r} has files: delete them first")
        if not force and scan(DENTRY_PAST, (bucket.root,), limit=1):
            raise DirectoryNotEmpty(
                f"bucket {name!r} keeps the history of deleted files: "
                "`objfs bucket delete --force` gives it up"
            )
        if bucket.lock and scan(DENTRY_PAST, (bucket.root,), limit=1):
            raise BucketNotEmpty(f"bucket {name!r} has object lock, which keeps what is in it")
        if self._core.pins.of_bucket(bucket.id):
            raise Pinned(
                f"bucket {name!r} is in a snapshot: `objfs snapshot list` shows them, "
                "`objfs snapshot delete` gives one up"
            )

    def delete_bucket(self, name: str, *, force: bool = False) -> None:
        """Remove a bucket without files. DirectoryNotEmpty if it has any; or has a history, unless
        `force` gives that up: forget it first, or it takes space for ever. Pinned if a snapshot
        shows it."""
        self.check_deletable(name, force=force)
        remove_markers(self._core, self.bucket(name).id)
        with self._core.change() as change:
            bucket = self.bucket(name)
            own = change.scan(DENTRY, (bucket.root,), limit=2)
            for row in own:
                change.delete(DENTRY, row.parent, row.key)
            for rules in change.scan(RETENTION, (bucket.id,), limit=limits.ROWS_PER_BATCH_MAX):
                change.delete(RETENTION, rules.bucket, rules.prefix)
            change.delete(INODE, bucket.root)
            change.delete(USAGE, bucket.id)
            change.delete(BUCKET, bucket.id)
        self._core.uploads_ended()
        self._core.quotas.pop(bucket.id, None)
        self._core.locks.pop(bucket.id, None)


def remove_markers(
    core: Core, bucket: int, lower: bytes | None = None, upper: bytes | None = None
) -> None:
    """Remove the stored delete markers of keys in [lower, upper), in batches."""

    def batch() -> bool:
        with core.change() as change:
            rows = change.scan(
                MARKER, (bucket,), lower=lower, upper=upper, limit=limits.ROWS_PER_BATCH_MAX
            )
            for row in rows:
                change.delete(MARKER, row.bucket, row.key, row.at)
        return len(rows) < limits.ROWS_PER_BATCH_MAX

    while not core.freeing(batch):
        pass


def _versioned(bucket: Bucket, state: str, sequence: int) -> Bucket:
    """The bucket with another state of versioning. InvalidRequest after too many changes of it."""

    def toggled(spans: list[int], before: bool, after: bool) -> list[int]:
        if before and not spans:
            spans = [0]  # it was so from the first
        return [*spans, sequence] if before != after else spans

    null_spans = toggled(bucket.null_spans, bucket.versioning != "on", state != "on")
    off_spans = toggled(bucket.off_spans, bucket.versioning == "off", state == "off")
    if len(null_spans) > limits.VERSIONING_CHANGES_MAX:
        raise InvalidRequest("the versioning of a bucket cannot be changed that often")
    return replace(bucket, versioning=state, null_spans=null_spans, off_spans=off_spans)


def _check_versioning(value: str, lock: bool) -> None:
    if value not in _VERSIONING:
        raise InvalidRequest(f"versioning is one of {', '.join(_VERSIONING)}, not {value!r}")
    if lock and value != "on":
        raise InvalidRequest("a bucket with object lock keeps versions: its versioning is on")
