"""DeleteObjects: the keys that a request names, and what became of each."""

from collections.abc import Iterable
from typing import NamedTuple

from objfs.base.limits import DELETED_KEYS_MAX
from objfs.s3 import xml_writer
from objfs.s3.dates import parse_http_date, parse_iso_date
from objfs.s3.errors import S3Error
from objfs.s3.xml_reader import Element, malformed, parse


class ToDelete(NamedTuple):
    """One entry of the request. The last three are conditions: an ETag without quotes, a time, a
    size; None where nothing is demanded."""

    key: str
    version_id: str | None = None
    etag: str | None = None
    modified_ns: int | None = None
    size: int | None = None


class DeleteRequest(NamedTuple):
    """The entries, and whether only failures are to be reported."""

    entries: list[ToDelete]
    quiet: bool = False


class Outcome(NamedTuple):
    """What became of an entry: `error`, or what the delete did."""

    entry: ToDelete
    marker_version: str | None = None  # of the delete marker that it made or erased
    error: S3Error | None = None


def parse_delete(document: bytes) -> DeleteRequest:
    """A Delete document of 1 to 1,000 objects. MalformedXML."""
    root = parse(document, "Delete")
    root.only("Object", "Quiet")
    entries = [_entry(each) for each in root.all("Object")]
    if not 1 <= len(entries) <= DELETED_KEYS_MAX:
        raise malformed()
    return DeleteRequest(entries, root.flag("Quiet") or False)


def _entry(element: Element) -> ToDelete:
    element.only("Key", "VersionId", "ETag", "LastModifiedTime", "Size")
    key = element.find("Key")
    if key is None or not key.text:
        raise malformed()
    modified, modified_ns = element.value("LastModifiedTime"), None
    if modified is not None:
        modified_ns = parse_http_date(modified)
        if modified_ns is None:
            modified_ns = parse_iso_date(modified)
        if modified_ns is None:
            raise malformed()
    etag = element.value("ETag")
    return ToDelete(
        key.text,
        element.value("VersionId") or None,
        etag.strip('"') if etag is not None else None,
        modified_ns,
        element.number("Size"),
    )


def write_delete_result(outcomes: Iterable[Outcome], quiet: bool) -> bytes:
    """The DeleteResult document, in the order of the request."""
    return xml_writer.document(
        "DeleteResult",
        (_write(each) for each in outcomes if each.error is not None or not quiet),
    )


def _write(outcome: Outcome) -> str:
    entry, write = outcome.entry, xml_writer.element
    named = write("Key", entry.key) + write("VersionId", entry.version_id)
    if outcome.error is not None:
        return xml_writer.tree(
            "Error",
            named,
            write("Code", outcome.error.code),
            write("Message", outcome.error.message),
        )
    if outcome.marker_version is None:
        return xml_writer.tree("Deleted", named)
    marker = write("DeleteMarker", True) + write("DeleteMarkerVersionId", outcome.marker_version)
    return xml_writer.tree("Deleted", named, marker)
