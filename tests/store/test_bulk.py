"""Large payloads: how they are cut, and when they are compressed."""

import os

from hypothesis import given
from hypothesis import strategies as st

from objfs.base.limits import COMPRESSED_RECORD_BYTES, LARGE_RECORD_BYTES
from objfs.store.bulk import BulkRecord, lengths_as_is, prepare_data, split
from objfs.store.compression import Compressor, Decompressor
from objfs.store.format import Codec
from objfs.store.record import verify_payload

TEXT = b"".join(b"%d bottles of text\n" % n for n in range(60_000))
NOISE = os.urandom(2 << 20)


def unpack(records: list[BulkRecord]) -> bytes:
    whole = b""
    for record in records:
        payload = b"".join(record.buffers)
        assert verify_payload(record.header, payload)
        assert record.header.owner_b == len(whole)
        raw = Decompressor().unpack(record.header, payload)
        assert len(raw) == record.header.raw
        whole += raw
    return whole


@given(st.lists(st.binary(max_size=30), max_size=10), st.integers(1, 40))
def test_pieces_have_the_size_asked_for_and_join_to_the_whole(
    buffers: list[bytes], size: int
) -> None:
    pieces = split([memoryview(buffer) for buffer in buffers], size)
    assert b"".join(b"".join(piece) for piece in pieces) == b"".join(buffers)
    assert [sum(map(len, piece)) for piece in pieces[:-1]] == [size] * (len(pieces) - 1)
    assert all(pieces)


def test_noise_is_not_copied() -> None:
    buffer = NOISE * 3
    assert not Compressor(1).is_compressible([memoryview(buffer)])
    records = prepare_data(1, 0, [memoryview(buffer)], None)
    assert [record.header.length for record in records] == lengths_as_is(len(buffer))
    assert [record.header.raw for record in records] == [
        LARGE_RECORD_BYTES,
        LARGE_RECORD_BYTES // 2,
    ]
    for record in records:
        assert record.header.codec == Codec.NONE
        assert all(isinstance(view, memoryview) and view.obj is buffer for view in record.buffers)
    assert unpack(records) == buffer


def test_text_is_compressed_in_pieces_that_stand_alone() -> None:
    assert Compressor(1).is_compressible([memoryview(TEXT)])
    records = prepare_data(1, 0, [memoryview(TEXT)], Compressor(1))
    assert {record.header.codec for record in records} == {Codec.ZSTD}
    assert {record.header.raw for record in records[:-1]} == {COMPRESSED_RECORD_BYTES}
    assert unpack(records) == TEXT


def test_a_piece_that_does_not_shrink_is_stored_as_it_is() -> None:
    mixed = TEXT[:COMPRESSED_RECORD_BYTES] + NOISE[:COMPRESSED_RECORD_BYTES] + TEXT[:5000]
    views = [memoryview(mixed)[:300_000], memoryview(mixed)[300_000:]]
    records = prepare_data(1, 0, views, Compressor(1))
    assert [record.header.codec for record in records] == [Codec.ZSTD, Codec.NONE, Codec.ZSTD]
    assert unpack(records) == mixed


def test_without_a_compressor_nothing_is_compressed() -> None:
    records = prepare_data(1, 0, [memoryview(TEXT)], None)
    assert [record.header.codec for record in records] == [Codec.NONE]


def test_what_shrinks_by_less_than_a_tenth_is_not_worth_it() -> None:
    compressor = Compressor(1)
    assert compressor.compress(NOISE[:4096]) is None
    assert compressor.compress(NOISE[:3900] + bytes(196)) is None
    assert compressor.compress(NOISE[:3000] + bytes(1096)) is not None
