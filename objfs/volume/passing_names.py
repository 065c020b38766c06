"""Names used in passing: those that programs give a file while they make it, or while they hold it.

rsync writes `.letter.odt.Xy12aB` and renames it to `letter.odt`. A history of the first name helps
nobody, and `.objfs/deleted` would be full of such. So a name keeps no history if all of this holds
(DESIGN 5):

- it looks like one of the names below;
- the file was made under it, through the mount, or came from other names that kept no history;
- it left the name (by a rename, or it was removed) within an hour after it was made;
- the bucket has no lock, and no snapshot was taken since the file was made.

Then the past does not show the name at all; the history of the name that the file got is what it
would be anyway. Of a file that was removed nothing is kept: its bytes go when it is closed. A
rename loses a name, a removal loses bytes: so the names of the second column have to be surer than
those of the first. Where a user could have meant the name, it keeps its history.

| name | who | renamed away | removed |
|---|---|---|---|
| `.NAME.XXXXXX`, mixed letters | rsync (mkstemp) | yes | no: a run that broke off |
| in a directory `.~tmp~` | rsync --delay-updates | yes | no |
| `.~tmp~`, the directory | the same | no | yes, if no past name lies in it |
| `.goutputstream-XXXXXX` | GLib: gedit, most of GNOME | yes | yes |
| `NAME.XXXXXX`, mixed letters | Qt's QSaveFile: KDE | yes | no: could be anything |
| `luDIGITS....tmp` | LibreOffice | yes | yes |
| `.~lock.NAME#` | LibreOffice: says who has it open | yes | yes |
| `~$NAME` | Microsoft Office: the same | yes | yes |
| `.NAME.swp`, `.swo`, `.swx`, `.swpx` ... | vim, nano | yes | yes |
| `.NAME.kate-swp` | Kate | yes | yes |
| `4913` and an empty file | vim: may it write here? | no | yes, empty only |
| `.#NAME` and a symlink | emacs: says who has it open | no | yes, symlinks only |
| `sedXXXXXX` | sed -i | yes | no |

Left out on purpose: `NAME~` and `#NAME#` are backups and saved work; `NAME.part`, `NAME.tmp` and
`NAME.lock` are names that people use.

mkstemp's six characters are told from words and dates by capitals among small letters or digits: 4
of 100 are not recognized, and then keep a history, which does no harm.
"""

import re
import stat
from typing import Any

from msgspec.structs import replace

from objfs.base.limits import IDS_PER_CHANGE_MAX, PASSING_NS
from objfs.meta.database import Change
from objfs.meta.rows import Dentry, Inode
from objfs.meta.tables import BUCKET, DENTRY, DENTRY_PAST, INODE, INODE_PAST, VERSION, Table
from objfs.volume.core import Core

# Six characters with a capital, and not a word with a capital or in capitals.
_RANDOM = rb"(?=[^A-Z]*[A-Z])(?![A-Z][a-z]{5}$)(?![A-Z]{6}$)[A-Za-z0-9]{6}"
_RENAMED = re.compile(rb"\.?[^/]+\." + _RANDOM + rb"|sed" + _RANDOM, re.DOTALL)
_EITHER = re.compile(
    rb"\.goutputstream-[A-Za-z0-9]{6}"
    rb"|lu[0-9]+[0-9a-z]*\.tmp"
    rb"|\.~lock\..+#"
    rb"|~\$.+"
    rb"|\..+\.sw[a-px]x?"
    rb"|\..+\.kate-swp",
    re.DOTALL,
)
_ROWS_MAX = 20
_KEPT: tuple[Table[Any], ...] = (VERSION, INODE_PAST)
_HOLDING = b".~tmp~/"  # the directory's key


def used_in_passing(name: bytes, mode: int, size: int, *, removed: bool) -> bool:
    """Whether a name looks like one that programs use in passing, for a file of this kind and
    size that was renamed away or, `removed`, has it no more."""
    if _EITHER.fullmatch(name):
        return True
    if not removed:
        return stat.S_ISREG(mode) and _RENAMED.fullmatch(name) is not None
    if name == b"4913":
        return stat.S_ISREG(mode) and size == 0
    return name.startswith(b".#") and stat.S_ISLNK(mode)


def leaves_no_history(core: Core, change: Change, dentry: Dentry, *, removed: bool) -> bool:
    """Whether the name `dentry` of a file, which ends in this change, keeps no history."""
    if dentry.key.endswith(b"/"):
        return False
    inode = change.get(INODE, dentry.ino)
    assert inode is not None
    if change.time_ns - inode.birth_ns >= PASSING_NS or change.time_ns < inode.birth_ns:
        return False
    looks = used_in_passing(dentry.key, inode.mode, inode.size, removed=removed)
    if not looks and (removed or not _is_held(change, dentry)):
        return False
    if removed and inode.nlink == 1 and not _is_small(change, inode.ino):
        return False
    born = inode.ino // IDS_PER_CHANGE_MAX
    bucket = change.get(BUCKET, inode.bucket)
    return (
        (bucket is not None and not bucket.lock)
        and core.pins.newest < born
        and _came_in_passing(change, dentry, inode, born)
    )


def end_before(change: Change, dentry: Dentry) -> None:
    """Nothing is left of a name: one that led up to it, by replacements, ended in a deletion."""
    if dentry.since == dentry.ino // IDS_PER_CHANGE_MAX:
        return  # the file was made under it, so nothing led up to it
    rows = change.scan(
        DENTRY_PAST, (dentry.parent, dentry.key), upper=dentry.since + 1, reverse=True, limit=1
    )
    if rows and rows[0].replaced:
        change.put(replace(rows[0], replaced=False))


def directory_leaves_no_history(core: Core, change: Change, dentry: Dentry) -> bool:
    """Whether the name of a directory that is removed in this change keeps no history."""
    if dentry.key != _HOLDING or dentry.since != dentry.ino // IDS_PER_CHANGE_MAX:
        return False
    inode = change.get(INODE, dentry.ino)
    assert inode is not None
    bucket = change.get(BUCKET, inode.bucket)
    return (
        0 <= change.time_ns - inode.birth_ns < PASSING_NS
        and bucket is not None
        and not bucket.lock
        and core.pins.newest < dentry.since
        and not change.scan(DENTRY_PAST, (dentry.ino,), limit=1)
        and _is_small(change, dentry.ino)
    )


def _is_small(change: Change, ino: int) -> bool:
    """Whether all that is kept of a file can go in the change that removes it."""
    return all(len(change.scan(table, (ino,), limit=_ROWS_MAX + 1)) <= _ROWS_MAX for table in _KEPT)


def _is_held(change: Change, dentry: Dentry) -> bool:
    """Whether rsync holds the file back until all are there. Asked of what came by a rename only:
    that is rare among young files, and it takes a look at the directory's name."""
    if dentry.since == dentry.ino // IDS_PER_CHANGE_MAX:
        return False
    above = change.scan(DENTRY, (dentry.parent,), index="ino", limit=2)
    return any(row.key == _HOLDING for row in above)


def _came_in_passing(change: Change, dentry: Dentry, inode: Inode, born: int) -> bool:
    """Whether the file was made under this name, or had only names before that kept no history.
    Of what a restore made, every name counts; in an older store its first version tells."""
    if inode.given or change.get(VERSION, inode.ino, born) is not None:
        return False
    if dentry.since == born:
        return True
    return inode.nlink == 1 and not change.scan(DENTRY_PAST, (inode.ino,), index="ino", limit=1)
