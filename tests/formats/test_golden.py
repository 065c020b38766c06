"""Stores of every released format are opened, for ever."""

from pathlib import Path

import msgspec
import pytest

from tests.formats.describe import describe

STORES = sorted(path.parent for path in Path(__file__).parent.glob("*/objfs.toml"))


def test_there_are_golden_stores() -> None:
    assert [store.name for store in STORES] == ["v1"]


@pytest.mark.parametrize("store", STORES, ids=lambda store: store.name)
async def test_a_golden_store_opens_with_everything_in_it(store: Path) -> None:
    expected = msgspec.json.decode((store / "expected.json").read_bytes())
    found = await describe(store)
    assert msgspec.json.decode(msgspec.json.encode(found)) == expected
