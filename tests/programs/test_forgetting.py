"""History is forgotten while it is looked at through the mount."""

import os
from io import FileIO
from pathlib import Path

import pytest

from tests.programs.drive import Drive

pytestmark = pytest.mark.slow


def write(path: Path, text: str) -> None:
    path.write_text(text)


def read_to_the_end(reader: FileIO) -> None:
    while data := reader.read(1 << 20):
        assert set(data) <= set(b"old")


def test_the_mount_shows_no_more_what_was_forgotten(drive: Drive) -> None:
    """S11.1, S11.2, S11.6"""
    mount = drive.mountpoint
    big = "old" * 2_000_000
    for text in ("first", big, "now"):
        write(mount / "file", text)
    versions = mount / ".objfs" / "versions" / "file"
    names = sorted(os.listdir(versions))
    assert len(names) == 3
    old = next(versions / name for name in names if (versions / name).stat().st_size == len(big))
    entries = drive.json("versions", mount / "file")["versions"]
    with old.open("rb", buffering=0) as reader:
        assert reader.read(6) == b"oldold"
        version = next(each["version_id"] for each in entries if each["size"] == len(big))
        assert "forgot 1 version" in drive.objfs("forget", mount / "file", "--version", version)
        with pytest.raises(OSError, match=r"Stale|Input/output"):
            read_to_the_end(reader)
    assert len(os.listdir(versions)) == 2
    assert not old.exists()
    drive.objfs("forget", mount / "file")
    assert len(os.listdir(versions)) == 1
    assert (mount / "file").read_text() == "now"
    assert drive.json("du", mount / "file")["past_stored_bytes"] == 0


def test_a_deleted_directory_is_forgotten(drive: Drive) -> None:
    mount = drive.mountpoint
    (mount / "d").mkdir()
    write(mount / "d" / "file", "text")
    (mount / "d" / "file").unlink()
    (mount / "d").rmdir()
    deleted = mount / ".objfs" / "deleted"
    assert os.listdir(deleted) == ["d"]
    before = drive.json("du", mount)
    assert before["past_stored_bytes"] == before["reclaimable_stored_bytes"] > 0
    drive.objfs("forget", mount / "d")
    assert os.listdir(deleted) == []
    assert not (deleted / "d").exists()
    assert drive.json("du", mount)["past_stored_bytes"] == 0
