"""fsck of a store that is in use: no false alarms, no long holds of the loop, interruptions."""

import os
from random import Random

import pytest
import trio
from msgspec.structs import replace

from objfs.base.errors import ObjfsError
from objfs.base.limits import KIB
from objfs.maint import commands
from objfs.maint.fsck import STAGES, Asked, Fsck
from objfs.meta.tables import USAGE
from objfs.volume.volume import Handle
from tests.maint.test_fsck import busy_store, checked, codes
from tests.model.harness import BUCKET
from tests.volume.store import ME, Store

OPERATIONS = 250


class Writer:
    """Does what programs do, in no order, one operation between two stretches of the check."""

    def __init__(self, store: Store, seed: int) -> None:
        self._store = store
        self._random = Random(seed)
        self._open: list[Handle] = []
        self.done = 0
        self.allowed = OPERATIONS  # so that the store stays small

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        while True:
            await trio.lowlevel.checkpoint()
            if self.done >= self.allowed:
                await trio.sleep(0.001)
                continue
            try:
                self.done += 1
                await self._one()
            except ObjfsError:
                pass  # a name that is taken, or gone

    async def _one(self) -> None:
        random, volume = self._random, self._store.volume
        directory = await self._directory()
        name, other = (b"%c" % random.choice(b"abcdef") for _ in range(2))
        self._store.clock.advance(random.choice((1, 1, 1, 20_000)))
        match random.randrange(14):
            case 0 | 1:
                handle, _ = volume.create(directory, name, 0o644, os.O_RDWR, ME)
                self._open.append(handle)
            case 2 | 3 | 4 if self._open:
                handle = random.choice(self._open)
                offset = random.choice((0, 4096, 300_000))
                size = random.choice((10, 5000, 5000, 5000, 5000, 200 * KIB))
                await volume.write(handle, offset, os.urandom(size))
            case 5 | 6 if self._open:
                handle = self._open.pop(random.randrange(len(self._open)))
                await self._store.close_handle(handle)
            case 7:
                volume.mkdir(directory, name, 0o755, ME)
            case 8:
                await volume.unlink(directory, name)
            case 9:
                await volume.rename(directory, name, await self._directory(), other)
            case 10:
                volume.rmdir(directory, name)
            case 11:
                ino = volume.lookup(directory, name).ino
                volume.setxattr(ino, b"user.a", os.urandom(5))
            case 12:
                volume.link(volume.lookup(directory, name).ino, directory, other)
            case 13:
                version = random.choice(volume.versions(BUCKET, b"changed", limit=3))
                await volume.restore(BUCKET, b"changed", version.version_id)

    async def _directory(self) -> int:
        volume, ino = self._store.volume, self._store.root
        for _ in range(self._random.randrange(3)):
            entries = volume.list_directory(ino, 0, 100)
            below = [row.ino for _, _, row in entries if row.mode & 0o040000 == 0o040000]
            below = [each for each in below if volume.getattr(each).nlink >= 2]
            if below:
                ino = self._random.choice(below)
        return ino


@pytest.mark.parametrize("seed", range(4))
async def test_no_false_alarm_while_somebody_writes(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S4.7: the check gives way wherever it can, and something is changed there each time."""
    monkeypatch.setattr("objfs.maint.fsck.FSCK_STRETCH_SECONDS", 0.0)
    monkeypatch.setattr("objfs.maint.fsck_work.FSCK_PAGE_ROWS", 3)
    monkeypatch.setattr("objfs.maint.fsck_bytes.FSCK_PAGE_ROWS", 3)
    store = await busy_store()
    writer = Writer(store, seed)
    async with trio.open_nursery() as nursery:
        await nursery.start(writer.run)
        for asked in ({}, {"deep": True}, {"bucket": BUCKET}, {"repair": True}):
            before = writer.done
            state = await checked(store, **asked)
            assert state.problems == [], (asked, state.problems)
            assert writer.done - before > OPERATIONS / 3
            writer.allowed = writer.done + OPERATIONS
        nursery.cancel_scope.cancel()
    assert (await checked(store, deep=True)).problems == []


@pytest.mark.parametrize("seed", range(2))
async def test_what_is_wrong_is_found_while_somebody_writes(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("objfs.maint.fsck.FSCK_STRETCH_SECONDS", 0.0)
    store = await busy_store()
    row = store.volume.lookup(store.root, b"link")
    async with trio.open_nursery() as nursery:
        with store.volume.core.change() as change:
            (account,) = change.scan(USAGE)
            change.put(replace(row, nlink=4))
            change.put(replace(account, live_bytes=account.live_bytes + 1000))
        await nursery.start(Writer(store, seed).run)
        assert {"link-count", "usage-wrong"} <= set(codes(await checked(store)))
        repaired = await checked(store, repair=True)
        assert repaired.left == 0
        assert (await checked(store)).problems == []
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("how", ["stopped", "killed", "closed"])
async def test_an_interrupted_check_goes_on_where_it_was(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S4.7: and tells in the end what it found before."""
    monkeypatch.setattr("objfs.maint.fsck.FSCK_STRETCH_SECONDS", 0.0)
    store = await busy_store()
    with store.volume.core.change() as change:
        change.put(replace(store.volume.lookup(store.root, b"link"), nlink=4))
    places, state = [], None
    for _ in range(10_000):
        state = await Fsck(store.volume).run(Asked(), 0.0)
        if state.finished_ns:
            break
        places.append((state.stage, state.place))
        if how == "killed":
            await store.log.sync()
            store.crash()
            store.again()
        elif how == "closed":
            await store.close()
            store.again()
    assert state is not None
    assert state.finished_ns
    assert codes(state) == ["link-count"]
    assert len(set(places)) == len(places) > 30
    assert [stage for stage, _ in places] == sorted(stage for stage, _ in places)


async def test_another_question_begins_anew() -> None:
    store = await busy_store()
    assert not (await Fsck(store.volume).run(Asked(), 0.0)).finished_ns
    answer = await commands.run(store.volume, "fsck", {"deep": True})
    assert answer["finished"]
    assert answer["stages_done"] == len(STAGES)
