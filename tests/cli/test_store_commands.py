"""Every command on real stores, with nothing mounted; and what each says of bad input."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from objfs.cli.opening import take_lock
from objfs.cli.store_directory import read_store
from objfs.meta.tables import USAGE
from objfs.volume.volume import Volume
from tests.cli.conftest import CommandLine, empty_store, put, version_ids, with_volume

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


def test_a_recount_compares(objfs: CommandLine, store: Path) -> None:
    put(store, b"a", b"x" * 5000, b"y" * 3000)
    ran = objfs("status", store, "--recount", "--json")
    assert ran.status == 0
    figures = {"live_bytes": 3000, "past_bytes": 5000, "objects": 1}
    assert ran.json["recount"] == {
        "exact": True,
        "buckets": {"main": {"counted": figures, "kept": figures}},
    }
    assert "all right" in objfs("status", store, "--recount").out

    async def miscount(volume: Volume) -> None:
        with volume.core.database.change() as change:
            (row,) = change.scan(USAGE)
            change.put(replace(row, objects=7))

    with_volume(store, miscount)
    ran = objfs("status", store, "--recount")
    assert ran.status == 1
    assert ran.out.splitlines()[-1].split() == ["recount", "main"]


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


def test_history_goes_on_after_damage(objfs: CommandLine, store: Path) -> None:
    """S4.4"""
    for name in (b"a", b"b", b"c"):
        put(store, name, b"of " + name)
    # Each opening wrote a segment of its own; the middle one is damaged in its first META.
    damaged = next(path for path in (store / "segments").iterdir() if b"of b" in path.read_bytes())
    entries = objfs("inspect", damaged, "--records", "--json").json["entries"]
    meta = next(entry for entry in entries if entry["kind"] == "META")
    flip(damaged, meta["offset"] + meta["length"] - 1)
    ran = objfs("rebuild", store, "--json")
    assert ran.status == 1
    assert len(ran.json["damage"]) == 1
    assert ran.json["missing_metas"] == 1
    for path, content in ((f"{store}:main/a", "of a"), (f"{store}:main/c", "of c")):
        (only,) = version_ids(objfs, path)
        assert objfs("cat", path, "--version", only).out == content


def flip(file: Path, offset: int) -> None:
    """Damage one byte."""
    data = bytearray(file.read_bytes())
    data[offset] ^= 1
    file.write_bytes(data)


def test_damage_is_exit_status_1(objfs: CommandLine, store: Path) -> None:
    put(store, b"a", b"one")
    put(store, b"b", b"two")
    first = min((store / "segments").iterdir())
    flip(first, 170)  # in the payload of the first META
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
