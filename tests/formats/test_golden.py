"""Stores of every released format are opened, for ever."""

import shutil
from pathlib import Path

import msgspec
import pytest
import trio

from tests.cli.conftest import CommandLine
from tests.formats.describe import describe

STORES = sorted(path.parent for path in Path(__file__).parent.glob("*/objfs.toml"))


def test_there_are_golden_stores() -> None:
    assert [store.name for store in STORES] == ["v1", "v1-time"]


@pytest.mark.parametrize("store", STORES, ids=lambda store: store.name)
async def test_a_golden_store_opens_with_everything_in_it(store: Path) -> None:
    expected = msgspec.json.decode((store / "expected.json").read_bytes())
    found = await describe(store)
    assert msgspec.json.decode(msgspec.json.encode(found)) == expected


@pytest.mark.parametrize("store", STORES, ids=lambda store: store.name)
def test_a_golden_store_is_restored_compacted_scrubbed_and_opens(
    store: Path, tmp_path: Path, objfs: CommandLine
) -> None:
    """S12.1"""
    copy = tmp_path / "store"
    shutil.copytree(store, copy)
    expected = msgspec.json.decode((store / "expected.json").read_bytes())
    assert (
        objfs("restore", f"{copy}:main/papers", "--at", "now", "--to", f"{copy}:main/new").status
        == 0
    )
    for command in (("scrub",), ("compact",), ("fsck", "--data"), ("rebuild",), ("fsck", "--deep")):
        ran = objfs(command[0], copy, *command[1:])
        assert ran.status == 0, (command, ran.out, ran.err)
    found = msgspec.json.decode(msgspec.json.encode(trio.run(describe, copy)))
    restored = [name for name in found["main"]["files"] if name.startswith("b'new")]
    assert len(restored) == sum(name.startswith("b'papers") for name in expected["main"]["files"])
    for name in restored:
        del found["main"]["files"][name]
    assert found == expected
