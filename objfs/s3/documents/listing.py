"""Pages of keys: ListObjects (version 1 and 2) and ListObjectVersions.

A page has up to 1,000 entries, so each is written as one string, and dates of the same second once.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from objfs.s3 import xml_writer
from objfs.s3.dates import iso_date
from objfs.s3.documents.buckets import write_owner
from objfs.s3.documents.multipart import write_prefixes
from objfs.s3.headers.metadata import STANDARD, STORAGE_CLASS
from objfs.volume.object_types import ObjectInfo


class KeysAsked(NamedTuple):
    """What a list was asked for, as its answer repeats it."""

    bucket: str
    prefix: bytes = b""
    delimiter: bytes = b""
    limit: int = 1000
    encoding: str | None = None
    owners: str | None = None  # canonical id of the bucket's owner, if owners are to be shown


class Keys(NamedTuple):
    """What a page has."""

    entries: Sequence[ObjectInfo] = ()
    prefixes: Sequence[bytes] = ()
    truncated: bool = False


KeyWriter = Callable[[bytes], str]


def _asked(asked: KeysAsked, key: KeyWriter) -> str:
    return (
        f"<Name>{asked.bucket}</Name><Prefix>{key(asked.prefix)}</Prefix>"
        f"<MaxKeys>{asked.limit}</MaxKeys>"
        + (f"<Delimiter>{key(asked.delimiter)}</Delimiter>" if asked.delimiter else "")
        + xml_writer.element("EncodingType", asked.encoding)
    )


def _optional_key(name: str, value: bytes | None, key: KeyWriter) -> str:
    return "" if value is None else f"<{name}>{key(value)}</{name}>"


def storage_class(info: ObjectInfo) -> str:
    """The class that an object shows."""
    return info.headers.get(STORAGE_CLASS, STANDARD)


def _write_checksums(info: ObjectInfo) -> str:
    if not info.checksums:
        return ""
    algorithms = "".join(
        f"<ChecksumAlgorithm>{name}</ChecksumAlgorithm>" for name in info.checksums
    )
    return f"{algorithms}<ChecksumType>{info.checksum_type}</ChecksumType>"


def _contents(info: ObjectInfo, key: KeyWriter, owners: str | None) -> str:
    return (
        f"<Contents><Key>{key(info.key)}</Key><LastModified>{iso_date(info.time_ns)}"
        f"</LastModified><ETag>&quot;{info.etag}&quot;</ETag>{_write_checksums(info)}"
        f"<Size>{info.size}</Size>{write_owner('Owner', owners and (info.owner or owners))}"
        f"<StorageClass>{storage_class(info)}</StorageClass></Contents>"
    )


def write_list(asked: KeysAsked, keys: Keys, marker: bytes, next_marker: bytes | None) -> bytes:
    """The ListBucketResult document of version 1. S3 gives `next_marker` only with a delimiter."""
    key = xml_writer.key_writer(asked.encoding)
    return xml_writer.document(
        "ListBucketResult",
        _asked(asked, key),
        f"<Marker>{key(marker)}</Marker>",
        _optional_key("NextMarker", next_marker, key),
        xml_writer.element("IsTruncated", keys.truncated),
        [_contents(info, key, asked.owners) for info in keys.entries],
        write_prefixes(map(key, keys.prefixes)),
    )


def write_list_v2(
    asked: KeysAsked,
    keys: Keys,
    *,
    start_after: bytes | None,
    token: str | None,
    next_token: str | None,
) -> bytes:
    """The ListBucketResult document of version 2."""
    key = xml_writer.key_writer(asked.encoding)
    return xml_writer.document(
        "ListBucketResult",
        _asked(asked, key),
        xml_writer.element("KeyCount", len(keys.entries) + len(keys.prefixes)),
        _optional_key("StartAfter", start_after, key),
        xml_writer.element("ContinuationToken", token),
        xml_writer.element("NextContinuationToken", next_token),
        xml_writer.element("IsTruncated", keys.truncated),
        [_contents(info, key, asked.owners) for info in keys.entries],
        write_prefixes(map(key, keys.prefixes)),
    )


def _version(info: ObjectInfo, key: KeyWriter, owners: str | None) -> str:
    common = (
        f"<Key>{key(info.key)}</Key><VersionId>{info.version_id}</VersionId><IsLatest>"
        f"{'true' if info.latest else 'false'}</IsLatest><LastModified>{iso_date(info.time_ns)}"
        f"</LastModified>{write_owner('Owner', owners and (info.owner or owners))}"
    )
    if info.delete_marker:
        return f"<DeleteMarker>{common}</DeleteMarker>"
    return (
        f"<Version>{common}<ETag>&quot;{info.etag}&quot;</ETag>{_write_checksums(info)}"
        f"<Size>{info.size}</Size><StorageClass>{storage_class(info)}</StorageClass></Version>"
    )


def write_versions(
    asked: KeysAsked,
    keys: Keys,
    *,
    key_marker: bytes,
    version_marker: str,
    next_key: bytes | None,
    next_version: str | None,
) -> bytes:
    """The ListVersionsResult document."""
    key = xml_writer.key_writer(asked.encoding)
    return xml_writer.document(
        "ListVersionsResult",
        _asked(asked, key),
        f"<KeyMarker>{key(key_marker)}</KeyMarker>",
        xml_writer.element("VersionIdMarker", version_marker),
        _optional_key("NextKeyMarker", next_key, key),
        xml_writer.element("NextVersionIdMarker", next_version),
        xml_writer.element("IsTruncated", keys.truncated),
        [_version(info, key, asked.owners) for info in keys.entries],
        write_prefixes(map(key, keys.prefixes)),
    )
