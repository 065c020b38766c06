"""fsck and a log that is damaged: on the device, under a store that is open or not."""

import os
from typing import Any

import pytest

from objfs.base.errors import DataLost
from objfs.base.types import Location
from objfs.maint import commands
from objfs.maint.fsck import FsckState
from objfs.maint.scrub import Scrub
from objfs.meta.tables import INODE
from objfs.store.format import RecordKind
from objfs.store.memory import MemoryDevice
from objfs.store.scan import Window, scan
from objfs.volume.damage import remembered
from tests.maint.test_fsck import busy_store, checked, codes, contents
from tests.maint.test_scrub import extents, rot
from tests.model.harness import BUCKET
from tests.volume.store import Store


async def sealed_store() -> Store:
    """All of it in sealed segments, with two checkpoints."""
    store = await busy_store()
    await store.volume.checkpoint()
    await store.put("late", os.urandom(3000))
    await store.close()
    store.again()
    return store


def records(store: Store, kind: RecordKind) -> list[tuple[int, int]]:
    """(segment, offset) of all records of a kind, in order."""
    found = []
    for facts in store.log.verifier.segments():
        segment = store.log._catalog.get(facts.id)
        assert segment is not None
        file = store.log._placement.reader(facts.id)
        for each in scan(Window(file, file.size()), segment.seed, lambda _: False):
            if each.header is not None and each.header.kind == kind:
                found.append((facts.id, each.offset))
    return found


def lost(state: FsckState, code: str) -> Any:
    return [problem for problem in state.problems if problem.code == code]


async def test_a_record_that_is_gone_is_listed_and_the_others_are_right() -> None:
    """S4.8: path, versions and bytes of what is lost; nothing else is touched."""
    store = await sealed_store()
    before = await contents(store)
    place = extents(store, "changed")[0]
    rot(store, place.segment, place.position + 3)  # in its head: no data is read for it
    state = await checked(store)
    (problem,) = lost(state, "record-damaged")
    assert problem.path == "changed"
    assert "main:changed bytes 0 to 12000 now versions" in problem.what
    assert state.left == 1
    repaired = await checked(store, repair=True)
    assert codes(repaired) == ["record-damaged"]
    assert repaired.left == 1, "what is lost cannot be mended"
    assert [each.segment for each in remembered(store.volume.core.database)] == [place.segment]
    with pytest.raises(DataLost):
        store.log._reader.verify(Location(place.segment, place.position, place.stored), 0)
    rot(store, place.segment, place.position + 3)
    assert await contents(store) == before
    assert (await checked(store, data=True)).problems == []


async def test_damaged_bytes_are_found_with_data_only() -> None:
    store = await sealed_store()
    place = extents(store, "late")[0]
    rot(store, place.segment, place.position + 200)
    assert (await checked(store)).problems == []
    assert codes(await checked(store, data=True)) == ["record-damaged"]


async def test_metas_are_verified_with_data() -> None:
    store = await sealed_store()
    segment, offset = records(store, RecordKind.META)[5]
    rot(store, segment, offset + 90)
    assert codes(await checked(store, data=True)) == ["record-damaged"]


async def test_a_segment_that_is_gone() -> None:
    """Under the running store, and for the next opening."""
    store = await sealed_store()
    place = extents(store, "large")[0]
    files = store.memory.files()
    (name,) = [each for each in files if each.startswith(f"{place.segment:016x}")]
    store.memory.remove(name)
    assert "segment-missing" in codes(await checked(store))
    await store.close()
    store.memory = MemoryDevice({each: data for each, data in files.items() if each != name})
    store.again()
    state = await checked(store)
    assert "record-missing" in codes(state)
    assert any("main:large bytes" in each.what for each in lost(state, "record-missing"))
    await store.close()
    store.memory = MemoryDevice(files)
    store.again()
    assert (await checked(store, data=True)).problems == []


async def test_a_segment_with_a_damaged_header_is_unknown_to_the_log() -> None:
    store = await sealed_store()
    await store.close()
    files = store.memory.files()
    name = min(each for each in files if each.endswith("bulk"))
    broken = bytearray(files[name])
    broken[20] ^= 1
    store.memory = MemoryDevice(files | {name: bytes(broken)})
    store.again()
    assert "segment-unknown" in codes(await checked(store))


async def test_a_footer_that_rots_under_the_store() -> None:
    store = await sealed_store()
    facts = next(each for each in store.log.verifier.segments() if each.is_sealed)
    rot(store, facts.id, facts.end + 85)
    assert "segment-unreadable" in codes(await checked(store))


async def test_a_damaged_checkpoint_is_replaced() -> None:
    store = await sealed_store()
    segment, offset = records(store, RecordKind.CHECKPOINT)[0]
    rot(store, segment, offset + 100)
    assert "checkpoint-damaged" in codes(await checked(store))
    assert (await checked(store, repair=True)).left == 0
    assert (await checked(store)).problems == []


async def test_metas_that_are_lost_stay_in_the_index() -> None:
    """The index knows more than the log then: a checkpoint is taken of it."""
    store = await sealed_store()
    before = await contents(store)
    rows = [row for name, row in store.dump() if name == "inode"]
    await store.close()
    store.again()
    metas = records(store, RecordKind.META)
    segment, offset = metas[-2]
    rot(store, segment, offset + 90)
    state = await checked(store, deep=True)
    assert "meta-missing" in codes(state)
    repaired = await checked(store, repair=True)
    assert "index-differs" not in codes(repaired)
    assert [row for name, row in store.dump() if name == "inode"] == rows
    assert await contents(store) == before
    await store.close()
    store.again()
    assert await contents(store) == before
    assert store.volume.core.database.get(INODE, store.root) is not None


@pytest.mark.parametrize("deep", [False, True])
async def test_rows_that_only_the_index_has_wrong_are_taken_from_the_log(deep: bool) -> None:
    """S4.8: and are not made a change: the log is as it was."""
    store = await busy_store()
    before, dump = await contents(store), store.dump()
    engine = store.volume.core.database.engine
    assert engine.applied is not None
    row = store.volume.lookup(store.root, b"small")
    gone = [(INODE, (row.ino,), None)]
    engine.apply(gone, engine.applied.sequence, engine.applied.checksum)
    assert "index-differs" in codes(await checked(store, deep=True))
    sequence = store.volume.core.database.sequence
    repaired = await checked(store, repair=True, deep=deep)
    assert codes(repaired) == ["index-differs"]
    assert repaired.left == 0
    assert store.volume.core.database.sequence - sequence <= 2, "the notes of the check"
    assert await contents(store) == before
    mine = [each for each in dump if each[0] not in ("setting", "moment")]
    assert [each for each in store.dump() if each[0] not in ("setting", "moment")] == mine


async def test_a_compacted_store_is_sound() -> None:
    """S4.7: segments that went, and changes that were freed below two checkpoints."""
    store = await busy_store()
    for n in range(12):
        await store.put(f"filler{n}", os.urandom(300_000))
        await store.volume.unlink(store.root, b"filler%d" % n)
    for n in range(12):
        path = b"filler%d" % n
        entries = {each.sequence for each in store.volume.versions(BUCKET, path) if each.sealed}
        await store.volume.erase(BUCKET, path, entries)
    await store.volume.sweep()
    before = await contents(store)
    segments = {each.id for each in store.log.verifier.segments()}
    for _ in range(3):
        plan = await commands.run(store.volume, "compact_plan", {})
        for segment in plan["segments"]:  # type: ignore[attr-defined]
            await commands.run(store.volume, "compact_segment", {"segment": segment["segment"]})
        assert (await checked(store, data=True, deep=True)).problems == []
    assert segments - {each.id for each in store.log.verifier.segments()}, "some went"
    assert (await Scrub(store.volume).run()).damaged == 0
    assert await contents(store) == before
