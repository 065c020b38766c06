"""The payload of META records: what goes in comes out, its bytes are fixed, malformed ones are
refused."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objfs.base.errors import DataLost, NewerFormat
from objfs.meta.change_record import ChangeRecord, decode_change, encode_change
from objfs.meta.engine import Changed
from objfs.meta.rows import Orphan, Setting
from objfs.meta.tables import DENTRY, ORPHAN, SETTING, AnyRow, Key, Table, table_of
from tests.meta.examples import any_key, any_row, dentry

pack = msgspec.msgpack.encode


def changed(item: AnyRow | tuple[Table[Any], Key]) -> Changed:
    if isinstance(item, tuple):
        return *item, None
    return table_of(item), table_of(item).key_of(item), item


@settings(max_examples=30)
@given(st.integers(0, (1 << 63) - 1), st.lists(any_row | any_key(), max_size=8))
def test_what_goes_in_comes_out(time_ns: int, items: list[AnyRow | tuple[Table[Any], Key]]) -> None:
    changes = {(c[0].id, c[1]): c for c in map(changed, items)}.values()
    expected = sorted(changes, key=lambda c: c[2] is None)  # puts first
    payload = encode_change(time_ns, changes)
    assert decode_change(payload, 1) == ChangeRecord(time_ns, expected)


def test_the_bytes_are_those_of_the_format_page() -> None:
    changes: list[Changed] = [
        (SETTING, ("keep",), Setting("keep", b"all")),
        (DENTRY, (256, b"a.txt"), None),
    ]
    payload = encode_change(1_763_640_000_000_000_000, changes)
    assert payload.hex(" ") == (
        "93 cf 18 79 b5 3c 5f ab 80 00 91 92 0f 92 a4 6b 65 65 70 c4 03 61 6c 6c "
        "91 92 06 92 cd 01 00 c4 05 61 2e 74 78 74"
    )


def test_a_row_may_lack_fields_that_were_added_later() -> None:
    payload = pack((1, [(6, (1, b"a", 5, 1, 7))], []))
    assert decode_change(payload, 1).changes == [changed(dentry(1, b"a", 5, cookie=7))]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        pack((1, [])),
        pack((1, [], [], []))[:-1],
        pack(("1", [], [])),
        pack((1, [(14, (5,))], [])),  # too few fields
        pack((1, [(14, ("5", 1))], [])),
        pack((1, [(14, (5, None))], [])),
        pack((1, [(14, {"ino": 5, "since": 1})], [])),
        pack((1, [14, 5, 1], [])),
        pack((1, [], [(14, (5, 6))])),
        pack((1, [], [(14, ())])),
        pack((1, [], [(14, ("5",))])),
        pack((1, [], [(6, (1, "text"))])),
        pack((1, [(14, (1 << 63, 1))], [])),  # no engine can hold it
        pack((1, [], [(14, (1 << 63,))])),
        pack((1, [(14, (5, 1)), (14, (5, 2))], [])),  # twice
        pack((1, [(14, (5, 1))], [(14, (5,))])),
        pack((1, [], [])) + b"\x00",
    ],
)
def test_malformed_payloads_are_refused(payload: bytes) -> None:
    with pytest.raises(DataLost, match="META 42 "):
        decode_change(payload, 42)


@given(st.binary(max_size=200))
def test_garbage_is_refused(payload: bytes) -> None:
    with pytest.raises((DataLost, NewerFormat)):
        decode_change(b"\x93" + payload, 1)


@given(st.data())
def test_flipped_bytes_never_do_anything_else(data: st.DataObject) -> None:
    payload = bytearray(encode_change(1, [changed(dentry(1, b"a", 5)), (ORPHAN, (7,), None)]))
    at = data.draw(st.integers(0, len(payload) - 1))
    payload[at] ^= data.draw(st.integers(1, 255))
    try:
        record = decode_change(bytes(payload), 1)
    except (DataLost, NewerFormat):
        return
    assert len(record.changes) <= 2


@pytest.mark.parametrize("payload", [pack((1, [(99, (5,))], [])), pack((1, [], [(0, (5,))]))])
def test_unknown_tables_are_of_a_newer_format(payload: bytes) -> None:
    with pytest.raises(NewerFormat, match=r"META 42 changes table \d+.*version that wrote it"):
        decode_change(payload, 42)


def test_row_order_of_a_change_is_kept() -> None:
    rows = [Orphan(ino, 1) for ino in (9, 3, 7)]
    record = decode_change(encode_change(1, map(changed, rows)), 1)
    assert [row for _, _, row in record.changes] == rows
