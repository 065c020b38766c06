"""From the head of a request to the operation that it asks for: pure functions.

Promises: a key is the percent-decoded rest of the raw path, byte for byte; `..`, `.` and `//` are
plain text in it, `+` is a plus. What the path says counts even if it looks odd; what cannot be a
bucket, a key or a target is refused with S3's code before anything else is looked at.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from objfs.base.limits import KEY_BYTES_MAX
from objfs.s3.errors import S3Error, invalid_argument
from objfs.s3.http import Query, decode_text
from objfs.s3.operations_table import OPERATIONS, Operation, subresources
from objfs.volume.bucket_names import broken_rule

_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_SUBRESOURCES = {scope: subresources(scope) for scope in ("service", "bucket", "object")}
_BY_PLACE: dict[tuple[str, str, str], list[Operation]] = {}
for _each in OPERATIONS.values():
    _BY_PLACE.setdefault((_each.method, _each.scope, _each.subresource), []).append(_each)
_METHODS = frozenset(each.method for each in OPERATIONS.values())


class Address(NamedTuple):
    """What a request's target names. `bucket` is "" for the service itself, `key` b"" for a
    bucket."""

    bucket: str
    key: bytes
    virtual_host: bool = False

    @property
    def scope(self) -> str:
        """ "service", "bucket" or "object"."""
        if not self.bucket:
            return "service"
        return "object" if self.key else "bucket"

    @property
    def resource(self) -> str:
        """The path as errors show it."""
        if not self.bucket:
            return "/"
        return f"/{self.bucket}" + ("/" + decode_text(self.key) if self.key else "")


def _decoded(raw: bytes) -> bytes:
    if _BROKEN_ESCAPE.search(raw):
        raise S3Error("InvalidURI")
    return unquote_to_bytes(raw)


def bucket_of_host(host: str, domains: Sequence[str]) -> str:
    """The bucket that a virtual-host style name gives; "" for none."""
    name = re.sub(r":[0-9]*$", "", host).lower().rstrip(".")
    for domain in domains:
        if name.endswith("." + domain.lower()):
            return name[: -len(domain) - 1]
    return ""


def check_bucket(name: str) -> str:
    """The name, if a bucket may have it. InvalidBucketName."""
    if broken_rule(name) is not None:
        raise S3Error("InvalidBucketName", BucketName=name)
    return name


def check_key(key: bytes) -> bytes:
    """The key, if it is one: UTF-8, at most 1,024 bytes. InvalidURI, KeyTooLongError."""
    if len(key) > KEY_BYTES_MAX:
        raise S3Error("KeyTooLongError", Size=len(key), MaxSizeAllowed=KEY_BYTES_MAX)
    try:
        key.decode()
    except UnicodeDecodeError as error:
        raise S3Error("InvalidURI") from error
    return key


def address(raw_path: bytes, host: str, domains: Sequence[str] = ()) -> Address:
    """Bucket and key of a raw path. `domains` are the names below which buckets are host names.
    InvalidURI, InvalidBucketName, KeyTooLongError."""
    if not raw_path.startswith(b"/"):
        raise S3Error("InvalidURI")
    bucket = bucket_of_host(host, domains)
    if bucket:
        return Address(check_bucket(bucket), check_key(_decoded(raw_path[1:])), True)
    if raw_path == b"/":
        return Address("", b"")
    first, _, rest = raw_path[1:].partition(b"/")
    return Address(check_bucket(decode_text(_decoded(first))), check_key(_decoded(rest)))


def _subresource(scope: str, query: Query) -> str:
    found = sorted({pair.name for pair in query} & _SUBRESOURCES[scope])
    if len(found) > 1:
        raise invalid_argument(
            f"Conflicting query string parameters: {', '.join(found)}",
            "ResourceType",
            found[0],
        )
    return found[0] if found else ""


def _choose(found: Sequence[Operation], query: Query, copies: bool) -> Operation:
    """Which of several operations at one place is meant."""
    names = {each.name: each for each in found}
    for copying, plain in (("CopyObject", "PutObject"), ("UploadPartCopy", "UploadPart")):
        if copying in names:
            return names[copying if copies else plain]
    if len(found) > 1:  # one of several configurations, or a list of them
        one = "id" in query or "annotationName" in query
        return next(each for each in found if each.name.startswith("List") is not one)
    return found[0]


def route(method: str, scope: str, query: Query, *, copies: bool) -> Operation:
    """The operation that a request asks for; also one that is refused. `copies`: it names the
    source of a copy. MethodNotAllowed; InvalidArgument for parameters that contradict each
    other."""
    subresource = _subresource(scope, query)
    if subresource == "list-type":
        if method != "GET" or query.get("list-type") == "1":
            subresource = ""
        elif query.get("list-type") != "2":
            raise invalid_argument("Invalid List Type", "list-type", query.get("list-type") or "")
    found = _BY_PLACE.get((method, scope, subresource))
    if not found:
        raise _not_allowed(method, scope, subresource)
    return _choose(found, query, copies)


def _not_allowed(method: str, scope: str, subresource: str) -> S3Error:
    allowed = sorted(each for each in _METHODS if (each, scope, subresource) in _BY_PLACE)
    return S3Error(
        "MethodNotAllowed",
        headers=(("Allow", ", ".join(allowed)),),
        Method=method,
        ResourceType=subresource.upper() or scope.upper(),
    )


def check_done(operation: Operation) -> None:
    """Raises NotImplemented, with the reason, for an operation that this server refuses."""
    if operation.refused:
        raise S3Error(
            "NotImplemented", f"{operation.name} is not implemented: {operation.refused}."
        )
