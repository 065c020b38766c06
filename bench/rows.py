"""The rows of the table, in order: what is prepared, what is measured, and the floor.

Both sides read this: the bench to know what to run, the child process to find its functions.
"""

from collections.abc import Callable
from dataclasses import dataclass

from bench import work_data, work_files, work_latency, work_tree
from bench.figures import DISK, NOTHING, Figure, Floor
from bench.place import Place

METADATA = Floor(against=NOTHING, share=0.5)
THROUGHPUT = Floor(against=DISK, share=0.5)
PATIENCE = Floor(most=10.0)


@dataclass(frozen=True)
class Row:
    """One kind of work. `prepare` is not timed; where `cold`, all caches are dropped between
    `prepare` and `measure`. `large`: it moves as many bytes as memory is wanted for."""

    key: str
    title: str
    figures: tuple[Figure, ...]
    measure: Callable[[Place], float | dict[str, float]]
    prepare: Callable[[Place], object] | None = None
    cold: bool = False
    large: bool = False


def _rate(unit: str, floor: Floor | None = None) -> tuple[Figure, ...]:
    return (Figure("", unit, floor=floor),)


def _latencies() -> tuple[Figure, ...]:
    return tuple(
        Figure(f"{what} {name}", "ms", lower_is_better=True, floor=floor)
        for what in ("stat", "create")
        for name, floor in (("p50", None), ("p99", PATIENCE), ("max", None))
    )


ROWS: tuple[Row, ...] = (
    Row("create", "create + write 4 KiB + close", _rate("files/s", METADATA), work_files.create),
    Row(
        "stat",
        "stat, warm",
        _rate("ops/s", METADATA),
        work_files.stat_warm,
        prepare=work_files.files,
    ),
    Row(
        "stat-cold",
        "stat, cold",
        _rate("ops/s", METADATA),
        work_files.stat_cold,
        prepare=work_files.files,
        cold=True,
    ),
    Row(
        "list-cold",
        "list with attributes, cold",
        _rate("entries/s", METADATA),
        work_files.list_cold,
        prepare=work_files.files,
        cold=True,
    ),
    Row(
        "open-read-cold",
        "open + read 4 KiB + close, cold",
        _rate("files/s", METADATA),
        work_files.open_read_cold,
        prepare=work_files.files,
        cold=True,
    ),
    Row(
        "open-read",
        "open + read 4 KiB + close, warm",
        _rate("files/s", METADATA),
        work_files.open_read_warm,
        prepare=work_files.files,
    ),
    Row(
        "rename",
        "rename",
        _rate("ops/s", METADATA),
        work_files.rename,
        prepare=work_files.rename_prepare,
    ),
    Row(
        "unlink",
        "unlink",
        _rate("files/s", METADATA),
        work_files.unlink,
        prepare=work_files.unlink_prepare,
    ),
    Row("create-128k", "create 128 KiB file", _rate("files/s"), work_files.create_large),
    Row("fsync-4k", "4 KiB write + fsync", _rate("ops/s"), work_data.fsync_small),
    Row(
        "seq-write",
        "sequential write, fsync included",
        _rate("MiB/s", THROUGHPUT),
        work_data.write_random_bytes,
        large=True,
    ),
    Row(
        "seq-write-text",
        "the same, compressible",
        _rate("MiB/s", THROUGHPUT),
        work_data.write_text,
        large=True,
    ),
    Row(
        "seq-read-cold",
        "sequential read, cold",
        _rate("MiB/s", THROUGHPUT),
        work_data.read_cold,
        prepare=work_data.stream,
        cold=True,
        large=True,
    ),
    Row(
        "seq-read",
        "sequential read, warm",
        _rate("MiB/s", THROUGHPUT),
        work_data.read_warm,
        prepare=work_data.stream,
        large=True,
    ),
    Row(
        "rand-read-cold",
        "random 4 KiB read, cold",
        _rate("ops/s"),
        work_data.random_read_cold,
        prepare=work_data.stream,
        cold=True,
    ),
    Row(
        "rand-write",
        "random 4 KiB write, one fsync",
        _rate("ops/s"),
        work_data.random_write,
        prepare=work_data.random_file,
        large=True,
    ),
    Row("rsync", "rsync -a of a real tree", _rate("entries/s", METADATA), work_tree.rsync),
    Row(
        "rsync-again",
        "the same again, nothing changed",
        _rate("entries/s", METADATA),
        work_tree.rsync_again,
        prepare=work_tree.tree,
    ),
    Row(
        "tar", "tar of it into a pipe", _rate("entries/s", METADATA), work_tree.tar, work_tree.tree
    ),
    Row(
        "cp", "cp -a within the mount", _rate("entries/s", METADATA), work_tree.copy, work_tree.tree
    ),
    Row(
        "rm",
        "rm -rf of it",
        _rate("entries/s", METADATA),
        work_tree.remove,
        prepare=work_tree.remove_prepare,
    ),
    Row(
        "latency",
        "while a large file comes in:",
        _latencies(),
        work_latency.latency,
        prepare=work_files.files,
        cold=True,
        large=True,
    ),
)

BY_KEY = {row.key: row for row in ROWS}
