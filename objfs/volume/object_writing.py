"""Objects that S3 puts: a PUT, a copy, a completed upload all end here, in one change that gives a
new inode the name.

What always holds (DESIGN 5, 9):

- The content of an inode that the kernel may know is never changed: a new one goes under the name,
  and who has the old one open keeps it. Symlinks are replaced, never followed.
- Conditions are tested in the change, against what is there then.
- Over a file, mode, owner and ACL stay; setuid and setgid go, as a write takes them. A new key gets
  the owner that the client gives, else its directory's, and the directory's default ACL.
- When a verb returns, the change is durable and the mount shows it.
"""

import stat
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from msgspec.structs import replace

from objfs.base import limits
from objfs.base.errors import NoSuchVersion
from objfs.meta.database import Change
from objfs.meta.rows import (
    UNSET_ALL,
    UNSET_MODE,
    UNSET_MTIME,
    UNSET_OWNER,
    Bucket,
    Dentry,
    Inode,
    Version,
    Xattr,
    counted_bytes,
)
from objfs.meta.tables import VERSION, XATTR
from objfs.volume.attributes import ACL_ACCESS
from objfs.volume.bodies import Body, Taken
from objfs.volume.core import Core
from objfs.volume.hidden_names import is_hidden
from objfs.volume.inodes import count_usage, touch_directory
from objfs.volume.namespace import close_entry, remove_entry
from objfs.volume.object_directories import (
    Owner,
    make_directories,
    missing_of,
    new_object_inode,
)
from objfs.volume.object_entries import Current, current_of
from objfs.volume.object_keys import check_key, components
from objfs.volume.object_lock import encode_retention
from objfs.volume.object_metadata import Posix, posix_of, xattrs_of
from objfs.volume.object_reading import CHECKSUM_TYPE, ObjectReading
from objfs.volume.object_types import (
    COMPOSITE,
    Conditions,
    LockRetention,
    ObjectInfo,
    PutAttributes,
)
from objfs.volume.writeback import Writeback


class Source(NamedTuple):
    """What a new object is made of."""

    take: Callable[[Change, int], Taken]  # the bytes, for the inode with that number
    etag: str
    checksums: dict[str, bytes]
    taken: Callable[[], None] = lambda: None  # called when it has happened


class ObjectWriting:
    """The verbs that put objects."""

    def __init__(
        self,
        core: Core,
        writeback: Writeback,
        reading: ObjectReading,
        seen: Callable[[], Awaitable[None]],
    ) -> None:
        self.core = self._core = core
        self._database = core.database
        self._writeback = writeback
        self._reading = reading
        self._seen = seen

    def put(self, bucket: str, key: bytes, checksums: tuple[str, ...] = ()) -> "Put":
        """Begin an object; `checksums` are algorithms to compute besides the MD5. NoSuchBucket,
        KeyTooLong, InvalidRequest, ReadOnly."""
        check_key(key)
        row = self._reading.bucket(bucket)
        self._core.check_writable()
        return Put(self, Body(self._core, row.id, checksums), bucket, key)

    async def copy(
        self,
        source: ObjectInfo,
        bucket: str,
        key: bytes,
        attributes: PutAttributes,
        conditions: Conditions | None = None,
        *,
        sync: bool = True,
    ) -> ObjectInfo:
        """Make an object of the bytes of another, which are not copied; it has the ETag, checksums
        and encryption of the source. NoSuchVersion when that was erased meanwhile."""
        check_key(key)
        self._reading.bucket(bucket)

        def take(change: Change, ino: int) -> Taken:
            if not source.sealed:
                return Taken(ino, 0, 0, 0)
            version = change.get(VERSION, source.ino, source.sealed)
            if version is None:
                raise NoSuchVersion(f"version {source.version_id} was erased meanwhile")
            return Taken(version.content, version.content_at, version.size, version.allocated)

        attributes = replace(attributes, encryption=source.encryption)
        made = Source(take, source.etag, source.checksums)
        return await self.place(bucket, key, made, attributes, conditions, sync=sync)

    # --- the change ------------------------------------------------------------------------------

    async def place(
        self,
        bucket: str,
        key: bytes,
        source: Source,
        attributes: PutAttributes,
        conditions: Conditions | None = None,
        *,
        sync: bool = True,
    ) -> ObjectInfo:
        """Give the key a new object. `sync` False: durable with the next sync. NoSuchBucket,
        PreconditionFailed, NoSuchKey (If-Match), AttributeTooLarge, NoSpace, StorageError."""
        core = self._core
        xattrs = xattrs_of(attributes.metadata)
        await self.seal_displaced(bucket, key)
        await self.make_deep(bucket, key, _owner(attributes), conditions)
        row = self._reading.bucket(bucket)
        parts = components(key)
        ino, missing = missing_of(self._database, row.root, parts[:-1])
        self._place(bucket, key, source, attributes, xattrs, conditions)
        source.taken()
        core.invalidate(ino, (missing or parts[-1:])[0].removesuffix(b"/") or None)
        info = self._reading.head(bucket, key)
        if sync:
            await core.log.sync()
            await self._seen()
        return info

    async def seal_displaced(self, bucket: str, key: bytes) -> None:
        """What is written to the file that goes becomes a version before it does."""
        while True:
            found = current_of(self._database, self._reading.bucket(bucket), key)
            if found.inode is None or not self._writeback.must_seal(found.inode.ino):
                return
            await self._writeback.seal_displaced(found.inode.ino)

    async def make_deep(
        self, bucket: str, key: bytes, owner: Owner, conditions: Conditions | None
    ) -> None:
        """Make so many of the directories that the last change can make the others."""
        directories = components(key)[:-1]
        while True:
            row = self._reading.bucket(bucket)
            _, missing = missing_of(self._database, row.root, directories)
            if len(missing) <= limits.DIRECTORIES_PER_CHANGE_MAX:
                return
            self.check(row, key, current_of(self._database, row, key), conditions)
            with self._core.change() as change:
                above = directories[: -limits.DIRECTORIES_PER_CHANGE_MAX]
                make_directories(self._core, change, row, above, owner)

    def check(
        self, bucket: Bucket, key: bytes, found: Current, conditions: Conditions | None
    ) -> None:
        """What a change demands of what is there now."""
        if conditions is not None:
            entry = found.entry
            conditions.check_write(
                None if entry is None else self._reading.light(bucket, key, entry)
            )

    def _place(
        self,
        bucket: str,
        key: bytes,
        source: Source,
        attributes: PutAttributes,
        xattrs: dict[bytes, bytes],
        conditions: Conditions | None,
    ) -> None:
        core = self._core
        core.admit(limits.KIB)
        parts = components(key)
        with core.change() as change:
            row = self._reading.bucket(bucket, change)
            found = current_of(change, row, key)
            self.check(row, key, found, conditions)
            if core.quotas:
                core.check_quota(row.id, limits.KIB)
            directory = make_directories(core, change, row, parts[:-1], _owner(attributes))
            replaced = found.inode if found.dentry is not None else None
            inode = self._new_inode(change, directory, replaced, attributes, xattrs)
            if found.dentry is not None:
                displace(core, change, found.dentry)
            inode = self._put_version(change, inode, source, attributes)
            change.put(inode)
            hidden = is_hidden(change, directory.ino, parts[-1])
            change.put(
                Dentry(
                    directory.ino,
                    parts[-1],
                    inode.ino,
                    change.sequence,
                    change.new_id(),
                    hidden=hidden,
                )
            )
            touch_directory(core, change, directory)
            count_usage(change, row.id, live=counted_bytes(inode.size), objects=1)

    def _new_inode(
        self,
        change: Change,
        directory: Inode,
        replaced: Inode | None,
        attributes: PutAttributes,
        xattrs: dict[bytes, bytes],
    ) -> Inode:
        """The row of the new inode without its bytes; its extended attributes are put."""
        wanted = posix_of(attributes.metadata)
        inode = new_object_inode(change, directory, stat.S_IFREG | 0o666, _owner(attributes))
        unset = UNSET_ALL
        if replaced is not None and stat.S_ISREG(replaced.mode):
            inode = _like(change, inode, replaced)
            unset = replaced.unset | UNSET_MTIME
        mode = attributes.mode if attributes.mode is not None else wanted.mode
        if mode is not None:
            inode = replace(inode, mode=stat.S_IFREG | mode & 0o777)
            unset &= ~UNSET_MODE
        if attributes.chown is not None:
            inode = replace(inode, uid=attributes.chown[0], gid=attributes.chown[1])
            unset &= ~UNSET_OWNER
        mtime_ns = _mtime(attributes, wanted)
        if mtime_ns is not None:
            inode = replace(inode, mtime_ns=mtime_ns)
            unset &= ~UNSET_MTIME
        for name, value in xattrs.items():
            change.put(Xattr(inode.ino, name, value))
        return replace(inode, unset=unset, has_xattrs=inode.has_xattrs or bool(xattrs))

    def _put_version(
        self, change: Change, inode: Inode, source: Source, attributes: PutAttributes
    ) -> Inode:
        """Put the version; returns the inode with the bytes."""
        taken = source.take(change, inode.ino)
        checksums = {**source.checksums, **attributes.checksums}
        if attributes.checksum_type == COMPOSITE:
            checksums[CHECKSUM_TYPE] = COMPOSITE.encode()
        change.put(
            Version(
                ino=inode.ino,
                sealed=change.sequence,
                content=taken.content,
                content_at=taken.content_at or change.sequence,
                size=taken.size,
                allocated=taken.allocated,
                time_ns=change.time_ns,
                etag=attributes.etag or source.etag,
                checksums=checksums or None,
                parts=attributes.parts,
                headers=attributes.headers or None,
                owner=attributes.owner,
                encryption=attributes.encryption,
                tags=attributes.tags or None,
                acl=attributes.acl,
                retention=encode_retention(attributes.retention or self._default(inode, change)),
                hold=attributes.hold,
            )
        )
        return replace(
            inode,
            size=taken.size,
            allocated=taken.allocated,
            content=taken.content,
            content_at=taken.content_at,
            sealed=change.sequence,
            given=True,
        )

    def _default(self, inode: Inode, change: Change) -> LockRetention | None:
        """What object lock gives to a version of which the client says nothing."""
        rule = self._core.locks.get(inode.bucket)
        return None if rule is None else rule.at(change.time_ns)


class Put:
    """An object on its way in. Used by one task; ends with `commit` or `abort`."""

    def __init__(self, writing: ObjectWriting, body: Body, bucket: str, key: bytes) -> None:
        self._writing = writing
        self._body = body
        self._bucket = bucket
        self._key = key
        self.write = body.write
        self.abort = body.abort

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._body.size

    async def commit(
        self,
        attributes: PutAttributes,
        conditions: Conditions | None = None,
        *,
        sync: bool = True,
    ) -> ObjectInfo:
        """The object is there, durable, and seen in the mount. After an error nothing is left of
        it. ChecksumMismatch, and the errors of `ObjectWriting.place`."""
        body, core = self._body, self._writing.core
        try:
            with core.appending():
                await body.end()
                body.digests.check(attributes.md5, attributes.checksums)
                source = Source(
                    body.take, body.digests.md5.hex(), body.digests.checksums(), body.taken
                )
                return await self._writing.place(
                    self._bucket, self._key, source, attributes, conditions, sync=sync
                )
        finally:
            await body.abort()


def displace(core: Core, change: Change, dentry: Dentry) -> None:
    """What has the name ends: a file, a symlink, anything but a directory; or the own entry of one,
    which leads to the directory itself."""
    if dentry.ino == dentry.parent:
        close_entry(core, change, dentry)
    else:
        remove_entry(core, change, dentry, "kept")


def _like(change: Change, inode: Inode, replaced: Inode) -> Inode:
    """`inode` with the mode, owner and access ACL of the file that it replaces."""
    mode = replaced.mode & ~(stat.S_ISUID | stat.S_ISGID)
    inherited = change.get(XATTR, inode.ino, ACL_ACCESS)
    if inherited is not None:
        change.delete(XATTR, inode.ino, ACL_ACCESS)
    kept = change.get(XATTR, replaced.ino, ACL_ACCESS) if replaced.has_xattrs else None
    if kept is not None:
        change.put(Xattr(inode.ino, ACL_ACCESS, kept.value))
    return replace(
        inode, mode=mode, uid=replaced.uid, gid=replaced.gid, has_xattrs=kept is not None
    )


def _owner(attributes: PutAttributes) -> Owner:
    return Owner(attributes.uid, attributes.gid)


def _mtime(attributes: PutAttributes, wanted: Posix) -> int | None:
    return attributes.mtime_ns if attributes.mtime_ns is not None else wanted.mtime_ns
