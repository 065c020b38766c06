"""The contract of `objfs.store.device`, on every device and wrapper."""

import errno
from pathlib import Path

import pytest

from objfs.base.limits import UNCACHED_WRITE_BYTES_MIN
from objfs.store.device import Device
from objfs.store.faults import FaultPlan, FaultyDevice
from objfs.store.memory import MemoryDevice, everything_survives
from objfs.store.posix import PosixDevice


@pytest.fixture(params=["posix", "memory", "faulty posix", "faulty memory"])
def device(request: pytest.FixtureRequest, tmp_path: Path) -> Device:
    kind: str = request.param
    base: Device = PosixDevice(tmp_path) if "posix" in kind else MemoryDevice()
    return FaultyDevice(base, FaultPlan()) if "faulty" in kind else base


def test_names(device: Device) -> None:
    assert device.names() == []
    device.create("a")
    device.create("b").close()
    assert sorted(device.names()) == ["a", "b"]
    with pytest.raises(FileExistsError):
        device.create("a")
    device.remove("a")
    assert device.names() == ["b"]
    device.sync_names()
    with pytest.raises(FileNotFoundError):
        device.open("a", False)
    with pytest.raises(FileNotFoundError):
        device.remove("a")


def test_what_is_written_is_read_at_once_by_everyone(device: Device) -> None:
    file = device.create("f")
    file.write(4, [b"ab", bytearray(b"c"), memoryview(b"de")], 5)
    other = device.open("f", False)
    for each in (file, other):
        assert each.size() == 9
        assert each.read(0, 9) == b"\0\0\0\0abcde"
        assert each.read(5, 2) == b"bc"
        assert each.read(8, 100) == b"e"
        assert each.read(9, 1) == b""
    file.write(4, [b"X"], 1)
    assert other.read(4, 3) == b"Xbc"


def test_reading_into_buffers(device: Device) -> None:
    file = device.create("f")
    file.write(0, [b"0123456789"], 10)
    one, two = bytearray(3), bytearray(4)
    assert file.read_into(1, [one, memoryview(two)]) == 7
    assert one + two == b"1234567"
    assert file.read_into(8, [one, two]) == 2
    assert one == b"893"
    assert file.read_into_nowait(2, [one, two], 7)
    assert one + two == b"2345678"
    assert not file.read_into_nowait(8, [one, two], 7)


def test_large_writes_are_like_small_ones(device: Device) -> None:
    file = device.create("f")
    piece = bytes(range(256)) * (UNCACHED_WRITE_BYTES_MIN // 256)
    file.write(5, [piece, b"end"], len(piece) + 3)
    file.write(len(piece), [b"over"], 4)
    expected = bytes(5) + piece + b"end"
    expected = expected[: len(piece)] + b"over" + expected[len(piece) + 4 :]
    assert file.read(0, 2 * len(piece)) == expected
    file.write(3, [piece], len(piece))
    file.sync()
    assert device.open("f", False).read(0, 2 * len(piece)) == bytes(3) + piece + b"r\xffend"
    with pytest.raises(OSError, match="Bad file"):
        device.open("f", False).write(0, [piece], len(piece))


def test_many_buffers(device: Device) -> None:
    file = device.create("f")
    pieces = [bytes([n % 256]) * 3 for n in range(2500)]
    file.write(10, pieces, 7500)
    assert file.read(10, 8000) == b"".join(pieces)
    targets = [bytearray(3) for _ in pieces]
    assert file.read_into(10, targets) == 7500
    assert targets == pieces


def test_truncate(device: Device) -> None:
    file = device.create("f")
    file.write(0, [b"abcdef"], 6)
    file.truncate(2)
    assert file.read(0, 10) == b"ab"
    file.truncate(4)
    assert file.read(0, 10) == b"ab\0\0"
    file.sync()


def test_a_removed_file_stays_readable_for_who_has_it_open(device: Device) -> None:
    file = device.create("f")
    file.write(0, [b"abc"], 3)
    device.remove("f")
    assert file.read(0, 3) == b"abc"


def test_a_closed_file_takes_no_calls(device: Device) -> None:
    file = device.create("f")
    file.close()
    file.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        file.read(0, 1)


def test_a_file_opened_for_reading_takes_no_writes(device: Device) -> None:
    device.create("f").close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        device.open("f", False).write(0, [b"x"], 1)
    device.open("f", True).write(0, [b"x"], 1)


def test_space(device: Device) -> None:
    space = device.space()
    assert 0 <= space.available <= space.free <= space.total


def test_the_memory_device_keeps_what_was_synced_and_no_more() -> None:
    device = MemoryDevice()
    file = device.create("f")
    file.write(0, [b"one"], 3)
    assert device.after_power_cut().files() == {}
    device.sync_names()
    assert device.after_power_cut().files() == {"f": b""}
    file.sync()
    file.write(3, [b"two"], 3)
    file.truncate(5)
    device.create("g")
    assert device.after_power_cut().files() == {"f": b"one"}
    assert device.after_power_cut(everything_survives).files() == {"f": b"onetw", "g": b""}
    assert device.after_power_cut(lambda n: (1, 2)).files() == {"f": b"one\0w"}
    assert device.files() == {"f": b"onetw", "g": b""}


def test_the_memory_device_fills_up() -> None:
    device = MemoryDevice(capacity=10)
    file = device.create("f")
    file.write(0, [b"12345678"], 8)
    with pytest.raises(OSError, match="No space left") as caught:
        file.write(8, [b"abcd"], 4)
    assert caught.value.errno == errno.ENOSPC
    assert file.read(0, 99) == b"12345678ab"
