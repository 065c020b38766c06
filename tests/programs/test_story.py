"""Three backups on three days, an attack, and one command that undoes it."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from objfs.cli.clock import VARIABLE
from tests.programs.drive import Drive, run

DAY_SECONDS = 86_400


@pytest.fixture
def on_day(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """`on_day(-2)`: what is mounted from now on lives two days ago."""

    def set_clock(day: int) -> None:
        monkeypatch.setenv(VARIABLE, str(-day * DAY_SECONDS))

    return set_clock


@contextmanager
def mounted(drive: Drive) -> Iterator[Path]:
    yield drive.mount()
    drive.umount()


def rsync(source: Path, target: Path) -> None:
    run("rsync", "-aHAX", "--delete", f"{source}/", target)


def differences(source: Path, target: Path) -> str:
    """What rsync would still have to do; nothing if the trees are equal in every byte."""
    return run(
        "rsync", "-aHAXn", "--checksum", "--delete", "--itemize-changes", f"{source}/", target
    )


def make_tree(top: Path) -> None:
    """A home: documents, a photo album with hard links and a symlink, modes and times."""
    for number in range(120):
        path = top / "documents" / f"{number % 6}" / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"document {number}\n".encode() * (number + 1))
    album = top / "photos" / "2019"
    album.mkdir(parents=True)
    for number in range(20):
        (album / f"{number}.jpg").write_bytes(os.urandom(50_000 + number))
    os.link(album / "3.jpg", album / "best.jpg")
    os.symlink("2019/3.jpg", top / "photos" / "cover.jpg")
    os.chmod(album, 0o2750)
    os.setxattr(album / "5.jpg", "user.place", b"Lisbon")
    os.utime(album / "7.jpg", ns=(10**18, 10**18 + 7))


def attack(top: Path) -> None:
    """What ransomware does: everything is overwritten, renamed, and a note is left."""
    for path in sorted(path for path in top.rglob("*") if path.is_file() and not path.is_symlink()):
        if path.stat().st_nlink == 1 or path.name.endswith(".jpg"):
            path.write_bytes(os.urandom(1000))
        path.rename(path.with_name(path.name + ".locked"))
    (top / "documents" / "READ_ME.txt").write_text("pay")


@pytest.mark.slow
def test_an_attack_is_undone_by_one_command(tmp_path: Path, on_day: Callable[[int], None]) -> None:
    source, saved = tmp_path / "source", tmp_path / "saved"
    saved.mkdir()
    on_day(-2)
    drive = Drive(tmp_path)
    try:
        make_tree(source)
        with mounted(drive) as top:
            rsync(source, top / "home")
        rsync(source, saved / "first")

        on_day(-1)
        for number in range(0, 120, 4):
            (source / "documents" / f"{number % 6}" / f"{number}.txt").write_text("rewritten")
        (source / "documents" / "new.txt").write_text("new")
        (source / "documents" / "0" / "6.txt").rename(source / "documents" / "0" / "moved.txt")
        shutil.rmtree(source / "photos")
        with mounted(drive) as top:
            rsync(source, top / "home")
        rsync(source, saved / "second")

        on_day(0)
        with mounted(drive) as top:
            home = top / "home"
            (source / "documents" / "new.txt").write_text("newer")
            rsync(source, home)
            drive.objfs("snapshot", "create", top, "before")
            attack(home)
            assert differences(source, home)
            drive.objfs("restore", home, "--snapshot", "before")
            assert not differences(source, home)
            check_days(drive, home, saved)
            drive.objfs("restore", home, "--at", "now-36h")
            assert not differences(saved / "first", home)
            drive.objfs("restore", home, "--snapshot", "before")
            assert not differences(source, home)
        with mounted(drive) as top:
            assert not differences(source, top / "home")
            assert not differences(saved / "first", top / ".objfs" / "at" / "now-36h" / "home")
            deleted = top / ".objfs" / "deleted" / "home" / "photos" / "2019"
            assert (deleted / "5.jpg").read_bytes() == (
                saved / "first" / "photos" / "2019" / "5.jpg"
            ).read_bytes()
    finally:
        drive.close()


def check_days(drive: Drive, home: Path, saved: Path) -> None:
    """What `diff` says of the second day, against what was done."""
    found = drive.json("diff", home, "--from", "now-36h", "--to", "now-12h")["differences"]
    by_kind: dict[str, set[str]] = {}
    for each in found:
        by_kind.setdefault(each["kind"], set()).add(each["path"])
    assert "home/documents/new.txt" in by_kind["added"]
    assert "home/photos/2019/5.jpg" in by_kind["deleted"]
    assert "home/documents/4/4.txt" in by_kind["changed"]
    past = home.parent / ".objfs" / "at"
    assert not differences(saved / "first", past / "now-36h" / "home")
    assert not differences(saved / "second", past / "now-12h" / "home")
