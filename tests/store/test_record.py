"""Record headers and payload sums: round trips, and nothing wrong verifies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest, xxh3_128_intdigest

from objfs.base.limits import CHECKSUM_BLOCK_BYTES, RECORD_PAYLOAD_BYTES_MAX
from objfs.store.format import MASK_64, RECORD_HEADER_BYTES, Codec, RecordKind
from objfs.store.record import (
    RecordHeader,
    pack_header,
    record_length,
    stored_in,
    sum_payload,
    unpack_header,
    verify_payload,
    verify_sums,
)

u64 = st.integers(0, MASK_64)
lengths = st.integers(0, RECORD_PAYLOAD_BYTES_MAX)


def packed(header: RecordHeader, seed: int) -> bytearray:
    target = bytearray(RECORD_HEADER_BYTES)
    pack_header(target, 0, seed, *header)
    return target


headers = st.builds(
    RecordHeader,
    st.sampled_from(RecordKind).map(int),
    st.sampled_from(Codec).map(int),
    lengths,
    lengths,
    u64,
    u64,
    st.integers(0, (1 << 128) - 1),
    u64,
)


@given(headers, u64)
def test_a_header_comes_back_as_it_was(header: RecordHeader, seed: int) -> None:
    assert unpack_header(packed(header, seed), 0, seed) == header


@given(headers, u64, u64)
def test_a_header_verifies_in_its_own_place_only(
    header: RecordHeader, seed: int, other: int
) -> None:
    found = unpack_header(packed(header, seed), 0, other)
    assert (found is not None) == (seed == other)


@given(headers, u64, st.integers(0, RECORD_HEADER_BYTES * 8 - 1))
def test_a_header_with_a_flipped_bit_does_not_verify(
    header: RecordHeader, seed: int, bit: int
) -> None:
    data = packed(header, seed)
    data[bit // 8] ^= 1 << bit % 8
    assert unpack_header(data, 0, seed) is None


def test_a_header_that_is_cut_short_is_none() -> None:
    header = RecordHeader(1, 0, 1, 1, 1, 1, 1, 0)
    for length in range(RECORD_HEADER_BYTES):
        assert unpack_header(packed(header, 5)[:length], 0, 5) is None


@given(lengths)
def test_the_stored_length_follows_from_the_record_length(stored: int) -> None:
    assert stored_in(record_length(stored)) == stored


@pytest.mark.parametrize(
    "length", [-5, 0, 79, record_length(65_536) + 1, record_length(65_537) - 1]
)
def test_lengths_that_no_record_has(length: int) -> None:
    assert stored_in(length) == -1


@given(st.lists(st.binary(max_size=40), max_size=8), st.integers(0, 3), st.integers(-3, 3))
def test_sums_do_not_depend_on_how_the_payload_is_cut(
    pieces: list[bytes], blocks: int, more: int
) -> None:
    filler = bytes(range(256)) * (blocks * CHECKSUM_BLOCK_BYTES // 256) + bytes(max(more, 0))
    buffers = [*pieces[:3], filler, *pieces[3:]]
    whole = b"".join(buffers)
    sums = sum_payload(buffers, len(whole))
    assert sums == sum_payload([whole], len(whole))
    assert sums.hash == xxh3_128_intdigest(whole)
    if len(whole) <= CHECKSUM_BLOCK_BYTES:
        assert (sums.sums, sums.sums_checksum) == (b"", 0)
        return
    assert sums.sums == b"".join(
        xxh3_64_intdigest(whole[at : at + CHECKSUM_BLOCK_BYTES]).to_bytes(8, "little")
        for at in range(0, len(whole), CHECKSUM_BLOCK_BYTES)
    )
    header = RecordHeader(1, 0, len(whole), len(whole), 0, 0, sums.hash, sums.sums_checksum)
    assert verify_sums(header, sums.sums)
    assert not verify_sums(header, sums.sums[:-1] + bytes([sums.sums[-1] ^ 1]))
    assert verify_payload(header, whole)
    assert not verify_payload(header, whole[:-1])
    assert not verify_payload(header, whole[:-1] + bytes([whole[-1] ^ 1]))
