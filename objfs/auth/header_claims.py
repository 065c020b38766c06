"""The claim of an Authorization header, as AWS's clients send it with each request.

AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/SERVICE/aws4_request, SignedHeaders=a;b, Signature=...
"""

import datetime
import email.utils

from objfs.auth.causes import Cause, refused
from objfs.auth.claims import (
    ALGORITHM,
    Claim,
    Mode,
    Payload,
    Place,
    Rules,
    Scope,
    Signable,
    check_headers_signed,
    check_skew,
    malformed,
    old_signature,
    read_credential,
    read_payload,
    read_signed_headers,
    read_timestamp,
)

DATE_CHARS_MAX = 64

_HEADER_PARTS = ("Credential", "SignedHeaders", "Signature")


def header_claim(request: Signable, header: str, rules: Rules, now_ns: int) -> Claim:
    """What the header says. NotAuthenticated when it breaks a rule."""
    parts = _header_parts(header)
    access_key, scope = read_credential(parts["Credential"], rules, Place.HEADER)
    timestamp, signed_ns = _header_date(request)
    if timestamp[:8] != scope.date:
        raise malformed(
            Place.HEADER,
            f'Invalid credential date "{scope.date}". This date is not the same as X-Amz-Date: '
            f'"{timestamp[:8]}".',
        )
    check_skew(timestamp, signed_ns, now_ns)
    claim = Claim(
        place=Place.HEADER,
        access_key=access_key,
        scope=scope,
        timestamp=timestamp,
        signed_headers=read_signed_headers(parts["SignedHeaders"], Place.HEADER),
        signature=parts["Signature"],
        payload=_header_payload(request, scope),
        token=request.header("x-amz-security-token"),
    )
    check_headers_signed(request, claim.signed_headers)
    return claim


def _header_parts(header: str) -> dict[str, str]:
    algorithm, blank, rest = header.strip().partition(" ")
    if not blank:
        raise refused(
            Cause.BAD_HEADER,
            "Authorization header is invalid -- one and only one ' ' (space) required.",
            ArgumentName="Authorization",
            ArgumentValue=header,
        )
    if algorithm == "AWS":
        raise old_signature()
    if algorithm != ALGORITHM:
        raise refused(
            Cause.BAD_HEADER,
            "Unsupported Authorization Type",
            ArgumentName="Authorization",
            ArgumentValue=algorithm,
        )
    pieces = [piece.strip() for piece in rest.split(",")]
    if len(pieces) != len(_HEADER_PARTS):
        raise malformed(
            Place.HEADER,
            "the authorization header requires three components: Credential, SignedHeaders, and "
            "Signature.",
        )
    parts = {}
    for piece in pieces:
        name, equals, value = piece.partition("=")
        if not equals:
            raise malformed(Place.HEADER, f'the authorization component "{piece}" is malformed.')
        parts[name] = value
    for name in _HEADER_PARTS:
        if name not in parts:
            raise malformed(Place.HEADER, f"missing {name}.")
    return parts


def _header_date(request: Signable) -> tuple[str, int]:
    """When it was signed, as its timestamp and in nanoseconds: x-amz-date, else Date."""
    text = request.header("x-amz-date")
    if text is None:
        text = _timestamp_of_date(request.header("date") or "")
    moment = read_timestamp(text)
    if moment is None:
        raise refused(
            Cause.NO_DATE, "AWS authentication requires a valid Date or x-amz-date header"
        )
    return text, moment


def _timestamp_of_date(date: str) -> str:
    """The timestamp of a header `Date` (RFC 9110, section 5.6.7), or what it holds itself."""
    try:
        when = email.utils.parsedate_to_datetime(date[:DATE_CHARS_MAX])
        if when.tzinfo is not None:  # -0000 says that it is UTC without a zone
            when = when.astimezone(datetime.UTC)
    except (ValueError, OverflowError):
        return date
    return f"{when:%Y%m%dT%H%M%SZ}"


def _header_payload(request: Signable, scope: Scope) -> Payload:
    declared = request.header("x-amz-content-sha256")
    if declared is not None:
        return read_payload(declared)
    if scope.service != "s3":
        return Payload(Mode.HASHED)  # IAM and STS sign the hash of the body without sending it
    raise refused(
        Cause.NO_PAYLOAD_HASH, "Missing required header for this request: x-amz-content-sha256"
    )
