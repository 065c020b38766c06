"""Multipart uploads (S3): parts come in any order, and become an object without being copied.

What always holds:

- An upload is a row, and so is each part; a part's bytes are the extents of a content that no inode
  has. What was answered survives a crash, an upload with all its parts is there after it.
- Completing copies the parts' extents under one new content, in batches, and then gives that the
  name in one change, which ends the upload too. Until then the parts are as they were: whatever
  stops it, the upload goes on, and completing again begins anew.
- An upload that has ended is a row for a while, so that completing it again gives the same answer.
  Its parts are removed in batches, by `clean`, which goes on after a crash.
- Of one upload, completing, aborting and the taking up of parts go one after the other (`_turns`).
"""

import logging
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

import trio
from msgspec.structs import replace

from objfs.base import limits
from objfs.base.errors import (
    InvalidRequest,
    NoSuchUpload,
    NoSuchVersion,
    ObjfsError,
    WrongUploadSize,
)
from objfs.meta.database import Change
from objfs.meta.rows import EndedUpload, Part, Upload
from objfs.meta.tables import BUCKET, ENDED_UPLOAD, PART, UPLOAD, VERSION
from objfs.volume.bodies import Body, Taken
from objfs.volume.core import Core
from objfs.volume.digests import Digests
from objfs.volume.dirty import Buffer
from objfs.volume.object_keys import check_key
from objfs.volume.object_lock import encode_retention
from objfs.volume.object_types import (
    COMPOSITE,
    FULL_OBJECT,
    Conditions,
    ObjectInfo,
    PutAttributes,
)
from objfs.volume.object_writing import Source
from objfs.volume.objects import Objects
from objfs.volume.upload_bytes import Gathered, drop_content, drop_extents
from objfs.volume.upload_pages import (
    PartPage,
    UploadInfo,
    UploadPage,
    attributes_of,
    info_of,
    part_page,
    upload_page,
)
from objfs.volume.upload_rules import (
    AskedPart,
    check_number,
    check_order,
    check_parts,
    checksums_of,
    digest_of,
    etag_of,
)

logger = logging.getLogger(__name__)
_PARTS_PER_CHANGE = 100


class _Turn:
    """Who is at an upload, and how many want to be."""

    def __init__(self) -> None:
        self.lock = trio.Lock()
        self.users = 0


class Uploads:
    """The verbs of uploads. Uploads are named by bucket, key and the id that `create` gave."""

    def __init__(self, core: Core, objects: Objects) -> None:
        self._core = core
        self._database = core.database
        self._objects = objects
        self._turns: dict[int, _Turn] = {}
        self._wanted = trio.Event()  # set when there is something to clean
        self.part_bytes_min = limits.PART_BYTES_MIN
        self.appending = core.appending
        core.uploads_ended = self._wake

    # --- begin and end ---------------------------------------------------------------------------

    async def create(
        self,
        bucket: str,
        key: bytes,
        attributes: PutAttributes,
        *,
        initiator: str = "",
        checksum: str = "",
    ) -> UploadInfo:
        """Begin an upload; `attributes` are those that the object will have, `checksum_type` among
        them says how `checksum`, an algorithm or "", is told of the whole. Durable when it returns.
        NoSuchBucket, KeyTooLong, InvalidRequest, NoSpace."""
        check_key(key)
        row = self._objects.reading.bucket(bucket)
        if checksum:
            Digests((checksum,))
        self._core.admit(limits.KIB)
        with self._core.change() as change:
            upload = Upload(
                bucket=row.id,
                key=key,
                id=change.new_id(),
                time_ns=change.time_ns,
                initiator=initiator,
                owner=attributes.owner,
                metadata=attributes.metadata or None,
                headers=attributes.headers or None,
                tags=attributes.tags or None,
                acl=attributes.acl,
                retention=encode_retention(attributes.retention),
                hold=attributes.hold,
                encryption=attributes.encryption,
                checksum=checksum,
                composite=attributes.checksum_type == COMPOSITE,
                mode=_number(attributes.mode),
                uid=_number(attributes.uid),
                gid=_number(attributes.gid),
                mtime_ns=_number(attributes.mtime_ns),
            )
            change.put(upload)
        await self._core.log.sync()
        return info_of(bucket, upload)

    def find(self, bucket: str, key: bytes, upload_id: str) -> UploadInfo:
        """An upload that goes on. NoSuchBucket, NoSuchUpload."""
        return info_of(bucket, self._going_on(bucket, key, upload_id))

    def _going_on(self, bucket: str, key: bytes, upload_id: str) -> Upload:
        owner = self._objects.reading.bucket(bucket)
        row = self._database.get(UPLOAD, owner.id, key, upload_number(upload_id))
        if row is None:
            raise NoSuchUpload(f"there is no upload {upload_id} of this key")
        return row

    async def abort(self, bucket: str, key: bytes, upload_id: str) -> None:
        """End an upload and remove its parts. NoSuchBucket, NoSuchUpload."""
        async with self._turn(upload_number(upload_id)):
            row = self._going_on(bucket, key, upload_id)
            self._core.freeing(lambda: self._end([row]))
            await self._core.log.sync()
            await self._clean_parts(row.id)

    def _end(self, uploads: Sequence[Upload]) -> None:
        with self._core.change() as change:
            for row in uploads:
                change.delete(UPLOAD, row.bucket, row.key, row.id)
                change.put(EndedUpload(row.id, row.bucket, row.key, change.time_ns))

    @asynccontextmanager
    async def _turn(self, upload: int) -> AsyncIterator[None]:
        """Be alone with an upload."""
        turn = self._turns.setdefault(upload, _Turn())
        turn.users += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[upload]

    # --- parts -----------------------------------------------------------------------------------

    def part(
        self, bucket: str, key: bytes, upload_id: str, number: int, checksums: tuple[str, ...] = ()
    ) -> "PutPart":
        """Begin a part; `checksums` are algorithms to compute besides the MD5 and the upload's.
        NoSuchUpload, NoSuchBucket, InvalidRequest, ReadOnly."""
        check_number(number)
        row = self._going_on(bucket, key, upload_id)
        self._core.check_writable()
        wanted = dict.fromkeys([*checksums, *([row.checksum] if row.checksum else [])])
        body = Body(self._core, row.bucket, tuple(wanted))
        return PutPart(self, body, (bucket, key, upload_id), number)

    async def take_part(
        self, place: tuple[str, bytes, str], part: Part, body: "Body | Gathered"
    ) -> Part:
        """Put a part into its upload, in place of the one with its number. NoSuchUpload."""
        upload = self._going_on(*place)
        async with self._turn(upload.id):
            self._going_on(*place)
            with self._core.change() as change:
                if isinstance(body, Gathered):
                    content = body.take(change)
                else:
                    content = body.take(change, change.new_id()).content
                part = replace(part, upload=upload.id, content=content, time_ns=change.time_ns)
                old = change.get(PART, upload.id, part.number)
                if old is not None:
                    drop_content(change, old.content)
                change.put(part)
            if isinstance(body, Body):
                body.taken()
            if old is not None:
                await drop_extents(self._core, old.content)
        await self._core.log.sync()
        return part

    async def copy_part(
        self,
        bucket: str,
        key: bytes,
        upload_id: str,
        number: int,
        source: ObjectInfo,
        start: int = 0,
        end: int | None = None,
    ) -> Part:
        """Make a part of the bytes [start, end) of an object. They are read, for the part's ETag,
        and not copied. InvalidRequest for a range that the object does not have; NoSuchVersion,
        NoSuchUpload, EncryptedForS3Only, DataLost."""
        check_number(number)
        upload = self._going_on(bucket, key, upload_id)
        end = source.size if end is None else end
        if not 0 <= start <= end <= source.size:
            raise InvalidRequest(f"the source has {source.size} bytes, not {start} to {end}")
        digests = Digests([upload.checksum] if upload.checksum else [])
        await self._hash(source, start, end, digests)
        gathered = Gathered(self._core)
        try:
            version = self._database.get(VERSION, source.ino, source.sealed)
            if version is None and end > start:
                raise NoSuchVersion(f"version {source.version_id} was erased meanwhile")
            if version is not None and end > start:
                with gathered.kept_whole([version.content]):
                    await gathered.add_range(version, start, end)
            sums = digests.checksums() or None
            part = Part(0, number, 0, end - start, 0, digests.md5.hex(), sums)
            return await self.take_part((bucket, key, upload_id), part, gathered)
        finally:
            await gathered.end()

    async def _hash(self, source: ObjectInfo, start: int, end: int, digests: Digests) -> None:
        file = self._objects.open(source)
        while start < end:
            data: Buffer = await file.read(start, min(limits.BODY_CHUNK_BYTES, end - start))
            if not len(data):
                raise NoSuchVersion(f"version {source.version_id} was erased meanwhile")
            await self._core.threads.run(digests.update, [data])
            start += len(data)

    # --- completing ------------------------------------------------------------------------------

    async def complete(
        self,
        bucket: str,
        key: bytes,
        upload_id: str,
        asked: Sequence[AskedPart],
        conditions: Conditions | None = None,
        *,
        checksums: Mapping[str, bytes] | None = None,
        size: int | None = None,
    ) -> ObjectInfo:
        """Make the object of the parts, in their order; `checksums` and `size` are what the client
        says of the whole. The same again has the same answer. NoSuchUpload, InvalidPart,
        InvalidPartOrder, EntityTooSmall, ChecksumMismatch, WrongUploadSize, PreconditionFailed and
        the other errors of a PUT; the upload goes on after any of them."""
        check_order(asked)
        number = upload_number(upload_id)
        async with self._turn(number):
            ended = self._database.get(ENDED_UPLOAD, number)
            if ended is not None and ended.key == key:
                return self._again(bucket, ended, asked)
            row = self._going_on(bucket, key, upload_id)
            held = {part.number: part for part in self._parts_of(row)}
            parts = check_parts(asked, held, self.part_bytes_min)
            total = sum(part.size for part in parts)
            if size is not None and size != total:
                raise WrongUploadSize(f"The parts have {total} bytes, not {size}")
            sums = checksums_of(parts, row.checksum, checksums or {}, is_composite=row.composite)
            if self._core.quotas:
                self._core.check_quota(row.bucket, total)
            info = await self._assemble(bucket, row, parts, sums, conditions, digest_of(asked))
        self._wake()
        return info

    def _wake(self) -> None:
        """There is something to clean."""
        self._wanted.set()

    def _parts_of(self, row: Upload) -> Iterator[Part]:
        after = 0
        while page := self._database.scan(PART, (row.id,), lower=after, limit=1000):
            yield from page
            after = page[-1].number + 1

    def _again(self, bucket: str, row: EndedUpload, asked: Sequence[AskedPart]) -> ObjectInfo:
        """The answer of an upload that was completed. NoSuchUpload if it was not, or otherwise."""
        owner = self._objects.reading.bucket(bucket)
        if row.bucket == owner.id and row.ino and digest_of(asked) == row.asked:
            for info in self._objects.versions(bucket, row.key):
                if (info.ino, info.sealed) == (row.ino, row.sealed):
                    return info
        raise NoSuchUpload(f"upload {row.id:x} was completed or aborted")

    async def _assemble(
        self,
        bucket: str,
        row: Upload,
        parts: Sequence[Part],
        sums: dict[str, bytes],
        conditions: Conditions | None,
        asked: bytes,
    ) -> ObjectInfo:
        gathered, etag = Gathered(self._core), etag_of(parts)

        def take(change: Change, ino: int) -> Taken:
            content = gathered.take(change) or ino
            change.delete(UPLOAD, row.bucket, row.key, row.id)
            change.put(
                EndedUpload(
                    row.id,
                    row.bucket,
                    row.key,
                    change.time_ns,
                    ino=ino,
                    sealed=change.sequence,
                    asked=asked,
                )
            )
            return Taken(content, 0, gathered.size, gathered.allocated)

        attributes = replace(
            attributes_of(row),
            etag=etag,
            parts=[part.size for part in parts],
            checksum_type=COMPOSITE if row.composite and sums else FULL_OBJECT,
        )
        try:
            with gathered.kept_whole(part.content for part in parts if part.content):
                for part in parts:
                    await gathered.add_content(part.content, part.size)
            made = Source(take, etag, sums)
            return await self._objects.writing.place(bucket, row.key, made, attributes, conditions)
        finally:
            await gathered.end()

    # --- what has ended --------------------------------------------------------------------------

    async def run(self) -> None:
        """Remove what uploads that have ended left, whenever there is something."""
        while True:
            self._wanted = trio.Event()
            try:
                await self.clean()
            except ObjfsError as error:
                logger.error("parts of uploads are removed later: %s", error)
            with trio.move_on_after(limits.UPLOAD_KEPT_SECONDS):
                await self._wanted.wait()

    async def clean(self) -> None:
        """Remove the parts of uploads that have ended, and their rows when they are old; what is
        left of buckets that are gone."""
        await self._end_those_of_nothing()
        scan = self._database.scan
        while rows := scan(ENDED_UPLOAD, (False,), index="cleaned", limit=1):
            async with self._turn(rows[0].id):
                await self._clean_parts(rows[0].id)
        before_ns = self._core.clock.now_ns() - int(limits.UPLOAD_KEPT_SECONDS * 1e9)
        while old := scan(
            ENDED_UPLOAD, (True,), index="cleaned", upper=before_ns, limit=_PARTS_PER_CHANGE
        ):
            with self._core.change() as change:
                for row in old:
                    change.delete(ENDED_UPLOAD, row.id)
            await trio.lowlevel.checkpoint()

    async def _end_those_of_nothing(self) -> None:
        bucket = 0
        while rows := self._database.scan(UPLOAD, lower=bucket, limit=1):
            bucket = rows[0].bucket
            if self._database.get(BUCKET, bucket) is None:
                while page := self._database.scan(UPLOAD, (bucket,), limit=_PARTS_PER_CHANGE):
                    self._end(page)
                    await trio.lowlevel.checkpoint()
            bucket += 1

    async def _clean_parts(self, upload: int) -> None:
        """Remove the parts of an upload that has ended; nothing else is left of one that was
        aborted."""
        core = self._core
        while page := self._database.scan(PART, (upload,), limit=_PARTS_PER_CHANGE):
            core.freeing(partial(self._drop_parts, page))
            for part in page:
                await drop_extents(core, part.content)
        ended = self._database.get(ENDED_UPLOAD, upload)
        if ended is not None and not ended.cleaned:
            core.freeing(partial(self._note_cleaned, ended))

    def _note_cleaned(self, ended: EndedUpload) -> None:
        with self._core.change() as change:
            if ended.ino:
                change.put(replace(ended, cleaned=True))
            else:
                change.delete(ENDED_UPLOAD, ended.id)

    def _drop_parts(self, page: Sequence[Part]) -> None:
        with self._core.change() as change:
            for part in page:
                change.delete(PART, part.upload, part.number)
                if part.content:
                    drop_content(change, part.content)

    # --- lists -----------------------------------------------------------------------------------

    def list_parts(
        self, bucket: str, key: bytes, upload_id: str, after: int = 0, limit: int = 1000
    ) -> PartPage:
        """Parts with numbers above `after`. NoSuchBucket, NoSuchUpload."""
        return part_page(self._database, self._going_on(bucket, key, upload_id), after, limit)

    def list_uploads(
        self,
        bucket: str,
        prefix: bytes = b"",
        key_marker: bytes = b"",
        upload_marker: str = "",
        delimiter: bytes = b"",
        limit: int = 1000,
    ) -> UploadPage:
        """Uploads that go on, by key, and those of a key in the order in which they began: of keys
        above `key_marker`; with `upload_marker`, first the later ones of that key. NoSuchBucket."""
        row = self._objects.reading.bucket(bucket)
        return upload_page(self._database, row, prefix, key_marker, upload_marker, delimiter, limit)


class PutPart:
    """A part on its way in. Used by one task; ends with `commit` or `abort`."""

    def __init__(
        self, uploads: Uploads, body: Body, place: tuple[str, bytes, str], number: int
    ) -> None:
        self._uploads = uploads
        self._body = body
        self._place = place
        self._number = number
        self.write = body.write
        self.abort = body.abort

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._body.size

    async def commit(
        self,
        md5: bytes | None = None,
        checksums: Mapping[str, bytes] | None = None,
        *,
        encryption: dict[str, bytes] | None = None,
    ) -> Part:
        """The part is there, durable; `md5` and `checksums` are what the client sent. After an
        error nothing is left of it. ChecksumMismatch, NoSuchUpload, NoSpace, StorageError."""
        body = self._body
        try:
            with self._uploads.appending():
                await body.end()
                body.digests.check(md5, checksums or {})
                sums = body.digests.checksums() or None
                etag = body.digests.md5.hex()
                part = Part(0, self._number, 0, body.size, 0, etag, sums, encryption)
                return await self._uploads.take_part(self._place, part, body)
        finally:
            await body.abort()


def upload_number(upload_id: str) -> int:
    """The number of an upload. NoSuchUpload for what names none."""
    try:
        number = int(upload_id, 16)
    except ValueError:
        number = 0
    if not 0 < number <= limits.FILE_BYTES_MAX:
        raise NoSuchUpload(f"{upload_id!r} names no upload")
    return number


def _number(value: int | None) -> int:
    return -1 if value is None else value


__all__ = ["AskedPart", "PutPart", "UploadInfo", "Uploads"]
