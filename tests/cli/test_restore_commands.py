"""`objfs restore` of moments, with nothing mounted."""

from pathlib import Path

import pytest

from objfs.volume.volume import Volume
from tests.cli.conftest import CALLER, CommandLine, put, with_volume


def names(store: Path) -> set[bytes]:
    async def work(volume: Volume) -> set[bytes]:
        return {name for name, _, _ in volume.list_directory(volume.root("main"), 0, 100)}

    found: set[bytes] = with_volume(store, work)
    return found


@pytest.fixture
def overwritten(objfs: CommandLine, store: Path) -> Path:
    """Two files, a snapshot of them, and what came over them."""
    put(store, b"a", b"letter")
    put(store, b"b", b"other")
    assert objfs("snapshot", "create", store, "good").status == 0
    put(store, b"a", b"encrypted")
    put(store, b"README", b"pay")

    async def remove(volume: Volume) -> None:
        await volume.unlink(volume.root("main"), b"b")

    with_volume(store, remove)
    return store


def test_a_bucket_is_again_what_a_snapshot_shows(objfs: CommandLine, overwritten: Path) -> None:
    ran = objfs("restore", f"{overwritten}:main", "--snapshot", "good")
    assert ran.status == 0
    assert "1 added, 1 replaced, 1 removed" in ran.out
    assert "stays in the history" in ran.out
    assert names(overwritten) == {b"a", b"b"}
    versions = objfs("versions", f"{overwritten}:main/a", "--json").json["versions"]
    assert [each["size"] for each in versions] == [6, 9, 6]


def test_one_file_at_a_time_or_elsewhere(
    objfs: CommandLine, overwritten: Path, tmp_path: Path
) -> None:
    done = objfs("restore", f"{overwritten}:main/a", "--snapshot", "good", "--to", tmp_path)
    assert (done.status, (tmp_path / "a").read_bytes()) == (0, b"letter"), done
    done = objfs("restore", f"{overwritten}:main/b", "--snapshot", "good", "--json")
    assert (done.json["added"], done.json["bytes"]) == (1, 5)
    assert names(overwritten) == {b"a", b"b", b"README"}
    objfs("restore", f"{overwritten}:main/a", "--at", "now", "--to", f"{overwritten}:main/c")
    assert objfs("versions", f"{overwritten}:main/c", "--json").json["versions"][0]["size"] == 9


def test_a_tree_goes_into_a_directory_under_its_own_name(objfs: CommandLine, store: Path) -> None:
    async def make(volume: Volume) -> None:
        root = volume.root("main")
        volume.mkdir(root, b"d", 0o755, CALLER)
        volume.mkdir(root, b"into", 0o755, CALLER)

    with_volume(store, make)
    objfs("snapshot", "create", store, "one")
    path = f"{store}:main/d"
    assert objfs("restore", path, "--snapshot", "one", "--to", f"{store}:main/into/").status == 0
    again = objfs("restore", path, "--snapshot", "one", "--to", f"{store}:main/into/")
    assert "into/d" in again.err or "there already" in again.err
    assert objfs("restore", path, "--snapshot", "one", "--to", f"{store}:main/x/y").status == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--at", "2126-01-01"), "future"),
        (("--at", "1970-01-02"), "before this store"),
        (("--at", "whenever"), "no time"),
        (("--snapshot", "none"), "no snapshot"),
        (("--at", "now"), "did not exist"),
    ],
)
def test_moments_that_cannot_be(
    objfs: CommandLine, overwritten: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    ran = objfs("restore", f"{overwritten}:main/b", *arguments)
    assert (ran.status, ran.out) == (1, "")
    assert complaint in ran.err


def test_what_a_snapshot_does_not_keep(objfs: CommandLine, overwritten: Path) -> None:
    objfs("snapshot", "create", f"{overwritten}:main/a", "part")
    assert objfs("restore", f"{overwritten}:main/a", "--snapshot", "part").status == 0
    for path in ("README", ""):
        ran = objfs("restore", f"{overwritten}:main/{path}", "--snapshot", "part")
        assert "does not keep" in ran.err


def test_wrong_usage(objfs: CommandLine, overwritten: Path) -> None:
    path = f"{overwritten}:main/a"
    assert objfs("restore", path).status == 2
    assert objfs("restore", path, "--at", "now", "--version", "1").status == 2


def test_a_symlink_cannot_go_outside_of_the_store(
    objfs: CommandLine, store: Path, tmp_path: Path
) -> None:
    async def link(volume: Volume) -> None:
        volume.symlink(volume.root("main"), b"link", b"nowhere", CALLER)

    with_volume(store, link)
    out = tmp_path / "out"
    ran = objfs("restore", f"{store}:main/link", "--at", "now", "--to", out)
    assert ran.status == 1
    assert "was no regular file" in ran.err
    assert not out.exists()
