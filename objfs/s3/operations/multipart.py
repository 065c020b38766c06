"""Multipart uploads: begun, given parts, listed, completed, given up.

Promises: what a part needs to be believed is checked as for a PUT; an upload is named by bucket,
key and id together, so that the rights to a key are the rights to its uploads.
"""

from contextlib import aclosing

from msgspec.structs import replace

from objfs.base.errors import EncryptedForS3Only
from objfs.base.limits import LISTED_UPLOADS_MAX, PUT_BYTES_MAX
from objfs.s3.calls import Call, Operate, xml_response
from objfs.s3.documents import multipart
from objfs.s3.documents.checksums import ALGORITHMS, HEADERS, Checksums, decode_digest
from objfs.s3.documents.objects import checksums_of, write_copied
from objfs.s3.errors import S3Error, invalid_argument
from objfs.s3.headers.checksums import checksum_headers, sent_digest, upload_checksum
from objfs.s3.headers.conditions import write_conditions
from objfs.s3.headers.copy_source import HEADER, parse_copy_source
from objfs.s3.headers.metadata import STANDARD, STORAGE_CLASS
from objfs.s3.headers.ranges import parse_copied_range
from objfs.s3.http import Response, encode_text
from objfs.s3.operations.copying import find_source, source_headers
from objfs.s3.operations.objects import check_before, expiration, put_attributes
from objfs.s3.receiving import Receiving, read_document
from objfs.s3.rooms import Room, quoted, version_headers
from objfs.volume.buckets import Bucket
from objfs.volume.object_types import COMPOSITE, FULL_OBJECT
from objfs.volume.uploads import AskedPart, UploadInfo

_SIZE = "x-amz-mp-object-size"


class Multipart:
    """The operations of uploads."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.operations: dict[str, Operate] = {
            "CreateMultipartUpload": self.create,
            "UploadPart": self.part,
            "UploadPartCopy": self.copy_part,
            "CompleteMultipartUpload": self.complete,
            "AbortMultipartUpload": self.abort,
            "ListParts": self.parts,
            "ListMultipartUploads": self.uploads,
        }

    def _allowed(self, call: Call) -> Bucket:
        row = self._room.authorization.bucket(call)
        key = call.key if call.key else None
        self._room.authorization.require(call, call.operation.action, row, key)
        return row

    def _found(self, call: Call) -> tuple[Bucket, UploadInfo]:
        """The bucket and the upload of a call. AccessDenied, NoSuchUpload."""
        row = self._allowed(call)
        found = self._room.volume.uploads.find(call.bucket, call.key, call.query("uploadId") or "")
        return row, found

    # --- begin and end ---------------------------------------------------------------------------

    async def create(self, call: Call) -> Response:
        """CreateMultipartUpload."""
        bucket = self._room.authorization.bucket(call)
        attributes = put_attributes(self._room, call, bucket)
        algorithm, kind = upload_checksum(call.headers)
        made = await self._room.volume.uploads.create(
            call.bucket,
            call.key,
            replace(attributes, checksum_type=kind or FULL_OBJECT),
            initiator=self._room.canonical(call, bucket),
            checksum=algorithm or "",
        )
        headers = []
        if algorithm is not None and kind is not None:
            headers = [("x-amz-checksum-algorithm", algorithm), ("x-amz-checksum-type", kind)]
        document = multipart.write_initiated(call.bucket, call.key, made.upload_id)
        return xml_response(document, headers)

    async def complete(self, call: Call) -> Response:
        """CompleteMultipartUpload."""
        bucket = self._allowed(call)
        conditions = write_conditions(call.headers)
        asked = [_asked(part) for part in multipart.parse_complete(await read_document(call))]
        check_before(self._room, call, conditions)
        info = await self._room.volume.uploads.complete(
            call.bucket,
            call.key,
            call.query("uploadId") or "",
            asked,
            conditions,
            checksums=_whole_checksums(call),
            size=_size(call),
        )
        scheme = "https" if call.request.secure else "http"
        place = f"{scheme}://{call.request.host}"
        path = call.request.raw_path.decode("ascii", "replace")
        document = multipart.write_completed(
            place + path,
            call.bucket,
            call.key,
            info.etag,
            checksums_of(info),
            info.checksum_type,
        )
        headers = [*version_headers(bucket, info), *expiration(bucket, info)]
        return xml_response(document, headers)

    async def abort(self, call: Call) -> Response:
        """AbortMultipartUpload."""
        _, found = self._found(call)
        await self._room.volume.uploads.abort(call.bucket, call.key, found.upload_id)
        return Response(204)

    # --- parts -----------------------------------------------------------------------------------

    async def part(self, call: Call) -> Response:
        """UploadPart."""
        _, upload = self._found(call)
        number = _part_number(call)
        receiving = Receiving(call)
        algorithm = receiving.sent.algorithm
        if receiving.length > PUT_BYTES_MAX:
            raise S3Error(
                "EntityTooLarge", ProposedSize=receiving.length, MaxSizeAllowed=PUT_BYTES_MAX
            )
        if upload.checksum and algorithm not in {None, upload.checksum}:
            raise S3Error(
                "InvalidRequest",
                f"Checksum Type mismatch occurred, expected checksum Type: {upload.checksum}, "
                f"actual checksum Type: {algorithm}",
            )
        put = self._room.volume.uploads.part(
            call.bucket,
            call.key,
            upload.upload_id,
            number,
            () if algorithm is None else (algorithm,),
        )
        try:
            async with aclosing(receiving.pieces()) as pieces:
                async for piece in pieces:
                    await put.write(piece)
            sent = receiving.finish()
            part = await put.commit(sent.md5, dict(sent.digests))
        finally:
            await put.abort()
        sums = checksum_headers(Checksums(part.checksums or {}))
        return Response(200, [("ETag", quoted(part.etag)), *sums])

    async def copy_part(self, call: Call) -> Response:
        """UploadPartCopy."""
        _, upload = self._found(call)
        number = _part_number(call)
        named = parse_copy_source(call.headers.get(HEADER) or "")
        source_bucket, source = find_source(self._room, call, named)
        if source.encryption is not None:
            raise EncryptedForS3Only("the source is encrypted: its key is needed")
        taken = parse_copied_range(call.headers.get("x-amz-copy-source-range"), source.size)
        part = await self._room.volume.uploads.copy_part(
            call.bucket,
            call.key,
            upload.upload_id,
            number,
            source,
            taken.start,
            taken.start + taken.length,
        )
        document = write_copied(
            "CopyPartResult", part.etag, part.time_ns, Checksums(part.checksums or {})
        )
        return xml_response(document, source_headers(source_bucket, source))

    # --- lists -----------------------------------------------------------------------------------

    def _listed(self, bucket: Bucket, upload: UploadInfo) -> multipart.ListedUpload:
        owner = self._room.authorization.owner(bucket)
        return multipart.ListedUpload(
            upload.key,
            upload.upload_id,
            upload.time_ns,
            upload.initiator or owner,
            upload.attributes.owner or owner,
            upload.attributes.headers.get(STORAGE_CLASS, STANDARD),
            upload.checksum or None,
            upload.attributes.checksum_type if upload.checksum else None,
        )

    async def parts(self, call: Call) -> Response:
        """ListParts."""
        bucket, upload = self._found(call)
        marker = call.number("part-number-marker", 0, 1 << 31)
        limit = call.number("max-parts", LISTED_UPLOADS_MAX, LISTED_UPLOADS_MAX)
        page = self._room.volume.uploads.list_parts(
            call.bucket, call.key, upload.upload_id, marker, limit
        )
        shown = [
            multipart.ListedPart(
                part.number, part.etag, part.size, part.time_ns, Checksums(part.checksums or {})
            )
            for part in page.parts
        ]
        listed = multipart.PartsPage(shown, marker, page.next, limit, page.truncated)
        return xml_response(
            multipart.write_parts(call.bucket, self._listed(bucket, upload), listed)
        )

    async def uploads(self, call: Call) -> Response:
        """ListMultipartUploads."""
        bucket = self._allowed(call)
        prefix, delimiter, key_marker = (
            encode_text(call.query(name) or "") for name in ("prefix", "delimiter", "key-marker")
        )
        upload_marker = call.query("upload-id-marker") or "" if key_marker else ""
        limit = call.number("max-uploads", LISTED_UPLOADS_MAX, LISTED_UPLOADS_MAX)
        encoding = call.encoding()
        asked = multipart.UploadsPage(
            [], (), prefix, delimiter, key_marker, upload_marker, limit=limit, encoding=encoding
        )
        if limit:
            page = self._room.volume.uploads.list_uploads(
                call.bucket, prefix, key_marker, upload_marker, delimiter, limit
            )
            asked = asked._replace(
                uploads=[self._listed(bucket, each) for each in page.uploads],
                prefixes=page.prefixes,
                truncated=page.truncated,
                next_key=page.next_key if page.truncated else None,
                next_upload=page.next_upload if page.truncated else None,
            )
        return xml_response(multipart.write_uploads(call.bucket, asked))


def _part_number(call: Call) -> int:
    text = call.query("partNumber")
    if text is None:
        raise invalid_argument(
            "This operation does not accept a query-string without partNumber.", "partNumber", ""
        )
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    return multipart.check_part_number(number)


def _asked(part: multipart.NamedPart) -> AskedPart:
    digests = {}
    for algorithm, text in part.checksums.items():
        digest = decode_digest(text, ALGORITHMS[algorithm])
        if digest is None:
            raise S3Error("InvalidPart")
        digests[algorithm] = digest
    return AskedPart(part.number, part.etag, digests)


def _whole_checksums(call: Call) -> dict[str, bytes]:
    """What the client says of the whole object; a composite one ends with the number of parts."""
    composite = (call.headers.get("x-amz-checksum-type") or "").upper() == COMPOSITE
    found = {}
    for header, algorithm in HEADERS.items():
        text = call.headers.get(header)
        if text is not None:
            if composite or "-" in text:
                text = text.rpartition("-")[0] or text
            found[algorithm] = sent_digest(algorithm, text)
    return found


def _size(call: Call) -> int | None:
    text = call.headers.get(_SIZE)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise invalid_argument(f"Value for {_SIZE} header is invalid.", _SIZE, text)
    return int(text)
