"""POSIX access control lists as pure functions over xattr values (acl(5), POSIX 1003.1e draft 17).

An ACL travels, and is stored, as the value of the extended attribute `system.posix_acl_access` or
`system.posix_acl_default`: version 2 of the kernel's form (<linux/posix_acl_xattr.h>), a
little-endian 32-bit version and then (tag, permissions, id) of 16, 16 and 32 bits each.

Always holds for a valid ACL: the entries come in the order owner, users, owning group, groups,
mask, other; owner, owning group and other are there exactly once; the mask is there if a user or a
group is named. An ACL without mask says what the nine mode bits say: it is *minimal* and is not
stored. Permission checks are the kernel's (FUSE_POSIX_ACL); nothing here decides about access.
"""

import stat
import struct
from collections.abc import Iterable
from typing import NamedTuple

from objfs.base.errors import InvalidRequest

ACCESS_NAME = b"system.posix_acl_access"
DEFAULT_NAME = b"system.posix_acl_default"

VERSION = 2
USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
UNDEFINED_ID = 0xFFFF_FFFF  # of all entries but those of named users and groups

_HEADER = struct.Struct("<I")
_ENTRY = struct.Struct("<HHI")
_ONCE = (USER_OBJ, GROUP_OBJ, OTHER)
_NAMED = (USER, GROUP)
_TAGS = (USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER)


class Entry(NamedTuple):
    """Who (tag and id) may do what (bits of 4 read, 2 write, 1 execute)."""

    tag: int
    permissions: int
    id: int = UNDEFINED_ID


Acl = tuple[Entry, ...]


def decode(value: bytes) -> Acl:
    """The entries of an ACL, checked. InvalidRequest when it is malformed."""
    body = len(value) - _HEADER.size
    if body < 0 or body % _ENTRY.size or _HEADER.unpack_from(value)[0] != VERSION:
        raise InvalidRequest(
            f"an ACL of {len(value)} bytes is not in version {VERSION} of the form"
        )
    acl = tuple(Entry(*fields) for fields in _ENTRY.iter_unpack(value[_HEADER.size :]))
    _check(acl)
    return acl


def encode(acl: Iterable[Entry]) -> bytes:
    """The inverse of `decode`; ids that mean nothing are written as undefined."""
    entries = (
        _ENTRY.pack(tag, permissions, id if tag in _NAMED else UNDEFINED_ID)
        for tag, permissions, id in acl
    )
    return _HEADER.pack(VERSION) + b"".join(entries)


def _check(acl: Acl) -> None:
    tags = [entry.tag for entry in acl]
    if not set(tags) <= set(_TAGS) or tags != sorted(tags):
        raise InvalidRequest("an ACL has entries of unknown kind or in the wrong order")
    if any(tags.count(tag) != 1 for tag in _ONCE) or tags.count(MASK) > 1:
        raise InvalidRequest("an ACL needs owner, owning group and other exactly once")
    if MASK not in tags and any(tag in tags for tag in _NAMED):
        raise InvalidRequest("an ACL that names users or groups needs a mask")
    if any(entry.permissions & ~7 for entry in acl):
        raise InvalidRequest("an ACL has permissions other than read, write and execute")
    named = [(entry.tag, entry.id) for entry in acl if entry.tag in _NAMED]
    if len(set(named)) != len(named) or any(id == UNDEFINED_ID for _, id in named):
        raise InvalidRequest("an ACL names a user or group twice, or one that cannot exist")


def validate(value: bytes) -> None:
    """InvalidRequest if the value is no valid ACL."""
    decode(value)


def is_minimal(value: bytes) -> bool:
    """Whether the ACL says no more than mode bits do: then those are set and nothing is stored."""
    return all(entry.tag in _ONCE for entry in decode(value))


def mode_of(value: bytes, mode: int) -> int:
    """`mode` with the permission bits that go with the access ACL: the group's bits are the mask's
    if there is one."""
    by_tag = {entry.tag: entry.permissions for entry in decode(value)}
    group = by_tag.get(MASK, by_tag[GROUP_OBJ])
    return mode & ~0o777 | by_tag[USER_OBJ] << 6 | group << 3 | by_tag[OTHER]


def chmod(value: bytes, mode: int) -> bytes:
    """The access ACL after chmod(2) to `mode`: the group's bits go to the mask if there is one."""
    acl = decode(value)
    return encode(entry._replace(permissions=_class(acl, entry, mode)) for entry in acl)


def _class(acl: Acl, entry: Entry, mode: int) -> int:
    """The permissions of an entry under the file class bits of `mode`; those that stand in no
    class keep theirs."""
    group_tag = MASK if any(each.tag == MASK for each in acl) else GROUP_OBJ
    shift = {USER_OBJ: 6, group_tag: 3, OTHER: 0}.get(entry.tag)
    return entry.permissions if shift is None else mode >> shift & 7


def inherit(default: bytes | None, mode: int, umask: int) -> tuple[int, bytes | None, bytes | None]:
    """(mode, access ACL, default ACL) of a new inode, in a directory with that default ACL.

    `mode` has its file type bits: only a directory passes the default ACL on, and a symlink takes
    no ACL. With a default ACL the umask is ignored; without one it is applied here. An ACL that is
    None is not stored.
    """
    if stat.S_ISLNK(mode):
        return mode, None, None
    if default is None:
        return mode & ~(umask & 0o777), None, None
    acl = decode(default)
    access = encode(
        entry._replace(permissions=entry.permissions & _class(acl, entry, mode)) for entry in acl
    )
    stored = None if is_minimal(access) else access
    return mode & mode_of(access, ~0), stored, default if stat.S_ISDIR(mode) else None
