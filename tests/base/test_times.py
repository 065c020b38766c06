"""Texts for times."""

import contextlib
import datetime
import os
import subprocess
import sys
import zoneinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objfs.base.errors import InvalidRequest
from objfs.base.system import LocalZone
from objfs.base.times import ACCEPTED, SECOND_NS, is_relative, parse_time, samba_name

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
UTC = datetime.UTC


def utc(*fields: int) -> int:
    return int(datetime.datetime(*fields, tzinfo=UTC).timestamp()) * SECOND_NS  # type: ignore[misc, arg-type]


NOW = utc(2026, 11, 20, 10, 0, 0) + 5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-20T10:00:00Z", utc(2026, 11, 20, 10)),
        ("2026-11-20t10:00:00z", utc(2026, 11, 20, 10)),
        ("2026-11-20 10:00:00Z", utc(2026, 11, 20, 10)),
        ("2026-11-20T10:00Z", utc(2026, 11, 20, 10)),
        ("2026-11-20T10:00:00.25+02:00", utc(2026, 11, 20, 8) + SECOND_NS // 4),
        ("2026-11-20T10:00:00,000000001-0130", utc(2026, 11, 20, 11, 30) + 1),
        ("2026-11-20T10:00:00.1234567899Z", utc(2026, 11, 20, 10) + 123456789),
        ("2026-11-20T10:00", utc(2026, 11, 20, 9)),
        ("2026-11-20 10:00:30", utc(2026, 11, 20, 9, 0, 30)),
        ("2026-07-20T10:00", utc(2026, 7, 20, 8)),
        ("2026-11-20", utc(2026, 11, 19, 23)),
        ("2016-12-31T23:59:60Z", utc(2017, 1, 1)),
        ("@GMT-2026.11.20-10.00.00", utc(2026, 11, 20, 10)),
        ("@1795600000.5", 1795600000 * SECOND_NS + SECOND_NS // 2),
        ("now", NOW),
        ("today", NOW),
        ("yesterday", utc(2026, 11, 19, 10) + 5),
        ("1h", NOW - 3600 * SECOND_NS),
        ("now-90m", NOW - 5400 * SECOND_NS),
        ("now - 90m", NOW - 5400 * SECOND_NS),
        ("1w2d3h4m5s", NOW - 788645 * SECOND_NS),
        ("1d12h", NOW - 36 * 3600 * SECOND_NS),
        (" 0s ", NOW),
    ],
)
def test_texts_and_what_they_mean(text: str, expected: int) -> None:
    assert parse_time(text, NOW, BERLIN) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "soon",
        "h",
        "now-",
        "now+1h",
        "-1h",
        "1h1d",
        "1h1h",
        "1.5h",
        "2026-13-01",
        "2026-02-29",
        "2026-11-20T24:00",
        "2026-11-20T10",
        "2026-11-20T10:00:61Z",
        "2026-11-20T10:00+24:00",
        "2026-11-20T10:00+01:60",
        "2026-11-20Z",
        "26-11-20",
        "0000-01-01",
        "@GMT-2026.11.20",
        "@GMT-2026.13.20-10.00.00",
        "@",
        "\u0661h",  # digits of another script
        "1h\n\n2h",
    ],
)
def test_what_is_no_time_is_told_what_is_one(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_time(text, NOW, BERLIN)
    assert ACCEPTED in str(caught.value)


def test_local_times_when_clocks_change() -> None:
    # 02:30 comes twice on 2026-10-25: the first is summer time. On 2026-03-29 it never comes.
    assert parse_time("2026-10-25T02:30", NOW, BERLIN) == utc(2026, 10, 25, 0, 30)
    assert parse_time("2026-03-29T02:30", NOW, BERLIN) == utc(2026, 3, 29, 1, 30)
    # Yesterday, at a time of day that yesterday did not have, and across a day of 25 hours.
    now = utc(2026, 3, 30, 0, 30)
    assert parse_time("yesterday", now, BERLIN) == utc(2026, 3, 29, 1, 30)
    now = utc(2026, 10, 25, 11)
    assert parse_time("yesterday", now, BERLIN) == now - 25 * 3600 * SECOND_NS


def test_which_texts_mean_something_else_a_moment_later() -> None:
    for text in ("now", "today", "yesterday", "1h", "now-1d12h"):
        assert is_relative(text)
    for text in ("2026-11-20", "@GMT-2026.11.20-10.00.00", "@5", "nonsense", ""):
        assert not is_relative(text)


instants = st.datetimes(
    datetime.datetime(1971, 1, 1), datetime.datetime(2200, 1, 1), timezones=st.just(UTC)
)


@given(instants, st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu"]))
def test_what_a_zone_writes_is_read_back(instant: datetime.datetime, name: str) -> None:
    zone = zoneinfo.ZoneInfo(name)
    local = instant.astimezone(zone)
    expected = (instant - datetime.datetime(1970, 1, 1, tzinfo=UTC)) // datetime.timedelta(
        microseconds=1
    )
    naive = local.replace(tzinfo=None)
    if len(f"{local:%z}") == len("+0000"):  # some offsets of the past have seconds
        assert parse_time(local.isoformat(), NOW, UTC) == expected * 1000
    if local.fold == 0:
        assert parse_time(naive.isoformat(), NOW, zone) == expected * 1000


@given(instants)
def test_names_for_samba_are_read_back(instant: datetime.datetime) -> None:
    seconds = int(instant.timestamp())
    assert parse_time(samba_name(seconds * SECOND_NS + 7), NOW, BERLIN) == seconds * SECOND_NS


@given(st.text())
def test_any_text_is_a_time_or_an_invalid_request(text: str) -> None:
    with contextlib.suppress(InvalidRequest):
        assert isinstance(parse_time(text, NOW, BERLIN), int)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "UTC", "America/New_York"])
def test_the_machine_s_zone_is_the_one_of_date(zone: str) -> None:
    program = (
        "from objfs.base.times import parse_time; from objfs.base.system import LocalZone;"
        "z = LocalZone();"
        "print(*(parse_time(t, 1792926000 * 10**9, z) // 10**9 for t in "
        "('2026-03-28T12:00', '2026-07-01T12:00', '2026-10-25T12:00', 'yesterday')))"
    )
    environment = {**os.environ, "TZ": zone}
    ran = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    expected = [
        subprocess.run(
            ["date", "-d", text, "+%s"], env=environment, capture_output=True, text=True, check=True
        ).stdout.strip()
        for text in ("2026-03-28T12:00", "2026-07-01T12:00", "2026-10-25T12:00")
    ]
    assert ran.stdout.split()[:3] == expected


def test_the_machine_s_zone_converts_both_ways() -> None:
    zone = LocalZone()
    moment = datetime.datetime.fromtimestamp(NOW // SECOND_NS, zone)
    assert parse_time(f"{moment:%Y-%m-%dT%H:%M:%S}", NOW, zone) == NOW - 5
    assert zone.tzname(moment)
