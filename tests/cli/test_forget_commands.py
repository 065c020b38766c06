"""`objfs forget` and `objfs du`, on stores that nobody has open."""

from pathlib import Path

import pytest

from tests.cli.conftest import CommandLine, put, version_ids


def test_forgetting_one_version(objfs: CommandLine, store: Path) -> None:
    for text in (b"one", b"two!", b"three"):
        put(store, b"f", text)
    ids = version_ids(objfs, f"{store}:main/f")
    ran = objfs("forget", f"{store}:main/f", "--version", ids[1], "--dry-run")
    assert (ran.status, ran.out) == (0, "would forget 1 version (4 bytes)\n")
    assert version_ids(objfs, f"{store}:main/f") == ids
    assert objfs("forget", f"{store}:main/f", "--version", ids[1]).out.startswith("forgot 1 ver")
    assert version_ids(objfs, f"{store}:main/f") == [ids[0], ids[2]]
    again = objfs("forget", f"{store}:main/f", "--version", ids[1])
    assert again.status == 1
    assert "objfs versions" in again.err
    current = objfs("forget", f"{store}:main/f", "--version", ids[0])
    assert current.status == 1
    assert "delete the file first" in current.err
    assert objfs("forget", f"{store}:main/f", "--version", "soon").status == 1


def test_forgetting_and_what_it_takes(objfs: CommandLine, store: Path) -> None:
    for text in (b"one", b"two!", b"three"):
        put(store, b"f", text)
    before = objfs("du", store, "--json").json
    assert (before["files"], before["versions"]) == (1, 3)
    assert (before["current_bytes"], before["past_bytes"]) == (5, 7)
    assert before["reclaimable_stored_bytes"] == before["past_stored_bytes"] > 0
    assert objfs("du", f"{store}:main", "--json").json == before
    assert objfs("du", f"{store}:main/f", "--json").json == before
    assert "reclaimable, stored" in objfs("du", store).out
    answer = objfs("forget", f"{store}:main/f", "--json").json
    assert (answer["entries"], answer["versions"], answer["bytes"]) == (2, 2, 7)
    after = objfs("du", store, "--json").json
    assert (after["versions"], after["past_stored_bytes"]) == (1, 0)
    assert after["current_stored_bytes"] == before["current_stored_bytes"]
    assert objfs("forget", f"{store}:main/g").status == 1
    assert objfs("du", f"{store}:main/g").status == 1


def test_what_snapshots_show_is_told(objfs: CommandLine, store: Path) -> None:
    put(store, b"f", b"one")
    assert objfs("snapshot", "create", store, "kept").status == 0
    put(store, b"f", b"two")
    ids = version_ids(objfs, f"{store}:main/f")
    ran = objfs("forget", f"{store}:main/f", "--version", ids[1])
    assert ran.status == 1
    assert "snapshot 'kept'" in ran.err
    assert "1 more are shown by snapshots" in objfs("forget", f"{store}:main/f").out
    assert version_ids(objfs, f"{store}:main/f") == ids


def test_a_terminal_is_asked(
    objfs: CommandLine, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, b"f", b"one")
    put(store, b"f", b"two")
    ids = version_ids(objfs, f"{store}:main/f")
    monkeypatch.setattr("objfs.cli.forget_commands._is_asked", lambda: True)
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: "n")
    assert objfs("forget", f"{store}:main/f").status == 130
    assert version_ids(objfs, f"{store}:main/f") == ids
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: "y")
    assert objfs("forget", f"{store}:main/f").status == 0
    assert version_ids(objfs, f"{store}:main/f") == ids[:1]
