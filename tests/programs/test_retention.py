"""Rules given and applied while the store is mounted."""

import pytest

from tests.programs.drive import Drive

pytestmark = pytest.mark.slow


def test_rules_for_paths_of_a_mount(drive: Drive) -> None:
    """S10.1, S10.6: by the owner of the store, which goes on serving."""
    (drive.mountpoint / "sub").mkdir()
    for number in range(5):
        for name in ("file", "sub/file"):
            (drive.mountpoint / name).write_text(f"number {number}")
    drive.objfs("retention", "set", drive.mountpoint / "sub", "--keep-last", "2")
    drive.objfs("retention", "set", drive.mountpoint, "--keep-for", "1y")
    shown = drive.json("retention", "show", drive.mountpoint)["retention"]
    assert [(each["bucket"], each["prefix"]) for each in shown] == [("main", ""), ("main", "sub")]
    dry = drive.json("retention", "apply", drive.mountpoint, "--dry-run")
    applied = drive.json("retention", "apply", drive.mountpoint)
    assert applied == dry | {"dry_run": False}
    assert applied["entries"] == 3
    assert len(drive.json("versions", drive.mountpoint / "sub/file")["versions"]) == 2
    assert len(drive.json("versions", drive.mountpoint / "file")["versions"]) == 5
    assert (drive.mountpoint / "sub/file").read_text() == "number 4"
    drive.remount()
    assert len(drive.json("versions", drive.mountpoint / "sub/file")["versions"]) == 2
    assert drive.objfs("fsck", drive.store)
