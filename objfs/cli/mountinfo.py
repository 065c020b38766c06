"""Which objfs mounts there are, read from the kernel's list: never by touching a mount, which may
be dead or stuck.

A mount's source names what it shows: `/abs/store`, `/abs/store:bucket`, `/abs/store:bucket/prefix`,
or `/abs/store:*` for all buckets. `Source` is that text as a value.
"""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

FILESYSTEM = "fuse.objfs"
MAIN_BUCKET = "main"
ALL_BUCKETS = "*"
LINKS_MAX = 40  # symlinks followed in one path, as the kernel counts them

_OCTAL = re.compile(rb"\\([0-7]{3})")


class Source(NamedTuple):
    """What a mount shows: a bucket of a store, or a directory of the bucket."""

    store: bytes
    bucket: str = MAIN_BUCKET  # or ALL_BUCKETS
    prefix: bytes = b""  # without slashes at its ends

    def encode(self) -> bytes:
        if self.prefix:
            return b"%s:%s/%s" % (self.store, self.bucket.encode(), self.prefix)
        if self.bucket == MAIN_BUCKET:
            return self.store
        return b"%s:%s" % (self.store, self.bucket.encode())


class Mount(NamedTuple):
    """One line of the kernel's list. `root` is not / for bind mounts of a directory of it."""

    point: bytes
    root: bytes
    filesystem: str
    source: bytes
    device: str  # major:minor


def unescape(field: bytes) -> bytes:
    """The kernel writes blanks, backslashes and line ends as three octal digits (proc(5))."""
    return _OCTAL.sub(lambda match: bytes([int(match[1], 8)]), field)


def parse_mountinfo(text: bytes) -> Iterator[Mount]:
    """The lines of /proc/self/mountinfo, in mounting order."""
    for line in text.splitlines():
        before, _, after = line.partition(b" - ")
        fields, tail = before.split(b" "), after.split(b" ")
        yield Mount(
            point=unescape(fields[4]),
            root=unescape(fields[3]),
            filesystem=unescape(tail[0]).decode(),
            source=unescape(tail[1]),
            device=fields[2].decode(),
        )


def parse_source(source: bytes, is_store: Callable[[bytes], bool]) -> Source | None:
    """`STORE[:BUCKET[/PREFIX]]` as a value, None if no part of it is a store. Paths may hold colons
    too: the whole is tried first, then the part before each colon, the shortest first."""
    if is_store(source):
        return Source(source)
    for colon in re.finditer(rb":", source):
        if is_store(source[: colon.start()]):
            bucket, _, prefix = source[colon.end() :].partition(b"/")
            return Source(source[: colon.start()], bucket.decode("utf-8", "replace"), prefix)
    return None


def read_mounts() -> list[Mount]:
    """All mounts that this process sees, in mounting order."""
    return list(parse_mountinfo(Path("/proc/self/mountinfo").read_bytes()))


def mount_at(point: bytes, mounts: list[Mount]) -> Mount | None:
    """What is mounted exactly there: of several on top of each other the last one counts."""
    return next((mount for mount in reversed(mounts) if mount.point == point), None)


def mount_over(path: bytes, mounts: list[Mount]) -> Mount | None:
    """The mount that an absolute path without symlinks lies in."""
    above = [mount for mount in mounts if is_below(path, mount.point)]
    longest = max((len(mount.point) for mount in above), default=0)
    return next((mount for mount in reversed(above) if len(mount.point) == longest), None)


def is_below(path: bytes, directory: bytes) -> bool:
    """Whether `path` is `directory` or lies in it; both absolute and normal."""
    return path == directory or path.startswith(directory.rstrip(b"/") + b"/")


def resolve(path: str | bytes, mounts: list[Mount], follow_last: bool = False) -> bytes:
    """`path` absolute, with the symlinks on the way to an objfs mount followed, and nothing inside
    the mount touched. The last component is followed only if asked."""
    points = {mount.point for mount in mounts if mount.filesystem == FILESYSTEM}
    todo = os.path.join(os.getcwdb(), os.fsencode(path)).split(b"/")[::-1]
    done, links = b"/", 0
    while todo:
        if done in points:
            return os.path.normpath(os.path.join(done, *reversed(todo)))
        part = todo.pop()
        here = (
            os.path.dirname(done) if part == b".." else os.path.normpath(os.path.join(done, part))
        )
        last = not any(todo) and not follow_last
        target = None if last or here in points or links == LINKS_MAX else _link_target(here)
        if target is None:
            done = here
            continue
        links += 1
        todo += target.split(b"/")[::-1]
        done = b"/" if target.startswith(b"/") else done
    return done


def _link_target(path: bytes) -> bytes | None:
    try:
        return os.readlink(path)
    except OSError:  # no symlink, or nothing there: a deleted file's path is resolved too
        return None
