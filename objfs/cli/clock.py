"""The clock of a command: the machine's, or one that lags behind it.

`OBJFS_CLOCK_BEHIND=SECONDS` in the environment makes a command, or a mount, live that much earlier:
to see today what a rule does with versions that are weeks old. A clock that is ahead is refused:
time never goes back in a store, so its history would stand still until the clocks agree again.

`OBJFS_LIFECYCLE_DAY_SECONDS=SECONDS` makes the days of lifecycle rules that long, to see within
seconds what a rule does.
"""

import os

from objfs.base.errors import InvalidRequest
from objfs.base.limits import DAY_NS, LIFECYCLE_DAY_SECONDS_MIN
from objfs.base.system import SystemClock

VARIABLE = "OBJFS_CLOCK_BEHIND"
DAY_VARIABLE = "OBJFS_LIFECYCLE_DAY_SECONDS"


def command_clock() -> SystemClock:
    """The clock that the environment asks for. InvalidRequest."""
    text = os.environ.get(VARIABLE, "")
    if not text:
        return SystemClock()
    try:
        behind = float(text)
    except ValueError:
        behind = -1.0
    if not 0 <= behind < 1e9:
        raise InvalidRequest(
            f"{VARIABLE}={text}: give the seconds that the clock is to be behind, not below 0"
        )
    return SystemClock(int(behind * 1e9))


def lifecycle_day_ns() -> int:
    """How long a day of lifecycle rules is. InvalidRequest."""
    text = os.environ.get(DAY_VARIABLE, "")
    if not text:
        return DAY_NS
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not LIFECYCLE_DAY_SECONDS_MIN <= seconds <= DAY_NS / 1e9:
        raise InvalidRequest(
            f"{DAY_VARIABLE}={text}: give the seconds of a day, from {LIFECYCLE_DAY_SECONDS_MIN} "
            "to those of a real one"
        )
    return int(seconds * 1e9)
