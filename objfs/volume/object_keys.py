"""Keys of S3 and names of POSIX (DESIGN 4): how one is the other.

A key's components: split at `/`, every directory with its slash, the last possibly empty. So `a//b`
is `a/`, `/`, `b`, and `dir/` is `dir/` and the directory's own entry. `a` and `a/b` can both be
objects: in the mount the directory shadows the file. A name that POSIX cannot have exists for S3
only. Such dentries are `hidden` from the mount; the S3 door sees no difference.
"""

from objfs.base.errors import InvalidRequest, KeyTooLong
from objfs.base.limits import KEY_BYTES_MAX, NAME_BYTES_MAX
from objfs.volume.showing import OWN_ENTRY, split_key

_RESERVED = b".objfs"  # in the root of a bucket


def check_key(key: bytes) -> None:
    """KeyTooLong, or InvalidRequest for what S3 does not take as a key."""
    if not key:
        raise InvalidRequest("a key has at least one byte")
    if len(key) > KEY_BYTES_MAX:
        raise KeyTooLong(f"a key has at most {KEY_BYTES_MAX} bytes, not {len(key)}")


def path_of(key: bytes) -> bytes:
    """The path that a key is, as the rows of history name it: `dir/` is the own entry of `dir/`."""
    return key + OWN_ENTRY if key.endswith(b"/") else key


def components(key: bytes) -> list[bytes]:
    """The dentry keys along a key; the last is b"" for a directory's own entry."""
    return split_key(path_of(key))


def mount_can_name(part: bytes, *, at_root: bool) -> bool:
    """Whether a component can be seen in the mount, where nothing shadows it."""
    name = part.removesuffix(b"/")
    return (
        name not in (b"", b".", b"..")
        and len(name) <= NAME_BYTES_MAX
        and b"\0" not in name
        and not (at_root and name == _RESERVED)
    )
