"""The sums that a client sends with its bytes: Content-MD5, `x-amz-checksum-*`, and the
announcement of one that follows the body."""

from typing import NamedTuple

from objfs.s3.documents.checksums import (
    ALGORITHMS,
    COMPOSITE_ONLY,
    FULL_OBJECT_ONLY,
    HEADERS,
    Checksums,
    decode_digest,
)
from objfs.s3.errors import S3Error
from objfs.s3.http import Headers
from objfs.volume.object_types import COMPOSITE, FULL_OBJECT

_MD5_BYTES = 16


class SentChecksums(NamedTuple):
    """What a client sent. `algorithm` is the one it chose, also where the sum follows the body in
    the trailer (then `digests` is empty and `trailer` the name of that header)."""

    md5: bytes | None = None
    algorithm: str | None = None
    digests: tuple[tuple[str, bytes], ...] = ()
    trailer: str | None = None


def _invalid(message: str) -> S3Error:
    return S3Error("InvalidRequest", message)


def algorithm_named(name: str | None) -> str | None:
    """The algorithm, in S3's spelling. InvalidRequest."""
    if name is None:
        return None
    if name.upper() not in ALGORITHMS:
        raise _invalid(
            "Checksum algorithm provided is unsupported. Please try again with any of the valid "
            f"types: [{', '.join(ALGORITHMS)}]"
        )
    return name.upper()


def content_md5(headers: Headers) -> bytes | None:
    """The digest of Content-MD5. InvalidDigest."""
    value = headers.get("content-md5")
    if value is None:
        return None
    digest = decode_digest(value, _MD5_BYTES)
    if digest is None:
        raise S3Error("InvalidDigest")
    return digest


def sent_digest(algorithm: str, value: str) -> bytes:
    """The digest of a checksum header. InvalidRequest."""
    digest = decode_digest(value, ALGORITHMS[algorithm])
    if digest is None:
        raise _invalid(f"Value for x-amz-checksum-{algorithm.lower()} header is invalid.")
    return digest


def sent_checksums(headers: Headers) -> SentChecksums:
    """What came with a body. InvalidRequest, InvalidDigest."""
    md5 = content_md5(headers)
    digests = tuple(
        (algorithm, sent_digest(algorithm, headers.get(name) or ""))
        for name, algorithm in HEADERS.items()
        if name in headers
    )
    trailer = _trailer(headers)
    if len(digests) + (trailer is not None) > 1:
        raise _invalid(
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
        )
    asked = algorithm_named(headers.get("x-amz-sdk-checksum-algorithm"))
    sent = digests[0][0] if digests else HEADERS[trailer] if trailer else None
    if asked is not None and sent is None:
        raise _invalid(
            "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or "
            "x-amz-trailer headers were found."
        )
    if asked is not None and asked != sent:
        raise _invalid("Value for x-amz-sdk-checksum-algorithm header is invalid.")
    return SentChecksums(md5, sent, digests, trailer)


def _trailer(headers: Headers) -> str | None:
    names = [
        name.strip().lower()
        for value in headers.all("x-amz-trailer")
        for name in value.split(",")
        if name.strip()
    ]
    for name in names:
        if name not in HEADERS:
            raise _invalid("The value specified in the x-amz-trailer header is not supported")
    if len(names) > 1:
        raise _invalid(
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
        )
    return names[0] if names else None


class UploadChecksum(NamedTuple):
    """What a multipart upload was started with. Both None: nothing was asked for."""

    algorithm: str | None = None
    type: str | None = None


def upload_checksum(headers: Headers) -> UploadChecksum:
    """The algorithm and type of an upload that is started, S3's default of the type filled in.
    InvalidRequest for a pair that does not exist."""
    algorithm = algorithm_named(headers.get("x-amz-checksum-algorithm"))
    kind = headers.get("x-amz-checksum-type")
    if kind is not None and kind not in {COMPOSITE, FULL_OBJECT}:
        raise _invalid("Value for x-amz-checksum-type header is invalid.")
    if algorithm is None:
        if kind is not None:
            raise _invalid(
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm "
                "header."
            )
        return UploadChecksum()
    default = FULL_OBJECT if algorithm in FULL_OBJECT_ONLY else COMPOSITE
    chosen = kind or default
    if (chosen == COMPOSITE and algorithm in FULL_OBJECT_ONLY) or (
        chosen == FULL_OBJECT and algorithm in COMPOSITE_ONLY
    ):
        raise _invalid(
            f"The {chosen} checksum type cannot be used with the {algorithm.lower()} checksum "
            "algorithm."
        )
    return UploadChecksum(algorithm, chosen)


def checksum_headers(checksums: Checksums, kind: str | None = None) -> list[tuple[str, str]]:
    """The headers of an answer that tell of checksums."""
    headers = [(f"x-amz-checksum-{name.lower()}", text) for name, text in checksums.texts()]
    if headers and kind is not None:
        headers.append(("x-amz-checksum-type", kind))
    return headers
