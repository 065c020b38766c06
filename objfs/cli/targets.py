"""What the arguments mean: STORE, STORE:BUCKET/PREFIX, MOUNTPOINT, PATH, TIME as values.

Paths inside a mount are resolved through the kernel's list of mounts. A mount is looked into, for
the symlinks in a path, only while the process that serves it answers.
"""

import os
from pathlib import Path
from typing import NamedTuple

import click

from objfs.base.errors import (
    InvalidRequest,
    IsADirectory,
    NameTooLong,
    NotAStore,
    NotFound,
    ReadOnly,
)
from objfs.base.limits import FILE_BYTES_MAX, NAME_BYTES_MAX, PATH_BYTES_MAX
from objfs.base.system import LocalZone
from objfs.base.times import parse_time
from objfs.cli import control_client, mountinfo, presence
from objfs.cli.clock import command_clock
from objfs.cli.control_client import ControlClient
from objfs.cli.mountinfo import ALL_BUCKETS, FILESYSTEM, Mount, Source
from objfs.cli.store_directory import StoreDirectory, is_store, read_store


class TimeParameter(click.ParamType[int]):
    """A time as `base/times.py` has it, read in the zone of who types it, as nanoseconds since
    1970. What is no time is wrong usage (exit status 2)."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        if isinstance(value, int):
            return value
        try:
            time_ns = parse_time(str(value), command_clock().now_ns(), LocalZone())
            return max(min(time_ns, FILE_BYTES_MAX), 0)  # what 63 bits say lasts until 2262
        except InvalidRequest as error:
            self.fail(str(error), param, ctx)


TIME = TimeParameter()


class Target(NamedTuple):
    """One object: a key in a bucket of a store; `path` says where it is when a mount shows it."""

    store: Path
    bucket: str
    key: bytes
    path: bytes | None = None

    @property
    def name(self) -> str:
        """As the user would write it."""
        if self.path is not None:
            return os.fsdecode(self.path)
        return f"{self.store}:{self.bucket}/{os.fsdecode(self.key)}"


def absolute(path: str | bytes) -> bytes:
    """Absolute, symlinks followed, without looking into objfs mounts."""
    return mountinfo.resolve(path, mountinfo.read_mounts(), follow_last=True)


def parse_store_argument(text: str) -> Source:
    """STORE or STORE:BUCKET[/PREFIX], the store's path made absolute. NotAStore."""
    source = mountinfo.parse_source(os.fsencode(text), is_store)
    if source is None:
        read_store(Path(text.partition(":")[0]))  # says what is wrong with it
        raise NotAStore(f"{text}: this is no objfs store")
    prefix = os.path.normpath(b"/" + source.prefix)[1:] if source.prefix else b""
    return source._replace(store=os.path.realpath(source.store), prefix=prefix)


def store_of(text: str) -> StoreDirectory:
    """The store that STORE or MOUNTPOINT means."""
    mounts = mountinfo.read_mounts()
    path = mountinfo.resolve(text, mounts, follow_last=True)
    mount = mountinfo.mount_over(path, mounts)
    inside = mount is not None and mount.filesystem == FILESYSTEM
    # A store may lie in the mount of another one, but not at its very mount point.
    if mount is not None and inside and (path == mount.point or not is_store(path)):
        return read_store(Path(os.fsdecode(source_of(mount).store)))
    if ":" in text and not os.path.exists(text):
        return read_store(Path(os.fsdecode(parse_store_argument(text).store)))
    return read_store(Path(text))


def source_of(mount: Mount) -> Source:
    """What an objfs mount shows. NotAStore when its store is not where it was."""
    source = mountinfo.parse_source(mount.source, is_store)
    if source is None:
        shown = os.fsdecode(mount.source)
        point = os.fsdecode(mount.point)
        raise NotAStore(f"{point}: the store {shown} that is mounted there was moved or deleted")
    return source


def is_object_name(text: str) -> bool:
    """Whether this names something in a store: inside a mount, or STORE:BUCKET/KEY."""
    mounts = mountinfo.read_mounts()
    mount = mountinfo.mount_over(mountinfo.resolve(text, mounts), mounts)
    if mount is not None and mount.filesystem == FILESYSTEM:
        return True
    source = mountinfo.parse_source(os.fsencode(text), is_store)
    return source is not None and len(source.store) < len(os.fsencode(text))


def target_of(text: str, *, whole: bool = False) -> Target:
    """The object that PATH means: inside a mount, or STORE:BUCKET/KEY. IsADirectory for the root
    of a mount or bucket, unless `whole` takes them too (key b"", and bucket "" for the root of a
    mount of all buckets). NotFound for what is in no store."""
    mounts = mountinfo.read_mounts()
    path = mountinfo.resolve(text, mounts)
    mount = mountinfo.mount_over(path, mounts)
    if mount is not None and mount.filesystem == FILESYSTEM:
        path = _follow_links(mount, path)
        mount = mountinfo.mount_over(path, mounts)
    if mount is not None and mount.filesystem == FILESYSTEM:
        return _inside(mount, path, text.endswith("/"), whole)
    source = mountinfo.parse_source(os.fsencode(text), is_store)
    if source is None:
        raise NotFound(
            f"{text}: this is neither inside an objfs mount nor STORE:BUCKET/KEY of a store"
        )
    if not source.prefix and not whole:
        raise IsADirectory(f"{text}: a file is needed; write STORE:BUCKET/KEY")
    store = Path(os.path.realpath(os.fsdecode(source.store)))
    return _checked(Target(store, source.bucket, source.prefix))


def live_target_of(text: str, *, whole: bool = False) -> Target:
    """The same for what changes it. ReadOnly inside the mount of a moment."""
    target = target_of(text, whole=whole)
    if target.path is not None:
        mount = mountinfo.mount_over(target.path, mountinfo.read_mounts())
        if mount is not None and presence.server_of(mount.device) is not None:
            store = os.fsdecode(target.store)
            raise ReadOnly(
                f"{text} lies in the mount of a moment, which cannot be changed: name it in the "
                f"drive itself, or as {store}:{target.bucket}/..."
            )
    return target


def _follow_links(mount: Mount, path: bytes) -> bytes:
    """`path` with the symlinks of its directories followed, if its mount is alive."""
    client = serving_owner(mount)
    if client is not None:
        client.close()
    elif presence.server_of(mount.device) is None:
        return path
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


def serving_owner(mount: Mount) -> ControlClient | None:
    """A connection to the process that serves this mount; None when it is dead."""
    source = mountinfo.parse_source(mount.source, is_store)
    if source is None:
        return None
    client = control_client.connect(Path(os.fsdecode(source.store)))
    if client is None:
        return None
    owner = client.call("status").get("owner")
    if owner is not None and os.fsencode(owner["mountpoint"] or "") == mount.point:
        return client
    client.close()
    return None


def _inside(mount: Mount, path: bytes, is_directory: bool, whole: bool) -> Target:
    source = source_of(mount)
    below = path[len(mount.point) :].strip(b"/")
    inside = os.path.normpath(b"/".join((mount.root, below))).strip(b"/")
    bucket = source.bucket
    key = b"/".join(part for part in (source.prefix, inside) if part)
    if bucket == ALL_BUCKETS:
        first, _, key = key.partition(b"/")
        bucket = os.fsdecode(first)
    if (not bucket or not key) and not whole:
        raise IsADirectory(f"{os.fsdecode(path)}: a file in the mount is needed, not its root")
    key += b"/" if is_directory and key else b""
    return _checked(Target(Path(os.fsdecode(source.store)), bucket, key, path))


def _checked(target: Target) -> Target:
    if len(target.key) > PATH_BYTES_MAX:
        raise NameTooLong(f"{target.name[:60]}...: a path has at most {PATH_BYTES_MAX} bytes")
    long = [part for part in target.key.split(b"/") if len(part) > NAME_BYTES_MAX]
    if long and target.path is not None:  # a key of S3 may have longer ones
        name = os.fsdecode(long[0][:60])
        raise NameTooLong(f"{name}...: a name has at most {NAME_BYTES_MAX} bytes")
    return target
