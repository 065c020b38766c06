"""The rows over many small files. Each function does one row's work in one place and returns its
rate."""

import os
from pathlib import Path

from bench.place import SMALL_BYTES, Place, make_files, per_second, write_file
from bench.sizes import KIB


def files(place: Place) -> Path:
    """The directory of small files that most rows look at."""
    return place.fixture("files", lambda path: make_files(path, place.sizes.files))


def _paths(directory: Path) -> list[str]:
    return sorted(entry.path for entry in os.scandir(directory))


def create(place: Place) -> float:
    """create + write 4 KiB + close."""
    directory = str(place.fresh())
    payload = os.urandom(SMALL_BYTES)

    def one(index: int) -> None:
        descriptor = os.open(f"{directory}/{index:06d}", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        os.write(descriptor, payload)
        os.close(descriptor)

    return per_second(one, seconds=place.sizes.seconds, most=place.sizes.created_most)


def create_large(place: Place) -> float:
    """create + write 128 KiB + close."""
    directory = place.fresh()
    payload = os.urandom(128 * KIB)
    return per_second(
        lambda index: write_file(directory / f"{index:06d}", payload),
        seconds=place.sizes.seconds,
        most=place.sizes.large_created_most,
    )


def stat_warm(place: Place) -> float:
    """stat of names and attributes that were just looked at, again and again."""
    paths = _paths(files(place))
    for path in paths:
        os.stat(path)
    count = len(paths)
    return per_second(
        lambda index: os.stat(paths[index % count]), seconds=place.sizes.seconds, most=10**9
    )


def stat_cold(place: Place) -> float:
    """stat of names that the kernel does not know, each once: the price of one lookup. The
    names are built, not listed: a listing would bring the attributes along."""
    directory = str(place.root / "fixture-files")
    return per_second(
        lambda index: os.stat(f"{directory}/{index:06d}"),
        seconds=60.0,
        most=place.sizes.files,
    )


def list_cold(place: Place) -> float:
    """A listing with the attributes of every entry, as `ls -l` and every sync program do it."""
    directory = place.root / "fixture-files"
    count = place.sizes.files

    def one(_: int) -> None:
        with os.scandir(directory) as entries:
            found = sum(entry.stat(follow_symlinks=False).st_size > 0 for entry in entries)
        if found != count:
            raise AssertionError(f"{directory} lists {found} files with bytes, not {count}")

    return per_second(one, seconds=0.0, most=1) * count


def _open_read(directory: str, index: int) -> None:
    descriptor = os.open(f"{directory}/{index:06d}", os.O_RDONLY)
    data = os.read(descriptor, SMALL_BYTES)
    os.close(descriptor)
    assert len(data) == SMALL_BYTES


def open_read_cold(place: Place) -> float:
    """open + read 4 KiB + close, each file once."""
    directory = str(place.root / "fixture-files")
    return per_second(
        lambda index: _open_read(directory, index), seconds=60.0, most=place.sizes.files
    )


def open_read_warm(place: Place) -> float:
    """open + read 4 KiB + close of files that were just read."""
    directory = str(files(place))
    count = min(place.sizes.files, 1_000)
    for index in range(count):
        _open_read(directory, index)
    return per_second(
        lambda index: _open_read(directory, index % count),
        seconds=place.sizes.seconds,
        most=10**9,
    )


def rename_prepare(place: Place) -> None:
    """Files of the row's own, to go back and forth between two names."""
    directory = place.own() / "files"
    if not directory.exists():
        make_files(directory, place.sizes.renamed)


def rename(place: Place) -> float:
    """rename within one directory, to a name that is free."""
    paths = _paths(place.own() / "files")
    count = len(paths)

    def one(index: int) -> None:
        old = paths[index % count]
        new = old.removesuffix(".new") if old.endswith(".new") else old + ".new"
        os.rename(old, new)
        paths[index % count] = new

    return per_second(one, seconds=place.sizes.seconds, most=10**9)


def unlink_prepare(place: Place) -> None:
    """This round's files."""
    make_files(place.own() / f"round-{place.round}", place.sizes.unlinked)


def unlink(place: Place) -> float:
    """unlink of every file in a directory, in the order of their names."""
    paths = _paths(place.own() / f"round-{place.round}")
    return per_second(lambda index: os.unlink(paths[index]), seconds=60.0, most=len(paths))
