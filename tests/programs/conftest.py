"""A mounted store for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.programs.drive import Drive


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Drive]:
    """A new store, mounted."""
    drive = Drive(tmp_path)
    try:
        drive.mount()
        yield drive
    finally:
        drive.close()
