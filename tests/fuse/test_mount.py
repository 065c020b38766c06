"""Mounting, serving and unmounting, on a real kernel.

Each test starts a process that serves; what it promises: nothing dirty is lost, nothing stays
mounted.

Long because whatever only a real kernel does is here, with one way to mount.
"""

import contextlib
import ctypes
import errno
import mmap
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from objfs.base.errors import Busy, MountError
from objfs.base.limits import KERNEL_READ_AHEAD_BYTES
from objfs.fuse import mount_point
from objfs.fuse.mount_point import mounted_at
from tests.fuse.conftest import Serve, Server, fuse_needed

pytestmark = [pytest.mark.slow, fuse_needed]

ROOT_NEEDED = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
NOBODY = 65534
MIB = 1 << 20


def eventually(true: object) -> bool:
    """Whether `true()` becomes true within some seconds; other processes are at work."""
    assert callable(true)
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.01)
    return False


@contextlib.contextmanager
def held_dirty(path: Path, data: bytes) -> Iterator[None]:
    """A file with dirty pages in the kernel, open until the mount has gone."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        os.write(descriptor, data)
        yield
    finally:
        with contextlib.suppress(OSError):  # nobody answers any more
            os.close(descriptor)


def is_mounted(server: Server) -> bool:
    return mounted_at(os.fsencode(server.mountpoint)) is not None


# --- the calls, through the kernel ---------------------------------------------------------------


def test_names_and_types(serve: Serve) -> None:
    server = serve()
    top = server.mountpoint
    (top / "d").mkdir()
    (top / "d/f").write_bytes(b"hello")
    os.link(top / "d/f", top / "g")
    os.symlink("d/f", top / "l")
    os.mkfifo(top / "p")
    os.rename(top / "d/f", top / "d/h")
    assert (top / "l").is_symlink()
    assert not (top / "l").exists()
    assert (top / "g").read_bytes() == b"hello"
    assert os.stat(top / "g").st_nlink == 2
    assert stat.S_ISFIFO(os.stat(top / "p").st_mode)
    assert sorted(os.listdir(top)) == ["d", "g", "l", "p"]
    assert os.stat(top / "d").st_nlink == 2
    assert os.stat(top).st_nlink == 3
    assert os.stat(top / "d" / "..").st_ino == os.stat(top).st_ino
    with pytest.raises(OSError, match=os.strerror(errno.ENAMETOOLONG)):
        (top / ("n" * 256)).touch()
    with pytest.raises(FileExistsError):
        (top / ".objfs").mkdir()
    shutil.rmtree(top / "d")
    assert sorted(os.listdir(top)) == ["g", "l", "p"]
    server.unmount()


def test_renameat2(serve: Serve) -> None:
    top = serve().mountpoint
    (top / "a").write_text("a")
    (top / "b").write_text("b")
    libc = ctypes.CDLL(None, use_errno=True)

    def rename(flags: int) -> int:
        a, b = bytes(top / "a"), bytes(top / "b")
        done: int = libc.renameat2(-100, a, -100, b, flags)
        return ctypes.get_errno() if done else 0

    assert rename(1) == errno.EEXIST
    assert rename(2) == 0
    assert ((top / "a").read_text(), (top / "b").read_text()) == ("b", "a")


def test_data_in_all_the_ways_a_kernel_writes(serve: Serve) -> None:
    top = serve().mountpoint
    path = top / "f"
    path.write_bytes(b"x" * 10_000)
    with path.open("ab") as file:
        file.write(b"y" * 10)
    with path.open("r+b") as changed:
        changed.seek(5000)
        changed.write(b"z")
        os.fsync(changed.fileno())
    with path.open("r+b") as changed, mmap.mmap(changed.fileno(), 0) as mapped:
        mapped[1] = ord("m")
        mapped.flush()
    # A page that is only partly there is read back under a handle that may only write.
    descriptor = os.open(path, os.O_WRONLY)
    os.pwrite(descriptor, b"w", 9000)
    os.close(descriptor)
    expected = bytearray(b"x" * 10_000 + b"y" * 10)
    expected[5000], expected[1], expected[9000] = ord("z"), ord("m"), ord("w")
    assert path.read_bytes() == expected
    os.truncate(path, 100)
    assert path.read_bytes() == expected[:100]
    os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))
    assert path.stat().st_size == 0
    with path.open("wb") as file:
        file.seek(5 * MIB)
        file.write(b"end")
    assert path.stat().st_size == 5 * MIB + 3
    assert path.stat().st_blocks * 512 < MIB


def pipes(server: Server) -> int:
    """The ends of pipes that its process has."""
    links = Path(f"/proc/{server.process.pid}/fd").iterdir()
    return sum(os.readlink(link).startswith("pipe:") for link in links)


def test_large_requests_wait_in_pipes_while_small_ones_are_served(serve: Serve) -> None:
    server = serve()
    top, before = server.mountpoint, pipes(server)
    data = os.urandom(40 * MIB + 12_345)
    copy = (
        "import os, sys\n"
        "file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)\n"
        "for offset in range(0, 1 << 26, 300_001):\n"
        "    os.write(file, sys.stdin.buffer.read(300_001))\n"
        "os.fsync(file)\n"
    )
    command = [sys.executable, "-c", copy]
    writers = [subprocess.Popen([*command, top / name], stdin=subprocess.PIPE) for name in "ab"]
    feeders = [Thread(target=each.communicate, args=(data,)) for each in writers]
    for feeder in feeders:
        feeder.start()
    count = 0
    while any(feeder.is_alive() for feeder in feeders):
        (top / f"small-{count}").write_bytes(b"%d" % count)
        count += 1
    assert [writer.wait() for writer in writers] == [0, 0]
    assert pipes(server) > before
    subprocess.run(["umount", top], check=True)
    server.wait()
    again = serve().mountpoint
    assert (again / "a").read_bytes() == (again / "b").read_bytes() == data
    assert all((again / f"small-{n}").read_bytes() == b"%d" % n for n in range(count))


def test_a_file_removed_while_open_goes_on_working(serve: Serve) -> None:
    top = serve().mountpoint
    with (top / "f").open("w+b") as file:
        os.unlink(top / "f")
        file.write(b"still here")
        file.seek(0)
        assert file.read() == b"still here"
        assert os.fstat(file.fileno()).st_nlink == 0


def test_a_large_directory(serve: Serve) -> None:
    top = serve().mountpoint
    (top / "d").mkdir()
    names = {f"{number:04}-{'n' * (number % 100)}" for number in range(2000)}
    for name in names:
        (top / "d" / name).touch()
    listed = os.listdir(top / "d")
    assert len(listed) == len(names)
    assert set(listed) == names
    subprocess.run(["find", top / "d", "-delete"], check=True)
    assert os.listdir(top) == []


def test_space_and_extended_attributes(serve: Serve, tmp_path: Path) -> None:
    top = serve().mountpoint
    figures, below = os.statvfs(top), os.statvfs(tmp_path)
    assert figures.f_namemax == 255
    assert figures.f_blocks * figures.f_frsize == below.f_blocks * below.f_frsize
    path = top / "f"
    path.touch()
    os.setxattr(path, "user.a", b"1")
    assert os.listxattr(path) == ["user.a"]
    assert os.getxattr(path, "user.a") == b"1"
    with pytest.raises(FileExistsError):
        os.setxattr(path, "user.a", b"2", os.XATTR_CREATE)
    with pytest.raises(OSError, match=os.strerror(errno.ENODATA)):
        os.setxattr(path, "user.b", b"2", os.XATTR_REPLACE)
    path.write_bytes(b"x")  # asks for security.capability
    os.removexattr(path, "user.a")
    assert os.listxattr(path) == []


@ROOT_NEEDED
def test_read_ahead_is_raised(serve: Serve) -> None:
    mounted = mounted_at(os.fsencode(serve().mountpoint))
    assert mounted is not None
    setting = Path("/sys/class/bdi") / mounted.device / "read_ahead_kb"
    if not os.access(setting, os.W_OK):
        pytest.skip("this /sys cannot be written to")
    assert int(setting.read_text()) == KERNEL_READ_AHEAD_BYTES // 1024


def test_the_source_may_have_any_name(serve: Serve, tmp_path: Path) -> None:
    store = tmp_path / "st,o\\re \u00fc"
    (tmp_path / "store").symlink_to(store)  # what `serve` opens
    store.mkdir()
    mountpoint = tmp_path / "mnt"
    mountpoint.mkdir()
    server = Server("tests.fuse.server", mountpoint, (str(store), str(mountpoint), "main"))
    try:
        server.wait_ready()
        mounted = mounted_at(os.fsencode(mountpoint))
        assert mounted is not None
        assert mounted.source == os.fsencode(store)
        assert mounted.filesystem == "fuse.objfs"
    finally:
        server.clean_up()


def test_all_buckets_side_by_side(serve: Serve) -> None:
    server = serve("*")
    top = server.mountpoint
    assert sorted(os.listdir(top)) == ["main", "other"]
    (top / "main/f").write_bytes(b"x")
    with pytest.raises(OSError, match=os.strerror(errno.EXDEV)):
        os.rename(top / "main/f", top / "other/f")
    with pytest.raises(OSError, match=os.strerror(errno.EROFS)):
        (top / "new").mkdir()
    assert os.stat(top / "main/..").st_ino == os.stat(top).st_ino == 1
    server.unmount()
    server = serve("main")
    assert (top / "f").read_bytes() == b"x"


def test_a_read_only_mount_refuses_changes(serve: Serve) -> None:
    server = serve("main", "ro")
    with pytest.raises(OSError, match=os.strerror(errno.EROFS)):
        (server.mountpoint / "f").touch()
    server.unmount()


def test_what_changes_behind_the_kernel_is_seen(serve: Serve) -> None:
    server = serve()
    path = server.mountpoint / "behind"
    assert not path.is_symlink()
    os.listdir(server.mountpoint)
    server.process.send_signal(signal.SIGUSR1)
    assert eventually(path.is_symlink)


# --- permissions and modes -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "mode"), [((), 0o660), (("no-shim",), 0o600)], ids=["shim", "no-shim"]
)
def test_default_acls_and_the_umask(serve: Serve, words: tuple[str, ...], mode: int) -> None:
    # Without the shim the kernel cuts the mode by the umask before we see it.
    top = serve("main", *words).mountpoint
    (top / "d").mkdir()
    subprocess.run(["setfacl", "-d", "-m", "u:42:rwx,o::-", top / "d"], check=True)
    script = 'umask 077; : >"$0/d/f"; mkdir "$0/d/e"; : >"$0/plain"'
    subprocess.run(["sh", "-c", script, top], check=True)
    assert stat.S_IMODE((top / "d/f").stat().st_mode) == mode
    assert stat.S_IMODE((top / "plain").stat().st_mode) == 0o600
    listed = subprocess.run(
        ["getfacl", "-cnp", top / "d/e"], check=True, capture_output=True, text=True
    ).stdout
    assert "default:user:42:rwx" in listed
    assert "\nuser:42:rwx" in listed


@ROOT_NEEDED
def test_the_kernel_checks_acls(serve: Serve, tmp_path: Path) -> None:
    for directory in (tmp_path, *tmp_path.parents[:2]):
        directory.chmod(0o755)
    top = serve("main", "allow_other").mountpoint
    path = top / "f"
    path.write_text("secret")
    path.chmod(0o600)
    command = ["cat", str(path)]
    assert subprocess.run(command, user=NOBODY, check=False, capture_output=True).returncode == 1
    subprocess.run(["setfacl", "-m", f"u:{NOBODY}:r", path], check=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    done = subprocess.run(command, user=NOBODY, check=True, capture_output=True)
    assert done.stdout == b"secret"
    path.chmod(0o600)  # takes the mask away, and with it what the entry allows
    assert subprocess.run(command, user=NOBODY, check=False, capture_output=True).returncode == 1


@ROOT_NEEDED
@pytest.mark.parametrize("words", [(), ("no-shim",)], ids=["shim", "no-shim"])
@pytest.mark.parametrize(
    "change", ['echo x >>"$0"', ': >"$0"', 'truncate -s 1 "$0"', 'chown ":$(id -g)" "$0"']
)
def test_setuid_is_cleared_by_users(
    serve: Serve, tmp_path: Path, words: tuple[str, ...], change: str
) -> None:
    for directory in (tmp_path, *tmp_path.parents[:2]):
        directory.chmod(0o755)
    path = serve("main", "allow_other", *words).mountpoint / "f"
    path.write_text("x")
    os.chown(path, NOBODY, NOBODY)
    path.chmod(0o6755)
    subprocess.run(["sh", "-c", change, path], user=NOBODY, group=NOBODY, check=True)
    assert eventually(lambda: stat.S_IMODE(path.stat().st_mode) == 0o755)


@ROOT_NEEDED
def test_root_may_write_to_setuid_files(serve: Serve) -> None:
    path = serve().mountpoint / "f"
    path.write_text("x")
    path.chmod(0o4755)
    with path.open("a") as file:
        file.write("y")
    assert stat.S_IMODE(path.stat().st_mode) == 0o4755


# --- stopping ------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_unmount(serve: Serve, number: int) -> None:
    server = serve()
    (server.mountpoint / "f").write_bytes(b"x")
    server.stop(number)
    assert server.process.returncode == 0
    assert not is_mounted(server)
    assert (serve().mountpoint / "f").read_bytes() == b"x"


def test_dirty_pages_arrive_on_sigterm(serve: Serve) -> None:  # S1.8
    server = serve()
    with held_dirty(server.mountpoint / "f", b"d" * 3 * MIB):
        _, log = server.stop()
        assert "in use" in log
        assert server.process.returncode == 0
        assert not is_mounted(server)
    assert (serve().mountpoint / "f").read_bytes() == b"d" * 3 * MIB


def test_mapped_pages_arrive_on_sigterm(serve: Serve) -> None:
    server = serve()
    path = server.mountpoint / "f"
    path.write_bytes(b"x" * MIB)
    with path.open("r+b") as file:
        mapped = mmap.mmap(file.fileno(), 0)
    mapped[:] = b"m" * MIB
    server.stop()
    assert server.process.returncode == 0
    del mapped  # pages that were thrown away must not be touched any more
    assert (serve().mountpoint / "f").read_bytes() == b"m" * MIB


def test_a_cancelled_mount_ends_in_good_order(serve: Serve) -> None:
    server = serve()
    with held_dirty(server.mountpoint / "f", b"d" * MIB):
        server.stop(signal.SIGUSR2)
    assert server.process.returncode == 0
    assert (serve().mountpoint / "f").read_bytes() == b"d" * MIB


def test_a_busy_writer_does_not_keep_it_mounted(serve: Serve) -> None:
    server = serve()
    script = 'exec >"$0/f"; while echo line; do :; done'
    writer = subprocess.Popen(["sh", "-c", script, server.mountpoint], stderr=subprocess.DEVNULL)
    try:
        assert eventually((server.mountpoint / "f").exists)
        server.stop()
        assert server.process.returncode == 0
        assert not is_mounted(server)
    finally:
        writer.kill()
        writer.wait()
    lines = (serve().mountpoint / "f").read_bytes().splitlines()
    assert set(lines[:-1]) <= {b"line"}


@ROOT_NEEDED
def test_a_bind_mount_does_not_keep_the_process(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    other = tmp_path / "other"
    other.mkdir()
    subprocess.run(["mount", "--bind", server.mountpoint, other], check=True)
    try:
        (other / "f").write_bytes(b"x")
        server.stop()
        assert server.process.returncode == 0
    finally:
        subprocess.run(["umount", "-l", other], check=True)
    assert (serve().mountpoint / "f").read_bytes() == b"x"


@pytest.mark.parametrize("command", [["umount"], ["fusermount3", "-u"], ["umount", "-l"]])
def test_unmounting_from_outside_ends_the_process(serve: Serve, command: list[str]) -> None:
    server = serve()
    (server.mountpoint / "f").write_bytes(b"x")
    subprocess.run([*command, server.mountpoint], check=True)
    server.wait()
    assert server.process.returncode == 0
    assert (serve().mountpoint / "f").read_bytes() == b"x"


def test_a_detached_mount_that_is_in_use_ends_on_sigterm(serve: Serve) -> None:
    server = serve()
    with held_dirty(server.mountpoint / "f", b"d" * MIB):
        subprocess.run(["umount", "-l", server.mountpoint], check=True)
        server.stop()
        assert server.process.returncode == 0
    assert (serve().mountpoint / "f").read_bytes() == b"d" * MIB


def test_ordinary_users_unmount_with_fusermount3(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    point = os.fsencode(server.mountpoint)
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    with held_dirty(server.mountpoint / "f", b"x"):
        with pytest.raises(Busy):
            mount_point.unmount(point, lazy=False)
        assert is_mounted(server)
        mount_point.unmount(point, lazy=True)
        assert not is_mounted(server)
    _, said = server.wait()
    assert server.process.returncode == 0, said
    with pytest.raises(MountError):
        mount_point.unmount(point, lazy=False)


@pytest.mark.parametrize("word", ["relatime", "noatime", "dirsync", "lazytime"])
def test_options_of_mount(serve: Serve, word: str) -> None:
    server = serve("main", word)
    (server.mountpoint / "f").write_bytes(b"x")
    server.unmount()


# --- mount points --------------------------------------------------------------------------------


def test_a_dead_mount_is_taken_away(serve: Serve) -> None:  # S5.3
    server = serve()
    (server.mountpoint / "f").write_bytes(b"x")
    server.stop(signal.SIGKILL)
    with pytest.raises(OSError, match=os.strerror(errno.ENOTCONN)):
        os.listdir(server.mountpoint)
    again = serve()
    assert (again.mountpoint / "f").read_bytes() == b"x"
    again.unmount()
    assert not is_mounted(again)


def test_a_living_mount_is_left_alone(serve: Serve) -> None:
    first = serve()
    second = serve("other", wait=False)
    _, said = second.wait()
    assert second.process.returncode != 0
    assert "busy" in said
    (first.mountpoint / "f").write_bytes(b"x")
    first.unmount()


def test_what_libfuse_says_is_passed_on(serve: Serve) -> None:
    server = serve("main", "no_such_option", wait=False)
    _, said = server.wait()
    assert "cannot be mounted" in said
    assert "no_such_option" in said
    assert not is_mounted(server)


# --- clients -------------------------------------------------------------------------------------


def test_clients_killed_in_the_middle_of_everything(serve: Serve) -> None:
    server = serve()
    top = str(server.mountpoint)
    script = (
        'd="$0/$$"; mkdir "$d"; while :; do echo x >"$d/a"; mv "$d/a" "$d/b"; read -r l <"$d/b";'
        'ls "$d" >/dev/null; ln "$d/b" "$d/c"; rm "$d/c"; done'
    )
    for _ in range(5):
        clients = [
            subprocess.Popen(["sh", "-c", script, top], stderr=subprocess.DEVNULL)
            for _ in range(20)
        ]
        subprocess.run(["timeout", "30", "ls", "-lR", top], check=False, capture_output=True)
        for client in clients:
            client.kill()
        for client in clients:
            client.wait()
    done = subprocess.run(
        ["timeout", "30", "sh", "-c", 'echo y >"$0/f" && cat "$0/f"', server.mountpoint],
        check=True,
        capture_output=True,
    )
    assert done.stdout == b"y\n"
    server.unmount()
    assert server.process.returncode == 0
