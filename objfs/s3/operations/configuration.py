"""What buckets are configured with: documents that are put, read and deleted.

Most of them are alike, and rows of a table here; those that touch other settings have a function.
"""

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from objfs.auth.ownership import PublicAccessBlock, check_ownership_change, checked_ownership
from objfs.base.limits import BUCKET_POLICY_BYTES_MAX
from objfs.s3.authorization import ACL, OWNERSHIP, POLICY, PUBLIC_ACCESS
from objfs.s3.calls import Call, Operate, xml_response
from objfs.s3.documents import access, buckets, cors, encryption, lifecycle, tagging
from objfs.s3.documents.stored import load, store
from objfs.s3.errors import S3Error
from objfs.s3.http import Response
from objfs.s3.receiving import read_document
from objfs.s3.rooms import Room
from objfs.volume.buckets import Bucket
from objfs.volume.lifecycle_rules import LIFECYCLE, LifecycleConfiguration

CORS, ENCRYPTION, TAGGING = "cors", "encryption", "tagging"


class Kind(NamedTuple):
    """One kind of document: under which name it is stored, how it is read from XML into its stored
    form and written from that, what S3 says when there is none, the status of a PUT."""

    document: str
    read: Callable[[bytes], bytes]
    write: Callable[[bytes], bytes]
    missing: str
    put_status: int = 200


def _tags(stored: bytes) -> dict[str, str]:
    return msgspec.json.decode(stored, type=dict[str, str])


_KINDS: dict[str, Kind] = {
    "BucketCors": Kind(
        CORS,
        lambda body: store(cors.parse_cors(body)),
        lambda stored: cors.write_cors(load(cors.CorsConfiguration, stored)),
        "NoSuchCORSConfiguration",
    ),
    "BucketEncryption": Kind(
        ENCRYPTION,
        lambda body: store(encryption.parse_encryption(body)),
        lambda stored: encryption.write_encryption(
            load(encryption.EncryptionConfiguration, stored)
        ),
        "ServerSideEncryptionConfigurationNotFoundError",
    ),
    "BucketLifecycleConfiguration": Kind(
        LIFECYCLE,
        lambda body: store(lifecycle.parse_lifecycle(body)),
        lambda stored: lifecycle.write_lifecycle(load(LifecycleConfiguration, stored)),
        "NoSuchLifecycleConfiguration",
    ),
    "BucketTagging": Kind(
        TAGGING,
        lambda body: msgspec.json.encode(tagging.parse_bucket_tagging(body)),
        lambda stored: tagging.write_tagging(_tags(stored)),
        "NoSuchTagSet",
        204,
    ),
    "PublicAccessBlock": Kind(
        PUBLIC_ACCESS,
        lambda body: access.parse_public_access(body).encode(),
        lambda stored: access.write_public_access(load(PublicAccessBlock, stored)),
        "NoSuchPublicAccessBlockConfiguration",
    ),
}


class Configuration:
    """The operations of a bucket's documents."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.operations: dict[str, Operate] = {
            "GetBucketVersioning": self.get_versioning,
            "PutBucketVersioning": self.put_versioning,
            "GetBucketOwnershipControls": self.get_ownership,
            "PutBucketOwnershipControls": self.put_ownership,
            "DeleteBucketOwnershipControls": self.delete_ownership,
            "GetBucketPolicy": self.get_policy,
            "PutBucketPolicy": self.put_policy,
            "DeleteBucketPolicy": self.delete_policy,
            "GetBucketPolicyStatus": self.get_policy_status,
            "GetBucketLogging": self._constant(buckets.write_empty("BucketLoggingStatus")),
            "GetBucketNotificationConfiguration": self._constant(
                buckets.write_empty("NotificationConfiguration")
            ),
            "GetBucketRequestPayment": self._constant(buckets.write_payer()),
            "GetBucketAccelerateConfiguration": self._constant(
                buckets.write_empty("AccelerateConfiguration")
            ),
            "GetBucketReplication": self._never("ReplicationConfigurationNotFoundError"),
            "DeleteBucketReplication": self._nothing,
            "GetBucketWebsite": self._never("NoSuchWebsiteConfiguration"),
            "DeleteBucketWebsite": self._nothing,
            "PutBucketLogging": self._checked(buckets.check_logging_off),
            "PutBucketNotificationConfiguration": self._checked(buckets.check_notification_empty),
            "PutBucketRequestPayment": self._checked(buckets.check_payer),
            "PutBucketAccelerateConfiguration": self._checked(buckets.check_not_accelerated),
        }
        for name, kind in _KINDS.items():
            self.operations[f"Get{name}"] = self._get(kind)
            self.operations[f"Put{name}"] = self._put(kind)
            short = name.removesuffix("Configuration") if kind.document == LIFECYCLE else name
            self.operations[f"Delete{short}"] = self._delete(kind)

    def _allowed(self, call: Call) -> Bucket:
        row = self._room.authorization.bucket(call)
        self._room.authorization.require(call, call.operation.action, row)
        return row

    # --- documents that are alike ----------------------------------------------------------------

    def _get(self, kind: Kind) -> Operate:
        async def get(call: Call) -> Response:
            row = self._allowed(call)
            stored = row.policy.get(kind.document)
            if stored is None:
                raise S3Error(kind.missing, BucketName=call.bucket)
            return xml_response(kind.write(stored))

        return get

    def _put(self, kind: Kind) -> Operate:
        async def put(call: Call) -> Response:
            self._allowed(call)
            stored = kind.read(await read_document(call))
            await self._room.set_document(call.bucket, kind.document, stored)
            return Response(kind.put_status)

        return put

    def _delete(self, kind: Kind) -> Operate:
        async def delete(call: Call) -> Response:
            self._allowed(call)
            await self._room.set_document(call.bucket, kind.document, None)
            return Response(204)

        return delete

    # --- documents that there is one form of -----------------------------------------------------

    def _constant(self, document: bytes) -> Operate:
        async def get(call: Call) -> Response:
            self._allowed(call)
            return xml_response(document)

        return get

    def _never(self, code: str) -> Operate:
        async def get(call: Call) -> Response:
            self._allowed(call)
            raise S3Error(code, BucketName=call.bucket)

        return get

    def _checked(self, check: Callable[[bytes], None]) -> Operate:
        async def put(call: Call) -> Response:
            self._allowed(call)
            check(await read_document(call))
            return Response(200)

        return put

    async def _nothing(self, call: Call) -> Response:
        self._allowed(call)
        return Response(204)

    # --- versioning, ownership, policy -----------------------------------------------------------

    async def get_versioning(self, call: Call) -> Response:
        """GetBucketVersioning."""
        return xml_response(buckets.write_versioning(self._allowed(call).versioning))

    async def put_versioning(self, call: Call) -> Response:
        """PutBucketVersioning."""
        self._allowed(call)
        versioning = buckets.parse_versioning(await read_document(call))
        if self._room.authorization.bucket(call).lock and versioning != "on":
            raise S3Error(
                "InvalidBucketState",
                "An Object Lock configuration is present on this bucket, so the versioning state "
                "cannot be changed.",
            )
        self._room.volume.set_bucket(call.bucket, versioning=versioning)
        await self._room.volume.sync()
        return Response(200)

    async def get_ownership(self, call: Call) -> Response:
        """GetBucketOwnershipControls."""
        stored = self._allowed(call).policy.get(OWNERSHIP)
        if stored is None:
            raise S3Error("OwnershipControlsNotFoundError", BucketName=call.bucket)
        return xml_response(access.write_ownership(stored.decode()))

    async def put_ownership(self, call: Call) -> Response:
        """PutBucketOwnershipControls."""
        self._allowed(call)
        ownership = access.parse_ownership(await read_document(call))
        row = self._room.authorization.bucket(call)
        stored = row.policy.get(ACL)
        if stored is not None:
            check_ownership_change(checked_ownership(ownership), self._room.stored_acl(row))
        await self._room.set_document(call.bucket, OWNERSHIP, ownership.encode())
        return Response(200)

    async def delete_ownership(self, call: Call) -> Response:
        """DeleteBucketOwnershipControls."""
        self._allowed(call)
        await self._room.set_document(call.bucket, OWNERSHIP, None)
        return Response(204)

    async def get_policy(self, call: Call) -> Response:
        """GetBucketPolicy: the text as it was put."""
        stored = self._allowed(call).policy.get(POLICY)
        if stored is None:
            raise S3Error("NoSuchBucketPolicy", BucketName=call.bucket)
        return Response(200, [("Content-Type", "application/json")], stored)

    async def put_policy(self, call: Call) -> Response:
        """PutBucketPolicy."""
        row = self._allowed(call)
        text = await read_document(call, BUCKET_POLICY_BYTES_MAX)
        self._room.check_policy(row, text)
        await self._room.set_document(call.bucket, POLICY, text)
        return Response(204)

    async def delete_policy(self, call: Call) -> Response:
        """DeleteBucketPolicy."""
        self._allowed(call)
        await self._room.set_document(call.bucket, POLICY, None)
        return Response(204)

    async def get_policy_status(self, call: Call) -> Response:
        """GetBucketPolicyStatus."""
        row = self._allowed(call)
        if POLICY not in row.policy:
            raise S3Error("NoSuchBucketPolicy", BucketName=call.bucket)
        return xml_response(buckets.write_policy_status(self._room.is_public(row)))
