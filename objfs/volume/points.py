"""Restore points: the times that a listing of the past offers, when it can take any.

The last minutes, hours, days and weeks after which something had changed, each at its end, in UTC;
and the newest change. So the names stay the same while time goes on, and there are not many.
"""

from objfs.base.times import SECOND_NS
from objfs.meta.database import Database
from objfs.meta.tables import MOMENT

_DAY = 86_400
_PERIODS = ((60, 60), (3600, 48), (_DAY, 60), (7 * _DAY, 260))  # seconds, how many


def restore_points(database: Database, now_ns: int) -> list[int]:
    """Times in whole seconds, in nanoseconds since 1970, newest first. Each is after the first
    change of the store and not after `now_ns`."""
    points: set[int] = set()
    newest = database.scan(MOMENT, reverse=True, limit=1)
    if newest:
        latest = _round_up(max(newest[0].time_ns, database.time_ns), SECOND_NS)
        points |= {latest} if latest <= now_ns else set()
    for seconds, count in _PERIODS:
        period = seconds * SECOND_NS
        end = now_ns - now_ns % period
        for _ in range(count):
            before = database.scan(MOMENT, upper=end, reverse=True, limit=1)
            if not before:
                break
            end = _round_up(before[0].time_ns + 1, period)
            points.add(end)
            end -= period
    return sorted(points, reverse=True)


def _round_up(time_ns: int, unit_ns: int) -> int:
    return -(-time_ns // unit_ns) * unit_ns
