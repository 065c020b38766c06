"""Forgetting: the history of a path goes for good, because somebody asks for it.

`forget` of one version erases that entry. Without a version it erases the whole *history* of the
path: every entry but the current state of what is there, with past states of its attributes; of a
path that leads nowhere now, everything, its deletion included. A directory is forgotten with all
that lies, or ever lay, beneath it. The work goes entry by entry through `Erasing.erase`, in key
order; broken off, it leaves what it has not come to, and asking again goes on there.
"""

from collections.abc import Iterator
from functools import partial

import trio

from objfs.base import limits
from objfs.base.errors import InvalidRequest, Locked, NotFound, Pinned
from objfs.meta.rows import Bucket
from objfs.meta.tables import DENTRY, DENTRY_PAST, INODE
from objfs.volume.attribute_past import last_moments, thin_states
from objfs.volume.buckets import remove_markers
from objfs.volume.core import Core
from objfs.volume.erasing import ErasedReport, Erasing, find_entry, is_current
from objfs.volume.history import History, sequence_of
from objfs.volume.object_lock import locked_until
from objfs.volume.routes import Routes, names_of
from objfs.volume.showing import (
    FOREVER,
    OWN_ENTRY,
    Stretch,
    entries_of,
    erased_entries,
    is_there,
    stretches_of,
)


class Forgetting:
    """The verb `forget`."""

    def __init__(self, core: Core, history: History, erasing: Erasing) -> None:
        self._core = core
        self._database = core.database
        self._history = history
        self._erasing = erasing

    async def forget(
        self, bucket: str, key: bytes, version_id: str | None = None, *, dry: bool = False
    ) -> ErasedReport:
        """Erase one version of a path, or its whole history; see the module. What snapshots show
        stays and is counted. `dry`: the same report, and nothing changes. When it returns, what is
        not needed any more is swept away. NotFound, InvalidRequest; Pinned for one version that a
        snapshot shows."""
        row = self._history.bucket(bucket)
        if version_id is not None:
            report = await self._forget_version(row, key, version_id, dry)
        else:
            report = await self._forget_history(row, key, dry)
        if not dry:
            await self._erasing.sweep()
        return report

    async def _forget_version(
        self, bucket: Bucket, key: bytes, version_id: str, dry: bool
    ) -> ErasedReport:
        sequence = sequence_of(version_id)
        entry = find_entry(self._database, bucket, key, sequence)
        shown = key.decode(errors="backslashreplace")
        if entry is None:
            if sequence in self._ends(bucket, key):
                raise InvalidRequest(
                    f"version {version_id} of {shown} is its deletion: it goes with the version "
                    "before it, or with the whole history"
                )
            raise NotFound(
                f"{shown} has no version {version_id}: `objfs versions` lists those it has"
            )
        if is_current(entry):
            raise InvalidRequest(
                f"version {version_id} is what {shown} is now: delete the file first, or restore "
                "another version"
            )
        if entry.version is not None and (
            locked_until(entry.version, self._core.clock.now_ns()) is not None
        ):
            raise Locked(f"version {version_id} of {shown} is kept by retention or a legal hold")
        for snapshot in self._core.pins.snapshots():
            pinned = entry.since <= snapshot.sequence < entry.until
            if pinned and self._core.pins.holds(bucket.id, key, entry.since, entry.until):
                raise Pinned(
                    f"version {version_id} of {shown} is kept by the snapshot {snapshot.name!r}: "
                    "delete the snapshot first"
                )
        return await self._erasing.erase(bucket.name, key, [sequence], dry=dry)

    def _ends(self, bucket: Bucket, key: bytes) -> set[int]:
        return {stretch.until for stretch in stretches_of(self._database, bucket.root, key)}

    # --- whole histories -------------------------------------------------------------------------

    async def _forget_history(self, bucket: Bucket, key: bytes, dry: bool) -> ErasedReport:
        report = ErasedReport()
        found = False
        if key and not key.endswith(b"/"):
            found = bool(stretches_of(self._database, bucket.root, key))
            report += await self._forget_file(bucket, key, dry)
        directory = key if not key or key.endswith(b"/") else key + b"/"
        if stretches_of(self._database, bucket.root, directory):
            found = True
            report += await self._forget_directory(bucket, directory, dry)
        if not (dry or report.pinned or report.locked):
            upper = directory[:-1] + b"0" if key else None  # what comes after a slash
            remove_markers(self._core, bucket.id, directory, upper)
            if key:
                remove_markers(self._core, bucket.id, key, key + b"\0")
        if not found:
            shown = key.decode(errors="backslashreplace")
            raise NotFound(f"{shown} never existed in bucket {bucket.name!r}, or was forgotten")
        return report

    async def _forget_file(
        self, bucket: Bucket, key: bytes, dry: bool, left: set[int] | None = None
    ) -> ErasedReport:
        """What leads to no directory: a file, a symlink, ... `left` as of `Erasing.erase`."""
        report = ErasedReport()
        for stretch in stretches_of(self._database, bucket.root, key):
            if stretch.own:
                continue
            report += await self._erasing.erase(
                bucket.name, key, self._entries(bucket, key, stretch), dry=dry, left=left
            )
            if stretch.until == FOREVER and not dry:
                await self._drop_states(stretch.ino)
            await trio.lowlevel.checkpoint()
        return report

    def _entries(self, bucket: Bucket, key: bytes, stretch: Stretch) -> list[int]:
        erased = erased_entries(self._database, bucket.id, key, stretch.begin, stretch.until)
        entries = entries_of(self._database, stretch, erased)
        if entries:
            return [entry.sequence for entry in entries]
        return [stretch.begin] if is_there(self._database, stretch, erased, stretch.begin) else []

    async def _drop_states(self, ino: int) -> None:
        """Past attributes of what is there now, if it was never anywhere else: but for those that
        a version which stays had last."""
        if not self._is_in_one_place(ino):
            return
        needed: list[int] = []
        for last in last_moments(self._database, ino):
            if last is None:
                await trio.lowlevel.checkpoint()
            else:
                needed.append(last)
        needed.sort()
        upper: int | None = FOREVER
        while upper is not None:
            thin = partial(thin_states, self._core, ino, upper, needed, lambda *_: False)
            upper = self._core.freeing(thin)
            await trio.lowlevel.checkpoint()

    def _is_in_one_place(self, ino: int) -> bool:
        """Whether an inode that is there has had one path only, or is a bucket's root."""
        names = names_of(self._database, ino)
        routes = Routes(self._database)
        return (
            self._database.get(INODE, ino) is not None
            and all(name.until == FOREVER for name in names)
            and sum(len(routes.of(name)) for name in names) <= 1
        )

    async def _forget_directory(self, bucket: Bucket, key: bytes, dry: bool) -> ErasedReport:
        """A directory after all that is, or was, beneath it."""
        report, left = ErasedReport(), set[int]()
        open_directories = [(key, self._children(bucket, key))]
        while open_directories:
            path, children = open_directories[-1]
            child = next(children, None)
            if child is None:
                open_directories.pop()
                report += await self._forget_file(bucket, path + OWN_ENTRY, dry, left)
                if not dry:
                    await self._erasing.finish(left)
                    await self._end_directory(bucket, path)
                left = set()
            elif child.endswith(b"/"):
                open_directories.append((child, self._children(bucket, child)))
            else:
                report += await self._forget_file(bucket, child, dry, left)
            await trio.lowlevel.checkpoint()
        return report

    def _children(self, bucket: Bucket, key: bytes) -> Iterator[bytes]:
        """The keys of what is or was in a directory; some come twice."""
        for ino in self._inodes(bucket, key):
            after: bytes | None = b""
            while after is not None:
                rows, stopped = self._database.scan_nearest(DENTRY_PAST, (ino,), 0, after=after)
                for row in rows:
                    yield key + row.key
                assert stopped is None or isinstance(stopped, bytes)
                after = stopped
            after = b""
            while after is not None:
                page = self._database.scan(
                    DENTRY, (ino,), lower=after + b"\0", limit=limits.ROWS_PER_BATCH_MAX
                )
                for current in page:
                    yield key + current.key
                after = page[-1].key if len(page) == limits.ROWS_PER_BATCH_MAX else None

    def _inodes(self, bucket: Bucket, key: bytes) -> list[int]:
        """The directories that the path led to, each once."""
        found = stretches_of(self._database, bucket.root, key)
        return list(dict.fromkeys(stretch.ino for stretch in found))

    async def _end_directory(self, bucket: Bucket, key: bytes) -> None:
        stretches = stretches_of(self._database, bucket.root, key)
        if key:
            await self._erasing.erase(bucket.name, key, [each.begin for each in stretches])
        for ino in {stretch.ino for stretch in stretches}:
            await self._drop_states(ino)
