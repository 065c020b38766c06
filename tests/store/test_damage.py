"""Damaged stores: found, reported, never served, and never spreading."""

import os
from dataclasses import dataclass

import pytest

from objfs.base.errors import DataLost, ForeignSegment, NewerFormat, StoreError
from objfs.base.settings import Settings
from objfs.base.types import Stored
from objfs.store import segment as segment_module
from objfs.store.checkpoints import Checkpoint
from objfs.store.format import SegmentKind
from objfs.store.log import Log
from objfs.store.memory import MemoryDevice
from objfs.store.segment import (
    SegmentHeader,
    decode_segment_header,
    encode_segment_header,
    parse_segment_name,
    segment_name,
)
from tests.store.rig import PLAIN, STORE, Rig, meta, payloads

NOISE = os.urandom(400_000)
SMALL = Settings(compression="zstd", segment_bytes=3000)


@dataclass
class Built:
    """A store that was closed in order, and what it holds."""

    files: dict[str, bytes]
    metas: list[tuple[int, bytes]]
    data: list[tuple[Stored, bytes]]
    checkpoint: Checkpoint

    def open(self, **changed: bytes | None) -> Log:
        """The store with some files changed, or gone."""
        files = {name: data for name, data in (self.files | changed).items() if data is not None}
        return Rig(MemoryDevice(files)).open()

    def check(self, log: Log) -> int:
        """Nothing wrong is served, and no META is missing without a report. Counts losses."""
        lost = 0
        found = payloads(log)
        assert set(found) <= set(self.metas)
        if len(found) < len(self.metas):
            assert log.recovery.damage
            lost += 1
        for one, data in self.data:
            try:
                assert log.read_blocking(one.location, one.hash32, 0, one.length) == data
            except DataLost:
                lost += 1
        for checkpoint in log.checkpoints():
            assert checkpoint == self.checkpoint
            try:
                assert list(log.read_checkpoint(checkpoint)) == [NOISE[:700], NOISE[700:900]]
            except DataLost:
                lost += 1
        return lost + (not log.checkpoints())

    def journals(self) -> list[str]:
        return sorted(name for name in self.files if name.endswith("journal"))

    def bulks(self) -> list[str]:
        return sorted(name for name in self.files if name.endswith("bulk"))


async def build(settings: Settings = SMALL) -> Built:
    device = MemoryDevice()
    log = Rig(device, settings).open()
    metas, data = [], []
    for n in range(12):
        one = NOISE[n : n + 700] if n % 2 else b"text %d " % n * 200
        stored = log.append_data(1, n, one)
        data.append((stored, one))
        (large,) = await log.append_large(2, n, [NOISE[n : n + 900]])
        data.append((large, NOISE[n : n + 900]))
        metas.append((n + 1, meta(stored, large, filler=b"%d" % n * 100)))
        log.append_meta(metas[-1][1])
        if n % 4 == 0:
            await log.sync()
    checkpoint = await log.append_checkpoint(12, [NOISE[:700], NOISE[700:900]])
    await log.close()
    return Built(device.files(), metas, data, checkpoint)


async def test_the_undamaged_store_has_lost_nothing() -> None:
    built = await build()
    assert len(built.journals()) > 2
    log = built.open()
    assert built.check(log) == 0
    assert log.recovery.damage == []


@pytest.mark.slow
async def test_a_flipped_bit_anywhere() -> None:
    built = await build()
    harmless = 0
    for name, data in built.files.items():
        for at in range(0, len(data), 29):
            flipped = bytearray(data)
            flipped[at] ^= 1 << at % 8
            log = built.open(**{name: bytes(flipped)})
            harmless += not built.check(log)
            assert log.last_sequence == 12
            log.append_meta(meta())
            assert log.last_sequence == 13
    total = sum(map(len, built.files.values())) // 29
    assert harmless < total // 2  # padding and footers, which are made again


@pytest.mark.slow
async def test_a_segment_cut_anywhere() -> None:
    built = await build()
    for name, data in built.files.items():
        for length in range(0, len(data), 53):
            log = built.open(**{name: data[:length]})
            built.check(log)
            assert log.last_sequence == 12


async def test_every_segment_missing_in_turn() -> None:
    built = await build()
    for name in built.files:
        log = built.open(**{name: None})
        assert built.check(log) > 0
        assert log.last_sequence == 12
        if name in built.journals():
            assert any("METAs" in each.what for each in log.recovery.damage)


async def test_damage_is_reported_with_its_place_and_does_not_spread() -> None:
    built = await build()
    one, _ = built.data[5]
    name = next(
        n for n in built.files if (parse_segment_name(n) or (0,))[0] == one.location.segment
    )
    flipped = bytearray(built.files[name])
    flipped[one.location.offset + 100] ^= 4
    log = built.open(**{name: bytes(flipped)})
    with pytest.raises(DataLost) as caught:
        log.read_nowait(one.location, one.hash32, 0, 1)
    assert f"segment {one.location.segment:016x}, offset {one.location.offset}" in str(caught.value)
    assert built.check(log) == 1


async def test_a_block_of_a_large_record_is_lost_alone() -> None:
    device = MemoryDevice()
    rig = Rig(device, Settings(compression="none"))
    log = rig.open()
    (one,) = await log.append_large(1, 0, [NOISE])
    await log.close()
    ((name, data),) = device.files().items()
    flipped = bytearray(data)
    start = one.location.offset + one.location.length - len(NOISE)
    flipped[start + 2 * 65_536 + 5] ^= 1
    log = Rig(MemoryDevice({name: bytes(flipped)})).open()
    for block in range(7):
        at, length = block * 65_536, min(65_536, len(NOISE) - block * 65_536)
        if block == 2:
            with pytest.raises(DataLost, match="block 2 does not verify"):
                log.read_blocking(one.location, one.hash32, at, length)
        else:
            assert (
                log.read_blocking(one.location, one.hash32, at, length) == NOISE[at : at + length]
            )


async def test_below_synced_through_history_goes_on_over_damage() -> None:
    """In the unsealed journal of a store that was not closed."""
    device = MemoryDevice()
    log = Rig(device).open()
    offsets = []
    for n in range(6):
        offsets.append(log.statistics().segment_bytes)
        log.append_meta(meta(filler=b"%d" % n * 50))
        if n == 3:
            await log.sync()
    name, data = next(iter(device.files().items()))
    for broken, reached in ((0, 6), (3, 6), (4, 4), (5, 5)):
        flipped = bytearray(data)
        flipped[max(offsets[broken], 80) + 90] ^= 1
        left = MemoryDevice({name: bytes(flipped)})
        for read_only in (True, False):
            log = Rig(left).open(read_only)
            assert log.last_sequence == reached
            assert bool(log.recovery.damage) == (broken < 4)
            assert [sequence for sequence, _ in payloads(log)] == [
                n for n in range(1, reached + 1) if n != broken + 1
            ]
        assert log.append_meta(meta())
        assert log.last_sequence == reached + 1
        again = Rig(left).open()
        assert again.last_sequence == reached + 1
        assert bool(again.recovery.damage) == (broken < 4)


async def test_what_was_durable_and_broken_at_the_end_is_not_cut_away() -> None:
    """METAs 3 and 4 were durable; 5 proves it, and 6 is the torn tail."""
    device = MemoryDevice()
    log = Rig(device).open()
    offsets = []
    for n in range(6):
        offsets.append(max(log.statistics().segment_bytes, 80))
        log.append_meta(meta(filler=b"%d" % n))
        if n == 3:
            await log.sync()
    ((name, data),) = device.files().items()
    broken = bytearray(data)
    for n in (2, 3):
        broken[offsets[n] + 5] ^= 1
    left = MemoryDevice({name: bytes(broken)})
    log = Rig(left).open()
    assert log.last_sequence == 6
    assert [sequence for sequence, _ in payloads(log)] == [1, 2, 5, 6]
    kept = left.files()[name]
    assert kept[offsets[2] : offsets[4]] == broken[offsets[2] : offsets[4]]


async def test_a_sequence_is_not_used_again_when_the_last_durable_ones_are_broken() -> None:
    device = MemoryDevice()
    log = Rig(device, Settings(compression="none")).open()
    await log.append_large(1, 0, [NOISE[:10]])
    for _ in range(3):
        log.append_meta(meta())
    await log.close()
    files = {name: data for name, data in device.files().items() if "bulk" in name}
    log = Rig(MemoryDevice(files)).open()
    assert log.last_sequence == 3
    assert "METAs 1 to 3" in str(log.recovery.damage[0])
    log.append_meta(meta())
    assert [sequence for sequence, _ in payloads(log)] == [4]


async def test_a_segment_of_another_store_is_refused() -> None:
    built = await build()
    other = Rig(store_id=bytes(16))
    other.open().append_meta(meta())
    assert isinstance(other.device, MemoryDevice)
    ((name, data),) = other.device.files().items()
    with pytest.raises(ForeignSegment, match=STORE.hex()):
        built.open(**{name: data})


async def test_a_segment_of_a_later_format_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    built = await build()
    name = built.journals()[0]
    header = decode_segment_header(built.files[name][:80])
    assert header is not None
    monkeypatch.setattr(segment_module, "FORMAT_VERSION", 7)
    data = encode_segment_header(header)
    monkeypatch.undo()
    with pytest.raises(NewerFormat):
        built.open(**{name: data + built.files[name][80:]})


async def test_segments_under_each_others_names_are_not_believed() -> None:
    built = await build()
    one, two = built.journals()[:2]
    log = built.open(**{one: built.files[two], two: built.files[one]})
    assert [f"{one} holds {two}", f"{two} holds {one}"] == [
        each.what for each in log.recovery.damage[:2]
    ]
    assert built.check(log) > 0


async def test_a_damaged_checkpoint_is_told_and_the_older_one_still_reads() -> None:
    device = MemoryDevice()
    rig = Rig(device, PLAIN)
    log = rig.open()
    log.append_meta(meta())
    older = await log.append_checkpoint(1, [NOISE[:300]])
    newer = await log.append_checkpoint(1, [NOISE[:300], NOISE[300:900]])
    await log.close()
    name = next(name for name in device.files() if "bulk" in name)
    flipped = bytearray(device.files()[name])
    flipped[newer.parts[1][0].offset + 200] ^= 1
    log = Rig(MemoryDevice(device.files() | {name: bytes(flipped)})).open()
    assert log.checkpoints() == [newer, older]
    parts = log.read_checkpoint(newer)
    assert next(parts) == NOISE[:300]
    with pytest.raises(DataLost):
        next(parts)
    assert list(log.read_checkpoint(older)) == [NOISE[:300]]


@pytest.mark.parametrize("data", [b"", b"obj", bytes(80), bytes(5000)])
async def test_an_interrupted_creation_is_removed(data: bytes) -> None:
    built = await build()
    newest = segment_name(99, SegmentKind.BULK)
    device = MemoryDevice({**built.files, newest: data})
    assert Rig(device).open(read_only=True).recovery.removed
    assert newest in device.names()
    log = Rig(device).open()
    assert built.check(log) == 0
    assert newest not in device.names()
    assert log.recovery.damage == []
    log.append_meta(meta())
    assert segment_name(100, SegmentKind.JOURNAL) in device.names()


async def test_a_newest_segment_with_a_damaged_header_is_left_alone() -> None:
    built = await build()
    newest = segment_name(99, SegmentKind.JOURNAL)
    header = encode_segment_header(SegmentHeader(STORE, 99, 9, SegmentKind.JOURNAL, 5, 0))
    device = MemoryDevice({**built.files, newest: b"X" + header[1:] + NOISE})
    log = Rig(device).open()
    assert [each.segment for each in log.recovery.damage] == [99]
    assert built.check(log) == 0
    assert newest in device.names()


async def test_two_files_with_one_id_are_refused() -> None:
    built = await build()
    name = built.journals()[0]
    with pytest.raises(StoreError, match="two segments with the id 0000000000000001"):
        built.open(**{name.replace("journal", "bulk"): built.files[name]})


async def test_other_files_are_left_alone() -> None:
    built = await build()
    log = built.open(**{"lost+found": b"", "notes.txt": b"mine"})
    assert built.check(log) == 0
    assert log.recovery.segments == len(built.files)


async def test_a_damaged_footer_index_is_walked_around() -> None:
    """The summary verifies, the record index behind it does not."""
    device = MemoryDevice()
    log = Rig(device, Settings(compression="none")).open()
    written = [(n, meta()) for n in range(1, 20_001)]
    for _, payload in written:
        log.append_meta(payload)
    await log.close()
    ((name, data),) = device.files().items()
    flipped = bytearray(data)
    flipped[-2000] ^= 1
    log = Rig(MemoryDevice({name: bytes(flipped)})).open()
    assert log.recovery.scanned == 0
    assert payloads(log, after=10_000) == written[10_000:]
    assert "footer" in log.recovery.damage[0].what
