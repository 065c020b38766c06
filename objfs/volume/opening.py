"""Opening: a log and an index become a volume.

In this order, each step safe to be interrupted and begun again:

1. the index catches up with the log (current, replayed or rebuilt; `objfs/meta/replay.py`);
2. begun purges are finished;
3. inodes without a name end: files open when the process died, trees that a restore was building;
4. working states that were logged but not sealed become versions. Their mtime becomes now if the
   kernel was to send it: nobody shall take a half-written file for the one it replaced.
"""

import datetime
import logging
import stat
from collections.abc import Iterator

from objfs.base.errors import ObjfsError
from objfs.base.ports import Clock, Threads
from objfs.base.settings import Settings
from objfs.base.types import Location
from objfs.meta.change_record import decode_change
from objfs.meta.database import Database
from objfs.meta.engine import Engine
from objfs.meta.replay import Progress, catch_up
from objfs.meta.rows import Extent
from objfs.meta.sqlite_reading import SqliteReader
from objfs.meta.tables import ERASED, ORPHAN, UNSEALED
from objfs.store.beside import LogBeside
from objfs.store.log import Log
from objfs.volume.commits import Commits
from objfs.volume.content import end_orphan, finish_purges
from objfs.volume.core import Core, SpaceReserve
from objfs.volume.damage import remember_recovery
from objfs.volume.purging import purge_unreachable
from objfs.volume.restored import discard_building
from objfs.volume.volume import Volume

logger = logging.getLogger(__name__)


def data_references(payload: bytes) -> Iterator[tuple[Location, int]]:
    """The DATA records that a META's rows refer to, each with 32 bits of its hash: what recovery
    must find intact before it believes the META. DataLost for a malformed payload."""
    for _, _, row in decode_change(payload, 0).changes:
        if isinstance(row, Extent):
            yield Location(row.segment, row.position, row.stored), row.hash32


def open_volume(
    log: Log,
    engine: Engine,
    *,
    clock: Clock,
    threads: Threads,
    settings: Settings,
    reserve: SpaceReserve | None = None,
    read_only: bool = False,
    progress: Progress | None = None,
    zone: datetime.tzinfo = datetime.UTC,
) -> Volume:
    """A volume over an opened log. DataLost, NewerFormat, IndexFailed.

    A read-only volume leaves steps 2 to 4 to the next opening that may write.
    """
    database = catch_up(engine, log, clock, progress=progress)
    core = Core(
        log,
        database,
        clock=clock,
        threads=threads,
        settings=settings,
        reserve=reserve,
        read_only=read_only,
        zone=zone,
    )
    if not read_only:
        core.keep_reserve()
        _clean_up(core)
        if log.recovery.damage:
            remember_recovery(core)
        database.commit()
    return Volume(core)


def open_beside(
    log: LogBeside,
    engine: SqliteReader,
    *,
    clock: Clock,
    threads: Threads,
    settings: Settings,
    zone: datetime.tzinfo = datetime.UTC,
) -> Volume:
    """A volume to read from while another process owns the store."""
    database = Database(engine, log, clock)
    core = Core(
        log, database, clock=clock, threads=threads, settings=settings, read_only=True, zone=zone
    )

    def began() -> None:
        core.active.set()  # so that the transaction ends soon
        core.erased = bool(database.scan(ERASED, limit=1))

    engine.commit()
    engine.began = began
    core.renew = database.commit
    return Volume(core)


def _clean_up(core: Core) -> None:
    """Steps 2 to 4. What cannot be done (the disk is full, say) is left to the next opening; with
    a purge unfinished nothing may be written before."""
    for step in (finish_purges, end_orphans, seal_unsealed):
        try:
            core.freeing(lambda step=step: step(core))  # type: ignore[misc]
        except ObjfsError as error:
            logger.error("%s is left to the next opening: %s", step.__name__, error)
            if step is finish_purges:
                core.read_only = True
                return


def end_orphans(core: Core) -> None:
    """End inodes that lost their last name while they were open."""
    for orphan in core.database.scan(ORPHAN):
        row = core.row(orphan.ino)
        if stat.S_ISDIR(row.mode):  # a tree that a restore did not finish
            for _ in discard_building(core, row.ino):
                pass
        else:
            end_orphan(core, orphan.ino)
            purge_unreachable(core, orphan.ino)


def seal_unsealed(core: Core) -> None:
    """Make versions of the working states that the log has."""
    commits = Commits(core)
    for unsealed in core.database.scan(UNSEALED):
        commits.seal_logged(unsealed.ino)
