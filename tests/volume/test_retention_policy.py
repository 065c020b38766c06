"""Which entries are kept: examples by hand, and what always holds."""

import datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from objfs.base.limits import DAY_NS
from objfs.meta.rows import Retention
from objfs.volume.retention_policy import PERIODS, Judge, Moment, Shown, has_rule, kept

UTC = datetime.UTC
START = datetime.datetime(2026, 1, 1, tzinfo=UTC)
CURRENT = 1 << 62


def ns(text: str) -> int:
    return int(datetime.datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


def history(times: list[int], until: int = CURRENT) -> list[Shown]:
    """Entries made at these times (oldest first), a sequence for each nanosecond; newest first."""
    ends = [*times[1:], until]
    return [Shown(*each) for each in zip(times, ends, times, strict=True)][::-1]


def rules(**counts: Any) -> Retention:
    return Retention(1, b"", **counts)


def moment(now: int, given: Retention, pinned: tuple[int, ...] = ()) -> Moment:
    return Moment(now, now - given.keep_for_seconds * 10**9, CURRENT, pinned, UTC)


def survivors(
    entries: list[Shown],
    given: Retention,
    now: int,
    pinned: tuple[int, ...] = (),
    deleted: int | None = None,
) -> list[Shown]:
    reasons = kept(entries, given, moment(now, given, pinned), deleted_ns=deleted)
    return [entry for entry, why in zip(entries, reasons, strict=True) if why]


def days_kept(entries: list[Shown]) -> list[str]:
    return [
        f"{datetime.datetime.fromtimestamp(each[0] // 10**9, UTC):%m-%dT%H}" for each in entries
    ]


# --- Examples -------------------------------------------------------------------------------------


def test_the_newest_of_each_day_for_as_many_days_as_have_any() -> None:
    times = [ns(f"2026-03-{day:02}T{hour:02}:00") for day in (1, 2, 5, 9) for hour in (8, 12, 18)]
    found = survivors(history(times), rules(daily=3), ns("2026-03-20T00:00"))
    assert days_kept(found) == ["03-09T18", "03-05T18", "03-02T18"]


def test_the_oldest_is_kept_while_a_rule_has_counts_left() -> None:
    times = [ns(f"2026-03-01T{hour:02}:00") for hour in (8, 12, 18)]
    found = survivors(history(times), rules(yearly=10), ns("2026-03-20T00:00"))
    assert days_kept(found) == ["03-01T18", "03-01T08"]


def test_weeks_are_those_of_iso() -> None:
    """2025-12-29 (Monday) to 2026-01-04 are one week of two years."""
    times = [ns(f"{day}T10:00") for day in ("2025-12-28", "2025-12-29", "2026-01-04", "2026-01-05")]
    found = survivors(history(times), rules(weekly=2), ns("2026-03-20T00:00"))
    assert days_kept(found) == ["01-05T10", "01-04T10"]


def test_days_begin_where_the_zone_says() -> None:
    east = datetime.timezone(datetime.timedelta(hours=5))
    times = [ns("2026-03-01T18:00"), ns("2026-03-01T20:00")]
    given, now = rules(daily=1), ns("2026-03-20T00:00")
    entries = [*history(times), Shown(0, times[0], times[0] - DAY_NS)]
    here = kept(entries, given, moment(now, given))
    there = kept(entries, rules(daily=2), moment(now, given)._replace(zone=east))
    assert [bool(each) for each in here] == [True, False, False]
    assert [bool(each) for each in there] == [True, True, False]


def test_what_was_shown_within_the_time_is_kept_however_old_it_is() -> None:
    """An entry is an interval: the one shown thirty days ago may be a year old."""
    times = [ns("2025-01-01T00:00"), ns("2025-06-01T00:00"), ns("2026-03-15T00:00")]
    given = rules(keep_for_seconds=30 * 86400)
    assert days_kept(survivors(history(times), given, ns("2026-03-20T00:00"))) == [
        "03-15T00",
        "06-01T00",
    ]


def test_reasons_are_listed() -> None:
    times = [ns("2026-03-01T08:00"), ns("2026-03-02T08:00"), ns("2026-03-02T09:00")]
    given = rules(keep_last=1, daily=2)
    found = kept(history(times), given, moment(ns("2026-03-03T00:00"), given, (times[1],)))
    assert found == [["current", "last", "daily"], ["pinned"], ["daily"]]


def test_a_deleted_path_goes_after_its_days_and_not_before() -> None:
    times = [ns("2026-01-01T00:00"), ns("2026-01-02T00:00")]
    deleted = ns("2026-02-01T00:00")
    entries = history(times, until=deleted)
    for each in (rules(keep_all=True, deleted_days=90), rules(keep_last=9, deleted_days=90)):
        assert len(survivors(entries, each, deleted + 89 * DAY_NS, deleted=deleted)) == 2
        assert not survivors(entries, each, deleted + 90 * DAY_NS, deleted=deleted)
        assert len(survivors(entries, each, deleted + 90 * DAY_NS, (times[0],), deleted)) == 1
    short = rules(keep_for_seconds=10, deleted_days=90)
    assert days_kept(survivors(entries, short, deleted + DAY_NS, deleted=deleted)) == ["01-02T00"]
    assert len(survivors(entries, rules(keep_last=2), deleted + 900 * DAY_NS, deleted=deleted)) == 2


def test_times_that_no_calendar_has_are_judged_too() -> None:
    entries = history([-(1 << 63), 5, (1 << 63) - 1])
    assert len(survivors(entries, rules(yearly=9), 7)) == 3


def test_rules_without_a_rule_are_told_from_others() -> None:
    assert not has_rule(rules(deleted_days=5))
    assert all(has_rule(rules(**{name: 1})) for name in (*PERIODS, "keep_last", "keep_all"))


# --- What always holds ----------------------------------------------------------------------------

COUNTS = ("keep_last", *PERIODS)
some_rules = st.builds(
    rules,
    keep_all=st.sampled_from([False, False, False, True]),
    keep_for_seconds=st.sampled_from([0, 0, 3600, 86400, 40 * 86400]),
    **{name: st.sampled_from([0, 0, 1, 2, 5]) for name in COUNTS},
)
some_times = st.lists(
    st.integers(0, 3 * 366 * 24 * 60).map(
        lambda minute: ns("2024-01-01T00:00") + minute * 60 * 10**9
    ),
    min_size=1,
    max_size=25,
    unique=True,
).map(sorted)


@given(some_times, some_rules, st.sampled_from(COUNTS), st.integers(1, 4), st.booleans())
def test_more_rules_keep_more(
    times: list[int], given: Retention, name: str, more: int, gone: bool
) -> None:
    now = times[-1] + DAY_NS
    entries = history(times, now - 5 if gone else CURRENT)
    fewer = survivors(entries, given, now)
    larger = replace(given, **{name: getattr(given, name) + more})
    assert set(fewer) <= set(survivors(entries, larger, now))
    longer = replace(given, keep_for_seconds=given.keep_for_seconds + more * 86400)
    assert set(fewer) <= set(survivors(entries, longer, now))
    assert len(survivors(entries, replace(given, keep_all=True), now)) == len(entries)


def erased(entries: list[Shown], left: list[Shown]) -> list[Shown]:
    """What the history shows when only `left` was not erased: an interval goes to the one before
    it, up to the end of all."""
    ends = [entries[0].until, *(each.sequence for each in left[:-1])]
    return [each._replace(until=end) for each, end in zip(left, ends, strict=True)]


@given(some_times, some_rules, st.lists(st.integers(0, 24), max_size=3))
def test_applying_twice_changes_nothing(
    times: list[int], given: Retention, places: list[int]
) -> None:
    now = times[-1] + DAY_NS
    pinned = tuple(sorted(times[place % len(times)] + 1 for place in places))
    entries = history(times)
    left = survivors(entries, given, now, pinned)
    after = erased(entries, left)
    assert survivors(after, given, now, pinned) == after


@given(some_times, some_rules, st.integers(0, 3 * 365))
def test_what_was_shown_within_the_time_is_kept(
    times: list[int], given: Retention, day: int
) -> None:
    """Every moment since then reads as it did."""
    now = times[0] + day * DAY_NS
    entries = history([each for each in times if each <= now])
    left = survivors(entries, given, now)
    since = now - given.keep_for_seconds * 10**9
    if given.keep_for_seconds:
        assert [each for each in entries if each.until > since] == [
            each for each in left if each.until > since
        ]


@given(some_times, some_rules, st.integers(0, 24), st.integers(0, 400))
def test_pinned_and_current_never_go(
    times: list[int], given: Retention, place: int, days: int
) -> None:
    given = replace(given, deleted_days=1)
    deleted = times[-1] + 10
    now = deleted + days * DAY_NS
    at = times[place % len(times)]
    left = survivors(history(times, deleted), given, now, (at,), deleted)
    assert [each for each in left if each.sequence <= at < each.until]
    assert survivors(history(times), rules(), now) == history(times)[:1]


@given(some_times, some_rules, st.integers(1, 24))
def test_a_history_may_be_judged_in_pieces(times: list[int], given: Retention, piece: int) -> None:
    now = times[-1] + DAY_NS
    entries = history(times)
    judge = Judge(given, moment(now, given))
    found: list[list[str]] = []
    for start in range(0, len(entries), piece):
        for place, entry in enumerate(entries[start : start + piece], start):
            found.append(judge.reasons(entry, oldest=place == len(entries) - 1))
    assert found == kept(entries, given, moment(now, given))
