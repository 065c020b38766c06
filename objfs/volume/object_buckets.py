"""Deleting a bucket as S3 does: only when no key shows an entry, and then with all that it hides.

What S3 does not show any more (null entries below others, deleted ones of a bucket without
versioning) is history for the mount and for nobody else; it goes with the bucket.
"""

from collections.abc import Awaitable, Callable

import trio

from objfs.base.errors import BucketNotEmpty
from objfs.meta.rows import Bucket
from objfs.meta.tables import DENTRY, MARKER
from objfs.volume.buckets import Buckets
from objfs.volume.core import Core
from objfs.volume.erasing import ErasedReport
from objfs.volume.object_entries import shown_entries
from objfs.volume.object_reading import ObjectReading
from objfs.volume.paths_ever import paths_ever
from objfs.volume.showing import OWN_ENTRY


class ObjectBuckets:
    """The verb `delete_bucket`."""

    def __init__(
        self,
        core: Core,
        reading: ObjectReading,
        buckets: Buckets,
        forget: Callable[[str, bytes], Awaitable[ErasedReport]],
    ) -> None:
        self._core = core
        self._database = core.database
        self._reading = reading
        self._buckets = buckets
        self._forget = forget

    async def delete_bucket(self, bucket: str) -> None:
        """Remove a bucket that shows nothing; durable when it returns. NoSuchBucket,
        BucketNotEmpty, Pinned."""
        row = self._reading.bucket(bucket)
        if await self._shows_anything(row):
            raise BucketNotEmpty(f"bucket {bucket!r} has objects, versions or delete markers")
        self._buckets.check_deletable(bucket, force=True)
        await self._forget(bucket, b"")
        self._buckets.delete_bucket(bucket, force=True)
        self._core.invalidate_past()
        await self._core.log.sync()

    async def _shows_anything(self, bucket: Bucket) -> bool:
        scan = self._database.scan
        if any(row.key for row in scan(DENTRY, (bucket.root,), limit=2)):
            return True
        if bucket.versioning == "off" and len(bucket.null_spans) == 1:
            return False  # it never kept versions: what is deleted is not shown
        key: bytes | None = b""
        while key is not None:
            rows = scan(MARKER, (bucket.id,), lower=key + b"\0", limit=1)
            key = rows[0].key if rows else None
            if key is not None and shown_entries(self._database, bucket, key):
                return True
            await trio.lowlevel.checkpoint()
        for place in paths_ever(self._database, bucket, b"", lambda key: False):
            if place is not None and shown_entries(
                self._database, bucket, place.key.removesuffix(OWN_ENTRY)
            ):
                return True
            await trio.lowlevel.checkpoint()
        return False
