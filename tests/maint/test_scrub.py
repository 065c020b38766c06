"""Scrub: everything live is verified, damage is found, named and remembered, and nothing else."""

import os
from typing import Any

import pytest
from msgspec.structs import replace

from objfs.base.errors import DataLost
from objfs.base.limits import KIB, MIB
from objfs.maint import commands
from objfs.maint.forms import time_text
from objfs.maint.scheduler import Budget, Gate, TokenBucket
from objfs.maint.scrub import Scrub, ScrubResult, ScrubState, scrub_job
from objfs.meta.rows import Extent
from objfs.meta.tables import EXTENT
from objfs.store.format import RecordKind
from objfs.store.memory import MemoryDevice
from objfs.store.scan import Window, scan
from objfs.volume.damage import KnownDamage, remembered
from tests.model.harness import BUCKET
from tests.volume.store import Store

NOISE = os.urandom(3 * MIB)


def rot(store: Store, segment: int, offset: int) -> None:
    """The same while the store is open."""
    for name, contents in store.memory._names.items():
        if name.startswith(f"{segment:016x}"):
            contents.written[offset] ^= 0x40


async def scrubbed(store: Store) -> ScrubResult:
    result = await Scrub(store.volume).run()
    assert isinstance(result, ScrubResult)
    return result


def known(store: Store) -> list[KnownDamage]:
    return remembered(store.volume.core.database)


async def filled() -> Store:
    store = Store()
    await store.make()
    await store.put("small", b"a few bytes")
    await store.put("large", NOISE)
    await store.put("changed", b"one " * 5000)
    store.clock.advance(20_000)
    await store.put("changed", b"two " * 5000)
    await store.volume.checkpoint()
    await store.put("gone", NOISE[: 300 * KIB])
    store.clock.advance(20_000)
    await store.volume.unlink(store.root, b"gone")
    await store.volume.sync()
    return store


async def test_a_sound_store_has_no_damage() -> None:
    store = await filled()
    metas = store.log.last_sequence
    result = await scrubbed(store)
    assert result.damaged == 0
    assert result.records > metas
    assert result.read_bytes > len(NOISE)
    assert known(store) == []
    assert store.volume.status()["scrub"]["last"]["records"] == result.records  # type: ignore[index]
    await store.close()
    store.again()
    assert (await scrubbed(store)).damaged == 0, "sealed, from the footers"


async def test_every_flipped_byte_of_what_is_live_is_found() -> None:
    """S4.5: one byte anywhere in a header, a record or a footer."""
    store = await filled()
    await store.close()
    store.again()
    seen = set()
    for facts in store.log.verifier.segments():
        if not facts.is_sealed:
            continue
        size = len(store.memory.files()[facts.name])
        for offset in range(3, size, max(size // 23, 1)):
            rot(store, facts.id, offset)
            found = (await scrubbed(store)).damaged
            rot(store, facts.id, offset)
            if found:
                seen.add(facts.id)
                assert any(each.segment == facts.id for each in known(store))
            else:
                assert _is_dead(store, facts.id, offset), (facts.name, offset)
    assert len(seen) > 2
    assert (await scrubbed(store)).damaged == 0
    assert known(store) == []


def _is_dead(store: Store, segment: int, offset: int) -> bool:
    """Whether nothing that is needed lies there: padding, the trailer, or a dead record."""
    facts = next(each for each in store.log.verifier.segments() if each.id == segment)
    name = facts.name
    raw = store.memory.files()[name]
    if offset >= len(raw) - 32:
        return True
    catalog = store.log._catalog.get(segment)
    assert catalog is not None
    file = store.log._placement.reader(segment)
    for found in scan(Window(file, len(raw)), catalog.seed, lambda _: False):
        if found.offset <= offset < found.offset + found.length:
            assert found.header is not None
            if found.header.kind != RecordKind.DATA:
                return False
            return (segment, found.offset) not in _rows(store)
    return offset >= 80


def _rows(store: Store) -> set[tuple[int, int]]:
    """Where the records lie that rows refer to."""
    dump: list[tuple[str, Any]] = store.dump()
    return {(row.segment, row.position) for name, row in dump if name in ("extent", "extent_past")}


def extents(store: Store, name: str) -> list[Extent]:
    content = store.volume.lookup(store.root, name.encode()).content
    dump: list[tuple[str, Any]] = store.dump()
    return [row for table, row in dump if table == "extent" and row.content == content]


async def test_damage_is_named_by_file_and_version_and_remembered() -> None:
    """S4.6: across restarts, until the file is put back."""
    store = await filled()
    await store.close()
    store.again()
    place = extents(store, "changed")[0]
    rot(store, place.segment, place.position + 100)
    result = await scrubbed(store)
    assert result.damaged == 1
    (found,) = known(store)
    (hit,) = found.hits
    versions = store.volume.versions(BUCKET, b"changed")
    assert (hit.bucket, hit.path, hit.current) == (BUCKET, "changed", True)
    assert hit.versions == [versions[0].version_id]
    assert (hit.start, hit.end) == (0, 20000)
    with pytest.raises(DataLost):
        await store.get("changed")
    assert await store.get("small") == b"a few bytes"
    await store.close()
    store.again()
    assert "main/changed" in str(store.volume.status()["damage"])
    rot(store, place.segment, place.position + 100)
    assert (await scrubbed(store)).damaged == 0
    assert store.volume.status()["damage"] == []


async def test_deleted_files_and_old_versions_are_named_too() -> None:
    store = await filled()
    gone = store.volume.versions(BUCKET, b"gone")[-1]
    dump: list[tuple[str, Any]] = store.dump()
    (content,) = {row.content for name, row in dump if name == "version" and row.ino == gone.ino}
    place = next(row for name, row in dump if name == "extent" and row.content == content)
    rot(store, place.segment, place.position + 90)
    await scrubbed(store)
    (hit,) = known(store)[0].hits
    assert (hit.path, hit.versions, hit.current) == ("gone", [gone.version_id], False)


async def test_damage_of_what_nobody_needs_any_more_is_forgotten() -> None:
    store = await filled()
    place = extents(store, "large")[0]
    rot(store, place.segment, place.position + 5000)
    await scrubbed(store)
    assert known(store)
    with store.volume.core.change() as change:
        for each in extents(store, "large"):
            change.delete(EXTENT, each.content, each.offset)
    assert (await scrubbed(store)).damaged == 0
    assert known(store) == []


@pytest.mark.parametrize("how", ["stopped", "killed", "closed"])
async def test_an_interrupted_scrub_goes_on_where_it_was(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S4.5: by its caller, by kill -9, by unmounting."""
    monkeypatch.setattr("objfs.maint.scrub.SCRUB_PIECE_BYTES", 64 * KIB)
    store = await filled()
    whole = await scrubbed(store)
    seconds = iter(range(1_000_000))
    steps, places = 0, []
    while True:
        monkeypatch.setattr(type(store.clock), "monotonic", lambda _: next(seconds) / 10)
        state = await Scrub(store.volume).run(0.3)
        steps += 1
        if isinstance(state, ScrubResult):
            break
        places.append((state.segment, state.offset))
        if how == "killed":
            await store.log.sync()
            store.crash()
            store.again()
        elif how == "closed":
            await store.close()
            store.again()
    assert places == sorted(places)
    assert len(set(places)) > 3
    assert isinstance(state, ScrubResult)
    assert state.damaged == 0
    assert whole.read_bytes <= state.read_bytes < 2 * whole.read_bytes
    assert state.started_ns <= state.finished_ns


async def test_a_restart_begins_anew() -> None:
    store = await filled()
    whole = await scrubbed(store)
    assert isinstance(await Scrub(store.volume).run(0.0), ScrubState)
    answer = await commands.run(store.volume, "scrub", {"restart": True})
    assert answer["finished"] is not None
    assert answer["damage"] == []
    assert answer["records"] >= whole.records  # type: ignore[operator]


async def test_a_segment_that_is_gone_is_one_finding_with_all_its_files() -> None:
    store = await filled()
    await store.close()
    place = (await opened(store, "large"))[0]
    await store.close()
    files = store.memory.files()
    gone = [name for name in files if name.startswith(f"{place.segment:016x}")]
    store.memory = MemoryDevice({name: data for name, data in files.items() if name not in gone})
    store.again()
    assert (await scrubbed(store)).damaged >= 1
    found = [each for each in known(store) if each.segment == place.segment]
    assert len(found) == 1
    assert "missing" in found[0].what
    assert "large" in {hit.path for hit in found[0].hits}


async def opened(store: Store, name: str) -> list[Extent]:
    store.again()
    return extents(store, name)


async def test_an_unreadable_sector_costs_one_record() -> None:
    """A failing read of a whole stretch is done again record by record."""
    store = await filled()
    await scrubbed(store)
    records = (await scrubbed(store)).records
    bad = extents(store, "small")[0]
    files = store.log._placement
    real = files.reader

    class Failing:
        def __init__(self, file: Any) -> None:
            self._file = file

        def __getattr__(self, name: str) -> Any:
            return getattr(self._file, name)

        def _check(self, offset: int, length: int) -> None:
            if offset <= bad.position + 20 < offset + length:
                raise OSError(5, "Input/output error")

        def read(self, offset: int, length: int) -> Any:
            self._check(offset, length)
            return self._file.read(offset, length)

        def read_into(self, offset: int, buffers: Any) -> Any:
            self._check(offset, sum(map(len, buffers)))
            return self._file.read_into(offset, buffers)

    def reader(segment: int) -> Any:
        return Failing(real(segment)) if segment == bad.segment else real(segment)

    files.reader = reader  # type: ignore[method-assign]
    result = await scrubbed(store)
    assert result.damaged == 1
    assert result.records >= records
    assert "Input/output error" in known(store)[0].what


async def test_an_open_file_that_is_being_written_is_no_damage() -> None:
    store = await filled()
    handle = store.create("busy")
    await store.volume.write(handle, 0, NOISE)
    assert (await scrubbed(store)).damaged == 0
    await store.volume.write(handle, len(NOISE), NOISE)
    await store.volume.sync()
    assert (await scrubbed(store)).damaged == 0
    await store.close_handle(handle)
    assert (await scrubbed(store)).damaged == 0


async def test_the_job_scrubs_when_it_is_due() -> None:
    """S4.5: every `scrub_days`, out of the budget; and goes on with what was interrupted."""
    store = await filled()
    job = scrub_job(store.volume)
    budget = Budget(store.volume.core, TokenBucket(0), Gate(closed=False))
    assert await job.run(budget) is None, "the store is young"
    store.clock.advance(31 * 86_400_000)
    result = await job.run(budget)
    assert result is not None
    assert result["damaged"] == 0
    assert await job.run(budget) is None
    assert isinstance(await Scrub(store.volume).run(0.0), ScrubState)
    assert await job.run(budget) is not None
    store.volume.core.settings = replace(store.volume.core.settings, scrub_days=0)
    store.clock.advance(31 * 86_400_000)
    assert await job.run(budget) is None


async def test_whoever_scrubs_by_hand_gets_the_result_that_another_brought() -> None:
    store = await filled()
    state = await Scrub(store.volume).run(0.0)
    assert isinstance(state, ScrubState)
    result = await scrubbed(store)
    started = time_text(state.started_ns)
    answer = await commands.run(store.volume, "scrub", {"started": started})
    assert answer["finished"] is not None
    assert answer["records"] == result.records
