"""`objfs scrub` and `objfs fsck` on a real mount that is being used."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs.drive import OBJFS, Drive, tree_of

pytestmark = pytest.mark.slow

# Creates, overwrites, renames, links and removes, until it is killed.
PROGRAM = """
import os, random, sys, time
root, seed = sys.argv[1], int(sys.argv[2])
random.seed(seed)
os.makedirs(f"{root}/d{seed}/sub", exist_ok=True)
names = [f"{root}/d{seed}/{name}" for name in ("a", "b", "c", "sub/a", "sub/b")]
while True:
    time.sleep(0.01)
    one, other = random.choice(names), random.choice(names)
    try:
        match random.randrange(5):
            case 0 | 1:
                with open(one, "wb") as file:
                    file.write(os.urandom(random.choice((10, 500, 5000, 90_000))))
            case 2:
                os.rename(one, other)
            case 3:
                os.unlink(one)
            case 4:
                os.link(one, other)
    except OSError:
        pass
"""


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(OBJFS), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_drive_in_use_is_checked_without_false_alarms(drive: Drive) -> None:
    """S4.5, S4.7: by the mount point, by the store, by a path; and the kept files stay the same."""
    kept = drive.mountpoint / "kept"
    kept.mkdir()
    for n in range(200):
        (kept / f"file{n}").write_bytes(os.urandom(2000 + n))
    (kept / "large").write_bytes(os.urandom(8 << 20))
    before = tree_of(kept)
    writers = [
        subprocess.Popen([sys.executable, "-c", PROGRAM, drive.mountpoint, str(seed)])
        for seed in range(1)
    ]
    try:
        for _ in range(4):
            for where in (drive.mountpoint, drive.store, kept, f"{drive.store}:main/kept/large"):
                ran = run("fsck", where)
                assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout
            for command in (
                ("scrub",),
                ("fsck", "--deep"),
                ("fsck", "--data"),
                ("fsck", "--repair"),
            ):
                ran = run(*command, drive.mountpoint)
                assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout
            assert "damaged: 0" in run("scrub", drive.store).stdout
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
    assert tree_of(kept) == before
    drive.umount()
    for last in (("scrub",), ("fsck", "--deep", "--data")):
        ran = run(*last, drive.store)
        assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout


def test_damage_under_a_mount_is_named(drive: Drive) -> None:
    """S4.6: the path is that of the file, and the other files stay readable."""
    data = os.urandom(3 << 20)
    (drive.mountpoint / "picture").write_bytes(data)
    (drive.mountpoint / "letter").write_text("hello")
    drive.remount()
    _rot(drive.store, data[1 << 20 : (1 << 20) + 64])
    for command in (("scrub",), ("fsck", "--data")):
        ran = run(*command, drive.mountpoint)
        assert ran.returncode == 1
        assert "main:picture" in ran.stdout
    assert run("status", drive.mountpoint).returncode == 1
    assert (drive.mountpoint / "letter").read_text() == "hello"
    with pytest.raises(OSError, match="Input/output error"):
        (drive.mountpoint / "picture").read_bytes()


def _rot(store: Path, piece: bytes) -> None:
    for path in (store / "segments").iterdir():
        contents = path.read_bytes()
        at = contents.find(piece)
        if at >= 0:
            with path.open("r+b") as file:
                file.seek(at)
                file.write(bytes([piece[0] ^ 1]))
            return
    raise AssertionError("no segment has these bytes")
