"""The clock of a command: the machine's, or one that lags behind it.

`OBJFS_CLOCK_BEHIND=SECONDS` in the environment makes a command, or a mount, live that much earlier:
to see today what a rule does with versions that are weeks old. A clock that is ahead is refused:
time never goes back in a store, so its history would stand still until the clocks agree again.
"""

import os

from objfs.base.errors import InvalidRequest
from objfs.base.system import SystemClock

VARIABLE = "OBJFS_CLOCK_BEHIND"


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
