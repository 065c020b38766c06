"""What a request says of itself: who signed it, when, and over what. Read, not yet believed.

Owns the values (request, rules, claim) and every rule that needs no secret: form, credential scope,
clock skew, which headers must be signed, how the payload is covered. The Authorization header is
read by `header_claims.py`, the query by `query_claims.py`, forms by `forms.py`; `sigv4.py` believes
a claim or refuses it. A request without a signature is `Anonymous`, a value and no error.

Source: "Authenticating Requests (AWS Signature Version 4)" of the Amazon S3 API Reference.
"""

import datetime
import enum
import re
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from objfs.auth.causes import Cause, refused
from objfs.base.limits import SIGNATURE_SKEW_SECONDS, SIGNED_HEADERS_MAX

ALGORITHM = "AWS4-HMAC-SHA256"
TERMINAL = "aws4_request"
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
SECOND_NS = 1_000_000_000
HOME_REGION = "us-east-1"  # of AWS's services that have no region: IAM, and STS by default


class Place(enum.Enum):
    """Where the signature was found."""

    HEADER = enum.auto()
    QUERY = enum.auto()
    FORM = enum.auto()


class Mode(enum.Enum):
    """How the body is covered; the value is what `x-amz-content-sha256` says."""

    HASHED = "a SHA-256 in hexadecimal"
    UNSIGNED = UNSIGNED_PAYLOAD
    SIGNED_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    SIGNED_CHUNKS_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
    UNSIGNED_CHUNKS_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"


class Payload(NamedTuple):
    """How the body is covered; `sha256` is its digest in hexadecimal, as it was declared. A hashed
    body without one is hashed by the server, and that hash is what was signed."""

    mode: Mode
    sha256: str | None = None

    @property
    def chunked(self) -> bool:
        """Whether the body is framed as `aws-chunked`."""
        return self.mode not in (Mode.HASHED, Mode.UNSIGNED)

    @property
    def signed_chunks(self) -> bool:
        """Whether each chunk carries a signature."""
        return self.mode in (Mode.SIGNED_CHUNKS, Mode.SIGNED_CHUNKS_TRAILER)

    @property
    def trailer(self) -> bool:
        """Whether headers may follow the body."""
        return self.mode in (Mode.SIGNED_CHUNKS_TRAILER, Mode.UNSIGNED_CHUNKS_TRAILER)


class Scope(NamedTuple):
    """For what a key was derived; `date` as in 20261120."""

    date: str
    region: str
    service: str

    def __str__(self) -> str:
        return f"{self.date}/{self.region}/{self.service}/{TERMINAL}"


class Rules(msgspec.Struct, frozen=True):
    """What an endpoint accepts. IAM and STS may be signed for AWS's home region too."""

    region: str
    services: frozenset[str] = frozenset({"s3"})


class Signable(NamedTuple):
    """The parts of a request that signatures are made over, as they came: raw path and query, and
    (name in lower case, value) of each header."""

    method: str
    path: bytes
    query: bytes
    headers: Sequence[tuple[str, str]]

    def header(self, name: str) -> str | None:
        """The values of that name joined by commas, or None."""
        values = [value for each, value in self.headers if each == name]
        return ",".join(values) if values else None


class Anonymous(NamedTuple):
    """Nobody signed. The body may be framed and have a trailer all the same."""

    payload: Payload


class Claim(msgspec.Struct, frozen=True):
    """A signature that was read. Nothing of it is proven."""

    place: Place
    access_key: str
    scope: Scope
    timestamp: str  # as in 20261120T101500Z
    signed_headers: tuple[str, ...]  # in the order they were signed; none of a form
    signature: str
    payload: Payload
    token: str | None  # of temporary credentials


# --- What they share ------------------------------------------------------------------------------

_MODES = {mode.value: mode for mode in Mode if mode is not Mode.HASHED}
_HASH = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_TIMESTAMP = re.compile(r"[0-9]{8}T[0-9]{6}Z", re.ASCII)
_DATE = re.compile(r"[0-9]{8}", re.ASCII)
_EPOCH = datetime.datetime.fromtimestamp(0, datetime.UTC)
_SECOND = datetime.timedelta(seconds=1)
_MALFORMED = {
    Place.HEADER: (Cause.MALFORMED_HEADER, "The authorization header is malformed; "),
    Place.QUERY: (Cause.MALFORMED_QUERY, ""),
    Place.FORM: (Cause.MALFORMED_FORM, ""),
}


def old_signature() -> Exception:
    """The refusal of signature version 2."""
    return refused(
        Cause.OLD_SIGNATURE,
        f"The authorization mechanism you have provided is not supported. Please use {ALGORITHM}.",
    )


def malformed(place: Place, message: str, **details: str) -> Exception:
    """What is wrong with a signature in that place."""
    cause, beginning = _MALFORMED[place]
    return refused(cause, beginning + message, **details)


def read_credential(text: str, rules: Rules, place: Place) -> tuple[str, Scope]:
    """The access key and scope of `KEY/20261120/region/service/aws4_request`."""
    beginning = "Error parsing the X-Amz-Credential parameter; " if place is Place.QUERY else ""

    def wrong(message: str, **details: str) -> Exception:
        return malformed(place, beginning + message, **details)

    parts = text.split("/")
    if len(parts) != 5 or not parts[0]:
        raise wrong(
            'the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/'
            f'{TERMINAL}".'
        )
    access_key, date, region, service, terminal = parts
    if service not in rules.services:
        mine = '" or "'.join(sorted(rules.services))
        raise wrong(f'incorrect service "{service}". This endpoint belongs to "{mine}".')
    if terminal != TERMINAL:
        raise wrong(f'incorrect terminal "{terminal}". This endpoint uses "{TERMINAL}".')
    if not _DATE.fullmatch(date) or read_timestamp(date + "T000000Z") is None:
        raise wrong(
            f'incorrect date format "{date}". This date in the credential must be in the format '
            '"yyyyMMdd".'
        )
    if region != rules.region and (service == "s3" or region != HOME_REGION):
        raise wrong(
            f'the region "{region}" is wrong; expecting "{rules.region}"', Region=rules.region
        )
    return access_key, Scope(date, region, service)


def read_timestamp(text: str) -> int | None:
    """Nanoseconds since 1970 of `20261120T101500Z`; None for anything else."""
    if not _TIMESTAMP.fullmatch(text):
        return None
    day = (int(text[:4]), int(text[4:6]), int(text[6:8]))
    time = (int(text[9:11]), int(text[11:13]), int(text[13:15]))
    try:  # not strptime: each request has two of them
        when = datetime.datetime(*day, *time, tzinfo=datetime.UTC)
    except ValueError:
        return None
    return (when - _EPOCH) // _SECOND * SECOND_NS


def iso(moment_ns: int) -> str:
    """A time as S3's error documents have it."""
    when = datetime.datetime.fromtimestamp(moment_ns // SECOND_NS, datetime.UTC)
    return f"{when:%Y-%m-%dT%H:%M:%SZ}"


def check_skew(timestamp: str, signed_ns: int, now_ns: int) -> None:
    """Refuses what was signed by a clock that is far from ours."""
    if abs(now_ns - signed_ns) > SIGNATURE_SKEW_SECONDS * SECOND_NS:
        raise refused(
            Cause.SKEWED,
            "The difference between the request time and the current time is too large.",
            RequestTime=timestamp,
            ServerTime=iso(now_ns),
            MaxAllowedSkewMilliseconds=str(SIGNATURE_SKEW_SECONDS * 1000),
        )


def read_payload(declared: str) -> Payload:
    """The meaning of a value of `x-amz-content-sha256`."""
    if _HASH.fullmatch(declared):
        return Payload(Mode.HASHED, declared)
    mode = _MODES.get(declared)
    if mode is None:
        raise refused(
            Cause.BAD_PAYLOAD_HASH,
            "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, "
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a "
            "valid sha256 value.",
            ArgumentName="x-amz-content-sha256",
            ArgumentValue=declared,
        )
    return Payload(mode)


def anonymous_payload(request: Signable) -> Payload:
    """How the body of a request is covered that nobody signed."""
    declared = request.header("x-amz-content-sha256")
    payload = Payload(Mode.UNSIGNED) if declared is None else read_payload(declared)
    if payload.signed_chunks:
        raise refused(
            Cause.BAD_PAYLOAD_HASH,
            f"a body of {payload.mode.value} needs a request that is signed.",
            ArgumentName="x-amz-content-sha256",
            ArgumentValue=payload.mode.value,
        )
    return payload


def read_signed_headers(text: str, place: Place) -> tuple[str, ...]:
    """The names in a list of signed headers, in its order."""
    names = tuple(text.split(";"))
    if not all(names) or len(names) > SIGNED_HEADERS_MAX or len(set(names)) < len(names):
        raise malformed(place, "SignedHeaders is malformed: names separated by ';', each once.")
    return names


def check_headers_signed(request: Signable, signed: Sequence[str]) -> None:
    """The host, and everything that changes what S3 does, must be under the signature."""
    present = dict.fromkeys(name for name, _ in request.headers)
    missing = [name for name in present if name.startswith("x-amz-") and name not in signed]
    if "host" not in signed:
        missing.insert(0, "host")
    if missing:
        raise refused(
            Cause.UNSIGNED_HEADERS,
            "There were headers present in the request which were not signed",
            HeadersNotSigned=", ".join(missing),
        )
