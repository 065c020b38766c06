"""What people write for a time, as nanoseconds since 1970.

    2026-11-20T10:00:00.5Z   RFC 3339; a space for the T, no seconds, or a comma will do as well
    2026-11-20T10:00         without a zone: local time
    2026-11-20               the start of that day, local time
    1h, 1d12h                that long ago; units w d h m s, from large to small, a day is 24 hours
    now-90m                  the same
    now, today, yesterday    as date(1) takes them: `yesterday` is this time of day, a day before
    @1795600000              seconds since 1970, as date(1) takes them
    @GMT-2026.11.20-10.00.00 as Samba names them, in UTC

A local time that comes twice, when clocks are put back, is the first of the two. One that never
comes, when they are put forward, is read as if they had not been: 02:30 is then 03:30. The zone is
passed in; nothing here reads a clock.
"""

import datetime
import re
from collections.abc import Callable

from objfs.base.errors import InvalidRequest

SECOND_NS = 1_000_000_000
ACCEPTED = (
    "2026-11-20T10:00:00Z, 2026-11-20T10:00 or 2026-11-20 (local time), 1h or now-1d12h "
    "(w d h m s), now, yesterday, @GMT-2026.11.20-10.00.00"
)

_ABSOLUTE = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d+))?)? ?(Z|[+-]\d\d:?\d\d)?)?",
    re.ASCII | re.IGNORECASE,
)
_SAMBA = re.compile(r"@GMT-(\d{4})\.(\d\d)\.(\d\d)-(\d\d)\.(\d\d)\.(\d\d)", re.ASCII)
_AGO = re.compile(
    r"(?:now ?- ?)?(?=\d)" + "".join(rf"(?:(\d{{1,9}}){unit})?" for unit in "wdhms"),
    re.ASCII | re.IGNORECASE,
)
_EPOCH_SECONDS = re.compile(r"@(\d{1,12})(?:\.(\d+))?", re.ASCII)
_UNIT_SECONDS = (604_800, 86_400, 3_600, 60, 1)
_EPOCH = datetime.datetime(1970, 1, 1)
_ONE_DAY = datetime.timedelta(days=1)


def parse_time(text: str, now_ns: int, zone: datetime.tzinfo) -> int:
    """The time that `text` means at `now_ns`, for people in `zone`. It may lie in the future or
    before 1970. InvalidRequest, with the forms that are accepted."""
    words = text.strip()
    try:
        for pattern, meaning in _FORMS:
            if match := pattern.fullmatch(words):
                return meaning(match, now_ns, zone)
    except (ValueError, OverflowError) as error:
        raise InvalidRequest(f"{text!r} is no time ({error}); write {ACCEPTED}") from error
    raise InvalidRequest(f"{text!r} is no time; write {ACCEPTED}")


def is_relative(text: str) -> bool:
    """Whether the text means another time a moment later."""
    words = text.strip()
    return any(pattern.fullmatch(words) for pattern, _ in _FORMS[:3])


def samba_name(time_ns: int) -> str:
    """The name of a time as Samba's vfs_shadow_copy2 writes it: whole seconds of UTC."""
    moment = _EPOCH + datetime.timedelta(seconds=time_ns // SECOND_NS)
    return f"@GMT-{moment:%Y.%m.%d-%H.%M.%S}"


def _now(match: re.Match[str], now_ns: int, zone: datetime.tzinfo) -> int:
    return now_ns


def _yesterday(match: re.Match[str], now_ns: int, zone: datetime.tzinfo) -> int:
    seconds, rest_ns = divmod(now_ns, SECOND_NS)
    local = datetime.datetime.fromtimestamp(seconds, zone).replace(tzinfo=None, fold=0)
    return _local_ns(local - _ONE_DAY, zone) + rest_ns


def _ago(match: re.Match[str], now_ns: int, zone: datetime.tzinfo) -> int:
    counts = [int(count or 0) for count in match.groups()]
    seconds = sum(count * unit for count, unit in zip(counts, _UNIT_SECONDS, strict=True))
    return now_ns - seconds * SECOND_NS


def _absolute(match: re.Match[str], now_ns: int, zone: datetime.tzinfo) -> int:
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    seconds = int(second or 0)
    leap = seconds == 60  # RFC 3339 has leap seconds; POSIX time has none: the next second
    naive = datetime.datetime(
        int(year), int(month), int(day), int(hour or 0), int(minute or 0), seconds - leap
    )
    ns = _utc_ns(naive) - _offset_ns(offset) if offset else _local_ns(naive, zone)
    return ns + leap * SECOND_NS + _fraction_ns(fraction)


def _samba(match: re.Match[str], now_ns: int, zone: datetime.tzinfo) -> int:
    year, month, day, hour, minute, second = map(int, match.groups())
    return _utc_ns(datetime.datetime(year, month, day, hour, minute, second))


def _since_epoch(match: re.Match[str], now_ns: int, zone: datetime.tzinfo) -> int:
    return int(match[1]) * SECOND_NS + _fraction_ns(match[2])


def _local_ns(naive: datetime.datetime, zone: datetime.tzinfo) -> int:
    offset = naive.replace(tzinfo=zone).utcoffset()
    assert offset is not None, "a zone that knows its offset"
    return _utc_ns(naive) - _nanoseconds(offset)


def _utc_ns(naive: datetime.datetime) -> int:
    return _nanoseconds(naive - _EPOCH)


def _nanoseconds(delta: datetime.timedelta) -> int:
    return (delta // datetime.timedelta(microseconds=1)) * 1000


def _offset_ns(text: str) -> int:
    if text in "Zz":
        return 0
    digits = text[1:].replace(":", "")
    hours, minutes = int(digits[:2]), int(digits[2:])
    if hours > 23 or minutes > 59:
        raise ValueError(f"there is no offset {text}")
    seconds = hours * 3600 + minutes * 60
    return (seconds if text[0] == "+" else -seconds) * SECOND_NS


def _fraction_ns(digits: str | None) -> int:
    return int(f"{digits or ''}000000000"[:9])


_Meaning = Callable[[re.Match[str], int, datetime.tzinfo], int]
_FORMS: tuple[tuple[re.Pattern[str], _Meaning], ...] = (  # the relative ones first
    (re.compile("now|today", re.IGNORECASE), _now),
    (re.compile("yesterday", re.IGNORECASE), _yesterday),
    (_AGO, _ago),
    (_ABSOLUTE, _absolute),
    (_SAMBA, _samba),
    (_EPOCH_SECONDS, _since_epoch),
)
