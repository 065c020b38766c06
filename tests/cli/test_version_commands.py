"""The past of a file: `versions`, `cat` and `restore` on real stores, with nothing mounted."""

import os
from pathlib import Path

import pytest

from objfs.volume.volume import Volume
from tests.cli.conftest import CommandLine, put, version_ids, with_volume


def test_versions_newest_first(objfs: CommandLine, store: Path) -> None:
    put(store, b"a", b"one", b"second", b"")
    entries = objfs("versions", f"{store}:main/a", "--json").json["versions"]
    assert [entry["size"] for entry in entries] == [0, 6, 3]
    assert [entry["latest"] for entry in entries] == [True, False, False]
    assert all(
        set(entry) == {"version_id", "time", "size", "etag", "latest", "deleted"}
        for entry in entries
    )
    assert sorted((entry["time"] for entry in entries), reverse=True) == [
        entry["time"] for entry in entries
    ]
    table = objfs("versions", f"{store}:main/a").out.splitlines()
    assert table[0].split() == ["VERSION", "TIME", "SIZE"]
    assert table[1].endswith("latest")
    assert len(table) == 4


def test_versions_in_pages(
    objfs: CommandLine, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, b"a", *(b"x" * count for count in range(5)))
    monkeypatch.setattr("objfs.maint.commands.CONTROL_PAGE_ENTRIES", 2)
    entries = objfs("versions", f"{store}:main/a", "--json").json["versions"]
    assert [entry["size"] for entry in entries] == [4, 3, 2, 1, 0]


def test_a_deleted_file_has_versions(objfs: CommandLine, store: Path) -> None:
    put(store, b"a", b"kept")

    async def remove(volume: Volume) -> None:
        await volume.unlink(volume.root("main"), b"a")

    with_volume(store, remove)
    deleted, first = objfs("versions", f"{store}:main/a", "--json").json["versions"]
    assert (deleted["deleted"], deleted["latest"], first["deleted"]) == (True, True, False)
    assert "latest deleted" in objfs("versions", f"{store}:main/a").out
    assert objfs("cat", f"{store}:main/a", "--version", first["version_id"]).out == "kept"
    assert objfs("cat", f"{store}:main/a", "--version", deleted["version_id"]).status == 1


def test_cat_writes_the_bytes(
    objfs: CommandLine, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, b"a", b"0123456789" * 7, b"now")
    monkeypatch.setattr("objfs.maint.commands.CONTROL_READ_BYTES_MAX", 16)
    _, old = version_ids(objfs, f"{store}:main/a")
    assert objfs("cat", f"{store}:main/a", "--version", old).out == "0123456789" * 7


def test_cat_of_an_empty_version(objfs: CommandLine, store: Path) -> None:
    put(store, b"a", b"")
    (only,) = version_ids(objfs, f"{store}:main/a")
    assert objfs("cat", f"{store}:main/a", "--version", only) == (0, "", "")


@pytest.mark.parametrize("version", ["zz", "0", "-1", "ffffff", "1" * 40])
def test_a_version_that_does_not_exist(objfs: CommandLine, store: Path, version: str) -> None:
    put(store, b"a", b"x")
    for command in ("cat", "restore"):
        ran = objfs(command, f"{store}:main/a", "--version", version)
        assert (ran.status, ran.out) == (1, "")


def test_restore_brings_a_version_back(objfs: CommandLine, store: Path) -> None:
    put(store, b"a", b"first", b"second")
    path = f"{store}:main/a"
    _, old = version_ids(objfs, path)
    assert objfs("restore", path, "--version", old).status == 0
    ids = version_ids(objfs, path)
    assert len(ids) == 3
    assert objfs("cat", path, "--version", ids[0]).out == "first"


@pytest.mark.slow
def test_restore_to_another_key_and_bucket(objfs: CommandLine, store: Path) -> None:
    put(store, b"a", b"first", b"second")
    objfs("bucket", "create", store, "other")
    _, old = version_ids(objfs, f"{store}:main/a")
    for destination, at in (
        (f"{store}:main/b", f"{store}:main/b"),
        (f"{store}:other/c", f"{store}:other/c"),
        (f"{store}:other", f"{store}:other/a"),
        (f"{store}:other/", f"{store}:other/a"),
    ):
        ran = objfs("restore", f"{store}:main/a", "--version", old, "--to", destination)
        assert ran.status == 0, ran.err
        newest = version_ids(objfs, at)[0]
        assert objfs("cat", at, "--version", newest).out == "first"
    assert len(version_ids(objfs, f"{store}:main/a")) == 2


def test_restore_to_a_file_outside(objfs: CommandLine, store: Path, tmp_path: Path) -> None:
    put(store, b"a", b"first" * 1000, b"second")
    _, old = version_ids(objfs, f"{store}:main/a")
    out = tmp_path / "out"
    out.mkdir()
    for destination, file in ((out / "b", out / "b"), (out, out / "a")):
        ran = objfs("restore", f"{store}:main/a", "--version", old, "--to", destination)
        assert ran.status == 0, ran.err
        assert file.read_bytes() == b"first" * 1000
    ran = objfs("restore", f"{store}:main/a", "--version", old, "--to", out)
    assert ran.status == 1
    assert "something already" in ran.err
    ran = objfs("restore", f"{store}:main/a", "--version", old, "--to", tmp_path / "no/b")
    assert ran.status == 1
    assert "no such directory" in ran.err
    assert sorted(os.listdir(out)) == ["a", "b"]


def test_a_copy_that_fails_leaves_nothing(objfs: CommandLine, store: Path, tmp_path: Path) -> None:
    put(store, b"a", b"first")
    ran = objfs("restore", f"{store}:main/a", "--version", "fff", "--to", tmp_path / "b")
    assert ran.status == 1
    assert not (tmp_path / "b").exists()


def test_restore_stays_in_its_store(objfs: CommandLine, store: Path, tmp_path: Path) -> None:
    put(store, b"a", b"first")
    (only,) = version_ids(objfs, f"{store}:main/a")
    assert objfs("init", tmp_path / "two").status == 0
    ran = objfs(
        "restore", f"{store}:main/a", "--version", only, "--to", f"{tmp_path / 'two'}:main/a"
    )
    assert ran.status == 1
    assert "another store" in ran.err


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("{store}:main/none", "never"),
        ("{store}:nothing/a", "no bucket"),
        ("{store}:main/" + "n" * 256, "never"),  # as a key of S3 it could be
        ("{store}:main/" + "d/" * 2100 + "f", "a path has at most 4096 bytes"),
        ("/etc/passwd", "neither inside an objfs mount nor STORE:BUCKET/KEY"),
        ("/none:main/a", "neither inside an objfs mount nor STORE:BUCKET/KEY"),
    ],
)
def test_a_path_to_nothing(objfs: CommandLine, store: Path, path: str, message: str) -> None:
    ran = objfs("versions", path.format(store=store))
    assert (ran.status, ran.out) == (1, "")
    assert message in ran.err


def test_names_are_bytes(objfs: CommandLine, store: Path) -> None:
    name = b"gr\xfcn \xe2\x82\xac:x"
    put(store, name, b"x", b"y")
    _, old = version_ids(objfs, f"{store}:main/{os.fsdecode(name)}")
    assert objfs("cat", f"{store}:main/{os.fsdecode(name)}", "--version", old).out == "x"


def test_a_store_whose_path_has_a_colon(objfs: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "a:b"
    assert objfs("init", path).status == 0
    put(path, b"f", b"x")
    assert len(version_ids(objfs, f"{path}:main/f")) == 1
    assert objfs("status", path).status == 0


def test_what_changed_beneath_a_directory(objfs: CommandLine, store: Path) -> None:
    """S6.9"""
    put(store, b"a", b"one", b"second")
    put(store, b"b", b"x")

    async def rename(volume: Volume) -> None:
        await volume.rename(volume.root("main"), b"b", volume.root("main"), b"c")

    with_volume(store, rename)
    answer = objfs("versions", f"{store}:main", "--json").json
    assert [(each["kind"], each["path"], each["size"]) for each in answer["changes"]] == [
        ("renamed", "c", 1),
        ("created", "b", 1),
        ("changed", "a", 6),
        ("created", "a", 3),
    ]
    assert answer["next"] is None
    first = objfs("versions", f"{store}:main", "--json", "--limit", "3").json
    assert first["changes"] == answer["changes"][:3]
    rest = objfs("versions", f"{store}:main", "--json", "--before", first["next"]).json
    assert rest == {"changes": answer["changes"][3:], "next": None}
    table = objfs("versions", f"{store}:main/", "--limit", "1")
    assert "(was b)" in table.out
    assert f"--before {answer['changes'][0]['version_id']}" in table.err


def test_pages_of_a_file(objfs: CommandLine, store: Path) -> None:
    put(store, b"a", b"one", b"second", b"the third")
    path = f"{store}:main/a"
    ids = version_ids(objfs, path)
    some = objfs("versions", path, "--limit", "1", "--before", ids[0], "--json").json["versions"]
    assert [each["version_id"] for each in some] == ids[1:2]
