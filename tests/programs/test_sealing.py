"""One version for each change, whatever program makes it: rsync in its modes, editors in their ways
to save. Histories are read when the drive is unmounted, all at once."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from objfs.volume.volume import Volume
from tests.cli.conftest import with_volume
from tests.programs.drive import Drive, run

pytestmark = pytest.mark.slow

KIB = 1 << 10
RUNS = 3
MODES: dict[str, tuple[str, ...]] = {
    "default": (),
    "inplace": ("--inplace", "--no-whole-file"),
    "inplace-whole": ("--inplace", "--whole-file"),
    "append": ("--append",),
    "append-verify": ("--append-verify",),
    "partial": ("--partial", "--no-whole-file"),
    "partial-dir": ("--partial-dir=.partial", "--no-whole-file"),
    "delay-updates": ("--delay-updates",),
    "whole-file": ("--whole-file",),
    "sparse": ("-S",),
    "sparse-inplace": ("-S", "--inplace"),
    "fsync": ("--fsync",),
    "fsync-inplace": ("--fsync", "--inplace"),
    "checksum": ("--checksum", "--no-whole-file"),
    "links": ("-H", "-A", "-X"),
}


def histories(drive: Drive, *paths: str) -> dict[str, list[bytes | None]]:
    """What the versions of paths of the bucket hold, newest first; None for a deletion.
    Unmounts."""
    counts = {
        path: len(drive.json("versions", drive.mountpoint / path)["versions"]) for path in paths[:1]
    }
    drive.umount()

    async def read(volume: Volume) -> dict[str, list[bytes | None]]:
        return {path: await history(volume, path) for path in paths}

    found: dict[str, list[bytes | None]] = with_volume(drive.store, read)
    assert all(len(found[path]) == count for path, count in counts.items())
    return found


async def history(volume: Volume, path: str) -> list[bytes | None]:
    found: list[bytes | None] = []
    for entry in volume.versions("main", path.encode()):
        if entry.deleted:
            found.append(None)
        else:
            past = volume.open_version("main", path.encode(), entry.version_id)
            found.append(bytes(await past.read(0, past.size)))
    return found


def contents(drive: Drive, path: str) -> list[bytes | None]:
    """The history of one path."""
    return histories(drive, path)[path]


def versions_of(history: list[bytes | None]) -> list[bytes]:
    """Without deletions."""
    return [each for each in history if each is not None]


class Source:
    """A tree that changes, and what each file held after each change, newest first."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.root.mkdir()
        (root / "sub").mkdir()
        self.expected: dict[str, list[bytes]] = {}
        self._time = 1_600_000_000

    def write(self, name: str, data: bytes) -> None:
        self._time += 100
        (self.root / name).write_bytes(data)
        os.utime(self.root / name, (self._time, self._time))
        self.expected.setdefault(name, []).insert(0, data)

    def change(self, number: int, *, growing: bool = False) -> None:
        """Small, large, growing and sparse files; `still` does not change. `growing`: all others
        only grow."""
        bits = random.Random(number).randbytes
        if number == 0:
            self.write("still", b"always the same")
            self.write("empty", b"")
        self.write("large", self._last("large") + bits(700 * KIB))
        self.write("small", self._last("small") + b"line %d\n" % number)
        before = self._last("sub/sparse") if growing else bits(9000)
        self.write("sub/sparse", before + bytes(300 * KIB * (number + 1)) + bits(10))
        if number == 1:
            self.write("sub/later", bits(50))

    def _last(self, name: str) -> bytes:
        return self.expected.get(name, [b""])[0]


@pytest.mark.parametrize("mode", MODES)
def test_rsync_makes_one_version_of_each_changed_file(
    drive: Drive, tmp_path: Path, mode: str
) -> None:
    """S6.8: and none of a file that did not change."""
    source, target = Source(tmp_path / "source"), drive.mountpoint / "copy"
    for number in range(RUNS):
        source.change(number, growing="append" in mode)
        run("rsync", "-a", *MODES[mode], f"{source.root}/", f"{target}/")
        run("rsync", "-a", *MODES[mode], f"{source.root}/", f"{target}/")  # nothing to do
    names = {path.name for path in target.rglob("*")}
    assert names == {"sub", "large", "small", "sparse", "still", "empty", "later"}
    found = histories(drive, *(f"copy/{name}" for name in source.expected))
    for name, expected in source.expected.items():
        assert found[f"copy/{name}"] == expected, name


def test_rsync_with_backups_and_deletions(drive: Drive, tmp_path: Path) -> None:
    """S6.8: a backup is a file of its own, with a history of its own. rsync takes a name away
    before it puts another file there, so deletions come between."""
    source, target = Source(tmp_path / "source"), drive.mountpoint / "copy"
    options = ("-a", "--delete", "--backup", "--suffix=.old", "--filter=P *.old")
    for number in range(RUNS):
        source.change(number)
        run("rsync", *options, f"{source.root}/", f"{target}/")
    (source.root / "small").unlink()
    run("rsync", *options, f"{source.root}/", f"{target}/")
    found = histories(drive, "copy/large", "copy/large.old", "copy/small")
    assert versions_of(found["copy/large"]) == source.expected["large"]
    assert versions_of(found["copy/large.old"]) == source.expected["large"][1:]
    assert found["copy/small"][0] is None


def test_rsync_against_the_last_copy(drive: Drive, tmp_path: Path) -> None:
    """S6.8: with --link-dest each run is a tree; what did not change is one file in all of them."""
    source = Source(tmp_path / "source")
    for number in range(RUNS):
        source.change(number)
        previous = drive.mountpoint / f"run{number - 1}"
        options = ("-a", f"--link-dest={previous}") if number else ("-a",)
        run("rsync", *options, f"{source.root}/", f"{drive.mountpoint / f'run{number}'}/")
    assert (drive.mountpoint / "run2/still").stat().st_nlink == RUNS
    expected = {
        f"run{number}/{name}": [made[RUNS - 1 - number] if len(made) == RUNS else made[0]]
        for number in range(RUNS)
        for name, made in source.expected.items()
        if number or name != "sub/later"
    }
    assert histories(drive, *expected) == expected


# --- Editors --------------------------------------------------------------------------------------


def sync_and_close(file: int) -> None:
    os.fsync(file)
    os.close(file)


def rename_over(path: Path, data: bytes, *, fsync: bool = True, temporary: str = "") -> None:
    """GLib, Qt, LibreOffice and most others: a temporary file, synced, renamed over."""
    other = path.with_name(temporary or ".goutputstream-Ab12Cd")
    file = os.open(other, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    os.write(file, data[:7])
    os.write(file, data[7:])
    if fsync:
        os.fsync(file)
    os.fchmod(file, 0o644)
    os.close(file)
    os.rename(other, path)


def truncate_and_write(path: Path, data: bytes) -> None:
    """VS Code, nano: in place; synced before it is closed."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.write(file, data)
    sync_and_close(file)


def without_sync(path: Path, data: bytes) -> None:
    """A shell's `>`."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.write(file, data)
    os.close(file)


def write_in_place(path: Path, data: bytes) -> None:
    """Written over, then cut to size, as databases and some word processors do."""
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    os.write(file, data)
    os.ftruncate(file, len(data))
    sync_and_close(file)


def libreoffice(path: Path, data: bytes) -> None:
    lock = path.with_name(f".~lock.{path.name}#")
    lock.write_bytes(b",me,host,20.11.2026 10:00,file:///.config;")
    rename_over(path, data, temporary="lu139161q33pkw.tmp")
    lock.unlink()


def copied_back(path: Path, data: bytes) -> None:
    """LibreOffice and others with a backup copy: backup first, then the file is written again."""
    backup = path.with_name(path.name + ".bak")
    if path.exists():
        shutil.copy2(path, backup)
    truncate_and_write(path, data)
    backup.unlink(missing_ok=True)


SAVES: dict[str, Callable[[Path, bytes], None]] = {
    "rename over": rename_over,
    "rename over, unsynced": lambda path, data: rename_over(path, data, fsync=False),
    "Qt": lambda path, data: rename_over(path, data, temporary=f"{path.name}.hTqRwe"),
    "truncate": truncate_and_write,
    "shell": without_sync,
    "in place": write_in_place,
    "LibreOffice": libreoffice,
    "copied back": copied_back,
}


@pytest.mark.parametrize("save", SAVES)
def test_saving_makes_one_version(drive: Drive, save: str) -> None:
    """S6.8"""
    path = drive.mountpoint / "text.odt"
    drafts = [b"the first draft", b"the second, longer draft", b"third", b"the fourth draft"]
    for data in drafts:
        SAVES[save](path, data)
    assert path.read_bytes() == drafts[-1]
    assert [each.name for each in drive.mountpoint.iterdir()] == ["text.odt"]
    assert contents(drive, "text.odt") == drafts[::-1]


VIM = ("vim", "-u", "NONE", "-N", "-es")


@pytest.mark.parametrize(
    "options",
    [
        ("backupcopy=yes", "nobackup", "writebackup"),
        ("backupcopy=yes", "backup"),
        ("backupcopy=yes", "nobackup", "nowritebackup"),
        ("backupcopy=no", "nobackup", "nowritebackup"),
    ],
)
def test_vim_in_place_makes_one_version(drive: Drive, options: tuple[str, ...]) -> None:
    """S6.8"""
    path = drive.mountpoint / "text"
    path.write_text("one\n")
    for word in ("two", "three"):
        settings = [argument for each in options for argument in ("-c", f"set {each}")]
        run(*VIM, *settings, "-c", f"%s/.*/{word}/", "-c", "wq", path)
    assert contents(drive, "text") == [b"three\n", b"two\n", b"one\n"]


@pytest.mark.parametrize("backup", ["backup", "nobackup"])
def test_vim_that_renames_makes_one_version(drive: Drive, backup: str) -> None:
    """S6.8: it moves the old file away first, so the path is gone for a moment."""
    path = drive.mountpoint / "text"
    path.write_text("one\n")
    for word in ("two", "three"):
        settings = ("-c", "set backupcopy=no", "-c", f"set {backup}", "-c", "set writebackup")
        run(*VIM, *settings, "-c", f"%s/.*/{word}/", "-c", "wq", path)
    run("sed", "-i", "s/three/four/", path)
    shown = contents(drive, "text")
    assert versions_of(shown) == [b"four\n", b"three\n", b"two\n", b"one\n"]
    assert shown[1] == b"three\n"


def test_what_editors_and_rsync_used_in_passing_is_not_in_the_past(
    drive: Drive, tmp_path: Path
) -> None:
    """S6.7"""
    path = drive.mountpoint / "text"
    path.write_text("one\n")
    settings = ("-c", "set backupcopy=no", "-c", "set updatecount=1", "-c", "set directory=.")
    run(*VIM, *settings, "-c", "%s/.*/two/", "-c", "preserve", "-c", "wq", path)
    libreoffice(drive.mountpoint / "letter.odt", b"dear")
    (tmp_path / "data").write_bytes(b"x" * 1000)
    run("rsync", "-a", "--delay-updates", tmp_path / "data", f"{drive.mountpoint}/")
    (drive.mountpoint / "mine").write_text("precious")
    (drive.mountpoint / "mine").unlink()
    run("sync", "-f", drive.mountpoint)
    deleted = {each.name for each in (drive.mountpoint / ".objfs/deleted").iterdir()}
    assert "mine" in deleted
    assert deleted <= {"mine", "text~"}
