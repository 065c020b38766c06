"""A checkpoint made by an earlier form of the index is loaded, row for row."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from objfs.base.errors import DataLost
from tests.meta.conftest import sqlite_engine
from tests.meta.fakes import FakeClock, FakeLog
from tests.meta.histories import dumped, history


def earlier(parts: list[bytes], path: Path, *statements: str) -> list[bytes]:
    """The copy as it would be in another form."""
    path.write_bytes(b"".join(parts))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)
    return [path.read_bytes()]


V1 = (
    "DROP TABLE sweep",
    "DROP TABLE retention",
    "DROP INDEX version_content",
    "ALTER TABLE version DROP COLUMN content",
    "ALTER TABLE version DROP COLUMN content_at",
    "ALTER TABLE dentry_past DROP COLUMN since",
)


def test_a_checkpoint_of_an_earlier_form(tmp_path: Path, log: FakeLog, clock: FakeClock) -> None:
    engine = sqlite_engine(tmp_path)
    history(engine, log, clock)
    before = dumped(engine)
    backup = engine.begin_backup()()
    parts = earlier(list(backup.parts), tmp_path / "old", *V1)
    engine.reset()
    assert dumped(engine) != before
    engine.load(parts, backup.sequence)
    assert dumped(engine) == before
    engine.close()
    again = sqlite_engine(tmp_path)
    assert again.discarded is None
    again.close()


def test_a_checkpoint_of_a_later_form_is_not_used(
    tmp_path: Path, log: FakeLog, clock: FakeClock
) -> None:
    engine = sqlite_engine(tmp_path)
    history(engine, log, clock)
    before = dumped(engine)
    backup = engine.begin_backup()()
    later = "CREATE TABLE later (id INTEGER PRIMARY KEY)"
    parts = earlier(list(backup.parts), tmp_path / "later", later)
    with pytest.raises(DataLost):
        engine.load(parts, backup.sequence)
    assert dumped(engine) == before
    engine.close()
