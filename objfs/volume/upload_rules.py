"""What S3 demands of the parts that an upload is completed with, and what the object's sums are
then. Functions over values."""

import hashlib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from objfs.base import limits
from objfs.base.errors import (
    ChecksumMismatch,
    EntityTooSmall,
    InvalidPart,
    InvalidPartOrder,
    InvalidRequest,
)
from objfs.meta.rows import Part
from objfs.volume.digests import combined, composite


class AskedPart(NamedTuple):
    """A part as a client names it when it completes an upload."""

    number: int
    etag: str
    checksums: Mapping[str, bytes] = {}  # algorithm -> digest


def check_number(number: int) -> None:
    """InvalidRequest for what is no number of a part."""
    if not 1 <= number <= limits.PARTS_MAX:
        raise InvalidRequest(f"the number of a part is from 1 to {limits.PARTS_MAX}, not {number}")


def check_order(asked: Sequence[AskedPart]) -> None:
    """InvalidPartOrder, unless numbers ascend; InvalidRequest without any part."""
    if not asked:
        raise InvalidRequest("an upload is completed with one part at least")
    if any(one.number >= two.number for one, two in pairwise(asked)):
        raise InvalidPartOrder("the parts are not in ascending order of their numbers")


def check_parts(asked: Sequence[AskedPart], held: Mapping[int, Part], bytes_min: int) -> list[Part]:
    """The parts that were asked for, as they were uploaded. InvalidPart for one that was not, or is
    another; EntityTooSmall for one below `bytes_min` that is not the last."""
    chosen = []
    for each in asked:
        part = held.get(each.number)
        if part is None:
            raise InvalidPart(f"part {each.number} was not uploaded")
        if part.etag != each.etag:
            raise InvalidPart(f"part {each.number} was uploaded with another ETag")
        sums = part.checksums or {}
        if any(sums.get(name) != digest for name, digest in each.checksums.items()):
            raise InvalidPart(f"part {each.number} was uploaded with another checksum")
        chosen.append(part)
    for part in chosen[:-1]:
        if part.size < bytes_min:
            raise EntityTooSmall(
                f"part {part.number} has {part.size} bytes; all but the last have {bytes_min}"
            )
    return chosen


def etag_of(parts: Sequence[Part]) -> str:
    """The MD5 of the parts' MD5s, and how many there are."""
    sums = b"".join(bytes.fromhex(part.etag) for part in parts)
    return f"{hashlib.md5(sums, usedforsecurity=False).hexdigest()}-{len(parts)}"


def checksums_of(
    parts: Sequence[Part], algorithm: str, expected: Mapping[str, bytes], *, is_composite: bool
) -> dict[str, bytes]:
    """The object's checksum, if its parts have that. ChecksumMismatch when `expected`, which the
    client sent, is another; InvalidRequest when it cannot be known."""
    found: dict[str, bytes] = {}
    digests = [(part.checksums or {}).get(algorithm) for part in parts]
    known = [digest for digest in digests if digest is not None]
    if algorithm and len(known) == len(parts):
        if is_composite:
            found[algorithm] = composite(algorithm, known)
        else:
            sums = [(digest, part.size) for digest, part in zip(known, parts, strict=True)]
            whole = combined(algorithm, sums)
            if whole is not None:
                found[algorithm] = whole
    for name, digest in expected.items():
        if name not in found:
            raise InvalidRequest(f"the {name} of the object is not known: not all parts have one")
        if found[name] != digest:
            raise ChecksumMismatch(f"the object has another {name}", name)
    return found


def digest_of(asked: Sequence[AskedPart]) -> bytes:
    """What tells one list of parts from another: the same one again gets the same answer."""
    listed = "\n".join(f"{each.number} {each.etag}" for each in asked)
    return hashlib.sha256(listed.encode()).digest()
