"""Amending: what S3 may change of a version that is there: tags, ACL, retention, legal hold.

The bytes and all else of a version never change. A version that came back under its name
(`object_deleting.py`) is one entry with several rows: all of them are amended.
"""

from typing import Any, Literal

from msgspec.structs import replace

from objfs.base.errors import InvalidRequest, IsDeleteMarker, NoSuchVersion, NotSupported
from objfs.meta.database import Change
from objfs.meta.rows import Bucket, Version
from objfs.volume.core import Core
from objfs.volume.object_entries import Entry, all_entries, shown_entries
from objfs.volume.object_keys import check_key
from objfs.volume.object_lock import check_retention_change, decode_retention, encode_retention
from objfs.volume.object_reading import ObjectReading, is_called, name_of, sequence_or_none
from objfs.volume.object_types import NULL_VERSION, LockRetention, ObjectInfo

Keep = Literal["keep"]
KEEP: Keep = "keep"


class ObjectAmending:
    """The verb `amend`."""

    def __init__(self, core: Core, reading: ObjectReading) -> None:
        self._core = core
        self._reading = reading

    async def amend(
        self,
        bucket: str,
        key: bytes,
        version_id: str | None = None,
        *,
        tags: dict[str, str] | Keep = KEEP,
        acl: bytes | Keep | None = KEEP,
        retention: LockRetention | Keep | None = KEEP,
        hold: bool | Keep = KEEP,
        bypass_governance: bool = False,
        sync: bool = True,
    ) -> ObjectInfo:
        """Change what is given, of the newest entry or of one version. NoSuchBucket, NoSuchKey,
        NoSuchVersion, IsDeleteMarker, Locked, InvalidRequest (a lock without object lock),
        NotSupported for a directory that the mount made."""
        check_key(key)
        core = self._core

        def amended(change: Change, bucket: Bucket, version: Version) -> Version:
            fields: dict[str, Any] = {}
            if tags != KEEP:
                fields["tags"] = tags or None
            if acl != KEEP:
                fields["acl"] = acl
            if retention != KEEP or hold != KEEP:
                _check_lock(bucket)
            if retention != KEEP:
                old = decode_retention(version.retention)
                now_ns = change.time_ns
                assert not isinstance(retention, str)
                check_retention_change(old, retention, now_ns, bypass_governance=bypass_governance)
                fields["retention"] = encode_retention(retention)
            if hold != KEEP:
                fields["hold"] = hold
            return replace(version, **fields)

        with core.change() as change:
            row = self._reading.bucket(bucket, change)
            for version in self._versions(change, row, key, version_id):
                change.put(amended(change, row, version))
        if sync:
            await core.log.sync()
        return self._reading.head(bucket, key, version_id)

    def _versions(
        self, change: Change, bucket: Bucket, key: bytes, name: str | None
    ) -> list[Version]:
        """The rows of the entry."""
        entry = self._entry(change, bucket, key, name)
        if entry.marker:
            raise IsDeleteMarker("a delete marker has no attributes", name_of(entry))
        if entry.version is None:
            raise NotSupported("it is a directory of the mount: put an object over it first")
        return [
            each.version
            for each in all_entries(change, bucket, key)
            if each.id == entry.id and each.version is not None
        ]

    def _entry(self, change: Change, bucket: Bucket, key: bytes, name: str | None) -> Entry:
        if name is None:
            return self._reading.newest(bucket, key, change)
        id = 0 if name == NULL_VERSION else sequence_or_none(name)
        for entry in shown_entries(change, bucket, key):
            if id is not None and is_called(entry, id):
                return entry
        raise NoSuchVersion(f"the object has no version {name}")


def _check_lock(bucket: Bucket) -> None:
    if not bucket.lock:
        raise InvalidRequest(f"bucket {bucket.name!r} has no object lock")
