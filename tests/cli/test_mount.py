"""Real mounts by the real command: in the background, asked over the control socket, killed, taken
away again."""

import os
import select
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from objfs.cli import mountinfo
from objfs.cli.mountinfo import FILESYSTEM
from tests.cli.conftest import CommandLine, version_ids
from tests.programs.drive import OBJFS, Drive, run

pytestmark = pytest.mark.slow


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Drive]:
    """A new store, mounted by whoever wants it."""
    drive = Drive(tmp_path)
    try:
        yield drive
    finally:
        drive.close()


def is_running(pid: int) -> bool:
    """Not so for one that has ended and was not waited for by its parent."""
    process = Path(f"/proc/{pid}/stat")
    return process.exists() and process.read_text().rpartition(")")[2].split()[0] != "Z"


def mounted_source(drive: Drive) -> bytes:
    mount = mountinfo.mount_at(os.fsencode(drive.mountpoint), mountinfo.read_mounts())
    assert mount is not None
    assert mount.filesystem == FILESYSTEM
    return mount.source


# --- The life of a mount --------------------------------------------------------------------------


def test_a_mount_is_usable_when_the_command_returns(drive: Drive) -> None:
    drive.mount()
    (drive.mountpoint / "a").write_text("hello")
    pid = drive.pid
    assert Path(f"/proc/{pid}/comm").read_text() == "objfs\n"
    assert b"mount" in Path(f"/proc/{pid}/cmdline").read_bytes()
    drive.umount()
    assert not is_running(pid)
    assert not drive.mounted()
    assert list(drive.mountpoint.iterdir()) == []
    drive.mount()
    assert (drive.mountpoint / "a").read_text() == "hello"


def test_umount_leaves_everything_durable(drive: Drive, objfs: CommandLine) -> None:
    """S1.6"""
    drive.mount()
    with (drive.mountpoint / "open").open("w") as file:
        file.write("x" * 100_000)
        assert objfs("sync", drive.mountpoint).status == 0
        status = objfs("status", drive.mountpoint, "--json").json
        assert status["dirty_bytes"] == 0
        assert status["synced_sequence"] == status["sequence"]
    (drive.mountpoint / "late").write_bytes(b"y" * 5_000_000)
    ran = objfs("umount", drive.mountpoint)
    assert ran.status == 0
    assert "everything is durable" in ran.out
    status = objfs("status", drive.store, "--json").json
    assert status["synced_sequence"] == status["sequence"]
    drive.mount()
    assert (drive.mountpoint / "open").read_text() == "x" * 100_000
    assert (drive.mountpoint / "late").read_bytes() == b"y" * 5_000_000


def test_sigterm_brings_dirty_pages_home(drive: Drive) -> None:
    """S1.8"""
    drive.mount()
    pid = drive.pid
    process = os.pidfd_open(pid)
    data = os.urandom(3_000_000)
    descriptor = os.open(drive.mountpoint / "dirty", os.O_WRONLY | os.O_CREAT)
    os.write(descriptor, data)
    os.kill(pid, signal.SIGTERM)
    # The file is still open: no flush has sent its pages.
    assert select.select([process], [], [], 60)[0], "the process does not end"
    os.close(process)
    drive.close()
    drive.mount()
    assert (drive.mountpoint / "dirty").read_bytes() == data
    with suppress(OSError):  # the mount it belonged to has gone
        os.close(descriptor)


def test_the_foreground_stays_until_it_is_unmounted(drive: Drive) -> None:
    command = [OBJFS, "mount", "--foreground", str(drive.store), str(drive.mountpoint)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            for _ in range(1000):
                if drive.mounted() and (drive.store / "control.sock").exists():
                    break
                select.select([], [], [], 0.02)
            (drive.mountpoint / "a").write_text("hello")
            assert process.poll() is None
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0, said
    assert not drive.mounted()
    drive.mount()
    assert (drive.mountpoint / "a").read_text() == "hello"


def test_a_busy_mount_is_not_taken_away(drive: Drive, objfs: CommandLine) -> None:
    drive.mount()
    pid = drive.pid
    with (drive.mountpoint / "a").open("w") as file:
        file.write("still here")
        ran = objfs("umount", drive.mountpoint)
        assert ran.status == 1
        assert "in use" in ran.err
        assert "--lazy" in ran.err
        assert objfs("status", drive.mountpoint).status == 0
        process = os.pidfd_open(pid)
        assert objfs("umount", "--lazy", drive.mountpoint).status == 0
        assert not drive.mounted()
        file.write(", and still writable")
    assert select.select([process], [], [], 60)[0], "the process does not end"
    os.close(process)
    drive.mount()
    assert (drive.mountpoint / "a").read_text() == "still here, and still writable"


def test_umount_by_the_system_is_good_too(drive: Drive) -> None:
    drive.mount()
    process = os.pidfd_open(drive.pid)
    (drive.mountpoint / "a").write_text("hello")
    run("umount", drive.mountpoint)
    assert select.select([process], [], [], 60)[0], "the process does not end"
    os.close(process)
    drive.mount()
    assert (drive.mountpoint / "a").read_text() == "hello"


# --- One owner ------------------------------------------------------------------------------------


def test_a_second_owner_is_refused(drive: Drive, objfs: CommandLine, tmp_path: Path) -> None:
    """S5.1"""
    drive.mount()
    (tmp_path / "second").mkdir()
    ran = objfs("mount", drive.store, tmp_path / "second")
    assert (ran.status, ran.out) == (1, "")
    assert f"process {drive.pid} " in ran.err
    assert f"mount {drive.store} {drive.mountpoint}" in ran.err
    ran = objfs("mount", drive.store, drive.mountpoint)
    assert ran.status == 1
    assert "mounted there already" in ran.err
    ran = objfs("rebuild", drive.store)
    assert ran.status == 1
    assert f"process {drive.pid} " in ran.err
    assert (drive.mountpoint / ".").is_dir()


def test_commands_work_while_mounted(drive: Drive, objfs: CommandLine, tmp_path: Path) -> None:
    """S5.2"""
    drive.mount()
    file = drive.mountpoint / "dir/a"
    file.parent.mkdir()
    file.write_text("first")
    file.write_text("second, longer")
    newest, oldest = version_ids(objfs, file)
    assert objfs("cat", file, "--version", oldest).out == "first"
    assert objfs("restore", file, "--version", oldest).status == 0
    assert file.read_text() == "first"
    assert version_ids(objfs, file)[1:] == [newest, oldest]
    assert version_ids(objfs, f"{drive.store}:main/dir/a") == version_ids(objfs, file)
    copy = drive.mountpoint / "copy"
    assert objfs("restore", file, "--version", newest, "--to", copy).status == 0
    assert copy.read_text() == "second, longer"
    assert objfs("restore", file, "--version", newest, "--to", drive.mountpoint).status == 0
    assert (drive.mountpoint / "a").read_text() == "second, longer"
    assert objfs("restore", file, "--version", newest, "--to", tmp_path / "out").status == 0
    assert (tmp_path / "out").read_text() == "second, longer"
    file.unlink()
    assert len(version_ids(objfs, file)) == 4
    assert objfs("bucket", "create", drive.store, "photos").status == 0
    status = objfs("status", drive.store, "--json").json
    assert status["owner"]["pid"] == drive.pid
    assert status["owner"]["mountpoint"] == str(drive.mountpoint)
    assert set(status["buckets"]) == {"main", "photos"}
    assert f"by process {drive.pid}" in objfs("status", drive.mountpoint).out


def test_a_large_old_version_comes_in_pieces(
    drive: Drive, objfs: CommandLine, tmp_path: Path
) -> None:
    drive.mount()
    data = os.urandom(9_000_000)
    (drive.mountpoint / "a").write_bytes(data)
    (drive.mountpoint / "a").write_bytes(b"")
    _, old = version_ids(objfs, drive.mountpoint / "a")
    out = tmp_path / "out"
    ran = objfs("restore", drive.mountpoint / "a", "--version", old, "--to", out)
    assert ran.status == 0
    assert out.read_bytes() == data


@pytest.mark.parametrize("command", ["mount", "umount"])
def test_a_dead_mount_is_cleaned_up(drive: Drive, objfs: CommandLine, command: str) -> None:
    """S5.3"""
    drive.mount()
    (drive.mountpoint / "a").write_text("closed")
    (drive.mountpoint / "a").write_text("closed again")
    drive.kill()
    with pytest.raises(OSError, match="not connected"):
        os.listdir(drive.mountpoint)
    # The path is understood without touching the mount.
    assert len(version_ids(objfs, drive.mountpoint / "a")) == 2
    if command == "umount":
        ran = objfs("umount", drive.mountpoint)
        assert ran.status == 0
        assert "dead mount" in ran.out
        assert os.listdir(drive.mountpoint) == []
    drive.mount()
    assert (drive.mountpoint / "a").read_text() == "closed again"


def test_a_dead_mount_beside_a_live_one(drive: Drive, objfs: CommandLine, tmp_path: Path) -> None:
    drive.mount()
    drive.kill()
    second = tmp_path / "second"
    second.mkdir()
    try:
        assert run(OBJFS, "mount", drive.store, second) == ""
        (second / "a").write_text("alive")
        ran = objfs("umount", drive.mountpoint)
        assert ran.status == 0
        assert "dead mount" in ran.out
        assert (second / "a").read_text() == "alive"
    finally:
        run(OBJFS, "umount", second)


# --- What is mounted ------------------------------------------------------------------------------


def test_a_read_only_mount_changes_nothing(drive: Drive, objfs: CommandLine) -> None:
    drive.mount()
    (drive.mountpoint / "a").write_text("hello")
    drive.umount()
    before = {path: path.read_bytes() for path in (drive.store / "segments").iterdir()}
    drive.mount("--read-only")
    assert (drive.mountpoint / "a").read_text() == "hello"
    with pytest.raises(OSError, match="Read-only file system"):
        (drive.mountpoint / "b").touch()
    assert objfs("bucket", "create", drive.store, "photos").status == 1
    assert len(version_ids(objfs, drive.mountpoint / "a")) == 1
    drive.umount()
    after = {path: path.read_bytes() for path in (drive.store / "segments").iterdir()}
    assert after == before


def test_a_bucket_and_a_directory_of_it(drive: Drive, objfs: CommandLine) -> None:
    assert objfs("bucket", "create", drive.store, "photos").status == 0
    point = drive.mountpoint
    run(OBJFS, "mount", f"{drive.store}:photos", point)
    (point / "2026/may").mkdir(parents=True)
    (point / "2026/may/a.jpg").write_text("one")
    drive.umount()
    run(OBJFS, "mount", f"{drive.store}:photos/2026", point)
    assert mounted_source(drive) == os.fsencode(f"{drive.store}:photos/2026")
    (point / "may/a.jpg").write_text("two!")
    assert len(version_ids(objfs, point / "may/a.jpg")) == 2
    (point / "link").symlink_to("may")
    (drive.store.parent / "way").symlink_to(point)
    (point / "current").symlink_to("may")
    assert len(version_ids(objfs, drive.store.parent / "way/current/a.jpg")) == 2
    drive.umount()
    assert len(version_ids(objfs, f"{drive.store}:photos/2026/may/a.jpg")) == 2


@pytest.mark.parametrize(
    ("narrowed", "message"),
    [(":nothing", "no bucket 'nothing'"), (":main/no/where", "no directory")],
)
def test_what_does_not_exist_is_not_mounted(
    drive: Drive, objfs: CommandLine, narrowed: str, message: str
) -> None:
    ran = objfs("mount", f"{drive.store}{narrowed}", drive.mountpoint)
    assert (ran.status, ran.out) == (1, "")
    assert message in ran.err
    assert not drive.mounted()
    assert objfs("status", drive.store, "--json").json.get("owner") is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes bind mounts")
def test_a_path_through_a_bind_mount(drive: Drive, objfs: CommandLine, tmp_path: Path) -> None:
    drive.mount()
    (drive.mountpoint / "dir/sub").mkdir(parents=True)
    (drive.mountpoint / "dir/sub/a").write_text("one")
    bound = tmp_path / "bound"
    bound.mkdir()
    run("mount", "--bind", drive.mountpoint / "dir", bound)
    try:
        ids = version_ids(objfs, bound / "sub/a")
        assert ids == version_ids(objfs, drive.mountpoint / "dir/sub/a")
        assert objfs("status", bound / "sub", "--json").json["store"] == str(drive.store)
    finally:
        run("umount", bound)


def test_a_store_within_a_mount(drive: Drive, objfs: CommandLine) -> None:
    drive.mount()
    inner = drive.mountpoint / "inner"
    assert objfs("init", inner).status == 0
    assert objfs("status", inner, "--json").json["store"] == str(inner)
    assert objfs("status", drive.mountpoint, "--json").json["store"] == str(drive.store)


def test_all_buckets_at_once(drive: Drive, objfs: CommandLine) -> None:
    assert objfs("bucket", "create", drive.store, "photos").status == 0
    drive.mount("--all-buckets")
    assert sorted(os.listdir(drive.mountpoint)) == ["main", "photos"]
    (drive.mountpoint / "photos/a").write_text("one")
    (drive.mountpoint / "photos/a").write_text("two!")
    assert len(version_ids(objfs, drive.mountpoint / "photos/a")) == 2
    ran = objfs("versions", drive.mountpoint / "photos", "--json")
    assert ran.status == 0
    assert [change["path"] for change in ran.json["changes"]] == ["a", "a"]


def test_odd_names_of_stores_and_mount_points(tmp_path: Path, objfs: CommandLine) -> None:
    place = tmp_path / "a b,c\\d:e"
    place.mkdir()
    drive = Drive(place)
    try:
        drive.mount("-o", "noatime,nodev")
        assert mounted_source(drive) == os.fsencode(drive.store)
        (drive.mountpoint / "x y").write_text("one")
        assert len(version_ids(objfs, drive.mountpoint / "x y")) == 1
        assert objfs("status", drive.mountpoint).status == 0
        assert objfs("umount", drive.mountpoint).status == 0
    finally:
        drive.close()


def test_bench_of_a_mount(drive: Drive, objfs: CommandLine) -> None:
    drive.mount()
    ran = objfs("bench", drive.mountpoint, "--files", 20, "--mebibytes", 2, "--json")
    assert ran.status == 0
    assert len(ran.json["figures"]) == 7
    assert os.listdir(drive.mountpoint) == []
