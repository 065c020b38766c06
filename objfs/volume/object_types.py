"""Objects as S3 sees them, as values: what one is, what a PUT sets, what a request may demand.

Always holds: keys are bytes, names of user metadata are lower case and have no `x-amz-meta-` before
them, ETags have no quotes, times are nanoseconds since 1970. Nothing here knows the index.
"""

from typing import NamedTuple

import msgspec

from objfs.base.errors import NoSuchKey, NotModified, PreconditionFailed

NULL_VERSION = "null"  # how a version is named that was made while its bucket kept none
ANY = "*"  # in a condition: whatever its ETag is
COMPOSITE = "COMPOSITE"
FULL_OBJECT = "FULL_OBJECT"

_SECOND_NS = 1_000_000_000


class LockRetention(NamedTuple):
    """Until when a version may not be erased."""

    mode: str  # GOVERNANCE | COMPLIANCE
    until_ns: int


class ObjectInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a key: an object, or a delete marker."""

    bucket: str
    key: bytes
    version_id: str  # NULL_VERSION for a null entry
    sequence: int  # its place in history: where the path began to show it
    time_ns: int  # LastModified
    size: int = 0
    etag: str = ""
    delete_marker: bool = False
    latest: bool = True
    ino: int = 0
    sealed: int = 0  # the version of that inode; 0 for a delete marker
    metadata: dict[str, str] = {}  # of the user; mode, uid, gid, mtime where somebody set them
    missing_metadata: int = 0  # how many of those no header can carry
    headers: dict[str, str] = {}  # content-type, content-encoding, cache-control, expires, ...
    checksums: dict[str, bytes] = {}  # algorithm in capitals (CRC32C) -> raw digest
    checksum_type: str = FULL_OBJECT  # or COMPOSITE
    parts: list[int] | None = None  # sizes, of a multipart upload
    tags: dict[str, str] = {}
    acl: bytes | None = None  # in the form that the door stores
    retention: LockRetention | None = None
    hold: bool = False  # a legal hold
    encryption: dict[str, bytes] | None = None
    owner: str | None = None  # canonical id of a principal; None: the bucket's owner


class PutAttributes(msgspec.Struct, frozen=True, kw_only=True):
    """What a PUT, a copy or a completed upload sets besides the bytes."""

    metadata: dict[str, str] = {}  # as in `ObjectInfo`
    headers: dict[str, str] = {}
    checksums: dict[str, bytes] = {}  # that the client sent: what was computed has to agree
    checksum_type: str = FULL_OBJECT
    etag: str | None = None  # None: the MD5 of the bytes
    md5: bytes | None = None  # that the client sent; the bytes have to agree
    parts: list[int] | None = None
    tags: dict[str, str] = {}
    acl: bytes | None = None
    retention: LockRetention | None = None
    hold: bool = False
    encryption: dict[str, bytes] | None = None
    owner: str | None = None
    uid: int | None = None  # of the principal, for a key that is new; None: as the directory
    gid: int | None = None
    chown: tuple[int, int] | None = None  # an owner that the client sent, and may give
    mode: int | None = None  # permission bits; None: what the metadata say, or as it was
    mtime_ns: int | None = None  # the same


class Deleted(NamedTuple):
    """What a DELETE did."""

    version_id: str | None  # of the marker it made, or of the version that it erased
    delete_marker: bool  # whether that is a delete marker


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """What a request demands of the newest entry of a key (RFC 9110, 13), ETags without quotes."""

    if_match: tuple[str, ...] | None = None
    if_none_match: tuple[str, ...] | None = None
    if_modified_since_ns: int | None = None
    if_unmodified_since_ns: int | None = None

    def check(self, info: ObjectInfo) -> None:
        """For a GET or HEAD of what is there. PreconditionFailed, NotModified.

        Of each pair the ETag decides alone when it is given (RFC 9110, 13.2.2)."""
        if self.if_match is not None:
            if not _matches(self.if_match, info):
                raise PreconditionFailed("If-Match", "the object has another ETag")
        elif self.if_unmodified_since_ns is not None and _is_newer(
            info, self.if_unmodified_since_ns
        ):
            raise PreconditionFailed("If-Unmodified-Since", "the object was modified since")
        if self.if_none_match is not None:
            if _matches(self.if_none_match, info):
                raise NotModified("the object still has this ETag")
        elif self.if_modified_since_ns is not None and not _is_newer(
            info, self.if_modified_since_ns
        ):
            raise NotModified("the object was not modified since")

    def check_write(self, info: ObjectInfo | None) -> None:
        """For a request that changes the key, whose object is `info` (None: there is none).
        PreconditionFailed; NoSuchKey for If-Match without an object."""
        if self.if_match is not None:
            if info is None:
                raise NoSuchKey("If-Match demands an object, and there is none under the key")
            if not _matches(self.if_match, info):
                raise PreconditionFailed("If-Match", "the object has another ETag")
        if (
            self.if_none_match is not None
            and info is not None
            and (_matches(self.if_none_match, info))
        ):
            raise PreconditionFailed("If-None-Match", "there is an object under the key")
        if (
            info is not None
            and self.if_unmodified_since_ns is not None
            and _is_newer(info, self.if_unmodified_since_ns)
        ):
            raise PreconditionFailed("If-Unmodified-Since", "the object was modified since")


def _matches(etags: tuple[str, ...], info: ObjectInfo) -> bool:
    return ANY in etags or info.etag in etags


def _is_newer(info: ObjectInfo, time_ns: int) -> bool:
    """Whether the object is newer than a time; HTTP's times have whole seconds."""
    return info.time_ns // _SECOND_NS > time_ns // _SECOND_NS
