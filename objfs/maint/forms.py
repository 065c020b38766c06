"""How values look in the answers of commands: the JSON forms that all of them share."""

import datetime


def time_text(time_ns: int) -> str:
    """RFC 3339 in UTC with microseconds, which sorts as text."""
    seconds, rest_ns = divmod(time_ns, 10**9)
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest_ns // 1000:06d}Z"
