"""Deleting objects: a delete marker over the newest entry, or the end of one entry for good.

What always holds (DESIGN 5; the theory of entries is in `object_entries.py`):

- A DELETE without a version closes the name: the marker is derived. Where there is no name, the
  marker is a row. While versioning is off, there is no marker. What the mount has under the key
  that is no object (a symlink, say) stays.
- A DELETE of a version erases one entry, in one change: its name ends if it shows it, the newest
  entry that remains comes back under the name, the delete marker after it stays. To erase the
  newest marker is to undelete. `null` names all null entries of the key: those below the newest
  are not shown, and must not appear because that goes.
- What comes back is a new inode with the bytes and attributes of its entry, as in a restore; its
  name knows the entry (`Dentry.entry`), so it keeps its version id.
- Directories that a delete empties go, unless they have an entry of their own.
- All that goes for good goes through `Erasing`: object lock and snapshots are asked there.
"""

from collections.abc import Awaitable, Callable

import trio
from msgspec.structs import replace

from objfs.base.errors import InvalidRequest
from objfs.base.limits import DIRECTORIES_PER_CHANGE_MAX
from objfs.meta.database import Change
from objfs.meta.rows import Bucket, Dentry, Marker, Version, Xattr, counted_bytes
from objfs.meta.tables import DENTRY_PAST, INODE, MARKER
from objfs.volume.core import Core
from objfs.volume.erasing import MARKS_PER_CHANGE, Erasing
from objfs.volume.hidden_names import is_hidden
from objfs.volume.history import version_id
from objfs.volume.inodes import count_usage, touch_directory
from objfs.volume.object_directories import (
    Owner,
    make_directories,
    missing_of,
    new_object_inode,
    remove_emptied,
)
from objfs.volume.object_entries import (
    Current,
    Entry,
    all_entries,
    cover_of,
    current_of,
    is_object,
    shown_entries,
)
from objfs.volume.object_keys import check_key, components, path_of
from objfs.volume.object_reading import ObjectReading, is_called, sequence_or_none
from objfs.volume.object_types import NULL_VERSION, Conditions, Deleted
from objfs.volume.object_writing import ObjectWriting, displace
from objfs.volume.showing import FOREVER, stretches_of

_FILE = 0o100644


class ObjectDeleting:
    """The verb `delete`."""

    def __init__(
        self,
        core: Core,
        reading: ObjectReading,
        writing: ObjectWriting,
        erasing: Erasing,
        seen: Callable[[], Awaitable[None]],
    ) -> None:
        self._core = core
        self._database = core.database
        self._reading = reading
        self._writing = writing
        self._erasing = erasing
        self._seen = seen

    async def delete(
        self,
        bucket: str,
        key: bytes,
        version_id: str | None = None,
        *,
        bypass_governance: bool = False,
        conditions: Conditions | None = None,
        owner: str | None = None,
        sync: bool = True,
    ) -> Deleted:
        """Delete a key, or erase one version of it. What is not there is no error. `owner` of a
        marker that is stored; `sync` False: durable with the next sync. NoSuchBucket,
        PreconditionFailed, NoSuchKey (If-Match), InvalidRequest (no version id), Locked, Pinned."""
        check_key(key)
        await self._writing.seal_displaced(bucket, key)
        if version_id is None:
            deleted = await self._delete(bucket, key, conditions, owner)
        else:
            deleted = await self._delete_version(
                bucket, key, version_id, bypass_governance, conditions
            )
        if sync:
            await self._core.log.sync()
            await self._seen()
        return deleted

    # --- a marker --------------------------------------------------------------------------------

    async def _delete(
        self, bucket: str, key: bytes, conditions: Conditions | None, owner: str | None
    ) -> Deleted:
        core = self._core
        emptied = 0

        def act() -> Deleted:
            nonlocal emptied
            with core.change() as change:
                row = self._reading.bucket(bucket, change)
                found = current_of(change, row, key)
                self._writing.check(row, key, found, conditions)
                if found.entry is None:
                    return self._mark(change, row, key, owner)
                emptied = self._close(change, row, found)
                if row.versioning == "off":
                    return Deleted(None, False)
                null = row.versioning != "on"
                return Deleted(NULL_VERSION if null else version_id(change.sequence), True)

        deleted: Deleted = core.freeing(act)
        self._invalidate(bucket, key)
        await self._remove_emptied(bucket, emptied)
        return deleted

    def _mark(self, change: Change, bucket: Bucket, key: bytes, owner: str | None) -> Deleted:
        """A delete that closes nothing."""
        if bucket.versioning == "off":
            return Deleted(None, False)
        if bucket.versioning == "suspended":
            latest = next(iter(shown_entries(change, bucket, key)), None)
            if latest is None or not (latest.marker and latest.null):
                change.put(Marker(bucket.id, key, change.sequence, owner=owner))
            return Deleted(NULL_VERSION, True)
        change.put(Marker(bucket.id, key, change.sequence, owner=owner))
        return Deleted(version_id(change.sequence), True)

    def _close(self, change: Change, bucket: Bucket, found: Current) -> int:
        """End the name; returns a directory that may still have to go, 0 for none."""
        assert found.dentry is not None
        displace(self._core, change, found.dentry)
        directory = change.get(INODE, found.parent)
        assert directory is not None
        touch_directory(self._core, change, directory)
        ino, more = remove_emptied(self._core, change, bucket, found.parent)
        return ino if more else 0

    async def _remove_emptied(self, bucket: str, ino: int) -> None:
        """Go on with directories that one change did not hold."""
        while ino:
            await trio.lowlevel.checkpoint()
            with self._core.change() as change:
                row = self._reading.bucket(bucket, change)
                if change.get(INODE, ino) is None:
                    return
                ino, more = remove_emptied(self._core, change, row, ino)
            ino = ino if more else 0

    def _invalidate(self, bucket: str, key: bytes) -> None:
        """The kernel may know the name, wherever the directories still are."""
        row = self._reading.bucket(bucket)
        found = current_of(self._database, row, key)
        leaf = components(key)[-1]
        if found.parent and leaf:
            self._core.invalidate(found.parent, leaf)

    # --- one entry -------------------------------------------------------------------------------

    async def _delete_version(
        self,
        bucket: str,
        key: bytes,
        name: str,
        bypass_governance: bool,
        conditions: Conditions | None,
    ) -> Deleted:
        id = 0 if name == NULL_VERSION else sequence_or_none(name)
        if id is None:
            raise InvalidRequest(f"{name!r} is no version id")
        await self._writing.make_deep(bucket, key, Owner(), None)
        row = self._reading.bucket(bucket)
        await self._erase_hidden(row, key, id, bypass_governance)
        work = _Erasure(self._core, self._reading, self._writing, bucket, key, id, conditions)
        await self._erasing.erase_object(
            row, path_of(key), work.decide, work.settled, bypass_governance=bypass_governance
        )
        if work.own:
            await self._erasing.finish({work.own})
        self._invalidate(bucket, key)
        await self._remove_emptied(bucket, work.emptied)
        if len(components(key)) > DIRECTORIES_PER_CHANGE_MAX:  # made for what did not come back
            await self._remove_emptied(
                bucket, missing_of(self._database, row.root, components(key)[:-1])[0]
            )
        return Deleted(name, work.marker)

    async def _erase_hidden(
        self, bucket: Bucket, key: bytes, id: int, bypass_governance: bool
    ) -> None:
        """Of the entries that have this name, all but the newest few, which nobody sees."""
        called = [
            entry.sequence
            for entry in all_entries(self._database, bucket, key)
            if is_called(entry, id) and not entry.marker
        ][MARKS_PER_CHANGE - 1 :]
        while called:
            part, called = called[-MARKS_PER_CHANGE:], called[:-MARKS_PER_CHANGE]
            await self._erasing.erase_object(
                bucket,
                path_of(key),
                lambda change, part=part: part,  # type: ignore[misc]
                lambda change: None,
                bypass_governance=bypass_governance,
            )


class _Erasure:
    """The change that erases the entries of one name."""

    def __init__(
        self,
        core: Core,
        reading: ObjectReading,
        writing: ObjectWriting,
        bucket: str,
        key: bytes,
        id: int,
        conditions: Conditions | None,
    ) -> None:
        self._core = core
        self._reading = reading
        self._writing = writing
        self._name = bucket
        self._key = key
        self._id = id
        self._conditions = conditions
        self.marker = False  # what was erased is a delete marker
        self.emptied = 0
        self.own = 0  # a directory whose own entry was erased

    def decide(self, change: Change) -> list[int]:
        """Do what goes with the erasing; returns the entries to erase."""
        core, key = self._core, self._key
        bucket = self._reading.bucket(self._name, change)
        found = current_of(change, bucket, key)
        entries = list(all_entries(change, bucket, key))
        gone = [entry for entry in entries if is_called(entry, self._id)]
        if self._conditions is not None:
            latest = bool(gone) and gone[0] is entries[0]
            shown = self._reading.light(bucket, key, gone[0], latest=latest) if gone else None
            self._conditions.check_write(shown if shown and not shown.delete_marker else None)
        if not gone:
            return []
        self.marker = gone[0].marker
        rest = [entry for entry in entries if not is_called(entry, self._id)]
        is_newest = entries[0] is gone[0]
        if found.entry is not None and is_newest:
            assert found.dentry is not None
            displace(core, change, found.dentry)
            # The name ends here, and that is no deletion.
            low = self._lowest(change, bucket, found.entry)
            change.put(Marker(bucket.id, key, change.sequence, since=low, gone=True))
        self._keep_markers(change, bucket, gone, rest)
        free = found.dentry is None or found.entry is not None
        if is_newest and free and rest and not rest[0].marker:
            self._bring_back(change, bucket, rest[0])
        elif found.entry is not None and is_newest:
            directory = change.get(INODE, found.parent)
            assert directory is not None
            touch_directory(core, change, directory)
            ino, more = remove_emptied(core, change, bucket, found.parent)
            self.emptied = ino if more else 0
        return [
            entry.sequence
            for entry in gone
            if entry.version is not None and entry.stretch is not None
        ]

    def _lowest(self, change: Change, bucket: Bucket, entry: Entry) -> int:
        """From where on a marker after an erased entry has to stand for the ends of the path: the
        stretch below ends in the erased one, or in one that was erased before."""
        assert entry.stretch is not None
        begin = entry.stretch.begin
        below = [
            each
            for each in stretches_of(change, bucket.root, path_of(self._key), upper=begin)
            if each.begin < begin and is_object(change, each)
        ]
        if below and (below[0].until == begin or below[0].replaced):
            return below[0].until
        return begin

    def _keep_markers(
        self, change: Change, bucket: Bucket, gone: list[Entry], rest: list[Entry]
    ) -> None:
        """A marker after an erased version stays, where it was; one that is erased goes."""
        key, path = self._key, path_of(self._key)
        begins = {
            each.begin
            for each in stretches_of(change, bucket.root, path)
            if is_object(change, each)
        }
        erased_markers = {entry.sequence for entry in gone if entry.marker}
        for entry in gone:
            stored = change.scan(MARKER, (bucket.id, key))
            if entry.marker:
                row = change.get(MARKER, bucket.id, key, entry.sequence)
                if row is not None and not row.since:
                    change.delete(MARKER, bucket.id, key, entry.sequence)
                else:
                    row = row or Marker(bucket.id, key, entry.sequence, since=entry.sequence)
                    change.put(replace(row, gone=True))
                continue
            assert entry.stretch is not None
            begin, until = self._lowest(change, bucket, entry), entry.stretch.until
            cover = cover_of(stored, until)
            if cover is not None:
                change.put(replace(cover, since=min(cover.since, begin)))
            elif until != FOREVER and until not in begins and not entry.stretch.replaced:
                change.put(Marker(bucket.id, key, until, since=begin, gone=until in erased_markers))
            if entry.stretch.own:
                self._erase_own(change, bucket, entry)

    def _erase_own(self, change: Change, bucket: Bucket, entry: Entry) -> None:
        """A directory's own entry that ended: nothing but S3 ever showed it."""
        assert entry.stretch is not None
        ino = self.own = entry.stretch.ino
        for row in change.scan(DENTRY_PAST, (ino, b""), lower=entry.stretch.begin + 1):
            if row.ino == ino and row.since <= entry.stretch.begin:
                change.delete(DENTRY_PAST, ino, b"", row.until)

    def _bring_back(self, change: Change, bucket: Bucket, entry: Entry) -> None:
        """The newest entry that remains is what the name leads to."""
        core, parts = self._core, components(self._key)
        directory = make_directories(core, change, bucket, parts[:-1], Owner())
        version = entry.version
        ino = directory.ino if version is None else self._new_inode(change, entry, version)
        change.put(
            Dentry(
                directory.ino,
                parts[-1],
                ino,
                change.sequence,
                change.new_id(),
                entry=entry.id,
                hidden=is_hidden(change, directory.ino, parts[-1]),
            )
        )
        row = change.get(INODE, directory.ino)
        assert row is not None
        touch_directory(core, change, row)
        core.invalidate(directory.ino, parts[-1] or None)

    def _new_inode(self, change: Change, entry: Entry, version: Version) -> int:
        """An inode with the bytes of an entry and the attributes that it had."""
        assert entry.stretch is not None
        was, xattrs = self._reading.attributes(entry.stretch.ino, entry)
        directory = change.get(INODE, self._reading.bucket(self._name, change).root)
        assert directory is not None
        new = new_object_inode(change, directory, _FILE, Owner())
        ino = new.ino
        base = new if was is None else was
        change.put(
            replace(
                base,
                ino=ino,
                bucket=directory.bucket,
                nlink=1,
                size=version.size,
                allocated=version.allocated,
                ctime_ns=change.time_ns,
                birth_ns=change.time_ns,
                content=version.content,
                content_at=version.content_at,
                has_xattrs=bool(xattrs),
                sealed=change.sequence,
                since=change.sequence,
                since_ns=change.time_ns,
                given=True,
            )
        )
        for name, value in xattrs.items():
            change.put(Xattr(ino, name, value))
        change.put(replace(version, ino=ino, sealed=change.sequence))
        count_usage(change, directory.bucket, live=counted_bytes(version.size), objects=1)
        return ino

    def settled(self, change: Change) -> None:
        """Rows that stand for ends which are gone too are not needed."""
        bucket = self._reading.bucket(self._name, change)
        rows = [row for row in change.scan(MARKER, (bucket.id, self._key)) if row.gone]
        if not rows:
            return
        ends = [each.until for each in stretches_of(change, bucket.root, path_of(self._key))]
        for row in rows:
            if not any(row.since <= end <= row.at for end in ends):
                change.delete(MARKER, row.bucket, row.key, row.at)
