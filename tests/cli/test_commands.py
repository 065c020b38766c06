"""Every command on real stores, with nothing mounted; and what each says of bad input."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from objfs.cli.opening import take_lock
from objfs.cli.store_directory import read_store
from objfs.volume.volume import Volume
from tests.cli.conftest import CommandLine, empty_store, put, with_volume


def version_ids(objfs: CommandLine, path: object) -> list[str]:
    """Newest first."""
    return [entry["version_id"] for entry in objfs("versions", path, "--json").json["versions"]]


# --- The command itself ---------------------------------------------------------------------------


def test_version_and_help(objfs: CommandLine) -> None:
    assert objfs("--version").out.startswith("objfs 0.")
    for command in ("--help", "init --help", "mount -h", "bucket create --help"):
        ran = objfs(*command.split())
        assert ran.status == 0
        assert "Usage:" in ran.out


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing"],
        ["init"],
        ["init", "a", "b"],
        ["status", "--loud", "x"],
        ["bucket", "set", "s", "main"],
        ["bucket", "create", "s", "abc", "--quota", "many"],
        ["bucket", "create", "s", "abc", "--versioning", "maybe"],
        ["restore", "x"],
        ["completion", "tcsh"],
        ["mount", "s", "m", "-o", "frobnicate"],
    ],
)
def test_wrong_usage_is_2(objfs: CommandLine, arguments: list[str]) -> None:
    ran = objfs(*arguments)
    assert ran.status == 2
    assert ran.err.startswith("objfs: ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(objfs: CommandLine, shell: str) -> None:
    assert f"_OBJFS_COMPLETE={shell}_complete" in objfs("completion", shell).out


def test_completion_completes(objfs: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_OBJFS_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "objfs vers")
    monkeypatch.setenv("COMP_CWORD", "1")
    with pytest.raises(SystemExit) as ended:
        objfs()
    assert ended.value.code == 0


def test_an_error_of_the_system_is_one_line(objfs: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ran = objfs("init", tmp_path / "file/store")
    assert (ran.status, ran.out) == (1, "")
    assert "Not a directory" in ran.err


def test_a_bug_is_one_line_too(
    objfs: CommandLine, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("objfs.cli.store_commands.run_command", fail)
    ran = objfs("status", store)
    assert ran.status == 1
    assert "ZeroDivisionError('oh')" in ran.err
    assert "OBJFS_TRACEBACK=1" in ran.err


# --- init, status, sync ---------------------------------------------------------------------------


def test_init_makes_a_store_with_the_bucket_main(objfs: CommandLine, tmp_path: Path) -> None:
    ran = objfs("init", tmp_path / "store")
    assert ran.status == 0
    assert "objfs mount" in ran.out
    buckets = objfs("bucket", "list", tmp_path / "store", "--json").json["buckets"]
    assert [(each["name"], each["versioning"]) for each in buckets] == [("main", "on")]


def test_init_refuses_a_directory_in_use(objfs: CommandLine, store: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*")}
    ran = objfs("init", store)
    assert ran.status == 1
    assert "is a store already" in ran.err
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*")} == before


@pytest.mark.parametrize("existed", [True, False])
def test_init_that_fails_leaves_nothing(
    objfs: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, existed: bool
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("objfs.cli.store_commands.run_command", fail)
    path = tmp_path / "store"
    if existed:
        path.mkdir()
    ran = objfs("init", path)
    assert ran.status == 1
    assert "No space left" in ran.err
    assert path.exists() == existed
    assert not existed or not list(path.iterdir())


def test_status_tells_how_a_store_is(objfs: CommandLine, store: Path) -> None:
    put(store, b"a", b"x" * 5000, b"y" * 3000)
    status = objfs("status", store, "--json").json
    assert status["store"] == str(store)
    assert status["state"] == "writable"
    assert status["synced_sequence"] == status["sequence"] > 0
    assert status["damage"] == []
    assert status["buckets"]["main"] == {
        "live_bytes": 3000,
        "past_bytes": 5000,
        "objects": 1,
    }
    text = objfs("status", store).out
    assert "1 files, 2.9 KiB; old versions 4.9 KiB" in text
    assert "none found" in text


def test_sync_says_nothing(objfs: CommandLine, store: Path) -> None:
    assert objfs("sync", store) == (0, "", "")


@pytest.mark.parametrize("command", ["status", "sync", "bucket list", "rebuild"])
def test_what_is_no_store_is_refused(objfs: CommandLine, tmp_path: Path, command: str) -> None:
    for path, message in (
        (tmp_path, "no objfs store"),
        (tmp_path / "none", "no such directory"),
    ):
        ran = objfs(*command.split(), path)
        assert (ran.status, ran.out) == (1, "")
        assert message in ran.err


def test_a_newer_store_is_refused_untouched(objfs: CommandLine, store: Path) -> None:
    file = store / "objfs.toml"
    file.write_text(file.read_text().replace("format = 1", "format = 9"))
    before = sorted((path, path.stat().st_mtime_ns) for path in store.rglob("*"))
    for command in ("status", "sync", "rebuild"):
        ran = objfs(command, store)
        assert ran.status == 1
        assert "use the version of objfs that wrote it" in ran.err
    assert sorted((path, path.stat().st_mtime_ns) for path in store.rglob("*")) == before


def test_a_store_without_segments_is_not_started_anew(objfs: CommandLine, store: Path) -> None:
    (store / "segments").rename(store / "elsewhere")
    ran = objfs("status", store)
    assert ran.status == 1
    assert "segments/ is missing" in ran.err
    assert not (store / "segments").exists()


def test_a_held_store_names_its_holder(
    objfs: CommandLine, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("objfs.cli.access.STORE_HELD_SECONDS_MAX", 0.1)
    monkeypatch.setattr(sys, "argv", ["/usr/bin/objfs", "mount", str(store), "drive"])
    with take_lock(read_store(store)):
        for arguments in (["status", store], ["rebuild", store]):
            ran = objfs(*arguments)
            assert ran.status == 1
            assert f"process {os.getpid()} " in ran.err
            assert f"objfs mount {store} drive" in ran.err
    assert objfs("status", store).status == 0


# --- buckets --------------------------------------------------------------------------------------


def test_the_life_of_a_bucket(objfs: CommandLine, store: Path) -> None:
    assert objfs("bucket", "create", store, "photos", "--quota", "1.5M").status == 0
    ran = objfs("bucket", "set", store, "photos", "--versioning", "suspended")
    assert ran.out == "bucket photos: versioning suspended, quota 1.5 MiB\n"
    assert objfs("bucket", "set", store, "photos", "--quota", "0").out.endswith("quota none\n")
    photos = objfs("bucket", "list", store, "--json").json["buckets"][1]
    assert photos["name"] == "photos"
    assert photos["versioning"] == "suspended"
    assert "photos" in objfs("bucket", "list", store).out
    put(store, b"a.jpg", b"x", bucket="photos")
    ran = objfs("bucket", "delete", store, "photos")
    assert ran.status == 1
    assert "has files" in ran.err
    assert objfs("bucket", "create", store, "empty").status == 0
    assert objfs("bucket", "delete", store, "empty").status == 0
    names = [each["name"] for each in objfs("bucket", "list", store, "--json").json["buckets"]]
    assert names == ["main", "photos"]


def test_a_bucket_with_a_history_goes_only_by_force(objfs: CommandLine, store: Path) -> None:
    async def make_and_remove(volume: Volume) -> None:
        root = volume.root("main")
        await volume.unlink(root, b"gone")

    put(store, b"gone", b"x")
    with_volume(store, make_and_remove)
    ran = objfs("bucket", "delete", store, "main")
    assert ran.status == 1
    assert "--force" in ran.err
    assert objfs("bucket", "delete", store, "main", "--force").status == 0


@pytest.mark.parametrize("name", ["ab", "Photos", "a_b", "10.0.0.1", "xn--a", "a" * 64])
def test_a_name_that_s3_refuses_is_refused(objfs: CommandLine, store: Path, name: str) -> None:
    ran = objfs("bucket", "create", store, name)
    assert ran.status == 1
    assert "cannot be the name of a bucket" in ran.err


@pytest.mark.parametrize("command", ["set --versioning on", "delete"])
def test_a_bucket_that_does_not_exist(objfs: CommandLine, store: Path, command: str) -> None:
    verb, *options = command.split()
    ran = objfs("bucket", verb, store, "nothing", *options)
    assert ran.status == 1
    assert "no bucket 'nothing'" in ran.err


def test_a_bucket_is_made_once(objfs: CommandLine, store: Path) -> None:
    ran = objfs("bucket", "create", store, "main")
    assert ran.status == 1
    assert "exists" in ran.err


# --- versions, cat, restore -----------------------------------------------------------------------


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
        ("{store}:main", "a file is needed"),
        ("{store}:main/", "a file is needed"),
        ("{store}:nothing/a", "no bucket"),
        ("{store}:main/" + "n" * 256, "a name has at most 255 bytes"),
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


# --- rebuild --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_rebuild_makes_the_index_again(objfs: CommandLine, store: Path) -> None:
    put(store, b"a", b"one", b"two")
    before = objfs("versions", f"{store}:main/a", "--json").json
    shutil.rmtree(store / "index")
    ran = objfs("rebuild", store)
    assert ran.status == 0
    assert "changes replayed" in ran.out
    assert objfs("versions", f"{store}:main/a", "--json").json == before
    assert objfs("rebuild", store, "--json").json["replayed"] > 0


def test_rebuild_makes_a_lost_description_again(objfs: CommandLine, store: Path) -> None:
    put(store, b"a", b"one")
    known = read_store(store)
    (store / "objfs.toml").unlink()
    ran = objfs("status", store)
    assert ran.status == 1
    assert f"objfs rebuild {store}" in ran.err
    assert objfs("rebuild", store).status == 0
    assert read_store(store) == known
    assert len(version_ids(objfs, f"{store}:main/a")) == 1


def test_rebuild_will_not_mix_stores(objfs: CommandLine, store: Path, tmp_path: Path) -> None:
    assert objfs("init", tmp_path / "two").status == 0
    (store / "objfs.toml").unlink()
    foreign = next((tmp_path / "two/segments").iterdir())
    shutil.copy(foreign, store / "segments/00000000000000ff.journal")
    ran = objfs("rebuild", store)
    assert ran.status == 1
    assert "segments of 2 stores" in ran.err


def test_rebuild_of_nothing(objfs: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "segments").mkdir()
    ran = objfs("rebuild", tmp_path)
    assert ran.status == 1
    assert "no segment with a readable header" in ran.err


def test_damage_is_exit_status_1(objfs: CommandLine, store: Path) -> None:
    put(store, b"a", b"one")
    put(store, b"b", b"two")
    first = min((store / "segments").iterdir())
    data = bytearray(first.read_bytes())
    data[170] ^= 1  # in the payload of the first META
    first.write_bytes(data)
    ran = objfs("inspect", first, "--records")
    assert ran.status == 1
    assert "DAMAGED" in ran.out
    ran = objfs("rebuild", store, "--json")
    assert ran.status == 1
    assert ran.json["damage"]


# --- inspect, bench -------------------------------------------------------------------------------


def test_inspect_shows_a_segment(objfs: CommandLine, store: Path) -> None:
    put(store, b"a", b"x" * 5000)
    newest = max((store / "segments").iterdir())
    form = objfs("inspect", newest, "--records", "--json").json
    assert form["sealed"]
    assert not form["damaged"]
    assert form["records"]["META"] >= 1
    assert form["records"]["FOOTER"] == 1
    assert len(form["entries"]) == sum(form["records"].values())
    assert any(entry["owner"].startswith("content ") for entry in form["entries"])
    table = objfs("inspect", newest, "--records").out
    assert "FOOTER" in table
    assert "sealed" in table
    assert "entries" not in objfs("inspect", newest, "--json").json


def test_inspect_of_something_else(objfs: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"no segment" * 100)
    ran = objfs("inspect", tmp_path / "file")
    assert ran.status == 1
    assert "does not verify" in ran.out
    ran = objfs("inspect", tmp_path / "none")
    assert ran.status == 1
    assert "no such file" in ran.err


def test_bench_of_any_directory(objfs: CommandLine, tmp_path: Path) -> None:
    arguments = ["bench", tmp_path, "--files", 3, "--mebibytes", 1]
    figures = objfs(*arguments, "--json").json["figures"]
    assert [figure["unit"] for figure in figures] == ["files/s"] * 5 + ["MiB/s"] * 2
    assert all(figure["rate"] > 0 for figure in figures)
    assert "create 4 KiB files" in objfs(*arguments).out
    assert list(tmp_path.iterdir()) == []
    assert objfs("bench", tmp_path / "none").status == 1


def test_init_and_a_store_without_its_main_bucket(objfs: CommandLine, tmp_path: Path) -> None:
    directory = empty_store(tmp_path / "store")
    assert objfs("bucket", "list", directory.path, "--json").json == {"buckets": []}
