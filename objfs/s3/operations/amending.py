"""What of a version can be changed later: its tags, access control list, retention, legal hold. Its
bytes and its metadata never are."""

from objfs.auth.acl import CANNED_HEADER, encode_acl
from objfs.auth.ownership import object_acl
from objfs.s3.calls import Call, Operate
from objfs.s3.documents import locking, tagging
from objfs.s3.documents.acl import parse_acl
from objfs.s3.errors import S3Error
from objfs.s3.headers.contexts import tag_context
from objfs.s3.headers.locking import bypasses
from objfs.s3.http import Response
from objfs.s3.operations.attributes import find_lockable
from objfs.s3.operations.objects import action_of, find_object
from objfs.s3.receiving import read_document
from objfs.s3.rooms import Room, version_headers
from objfs.volume.buckets import Bucket
from objfs.volume.object_types import ObjectInfo


class Amending:
    """The operations that amend."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.operations: dict[str, Operate] = {
            "PutObjectTagging": self.put_tagging,
            "DeleteObjectTagging": self.delete_tagging,
            "PutObjectAcl": self.put_acl,
            "PutObjectRetention": self.put_retention,
            "PutObjectLegalHold": self.put_hold,
        }

    def _found(self, call: Call) -> tuple[Bucket, ObjectInfo]:
        return find_object(self._room, call, action_of(call))

    async def put_tagging(self, call: Call) -> Response:
        """PutObjectTagging."""
        bucket, info = self._found(call)
        tags = tagging.parse_object_tagging(await read_document(call))
        self._room.authorization.require(
            call, action_of(call), bucket, call.key, info, tag_context(tags)
        )
        await self._room.volume.objects.amend(call.bucket, call.key, info.version_id, tags=tags)
        return Response(200, version_headers(bucket, info))

    async def delete_tagging(self, call: Call) -> Response:
        """DeleteObjectTagging."""
        bucket, info = self._found(call)
        await self._room.volume.objects.amend(call.bucket, call.key, info.version_id, tags={})
        return Response(204, version_headers(bucket, info))

    async def put_acl(self, call: Call) -> Response:
        """PutObjectAcl: by headers, or by a document."""
        bucket, info = self._found(call)
        room, authorization = self._room, self._room.authorization
        bucket_owner = authorization.owner(bucket)
        owner = info.owner or bucket_owner
        asked = room.asked_acl(call, owner, bucket_owner)
        document = await read_document(call)
        if document.strip():
            if asked is not None:
                raise S3Error("UnexpectedContent")
            asked = parse_acl(document, owner)
        if asked is None:
            raise S3Error("MissingSecurityHeader", MissingHeaderName=CANNED_HEADER)
        acl = object_acl(
            asked,
            writer=owner,
            bucket_owner=bucket_owner,
            ownership=authorization.ownership(bucket),
            block=authorization.public_access(bucket),
        )
        await self._room.volume.objects.amend(
            call.bucket, call.key, info.version_id, acl=encode_acl(acl)
        )
        return Response(200, version_headers(bucket, info))

    async def put_retention(self, call: Call) -> Response:
        """PutObjectRetention."""
        bucket, info = find_lockable(self._room, call)
        bypass = bypasses(call.headers)
        if bypass:
            self._room.authorization.require(
                call, "s3:BypassGovernanceRetention", bucket, call.key, info
            )
        retention = locking.parse_retention(await read_document(call), call.now_ns)
        await self._room.volume.objects.amend(
            call.bucket, call.key, info.version_id, retention=retention, bypass_governance=bypass
        )
        return Response(200, version_headers(bucket, info))

    async def put_hold(self, call: Call) -> Response:
        """PutObjectLegalHold."""
        bucket, info = find_lockable(self._room, call)
        hold = locking.parse_legal_hold(await read_document(call))
        await self._room.volume.objects.amend(call.bucket, call.key, info.version_id, hold=hold)
        return Response(200, version_headers(bucket, info))
