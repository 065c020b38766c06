"""The error tree: few errors, named for what the caller can do about them.

`objfs/fuse/errors.py` maps them to errno, the S3 door will map them to S3 codes; both tables walk
the class hierarchy, so a subclass needs no row of its own. Errors are raised, never logged and
swallowed. A message says what happened, to what, and what to do.
"""


class ObjfsError(Exception):
    """Everything objfs raises on purpose."""


# --- The request cannot be done as asked; nothing was changed. -----------------------------------


class InvalidRequest(ObjfsError):
    """The arguments make no sense (EINVAL); correct them."""


class NameTooLong(InvalidRequest):
    """A name over 255 bytes or a path over PATH_MAX (ENAMETOOLONG)."""


class NotFound(ObjfsError):
    """No such name, inode, version, bucket or snapshot (ENOENT)."""


class NoAttribute(NotFound):
    """The extended attribute does not exist (ENODATA)."""


class AlreadyExists(ObjfsError):
    """The name is taken (EEXIST)."""


class NotADirectory(ObjfsError):
    """A directory was needed (ENOTDIR)."""


class IsADirectory(ObjfsError):
    """Anything but a directory was needed (EISDIR)."""


class DirectoryNotEmpty(ObjfsError):
    """The directory has entries (ENOTEMPTY)."""


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


class AccessDenied(ObjfsError):
    """This caller may not do this (EACCES)."""


class NotSupported(ObjfsError):
    """The operation exists but not here (EOPNOTSUPP)."""


class ReadOnly(ObjfsError):
    """The mount, the store or the view takes no changes (EROFS)."""


class Busy(ObjfsError):
    """In use by somebody else; try later (EBUSY)."""


class BadHandle(ObjfsError):
    """The handle is closed or was not opened for this (EBADF)."""


class StaleInode(ObjfsError):
    """The inode is gone (ESTALE)."""


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


class ForeignSegment(StoreError):
    """A segment file belongs to another store."""


class MountError(StoreError):
    """The mount point is missing, busy or unusable."""
