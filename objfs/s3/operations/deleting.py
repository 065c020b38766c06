"""DeleteObject and DeleteObjects: delete markers, erased versions, undeletes.

Promises: of several deletes each is decided, authorized and answered alone; they share one sync,
and the answer comes after it.
"""

from objfs.base.errors import ObjfsError
from objfs.s3.calls import Call, Operate, xml_response
from objfs.s3.documents.deleting import (
    Outcome,
    ToDelete,
    parse_delete,
    write_delete_result,
)
from objfs.s3.errors import as_s3, is_internal
from objfs.s3.headers.conditions import delete_conditions, not_known
from objfs.s3.headers.locking import bypasses
from objfs.s3.http import Response, encode_text
from objfs.s3.receiving import read_document
from objfs.s3.rooms import Room
from objfs.s3.routing import check_key
from objfs.volume.buckets import Bucket
from objfs.volume.object_types import Conditions, Deleted


class Deleting:
    """The operations that delete."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.operations: dict[str, Operate] = {
            "DeleteObject": self.delete,
            "DeleteObjects": self.delete_many,
        }

    async def delete(self, call: Call) -> Response:
        """DeleteObject. What is not there is deleted already."""
        bucket = self._room.authorization.bucket(call)
        version_id, conditions = call.version_id, delete_conditions(call.headers)
        done = await self._delete(call, bucket, call.key, version_id, conditions)
        await self._room.durable()
        headers = []
        if done.delete_marker:
            headers.append(("x-amz-delete-marker", "true"))
        if done.version_id is not None and bucket.versioning != "off":
            headers.append(("x-amz-version-id", done.version_id))
        return Response(204, headers)

    async def delete_many(self, call: Call) -> Response:
        """DeleteObjects."""
        bucket = self._room.authorization.bucket(call)
        request = parse_delete(await read_document(call))
        outcomes = [await self._outcome(call, bucket, entry) for entry in request.entries]
        await self._room.durable()
        return xml_response(write_delete_result(outcomes, request.quiet))

    async def _outcome(self, call: Call, bucket: Bucket, entry: ToDelete) -> Outcome:
        try:
            if entry.modified_ns is not None or entry.size is not None:
                raise not_known("LastModifiedTime and Size")
            conditions = None if entry.etag is None else Conditions(if_match=(entry.etag,))
            key = check_key(encode_text(entry.key))
            done = await self._delete(call, bucket, key, entry.version_id, conditions)
        except ObjfsError as error:
            if is_internal(error):
                raise
            return Outcome(entry, error=as_s3(error))
        return Outcome(entry, done.version_id if done.delete_marker else None)

    async def _delete(
        self,
        call: Call,
        bucket: Bucket,
        key: bytes,
        version_id: str | None,
        conditions: Conditions | None,
    ) -> Deleted:
        """One delete, not yet durable. AccessDenied, Locked, PreconditionFailed, NoSuchKey for a
        condition on what is not there."""
        authorization, bypass = self._room.authorization, bypasses(call.headers)
        action = "s3:DeleteObject" if version_id is None else "s3:DeleteObjectVersion"
        authorization.require(call, action, bucket, key)
        if bypass:
            authorization.require(call, "s3:BypassGovernanceRetention", bucket, key)
        return await self._room.volume.objects.delete(
            bucket.name,
            key,
            version_id,
            bypass_governance=bypass,
            conditions=conditions,
            owner=None if call.caller.identity is None else call.caller.identity.canonical,
            sync=False,
        )
