"""Snapshots, restores and differences on a real mount, with the kernel's caches in the way."""

import os
import shutil
from pathlib import Path

import pytest

from tests.programs.drive import OBJFS, Drive, run, tree_of

pytestmark = pytest.mark.slow


@pytest.fixture
def documents(drive: Drive, tmp_path: Path) -> tuple[Path, Path]:
    """A tree in the mount, and the same outside of it."""
    original = tmp_path / "original"
    original.mkdir()
    for name in ("letters", "photos", "photos/2026"):
        (original / name).mkdir()
    for number in range(60):
        (original / "letters" / f"{number}.txt").write_text(f"letter {number}\n" * number)
        (original / "photos" / "2026" / f"{number}.jpg").write_bytes(os.urandom(2000 + number))
    os.link(original / "letters" / "7.txt", original / "hard link")
    (original / "symlink").symlink_to("letters/3.txt")
    os.mkfifo(original / "fifo", 0o640)
    (original / "letters" / "9.txt").chmod(0o4750)
    os.setxattr(original / "letters" / "8.txt", "user.colour", b"blue")
    os.utime(original / "photos", ns=(10**18, 10**18))
    run("cp", "-a", original, drive.mountpoint / "docs")
    return drive.mountpoint / "docs", original


def same(docs: Path, original: Path) -> None:
    """Names, bytes, links, modes, owners, times, attributes: as rsync sees them."""
    assert run("rsync", "-aHAXn", "--checksum", "--delete", "-i", f"{original}/", f"{docs}/") == ""
    assert tree_of(docs) == tree_of(original)


def encrypt(docs: Path) -> None:
    """What ransomware does: everything is overwritten, renamed or gone."""
    for path in sorted(docs.rglob("*.txt")):
        path.write_bytes(os.urandom(path.stat().st_size + 5))
        path.rename(path.with_suffix(".locked"))
    for path in sorted(docs.rglob("*.jpg")):
        with path.open("r+b") as file:
            file.write(os.urandom(500))
    shutil.rmtree(docs / "photos" / "2026", ignore_errors=False)
    (docs / "photos" / "2026").write_text("a file now")
    (docs / "README-PAY.txt").write_text("pay")
    (docs / "symlink").unlink()


def test_a_tree_is_back_after_everything_was_overwritten(
    drive: Drive, documents: tuple[Path, Path], tmp_path: Path
) -> None:
    """S8.3: seen at once in the mount that was used all the time; and undone by a restore."""
    docs, original = documents
    drive.objfs("snapshot", "create", docs, "good")
    encrypt(docs)
    spoilt = tmp_path / "spoilt"
    run("cp", "-a", docs, spoilt)
    drive.objfs("snapshot", "create", docs, "bad")
    ino = docs.stat().st_ino
    planned = drive.json("restore", docs, "--snapshot", "good", "--dry-run")["actions"]
    assert {each["kind"] for each in planned} >= {"add", "remove"}
    tree_of(docs)  # the kernel knows all of it
    done = drive.json("restore", docs, "--snapshot", "good")
    same(docs, original)
    assert docs.stat().st_ino == ino
    assert done["added"] >= 120
    assert drive.json("diff", docs, "--from", "snapshot:good") == {"differences": []}
    drive.objfs("restore", docs, "--snapshot", "bad")
    same(docs, spoilt)
    shutil.rmtree(docs)
    drive.objfs("restore", docs, "--snapshot", "good")
    same(docs, original)
    drive.remount()
    same(docs, original)


def test_who_has_a_file_open_keeps_it(drive: Drive, documents: tuple[Path, Path]) -> None:
    """S8.3, S8.1: what was written and not flushed yet is in the snapshot and in the history."""
    docs, _ = documents
    path = docs / "letters" / "5.txt"
    old = path.read_bytes()
    drive.objfs("snapshot", "create", docs, "first")
    with path.open("r+b", buffering=0) as file:
        file.write(b"WRITTEN")
        drive.objfs("snapshot", "create", docs, "second")
        file.write(b" LATER")
        drive.objfs("restore", path, "--snapshot", "first")
        assert path.read_bytes() == old
        file.seek(0)
        assert file.read(13) == b"WRITTEN LATER"
        file.write(b"!")
    assert path.read_bytes() == old
    drive.objfs("restore", path, "--snapshot", "second")
    assert path.read_bytes()[:13] == b"WRITTEN" + old[7:13]
    assert path.stat().st_size == len(old)
    sizes = [each["size"] for each in drive.json("versions", path)["versions"]]
    assert len(sizes) >= 4


def test_elsewhere_and_below_itself(drive: Drive, documents: tuple[Path, Path]) -> None:
    """S8.4: no data is copied."""
    docs, original = documents
    drive.objfs("snapshot", "create", drive.mountpoint, "good")
    encrypt(docs)
    drive.objfs("sync", drive.mountpoint)
    segments = sum(path.stat().st_blocks for path in (drive.store / "segments").iterdir())
    drive.objfs("restore", docs, "--snapshot", "good", "--to", drive.mountpoint / "again")
    same(drive.mountpoint / "again", original)
    drive.objfs("restore", docs, "--snapshot", "good", "--to", docs)
    same(docs / "docs", original)
    grown = sum(path.stat().st_blocks for path in (drive.store / "segments").iterdir()) - segments
    assert grown * 512 < 400_000
    said = run(OBJFS, "restore", docs, "--snapshot", "good", "--to", docs, check=False)
    assert "there already" in said
    (drive.mountpoint / "again" / "letters" / "1.txt").write_text("changed")
    assert (docs / "docs" / "letters" / "1.txt").read_text() == "letter 1\n"


def test_what_happened_is_told(drive: Drive, documents: tuple[Path, Path]) -> None:
    """S8.6, S6.9"""
    docs, _ = documents
    drive.objfs("snapshot", "create", docs, "before")
    (docs / "letters" / "1.txt").write_text("something else")
    (docs / "letters" / "2.txt").rename(docs / "second.txt")
    (docs / "letters" / "3.txt").unlink()
    (docs / "new").mkdir()
    assert drive.objfs("diff", docs, "--from", "snapshot:before").splitlines() == [
        "changed    letters/1.txt  9 bytes -> 14 bytes",
        "deleted    letters/3.txt  27 bytes",
        "added      new/",
        "renamed    second.txt  (was letters/2.txt)  18 bytes",
    ]
    newest = drive.json("versions", docs, "--limit", "4")["changes"]
    assert {(each["kind"], each["path"]) for each in newest} >= {
        ("created", f"{docs.name}/new/"),
        ("deleted", f"{docs.name}/letters/3.txt"),
        ("renamed", f"{docs.name}/second.txt"),
    }
