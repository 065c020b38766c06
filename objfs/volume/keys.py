"""Listing: pages of the keys of a bucket, and of all their versions.

A page is one synchronous function of a read transaction, so it shows one moment; pages are not
joined. Its cost is that of what it shows, wherever in the bucket it begins: it is sought, not
counted. Versions: what a bucket's past holds of the directories on the way is read as well.

Small pages are read where the request is; larger ones in a thread, on a connection of their own
(`objfs/meta/readers.py`), so that the mount is served meanwhile.
"""

from collections.abc import Iterable
from itertools import chain
from typing import NamedTuple

from objfs.base import limits
from objfs.base.errors import NoSuchBucket
from objfs.meta.readers import Readers
from objfs.meta.rows import Bucket, Version
from objfs.meta.tables import BUCKET, VERSION
from objfs.volume.content import Source
from objfs.volume.core import Core
from objfs.volume.history import sequence_of, version_id
from objfs.volume.key_entries import After, KeyEntry, entries, null_entry
from objfs.volume.key_names import KeysEver
from objfs.volume.key_paging import Cut, Question, common_prefix, cut_page, first_key
from objfs.volume.key_walk import KeyWalk, Met, PageSource
from objfs.volume.moments import time_of
from objfs.volume.object_entries import is_null
from objfs.volume.object_reading import CHECKSUM_TYPE, EMPTY_MD5
from objfs.volume.object_types import COMPOSITE, FULL_OBJECT, NULL_VERSION, ObjectInfo


class KeyPage(NamedTuple):
    """A page of keys. `entries` are `ObjectInfo` without metadata and locks."""

    entries: list[ObjectInfo]
    prefixes: list[bytes]
    truncated: bool
    next: bytes  # the last item: what to go on after


class VersionPage(NamedTuple):
    """A page of versions and delete markers, in the order of keys, newest first."""

    entries: list[ObjectInfo]
    prefixes: list[bytes]
    truncated: bool
    next_key: bytes
    next_version: str  # to go on within `next_key`; "" when the last item is a common prefix


class Keys:
    """The verbs of listing."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._readers = Readers(core.database, core.threads)
        self.close = self._readers.close

    async def list_keys(
        self,
        bucket: str,
        prefix: bytes = b"",
        after: bytes = b"",
        delimiter: bytes = b"",
        limit: int = limits.LIST_KEYS_MAX,
    ) -> KeyPage:
        """At most `limit` keys and common prefixes above `after`. NoSuchBucket."""
        question = Question(prefix, after, delimiter, min(limit, limits.LIST_KEYS_MAX))
        if question.limit <= limits.LIST_INLINE_KEYS_MAX:
            page = key_page(self._core.database, bucket, question)
        else:
            page = await self._readers.run(lambda engine: key_page(engine, bucket, question))
        self._expose(page.entries)
        return page

    async def list_versions(
        self,
        bucket: str,
        prefix: bytes = b"",
        key_marker: bytes = b"",
        version_marker: str = "",
        delimiter: bytes = b"",
        limit: int = limits.LIST_KEYS_MAX,
    ) -> VersionPage:
        """At most `limit` versions, delete markers and common prefixes: of keys above `key_marker`;
        with `version_marker`, first what is older than that of `key_marker` itself. NoSuchBucket,
        InvalidRequest for what is no version id."""
        question = Question(prefix, key_marker, delimiter, min(limit, limits.LIST_KEYS_MAX))
        if question.limit <= limits.LIST_INLINE_KEYS_MAX:
            page = version_page(self._core.database, bucket, question, version_marker)
        else:
            page = await self._readers.run(
                lambda engine: version_page(engine, bucket, question, version_marker)
            )
        self._expose(page.entries)
        return page

    def _expose(self, entries: list[ObjectInfo]) -> None:
        """Versions that somebody was told of are not replaced by the open session any more."""
        if self._core.open_inodes:
            for each in entries:
                self._core.expose(each.ino)


def find_bucket(source: Source, name: str) -> Bucket:
    """The row of a bucket. NoSuchBucket."""
    rows: list[Bucket] = source.scan(BUCKET, (name,), index="name", limit=1)
    if not rows:
        raise NoSuchBucket(f"there is no bucket {name!r}")
    return rows[0]


def key_page(source: PageSource, bucket: str, question: Question) -> KeyPage:
    """A page of keys."""
    row = find_bucket(source, bucket)
    walk = KeyWalk(source, row, question)

    def next_key(at: bytes) -> tuple[bytes, Iterable[Met]] | None:
        met = walk.next_key(at)
        return None if met is None else (met.key, (met,))

    cut: Cut[Met] = cut_page(question, next_key, first_key(question))
    return KeyPage(_objects(source, row, cut.found), cut.prefixes, cut.truncated, cut.last)


def _objects(source: PageSource, bucket: Bucket, found: list[Met]) -> list[ObjectInfo]:
    """What was met, with its versions: read together."""
    places = [(met.inode.ino, met.inode.sealed) for met in found if met.inode is not None]
    rows: list[Version | None] = source.get_many(VERSION, places)
    versions = {row.ino: row for row in rows if row is not None}
    times = _Times(source)
    infos = []
    for met in found:
        version = None if met.inode is None else versions.get(met.inode.ino)
        sequence = max(met.begin, version.sealed) if version is not None else met.begin
        came_back = met.dentry.entry if sequence == met.dentry.since else 0
        id = came_back or sequence
        shown = KeyEntry(sequence, id, met.dentry.ino, version, False, is_null(bucket, id), True)
        infos.append(light_info(bucket.name, met.key, shown, times.of(shown)))
    return infos


def version_page(
    source: Source, bucket: str, question: Question, version_marker: str
) -> VersionPage:
    """A page of versions."""
    row = find_bucket(source, bucket)
    walk = KeysEver(source, row, question.prefix)
    key, at = question.after, first_key(question)

    def next_key(at: bytes) -> tuple[bytes, Iterable[tuple[bytes, KeyEntry]]] | None:
        if after is not None and at == key:
            older = entries(source, row, key, after)
            first = next(older, None)
            if first is not None:
                return key, ((key, each) for each in chain([first], older))
            at = key + b"\0"
        met = walk.next_key(at)
        return None if met is None else (met[0], ((met[0], each) for each in met[1]))

    after = None
    if version_marker and key.startswith(question.prefix) and not common_prefix(key, question):
        after, at = _after(source, row, key, version_marker), key
    cut = cut_page(question, next_key, at)
    times = _Times(source)
    infos = [light_info(bucket, key, each, times.of(each)) for key, each in cut.found]
    marker = ""
    if cut.found and cut.found[-1][0] == cut.last:
        marker = _marker(cut.found[-1][1])
    return VersionPage(infos, cut.prefixes, cut.truncated, cut.last, marker)


def _marker(entry: KeyEntry) -> str:
    """What a page goes on after: a version id; of an entry that came back, its place too."""
    if entry.id != entry.sequence:
        return f"{version_id(entry.id)}.{version_id(entry.sequence)}"
    return NULL_VERSION if entry.null else version_id(entry.id)


def _after(source: Source, bucket: Bucket, key: bytes, marker: str) -> After:
    """The entry that a marker names. InvalidRequest for what is none."""
    if marker == NULL_VERSION:
        return null_entry(source, bucket, key) or After(0, 0)
    id, _, place = marker.partition(".")
    return After(sequence_of(place or id), sequence_of(id))


class _Times:
    """When entries were made: those of one begin, a renamed directory's say, are looked up once."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._known: dict[int, int] = {}

    def of(self, entry: KeyEntry) -> int:
        version = entry.version
        if version is not None and (version.sealed == entry.sequence or entry.id != entry.sequence):
            return version.time_ns
        time_ns = self._known.get(entry.sequence)
        if time_ns is None:
            time_ns = self._known[entry.sequence] = time_of(self._source, entry.sequence)
        return time_ns if version is None else max(time_ns, version.time_ns)


def light_info(bucket: str, key: bytes, entry: KeyEntry, time_ns: int) -> ObjectInfo:
    """What a listing tells of an entry."""
    version = entry.version
    name = NULL_VERSION if entry.null else version_id(entry.id)
    if version is None:
        return ObjectInfo(
            bucket=bucket,
            key=key,
            version_id=name,
            sequence=entry.sequence,
            time_ns=time_ns,
            etag="" if entry.marker else EMPTY_MD5,
            delete_marker=entry.marker,
            latest=entry.latest,
            ino=entry.ino,
            owner=entry.owner,
        )
    checksums, composite = dict(version.checksums or {}), False
    if checksums:
        composite = checksums.pop(CHECKSUM_TYPE, b"") == COMPOSITE.encode()
    return ObjectInfo(
        bucket=bucket,
        key=key,
        version_id=name,
        sequence=entry.sequence,
        time_ns=time_ns,
        size=version.size,
        etag=version.etag,
        latest=entry.latest,
        ino=version.ino,
        sealed=version.sealed,
        headers=version.headers or {},
        checksums=checksums,
        checksum_type=COMPOSITE if composite else FULL_OBJECT,
        parts=version.parts,
        tags=version.tags or {},
        owner=version.owner,
    )
