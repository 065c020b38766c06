"""Merging of fragments: fewer records and rows, every moment as before, bounded writing."""

import os
from random import Random

import pytest
import trio

from objfs.base.errors import DataLost
from objfs.base.limits import COMPRESSED_RECORD_BYTES, FRAGMENT_BYTES, KIB, MIB
from objfs.base.settings import Settings
from objfs.maint.compaction import compaction_of
from objfs.maint.compaction_commands import compact_plan
from objfs.maint.fsck import Asked, Fsck
from objfs.maint.merging import Merging, Run, Runs, Worth
from objfs.maint.scheduler import Budget, Gate, Result
from objfs.meta.rows import Extent
from objfs.meta.tables import EXTENT
from objfs.store.memory import nothing_survives
from objfs.volume.unseen import put_sweep
from tests.model.harness import BUCKET
from tests.volume.store import Store

PAGE = 4 * KIB


@pytest.fixture
async def store() -> Store:
    store = Store()
    store.settings = Settings(segment_bytes=1 * MIB)
    await store.make()
    return store


def budget_of(store: Store) -> Budget:
    return Budget(store.volume.core, None, Gate(False))


async def merge(store: Store) -> Result:
    return await Merging(store.volume).round(budget_of(store))


def rows_of(store: Store) -> list[Extent]:
    return store.volume.core.database.scan(EXTENT)


def records_of(store: Store) -> int:
    return len({(row.segment, row.position) for row in rows_of(store)})


async def overwrite(store: Store, size: int, count: int, sessions: int, seed: int = 1) -> bytes:
    """A file, and `count` overwrites of a page of it: each a record, a version each session."""
    random = Random(seed)
    data = bytearray(random.randbytes(size))
    ino = await store.put("f", bytes(data))
    for _ in range(sessions):
        store.clock.advance(10_000)
        handle = await store.volume.open(ino, os.O_RDWR)
        for _ in range(count // sessions):
            at = random.randrange(size // PAGE) * PAGE
            page = random.randbytes(PAGE)
            data[at : at + PAGE] = page
            await store.volume.write(handle, at, page)
            await store.volume.fsync(ino)
        await store.close_handle(handle)
    return bytes(data)


async def compact(store: Store) -> int:
    """What is left of the store after a compaction of everything."""
    compaction, budget = compaction_of(store.volume), budget_of(store)
    await compaction.prepare(budget)
    for each in await compaction.candidates(budget, 0.0):
        await compaction.compact(each.segment, budget)
    return sum(map(len, store.memory.files().values()))


async def whole(store: Store) -> None:
    """fsck finds nothing."""
    state = await Fsck(store.volume, noting=False).run(Asked(deep=True), restart=True)
    assert not state.problems


@pytest.mark.slow
@pytest.mark.parametrize("sessions", [1, 10, 100])
async def test_a_thousand_random_overwrites(store: Store, sessions: int) -> None:
    """S12.9, S12.10"""
    data = await overwrite(store, 1 * MIB, 1000, sessions)
    history = await store.history("f")
    assert len(history) == sessions + 1
    rows, records = len(rows_of(store)), records_of(store)
    assert rows >= 200
    result = await merge(store)
    assert result is not None
    written = result["written_bytes"]
    assert isinstance(written, int)
    assert written <= 1 * MIB + 16 * KIB  # a byte is copied once
    assert records_of(store) <= records // 8
    assert len(rows_of(store)) <= (rows // 8 if sessions == 1 else rows)
    assert await merge(store) is None
    for again in (False, True):
        assert await store.get("f") == data
        assert await store.history("f") == history
        await whole(store)
        if not again:
            await store.volume.sync()
            store.crash(nothing_survives)
            store.open("lost")


async def test_when_the_versions_in_between_are_gone_rows_become_one(store: Store) -> None:
    """S12.9"""
    data = await overwrite(store, 64 * KIB, 16 * 8, 4)
    entries = store.volume.versions(BUCKET, b"f")
    oldest = await store.history("f")
    await store.volume.erase(BUCKET, b"f", [entry.sequence for entry in entries[1:-1]])
    await store.volume.sweep()
    before = len(rows_of(store))
    assert await merge(store)
    assert len(rows_of(store)) < before // 4
    assert await store.history("f") == [data, oldest[-1]]
    await whole(store)


async def test_what_the_past_needs_is_not_there_twice(store: Store) -> None:
    """S12.10"""
    data = bytearray(os.urandom(512 * KIB))
    ino = await store.put("f", bytes(data))
    handle = await store.volume.open(ino, os.O_RDWR)
    for at in range(0, len(data), 16 * KIB):
        await store.volume.write(handle, at, b"n" * PAGE)
        data[at : at + PAGE] = b"n" * PAGE
        await store.volume.fsync(ino)
    await store.close_handle(handle)
    assert len(rows_of(store)) == 64
    assert await merge(store) is None
    entries = store.volume.versions(BUCKET, b"f")
    await store.volume.erase(BUCKET, b"f", [entries[-1].sequence])
    await store.volume.sweep()
    assert await merge(store)
    assert len(rows_of(store)) == 2
    assert await store.get("f") == bytes(data)
    assert await compact(store) < 2 * len(data)
    assert await store.get("f") == bytes(data)


async def test_what_is_written_meanwhile_stays(store: Store) -> None:
    """S12.6"""
    data = bytearray(await overwrite(store, 128 * KIB, 400, 1))
    core, ino = store.volume.core, store.volume.lookup(store.root, b"f").ino
    append = core.log.append_large

    async def meanwhile(*arguments: object) -> object:
        handle = await store.volume.open(ino, os.O_RDWR)
        await store.volume.write(handle, 10_000, b"x" * 10_000)
        await store.close_handle(handle)
        return await append(*arguments)  # type: ignore[arg-type]

    core.log.append_large = meanwhile  # type: ignore[method-assign, assignment]
    assert await merge(store)
    core.log.append_large = append  # type: ignore[method-assign]
    data[10_000:20_000] = b"x" * 10_000
    assert await store.get("f") == bytes(data)
    await whole(store)


async def test_what_is_being_swept_is_left_alone(store: Store) -> None:
    data = await overwrite(store, 128 * KIB, 400, 1)
    core, ino = store.volume.core, store.volume.lookup(store.root, b"f").ino
    with core.change() as change:
        put_sweep(change, ino, 1, 2)
    before = store.log.statistics().segment_bytes
    assert await merge(store) is None
    assert store.log.statistics().segment_bytes == before
    await store.volume.sweep()
    assert await merge(store)
    assert await store.get("f") == data


async def test_a_fragment_that_is_damaged_is_not_copied(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S12.5"""
    await overwrite(store, 128 * KIB, 400, 1)
    before = rows_of(store)

    async def lost(*_: object) -> bytes:
        await trio.lowlevel.checkpoint()
        raise DataLost("the record does not verify")

    monkeypatch.setattr(store.log, "read", lost)
    assert await merge(store) is None
    assert rows_of(store) == before


def row(offset: int, length: int, position: int, skip: int = 0, content: int = 1) -> Extent:
    return Extent(content, offset, length, 1, position, length, skip, 0, 1)


def found(rows: list[Extent], worth: Worth = Worth()) -> list[Run]:  # noqa: B008  # a constant
    runs = Runs(worth)
    return [*runs.add(rows), *runs.end()]


def test_only_neighbours_that_are_small_make_a_run() -> None:
    """S12.10"""
    pages = [row(n * PAGE, PAGE, 1000 * n) for n in range(10)]
    assert [run.rows for run in found(pages)] == [10]
    assert not found(pages[:7])
    assert not found([*pages[:5], *pages[6:]])  # a hole
    large = row(5 * PAGE, FRAGMENT_BYTES, 77)
    assert not found([*pages[:5], large, *pages[5:]])
    one_record = [row(n * PAGE, PAGE, 7, n * PAGE) for n in range(10)]
    assert not found(one_record)
    other = [row(n * PAGE, PAGE, 1000 * n, content=2) for n in range(5)]
    assert not found([*pages[:5], *other])
    assert not found([row(0, 31 * KIB, 5), *(row(31 * KIB + n, 1, n) for n in range(20))])


def test_a_run_is_bounded() -> None:
    tiny = [row(n, 1, 1000 * n) for n in range(200)]
    assert [run.rows for run in found(tiny)] == [64, 64, 64, 8]
    wide = [row(n * 16 * KIB, 16 * KIB, 1000 * n) for n in range(40)]
    runs = found(wide)
    assert max(run.length for run in runs) == COMPRESSED_RECORD_BYTES
    many_in_one = [row(n, 1, 7, n) for n in range(1000)]
    assert not found(many_in_one)


async def test_compacting_by_hand_merges_too(store: Store) -> None:
    """S12.9"""
    data = await overwrite(store, 256 * KIB, 200, 1)
    before = records_of(store)
    async with trio.open_nursery() as nursery:
        await nursery.start(store.volume.run)
        plan = await compact_plan(store.volume, dry_run=True)
        assert records_of(store) == before
        plan = await compact_plan(store.volume)
        nursery.cancel_scope.cancel()
    assert plan["segments"]
    assert records_of(store) < before / 4
    assert await store.get("f") == data
