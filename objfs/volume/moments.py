"""Times to sequence numbers and back: which state of the store a time means.

The table `moment` has a row for a change only if the newest row is MOMENT_GAP_NS or more older. So
the changes in the gap after a row have none. For a time in the gap the state is the row's, which is
at most MOMENT_GAP_NS older than asked; for any later time, up to the next row, it is exactly the
state after the last change before that row.
"""

import datetime

from objfs.base.errors import InvalidRequest
from objfs.base.limits import MOMENT_GAP_NS
from objfs.base.times import SECOND_NS, parse_time
from objfs.meta.database import Database
from objfs.meta.rows import Moment
from objfs.meta.tables import MOMENT
from objfs.volume.content import Source
from objfs.volume.core import Core


def time_of(database: Source, sequence: int) -> int:
    """About when a META was written: the time of the last moment at or before it."""
    rows: list[Moment] = database.scan(
        MOMENT, upper=sequence + 1, reverse=True, limit=1, index="sequence"
    )
    return rows[0].time_ns if rows else 0


def sequence_at(database: Database, time_ns: int) -> int:
    """The state at a time is the state at this sequence; 0 before the store began."""
    if time_ns >= database.time_ns:
        return database.sequence
    rows = database.scan(MOMENT, upper=time_ns + 1, reverse=True, limit=1)
    if not rows:
        return 0
    row = rows[0]
    if time_ns < row.time_ns + MOMENT_GAP_NS:
        return row.sequence
    following = database.scan(MOMENT, lower=time_ns + 1, limit=1)
    return following[0].sequence - 1 if following else database.sequence


def resolve(core: Core, when: str | int) -> int:
    """The sequence of a moment: a text as people write it (see `base/times.py`), or a time in
    nanoseconds since 1970. InvalidRequest for a text that is no time, for the future, and for a
    time before the store was made."""
    database = core.database
    now_ns = max(core.clock.now_ns(), database.time_ns)
    time_ns = parse_time(when, now_ns, core.zone) if isinstance(when, str) else when
    shown = when if isinstance(when, str) else time_text(time_ns)
    if time_ns > now_ns:
        raise InvalidRequest(f"{shown} is in the future: nothing is known of it yet")
    sequence = sequence_at(database, time_ns)
    if sequence == 0:
        first = database.scan(MOMENT, limit=1)
        began = f"begins {time_text(first[0].time_ns)}" if first else "is empty"
        raise InvalidRequest(f"{shown} is before this store was made: its history {began}")
    return sequence


def time_text(time_ns: int) -> str:
    """RFC 3339 in UTC, to the millisecond."""
    seconds, rest_ns = divmod(time_ns, SECOND_NS)
    try:
        moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    except (OverflowError, ValueError):
        return f"@{seconds}"
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest_ns // 1_000_000:03d}Z"
