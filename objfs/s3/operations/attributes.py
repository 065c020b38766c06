"""What belongs to a version besides its bytes: attributes, tags, access control list, retention,
legal hold; and what cannot be restored, because nothing is archived."""

from objfs.base.limits import PARTS_MAX
from objfs.s3.calls import Call, Operate, xml_response
from objfs.s3.dates import http_date
from objfs.s3.documents import locking, objects, tagging
from objfs.s3.documents.acl import write_acl
from objfs.s3.documents.listing import storage_class
from objfs.s3.errors import S3Error, invalid_argument
from objfs.s3.http import Response
from objfs.s3.operations.objects import action_of, find_object
from objfs.s3.receiving import read_document
from objfs.s3.rooms import Room, version_headers
from objfs.volume.buckets import Bucket
from objfs.volume.object_types import ObjectInfo

_MAX_PARTS, _PART_MARKER = "x-amz-max-parts", "x-amz-part-number-marker"


class Attributes:
    """The operations that read them."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.operations: dict[str, Operate] = {
            "GetObjectAttributes": self.attributes,
            "GetObjectTagging": self.get_tagging,
            "GetObjectAcl": self.get_acl,
            "GetObjectRetention": self.get_retention,
            "GetObjectLegalHold": self.get_hold,
            "RestoreObject": self.restore,
        }

    def _found(self, call: Call) -> tuple[Bucket, ObjectInfo]:
        return find_object(self._room, call, action_of(call))

    async def attributes(self, call: Call) -> Response:
        """GetObjectAttributes; it needs the right to read the object too."""
        bucket, info = self._found(call)
        action = "s3:GetObject" if call.version_id is None else "s3:GetObjectVersion"
        self._room.authorization.require(call, action, bucket, call.key, info)
        asked = objects.parse_attributes(",".join(call.headers.all("x-amz-object-attributes")))
        parts = None
        marker, limit = _number(call, _PART_MARKER, 0), _number(call, _MAX_PARTS, 1000)
        if info.parts is not None:
            parts = objects.page_of_parts(info.parts, marker, min(limit, 1000))
        document = objects.write_attributes(asked, info, storage_class(info), parts)
        headers = [("Last-Modified", http_date(info.time_ns)), *version_headers(bucket, info)]
        return xml_response(document, headers)

    # --- tags ------------------------------------------------------------------------------------

    async def get_tagging(self, call: Call) -> Response:
        """GetObjectTagging."""
        bucket, info = self._found(call)
        return xml_response(tagging.write_tagging(info.tags), version_headers(bucket, info))

    # --- the access control list -----------------------------------------------------------------

    async def get_acl(self, call: Call) -> Response:
        """GetObjectAcl."""
        bucket, info = self._found(call)
        acl = self._room.authorization.object_acl(bucket, info)
        return xml_response(write_acl(acl), version_headers(bucket, info))

    # --- object lock -----------------------------------------------------------------------------

    async def get_retention(self, call: Call) -> Response:
        """GetObjectRetention."""
        _, info = find_lockable(self._room, call)
        if info.retention is None:
            raise S3Error("NoSuchObjectLockConfiguration")
        return xml_response(locking.write_retention(info.retention))

    async def get_hold(self, call: Call) -> Response:
        """GetObjectLegalHold."""
        _, info = find_lockable(self._room, call)
        return xml_response(locking.write_legal_hold(info.hold))

    async def restore(self, call: Call) -> Response:
        """RestoreObject: refused, because every object can be read."""
        self._found(call)
        await read_document(call)
        raise S3Error(
            "InvalidObjectState", "Restore is not allowed for the object's current storage class"
        )


def _number(call: Call, header: str, default: int) -> int:
    text = call.headers.get(header)
    if text is None:
        return default
    if not (text.isascii() and len(text) < 10 and text.isdigit() and int(text) <= PARTS_MAX):
        raise invalid_argument(
            f"{header} must be an integer between 0 and {PARTS_MAX}", header, text
        )
    return int(text)


def find_lockable(room: Room, call: Call) -> tuple[Bucket, ObjectInfo]:
    """The bucket and the object of a call, if it can be locked. InvalidRequest."""
    bucket, info = find_object(room, call, action_of(call))
    if not bucket.lock:
        raise S3Error("InvalidRequest", "Bucket is missing Object Lock Configuration")
    return bucket, info
