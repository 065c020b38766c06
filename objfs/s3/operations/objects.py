"""Objects: read and put."""

from collections.abc import AsyncIterator
from contextlib import aclosing

from msgspec.structs import replace

from objfs.auth.acl import CANNED_HEADER, Acl, encode_acl
from objfs.auth.ownership import ENFORCED, object_acl
from objfs.auth.policy import denial
from objfs.base.errors import (
    IsDeleteMarker,
    NoSuchKey,
    NoSuchVersion,
    NotModified,
    ObjfsError,
)
from objfs.base.limits import PUT_BYTES_MAX, S3_PIECE_BYTES
from objfs.s3.calls import Call, Operate
from objfs.s3.dates import http_date
from objfs.s3.documents.lifecycle import expiration_header
from objfs.s3.documents.objects import checksums_of
from objfs.s3.documents.tagging import HEADER as TAGGING
from objfs.s3.documents.tagging import parse_tagging_header
from objfs.s3.errors import S3Error, invalid_argument
from objfs.s3.headers.checksums import checksum_headers
from objfs.s3.headers.conditions import read_conditions, write_conditions
from objfs.s3.headers.encryption import client_key, wants_encryption
from objfs.s3.headers.locking import legal_hold, lock_headers, lock_retention
from objfs.s3.headers.metadata import content_headers, object_headers, overrides, user_metadata
from objfs.s3.headers.ranges import Range, parse_range, part_range
from objfs.s3.http import Bytes, Response, Stream
from objfs.s3.receiving import Receiving
from objfs.s3.rooms import Room, query_of, quoted, version_headers
from objfs.volume.buckets import Bucket
from objfs.volume.lifecycle_rules import Entry, due, key_text, lifecycle_of
from objfs.volume.object_metadata import posix_of
from objfs.volume.object_types import Conditions, ObjectInfo, PutAttributes
from objfs.volume.view import PastFile


class Objects:
    """GetObject, HeadObject, PutObject."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.operations: dict[str, Operate] = {
            "GetObject": self.get,
            "HeadObject": self.get,
            "PutObject": self.put,
        }

    # --- reading ---------------------------------------------------------------------------------

    async def get(self, call: Call) -> Response:
        """GetObject and HeadObject."""
        bucket, info = find_object(self._room, call, action_of(call))
        replaced = overrides(query_of(call), signed=call.caller.identity is not None)
        conditions = read_conditions(call.headers)
        headers = answer_headers(bucket, info)
        if conditions is not None:
            try:
                conditions.check(info)
            except NotModified:
                return Response(304, [pair for pair in headers if pair[0] in _OF_UNCHANGED])
        refuse_encryption(call, reading=True)
        part = _part(call, info)
        if part is None:
            asked = parse_range(call.headers.get("range"), info.size)
        else:
            asked = part_range(info.parts, info.size, part)
            headers.append(("x-amz-mp-parts-count", str(len(info.parts or [0]))))
        headers = [(name, replaced.pop(name, value)) for name, value in headers]
        headers += list(replaced.items())
        start, length, status = 0, info.size, 200
        if asked is not None:
            start, length, status = asked.start, asked.length, 206
            headers.append(("Content-Range", asked.content_range))
        headers += _whole_checksums(call, info, asked)
        if call.request.method == "HEAD":
            return Response(status, headers, length=length)
        file = self._room.volume.objects.open(info)
        pieces = _pieces(file, start, length)
        if length <= S3_PIECE_BYTES:  # what there is of them is there at once
            return Response(status, headers, [piece async for piece in pieces])
        return Response(status, headers, Stream(length, pieces))

    # --- putting ---------------------------------------------------------------------------------

    async def put(self, call: Call) -> Response:
        """PutObject."""
        room = self._room
        bucket = room.authorization.bucket(call)
        receiving = Receiving(call)
        attributes = put_attributes(room, call, bucket)
        conditions = write_conditions(call.headers)
        if receiving.length > PUT_BYTES_MAX:
            raise S3Error(
                "EntityTooLarge", ProposedSize=receiving.length, MaxSizeAllowed=PUT_BYTES_MAX
            )
        if (attributes.retention or attributes.hold) and not _is_summed(receiving):
            raise S3Error(
                "InvalidRequest",
                "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests "
                "with Object Lock parameters",
            )
        check_before(room, call, conditions)
        algorithm = receiving.sent.algorithm
        put = room.volume.objects.put(
            call.bucket, call.key, () if algorithm is None else (algorithm,)
        )
        try:
            async with aclosing(receiving.pieces()) as pieces:
                async for piece in pieces:
                    await put.write(piece)
            sent = receiving.finish()
            info = await put.commit(
                replace(attributes, md5=sent.md5, checksums=dict(sent.digests)), conditions
            )
        finally:
            await put.abort()
        return Response(200, put_headers(bucket, info))


GIVE_AWAY = "objfs:PutObjectOwner"  # an action of ours: to say whose a file is in the mount
_OF_UNCHANGED = (
    "ETag",
    "Last-Modified",
    "x-amz-version-id",
    "Cache-Control",
    "Expires",
    "Vary",
)


def _is_summed(receiving: Receiving) -> bool:
    return receiving.sent.md5 is not None or receiving.sent.algorithm is not None


def action_of(call: Call) -> str:
    """What a call needs to be allowed."""
    operation = call.operation
    named = call.version_id is not None and operation.version_action
    return operation.version_action if named else operation.action


def find_object(room: Room, call: Call, action: str) -> tuple[Bucket, ObjectInfo]:
    """The bucket and the object of a call, which may do `action` with it. NoSuchBucket, NoSuchKey
    (for who may list the bucket; AccessDenied for others), NoSuchVersion, IsDeleteMarker."""
    authorization = room.authorization
    bucket = authorization.bucket(call)
    try:
        info = room.volume.objects.head(call.bucket, call.key, call.version_id)
    except (NoSuchKey, NoSuchVersion) as error:
        named = call.version_id is not None
        listed = not named and authorization.allows(call, "s3:ListBucket", bucket)
        asked, decision = authorization.decide(call, action, bucket, call.key)
        # What is not there has no list that could allow it: who may list may know that it is not.
        if not decision and (decision.explicit or not listed):
            raise S3Error("AccessDenied", denial(asked, call.caller.identity, decision)) from error
        if not (listed or named or isinstance(error, IsDeleteMarker)):
            raise S3Error("AccessDenied") from error
        if isinstance(error, IsDeleteMarker) and named:
            error.latest = False  # asked for by its id it is no object, whatever came after it
        raise
    authorization.require(call, action, bucket, call.key, info)
    call.request.notes.version = info.version_id
    return bucket, info


def answer_headers(bucket: Bucket, info: ObjectInfo) -> list[tuple[str, str]]:
    """What a GET or HEAD tells of an object."""
    headers = [
        ("Last-Modified", http_date(info.time_ns)),
        ("ETag", quoted(info.etag)),
        ("Accept-Ranges", "bytes"),
        *version_headers(bucket, info),
        *object_headers(info),
        *lock_headers(info),
        *expiration(bucket, info),
    ]
    if info.tags:
        headers.append(("x-amz-tagging-count", str(len(info.tags))))
    return headers


def expiration(bucket: Bucket, info: ObjectInfo) -> list[tuple[str, str]]:
    """When the rules of the bucket want the object gone."""
    configuration = lifecycle_of(bucket)
    if configuration is None or not info.latest:
        return []
    found = due(configuration, Entry(key_text(info.key), info.time_ns, info.size, info.tags))
    return [] if found is None else [("x-amz-expiration", expiration_header(found))]


def _whole_checksums(call: Call, info: ObjectInfo, asked: Range | None) -> list[tuple[str, str]]:
    """Checksums are of the whole object: S3 tells them with nothing less."""
    wanted = (call.headers.get("x-amz-checksum-mode") or "").upper() == "ENABLED"
    if not wanted or (asked is not None and asked.length != info.size):
        return []
    return checksum_headers(checksums_of(info), info.checksum_type)


def _part(call: Call, info: ObjectInfo) -> int | None:
    text = call.query("partNumber")
    if text is None:
        return None
    if "range" in call.headers:
        raise S3Error(
            "InvalidRequest", "Cannot specify both Range header and partNumber query parameter"
        )
    if not (text.isascii() and len(text) < 10 and text.isdigit() and 1 <= int(text) <= 10_000):
        raise invalid_argument(
            "Part number must be an integer between 1 and 10000, inclusive", "partNumber", text
        )
    return int(text)


async def _pieces(file: PastFile, start: int, length: int) -> AsyncIterator[Bytes]:
    """The bytes [start, start + length), as they are read."""
    end = start + length
    while start < end:
        piece = await file.read(start, min(S3_PIECE_BYTES, end - start))
        if not len(piece):
            raise ObjfsError("the bytes of a version end before its size")
        start += len(piece)
        yield piece


def refuse_encryption(call: Call, *, reading: bool = False) -> None:
    """What asks for encryption is refused, not ignored. NotImplemented."""
    key = client_key(call.headers, secure=call.request.secure)
    if key is not None or (not reading and wants_encryption(call.headers)):
        raise S3Error("NotImplemented", "Server-side encryption is not implemented.")


def check_before(room: Room, call: Call, conditions: Conditions | None) -> None:
    """Test the conditions of a write before its body is asked for; they are tested again in the
    change. PreconditionFailed, NoSuchKey."""
    if conditions is None:
        return
    try:
        info = room.volume.objects.head(call.bucket, call.key)
    except NoSuchKey:
        info = None
    conditions.check_write(info)


def put_attributes(room: Room, call: Call, bucket: Bucket) -> PutAttributes:
    """What the headers of a call say of the object that it makes, and whether the caller may.
    AccessDenied and what each header can be wrong about."""
    headers, authorization = call.headers, room.authorization
    authorization.require(call, "s3:PutObject", bucket, call.key)
    refuse_encryption(call)
    tags = {}
    if TAGGING in headers:
        authorization.require(call, "s3:PutObjectTagging", bucket, call.key)
        tags = parse_tagging_header(headers.get(TAGGING) or "")
    retention, hold = lock_retention(headers, call.now_ns), legal_hold(headers)
    configured = room.lock_configuration(bucket)
    if (retention is not None or hold is not None) and configured is None:
        raise S3Error("InvalidRequest", "Bucket is missing Object Lock Configuration")
    if retention is not None:
        authorization.require(call, "s3:PutObjectRetention", bucket, call.key)
    elif configured is not None:
        retention = configured.retention(call.now_ns)
    if hold is not None:
        authorization.require(call, "s3:PutObjectLegalHold", bucket, call.key)
    owner, acl = _owner_and_acl(room, call, bucket)
    identity, metadata = call.caller.identity, user_metadata(headers)
    return PutAttributes(
        metadata=metadata,
        chown=_given_to(room, call, bucket, metadata),
        headers=content_headers(headers),
        tags=tags,
        acl=acl,
        retention=retention,
        hold=bool(hold),
        owner=owner,
        uid=identity.uid if identity is not None and identity.uid >= 0 else None,
        gid=identity.gid if identity is not None and identity.gid >= 0 else None,
    )


def _given_to(
    room: Room, call: Call, bucket: Bucket, metadata: dict[str, str]
) -> tuple[int, int] | None:
    """The owner of the file, as s3fs sends it, if the caller may give files away. Else the ids are
    metadata like any other."""
    if "uid" not in metadata or "gid" not in metadata:
        return None
    wanted = posix_of(metadata)
    if wanted.uid is None or wanted.gid is None:
        return None
    may = room.authorization.allows(call, GIVE_AWAY, bucket, call.key)
    return (wanted.uid, wanted.gid) if may else None


def _owner_and_acl(room: Room, call: Call, bucket: Bucket) -> tuple[str | None, bytes | None]:
    """To whom a new object belongs (None: the bucket's owner), and its list in stored form."""
    authorization = room.authorization
    bucket_owner, ownership = authorization.owner(bucket), authorization.ownership(bucket)
    writer = room.canonical(call, bucket)
    asked = room.asked_acl(call, writer, bucket_owner)
    if asked is not None:
        _require_acl(room, call, bucket, asked, {writer, bucket_owner})
    acl = object_acl(
        asked,
        writer=writer,
        bucket_owner=bucket_owner,
        ownership=ownership,
        block=authorization.public_access(bucket),
        canned=call.headers.get(CANNED_HEADER) or "",
    )
    if ownership == ENFORCED:
        return None, None
    owner = None if acl.owner == bucket_owner else acl.owner
    return owner, None if asked is None and owner is None else encode_acl(acl)


def _require_acl(room: Room, call: Call, bucket: Bucket, asked: Acl, owners: set[str]) -> None:
    """AccessDenied if the caller may not set the list of a new object. A list for nobody but the
    writer and the owner of the bucket needs no permission besides that of the PUT, unless it is
    denied: policies demand such lists (S3 user guide, "Bucket policy examples")."""
    named, decision = room.authorization.decide(call, "s3:PutObjectAcl", bucket, call.key)
    private = all(each.grantee in owners for each in asked.grants)
    if not decision and (decision.explicit or not private or call.caller.identity is None):
        raise S3Error("AccessDenied", denial(named, call.caller.identity, decision))


def put_headers(bucket: Bucket, info: ObjectInfo) -> list[tuple[str, str]]:
    """What the answer to a write tells."""
    return [
        ("ETag", quoted(info.etag)),
        *version_headers(bucket, info),
        *checksum_headers(checksums_of(info), info.checksum_type),
        *expiration(bucket, info),
    ]
