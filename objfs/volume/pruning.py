"""Pruning: paths of directories beneath which nothing is shown any more go.

A directory has no versions: it stays in the past for what it held. A path by which it was reached,
and is not any more, is hidden when nothing is visible beneath it for all of that time, unless a
snapshot shows it; then perhaps that of the directory above. What ended gains nothing any more, so
looking through what is beneath it takes as many steps as it needs, without a change.
"""

from collections.abc import Iterable

import trio

from objfs.base import limits
from objfs.meta.rows import Erased
from objfs.meta.tables import DENTRY, DENTRY_PAST
from objfs.volume.core import Core
from objfs.volume.purging import Settling
from objfs.volume.routes import Name, Route, Routes, names_of
from objfs.volume.showing import FOREVER, erased_entries


class Pruning:
    """Removes what is left of directories."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._database = core.database

    async def prune(self, directories: Iterable[int]) -> None:
        """Hide the past paths of these directories that show nothing, and of those above them."""
        pending = set(directories)
        while pending:
            await trio.lowlevel.checkpoint()
            ino = pending.pop()
            while (found := await self._needless(ino)) is not None:
                name, route = found
                await self._hide(ino, route)
                pending.add(name.parent)

    async def _needless(self, ino: int) -> tuple[Name, Route] | None:
        """A past path of a directory that shows nothing. Looked for anew after each that is hidden:
        with the last of a name, the name and what was hidden before go too."""
        for name in names_of(self._database, ino):
            for route in Routes(self._database).of(name, lower=name.visible):
                if self._may_go(name, route) and await self._is_empty(ino, route):
                    return name, route
        return None

    def _may_go(self, name: Name, route: Route) -> bool:
        """Whether a path has ended, is a directory's, is shown, and no snapshot needs it."""
        bucket, key, begin, until = route
        return (
            until < FOREVER
            and key.endswith(b"/")
            and begin >= name.shown
            and not self._core.pins.holds(bucket, key, begin, until)
            and not erased_entries(self._database, bucket, key, begin, begin + 1)
        )

    async def _is_empty(self, ino: int, route: Route) -> bool:
        """Whether nothing in the directory is visible in the time of a route. Of each name in it
        the row that ends first after the beginning decides: later ones begin later."""
        own = self._database.scan(DENTRY_PAST, (ino, b""))
        if any(row.ino != ino and row.shown < row.until for row in own):
            return False  # an object `dir/` that S3 put
        after: bytes | None = b""
        while after is not None:
            rows, stopped = self._database.scan_nearest(
                DENTRY_PAST, (ino,), route.begin, after=after, rows=limits.PRUNING_LOOK_ROWS
            )
            if any(max(row.since, row.shown) < min(row.until, route.until) for row in rows):
                return False
            assert stopped is None or isinstance(stopped, bytes)
            after = stopped
            await trio.lowlevel.checkpoint()
        after = b""
        while after is not None:
            page = self._database.scan(
                DENTRY, (ino,), lower=after + b"\0", limit=limits.ROWS_PER_BATCH_MAX
            )
            if any(max(row.since, row.shown) < route.until for row in page):
                return False
            after = page[-1].key if len(page) == limits.ROWS_PER_BATCH_MAX else None
            await trio.lowlevel.checkpoint()
        return True

    async def _hide(self, ino: int, route: Route) -> None:
        """Its one entry, at its begin, is erased."""

        def batch() -> bool:
            with self._core.change() as change:
                if not marked:
                    change.put(Erased(route.bucket, route.key, route.begin, change.sequence))
                return Settling(self._core, change, Routes(change), ino).settle([]).done

        self._core.erased = True
        marked = False
        while not self._core.freeing(batch):
            marked = True
            await trio.lowlevel.checkpoint()
