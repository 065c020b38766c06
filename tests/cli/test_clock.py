"""A clock that lags behind: yesterday's backups, made today."""

import time
from pathlib import Path

import pytest

from objfs.base.errors import InvalidRequest
from objfs.base.limits import DAY_NS
from objfs.cli.clock import DAY_VARIABLE, VARIABLE, lifecycle_day_ns
from tests.cli.conftest import CommandLine


def test_a_command_lives_that_much_earlier(
    tmp_path: Path, objfs: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(3 * 86_400))
    assert objfs("init", tmp_path / "store").status == 0
    monkeypatch.delenv(VARIABLE)
    (bucket,) = objfs("bucket", "list", tmp_path / "store", "--json").json["buckets"]
    three_days_ago = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 3 * 86_400))
    assert bucket["created"].startswith(three_days_ago)


@pytest.mark.parametrize("text", ["-5", "soon", "nan", "1e12"])
def test_a_clock_that_is_ahead_or_no_number_is_refused(
    tmp_path: Path, objfs: CommandLine, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv(VARIABLE, text)
    ran = objfs("init", tmp_path / "store")
    assert ran.status == 1
    assert VARIABLE in ran.err
    assert not (tmp_path / "store").exists()


def test_days_of_lifecycle_rules_are_as_long_as_they_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(DAY_VARIABLE, raising=False)
    assert lifecycle_day_ns() == DAY_NS
    monkeypatch.setenv(DAY_VARIABLE, "2.5")
    assert lifecycle_day_ns() == 2_500_000_000
    for wrong in ("0", "-1", "nan", "long", "86401"):
        monkeypatch.setenv(DAY_VARIABLE, wrong)
        with pytest.raises(InvalidRequest):
            lifecycle_day_ns()
