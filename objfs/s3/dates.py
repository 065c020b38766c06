"""The dates of S3: HTTP's in headers (RFC 9110, 5.6.7), ISO 8601 in documents. Nanoseconds since
1970; what they cannot say is cut off."""

import datetime
import re
from email.utils import parsedate_to_datetime

from objfs.base.times import SECOND_NS

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d:?\d\d)?)?",
    re.ASCII,
)


def _moment(time_ns: int) -> datetime.datetime:
    return _EPOCH + datetime.timedelta(seconds=time_ns // SECOND_NS)


def http_date(time_ns: int) -> str:
    """`Fri, 20 Nov 2026 10:00:00 GMT`."""
    moment = _moment(time_ns)
    return (
        f"{_DAYS[moment.weekday()]}, {moment.day:02} {_MONTHS[moment.month - 1]} {moment.year:04} "
        f"{moment.hour:02}:{moment.minute:02}:{moment.second:02} GMT"
    )


def iso_date(time_ns: int) -> str:
    """`2026-11-20T10:00:00.000Z`."""
    moment = _moment(time_ns)
    return (
        f"{moment.year:04}-{moment.month:02}-{moment.day:02}T{moment.hour:02}:{moment.minute:02}:"
        f"{moment.second:02}.{time_ns // 1_000_000 % 1000:03}Z"
    )


def parse_http_date(text: str) -> int | None:
    """A date of any of HTTP's three forms, or with a numeric zone; None for what is none."""
    try:
        moment = parsedate_to_datetime(text.strip())
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=datetime.UTC)
        return int((moment - _EPOCH).total_seconds()) * SECOND_NS
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def parse_iso_date(text: str) -> int | None:
    """A date, or a date and a time; without a zone it is UTC. None for what is none."""
    match = _ISO.fullmatch(text.strip())
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    try:
        moment = datetime.datetime(year, month, day, hour, minute, second, tzinfo=_zone(match[8]))
        elapsed = moment - _EPOCH
    except (ValueError, OverflowError):
        return None
    fraction_ns = int((match[7] or "0").ljust(9, "0"))
    return (elapsed.days * 86_400 + elapsed.seconds) * SECOND_NS + fraction_ns


def _zone(text: str | None) -> datetime.tzinfo:
    if text is None or text == "Z":
        return datetime.UTC
    minutes = int(text[1:3]) * 60 + int(text[-2:])
    return datetime.timezone(datetime.timedelta(minutes=minutes if text[0] == "+" else -minutes))
