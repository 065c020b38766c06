"""fsck: cross-checks log, index and tree of a store, in use or not; mends what can be mended.

A check of the whole store goes through the *stages* below, in this order; each takes its objects in
order of their keys, so a place in it says how far it is. A check of a path visits what is and was
at and below it, with the same checks of inodes, names, versions, extents and records.

Always holds:
- The index is looked at in stretches of at most about FSCK_STRETCH_SECONDS of the loop; a finding
  is true in the state that it was made in (`fsck_work`). The device is read in threads.
- Mends are changes like all others, and mending what is right changes nothing: a check may be
  interrupted and done again at any time. Where it is, is noted in a `setting` row.
- With `repair` the whole index is first compared with the log, and what differs is taken from the
  log: what only the index has wrong must not become a change. Unless the log itself lost METAs that
  no checkpoint covers: then the index knows more, and a checkpoint is taken of it.
- Nothing that a user stored is deleted to make a check pass.
"""

from collections.abc import AsyncIterator, Callable, Generator
from typing import Any

import msgspec
import trio

from objfs.base.errors import NotFound, ObjfsError
from objfs.base.limits import (
    FSCK_PAUSE_SECONDS,
    FSCK_PROBLEMS_KEPT_MAX,
    FSCK_RECENT_METAS,
    FSCK_STRETCH_SECONDS,
)
from objfs.maint import fsck_store
from objfs.maint.fsck_bytes import ByteChecks
from objfs.maint.fsck_owners import check_owners
from objfs.maint.fsck_records import (
    check_log,
    check_segment,
    expected_of,
    next_segment,
    verify_records,
)
from objfs.maint.fsck_scope import Place, Scope
from objfs.maint.fsck_tree import TreeChecks
from objfs.maint.fsck_work import Problem, Stage, Work
from objfs.meta.maintenance import open_reader
from objfs.meta.second_index import Difference, SecondIndex, mend_rows, recent_differences
from objfs.meta.tables import (
    DENTRY,
    DENTRY_PAST,
    EXTENT,
    EXTENT_PAST,
    INODE,
    TABLES,
    VERSION,
    XATTR,
    Key,
)
from objfs.volume.volume import Volume
from objfs.volume.work_rows import FSCK, FSCK_LAST, load_note, save_note

STAGES = (
    "log",
    "index",
    "extents",  # before what counts their bytes
    "past extents",
    "buckets",
    "inodes",
    "names",
    "past names",
    "attributes",
    "versions",
    "moments",
    "rules",
    "erased",
    "begun",
    "owners",
    "records",
    "usage",
)
PATH_STAGES = ("path",)
_EXTENTS_GATHERED_MAX = 4096
_COMPARED_ROWS = 100
_DIFFERENCES_LISTED_MAX = 20  # of one table


class Asked(msgspec.Struct, frozen=True):
    """What is to be checked, and how."""

    bucket: str | None = None  # None: the whole store
    key: bytes = b""
    repair: bool = False
    deep: bool = False  # compare the whole index with the log
    data: bool = False  # verify all bytes of the records too


class FsckState(msgspec.Struct):
    """How far a check is, and what it found."""

    asked: Asked
    started_ns: int
    began: int  # the newest META then
    stage: int = 0
    place: bytes = b""  # where in it: msgpack
    objects: int = 0
    problems: list[Problem] = []
    more: int = 0  # problems that are not listed
    finished_ns: int = 0

    @property
    def stages(self) -> tuple[str, ...]:
        return STAGES if self.asked.bucket is None else PATH_STAGES

    @property
    def left(self) -> int:
        """Problems that are not mended."""
        return sum(not problem.mended for problem in self.problems) + self.more


class Fsck:
    """Drives a check, for a while or to its end."""

    def __init__(self, volume: Volume, *, noting: bool = True) -> None:
        self._volume = volume
        self._noting = noting  # else nothing is written but mends, and an interruption is the end
        self._core = volume.core
        self._database = volume.core.database
        self._until: float | None = None

    async def run(
        self, asked: Asked, seconds: float | None = None, *, restart: bool = False
    ) -> FsckState:
        """Go on with this check, or begin it. It is at its end when `finished_ns` is set. NotFound
        for a path that never was."""
        async with self._core.fsck_turn:
            state = None if restart else load_note(self._database, FSCK, FsckState)
            if state is None or state.asked != asked:
                state = FsckState(asked, self._core.clock.now_ns(), self._database.sequence)
            now = self._core.clock.monotonic()
            self._until = None if seconds is None else now + seconds
            while state.stage < len(state.stages):
                done = await self._stage(state)
                if done:
                    state.stage, state.place = state.stage + 1, b""
                if self._is_late() or not done:
                    break
            if state.stage >= len(state.stages):
                self._finish(state)
            else:
                self._note(FSCK, state)
            return state

    def _note(self, name: str, value: object) -> None:
        if self._noting:
            save_note(self._core, name, value)

    def _finish(self, state: FsckState) -> None:
        state.finished_ns = self._core.clock.now_ns()
        self._note(FSCK, None)
        if state.asked.bucket is None:
            mended = sum(problem.mended for problem in state.problems)
            result = {
                "started_ns": state.started_ns,
                "finished_ns": state.finished_ns,
                "objects": state.objects,
                "problems": len(state.problems) + state.more,
                "mended": mended,
            }
            self._note(FSCK_LAST, result)

    def _is_late(self) -> bool:
        return self._until is not None and self._core.clock.monotonic() >= self._until

    # --- One stage -------------------------------------------------------------------------------

    async def _stage(self, state: FsckState) -> bool:
        """Go on with the current stage. False when time was up before its end."""
        work = Work(self._volume, repair=state.asked.repair, began=state.began)
        name = state.stages[state.stage]
        after = msgspec.msgpack.decode(state.place, type=tuple) if state.place else ()
        try:
            return await self._work_on(work, state, name, after)
        finally:
            state.objects += work.objects
            room = FSCK_PROBLEMS_KEPT_MAX - len(state.problems)
            state.problems += work.problems[:room]
            state.more += sum(not problem.mended for problem in work.problems[room:])

    async def _work_on(
        self, work: Work, state: FsckState, name: str, after: tuple[Any, ...]
    ) -> bool:
        asked = state.asked
        match name:
            case "log":
                await check_log(work)
            case "index":
                await self._compare(work, asked)
            case "owners":
                await check_owners(work)
            case "usage":
                await fsck_store.usage(work)
            case "records":
                return await self._records(work, state, after)
            case "path":
                return await self._path(work, state, after)
            case _:
                return await self._drive(state, self._rows(work, name, after))
        return True

    def _rows(self, work: Work, name: str, after: Key) -> Stage:
        """The stages that go through a table."""
        tree, content = TreeChecks(work), ByteChecks(work)
        match name:
            case "buckets":
                return fsck_store.buckets(work, after)
            case "inodes":
                return _inodes(work, tree, content, after)
            case "names":
                return _each(work, DENTRY, after, tree.dentry)
            case "past names":
                return _each(work, DENTRY_PAST, after, tree.dentry_past)
            case "attributes":
                return _each(work, XATTR, after, tree.xattr)
            case "versions":
                return _versions(work, content, after)
            case "extents":
                return _each(work, EXTENT, after, content.extent)
            case "past extents":
                return _each(work, EXTENT_PAST, after, content.extent)
            case "moments":
                return fsck_store.moments(work, after)
            case "rules":
                return fsck_store.rules(work, after)
            case "erased":
                return fsck_store.erased(work, after)
        assert name == "begun"
        return fsck_store.begun(work, after)

    async def _drive(self, state: FsckState, stage: Generator[Any, None, None]) -> bool:
        """Run a stage in stretches. False when time was up; at least one object was done then."""
        clock = self._core.clock
        began, moved = clock.monotonic(), False
        for place in stage:
            if place is not None:
                state.place, moved = msgspec.msgpack.encode(place), True
            if clock.monotonic() - began >= FSCK_STRETCH_SECONDS:
                if moved and self._is_late():
                    return False
                await self._let_others_run()
                began = clock.monotonic()
        return True

    async def _let_others_run(self) -> None:
        """For long, if there are any."""
        before = self._core.clock.monotonic()
        await trio.lowlevel.checkpoint()
        if self._core.clock.monotonic() - before > FSCK_STRETCH_SECONDS / 10:
            await trio.sleep(FSCK_PAUSE_SECONDS)

    # --- The log ---------------------------------------------------------------------------------

    async def _records(self, work: Work, state: FsckState, after: Key) -> bool:
        last = after[0] if after else -1
        assert isinstance(last, int)
        whole = state.asked.data
        while (segment := next_segment(work, last, whole=whole)) is not None:
            await check_segment(work, segment, whole=whole)
            last = segment
            state.place = msgspec.msgpack.encode((segment,))
            if self._is_late():
                return False
        return True

    async def _compare(self, work: Work, asked: Asked) -> None:
        """The index with the log: all of it, or what changed last."""
        if not (asked.deep or work.repair):
            found = list(recent_differences(self._database, self._core.log, FSCK_RECENT_METAS))
            _report_differences(work, found, mend=False)
            return
        core = self._core
        second = SecondIndex(self._database, core.log, core.clock, core.log.store_id)
        try:
            caught_up = await core.threads.run(second.build)
            if caught_up.missing:
                what = f"{caught_up.missing} changes above the newest checkpoint are lost"
                work.report("meta-missing", "the log", what)
                return  # `check_log` takes a checkpoint: what the index has then counts
            second.open()
            await self._let_others_run()
            async for found in self._differences(second):
                _report_differences(work, found, mend=work.repair)
        except ObjfsError as error:
            work.report("index-differs", "the index", f"it could not be compared: {error}")
        finally:
            second.close()
            with trio.CancelScope(shield=True):
                await core.threads.run(second.remove)

    async def _differences(self, second: SecondIndex) -> AsyncIterator[list[Difference]]:
        for table in TABLES:
            after: Key | None = ()
            while after is not None:
                found, after = second.page(table, after, _COMPARED_ROWS)
                if found:
                    yield found
                await self._let_others_run()

    # --- A path ----------------------------------------------------------------------------------

    async def _path(self, work: Work, state: FsckState, after: tuple[Any, ...]) -> bool:
        asked = state.asked
        assert asked.bucket is not None
        roots = self._inos_at(asked.bucket, asked.key)
        tree, content = TreeChecks(work), ByteChecks(work)
        scope = Scope(work, tree, content, [Place(*each) for each in after] or roots)
        done = False
        while not done:
            done = await self._drive_gathering(work, state, scope)
            await self._look_at_records(work, whole=asked.data)
            if not done and self._is_late():
                return False
        return True

    async def _drive_gathering(self, work: Work, state: FsckState, scope: Scope) -> bool:
        """Drive until time is up, or enough records are to be looked at."""
        return await self._drive(state, _until_full(work, scope.visit()))

    def _inos_at(self, bucket: str, key: bytes) -> list[Place]:
        volume = self._volume
        if not key.strip(b"/"):
            return [Place(volume.root(bucket))]
        inos: set[int] = set()
        for form in (key.rstrip(b"/"), key.rstrip(b"/") + b"/"):
            try:
                inos |= {each.ino for each in volume.stretches(bucket, form)}
            except NotFound:
                continue
        if not inos:
            raise NotFound(f"{key.decode(errors='backslashreplace')} never was in bucket {bucket}")
        return [Place(ino) for ino in sorted(inos)]

    async def _look_at_records(self, work: Work, *, whole: bool) -> None:
        gathered, work.extents = expected_of(work.extents), []
        if not gathered:
            return
        async with open_reader(self._database) as reader:
            for segment, expected in gathered.items():
                await verify_records(work, reader, segment, expected, whole=whole)


def _until_full(work: Work, stage: Stage) -> Stage:
    for place in stage:
        yield place
        if len(work.extents) >= _EXTENTS_GATHERED_MAX:
            return


def _each(work: Work, table: Any, after: Key, check: Callable[[Any], None]) -> Stage:
    """Rows that are checked in one stretch."""
    for row in work.walk(table, after):
        check(row)
        yield table.key_of(row)


def _inodes(work: Work, tree: TreeChecks, content: ByteChecks, after: Key) -> Stage:
    for row in work.walk(INODE, after):
        yield from tree.inode(row.ino)
        yield from content.inode(row.ino)
        yield INODE.key_of(row)


def _versions(work: Work, content: ByteChecks, after: Key) -> Stage:
    for row in work.walk(VERSION, after):
        yield from content.version(row.ino, row.sealed)
        yield VERSION.key_of(row)


def _report_differences(work: Work, found: list[Difference], *, mend: bool) -> None:
    if mend:
        mend_rows(work.database, found)
        for opened in work.core.open_inodes.values():
            opened.forget_extents()
    for each in found[:_DIFFERENCES_LISTED_MAX]:
        about = f"{each.table.name} {each.key!r}"
        what = f"the index has {_row_text(each.row)}, the log says {_row_text(each.logged)}"
        work.report("index-differs", about, what)
        work.problems[-1].mended = mend
    if len(found) > _DIFFERENCES_LISTED_MAX:
        rest = f"{len(found) - _DIFFERENCES_LISTED_MAX} more rows"
        work.report("index-differs", f"{found[0].table.name}", f"{rest} differ")
        work.problems[-1].mended = mend


def _row_text(row: object) -> str:
    return "no row" if row is None else repr(row)[:200]
