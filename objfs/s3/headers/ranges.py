"""Which bytes of an object a request asks for (RFC 9110, 14; S3 differs where it is said).

What is no range at all is ignored, as the RFC has it, and so are several ranges: S3 answers with
the whole object.
"""

import re
from typing import NamedTuple

from objfs.s3.errors import S3Error, invalid_argument

_RANGE = re.compile(
    r"bytes[ \t]*=[ \t]*([0-9]*)[ \t]*-[ \t]*([0-9]*)[ \t]*", re.IGNORECASE | re.ASCII
)
_COPIED = re.compile(r"bytes=([0-9]+)-([0-9]+)", re.ASCII)
_COPY_HEADER = "x-amz-copy-source-range"
_DIGITS_MAX = 19  # ten times what 2^63 bytes would take


class Range(NamedTuple):
    """Bytes [start, start + length) of an object of `size` bytes."""

    start: int
    length: int
    size: int

    @property
    def content_range(self) -> str:
        """The value of Content-Range."""
        return f"bytes {self.start}-{self.start + self.length - 1}/{self.size}"


def parse_range(header: str | None, size: int) -> Range | None:
    """The part that `Range` asks for; None for the whole object. InvalidRange if no byte of the
    object is in it."""
    match = _RANGE.fullmatch((header or "").strip())
    if match is None:
        return None
    first, last = (_bounded(each) for each in match.groups())
    if not first and not last:
        return None
    if not first:
        length = min(int(last), size)
        if not length:
            raise unsatisfiable(header or "", size)
        return Range(size - length, length, size)
    if last and int(last) < int(first):
        return None
    start = int(first)
    if start >= size:
        raise unsatisfiable(header or "", size)
    end = min(int(last) + 1, size) if last else size
    return Range(start, end - start, size)


def unsatisfiable(asked: str, size: int) -> S3Error:
    """The answer to a range without a byte of the object."""
    return S3Error(
        "InvalidRange",
        headers=(("Content-Range", f"bytes */{size}"),),
        RangeRequested=asked,
        ActualObjectSize=size,
    )


def part_range(sizes: list[int] | None, size: int, number: int) -> Range | None:
    """The bytes of a part of an object; None if that is an empty object. InvalidPartNumber."""
    known = sizes or [size]
    if not 1 <= number <= len(known):
        raise S3Error("InvalidPartNumber", ActualPartCount=len(known), PartNumberRequested=number)
    if not known[number - 1]:
        return None
    return Range(sum(known[: number - 1]), known[number - 1], size)


def parse_copied_range(header: str | None, size: int) -> Range:
    """The bytes that a part is copied from. InvalidArgument."""
    if header is None:
        return Range(0, size, size)
    match = _COPIED.fullmatch(header.strip())
    first, last = (0, -1) if match is None else (int(_bounded(each)) for each in match.groups())
    if first > last:
        raise invalid_argument(
            f"The {_COPY_HEADER} value must be of the form bytes=first-last where first and last "
            "are the zero-based offsets of the first and last bytes to copy",
            _COPY_HEADER,
            header,
        )
    if last >= size:
        raise invalid_argument(
            f"Range specified is not valid for source object of size: {size}",
            _COPY_HEADER,
            header,
        )
    return Range(first, last - first + 1, size)


def _bounded(digits: str) -> str:
    """A number that Python reads, whatever its length, and past every object if it was too long."""
    significant = digits.lstrip("0")
    return significant[:_DIGITS_MAX] or digits[:1]
