"""Snapshots: names for moments, which nothing erases while they exist.

A snapshot is one row, whatever the number of files: it pins its sequence (`objfs/volume/pins.py`).
Before the row is put, the working data of open files in its scope is sealed, because the past shows
sealed versions only. It is *crash-consistent*: what it shows is what every file in scope held at
one moment. To that end the files are sealed in rounds, until a round leaves none that was written
meanwhile; the row is put in the same stretch. Programs that never stop writing end this after
`SNAPSHOT_ROUNDS_MAX` rounds: then each file shows a moment of its own within the last round.
"""

import stat

from objfs.base import limits
from objfs.base.errors import AlreadyExists, InvalidRequest, NotFound
from objfs.meta.rows import Bucket, Snapshot
from objfs.meta.tables import BUCKET, DENTRY, INODE, SNAPSHOT
from objfs.volume.attributes import Attributes
from objfs.volume.core import Core
from objfs.volume.handles import OpenInode
from objfs.volume.writeback import Writeback


def check_snapshot_name(name: str) -> None:
    """InvalidRequest for what cannot be the name of a snapshot: it is the name of a directory in
    `.objfs/snapshots`, and an argument of commands."""
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise InvalidRequest("the name of a snapshot is text in UTF-8") from None
    if not 0 < size <= limits.NAME_BYTES_MAX:
        raise InvalidRequest(
            f"the name of a snapshot has 1 to {limits.NAME_BYTES_MAX} bytes, not {size}"
        )
    if "/" in name or not name.isprintable() or name[0] in ".- " or name[-1] == " ":
        raise InvalidRequest(
            f"{name!r} cannot be the name of a snapshot: it has neither slashes nor control "
            "characters, begins with none of `.`, `-` and a blank, and ends with no blank"
        )


class Snapshots:
    """The verbs of snapshots."""

    def __init__(self, core: Core, writeback: Writeback, attributes: Attributes) -> None:
        self._core = core
        self._database = core.database
        self._writeback = writeback
        self._attributes = attributes

    def snapshots(self) -> list[Snapshot]:
        """All of them, oldest first."""
        return self._core.pins.snapshots()

    def snapshot(self, name: str) -> Snapshot:
        """One by its name. NotFound."""
        row = self._database.get(SNAPSHOT, name)
        if row is None:
            raise NotFound(f"there is no snapshot {name!r}: `objfs snapshot list` shows them")
        return row

    async def create(
        self, name: str, bucket: Bucket | None = None, prefix: bytes = b""
    ) -> Snapshot:
        """Pin this moment of the store, of a bucket, or of a path in it; durable when it returns.
        AlreadyExists, InvalidRequest, NotFound for a path that does not exist."""
        core = self._core
        core.check_writable()
        check_snapshot_name(name)
        self._check_free(name)
        prefix = prefix.strip(b"/")
        top = None if bucket is None else self._top(bucket, prefix)
        for _ in range(limits.SNAPSHOT_ROUNDS_MAX):
            for opened in self._working(bucket, top):
                await self._writeback.seal(opened)
            if not self._working(bucket, top):
                break
        # From here to the row nothing waits: what was sealed is what the moment shows.
        self._attributes.log_late()
        row = core.freeing(lambda: self._put(name, bucket, prefix))
        await core.log.sync()
        assert isinstance(row, Snapshot)
        return row

    def _put(self, name: str, bucket: Bucket | None, prefix: bytes) -> Snapshot:
        with self._core.change() as change:
            self._check_free(name)
            if bucket is not None and change.get(BUCKET, bucket.id) is None:
                raise NotFound(f"bucket {bucket.name!r} was deleted")
            scope = 0 if bucket is None else bucket.id
            row = Snapshot(name, change.sequence, change.time_ns, scope, prefix)
            change.put(row)
        self._core.pins.reload()
        return row

    def _check_free(self, name: str) -> None:
        if self._database.get(SNAPSHOT, name) is not None:
            raise AlreadyExists(
                f"there is a snapshot {name!r}: take another name, or delete it with "
                "`objfs snapshot delete`"
            )
        if len(self._core.pins.snapshots()) >= limits.SNAPSHOTS_MAX:
            raise InvalidRequest(
                f"the store has {limits.SNAPSHOTS_MAX} snapshots, as many as it can: delete some"
            )

    def _top(self, bucket: Bucket, prefix: bytes) -> int:
        """The inode at the prefix. NotFound."""
        ino = bucket.root
        get = self._database.get
        for part in prefix.split(b"/") if prefix else []:
            dentry = get(DENTRY, ino, part + b"/") or get(DENTRY, ino, part)
            if dentry is None:
                shown = prefix.decode(errors="backslashreplace")
                raise NotFound(f"there is no {shown} in bucket {bucket.name!r}")
            ino = dentry.ino
        return ino

    def _working(self, bucket: Bucket | None, top: int | None) -> list[OpenInode]:
        """The open files in scope whose working state no version covers."""
        return [
            opened
            for opened in self._core.open_inodes.values()
            if (opened.changed or opened.busy)
            and not opened.gone
            and (bucket is None or opened.bucket == bucket.id)
            and self._is_named(opened.ino)
            and (bucket is None or top in (None, bucket.root) or self._is_below(opened.ino, top))
        ]

    def _is_named(self, ino: int) -> bool:
        row = self._database.get(INODE, ino)
        return row is not None and row.nlink > 0 and stat.S_ISREG(row.mode)

    def _is_below(self, ino: int, top: int | None) -> bool:
        """Whether one of the names of `ino` lies at or below the inode `top`."""
        reached, seen = [ino], set()
        while reached:
            ino = reached.pop()
            if ino == top:
                return True
            if ino in seen:
                continue
            seen.add(ino)
            reached += [row.parent for row in self._database.scan(DENTRY, (ino,), index="ino")]
        return False

    def delete(self, name: str) -> Snapshot:
        """Give a snapshot up; what only it kept may be erased from now on. NotFound."""

        def act() -> Snapshot:
            row = self.snapshot(name)
            with self._core.change() as change:
                change.delete(SNAPSHOT, name)
            self._core.pins.reload()
            return row

        row = self._core.freeing(act)
        assert isinstance(row, Snapshot)
        return row
