"""CopyObject: another name for the same bytes, which are not copied.

Promises: a source is read with the rights of the caller; metadata and tags are those of the source,
or those of the request, as its directives say.
"""

from msgspec.structs import replace

from objfs.base.errors import IsDeleteMarker, NoSuchKey, NotModified, PreconditionFailed
from objfs.s3.calls import Call, Operate, xml_response
from objfs.s3.documents.objects import checksums_of, write_copied
from objfs.s3.documents.tagging import HEADER as TAGGING
from objfs.s3.errors import S3Error
from objfs.s3.headers.conditions import copy_conditions, write_conditions
from objfs.s3.headers.copy_source import HEADER, CopySource, directive, parse_copy_source
from objfs.s3.headers.metadata import REDIRECT, STORAGE_CLASS, content_headers
from objfs.s3.http import Response
from objfs.s3.operations.objects import check_before, expiration, put_attributes
from objfs.s3.rooms import Room, version_headers
from objfs.volume.buckets import Bucket
from objfs.volume.object_types import ObjectInfo, PutAttributes

_METADATA, _TAGGING = "x-amz-metadata-directive", "x-amz-tagging-directive"
_OF_THE_COPY = (REDIRECT, STORAGE_CLASS)  # never taken from the source


class Copying:
    """The operation that copies."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.operations: dict[str, Operate] = {"CopyObject": self.copy}

    async def copy(self, call: Call) -> Response:
        """CopyObject."""
        room = self._room
        bucket = room.authorization.bucket(call)
        named = parse_copy_source(call.headers.get(HEADER) or "")
        attributes = put_attributes(room, call, bucket)
        source_bucket, source = find_source(room, call, named)
        attributes = self._attributes(call, source_bucket, source, attributes, named)
        conditions = write_conditions(call.headers)
        check_before(room, call, conditions)
        info = await room.volume.objects.copy(source, call.bucket, call.key, attributes, conditions)
        document = write_copied(
            "CopyObjectResult", info.etag, info.time_ns, checksums_of(info), info.checksum_type
        )
        headers = [
            *source_headers(source_bucket, source),
            *version_headers(bucket, info),
            *expiration(bucket, info),
        ]
        return xml_response(document, headers)

    def _attributes(
        self,
        call: Call,
        bucket: Bucket,
        source: ObjectInfo,
        asked: PutAttributes,
        named: CopySource,
    ) -> PutAttributes:
        """What the copy has: of the request, and of the source."""
        metadata = directive(call.headers.get(_METADATA), _METADATA)
        tagging = directive(call.headers.get(_TAGGING), _TAGGING)
        headers = asked.headers
        if metadata == "COPY":
            if _changes_nothing(call, source, named):
                raise S3Error(
                    "InvalidRequest",
                    "This copy request is illegal because it is trying to copy an object to itself "
                    "without changing the object's metadata, storage class, website redirect "
                    "location or encryption attributes.",
                )
            kept = {
                name: value for name, value in source.headers.items() if name not in _OF_THE_COPY
            }
            own = {
                name: value
                for name, value in content_headers(call.headers).items()
                if name in _OF_THE_COPY
            }
            headers = {**kept, **own}
        tags = asked.tags
        if tagging == "COPY":
            if TAGGING in call.headers:
                raise S3Error(
                    "InvalidArgument",
                    "The x-amz-tagging header needs the tagging directive REPLACE.",
                    ArgumentName=_TAGGING,
                )
            tags = source.tags
        if tags and tagging == "COPY":
            extra = (
                "s3:GetObjectTagging"
                if named.version_id is None
                else ("s3:GetObjectVersionTagging")
            )
            self._room.authorization.require(call, extra, bucket, source.key, source)
        return replace(
            asked,
            metadata=source.metadata if metadata == "COPY" else asked.metadata,
            headers=headers,
            tags=tags,
            parts=source.parts,
            checksum_type=source.checksum_type,
        )


def _changes_nothing(call: Call, source: ObjectInfo, named: CopySource) -> bool:
    same = (source.bucket, source.key) == (call.bucket, call.key) and named.version_id is None
    changing = (*_OF_THE_COPY, "x-amz-server-side-encryption")
    return same and not any(name in call.headers for name in changing)


def find_source(room: Room, call: Call, named: CopySource) -> tuple[Bucket, ObjectInfo]:
    """The bucket and the object that a copy is made of. NoSuchBucket, NoSuchKey, NoSuchVersion,
    AccessDenied, PreconditionFailed."""
    authorization = room.authorization
    bucket = authorization.source_bucket(call, named.bucket)
    action = "s3:GetObject" if named.version_id is None else "s3:GetObjectVersion"
    try:
        info = room.volume.objects.head(named.bucket, named.key, named.version_id)
    except IsDeleteMarker as error:
        authorization.require(call, action, bucket, named.key)
        if named.version_id is not None:
            raise S3Error(
                "InvalidRequest",
                "The source of a copy request may not specifically refer to a delete marker by "
                "version id.",
            ) from error
        raise S3Error("NoSuchKey", Key=_shown(named.key)) from error
    except NoSuchKey as error:
        authorization.require(call, action, bucket, named.key)
        if not authorization.allows(call, "s3:ListBucket", bucket):
            raise S3Error("AccessDenied") from error
        raise S3Error("NoSuchKey", Key=_shown(named.key)) from error
    authorization.require(call, action, bucket, named.key, info)
    conditions = copy_conditions(call.headers)
    if conditions is not None:
        try:
            conditions.check(info)
        except NotModified as error:
            raise PreconditionFailed("x-amz-copy-source-If-None-Match") from error
    return bucket, info


def _shown(key: bytes) -> str:
    return key.decode("utf-8", "replace")


def source_headers(bucket: Bucket, source: ObjectInfo) -> list[tuple[str, str]]:
    """Which version was copied."""
    if bucket.versioning == "off":
        return []
    return [("x-amz-copy-source-version-id", source.version_id)]
