"""Random histories in which the past itself is worked on: snapshots, forgetting, rules of
retention, restores, compaction, scrub and fsck, between crashes, lost indexes and checkpoints.
Every retained moment and version is compared with the plain model (`tests/model/past.py` says what
is right)."""

import os
import stat
from pathlib import Path

import pytest

from objfs.base.types import Caller
from tests.model.operations import EXCHANGE, Operation
from tests.model.sequences import check, run

SEQUENCES = 40
SEEDS = (  # that failed once
    *(133, 375, 418, 2010, 2018, 2028, 3002, 3009, 3010, 3012, 3021, 4074),
    *(10459, 10498, 10547, 10590, 11044, 11113, 11343, 11395, 11677, 11821, 11864),
)
OPERATIONS = 100
FEW_OPERATIONS = 40
LONG_SEQUENCES = 2000
LONG_OPERATIONS = 200
ME = Caller(1000, 1000, 0o022)

# What random histories found, shrunk.
FOUND: dict[str, list[Operation]] = {
    "fsck leaves alone what was forgotten of an open file without a name": [
        ("create", ("a", 0o644, ME, 2)),
        ("write", (2, 0, 300_000, 323766183)),
        ("create", ("b", 0o600, ME, 3)),
        ("rename", ("b", "a", 0)),
        ("forget", ("a",)),
        ("check", ()),
    ],
    "erasing the first version leaves the attributes of the time before it": [
        ("create", ("a", 0o644, ME, 0)),
        ("rename", ("a", "b", 0)),
        ("create", ("c", 0o644, ME, 3)),
        ("rename", ("b", "c", EXCHANGE)),
        ("advance", (3_600_000,)),
        ("release", (0,)),
        ("advance", (3_600_000,)),
        ("open", ("c", os.O_RDWR, 2)),
        ("write", (2, 10, 1, 1035022142)),
        ("flush", (2,)),
        ("forget_version", ("c", 1)),
    ],
    "a snapshot of the time before the first version pins that": [
        ("create", ("a", 0o644, ME, 0)),
        ("crash", ("all", 0, "kept")),
        ("take_snapshot", ("s1", "")),
        ("link", ("a", "b")),
        ("open", ("b", os.O_RDWR, 3)),
        ("write", (3, 0, 1000, 504309257)),
        ("create", ("c", 0o600, ME, 0)),
        ("rename", ("c", "a", 0)),
        ("forget_version", ("a", 0)),
        ("forget", ("a",)),
    ],
    "forgetting a path leaves the attributes that a file had at another": [
        ("mkdir", ("a", 0o755, ME)),
        ("mkdir", ("a/c", 0o755, ME)),
        ("mkdir", ("a/b", 0o755, ME)),
        ("mknod", ("a/c/d", stat.S_IFCHR | 0o644, 7, ME)),
        ("advance", (3_600_000,)),
        ("rename", ("a/c", "a/b/e", 0)),
        ("change_times", ("a/b/e/d", 513287539858, 223504670512)),
        ("forget", ("a/b",)),
    ],
    "a forgotten path of a file that was sealed after its directory was renamed": [
        ("mkdir", ("a", 0o755, ME)),
        ("mkdir", ("a/b", 0o755, ME)),
        ("create", ("a/b/c", 0o644, ME, 3)),
        ("rename", ("a", "d", 0)),
        ("release", (3,)),
        ("rename", ("d/b/c", "c", 0)),
        ("open", ("c", os.O_RDWR, 1)),
        ("write", (1, 0, 10, 1)),
        ("release", (1,)),
        ("unlink", ("c",)),
        ("forget", ("d/b",)),
        ("forget", ("c",)),
    ],
}


@pytest.mark.parametrize("seed", range(4))
async def test_a_short_history(seed: int) -> None:
    """S8.2, S10.4, S11.1"""
    await check(seed, FEW_OPERATIONS, sqlite=False, time=True)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [*range(SEQUENCES), *SEEDS])
async def test_a_random_history(seed: int) -> None:
    """S6.3, S8.2, S8.3, S10.3, S10.6, S11.1"""
    count = LONG_OPERATIONS if seed in SEEDS else OPERATIONS
    await check(seed, count, sqlite=seed % 3 == 0, time=True)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10_000, 10_000 + LONG_SEQUENCES))
async def test_many_more(seed: int) -> None:
    await check(seed, LONG_OPERATIONS, sqlite=seed % 3 == 0, time=True)


@pytest.mark.parametrize("sqlite", [False, True])
@pytest.mark.parametrize("name", FOUND)
async def test_what_was_found(name: str, sqlite: bool, tmp_path: Path) -> None:
    last = await run(FOUND[name], 1, tmp_path / "index" if sqlite else None)
    await last.harness.close()
