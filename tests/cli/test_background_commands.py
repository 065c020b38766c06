"""`objfs background`."""

from pathlib import Path

from tests.cli.conftest import CommandLine


def test_pause_and_resume(store: Path, objfs: CommandLine) -> None:
    assert objfs("background", "pause", store).status == 0
    assert objfs("background", "status", store, "--json").json["paused"] is True
    assert "paused" in objfs("background", "status", store).out
    assert objfs("status", store, "--json").json["background"]["paused"] is True
    assert objfs("background", "resume", store).status == 0
    assert objfs("background", "status", store, "--json").json["paused"] is False
