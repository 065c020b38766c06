"""A clock that lags behind: yesterday's backups, made today."""

import time
from pathlib import Path

import pytest

from objfs.cli.clock import VARIABLE
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
