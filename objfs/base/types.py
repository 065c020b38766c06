"""Values that several layers speak in."""

from typing import NamedTuple

import msgspec


class Location(NamedTuple):
    """Where a record lies: segment id, byte offset of its header, bytes it takes in the file."""

    segment: int
    offset: int
    length: int


class Stored(NamedTuple):
    """One DATA record as an append returns it.

    `offset` and `length` say which raw bytes of the content it holds; `hash32` are 32 bits of the
    payload's hash, kept in the rows so that a read proves that it got what was asked for.
    """

    offset: int
    length: int
    location: Location
    hash32: int


class Caller(NamedTuple):
    """Who asks: the identity of the calling process, as FUSE gives it."""

    uid: int
    gid: int
    umask: int
    pid: int = 0


class AttributeChange(msgspec.Struct, frozen=True):
    """What a setattr changes; None leaves a field as it is. Times in nanoseconds since 1970."""

    mode: int | None = None  # permission bits only (& 0o7777)
    uid: int | None = None
    gid: int | None = None
    size: int | None = None
    atime_ns: int | None = None
    mtime_ns: int | None = None
    ctime_ns: int | None = None


class SpaceFigures(NamedTuple):
    """What statfs tells. Bytes and counts."""

    total_bytes: int
    free_bytes: int
    available_bytes: int
    inodes: int
