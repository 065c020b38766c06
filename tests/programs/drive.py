"""A store in a directory, mounted by the real command: what the tests of real programs work on."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

OBJFS = str(Path(sys.executable).parent / "objfs")
SECONDS_MAX = 300


def run(*command: str | Path, cwd: Path | None = None, check: bool = True) -> str:
    """Run a program to its end; its output. Fails with what it said."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=SECONDS_MAX,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )
    output = done.stdout.decode(errors="replace")
    if check:
        assert done.returncode == 0, f"{command} exited with {done.returncode}: {output}"
    return output


class Drive:
    """A store and its mount point. `close` ends and unmounts whatever is left."""

    def __init__(self, directory: Path) -> None:
        self.store = directory / "store"
        self.mountpoint = directory / "mount"
        self.mountpoint.mkdir()
        run(OBJFS, "init", self.store)

    def objfs(self, *arguments: str | Path, check: bool = True) -> str:
        """Run the command."""
        return run(OBJFS, *arguments, check=check)

    def json(self, *arguments: str | Path) -> Any:
        """Run the command with `--json`, and read what it printed."""
        return json.loads(self.objfs(*arguments, "--json"))

    def mount(self, *options: str) -> Path:
        self.objfs("mount", *options, self.store, self.mountpoint)
        return self.mountpoint

    def umount(self) -> None:
        self.objfs("umount", self.mountpoint)

    def remount(self) -> Path:
        self.umount()
        return self.mount()

    @property
    def pid(self) -> int:
        """The process that owns the store."""
        for line in (self.store / "lock").read_text().splitlines():
            for word in line.replace(":", " ").replace(",", " ").split():
                if word.isdigit() and int(word) > 1:
                    return int(word)
        raise AssertionError("nobody holds the store")

    def kill(self) -> None:
        """kill -9 of the owner, and wait until it is gone."""
        pid = self.pid
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 30
        while _running(pid):
            assert time.monotonic() < deadline, f"process {pid} does not end"
            time.sleep(0.01)

    def mounted(self) -> bool:
        return any(
            line.split()[4] == str(self.mountpoint)
            for line in Path("/proc/self/mountinfo").read_text().splitlines()
        )

    def close(self) -> None:
        if self.mounted():
            run(OBJFS, "umount", self.mountpoint, check=False)
        while self.mounted():
            run("umount", "-l", self.mountpoint)


def _running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def drop_caches() -> None:
    """Clean pages, dentries and inodes of the kernel go (root only)."""
    run("sync")
    Path("/proc/sys/vm/drop_caches").write_text("3")


def tree_of(root: Path, skip: Sequence[str] = ()) -> dict[str, tuple[int, int, bytes]]:
    """Mode, size and content of everything below `root`, by relative path."""
    tree = {}
    for path in sorted(root.rglob("*")):
        if path.name in skip:
            continue
        status = path.lstat()
        if path.is_symlink():
            content = os.readlink(path).encode()
        elif path.is_file():
            content = path.read_bytes()
        else:
            content = b""
        size = 0 if path.is_dir() else status.st_size
        tree[str(path.relative_to(root))] = (status.st_mode, size, content)
    return tree
