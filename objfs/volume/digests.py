"""The sums of an object's bytes: MD5 for its ETag, and the checksums that a client asked for.

They are taken in one pass, in a thread where there is much: hashes release the interpreter's lock
for buffers over 2 KiB, the CRCs are done by C in a moment.
"""

import hashlib
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from awscrt.checksums import (  # type: ignore[import-untyped]
    combine_crc32,
    combine_crc32c,
    combine_crc64nvme,
    crc32c,
    crc64nvme,
)

from objfs.base.errors import ChecksumMismatch, InvalidRequest
from objfs.volume.dirty import Buffer


class _Hash(Protocol):
    def update(self, data: Buffer, /) -> None: ...

    def digest(self) -> bytes: ...


class Crc:
    """A cyclic redundancy check, big-endian as S3 has it."""

    def __init__(self, function: Callable[[Buffer, int], int], length: int) -> None:
        self._function = function
        self._length = length
        self._value = 0

    def update(self, data: Buffer) -> None:
        """Add bytes."""
        self._value = self._function(data, self._value)

    def digest(self) -> bytes:
        """Of all bytes so far."""
        return self._value.to_bytes(self._length, "big")


ALGORITHMS: dict[str, Callable[[], _Hash]] = {
    "CRC32": lambda: Crc(zlib.crc32, 4),
    "CRC32C": lambda: Crc(crc32c, 4),
    "CRC64NVME": lambda: Crc(crc64nvme, 8),
    "SHA1": lambda: hashlib.sha1(usedforsecurity=False),
    "SHA256": hashlib.sha256,
}


_COMBINED: dict[str, Callable[[int, int, int], int]] = {
    "CRC32": combine_crc32,
    "CRC32C": combine_crc32c,
    "CRC64NVME": combine_crc64nvme,
}


def combined(algorithm: str, parts: Sequence[tuple[bytes, int]]) -> bytes | None:
    """The checksum of bytes, from those of its parts and their lengths; None for an algorithm that
    cannot tell. One part at least."""
    combine = _COMBINED.get(algorithm)
    if combine is None:
        return parts[0][0] if len(parts) == 1 else None
    value = int.from_bytes(parts[0][0], "big")
    for digest, length in parts[1:]:
        value = combine(value, int.from_bytes(digest, "big"), length)
    return value.to_bytes(len(parts[0][0]), "big")


def composite(algorithm: str, digests: Sequence[bytes]) -> bytes:
    """The checksum of the checksums of parts. InvalidRequest for an unknown algorithm."""
    sums = Digests((algorithm,))
    sums.update([b"".join(digests)])
    return sums.checksums()[algorithm]


class Digests:
    """Sums that grow with the bytes."""

    def __init__(self, algorithms: Iterable[str] = ()) -> None:
        """`algorithms` in capitals. InvalidRequest for one that is not known."""
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._others: dict[str, _Hash] = {}
        for name in algorithms:
            if name not in ALGORITHMS:
                raise InvalidRequest(f"{name} is no checksum algorithm that is known here")
            self._others[name] = ALGORITHMS[name]()

    def update(self, buffers: Iterable[Buffer]) -> None:
        """Add bytes."""
        for buffer in buffers:
            self._md5.update(buffer)
            for other in self._others.values():
                other.update(buffer)

    @property
    def md5(self) -> bytes:
        """16 bytes."""
        return self._md5.digest()

    def checksums(self) -> dict[str, bytes]:
        """By algorithm."""
        return {name: each.digest() for name, each in self._others.items()}

    def check(self, md5: bytes | None, checksums: Mapping[str, bytes]) -> None:
        """Compare with what the client sent. ChecksumMismatch."""
        if md5 is not None and md5 != self.md5:
            raise ChecksumMismatch("the bytes that came have another MD5", "MD5")
        for name, expected in checksums.items():
            other = self._others.get(name)
            if other is not None and other.digest() != expected:
                raise ChecksumMismatch(f"the bytes that came have another {name}", name)
