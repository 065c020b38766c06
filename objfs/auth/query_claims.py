"""The claim of a presigned URL: everything that a header would say is in its query."""

import re
from collections.abc import Iterable, Mapping
from urllib.parse import unquote_to_bytes

from objfs.auth.causes import Cause, refused
from objfs.auth.claims import (
    ALGORITHM,
    SECOND_NS,
    Claim,
    Mode,
    Payload,
    Place,
    Rules,
    Signable,
    check_headers_signed,
    iso,
    malformed,
    read_credential,
    read_payload,
    read_signed_headers,
    read_timestamp,
)
from objfs.base.limits import PRESIGNED_SECONDS_MAX, SIGNATURE_SKEW_SECONDS

SIGNATURE_FIELD = "X-Amz-Signature"
QUERY_MARKS = frozenset({"X-Amz-Algorithm", "X-Amz-Credential", SIGNATURE_FIELD})
_QUERY_PARTS = (*QUERY_MARKS, "X-Amz-Date", "X-Amz-SignedHeaders", "X-Amz-Expires")
_QUERY_ONCE = (*_QUERY_PARTS, "X-Amz-Security-Token", "X-Amz-Content-Sha256")


def query_fields(query: bytes) -> dict[str, list[str]]:
    """The decoded fields that matter here, each with all its values."""
    fields: dict[str, list[str]] = {}
    if b"X-Amz-" in query or b"Signature" in query or b"%" in query:
        for part in query.split(b"&"):
            name, _, value = part.partition(b"=")
            fields.setdefault(_decoded(name), []).append(_decoded(value))
    return fields


def _decoded(raw: bytes) -> str:
    return unquote_to_bytes(raw.replace(b"+", b" ")).decode("utf-8", "surrogateescape")


def query_claim(
    request: Signable, query: Mapping[str, list[str]], rules: Rules, now_ns: int
) -> Claim:
    """What the query says. NotAuthenticated when it breaks a rule."""
    if any(not query.get(name, [""])[0] for name in _QUERY_PARTS):
        raise malformed(
            Place.QUERY,
            "Query-string authentication version 4 requires the X-Amz-Algorithm, "
            "X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires "
            "parameters.",
        )
    for name in _QUERY_ONCE:
        if len(query.get(name, ())) > 1:
            raise malformed(Place.QUERY, f"{name} must be there once.")
    field = {name: values[0] for name, values in query.items()}
    if field["X-Amz-Algorithm"] != ALGORITHM:
        raise malformed(Place.QUERY, f'X-Amz-Algorithm only supports "{ALGORITHM}"')
    access_key, scope = read_credential(field["X-Amz-Credential"], rules, Place.QUERY)
    timestamp = field["X-Amz-Date"]
    signed_ns = read_timestamp(timestamp)
    if signed_ns is None:
        raise malformed(
            Place.QUERY,
            "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"",
        )
    if timestamp[:8] != scope.date:
        raise malformed(
            Place.QUERY,
            f'Invalid credential date "{scope.date}". This date is not the same as X-Amz-Date: '
            f'"{timestamp[:8]}".',
        )
    _check_expiry(field["X-Amz-Expires"], signed_ns, now_ns)
    signed_headers = read_signed_headers(field["X-Amz-SignedHeaders"], Place.QUERY)
    claim = Claim(
        place=Place.QUERY,
        access_key=access_key,
        scope=scope,
        timestamp=timestamp,
        signed_headers=signed_headers,
        signature=field[SIGNATURE_FIELD],
        payload=_query_payload(request, scope.service, field, signed_headers),
        token=field.get("X-Amz-Security-Token") or request.header("x-amz-security-token"),
    )
    check_headers_signed(request, signed_headers)
    return claim


def _check_expiry(text: str, signed_ns: int, now_ns: int) -> None:
    """Of a presigned request: its number of seconds is right, and they are not over."""
    if not re.fullmatch(r"-?[0-9]{1,18}", text, re.ASCII):
        raise malformed(Place.QUERY, "X-Amz-Expires should be a number")
    seconds = int(text)
    if seconds < 0:
        raise malformed(Place.QUERY, "X-Amz-Expires must be non-negative")
    if seconds > PRESIGNED_SECONDS_MAX:
        raise malformed(
            Place.QUERY,
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires "
            f"must be less than {PRESIGNED_SECONDS_MAX} seconds",
        )
    if signed_ns > now_ns + SIGNATURE_SKEW_SECONDS * SECOND_NS:
        raise refused(Cause.NOT_YET_VALID, "Request is not valid yet", ServerTime=iso(now_ns))
    end_ns = signed_ns + seconds * SECOND_NS
    if now_ns > end_ns:
        raise refused(
            Cause.EXPIRED,
            "Request has expired",
            **{"X-Amz-Expires": text, "Expires": iso(end_ns), "ServerTime": iso(now_ns)},
        )


def _query_payload(
    request: Signable, service: str, field: Mapping[str, str], signed_headers: Iterable[str]
) -> Payload:
    """A URL of S3 is signed before its body is known, unless it says otherwise."""
    declared = field.get("X-Amz-Content-Sha256")
    if declared is None and "x-amz-content-sha256" in signed_headers:
        declared = request.header("x-amz-content-sha256")
    if declared is not None:
        return read_payload(declared)
    return Payload(Mode.UNSIGNED if service == "s3" else Mode.HASHED)
