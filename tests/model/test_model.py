"""Random histories on a volume and on the plain model, compared after every step, every past
moment included (`tests/model/reference.py` says what is right)."""

import os
from pathlib import Path

import pytest

from objfs.base.types import Caller
from tests.model.operations import Operation
from tests.model.sequences import check, run

SEQUENCES = 60
OPERATIONS = 120
LONG_SEQUENCES = 3000
LONG_OPERATIONS = 200
ME = Caller(1000, 1000, 0o022)

# What random histories found, shrunk: seeds do not outlive a change of the generator.
FOUND: dict[str, list[Operation]] = {
    "creating and closing a file does not move its ctime": [
        ("create", ("a", 0o755, ME, 3)),
        ("advance", (1000,)),
        ("release", (3,)),
    ],
    "a seal after fsync does not move ctime": [
        ("create", ("a", 0o755, ME, 3)),
        ("write", (3, 0, 100, 1)),
        ("fsync", (3,)),
        ("advance", (1000,)),
        ("release", (3,)),
    ],
    "an attribute set while a file is being written moves its ctime": [
        ("create", ("a", 0o755, ME, 2)),
        ("write", (2, 0, 20000, 809945676)),
        ("set_attribute", ("a", b"trusted.t", b"value", 0)),
        ("link", ("a", "b")),
        ("unlink", ("a",)),
        ("release", (2,)),
    ],
    "a rename that does nothing or fails seals nothing": [
        ("create", ("a", 0o644, ME, 2)),
        ("rename", ("a", "a", 0)),
        ("rename", ("none", "a", 0)),
        ("link", ("a", "b")),
        ("rename", ("a", "b", 0)),
    ],
    "a file without a name is gone at the next start": [
        ("create", ("a", 0o644, ME, 1)),
        ("unlink", ("a",)),
        ("write", (1, 0, 300_000, 544217267)),
        ("flush", (1,)),
        ("remount", ("lost",)),
    ],
    "a crash of the recovery from a crash": [
        ("create", ("a", 0o644, ME, 1)),
        ("write", (1, 4096, 100, 241061609)),
        ("fsync", (1,)),
        ("truncate_open", (1, 0)),
        ("crash", ("some", 333925750, "older")),
        ("crash", ("synced", 141154060, "older")),
    ],
    "a crash between the seal of what a rename displaces and the rename": [
        ("create", ("a", 0o644, ME, 1)),
        ("create", ("b", 0o644, ME, 2)),
        ("release", (2,)),
        ("rename", ("b", "a", 0)),
        ("crash", ("some", 313548792, "kept")),
    ],
    "a version that is restored over its own writer": [
        ("create", ("a", 0o600, ME, 3)),
        ("write", (3, 4096, 4096, 352529394)),
        ("flush", (3,)),
        ("write", (3, 4096, 1000, 846077387)),
        ("restore", ("a", 0)),
    ],
    "a version that is restored while another name's writer goes on": [
        ("create", ("c", 0o600, ME, 0)),
        ("link", ("c", "b")),
        ("write", (0, 0, 5000, 766944462)),
        ("open", ("b", os.O_RDWR, 2)),
        ("flush", (2,)),
        ("restore", ("c", 0)),
        ("write", (2, 1, 1, 1056104012)),
    ],
    "a version of a restored file that was written is not replaced": [
        ("create", ("a", 0o600, ME, 1)),
        ("release", (1,)),
        ("restore", ("a", 0)),
        ("open", ("a", os.O_RDWR, 1)),
        ("truncate_open", (1, 4097)),
        ("flush", (1,)),
        ("write", (1, 0, 300_000, 1055920712)),
    ],
}


def seeds() -> list[int]:
    """Seeds to run besides the first ones: `seeds.txt`, a seed and what it is kept for a line."""
    lines = Path(__file__).with_name("seeds.txt").read_text().splitlines()
    return [int(line.split()[0]) for line in lines if line.split()[:1] and line[0].isdigit()]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [*range(SEQUENCES), *seeds()])
async def test_a_random_history(seed: int) -> None:
    """S6.3, S6.4"""
    await check(seed, LONG_OPERATIONS if seed >= SEQUENCES else OPERATIONS, sqlite=seed % 3 == 0)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1000, 1000 + LONG_SEQUENCES))
async def test_many_more(seed: int) -> None:
    await check(seed, LONG_OPERATIONS, sqlite=seed % 3 == 0)


@pytest.mark.parametrize("sqlite", [False, True])
@pytest.mark.parametrize("name", FOUND)
async def test_what_was_found(name: str, sqlite: bool, tmp_path: Path) -> None:
    last = await run(FOUND[name], 1, tmp_path / "index" if sqlite else None)
    await last.harness.close()
