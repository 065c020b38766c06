"""Checksums of S3: against published values, and parts against the whole."""

import hashlib
import zlib
from random import Random

import pytest

from objfs.base.errors import InvalidRequest
from objfs.volume.digests import Digests, combined, composite

CHECK = b"123456789"  # of which catalogues of CRCs tell the value


def digest(algorithm: str, data: bytes) -> bytes:
    sums = Digests((algorithm,))
    sums.update([data[:3], memoryview(data)[3:]])
    return sums.checksums()[algorithm]


def test_values_of_catalogues() -> None:
    assert digest("CRC32", CHECK).hex() == "cbf43926"
    assert digest("CRC32C", CHECK).hex() == "e3069283"
    assert digest("CRC64NVME", CHECK).hex() == "ae8b14860a799888"
    assert digest("SHA256", CHECK) == hashlib.sha256(CHECK).digest()
    with pytest.raises(InvalidRequest):
        Digests(("MD4",))


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME"])
def test_parts_give_the_checksum_of_the_whole(algorithm: str) -> None:
    random = Random(1)
    parts = [random.randbytes(random.randint(0, 5000)) for _ in range(20)]
    sums = [(digest(algorithm, part), len(part)) for part in parts]
    assert combined(algorithm, sums) == digest(algorithm, b"".join(parts))


def test_a_checksum_of_checksums() -> None:
    one, two = digest("CRC32", b"one"), digest("CRC32", b"two")
    assert composite("CRC32", [one, two]) == zlib.crc32(one + two).to_bytes(4, "big")
    assert combined("SHA1", [(one, 3), (two, 3)]) is None
    assert combined("SHA1", [(one, 3)]) == one
