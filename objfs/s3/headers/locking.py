"""Object lock in headers: the retention and the legal hold of a version that is made."""

from objfs.s3.dates import iso_date, parse_iso_date
from objfs.s3.documents.locking import MODES, check_retention
from objfs.s3.errors import S3Error, invalid_argument
from objfs.s3.http import Headers
from objfs.volume.object_types import LockRetention, ObjectInfo

MODE = "x-amz-object-lock-mode"
UNTIL = "x-amz-object-lock-retain-until-date"
HOLD = "x-amz-object-lock-legal-hold"
BYPASS = "x-amz-bypass-governance-retention"


def lock_retention(headers: Headers, now_ns: int) -> LockRetention | None:
    """The retention that a request sets. InvalidArgument, InvalidRequest."""
    mode, until = headers.get(MODE), headers.get(UNTIL)
    if mode is None and until is None:
        return None
    if mode is None or until is None:
        raise S3Error(
            "InvalidArgument",
            f"{UNTIL} and {MODE} must both be supplied",
            ArgumentName=UNTIL if until is None else MODE,
        )
    if mode not in MODES:
        raise invalid_argument("Unknown wormMode directive.", MODE, mode)
    until_ns = parse_iso_date(until)
    if until_ns is None:
        raise invalid_argument(
            "The retain until date must be provided in ISO 8601 format", UNTIL, until
        )
    return check_retention(mode, until_ns, now_ns)


def legal_hold(headers: Headers) -> bool | None:
    """The hold that a request sets; None: it says nothing of one. InvalidArgument."""
    value = headers.get(HOLD)
    if value not in {None, "ON", "OFF"}:
        raise invalid_argument("Legal Hold must be either of 'ON' or 'OFF'", HOLD, value or "")
    return None if value is None else value == "ON"


def bypasses(headers: Headers) -> bool:
    """Whether a request asks to go past GOVERNANCE."""
    return (headers.get(BYPASS) or "").lower() == "true"


def lock_headers(info: ObjectInfo) -> list[tuple[str, str]]:
    """What answers tell of it."""
    headers = []
    if info.retention is not None:
        headers = [(MODE, info.retention.mode), (UNTIL, iso_date(info.retention.until_ns))]
    if info.hold:
        headers.append((HOLD, "ON"))
    return headers
