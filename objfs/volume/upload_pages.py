"""What is told of uploads and their parts: values, and pages of them."""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

from objfs.meta.rows import Bucket, Part, Upload
from objfs.meta.tables import PART, UPLOAD
from objfs.volume.content import Source
from objfs.volume.key_paging import Cut, Question, beyond, common_prefix, cut_page, first_key
from objfs.volume.object_lock import decode_retention
from objfs.volume.object_types import COMPOSITE, FULL_OBJECT, PutAttributes

_ROWS_PER_PAGE = 32


class UploadInfo(NamedTuple):
    """An upload."""

    bucket: str
    key: bytes
    upload_id: str
    time_ns: int
    initiator: str
    attributes: PutAttributes  # what the object will have
    checksum: str  # the algorithm of its checksum, "" for none


class PartPage(NamedTuple):
    """Parts by number."""

    upload: Upload
    parts: list[Part]
    truncated: bool
    next: int  # the number of the last one


class UploadPage(NamedTuple):
    """Uploads by key, those of one key in the order in which they began."""

    uploads: list[UploadInfo]
    prefixes: list[bytes]
    truncated: bool
    next_key: bytes
    next_upload: str  # "" when the last item is a common prefix


def attributes_of(row: Upload) -> PutAttributes:
    """What the object of an upload will have."""
    return PutAttributes(
        metadata=row.metadata or {},
        headers=row.headers or {},
        checksum_type=COMPOSITE if row.composite else FULL_OBJECT,
        tags=row.tags or {},
        acl=row.acl,
        retention=decode_retention(row.retention),
        hold=row.hold,
        encryption=row.encryption,
        owner=row.owner,
        uid=_given(row.uid),
        gid=_given(row.gid),
        mode=_given(row.mode),
        mtime_ns=_given(row.mtime_ns),
    )


def _given(value: int) -> int | None:
    return None if value == -1 else value


def info_of(bucket: str, row: Upload) -> UploadInfo:
    """What is told of an upload."""
    attributes = attributes_of(row)
    return UploadInfo(
        bucket, row.key, f"{row.id:x}", row.time_ns, row.initiator, attributes, row.checksum
    )


def part_page(source: Source, upload: Upload, after: int, limit: int) -> PartPage:
    """Parts with numbers above `after`."""
    limit = max(limit, 0)
    rows: list[Part] = source.scan(PART, (upload.id,), lower=after + 1, limit=limit + 1)
    parts = rows[:limit]
    last = parts[-1].number if parts else after
    return PartPage(upload, parts, bool(parts) and len(rows) > limit, last)


def upload_page(
    source: Source,
    bucket: Bucket,
    prefix: bytes,
    key_marker: bytes,
    upload_marker: str,
    delimiter: bytes,
    limit: int,
) -> UploadPage:
    """A page of uploads; a marker that is no id is none."""
    question = Question(prefix, key_marker, delimiter, limit)
    end = beyond(prefix)
    at, after = first_key(question), 0
    if upload_marker and key_marker.startswith(prefix) and not common_prefix(key_marker, question):
        at, after = key_marker, _id_of(upload_marker)

    def next_key(at: bytes) -> tuple[bytes, Iterable[Upload]] | None:
        rows: list[Upload] = source.scan(UPLOAD, (bucket.id,), lower=at, upper=end, limit=1)
        if rows and rows[0].key == key_marker and after:
            later = _of_key(source, bucket, key_marker, after)
            first = next(later, None)
            if first is not None:
                return key_marker, chain([first], later)
            above = key_marker + b"\0"
            rows = source.scan(UPLOAD, (bucket.id,), lower=above, upper=end, limit=1)
        return (rows[0].key, _of_key(source, bucket, rows[0].key, 0)) if rows else None

    cut: Cut[Upload] = cut_page(question, next_key, at)
    uploads = [info_of(bucket.name, row) for row in cut.found]
    of_key = bool(uploads) and uploads[-1].key == cut.last
    return UploadPage(
        uploads, cut.prefixes, cut.truncated, cut.last, uploads[-1].upload_id if of_key else ""
    )


def _of_key(source: Source, bucket: Bucket, key: bytes, after: int) -> Iterator[Upload]:
    """The uploads of a key that began after the one with this id."""
    while True:
        rows: list[Upload] = source.scan(
            UPLOAD, (bucket.id, key), lower=after + 1, limit=_ROWS_PER_PAGE
        )
        yield from rows
        if len(rows) < _ROWS_PER_PAGE:
            return
        after = rows[-1].id


def _id_of(text: str) -> int:
    try:
        return max(int(text, 16), 0)
    except ValueError:
        return 0
