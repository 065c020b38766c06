"""The conditions of a request, from its headers (RFC 9110, 13).

A date that is none is ignored, as the RFC has it. What S3 does not know of (a write that depends on
a date) is refused rather than ignored: somebody relies on it.
"""

import re
from collections.abc import Sequence

from objfs.s3.dates import parse_http_date
from objfs.s3.errors import S3Error
from objfs.s3.http import Headers
from objfs.volume.object_types import Conditions

_TAG = re.compile(r'[ \t]*(?:(W/)?"([^"]*)"|([^", \t]+))[ \t]*(?:,|$)')
_COPY = "x-amz-copy-source-"
_NOT_FOR_WRITES = ("if-modified-since", "if-unmodified-since")
_OF_DIRECTORY_BUCKETS = ("x-amz-if-match-last-modified-time", "x-amz-if-match-size")


def parse_etags(values: Sequence[str], *, weak: bool) -> tuple[str, ...] | None:
    """The ETags of If-Match or If-None-Match, without quotes; None without the header. `weak`:
    those that are marked as weak count too (they never do for If-Match)."""
    if not values:
        return None
    found = []
    for match in _TAG.finditer(", ".join(values)):
        if weak or not match[1]:
            found.append(match[2] if match[2] is not None else match[3])
    return tuple(found)


def _conditions(headers: Headers, prefix: str) -> Conditions | None:
    since, before = (
        parse_http_date(value) if value is not None else None
        for value in (
            headers.get(f"{prefix}if-modified-since"),
            headers.get(f"{prefix}if-unmodified-since"),
        )
    )
    found = Conditions(
        if_match=parse_etags(headers.all(f"{prefix}if-match"), weak=False),
        if_none_match=parse_etags(headers.all(f"{prefix}if-none-match"), weak=True),
        if_modified_since_ns=since,
        if_unmodified_since_ns=before,
    )
    return None if found == Conditions() else found


def read_conditions(headers: Headers) -> Conditions | None:
    """Of a GET or HEAD."""
    return _conditions(headers, "")


def copy_conditions(headers: Headers) -> Conditions | None:
    """On the source of a copy."""
    return _conditions(headers, _COPY)


def write_conditions(headers: Headers) -> Conditions | None:
    """Of a PUT, a copy's target or the completion of an upload. NotImplemented for what S3 does
    not know of."""
    for name in _NOT_FOR_WRITES:
        if name in headers:
            raise not_known(name)
    found = _conditions(headers, "")
    if found is not None and found.if_none_match not in {None, ("*",)}:
        raise not_known("if-none-match")
    return found


def delete_conditions(headers: Headers) -> Conditions | None:
    """Of a DELETE. NotImplemented."""
    for name in (*_NOT_FOR_WRITES, *_OF_DIRECTORY_BUCKETS, "if-none-match"):
        if name in headers:
            raise not_known(name)
    return _conditions(headers, "")


def not_known(name: str) -> S3Error:
    """S3's answer to a header that asks for what is not done."""
    return S3Error("NotImplemented", Header=name)
