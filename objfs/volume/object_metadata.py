"""User metadata of S3 and what it is in the mount, as functions over values (DESIGN 9).

`x-amz-meta-NAME` is the extended attribute `user.NAME`, and nothing else. Mode, owner and mtime
are metadata too, as s3fs and rclone spell them: `mode`, `uid`, `gid` in decimal, `mtime` in seconds
with a fraction. They are told only where the mount or a client set them (`Inode.unset`). What a
client sent is kept as it was written, and told again while it is still true.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from objfs.base.errors import AttributeTooLarge
from objfs.base.limits import METADATA_NAMES_MAX, XATTR_TOTAL_BYTES_MAX
from objfs.meta.rows import UNSET_MODE, UNSET_MTIME, UNSET_OWNER, Inode

_USER = b"user."
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")  # a header's name, in lower case
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_INTEGER = re.compile(r"[0-9]{1,10}")
_SECONDS = re.compile(r"(-?[0-9]{1,11})(?:\.([0-9]{1,9}))?")
_SECOND_NS = 1_000_000_000
_MODE_MAX = 0o177777


class Posix(NamedTuple):
    """What metadata says of an inode; None: nothing."""

    mode: int | None = None  # permission bits
    uid: int | None = None
    gid: int | None = None
    mtime_ns: int | None = None


def posix_of(metadata: Mapping[str, str]) -> Posix:
    """Mode, owner and mtime that a client sent. What cannot be read as such is metadata only."""
    mode = _parse_mode(metadata.get("mode", ""))
    return Posix(
        None if mode is None else mode & 0o777,
        _parse_id(metadata.get("uid", "")),
        _parse_id(metadata.get("gid", "")),
        _parse_time(metadata.get("mtime", "")),
    )


def xattrs_of(metadata: Mapping[str, str]) -> dict[bytes, bytes]:
    """The extended attributes that hold metadata. AttributeTooLarge."""
    found = {_USER + name.encode(): value.encode() for name, value in metadata.items()}
    size = sum(len(name) + 1 for name in found)
    if len(found) > METADATA_NAMES_MAX or size > XATTR_TOTAL_BYTES_MAX:
        raise AttributeTooLarge(f"an object has at most {METADATA_NAMES_MAX} metadata names")
    if any(len(name) > 255 for name in found):
        raise AttributeTooLarge("the name of metadata has at most 250 bytes")
    return found


def metadata_of(inode: Inode, xattrs: Mapping[bytes, bytes]) -> tuple[dict[str, str], int]:
    """The metadata of an object, and how many values no header can carry."""
    found: dict[str, str] = {}
    missing = 0
    for name, value in xattrs.items():
        if not name.startswith(_USER):
            continue
        text = _text(value)
        short = name[len(_USER) :].lower()
        if text is None or not _NAME.fullmatch(short) or short.decode() in found:
            missing += 1
        else:
            found[short.decode()] = text
    _tell_posix(inode, found)
    return found, missing


def _text(value: bytes) -> str | None:
    """A value as a header may have it (its bytes beyond ASCII are the door's affair)."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None
    return None if _CONTROL.search(text) or text.strip() != text else text


def _tell_posix(inode: Inode, found: dict[str, str]) -> None:
    """Put in what is true of the inode, where somebody set it."""
    if not inode.unset & UNSET_MODE:
        kept = _parse_mode(found.get("mode", ""))
        if kept is None or kept & 0o777 != inode.mode & 0o777:
            found["mode"] = str(inode.mode)
    if not inode.unset & UNSET_OWNER:
        for name, value in (("uid", inode.uid), ("gid", inode.gid)):
            if _parse_id(found.get(name, "")) != value:
                found[name] = str(value)
    if not inode.unset & UNSET_MTIME:
        kept = _parse_time(found.get("mtime", ""))
        if kept != inode.mtime_ns:
            found["mtime"] = time_text(inode.mtime_ns)


def time_text(time_ns: int) -> str:
    """Seconds since 1970 with their fraction, as rclone writes them."""
    sign, rest = ("-", -time_ns) if time_ns < 0 else ("", time_ns)
    seconds, fraction = divmod(rest, _SECOND_NS)
    return f"{sign}{seconds}.{fraction:09d}" if fraction else f"{sign}{seconds}"


def _parse_time(text: str) -> int | None:
    match = _SECONDS.fullmatch(text)
    if match is None:
        return None
    seconds, fraction = int(match[1]), int((match[2] or "0").ljust(9, "0"))
    time_ns = seconds * _SECOND_NS + (-fraction if text.startswith("-") else fraction)
    return time_ns if -(1 << 63) <= time_ns < 1 << 63 else None


def _parse_id(text: str) -> int | None:
    value = int(text) if _INTEGER.fullmatch(text) else -1
    return value if 0 <= value < 0xFFFFFFFF else None


def _parse_mode(text: str) -> int | None:
    """s3fs writes decimal, rclone octal: 33188 is 0100644, and so is 100644, no decimal mode."""
    if not _INTEGER.fullmatch(text):
        return None
    value = int(text)
    if value > _MODE_MAX or (text.startswith("0") and len(text) > 1):
        value = int(text, 8) if not set(text) & set("89") else -1
    return value if 0 <= value <= _MODE_MAX else None
