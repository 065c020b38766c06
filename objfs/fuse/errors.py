"""The only table from errors to errno.

It walks the class hierarchy, so a subclass needs no row of its own. What is not in it is a bug of
ours or of a library, and reads as EIO.
"""

import errno
from collections.abc import Iterator

from objfs.base import errors

ERRNO: dict[type[BaseException], int] = {
    errors.InvalidRequest: errno.EINVAL,
    errors.NameTooLong: errno.ENAMETOOLONG,
    errors.NotFound: errno.ENOENT,
    errors.NoAttribute: errno.ENODATA,
    errors.AlreadyExists: errno.EEXIST,
    errors.NotADirectory: errno.ENOTDIR,
    errors.IsADirectory: errno.EISDIR,
    errors.DirectoryNotEmpty: errno.ENOTEMPTY,
    errors.CrossBucket: errno.EXDEV,
    errors.TooManyLinks: errno.EMLINK,
    errors.FileTooLarge: errno.EFBIG,
    errors.AttributeTooLarge: errno.E2BIG,
    errors.NotPermitted: errno.EPERM,
    errors.AccessDenied: errno.EACCES,
    errors.PreconditionFailed: errno.ECANCELED,
    errors.NotSupported: errno.EOPNOTSUPP,
    errors.ReadOnly: errno.EROFS,
    errors.Busy: errno.EBUSY,
    errors.BadHandle: errno.EBADF,
    errors.StaleInode: errno.ESTALE,
    errors.StorageError: errno.EIO,
    errors.NoSpace: errno.ENOSPC,
    errors.StoreError: errno.EIO,
    MemoryError: errno.ENOMEM,
}


def errno_of(error: BaseException) -> int:
    """What the kernel is told. Of a group of errors, the first that says more than EIO."""
    if isinstance(error, BaseExceptionGroup):
        numbers = [errno_of(leaf) for leaf in _leaves(error)]
        return next((number for number in numbers if number != errno.EIO), errno.EIO)
    for kind in type(error).__mro__:
        number = ERRNO.get(kind)
        if number is not None:
            return number
    return errno.EIO


def is_expected(error: BaseException) -> bool:
    """Whether the error is the caller's affair; of any other the log has to tell."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(is_expected, _leaves(error)))
    return isinstance(error, errors.ObjfsError) and (
        isinstance(error, errors.NoSpace)
        or not isinstance(error, errors.StorageError | errors.StoreError)
    )


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
