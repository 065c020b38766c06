"""`objfs diff` and `objfs restore --dry-run`, with nothing mounted."""

from pathlib import Path

import pytest

from objfs.volume.volume import Volume
from tests.cli.conftest import CALLER, CommandLine, put, with_volume


@pytest.fixture
def changed(objfs: CommandLine, store: Path) -> Path:
    """Two snapshots, and in between one of each kind of change."""
    for name in (b"a", b"b", b"c", b"same"):
        put(store, name, b"data")
    assert objfs("snapshot", "create", store, "old").status == 0

    async def change(volume: Volume) -> None:
        root = volume.root("main")
        await volume.rename(root, b"b", root, b"moved")
        await volume.unlink(root, b"c")
        volume.mkdir(root, b"d", 0o755, CALLER)

    with_volume(store, change)
    put(store, b"a", b"longer than it was")
    put(store, b"new", b"")
    assert objfs("snapshot", "create", store, "new").status == 0
    return store


def test_a_line_for_each(objfs: CommandLine, changed: Path) -> None:
    ran = objfs("diff", f"{changed}:main", "--from", "snapshot:old", "--to", "snapshot:new")
    assert ran.out.splitlines() == [
        "changed    a  4 bytes -> 18 bytes",
        "deleted    c  4 bytes",
        "added      d/",
        "renamed    moved  (was b)  4 bytes",
        "added      new  0 bytes",
    ]
    assert objfs("diff", f"{changed}:main", "--from", "snapshot:new").out == ""


def test_json_in_pages(objfs: CommandLine, changed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = objfs("diff", f"{changed}:main", "--from", "snapshot:old", "--json").json
    monkeypatch.setattr("objfs.maint.difference_commands.CONTROL_PAGE_ENTRIES", 1)
    found = objfs("diff", f"{changed}:main", "--from", "snapshot:old", "--json").json
    assert found == whole
    assert [each["path"] for each in found["differences"]] == ["a", "c", "d/", "moved", "new"]
    assert found["differences"][3]["before_path"] == "b"
    none = objfs("diff", f"{changed}:main", "--from", "snapshot:new", "--json").json
    assert none == {"differences": []}


def test_a_dry_run_does_nothing(objfs: CommandLine, changed: Path) -> None:
    arguments = ("restore", f"{changed}:main", "--snapshot", "old", "--dry-run")
    lines = objfs(*arguments).out.splitlines()
    assert lines == [
        "replace    a  18 bytes -> 4 bytes",
        "add        b  4 bytes",
        "add        c  4 bytes",
        "remove     d/",
        "remove     moved  4 bytes",
        "remove     new  0 bytes",
    ]
    assert [each["kind"] for each in objfs(*arguments, "--json").json["actions"]] == [
        line.split()[0] for line in lines
    ]
    assert objfs("diff", f"{changed}:main", "--from", "snapshot:new").out == ""
    assert objfs("restore", f"{changed}:main", "--snapshot", "old").status == 0
    assert objfs(*arguments).out == ""
    elsewhere = objfs(*arguments, "--to", f"{changed}:main/copy").out.splitlines()
    assert [line.split()[:2] for line in elsewhere] == [
        ["add", "."],
        ["add", "a"],
        ["add", "b"],
        ["add", "c"],
        ["add", "same"],
    ]


def test_a_dry_run_of_a_version(objfs: CommandLine, changed: Path) -> None:
    versions = objfs("versions", f"{changed}:main/a", "--json").json["versions"]
    old = versions[-1]["version_id"]
    ran = objfs("restore", f"{changed}:main/a", "--version", old, "--dry-run")
    assert ran.out == "replace    a  18 bytes -> 4 bytes\n"
    wrong = objfs("restore", f"{changed}:main/same", "--version", "ffff", "--dry-run")
    assert "has no version" in wrong.err


def test_errors(objfs: CommandLine, changed: Path) -> None:
    assert objfs("diff", f"{changed}:main").status == 2
    assert "no time" in objfs("diff", f"{changed}:main", "--from", "whenever").err
    assert "neither" in objfs("diff", f"{changed}:main/x", "--from", "snapshot:old").err
    assert "no snapshot" in objfs("diff", f"{changed}:main", "--from", "snapshot:x").err
    ran = objfs("restore", f"{changed}:main/x", "--snapshot", "old", "--dry-run")
    assert "did not exist" in ran.err
