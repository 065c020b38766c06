"""Documents about one object: the result of a copy, its attributes, the answer to a form."""

from collections.abc import Sequence
from typing import NamedTuple

from objfs.s3 import xml_writer
from objfs.s3.dates import iso_date
from objfs.s3.documents.checksums import Checksums, write_checksums
from objfs.s3.errors import S3Error
from objfs.volume.object_types import COMPOSITE, ObjectInfo

ATTRIBUTES = ("ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize")


def checksums_of(info: ObjectInfo) -> Checksums:
    """What an object has, as clients see it."""
    parts = len(info.parts or ()) if info.checksum_type == COMPOSITE else 0
    return Checksums(info.checksums, parts)


def write_copied(
    name: str, etag: str, modified_ns: int, checksums: Checksums, checksum_type: str | None = None
) -> bytes:
    """A CopyObjectResult or CopyPartResult document."""
    return xml_writer.document(
        name,
        xml_writer.element("ETag", f'"{etag}"'),
        xml_writer.element("LastModified", iso_date(modified_ns)),
        write_checksums(checksums),
        xml_writer.element("ChecksumType", checksum_type if checksums.digests else None),
    )


class PartsShown(NamedTuple):
    """A page of the parts of an object: (number, size) of each."""

    total: int
    marker: int
    limit: int
    parts: Sequence[tuple[int, int]]
    truncated: bool


def parse_attributes(header: str | None) -> frozenset[str]:
    """What `x-amz-object-attributes` asks for. InvalidArgument."""
    asked = frozenset(name.strip() for name in (header or "").split(",") if name.strip())
    if not asked or not asked <= set(ATTRIBUTES):
        raise S3Error(
            "InvalidArgument",
            "Invalid attribute name specified.",
            ArgumentName="x-amz-object-attributes",
            ArgumentValue=header or "",
        )
    return asked


def page_of_parts(sizes: Sequence[int], marker: int, limit: int) -> PartsShown:
    """The parts after number `marker`."""
    numbered = list(enumerate(sizes, 1))[marker : marker + limit]
    truncated = marker + len(numbered) < len(sizes)
    return PartsShown(len(sizes), marker, limit, numbered, truncated)


def write_attributes(
    asked: frozenset[str], info: ObjectInfo, storage_class: str, parts: PartsShown | None
) -> bytes:
    """The GetObjectAttributes document."""
    write = xml_writer.element
    checksums = checksums_of(info)
    written = ""
    if "Checksum" in asked and checksums.digests:
        written = xml_writer.tree(
            "Checksum", write_checksums(checksums), write("ChecksumType", info.checksum_type)
        )
    return xml_writer.document(
        "GetObjectAttributesResponse",
        write("ETag", info.etag if "ETag" in asked else None),
        written,
        _write_parts(parts) if parts is not None and "ObjectParts" in asked else "",
        write("StorageClass", storage_class if "StorageClass" in asked else None),
        write("ObjectSize", info.size if "ObjectSize" in asked else None),
    )


def _write_parts(shown: PartsShown) -> str:
    write = xml_writer.element
    last = shown.parts[-1][0] if shown.parts else shown.marker
    return xml_writer.tree(
        "ObjectParts",
        write("PartsCount", shown.total),
        write("PartNumberMarker", shown.marker),
        write("NextPartNumberMarker", last),
        write("MaxParts", shown.limit),
        write("IsTruncated", shown.truncated),
        (
            xml_writer.tree("Part", write("PartNumber", number), write("Size", size))
            for number, size in shown.parts
        ),
    )


def write_posted(location: str, bucket: str, key: bytes, etag: str) -> bytes:
    """The PostResponse document, for a form that asks for status 201."""
    write = xml_writer.element
    return xml_writer.document(
        "PostResponse",
        write("Location", location),
        write("Bucket", bucket),
        write("Key", xml_writer.plain(key)),
        write("ETag", f'"{etag}"'),
        namespace="",
    )
