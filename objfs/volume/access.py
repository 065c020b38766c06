"""Who may do what with an inode: POSIX permissions with ACLs, as a pure function (acl(5)).

The kernel checks permissions of what it is shown. This is for what it cannot see: the permissions
that a file of the past has today.
"""

import stat
from collections.abc import Set

from objfs.meta.rows import Inode
from objfs.volume import acl

READ, EXECUTE = 4, 1


def may(inode: Inode, access_acl: bytes | None, uid: int, gids: Set[int], wanted: int) -> bool:
    """Whether a user with these groups has the permissions `wanted` (bits of 4 read, 2 write,
    1 execute). The superuser is not asked about."""
    mode = inode.mode
    if uid == inode.uid:
        return mode >> 6 & wanted == wanted
    if access_acl is not None:
        return _by_acl(acl.decode(access_acl), inode, uid, gids, wanted)
    shift = 3 if inode.gid in gids else 0
    return mode >> shift & wanted == wanted


def _by_acl(entries: acl.Acl, inode: Inode, uid: int, gids: Set[int], wanted: int) -> bool:
    """For who is not the owner: the first class that matches decides."""
    mask = next((each.permissions for each in entries if each.tag == acl.MASK), 7)
    for each in entries:
        if each.tag == acl.USER and each.id == uid:
            return each.permissions & mask & wanted == wanted
    groups = [
        each.permissions & mask
        for each in entries
        if (each.tag == acl.GROUP_OBJ and inode.gid in gids)
        or (each.tag == acl.GROUP and each.id in gids)
    ]
    if groups:
        return any(permissions & wanted == wanted for permissions in groups)
    other = next(each.permissions for each in entries if each.tag == acl.OTHER)
    return other & wanted == wanted


def same_permissions(
    one: Inode, one_acl: bytes | None, other: Inode, other_acl: bytes | None
) -> bool:
    """Whether `may` answers the same for both, whoever asks."""
    return (
        stat.S_IMODE(one.mode) == stat.S_IMODE(other.mode)
        and one.uid == other.uid
        and one.gid == other.gid
        and one_acl == other_acl
    )
