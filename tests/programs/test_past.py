"""The views of the past as real programs meet them: through a mount, as other users, while files
change."""

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.programs.drive import Drive, drop_caches, run, tree_of

pytestmark = pytest.mark.slow

as_root = pytest.mark.skipif(os.getuid() != 0, reason="other users are made by root")
NOBODY = 65_534
DENIED = "EACCES"


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Drive]:
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents[:2]:
        parent.chmod(0o755)
    drive = Drive(tmp_path)
    try:
        yield drive
    finally:
        drive.close()


def now() -> str:
    """A name in `.objfs/at` between two changes."""
    time.sleep(0.03)
    seconds, rest_ns = divmod(time.time_ns(), 10**9)
    time.sleep(0.03)
    return f"@{seconds}.{rest_ns:09d}"


def refused(act: Callable[[], object], number: int = errno.EROFS) -> None:
    with pytest.raises(OSError, match=r"\[Errno") as caught:
        act()
    assert caught.value.errno == number, caught.value


def as_user(uid: int, act: Callable[[], object]) -> str:
    """What `act` gives to another user, or the name of the error that it met. In a child."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        said = "it failed"
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            said = str(act())
        except OSError as error:
            said = errno.errorcode[error.errno or 0]
        finally:
            os.write(writer, said.encode())
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


def fill(root: Path) -> None:
    (root / "dir" / "sub").mkdir(parents=True)
    for k in range(40):
        (root / "dir" / f"file{k}").write_text(f"first {k}" * (k + 1))
    (root / "dir" / "large").write_bytes(os.urandom(5_000_000))
    (root / "dir" / "sub" / "deep").write_text("deep")
    (root / "dir" / "link").symlink_to("file1")
    (root / "dir" / "hard").hardlink_to(root / "dir" / "file2")
    os.mkfifo(root / "dir" / "fifo")
    (root / "dir" / "file3").chmod(0o640)
    os.setxattr(root / "dir" / "file4", "user.color", b"blue")
    os.utime(root / "dir" / "file5", ns=(10**18, 10**18 + 1))


def spoil(root: Path) -> None:
    for k in range(0, 40, 2):
        (root / "dir" / f"file{k}").write_text(f"second {k}")
    (root / "dir" / "file1").unlink()
    (root / "dir" / "large").write_bytes(b"small now")
    (root / "dir" / "sub" / "deep").unlink()
    (root / "dir" / "sub").rmdir()
    (root / "dir").rename(root / "renamed")


def test_programs_copy_list_and_compare_a_view(drive: Drive, tmp_path: Path) -> None:
    """S9.1"""
    root = drive.mount()
    fill(root)
    copy = tmp_path / "copy"
    run("cp", "-a", root / "dir", copy)
    expected = tree_of(root)
    then = root / ".objfs" / "at" / now()
    spoil(root)
    assert ".objfs" not in os.listdir(root)
    assert tree_of(then) == expected
    drop_caches()
    assert tree_of(then) == expected
    run("diff", "-r", "--no-dereference", copy, then / "dir", "-x", "fifo")
    assert len(run("find", then, "-ls").splitlines()) == len(expected) + 1
    for name, command in (("cp", ["cp", "-a"]), ("rsync", ["rsync", "-aHAX"])):
        target = tmp_path / name
        run(*command, f"{then}/dir/", target)
        assert tree_of(target) == tree_of(copy)
        assert (target / "hard").stat().st_ino == (target / "file2").stat().st_ino
        assert os.getxattr(target / "file4", "user.color") == b"blue"
        assert os.listxattr(target / "file5") == []  # nothing of ours came along
        assert (target / "file5").stat().st_mtime_ns == 10**18 + 1
    status, live = (then / "dir" / "file2").stat(), (root / "renamed" / "file2").stat()
    assert status.st_nlink == 2
    assert os.getxattr(then / "dir" / "file2", "user.objfs.inode") == str(live.st_ino).encode()
    assert os.statvfs(then).f_blocks == os.statvfs(root).f_blocks


def refuses_changes(path: Path, live: Path, root: Path) -> None:
    """Whether a file of the past, or its name, can be changed in no way."""
    refused(lambda: path.write_text("x"))
    refused(lambda: os.truncate(path, 0))
    refused(path.unlink)
    refused(lambda: path.rename(root / "stolen"))
    refused(lambda: live.rename(path))
    refused(lambda: path.chmod(0o777))
    refused(lambda: os.chown(path, 1, 1))
    refused(lambda: os.utime(path))
    refused(lambda: os.setxattr(path, "user.x", b"x"))
    refused(lambda: os.removexattr(path, "user.color"))
    refused(lambda: os.link(path, root / "linked"))
    refused(lambda: os.link(live, path.parent / "new"))


def refuses_entries(directory: Path) -> None:
    """Whether nothing can be made in a directory of the past."""
    refused(lambda: (directory / "new").write_text("x"))
    refused((directory / "new").mkdir)
    refused(lambda: os.mkfifo(directory / "new"))
    refused(lambda: (directory / "new").symlink_to("x"))


def test_every_change_is_refused(drive: Drive) -> None:
    """S9.3"""
    root = drive.mount()
    fill(root)
    name = now()
    top = root / ".objfs"
    then = top / "at" / name
    spoil(root)
    file, live = then / "dir" / "file1", root / "renamed" / "file2"
    version = next((top / "versions" / "renamed" / "file2").iterdir())
    for path in (file, version, top / "deleted" / "renamed" / "file1", top / "status"):
        assert path.exists(), path
        refuses_changes(path, live, root)
    for directory in (top, top / "at", then, then / "dir", top / "deleted", top / "versions"):
        refuses_entries(directory)
    refused((then / "dir" / "sub").rmdir)
    assert tree_of(root / "renamed") == tree_of(root / "renamed")
    # Deeper down the name means nothing.
    (root / "renamed" / ".objfs").mkdir()
    (root / "renamed" / ".objfs" / "mine").write_text("mine")
    assert (root / "renamed" / ".objfs" / "mine").read_text() == "mine"


def test_what_was_deleted_and_the_versions(drive: Drive) -> None:
    """S9.5"""
    root = drive.mount()
    (root / "project" / "src").mkdir(parents=True)
    for k in range(3):
        (root / "project" / "src" / "main.c").write_text(f"int v{k};")
        (root / "project" / "src" / f"only{k}").write_text(f"{k}")
    (root / "kept").write_text("kept")
    run("rm", "-rf", root / "project")
    deleted = root / ".objfs" / "deleted"
    assert os.listdir(deleted) == ["project"]
    assert sorted(os.listdir(deleted / "project" / "src")) == ["main.c", "only0", "only1", "only2"]
    run("cp", "-a", deleted / "project", root / "project")
    assert (root / "project" / "src" / "main.c").read_text() == "int v2;"
    versions = root / ".objfs" / "versions" / "project" / "src" / "main.c"
    assert all(name.endswith(".c") for name in os.listdir(versions))
    texts = {path.read_text() for path in versions.iterdir()}
    assert texts >= {"int v2;"}


def test_status_can_be_read_while_files_change(drive: Drive) -> None:
    root = drive.mount()
    sequences = []
    for k in range(20):
        (root / f"f{k}").write_text("x" * k)
        status = root / ".objfs" / "status"
        text = status.read_text()
        assert len(text) > 100
        sequences.append(json.loads(text)["sequence"])
    assert sequences == sorted(set(sequences))


def test_a_view_stands_still_while_files_change(drive: Drive) -> None:
    """S9.2"""
    root = drive.mount()
    fill(root)
    expected = tree_of(root)
    then = root / ".objfs" / "at" / now()
    writer = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, pathlib\nroot = pathlib.Path(sys.argv[1])\n"
            "for n in range(100_000):\n"
            "    (root / f'file{n % 40}').write_text(f'{n}' * (n % 50))\n"
            "    (root / f'new{n}').write_text('x')\n"
            "    if n % 3: (root / f'new{n}').unlink()\n",
            root / "dir",
        ]
    )
    try:
        deadline = time.monotonic() + 4
        rounds = 0
        while time.monotonic() < deadline:
            assert tree_of(then) == expected
            rounds += 1
            if rounds % 3 == 0:
                drop_caches()
        assert rounds > 3
        with (then / "dir" / "large").open("rb") as file:
            head = file.read(100_000)
            drop_caches()
            assert head + file.read() == expected["dir/large"][2]
    finally:
        writer.kill()
        writer.wait()


@as_root
def test_other_users_see_what_then_and_now_allow(drive: Drive) -> None:
    """S9.4"""
    root = drive.mount("--allow-other")
    (root / "open").mkdir(mode=0o755)
    (root / "open" / "public").write_text("public")
    (root / "open" / "secret").write_text("a mistake")
    (root / "open" / "hidden").write_text("was hidden")
    (root / "open" / "hidden").chmod(0o600)
    (root / "closing").mkdir(mode=0o755)
    (root / "closing" / "file").write_text("below")
    then = root / ".objfs" / "at" / now()
    drive.umount()
    time.sleep(0.1)
    root = drive.mount("--allow-other")
    # Root looks first: what the kernel has cached must not help anybody.
    assert (then / "closing" / "file").read_text() == "below"
    assert as_user(NOBODY, (then / "closing" / "file").read_text) == "below"
    time.sleep(10.2)  # states younger than that are amended
    (root / "open" / "secret").chmod(0o600)
    (root / "open" / "hidden").chmod(0o644)
    (root / "closing").chmod(0o700)
    assert oct((then / "open" / "secret").stat().st_mode)[-3:] == "644"
    assert as_user(NOBODY, (then / "open" / "public").read_text) == "public"
    assert as_user(NOBODY, (then / "open" / "secret").read_text) == DENIED
    assert as_user(NOBODY, (then / "open" / "hidden").read_text) == DENIED
    deadline = time.monotonic() + 5  # the kernel is told a moment later
    while as_user(NOBODY, (then / "closing" / "file").read_text) != DENIED:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert as_user(NOBODY, lambda: os.listdir(then / "closing")) == DENIED
    assert as_user(NOBODY, lambda: os.listdir(then / "open")) != DENIED
    assert (then / "closing" / "file").read_text() == "below"
    assert as_user(NOBODY, (then / "closing" / "file").read_text) == DENIED
    written = as_user(NOBODY, lambda: (then / "open" / "public").write_text("x"))
    assert written in ("EROFS", DENIED)  # the kernel looks at the mode before it asks us
    # Gone today: only then counts.
    run("rm", "-rf", root / "closing")
    assert as_user(NOBODY, (then / "closing" / "file").read_text) == "below"


def test_ids_are_given_back(drive: Drive) -> None:
    root = drive.mount()
    fill(root)
    for _ in range(30):
        then = root / ".objfs" / "at" / now()
        tree_of(then)
    drop_caches()
    assert tree_of(then) == tree_of(root)


def test_versions_of_a_large_history(drive: Drive) -> None:
    root = drive.mount()
    file = root / "log.txt"
    for k in range(400):
        file.write_text(f"line {k}")
        descriptor = os.open(file, os.O_WRONLY)
        os.fsync(descriptor)  # a version of its own
        os.close(descriptor)
    names = os.listdir(root / ".objfs" / "versions" / "log.txt")
    assert len(names) == len(set(names)) == 400
    newest = max(names)
    assert (root / ".objfs" / "versions" / "log.txt" / newest).read_text() == "line 399"
