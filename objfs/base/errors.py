"""The error tree: few errors, named for what the caller can do about them.

`objfs/fuse/errors.py` maps them to errno, the S3 door will map them to S3 codes; both tables walk
the class hierarchy, so a subclass needs no row of its own. Errors are raised, never logged and
swallowed. A message says what happened, to what, and what to do.
"""

import enum
from collections.abc import Mapping


class ObjfsError(Exception):
    """Everything objfs raises on purpose."""


# --- The request cannot be done as asked; nothing was changed. -----------------------------------


class InvalidRequest(ObjfsError):
    """The arguments make no sense (EINVAL); correct them."""


class NameTooLong(InvalidRequest):
    """A name over 255 bytes or a path over PATH_MAX (ENAMETOOLONG)."""


class KeyTooLong(NameTooLong):
    """A key over 1,024 bytes (ENAMETOOLONG)."""


class ChecksumMismatch(InvalidRequest):
    """The bytes that came are not those the client sent (EINVAL); `what` names the sum."""

    def __init__(self, message: str, what: str = "") -> None:
        super().__init__(message)
        self.what = what


class InvalidPart(InvalidRequest):
    """A part that was not uploaded, or with another ETag (EINVAL)."""


class InvalidPartOrder(InvalidRequest):
    """The parts are not in ascending order (EINVAL)."""


class BadFraming(InvalidRequest):
    """The chunks of a body cannot be read (EINVAL)."""


class IncompleteBody(BadFraming):
    """A body ends before or goes on after what was declared (EINVAL)."""


class BadChunkSize(BadFraming):
    """A chunk that is not the last is too small, or any too large (EINVAL)."""


class BadTrailer(BadFraming):
    """The headers after a body are not those that were announced (EINVAL)."""


class WrongUploadSize(InvalidRequest):
    """The parts of an upload have not together the size that was named (EINVAL)."""


class EntityTooSmall(InvalidRequest):
    """A part that is not the last has less than 5 MiB (EINVAL)."""


class MalformedPolicy(InvalidRequest):
    """A policy document that does not parse, or says what it may not (EINVAL)."""


class AclRefused(InvalidRequest):
    """An access control list cannot be as asked (EINVAL); `code` is S3's."""

    def __init__(self, message: str, code: str = "InvalidArgument") -> None:
        super().__init__(message)
        self.code = code


class LimitExceeded(InvalidRequest):
    """More of something than there may be (EINVAL); give something of it up."""


class NotFound(ObjfsError):
    """No such name, inode, version, bucket or snapshot (ENOENT)."""


class StaleInode(NotFound):
    """The inode is gone (ESTALE). The kernel then looks the name up again: where something was put
    in its place behind the kernel, it leads to that."""


class NoAttribute(NotFound):
    """The extended attribute does not exist (ENODATA)."""


class NoSuchBucket(NotFound):
    """No bucket of this name (ENOENT)."""


class NoSuchKey(NotFound):
    """No object under this key (ENOENT)."""


class IsDeleteMarker(NoSuchKey):
    """The entry is a delete marker (ENOENT): the newest of its key, or the one asked for."""

    def __init__(
        self, message: str, version_id: str = "", time_ns: int = 0, *, latest: bool = True
    ) -> None:
        super().__init__(message)
        self.version_id = version_id
        self.time_ns = time_ns
        self.latest = latest


class NoSuchVersion(NotFound):
    """The key has no such version (ENOENT)."""


class NoSuchUpload(NotFound):
    """No such multipart upload, or it was completed or aborted (ENOENT)."""


class AlreadyExists(ObjfsError):
    """The name is taken (EEXIST)."""


class BucketExists(AlreadyExists):
    """The name of a bucket is taken (EEXIST); `owner` says by whom."""

    def __init__(self, message: str, owner: str = "") -> None:
        super().__init__(message)
        self.owner = owner


class NotADirectory(ObjfsError):
    """A directory was needed (ENOTDIR)."""


class IsADirectory(ObjfsError):
    """Anything but a directory was needed (EISDIR)."""


class DirectoryNotEmpty(ObjfsError):
    """The directory has entries (ENOTEMPTY)."""


class BucketNotEmpty(DirectoryNotEmpty):
    """A version or delete marker of some key remains (ENOTEMPTY)."""


class CrossBucket(ObjfsError):
    """A link or rename between buckets (EXDEV); copy instead."""


class TooManyLinks(ObjfsError):
    """The link count is at its limit (EMLINK)."""


class FileTooLarge(ObjfsError):
    """Beyond the largest file offset (EFBIG)."""


class AttributeTooLarge(ObjfsError):
    """The value of an extended attribute is over its limit (E2BIG)."""


class NotPermitted(ObjfsError):
    """Nobody may do this here (EPERM)."""


class Pinned(NotPermitted):
    """A snapshot needs it (EPERM); delete that first."""


class Locked(NotPermitted):
    """Retention or a legal hold keeps the version (EPERM)."""


class AccessDenied(ObjfsError):
    """This caller may not do this (EACCES)."""


class NotAuthenticated(AccessDenied):
    """Who asks, or what was signed, is not proven (EACCES). `cause` (objfs/auth/causes.py) says
    which rule was broken, `details` are elements for S3's error document."""

    def __init__(
        self,
        message: str,
        cause: enum.Enum | None = None,
        details: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.cause = cause
        self.details = details or {}


class EncryptedForS3Only(AccessDenied):
    """The bytes need a key that the client of S3 has (EACCES)."""


class PreconditionFailed(ObjfsError):
    """A condition of the request does not hold (ECANCELED); `condition` names it."""

    def __init__(self, condition: str, message: str = "") -> None:
        super().__init__(message or condition)
        self.condition = condition


class NotModified(PreconditionFailed):
    """The object is what the client has already (ECANCELED)."""


class NotSupported(ObjfsError):
    """The operation exists but not here (EOPNOTSUPP)."""


class ReadOnly(ObjfsError):
    """The mount, the store or the view takes no changes (EROFS)."""


class Busy(ObjfsError):
    """In use by somebody else; try later (EBUSY)."""


class StillNeeded(Busy):
    """Other things refer to it (EBUSY); take them away first."""


class BadHandle(ObjfsError):
    """The handle is closed or was not opened for this (EBADF)."""


# --- The storage below does not do its part. -----------------------------------------------------


class StorageError(ObjfsError):
    """The device or the index failed (EIO)."""


class NoSpace(StorageError):
    """The device is full (ENOSPC); nothing was lost, free some space."""


class DeviceFailed(StorageError):
    """A write or sync failed: the log takes nothing more until the store is opened again."""


class IndexFailed(StorageError):
    """The index failed after the append: the view is off until the store is opened again."""


class DataLost(StorageError):
    """A record does not verify and there is no other copy. Wrong bytes are never returned."""


# --- The store cannot be opened. -----------------------------------------------------------------


class StoreError(ObjfsError):
    """The store cannot be opened or used as asked."""


class NotAStore(StoreError):
    """The directory is no objfs store, or its description is damaged."""


class NewerFormat(StoreError):
    """Written by a later objfs; use that version."""


class StoreHeld(StoreError):
    """Another process owns the store; the message says which."""


class StoreKeyMissing(StoreError):
    """The key that a secret is encrypted with is missing or another; put the key file back."""


class ForeignSegment(StoreError):
    """A segment file belongs to another store."""


class MountError(StoreError):
    """The mount point is missing, busy or unusable."""


class ListenError(StoreError):
    """The service cannot listen: an address in use, a certificate that cannot be read."""


def first_error(group: BaseExceptionGroup[ObjfsError]) -> ObjfsError:
    """Of several tasks that failed, the first error that says so."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, ObjfsError)
    return error
