"""Mounts of a moment by the real command, beside the owner of the store and without one."""

import errno
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from objfs.cli import mountinfo, presence
from tests.cli.conftest import CommandLine, put
from tests.programs.drive import OBJFS, Drive, drop_caches, run, tree_of

pytestmark = pytest.mark.slow


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Drive]:
    drive = Drive(tmp_path)
    try:
        yield drive
    finally:
        for name in ("then", "other"):
            point = tmp_path / name
            while mounted(point):
                run("umount", "-l", point)
        drive.close()


@pytest.fixture
def then(tmp_path: Path, drive: Drive) -> Path:
    """Where moments are mounted."""
    point = tmp_path / "then"
    point.mkdir()
    return point


def mounted(point: Path) -> str | None:
    """The device number of what is mounted there."""
    mount = mountinfo.mount_at(os.fsencode(point), mountinfo.read_mounts())
    return mount.device if mount else None


def now() -> str:
    """A time between two changes."""
    time.sleep(0.03)
    seconds, rest_ns = divmod(time.time_ns(), 10**9)
    time.sleep(0.03)
    return f"@{seconds}.{rest_ns:09d}"


def fill(root: Path) -> None:
    (root / "dir" / "sub").mkdir(parents=True)
    (root / "dir" / "small").write_text("first")
    (root / "dir" / "large").write_bytes(os.urandom(6_000_000))
    (root / "dir" / "sub" / "gone").write_text("to be deleted")
    (root / "link").symlink_to("dir/small")
    os.setxattr(root / "dir" / "small", "user.color", b"red")


def spoil(root: Path) -> None:
    (root / "dir" / "small").write_text("second, longer")
    (root / "dir" / "large").write_bytes(b"x" * 100)
    (root / "dir" / "sub" / "gone").unlink()
    (root / "dir" / "sub").rmdir()
    (root / "new").write_text("new")


def test_a_moment_is_mounted_beside_the_owner(drive: Drive, then: Path, tmp_path: Path) -> None:
    """S9.6"""
    root = drive.mount()
    fill(root)
    expected = tree_of(root)
    moment = now()
    spoil(root)
    drive.objfs("mount", "--at", moment, drive.store, then)
    assert tree_of(then) == expected
    assert os.getxattr(then / "dir" / "small", "user.color") == b"red"
    for attempt in (
        lambda: (then / "x").write_text("x"),
        (then / "dir" / "small").unlink,
        lambda: (then / "dir").chmod(0o777),
    ):
        with pytest.raises(OSError, match="Read-only") as caught:
            attempt()
        assert caught.value.errno == errno.EROFS
    # The owner goes on, and ends: nothing of that is seen.
    for k in range(50):
        (root / f"later{k}").write_text("x" * k)
    assert tree_of(then) == expected
    status = drive.json("status", then)
    assert status["owner"]["mountpoint"] == str(drive.mountpoint)
    drive.umount()
    assert tree_of(then) == expected
    # A prefix at a snapshot, while the first one stays.
    drive.mount()
    drive.objfs("snapshot", "create", drive.store, "now")
    (root / "dir" / "small").write_text("third")
    other = tmp_path / "other"
    other.mkdir()
    drive.objfs("mount", "--snapshot", "now", f"{drive.store}:main/dir", other)
    assert (other / "small").read_text() == "second, longer"
    assert "unmounted" in drive.objfs("umount", other)
    assert "unmounted" in drive.objfs("umount", then)
    assert mounted(then) is None
    drive.umount()


def test_nothing_is_written_by_a_mount_beside(drive: Drive, then: Path) -> None:
    root = drive.mount()
    fill(root)
    moment = now()
    drive.objfs("sync", drive.store)

    def files() -> dict[str, tuple[int, int]]:
        return {
            str(path): (path.stat().st_size, path.stat().st_mtime_ns)
            for path in (drive.store / "segments").iterdir()
        }

    before = files()
    drive.objfs("mount", "--at", moment, drive.store, then)
    tree_of(then)
    drive.objfs("umount", then)
    assert files() == before


def test_a_mount_beside_reads_what_compaction_moved(drive: Drive, then: Path) -> None:
    root = drive.mount()
    (root / "junk").write_bytes(os.urandom(12_000_000))
    fill(root)
    (root / "junk").unlink()
    expected = tree_of(root)
    moment = now()
    drive.remount()  # the segments are sealed
    drive.objfs("mount", "--at", moment, drive.store, then)
    with (then / "dir" / "large").open("rb") as file:
        head = file.read(1_000_000)
        drive.objfs("forget", root / "junk")
        before = sum(path.stat().st_size for path in (drive.store / "segments").iterdir())
        drive.objfs("compact", drive.store)
        after = sum(path.stat().st_size for path in (drive.store / "segments").iterdir())
        assert after < before - 8_000_000
        drop_caches()
        assert head + file.read() == expected["dir/large"][2]
    assert tree_of(then) == expected


def test_without_an_owner_the_store_is_opened_read_only(
    drive: Drive, then: Path, objfs: CommandLine
) -> None:
    """S9.6"""
    put(drive.store, b"f", b"first")
    moment = now()
    put(drive.store, b"f", b"second")
    drive.objfs("mount", "--at", moment, drive.store, then)
    assert (then / "f").read_text() == "first"
    ran = objfs("mount", drive.store, drive.mountpoint)
    assert ran.status == 1
    assert str(then) in ran.err
    drive.objfs("umount", then)
    assert mounted(then) is None


@pytest.mark.parametrize("owned", [True, False])
def test_moments_that_cannot_be_shown(
    drive: Drive, then: Path, objfs: CommandLine, owned: bool
) -> None:
    put(drive.store, b"dir/file".replace(b"/", b"-"), b"x")
    if owned:
        drive.mount()
    for arguments, status, said in (
        (("--at", "soon"), 2, "is no time"),
        (("--at", "2999-01-01"), 1, "in the future"),
        (("--at", "2001-01-01"), 1, "before this store was made"),
        (("--at", "1970-01-01"), 1, "before this store was made"),
        (("--snapshot", "none"), 1, "there is no snapshot 'none'"),
        (("--at", "now", "--snapshot", "none"), 2, "give one of them"),
    ):
        ran = objfs("mount", *arguments, drive.store, then)
        assert (ran.status, said in ran.err) == (status, True), ran.err
    ran = objfs("mount", "--at", "now", f"{drive.store}:main/none", then)
    assert ran.status == 1
    assert "did not exist at that time" in ran.err
    ran = objfs("mount", "--at", "now", f"{drive.store}:main/dir-file", then)
    assert ran.status == 1
    assert "no directory" in ran.err
    assert mounted(then) is None


def test_a_living_mount_beside_is_not_taken_for_dead(
    drive: Drive, then: Path, objfs: CommandLine
) -> None:
    drive.mount()
    (drive.mountpoint / "f").write_text("x")
    drive.objfs("mount", "--at", "now", drive.store, then)
    ran = objfs("mount", "--at", "now", drive.store, then)
    assert ran.status == 1
    assert "busy" in ran.err
    device = mounted(then)
    assert device is not None
    server = presence.server_of(device)
    assert server is not None
    # One that was killed is.
    os.kill(server, signal.SIGKILL)
    while presence.server_of(device) is not None:
        time.sleep(0.01)
    assert objfs("mount", "--at", "now", drive.store, then).status == 0
    assert (then / "f").read_text() == "x"
    # In use: busy, or detached when asked.
    with (then / "f").open():
        ran = objfs("umount", then)
        assert ran.status == 1
        assert "in use" in ran.err
        assert objfs("umount", "--lazy", then).status == 0
    assert mounted(then) is None


def test_all_buckets_at_a_moment(drive: Drive, then: Path) -> None:
    drive.objfs("bucket", "create", drive.store, "other")
    put(drive.store, b"f", b"in other", bucket="other")
    drive.mount()
    drive.objfs("mount", "--at", "now", "--all-buckets", drive.store, then)
    assert sorted(path.name for path in then.iterdir()) == ["main", "other"]
    assert (then / "other" / "f").read_text() == "in other"
    assert subprocess.run([OBJFS, "umount", then], check=False).returncode == 0


def test_what_changes_history_is_refused_through_a_mount_of_a_moment(
    drive: Drive, then: Path, objfs: CommandLine
) -> None:
    root = drive.mount()
    (root / "file").write_text("one")
    moment = now()
    (root / "file").write_text("two")
    drive.objfs("mount", "--at", moment, drive.store, then)
    for command in (
        ("forget", "--yes", then / "file"),
        ("restore", then / "file", "--at", "now"),
        ("restore", root / "file", "--at", "now", "--to", then / "copy"),
    ):
        ran = objfs(*command)
        assert ran.status == 1
        assert "mount of a moment" in ran.err
    assert objfs("restore", then / "file", "--at", moment, "--to", root / "copy").status == 0
    assert (root / "copy").read_text() == "one"
    assert len(objfs("versions", root / "file", "--json").json["versions"]) == 2
