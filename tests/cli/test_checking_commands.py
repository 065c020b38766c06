"""`objfs scrub` on real stores, with nothing mounted."""

import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from objfs.base.errors import StoreError
from objfs.store.format import SEGMENT_HEADER_BYTES
from objfs.volume.volume import Volume
from tests.cli.conftest import CommandLine, put, with_volume

NOISE = os.urandom(600_000)


@pytest.fixture
def filled(store: Path) -> Path:
    put(store, b"letter", b"first", b"second")
    put(store, b"picture", NOISE)
    return store


def rot(store: Path, data: bytes) -> None:
    """Change a byte of the record that holds these bytes."""
    for path in (store / "segments").iterdir():
        contents = bytearray(path.read_bytes())
        at = contents.find(data)
        if at >= 0:
            contents[at + len(data) // 2] ^= 1
            path.write_bytes(contents)
            return
    raise AssertionError("no segment has these bytes")


def test_scrub_of_a_sound_store(objfs: CommandLine, filled: Path) -> None:
    ran = objfs("scrub", filled)
    assert ran.status == 0
    assert "damaged: 0" in ran.out
    answer = objfs("scrub", filled, "--json").json
    assert answer["damage"] == []
    assert answer["records"] > 5
    assert answer["read_bytes"] > len(NOISE)
    assert "records" in objfs("status", filled).out
    assert objfs("status", filled, "--json").json["scrub"]["last"]["damaged"] == 0


def test_scrub_names_what_is_hit(objfs: CommandLine, filled: Path) -> None:
    """S4.6: the file and its versions; status remembers it; so it is until it is mended."""
    rot(filled, NOISE)
    ran = objfs("scrub", filled)
    assert ran.status == 1
    assert "main:picture: bytes 0 to 600000; the current file, versions" in ran.out
    (damage,) = objfs("scrub", filled, "--json", "--restart").json["damage"]
    assert [hit["path"] for hit in damage["hits"]] == ["picture"]
    status = objfs("status", filled)
    assert status.status == 1
    assert "main/picture" in status.out
    rot(filled, NOISE[: len(NOISE) // 2])  # some other byte: it stays damaged
    assert objfs("scrub", filled).status == 1
    objfs_is_mended(objfs, filled)


def objfs_is_mended(objfs: CommandLine, store: Path) -> None:
    """Put back what a backup has."""
    for path in (store / "segments").iterdir():
        contents = bytearray(path.read_bytes())
        at = contents.find(NOISE[:1000])
        if at >= SEGMENT_HEADER_BYTES:
            contents[at : at + len(NOISE)] = NOISE
            path.write_bytes(contents)
    assert objfs("scrub", store).status == 0
    assert objfs("status", store).status == 0


def test_damage_found_by_an_opening_is_remembered(objfs: CommandLine, filled: Path) -> None:
    """S4.6: a segment with a footer is not read again by the next opening."""
    header: Path = max((filled / "segments").glob("*.bulk"))
    contents = bytearray(header.read_bytes())
    contents[20] ^= 1
    header.write_bytes(contents)
    first = objfs("status", filled)
    assert first.status == 1
    assert "does not verify" in first.out
    assert objfs("status", filled).status == 1
    contents[20] ^= 1
    header.write_bytes(contents)
    assert objfs("scrub", filled).status == 0
    assert objfs("status", filled).status == 0


def test_a_scrub_goes_on_where_the_last_one_was_interrupted(
    objfs: CommandLine, filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("objfs.maint.checking_commands.SCRUB_STEP_SECONDS", 0.0)
    calls = []

    async def once(access: Any, restart: bool) -> Any:
        calls.append(await access.call("scrub", restart=restart))
        raise StoreError("interrupted")

    with monkeypatch.context() as patch:
        patch.setattr("objfs.cli.checking_commands._scrub", once)
        for _ in range(3):
            assert objfs("scrub", filled).status == 1
    done = [call["done_bytes"] for call in calls]
    assert done == sorted(set(done)), "each began where the one before was"
    assert "under way" in objfs("status", filled).out
    assert objfs("scrub", filled).status == 0


def test_scrub_of_what_is_no_store(objfs: CommandLine, tmp_path: Path) -> None:
    ran = objfs("scrub", tmp_path)
    assert ran.status == 1
    assert "no objfs store" in ran.err


def test_status_of_the_volume_and_of_the_command_agree(filled: Path) -> None:
    async def work(volume: Volume) -> dict[str, object]:
        return volume.status()

    assert with_volume(filled, work)["scrub"] == {"running": None, "last": None}


# --- fsck -----------------------------------------------------------------------------------------


def test_fsck_of_a_sound_store(objfs: CommandLine, filled: Path) -> None:
    for path in (filled, f"{filled}:main", f"{filled}:main/letter"):
        for option in ("--deep", "--data", "--repair"):
            ran = objfs("fsck", path, option)
            assert (ran.status, ran.err) == (0, "")
            assert "problems: 0" in ran.out
    answer = objfs("fsck", filled, "--json").json
    assert answer["problems"] == []
    assert answer["objects"] > 10


def test_fsck_finds_and_repairs(objfs: CommandLine, filled: Path) -> None:
    """S4.7: exit status 1 while something is left."""

    async def spoil(volume: Volume) -> None:
        row = volume.lookup(volume.root("main"), b"letter")
        with volume.core.change() as change:
            change.put(replace(row, nlink=3))

    with_volume(filled, spoil)
    for path in (filled, f"{filled}:main/letter"):
        ran = objfs("fsck", path)
        assert ran.status == 1
        assert "link-count: inode" in ran.out
        assert "(letter)" in ran.out
        assert "do: objfs fsck --repair" in ran.out
    assert objfs("fsck", f"{filled}:main/picture").status == 0, "the other file is in order"
    (problem,) = objfs("fsck", filled, "--json").json["problems"]
    assert problem["code"] == "link-count"
    ran = objfs("fsck", filled, "--repair")
    assert ran.status == 0
    assert "1 problems mended, 0 left" in ran.out
    assert objfs("fsck", filled).status == 0


def test_fsck_of_an_index_made_wrong_from_outside(objfs: CommandLine, filled: Path) -> None:
    """S4.7: the log knows better, and repairing asks it first."""
    database = sqlite3.connect(filled / "index" / "objfs.sqlite")
    with database:
        assert database.execute('DELETE FROM "inode"').rowcount > 2
    database.close()
    ran = objfs("fsck", filled)
    assert ran.status == 1
    assert "index-differs" in ran.out
    ran = objfs("fsck", filled, "--repair")
    assert ran.status == 0, ran.out
    assert "name-of-nothing" not in ran.out, "nothing was mended that the log has right"
    assert objfs("fsck", filled, "--deep").status == 0
    assert objfs("cat", f"{filled}:main/letter", "--version", "3").status in (0, 1)


def test_fsck_lists_what_is_lost(objfs: CommandLine, filled: Path) -> None:
    """S4.8: with --data; the path alone does as well."""
    rot(filled, NOISE)
    assert objfs("fsck", filled).status == 0, "no head is damaged"
    for path in (filled, f"{filled}:main/picture"):
        ran = objfs("fsck", path, "--data", "--repair")
        assert ran.status == 1
        assert "record-damaged" in ran.out
        assert "main:picture bytes 0 to 600000 now versions" in ran.out
    assert objfs("fsck", f"{filled}:main/letter", "--data").status == 0
    assert objfs("status", filled).status == 1


def test_fsck_of_a_path_that_never_was(objfs: CommandLine, filled: Path) -> None:
    ran = objfs("fsck", f"{filled}:main/nothing")
    assert ran.status == 1
    assert "nothing never was" in ran.err
