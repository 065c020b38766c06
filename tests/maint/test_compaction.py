"""Compaction: what is dead comes back, what is live stays, whatever happens meanwhile."""

import os
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
import trio

from objfs.base.errors import DataLost
from objfs.base.settings import Settings
from objfs.maint import commands
from objfs.maint.compaction import compaction_of
from objfs.maint.scheduler import Budget, Gate
from objfs.meta.tables import EXTENT
from objfs.store.format import SegmentKind
from objfs.store.memory import MemoryDevice, nothing_survives
from objfs.store.segment import parse_segment_name
from objfs.volume.volume import Handle, Volume
from tests.model.harness import BUCKET
from tests.volume.store import Store

BULK = SegmentKind.BULK
T = TypeVar("T")


@pytest.fixture
async def store() -> Store:
    store = Store()
    await store.make()
    return store


async def compact(volume: Volume) -> dict[str, int]:
    """`objfs compact`."""
    plan = await commands.run(volume, "compact_plan", {})
    totals = {"removed_bytes": 0, "written_bytes": 0, "damaged": 0}
    segments = 0
    for each in plan["segments"]:  # type: ignore[attr-defined]
        outcome = await commands.run(volume, "compact_segment", {"segment": each["segment"]})
        for name in totals:
            totals[name] += outcome[name]  # type: ignore[operator]
        segments += bool(outcome["removed_bytes"])
    arguments = {"started_ns": plan["started_ns"], "segments": segments, **totals}
    ended = await commands.run(volume, "compact_end", arguments)
    return {**totals, **ended}  # type: ignore[dict-item]


def segment_bytes(store: Store) -> int:
    return sum(map(len, store.memory.files().values()))


async def drop(store: Store, *names: str) -> None:
    """Delete files, and their history with them."""
    for name in names:
        await store.volume.unlink(store.root, name.encode())
        entries = store.volume.versions(BUCKET, name.encode())
        await store.volume.erase(
            BUCKET, name.encode(), [each.sequence for each in entries if not each.deleted]
        )
    await store.volume.sweep()


async def test_dead_bytes_come_back(store: Store) -> None:
    """S12.1"""
    kept = {}
    for n in range(40):
        data = os.urandom(200_000)
        await store.put(f"f{n}", data)
        if n % 5 == 0:
            kept[f"f{n}"] = data
    before = segment_bytes(store)
    live = sum(map(len, kept.values()))
    await drop(store, *(f"f{n}" for n in range(40) if n % 5))
    result = await compact(store.volume)
    after = segment_bytes(store)
    assert before - after >= 0.95 * (before - live)
    assert result["damaged"] == 0
    for name, data in kept.items():
        assert await store.get(name) == data
    store.crash(nothing_survives)
    store.open("lost")
    for name, data in kept.items():
        assert await store.get(name) == data
    assert not store.log.recovery.damage


class Interrupting:
    """Threads that do something else before their `at`-th piece of work."""

    def __init__(self) -> None:
        self.at = 0
        self.calls = 0
        self.meanwhile: Callable[[], Awaitable[object]] | None = None

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        await trio.lowlevel.checkpoint()
        self.calls += 1
        if self.meanwhile is not None and self.calls == self.at:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        return function(*arguments)


async def fragmented(store: Store) -> bytes:
    """A file of many records in several segments, half of each dead."""
    data = bytearray()
    for n in range(12):
        piece = os.urandom(300_000)
        handle = store.create("f") if not n else await open_again(store)
        await store.volume.write(handle, len(data), piece)
        await store.close_handle(handle)
        data += piece
        await store.put(f"g{n}", os.urandom(300_000))
    await store.volume.sync()
    await drop(store, *(f"g{n}" for n in range(12)))
    return bytes(data)


async def open_again(store: Store) -> Handle:
    return await store.volume.open(store.volume.lookup(store.root, b"f").ino, os.O_RDWR)


async def read_while_compacting(at: int, *, of_the_past: bool) -> bool:
    """Compact before the `at`-th piece of a read's work; False if it has not so many."""
    store = Store()
    threads = Interrupting()
    store.threads = threads  # type: ignore[assignment]
    store.settings = Settings(segment_bytes=1 << 20, block_cache_bytes=0)
    await store.make()
    data = await fragmented(store)
    store.memory.nowait = False
    volume = store.volume
    handle = await open_again(store)
    newest = volume.versions(BUCKET, b"f")[0].version_id
    past = volume.open_version(BUCKET, b"f", newest)
    before = segment_bytes(store)
    compacted = trio.Event()

    async def meanwhile() -> None:
        await compact(volume)
        compacted.set()

    threads.calls, threads.at, threads.meanwhile = 0, at, meanwhile
    reading = past.read(0, past.size) if of_the_past else volume.read(handle, 0, len(data))
    assert bytes(await reading) == data
    if not compacted.is_set():
        return False
    assert segment_bytes(store) < before
    return True


@pytest.mark.slow
@pytest.mark.parametrize("of_the_past", [False, True])
async def test_reads_under_way_while_segments_go(of_the_past: bool) -> None:
    """S12.6: compaction runs whole between any two steps of a read."""
    at = 1
    while await read_while_compacting(at, of_the_past=of_the_past):
        at += 1
    assert at > 10


async def test_prefetch_under_way_while_segments_go(store: Store) -> None:
    data = await fragmented(store)
    handle = await open_again(store)
    read = bytearray()
    async with trio.open_nursery() as nursery:
        await nursery.start(store.volume.run)
        nursery.start_soon(compact, store.volume)
        while piece := await store.volume.read(handle, len(read), 65_536):
            read += piece
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert bytes(read) == data


async def test_a_flush_under_way_while_its_segment_is_sealed(store: Store) -> None:
    """Records that no row refers to yet are not taken for dead."""
    handle = store.create("f")
    data = os.urandom(5 << 20)
    threads = store.threads = Interrupting()  # type: ignore[assignment]
    for core in (store.volume.core, store.log):
        core._threads = threads  # type: ignore[union-attr]
    compacted = trio.Event()

    async def seal_and_compact() -> None:
        async def work() -> None:
            await store.log.sync()
            await compact(store.volume)
            compacted.set()

        nursery.start_soon(work)
        for _ in range(200):
            await trio.lowlevel.checkpoint()

    threads.at, threads.calls, threads.meanwhile = 2, 0, seal_and_compact
    async with trio.open_nursery() as nursery:
        await store.volume.write(handle, 0, data)
        await store.close_handle(handle)
        await compacted.wait()
    assert await store.get("f") == data


async def test_a_corrupt_record_is_neither_copied_nor_dropped(store: Store) -> None:
    """S12.5"""
    kept = {f"f{n}": os.urandom(300_000) for n in range(12)}
    for name, data in kept.items():
        await store.put(name, data)
        await store.put(f"g{name}", os.urandom(300_000))
    await store.volume.sync()
    await drop(store, *(f"g{name}" for name in kept))
    await store.close()
    volume = store.again()
    row = volume.core.database.scan(EXTENT, (volume.lookup(store.root, b"f3").content,))[0]
    files = store.memory.files()
    (name,) = [each for each in files if parse_segment_name(each) == (row.segment, BULK)]
    spoiled = bytearray(files[name])
    spoiled[row.position + 200_000] ^= 1
    store.memory = MemoryDevice({**files, name: bytes(spoiled)})
    store.crash(None)
    volume = store.again()
    result = await compact(volume)
    assert result["damaged"] == 1
    assert store.log.reclaimer.use(row.segment) is not None
    assert "f3" in str(volume.status()["damage"])
    assert result["returned_bytes"] > 0
    for name, data in kept.items():
        if name != "f3":
            assert await store.get(name) == data
    with pytest.raises(DataLost):
        await store.get("f3")
    assert compaction_of(volume)._damaged == {row.segment}


async def test_fragments_become_one(store: Store) -> None:
    """Neighbours written in one flush but apart in the log lie together afterwards."""
    data = bytearray(os.urandom(1 << 20))
    await store.put("f", bytes(data))
    handle = await open_again(store)
    for offset in (*range(0, 200_000, 8192), *range(4096, 200_000, 8192)):
        piece = os.urandom(4096)
        data[offset : offset + 4096] = piece
        await store.volume.write(handle, offset, piece)
        await store.volume.fsync(handle.ino)
    await store.close_handle(handle)
    ids = [each.sequence for each in store.volume.versions(BUCKET, b"f")]
    await store.volume.erase(BUCKET, b"f", ids[1:])
    await store.volume.sweep()
    records = {(row.segment, row.position) for row in store.volume.core.database.scan(EXTENT)}
    budget = Budget(store.volume.core, None, Gate(False))
    for _ in range(2):
        await store.volume.checkpoint()
    compaction = compaction_of(store.volume)
    await compaction.prepare(budget)
    for each in await compaction.candidates(budget, 0.0):
        await compaction.compact(each.segment, budget)
    after = {(row.segment, row.position) for row in store.volume.core.database.scan(EXTENT)}
    assert len(after) < len(records) // 8
    assert await store.get("f") == bytes(data)


async def test_the_newest_ids_are_never_used_again(store: Store) -> None:
    for n in range(8):
        await store.put(f"f{n}", os.urandom(600_000))
    await drop(store, *(f"f{n}" for n in range(8)))
    await compact(store.volume)
    seen = max(int(name.split(".")[0], 16) for name in store.memory.files())
    store.crash(None)
    store.again()
    await store.put("new", os.urandom(600_000))
    newest = max(int(name.split(".")[0], 16) for name in store.memory.files())
    assert newest > seen


async def test_without_index_and_checkpoints_opening_fails(store: Store) -> None:
    """S12.8: never a silent empty store."""
    for n in range(8):
        await store.put(f"f{n}", os.urandom(100_000))
    await drop(store, *(f"f{n}" for n in range(7)))
    await compact(store.volume)
    await store.close()
    store.open("lost")
    assert len(await store.get("f7")) == 100_000
    checkpoints = store.log.checkpoints()
    assert len(checkpoints) == 2
    await store.close()
    files = {name: bytearray(data) for name, data in store.memory.files().items()}
    for count, checkpoint in enumerate(checkpoints):
        location, _ = checkpoint.parts[0]
        (name,) = [each for each in files if parse_segment_name(each) == (location.segment, BULK)]
        files[name][location.offset + location.length // 2] ^= 1
        store.memory = MemoryDevice({name: bytes(data) for name, data in files.items()})
        store.crash(None)
        if count:
            with pytest.raises(DataLost, match="none of 2 checkpoints"):
                store.open("lost")
        else:
            store.open("lost")
            assert len(await store.get("f7")) == 100_000
            store.crash(None)
