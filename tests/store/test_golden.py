"""The format does not change by accident: a tiny segment, byte for byte. The same bytes are the
worked example of docs/format/segment.md, so the page cannot drift from the code either."""

import re
from pathlib import Path

from objfs.store.catalog import read_summary
from objfs.store.memory import MemoryDevice
from objfs.store.segment import decode_segment_header
from tests.store.rig import PLAIN, Rig, meta, payloads, references

PAGE = Path(__file__).parents[2] / "docs" / "format" / "segment.md"
NAME = "0000000000000001.journal"


def hexdump(data: bytes) -> str:
    """16 bytes a line, after their offset."""
    return "\n".join(
        f"{at:04x}  {data[at : at + 8].hex(' ')}  {data[at + 8 : at + 16].hex(' ')}".rstrip()
        for at in range(0, len(data), 16)
    )


def golden() -> bytes:
    """The example in the page."""
    block = re.search(r"```hexdump\n(.*?)\n```", PAGE.read_text(), re.DOTALL)
    assert block is not None
    lines = [line.split("  ;")[0].rstrip() for line in block[1].splitlines()]
    data = bytes.fromhex("".join(line[4:] for line in lines))
    assert hexdump(data) == "\n".join(lines)
    return data


async def test_the_writer_still_writes_the_golden_segment() -> None:
    device = MemoryDevice()
    log = Rig(device, PLAIN).open()
    stored = log.append_data(5, 4096, b"hello, objfs")
    log.append_meta(meta(stored))
    await log.close()
    assert hexdump(device.files()[NAME]) == hexdump(golden())


def test_the_reader_still_reads_the_golden_segment() -> None:
    device = MemoryDevice({NAME: golden()})
    file = device.open(NAME, False)
    header = decode_segment_header(file.read(0, 80))
    assert header is not None
    assert read_summary(file, header, file.size()) is not None
    log = Rig(device).open(read_only=True)
    assert log.recovery.damage == []
    ((sequence, payload),) = payloads(log)
    assert sequence == 1
    (row,) = references(payload)
    assert log.read_blocking(*row, 0, 12) == b"hello, objfs"
