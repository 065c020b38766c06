"""`x-amz-copy-source`: which object, and which version of it, is copied."""

from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from objfs.s3.errors import S3Error, invalid_argument
from objfs.s3.http import encode_text
from objfs.s3.routing import check_key
from objfs.volume.bucket_names import broken_rule

HEADER = "x-amz-copy-source"


class CopySource(NamedTuple):
    """What is copied; the newest version without `version_id`."""

    bucket: str
    key: bytes
    version_id: str | None = None


def parse_copy_source(value: str) -> CopySource:
    """`/bucket/key?versionId=...`, percent-encoded, with or without the first slash.
    InvalidArgument, KeyTooLongError."""
    path, question, query = value.strip().partition("?")
    version_id = None
    if question:
        name, _, version_id = query.partition("=")
        if name != "versionId" or not version_id:
            raise invalid_argument(
                "The x-amz-copy-source header must be followed by a versionId only.", HEADER, value
            )
        version_id = unquote_to_bytes(version_id).decode("utf-8", "replace")
    raw = unquote_to_bytes(encode_text(path)).removeprefix(b"/")
    bucket, _, key = raw.partition(b"/")
    if not bucket or not key:
        raise invalid_argument(
            "Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
            HEADER,
            value,
        )
    name = bucket.decode("utf-8", "replace")
    if broken_rule(name) is not None:
        raise invalid_argument("Invalid copy source bucket name", HEADER, value)
    try:
        return CopySource(name, check_key(key), version_id)
    except S3Error as error:
        if error.code == "InvalidURI":
            raise invalid_argument("Invalid copy source encoding.", HEADER, value) from error
        raise


def directive(value: str | None, header: str) -> str:
    """COPY (the default) or REPLACE. InvalidArgument."""
    chosen = (value or "COPY").upper()
    if chosen not in {"COPY", "REPLACE"}:
        raise invalid_argument(f"Unknown {header.removeprefix('x-amz-')}.", header, value or "")
    return chosen
