"""Engines to test, each closed at the end."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from objfs.meta.memory import MemoryEngine
from objfs.meta.sqlite import SqliteEngine
from tests.meta.fakes import STORE_ID, AnyEngine, FakeClock, FakeLog


@pytest.fixture(params=["memory", "sqlite"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AnyEngine]:
    """Each engine in turn."""
    made = MemoryEngine(STORE_ID) if request.param == "memory" else sqlite_engine(tmp_path)
    yield made
    if made.failed is None:
        made.close()


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[SqliteEngine]:
    made = sqlite_engine(tmp_path)
    yield made
    made.close()


@pytest.fixture
def log() -> FakeLog:
    return FakeLog()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def sqlite_engine(directory: Path) -> SqliteEngine:
    return SqliteEngine(directory / "index", STORE_ID)
