"""The log as its users see it: appends, reads, rotation, reopening."""

import errno
import os
from pathlib import Path

import pytest
import trio

from objfs.base.errors import DataLost, InvalidRequest, ReadOnly
from objfs.base.settings import Settings
from objfs.base.system import TrioThreads
from objfs.base.types import Stored
from objfs.store.faults import FaultPlan, FaultyDevice
from objfs.store.format import Buffer
from objfs.store.memory import MemoryDevice
from objfs.store.posix import PosixDevice
from tests.store.rig import PLAIN, Rig, meta, payloads

TEXT = b"".join(b"line %d of a text that shrinks\n" % n for n in range(40_000))
NOISE = os.urandom(5 << 20)


async def test_a_new_log_is_empty_and_makes_no_file() -> None:
    device = MemoryDevice()
    log = Rig(device).open()
    assert (log.last_sequence, log.synced_sequence) == (0, 0)
    await log.sync()
    await log.close()
    assert device.names() == []


async def test_metas_come_back_in_order_after_reopening() -> None:
    rig = Rig()
    log = rig.open()
    written = [(n, meta(filler=b"%d" % n * n)) for n in range(1, 200)]
    checksums = [log.append_meta(payload) for _, payload in written]
    assert payloads(log) == written
    assert payloads(log, after=150) == written[150:]
    await log.close()
    again = rig.open()
    assert payloads(again) == written
    assert payloads(again, after=198) == written[198:]
    assert [again.meta_checksum(n) for n, _ in written] == checksums
    assert again.meta_checksum(0) is None
    assert again.meta_checksum(200) is None
    assert (again.last_sequence, again.synced_sequence) == (199, 199)
    assert again.recovery.scanned == 0
    assert again.recovery.damage == []


async def test_metas_sees_what_is_appended_while_it_runs() -> None:
    log = Rig().open()
    log.append_meta(meta())
    metas = log.metas(0)
    assert next(metas).sequence == 1
    log.append_meta(meta())
    assert [one.sequence for one in metas] == [2]


@pytest.mark.parametrize("compression", ["none", "zstd"])
@pytest.mark.parametrize("size", [0, 1, 511, 4096, 65_536, 65_537, 130_000])
async def test_small_data_reads_back(compression: str, size: int) -> None:
    rig = Rig(settings=Settings(compression=compression, segment_bytes=1 << 20))  # type: ignore[arg-type]
    log = rig.open()
    for data in (TEXT[:size], NOISE[:size]):
        stored = log.append_data(7, 1000, data)
        assert (stored.offset, stored.length) == (1000, size)
        assert log.read_nowait(stored.location, stored.hash32, 0, size) == data
        half = size // 2
        assert await log.read(stored.location, stored.hash32, half, size - half) == data[half:]
        assert (
            rig.open(read_only=True).read_blocking(
                stored.location, stored.hash32, half, size - half
            )
            == data[half:]
        )


@pytest.mark.parametrize("compression", ["none", "zstd"])
async def test_large_data_reads_back_in_any_cut(compression: str) -> None:
    rig = Rig(settings=Settings(compression=compression))  # type: ignore[arg-type]
    log = rig.open()
    mixed = TEXT[:600_000] + NOISE[:700_000] + TEXT[:10]
    for data in (TEXT, NOISE, mixed):
        buffers: list[Buffer] = [data[:100], data[100:300_000], memoryview(data)[300_000:300_001]]
        buffers.append(bytearray(data[300_001:]))
        stored = await log.append_large(3, 50, buffers)
        assert [one.offset for one in stored] == [
            50 + sum(one.length for one in stored[:n]) for n in range(len(stored))
        ]
        pieces = [await log.read(one.location, one.hash32, 0, one.length) for one in stored]
        assert b"".join(pieces) == data
        one = stored[0]
        for start, length in ((0, 1), (65_535, 2), (65_536, 65_536), (one.length - 1, 1)):
            assert (
                log.read_nowait(one.location, one.hash32, start, length)
                == data[start : start + length]
            )
    await log.close()
    assert rig.open().read_blocking(one.location, one.hash32, 5, 9) == data[5:14]


async def test_nothing_to_append_stores_nothing() -> None:
    log = Rig().open()
    assert await log.append_large(1, 0, []) == []
    assert await log.append_large(1, 0, [b"", b""]) == []


async def test_compression_saves_space_and_noise_is_stored_as_it_is() -> None:
    log = Rig(settings=Settings()).open()
    packed = await log.append_large(1, 0, [TEXT])
    assert sum(one.location.length for one in packed) < len(TEXT) // 2
    plain = await log.append_large(1, 0, [NOISE])
    assert len(plain) == 2
    assert sum(one.location.length for one in plain) > len(NOISE)


async def test_rotation_seals_full_segments_at_the_next_sync() -> None:
    rig = Rig()
    log = rig.open()
    for _ in range(400):
        log.append_meta(meta(filler=bytes(1000)))
    for _ in range(3):
        await log.append_large(1, 0, [NOISE[:200_000]])
    assert log.statistics().journal_segments > 5
    await log.sync()
    assert rig.open(read_only=True).recovery.scanned == 1
    await log.close()
    again = rig.open()
    assert again.recovery.scanned == 0
    assert again.last_sequence == 400
    assert len(payloads(again)) == 400


async def test_what_is_asked_for_must_lie_there() -> None:
    log = Rig().open()
    one, two = log.append_data(1, 0, b"one" * 10), log.append_data(1, 30, b"two" * 10)
    with pytest.raises(DataLost, match="another record lies there"):
        log.read_nowait(one.location, two.hash32, 0, 3)
    with pytest.raises(DataLost, match="does not hold 31 bytes"):
        log.read_nowait(one.location, one.hash32, 0, 31)
    with pytest.raises(DataLost, match="header does not verify"):
        log.read_nowait(one.location._replace(offset=16), one.hash32, 0, 3)
    with pytest.raises(DataLost, match="segment is missing"):
        log.read_nowait(one.location._replace(segment=99), one.hash32, 0, 3)


async def test_a_read_only_log_takes_nothing_and_changes_nothing() -> None:
    device = MemoryDevice()
    rig = Rig(device)
    rig.open().append_meta(meta())
    before = device.files()
    log = rig.open(read_only=True)
    assert log.last_sequence == 1
    with pytest.raises(ReadOnly):
        log.append_meta(meta())
    with pytest.raises(ReadOnly):
        await log.append_large(1, 0, [b"x"])
    await log.close()
    assert device.files() == before


async def test_every_opening_starts_new_segments_and_a_new_epoch() -> None:
    device = MemoryDevice()
    rig = Rig(device)
    for round_ in range(1, 4):
        log = rig.open()
        log.append_meta(meta())
        assert len(device.names()) == round_
        assert log.last_sequence == round_
        await log.close()


async def test_checkpoints_count_when_complete() -> None:
    rig = Rig(settings=Settings())
    log = rig.open()
    log.append_meta(meta())
    parts = [TEXT[:100_000], NOISE[:300_000], b"end"]
    checkpoint = await log.append_checkpoint(1, iter(parts))
    log.append_meta(meta())
    second = await log.append_checkpoint(2, [b"only"])
    with pytest.raises(InvalidRequest):
        await log.append_checkpoint(2, [])
    assert log.synced_sequence == 2
    await log.close()
    again = rig.open()
    assert again.checkpoints() == [second, checkpoint]
    assert list(again.read_checkpoint(checkpoint)) == parts
    assert again.statistics().meta_bytes_since_checkpoint == 0


async def test_on_a_real_directory_with_real_threads(tmp_path: Path) -> None:
    rig = Rig(PosixDevice(tmp_path), PLAIN, threads=TrioThreads())
    log = rig.open()
    small = log.append_data(1, 0, b"small")
    async with trio.open_nursery() as nursery:
        for n in range(6):
            nursery.start_soon(log.append_large, n, 0, [NOISE[n : n + 300_000]])
        nursery.start_soon(log.sync)
        nursery.start_soon(log.sync)
    (large,) = await log.append_large(9, 0, [NOISE[:200_000]])
    log.append_meta(meta(small, large))
    await log.sync()
    assert log.synced_sequence == 1
    again = rig.open(read_only=True)
    assert again.recovery.damage == []
    for opened in (log, again):
        assert await opened.read(large.location, large.hash32, 9, 100) == NOISE[9:109]
        assert await opened.read(small.location, small.hash32, 0, 5) == b"small"
    await log.close()


@pytest.mark.slow
async def test_rotation_under_load_loses_nothing(tmp_path: Path) -> None:
    """Large and small appends, syncs and reads side by side, over dozens of segments."""
    rig = Rig(PosixDevice(tmp_path), Settings(segment_bytes=1 << 20), threads=TrioThreads())
    log = rig.open()
    kept: list[tuple[int, Stored, bytes]] = []

    async def write(number: int) -> None:
        for n in range(25):
            start = 1000 * number + n
            data = (TEXT if n % 3 == 0 else NOISE)[start : start + 150_000 + 1000 * n]
            stored = await log.append_large(number, 0, [data[:70_001], data[70_001:]])
            small = log.append_data(number, n, data[:3000])
            log.append_meta(meta(*stored, small))
            kept.append((log.last_sequence, small, data[:3000]))
            for one in stored:
                kept.append((log.last_sequence, one, data[one.offset : one.offset + one.length]))
            if n % 5 == number:
                reached = log.last_sequence
                await log.sync()
                assert log.synced_sequence >= reached
            _, one, expected = kept[number * 7 % len(kept)]
            assert await log.read(one.location, one.hash32, 0, one.length) == expected

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(write, number)
    assert log.statistics().segments > 10
    crashed = rig.open(read_only=True)
    assert crashed.last_sequence == 125
    await log.close()
    again = rig.open()
    assert again.recovery.scanned == 0
    for opened in (crashed, again):
        assert opened.recovery.damage == []
        assert len(payloads(opened)) == 125
        for _, one, expected in kept:
            assert opened.read_blocking(one.location, one.hash32, 0, one.length) == expected


async def test_a_bad_place_under_the_read_ahead_costs_one_meta_only() -> None:
    plan = FaultPlan()
    rig = Rig(FaultyDevice(MemoryDevice(), plan))
    log = rig.open()
    for n in range(30):
        log.append_meta(meta(filler=b"%d" % n))
    plan.add("read", errno.EIO)  # the read-ahead; the record alone is readable
    assert len(payloads(log)) == 30
    plan.add("read", errno.EIO, at=1)
    plan.add("read", errno.EIO, at=2)
    assert [sequence for sequence, _ in payloads(log)] == list(range(2, 31))
    assert "Input/output error" in str(log.recovery.damage[0])
