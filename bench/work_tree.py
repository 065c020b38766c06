"""The rows over a real tree, done by real programs. Each function does one row's work in one place
and returns entries a second."""

import os
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

from bench.place import Place, seconds_of

DOCUMENTATION = Path("/usr/share/doc")


def make_source(destination: Path, entries: int) -> None:
    """Copy the standard library of this Python and, up to `entries` altogether, what the system
    has under /usr/share/doc."""
    left = entries
    for name, origin in (
        ("python", Path(sysconfig.get_path("stdlib"))),
        ("doc", DOCUMENTATION),
    ):
        left -= _copy_some(origin, destination / name, left)


def _copy_some(origin: Path, destination: Path, most: int) -> int:
    count = 0
    for path in _entries(origin):
        if count == most:
            break
        target = destination / path.relative_to(origin)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir() and not path.is_symlink():
            target.mkdir(exist_ok=True)
        elif path.is_file() or path.is_symlink():
            shutil.copy2(path, target, follow_symlinks=False)
        count += 1
    return count


def _entries(origin: Path) -> Iterator[Path]:
    for directory, directories, names in os.walk(origin):
        directories[:] = sorted(set(directories) - {"__pycache__", "site-packages"})
        for name in [*directories, *sorted(names)]:
            yield Path(directory, name)


def count_entries(tree: Path) -> int:
    """Files and directories below `tree`."""
    return sum(len(directories) + len(names) for _, directories, names in os.walk(tree))


def tree(place: Place) -> Path:
    """A copy of the real tree inside the filesystem, made by rsync."""

    def make(path: Path) -> None:
        seconds_of("rsync", "-a", f"{place.source}/", f"{path}/")

    return place.fixture("tree", make)


def rsync(place: Place) -> float:
    """`rsync -a` of the tree from the plain disk into an empty directory."""
    target = place.fresh()
    return count_entries(place.source) / seconds_of("rsync", "-a", f"{place.source}/", f"{target}/")


def rsync_again(place: Place) -> float:
    """`rsync -a` over a copy that is complete: nothing but looking."""
    target = tree(place)
    return count_entries(place.source) / seconds_of("rsync", "-a", f"{place.source}/", f"{target}/")


def tar(place: Place) -> float:
    """`tar` of the tree into a pipe. To /dev/null itself GNU tar would not read the files."""
    target = tree(place)
    count = count_entries(target)
    begin = time.perf_counter()
    with subprocess.Popen(["tar", "-C", target, "-cf", "-", "."], stdout=subprocess.PIPE) as sender:
        subprocess.run(["cat"], stdin=sender.stdout, stdout=subprocess.DEVNULL, check=True)
    if sender.returncode:
        raise subprocess.CalledProcessError(sender.returncode, "tar")
    return count / (time.perf_counter() - begin)


def copy(place: Place) -> float:
    """`cp -a` of the tree within the filesystem."""
    target = tree(place)
    return count_entries(target) / seconds_of("cp", "-a", target, place.fresh() / "copy")


def remove_prepare(place: Place) -> None:
    """This round's copy."""
    seconds_of("cp", "-a", tree(place), place.fresh() / "copy")


def remove(place: Place) -> float:
    """`rm -rf` of a copy of the tree."""
    target = place.own() / f"round-{place.round}" / "copy"
    return count_entries(target) / seconds_of("rm", "-rf", target)
