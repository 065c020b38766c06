"""Names that are there for S3 only, and directories that S3 made, inside a change (DESIGN 4).

What always holds: a dentry is `hidden` if the mount cannot name it, or if a directory has the name
of a file. A directory that S3 made has no own entry as long as something live is in it; one emptied
through the mount gets it back, and is the object `dir/` from then on.
"""

from msgspec.structs import replace

from objfs.base.errors import InvalidRequest
from objfs.meta.database import Change
from objfs.meta.rows import Dentry
from objfs.meta.tables import BUCKET, DENTRY, INODE
from objfs.volume.core import Core
from objfs.volume.object_keys import mount_can_name


def can_be_seen(change: Change, parent: int, part: bytes) -> bool:
    """Whether the mount can have this component as a name in that directory."""
    return mount_can_name(part, at_root=_is_root(change, parent))


def is_hidden(change: Change, parent: int, leaf: bytes) -> bool:
    """Whether the name of a new file is hidden."""
    if not leaf:
        return False  # a directory's own entry is in no listing anyway
    return change.get(DENTRY, parent, leaf + b"/") is not None or not can_be_seen(
        change, parent, leaf
    )


def shadow(change: Change, parent: int, directory: bytes) -> None:
    """A directory gets its name: a file of that name is hidden."""
    row = change.get(DENTRY, parent, directory[:-1]) if directory != b"/" else None
    if row is not None and not row.hidden:
        change.put(replace(row, hidden=True))


def unshadow(core: Core, change: Change, parent: int, directory: bytes) -> None:
    """The name of a directory is gone: a file of that name is seen."""
    row = change.get(DENTRY, parent, directory[:-1]) if directory != b"/" else None
    if row is not None and row.hidden and can_be_seen(change, parent, row.key):
        change.put(replace(row, hidden=False))
        core.invalidate(parent, row.key)


def check_exchange(change: Change, one: Dentry, other: Dentry) -> None:
    """InvalidRequest if a file would take the name of a hidden one, which S3 put beside a
    directory."""
    for entry, comes in ((one, other), (other, one)):
        if entry.key.endswith(b"/") and not comes.key.endswith(b"/"):
            name = entry.key[:-1]
            if change.get(DENTRY, entry.parent, name) is not None:
                raise InvalidRequest(
                    f"{name!r} is an object too, which the directory hides: rename the directory"
                )


def keep_directory(change: Change, ino: int) -> None:
    """A name went from a directory through the mount: if it was the last, the directory stays."""
    if change.get(DENTRY, ino, b"") is None and not change.scan(DENTRY, (ino,), limit=1):
        change.put(Dentry(ino, b"", ino, change.sequence, change.new_id()))


def _is_root(change: Change, ino: int) -> bool:
    inode = change.get(INODE, ino)
    bucket = change.get(BUCKET, inode.bucket) if inode is not None else None
    return bucket is not None and bucket.root == ino
