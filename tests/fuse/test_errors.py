"""Every error of objfs has an errno, and the right one."""

import errno
import inspect

import pytest

from objfs.base import errors
from objfs.fuse.errors import ERRNO, errno_of, is_expected

CLASSES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.ObjfsError) and kind is not errors.ObjfsError
]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_has_a_row_or_a_parent_with_one(kind: type[errors.ObjfsError]) -> None:
    assert any(parent in ERRNO for parent in kind.__mro__)


@pytest.mark.parametrize("kind", CLASSES)
def test_the_tree_says_the_same_as_the_table(kind: type[errors.ObjfsError]) -> None:
    # `base/errors.py` names an errno in a class's docstring where it means one.
    named = [word.strip("()") for word in (kind.__doc__ or "").replace(")", ") ").split()]
    numbers = [number for number, name in errno.errorcode.items() if name in named]
    if numbers:
        assert errno_of(kind("what happened")) in numbers


def test_subclasses_are_more_precise_than_their_parents() -> None:
    assert errno_of(errors.NoAttribute("")) == errno.ENODATA
    assert errno_of(errors.NameTooLong("")) == errno.ENAMETOOLONG
    assert errno_of(errors.NoSpace("")) == errno.ENOSPC
    assert errno_of(errors.DataLost("")) == errno.EIO


def test_what_is_nobodys_error_is_eio() -> None:
    assert errno_of(KeyError("a bug")) == errno.EIO
    assert errno_of(OSError(errno.ENOENT, "a file of ours")) == errno.EIO
    assert errno_of(MemoryError()) == errno.ENOMEM


def test_a_group_says_what_its_most_telling_member_says() -> None:
    inner = ExceptionGroup("", [errors.NoSpace("")])
    assert errno_of(ExceptionGroup("", [errors.DataLost(""), inner])) == errno.ENOSPC
    assert errno_of(ExceptionGroup("", [errors.DataLost("")])) == errno.EIO


def test_the_log_tells_of_broken_storage_and_bugs_only() -> None:
    assert is_expected(errors.NotFound(""))
    assert is_expected(errors.NoSpace(""))
    for error in (errors.DataLost(""), KeyError(""), errors.MountError("")):
        assert not is_expected(error)
        assert not is_expected(ExceptionGroup("", [errors.NotFound(""), error]))
