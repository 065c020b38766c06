"""Buckets: made, listed, deleted, their place, their object lock and access control list."""

import msgspec

from objfs.auth.acl import CANNED_HEADER, encode_acl
from objfs.auth.ownership import ENFORCED, NONE_BLOCKED, bucket_acl
from objfs.base.errors import AclRefused, BucketExists
from objfs.base.limits import LISTED_BUCKETS_MAX
from objfs.s3.authorization import ACL, OWNERSHIP
from objfs.s3.calls import Call, Operate, xml_response
from objfs.s3.documents import access, buckets, locking
from objfs.s3.documents.acl import parse_acl, write_acl
from objfs.s3.documents.stored import store
from objfs.s3.errors import S3Error
from objfs.s3.http import Response
from objfs.s3.operations.configuration import TAGGING
from objfs.s3.receiving import read_document
from objfs.s3.rooms import LOCK, Room
from objfs.volume.buckets import Bucket

_LOCK_HEADER = "x-amz-bucket-object-lock-enabled"


class Buckets:
    """The operations of buckets."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.operations: dict[str, Operate] = {
            "ListBuckets": self.list,
            "CreateBucket": self.create,
            "HeadBucket": self.head,
            "DeleteBucket": self.delete,
            "GetBucketLocation": self.location,
            "GetBucketAcl": self.get_acl,
            "PutBucketAcl": self.put_acl,
            "GetObjectLockConfiguration": self.get_lock,
            "PutObjectLockConfiguration": self.put_lock,
        }

    def _allowed(self, call: Call) -> Bucket:
        row = self._room.authorization.bucket(call)
        self._room.authorization.require(call, call.operation.action, row)
        return row

    async def list(self, call: Call) -> Response:
        """ListBuckets: those of the caller; all of them for the account's own."""
        identity = call.caller.identity
        self._room.authorization.require(call, call.operation.action, None)
        if identity is None:
            raise S3Error("AccessDenied")
        owner = identity.canonical
        limit = call.number("max-buckets", LISTED_BUCKETS_MAX, LISTED_BUCKETS_MAX)
        prefix, after = call.query("prefix"), call.query("continuation-token") or ""
        asked = [
            each
            for each in self._room.volume.buckets()
            if each.name.startswith(prefix or "") and each.name > after
        ]
        region = self._room.settings.region if call.query("max-buckets") else None
        shown = [buckets.ListedBucket(each.name, each.created_ns) for each in asked[:limit]]
        return xml_response(
            buckets.write_bucket_list(
                shown,
                owner,
                display=identity.name,
                region=region,
                prefix=prefix,
                token=shown[-1].name if shown and len(asked) > limit else None,
            )
        )

    async def create(self, call: Call) -> Response:
        """CreateBucket."""
        identity = call.caller.identity
        room = self._room
        room.authorization.require(call, call.operation.action, None)
        if identity is None:
            raise S3Error("AccessDenied")
        asked = buckets.parse_creation(await read_document(call))
        buckets.check_region(asked.region, room.settings.region)
        lock = (call.headers.get(_LOCK_HEADER) or "").lower() == "true"
        documents = self._documents(call, identity.canonical)
        if asked.tags:
            documents[TAGGING] = msgspec.json.encode(dict(asked.tags))
        try:
            room.volume.create_bucket(
                call.bucket,
                owner=identity.canonical,
                versioning="on" if lock else "off",
                lock=lock,
                documents=documents,
                uid=max(identity.uid, 0),
                gid=max(identity.gid, 0),
            )
        except BucketExists as error:
            own = (error.owner or room.account.canonical) == identity.canonical
            code = "BucketAlreadyOwnedByYou" if own else "BucketAlreadyExists"
            raise S3Error(code, BucketName=call.bucket) from error
        await room.durable()
        return Response(200, [("Location", f"/{call.bucket}")])

    def _documents(self, call: Call, owner: str) -> dict[str, bytes]:
        """What a new bucket is configured with: whose objects are, and its list."""
        ownership = access.ownership_header(call.headers.get(access.OWNERSHIP_HEADER)) or ENFORCED
        asked = self._room.asked_acl(call, owner, owner)
        try:
            acl = bucket_acl(asked, owner=owner, ownership=ownership, block=NONE_BLOCKED)
        except AclRefused as error:
            raise S3Error("InvalidBucketAclWithObjectOwnership") from error
        documents = {OWNERSHIP: ownership.encode()}
        if asked is not None:
            documents[ACL] = encode_acl(acl)
        return documents

    async def head(self, call: Call) -> Response:
        """HeadBucket."""
        self._allowed(call)
        return Response(
            200,
            [
                ("Content-Type", "application/xml"),
                ("x-amz-bucket-region", self._room.settings.region),
                ("x-amz-access-point-alias", "false"),
            ],
        )

    async def delete(self, call: Call) -> Response:
        """DeleteBucket."""
        self._allowed(call)
        await self._room.volume.objects.delete_bucket(call.bucket)
        return Response(204)

    async def location(self, call: Call) -> Response:
        """GetBucketLocation."""
        self._allowed(call)
        return xml_response(buckets.write_location(self._room.settings.region))

    # --- object lock -----------------------------------------------------------------------------

    async def get_lock(self, call: Call) -> Response:
        """GetObjectLockConfiguration."""
        found = self._room.lock_configuration(self._allowed(call))
        if found is None:
            raise S3Error("ObjectLockConfigurationNotFoundError", BucketName=call.bucket)
        return xml_response(locking.write_lock(found))

    async def put_lock(self, call: Call) -> Response:
        """PutObjectLockConfiguration. A bucket that keeps all versions can get it later too."""
        row = self._allowed(call)
        found = locking.parse_lock(await read_document(call))
        if not row.lock:
            if row.versioning != "on":
                raise S3Error(
                    "InvalidBucketState",
                    "Versioning must be 'Enabled' on the bucket to apply a Object Lock "
                    "configuration",
                )
            self._room.volume.set_lock(call.bucket)
        self._room.volume.set_lock_rule(call.bucket, found.rule)
        await self._room.set_document(call.bucket, LOCK, store(found))
        return Response(200)

    # --- the access control list -----------------------------------------------------------------

    async def get_acl(self, call: Call) -> Response:
        """GetBucketAcl."""
        return xml_response(write_acl(self._room.authorization.acl(self._allowed(call))))

    async def put_acl(self, call: Call) -> Response:
        """PutBucketAcl: by headers, or by a document."""
        row = self._allowed(call)
        room, authorization = self._room, self._room.authorization
        owner = authorization.owner(row)
        asked = room.asked_acl(call, owner, owner)
        document = await read_document(call)
        if document.strip():
            if asked is not None:
                raise S3Error("UnexpectedContent")
            asked = parse_acl(document, owner)
        if asked is None:
            raise S3Error(
                "MissingSecurityHeader",
                "Your request was missing a required header",
                MissingHeaderName=CANNED_HEADER,
            )
        acl = bucket_acl(
            asked,
            owner=owner,
            ownership=authorization.ownership(row),
            block=authorization.public_access(row),
        )
        await room.set_document(call.bucket, ACL, encode_acl(acl))
        return Response(200)
