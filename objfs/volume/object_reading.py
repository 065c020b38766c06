"""What S3 reads of objects: HEAD of a key or of one version, and the bytes of what it told of.

All but the bytes is synchronous, and so one state. Who was told of a version may come back for it:
the open session that made it replaces it no longer.
"""

import msgspec
from cachetools import LRUCache

from objfs.base.errors import (
    EncryptedForS3Only,
    IsDeleteMarker,
    NoSuchBucket,
    NoSuchKey,
    NoSuchVersion,
    NotFound,
)
from objfs.base.limits import BUCKET_IDS_CACHED_MAX
from objfs.meta.rows import Bucket, Inode, Version
from objfs.meta.tables import BUCKET, INODE, VERSION, XATTR
from objfs.volume.content import Source
from objfs.volume.core import Core
from objfs.volume.history import History, version_id
from objfs.volume.moments import time_of
from objfs.volume.object_entries import Entry, current_of, shown_entries
from objfs.volume.object_keys import check_key
from objfs.volume.object_lock import decode_retention
from objfs.volume.object_metadata import metadata_of
from objfs.volume.object_types import COMPOSITE, FULL_OBJECT, NULL_VERSION, ObjectInfo
from objfs.volume.reading import Reader
from objfs.volume.showing import FOREVER
from objfs.volume.view import PastFile

EMPTY_MD5 = "d41d8cd98f00b204e9800998ecf8427e"  # of a directory's own entry
CHECKSUM_TYPE = "type"  # in a version's checksums, beside the algorithms


class ObjectReading:
    """The verbs that read."""

    def __init__(self, core: Core, history: History, reader: Reader) -> None:
        self._core = core
        self._database = core.database
        self._history = history
        self._reader = reader
        self._ids: LRUCache[str, int] = LRUCache(BUCKET_IDS_CACHED_MAX)

    def bucket(self, name: str, source: Source | None = None) -> Bucket:
        """The row of a bucket. NoSuchBucket."""
        source = source or self._database
        id = self._ids.get(name)  # a hint: rows that are found by their key are kept in memory
        row: Bucket | None = None if id is None else source.get(BUCKET, id)
        if row is not None and row.name == name:
            return row
        rows = source.scan(BUCKET, (name,), index="name", limit=1)
        if not rows:
            raise NoSuchBucket(f"there is no bucket {name!r}: `objfs bucket list` shows them")
        row = rows[0]
        self._ids[name] = row.id
        return row

    # --- one object ------------------------------------------------------------------------------

    def head(self, bucket: str, key: bytes, version_id: str | None = None) -> ObjectInfo:
        """The newest entry of a key, or one version of it. NoSuchBucket, NoSuchKey, NoSuchVersion;
        IsDeleteMarker, which says so of the newest entry or of the version asked for."""
        check_key(key)
        row = self.bucket(bucket)
        if version_id is not None:
            entry, latest = self.find(row, key, version_id)
        else:
            entry, latest = self.newest(row, key), True
        if entry.marker:
            raise IsDeleteMarker(
                "it is a delete marker" if version_id else "the object was deleted",
                name_of(entry),
                self.time_of(entry),
                latest=latest,
            )
        return self.info(row, key, entry, latest=latest)

    def newest(self, bucket: Bucket, key: bytes, source: Source | None = None) -> Entry:
        """The newest entry of a key, perhaps a marker. NoSuchKey."""
        source = source or self._database
        entry = current_of(source, bucket, key).entry
        if entry is not None:
            return entry
        for entry in shown_entries(source, bucket, key):
            return entry
        raise NoSuchKey("there is no object under this key")

    def find(
        self, bucket: Bucket, key: bytes, name: str, source: Source | None = None
    ) -> tuple[Entry, bool]:
        """The entry that S3 calls `name`, and whether it is the latest. NoSuchVersion."""
        source = source or self._database
        id = 0 if name == NULL_VERSION else sequence_or_none(name)
        current = current_of(source, bucket, key).entry
        if current is not None and id is not None and is_called(current, id):
            return current, True
        for at, entry in enumerate(shown_entries(source, bucket, key)):
            if id is not None and is_called(entry, id):
                return entry, at == 0
        raise NoSuchVersion(f"the object has no version {name}")

    def versions(self, bucket: str, key: bytes) -> list[ObjectInfo]:
        """All entries that S3 shows of a key, the latest first. NoSuchBucket."""
        row = self.bucket(bucket)
        entries = shown_entries(self._database, row, key)
        return [self.info(row, key, each, latest=at == 0) for at, each in enumerate(entries)]

    # --- what an entry says ----------------------------------------------------------------------

    def time_of(self, entry: Entry) -> int:
        """LastModified: when the path began to show it, or when it was sealed."""
        version = entry.version
        if version is None:
            return time_of(self._database, entry.sequence)
        if version.sealed == entry.sequence or entry.id != entry.sequence:
            return version.time_ns
        return max(version.time_ns, time_of(self._database, entry.sequence))

    def info(self, bucket: Bucket, key: bytes, entry: Entry, *, latest: bool) -> ObjectInfo:
        """All that is known of an entry."""
        version = entry.version
        if entry.marker or entry.stretch is None:
            return self._bare(bucket, key, entry, latest, marker=True, owner=entry.owner)
        ino = entry.stretch.ino
        self._core.expose(ino)
        inode, xattrs = self.attributes(ino, entry)
        metadata, missing = metadata_of(inode, xattrs) if inode is not None else ({}, 0)
        if version is None:
            info = self._bare(bucket, key, entry, latest, marker=False)
            return _with(info, etag=EMPTY_MD5, ino=ino, metadata=metadata, missing=missing)
        checksums = dict(version.checksums or {})
        composite = checksums.pop(CHECKSUM_TYPE, b"") == COMPOSITE.encode()
        return ObjectInfo(
            bucket=bucket.name,
            key=key,
            version_id=name_of(entry),
            sequence=entry.sequence,
            time_ns=self.time_of(entry),
            size=version.size,
            etag=version.etag,
            latest=latest,
            ino=ino,
            sealed=version.sealed,
            metadata=metadata,
            missing_metadata=missing,
            headers=version.headers or {},
            checksums=checksums,
            checksum_type=COMPOSITE if composite else FULL_OBJECT,
            parts=version.parts,
            tags=version.tags or {},
            acl=version.acl,
            retention=decode_retention(version.retention),
            hold=version.hold,
            encryption=version.encryption,
            owner=version.owner,
        )

    def light(self, bucket: Bucket, key: bytes, entry: Entry, *, latest: bool = True) -> ObjectInfo:
        """What a listing tells of an entry: nothing that needs its inode."""
        version = entry.version
        if version is None or entry.stretch is None:
            info = self._bare(bucket, key, entry, latest, marker=entry.marker, owner=entry.owner)
            return info if entry.marker else _with(info, etag=EMPTY_MD5)
        self._core.expose(entry.stretch.ino)
        return ObjectInfo(
            bucket=bucket.name,
            key=key,
            version_id=name_of(entry),
            sequence=entry.sequence,
            time_ns=self.time_of(entry),
            size=version.size,
            etag=version.etag,
            latest=latest,
            ino=entry.stretch.ino,
            sealed=version.sealed,
            headers=version.headers or {},
            checksums=version.checksums or {},
            parts=version.parts,
            tags=version.tags or {},
            owner=version.owner,
        )

    def _bare(
        self,
        bucket: Bucket,
        key: bytes,
        entry: Entry,
        latest: bool,
        *,
        marker: bool,
        owner: str | None = None,
    ) -> ObjectInfo:
        return ObjectInfo(
            bucket=bucket.name,
            key=key,
            version_id=name_of(entry),
            sequence=entry.sequence,
            time_ns=self.time_of(entry),
            delete_marker=marker,
            latest=latest,
            owner=owner,
        )

    def attributes(self, ino: int, entry: Entry) -> tuple[Inode | None, dict[bytes, bytes]]:
        """The attributes that a version has, or had last."""
        database = self._database
        if entry.until == FOREVER:
            row = database.get(INODE, ino)
            if row is None or not row.has_xattrs:
                return row, {}
            return row, {each.name: each.value for each in database.scan(XATTR, (ino,))}
        view = self._history.at(entry.until - 1)
        try:
            return view.getattr(ino), view.xattrs(ino)
        except NotFound:
            return None, {}

    # --- bytes -----------------------------------------------------------------------------------

    def open(self, info: ObjectInfo) -> PastFile:
        """The bytes of an object that `head` told of. NoSuchVersion when it was erased meanwhile,
        EncryptedForS3Only."""
        if not info.sealed:
            return PastFile(self._core, self._reader, None)
        version: Version | None = self._database.get(VERSION, info.ino, info.sealed)
        if version is None:
            raise NoSuchVersion(f"version {info.version_id} was erased meanwhile")
        if version.encryption is not None:
            raise EncryptedForS3Only("the object is encrypted: its key is needed")
        self._core.expose(info.ino)
        return PastFile(self._core, self._reader, version)


def _with(info: ObjectInfo, **fields: object) -> ObjectInfo:
    if "missing" in fields:
        fields["missing_metadata"] = fields.pop("missing")
    changed: ObjectInfo = msgspec.structs.replace(info, **fields)
    return changed


def name_of(entry: Entry) -> str:
    """What S3 calls an entry."""
    return NULL_VERSION if entry.null else version_id(entry.id)


def sequence_or_none(name: str) -> int | None:
    """The sequence that a version id names; None for what is no id."""
    try:
        sequence = int(name, 16)
    except ValueError:
        return None
    return sequence if 0 < sequence < FOREVER and version_id(sequence) == name else None


def is_called(entry: Entry, id: int) -> bool:
    """Whether an entry is the one with this id; 0: the null one."""
    return entry.null if id == 0 else entry.id == id and not entry.null
