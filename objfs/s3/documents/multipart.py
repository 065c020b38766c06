"""Documents of multipart uploads: started, listed, completed."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from objfs.base.limits import PARTS_MAX
from objfs.s3 import xml_writer
from objfs.s3.dates import iso_date
from objfs.s3.documents.buckets import write_owner
from objfs.s3.documents.checksums import ELEMENTS, Checksums, read_checksums, write_checksums
from objfs.s3.errors import S3Error, invalid_argument
from objfs.s3.xml_reader import Element, malformed, parse


class NamedPart(NamedTuple):
    """A part as a client names it: number, ETag without quotes, its checksums as text."""

    number: int
    etag: str
    checksums: dict[str, str]


class ListedPart(NamedTuple):
    """A part that was uploaded."""

    number: int
    etag: str
    size: int
    modified_ns: int
    checksums: Checksums = Checksums()


class ListedUpload(NamedTuple):
    """An upload that is not finished."""

    key: bytes
    upload_id: str
    started_ns: int
    initiator: str
    owner: str
    storage_class: str = "STANDARD"
    algorithm: str | None = None
    checksum_type: str | None = None


class PartsPage(NamedTuple):
    """One page of the parts of an upload. `next_marker` is the last number on it."""

    parts: Sequence[ListedPart]
    marker: int
    next_marker: int
    limit: int
    truncated: bool


class UploadsPage(NamedTuple):
    """One page of unfinished uploads, with what was asked for."""

    uploads: Sequence[ListedUpload]
    prefixes: Sequence[bytes] = ()
    prefix: bytes = b""
    delimiter: bytes = b""
    key_marker: bytes = b""
    upload_marker: str = ""
    next_key: bytes | None = None
    next_upload: str | None = None
    limit: int = 1000
    truncated: bool = False
    encoding: str | None = None


def parse_complete(document: bytes) -> list[NamedPart]:
    """The parts of a CompleteMultipartUpload document, in its order. MalformedXML,
    InvalidArgument for a number that no part can have."""
    root = parse(document, "CompleteMultipartUpload")
    root.only("Part")
    if not root.children:
        raise S3Error("MalformedXML", "You must specify at least one part")
    if len(root.children) > PARTS_MAX:
        raise malformed()
    return [_part(each) for each in root.children]


def _part(element: Element) -> NamedPart:
    element.only("PartNumber", "ETag", *ELEMENTS)
    number, etag = element.number("PartNumber"), element.needed("ETag")
    if number is None:
        raise malformed()
    return NamedPart(check_part_number(number), etag.strip('"'), read_checksums(element))


def check_part_number(number: int) -> int:
    """The number, if a part can have it. InvalidArgument."""
    if not 1 <= number <= PARTS_MAX:
        raise invalid_argument(
            f"Part number must be an integer between 1 and {PARTS_MAX}, inclusive",
            "partNumber",
            str(number),
        )
    return number


def write_initiated(bucket: str, key: bytes, upload_id: str) -> bytes:
    """The InitiateMultipartUploadResult document."""
    write = xml_writer.element
    return xml_writer.document(
        "InitiateMultipartUploadResult",
        write("Bucket", bucket),
        write("Key", xml_writer.plain(key)),
        write("UploadId", upload_id),
    )


def write_completed(
    location: str,
    bucket: str,
    key: bytes,
    etag: str,
    checksums: Checksums,
    checksum_type: str | None,
) -> bytes:
    """The CompleteMultipartUploadResult document."""
    write = xml_writer.element
    return xml_writer.document(
        "CompleteMultipartUploadResult",
        write("Location", location),
        write("Bucket", bucket),
        write("Key", xml_writer.plain(key)),
        write("ETag", f'"{etag}"'),
        write_checksums(checksums),
        write("ChecksumType", checksum_type if checksums.digests else None),
    )


def write_parts(bucket: str, upload: ListedUpload, page: PartsPage) -> bytes:
    """The ListPartsResult document."""
    write = xml_writer.element
    return xml_writer.document(
        "ListPartsResult",
        write("Bucket", bucket),
        write("Key", xml_writer.plain(upload.key)),
        write("UploadId", upload.upload_id),
        write_owner("Initiator", upload.initiator),
        write_owner("Owner", upload.owner),
        write("StorageClass", upload.storage_class),
        write("PartNumberMarker", page.marker),
        write("NextPartNumberMarker", page.next_marker),
        write("MaxParts", page.limit),
        write("IsTruncated", page.truncated),
        write("ChecksumAlgorithm", upload.algorithm),
        write("ChecksumType", upload.checksum_type),
        map(_write_part, page.parts),
    )


def _write_part(part: ListedPart) -> str:
    write = xml_writer.element
    return xml_writer.tree(
        "Part",
        write("PartNumber", part.number),
        write("LastModified", iso_date(part.modified_ns)),
        write("ETag", f'"{part.etag}"'),
        write("Size", part.size),
        write_checksums(part.checksums),
    )


def write_uploads(bucket: str, page: UploadsPage) -> bytes:
    """The ListMultipartUploadsResult document."""
    write, key = xml_writer.element, xml_writer.key_writer(page.encoding)
    return xml_writer.document(
        "ListMultipartUploadsResult",
        write("Bucket", bucket),
        f"<KeyMarker>{key(page.key_marker)}</KeyMarker>",
        write("UploadIdMarker", page.upload_marker),
        "" if page.next_key is None else f"<NextKeyMarker>{key(page.next_key)}</NextKeyMarker>",
        write("NextUploadIdMarker", page.next_upload),
        f"<Delimiter>{key(page.delimiter)}</Delimiter>" if page.delimiter else "",
        f"<Prefix>{key(page.prefix)}</Prefix>",
        write("EncodingType", page.encoding),
        write("MaxUploads", page.limit),
        write("IsTruncated", page.truncated),
        (_write_upload(upload, key(upload.key)) for upload in page.uploads),
        write_prefixes(map(key, page.prefixes)),
    )


def _write_upload(upload: ListedUpload, key: str) -> str:
    write = xml_writer.element
    return xml_writer.tree(
        "Upload",
        f"<Key>{key}</Key>",
        write("UploadId", upload.upload_id),
        write_owner("Initiator", upload.initiator),
        write_owner("Owner", upload.owner),
        write("StorageClass", upload.storage_class),
        write("Initiated", iso_date(upload.started_ns)),
        write("ChecksumAlgorithm", upload.algorithm),
        write("ChecksumType", upload.checksum_type),
    )


def write_prefixes(written: Iterable[str]) -> str:
    """The elements CommonPrefixes; the prefixes are escaped or encoded already."""
    return "".join(
        f"<CommonPrefixes><Prefix>{prefix}</Prefix></CommonPrefixes>" for prefix in written
    )
