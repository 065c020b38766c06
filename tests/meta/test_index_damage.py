"""An index file that is damaged, of another version or of another store is rebuilt."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from objfs.base.errors import IndexFailed
from objfs.meta.database import CatchUp
from objfs.meta.replay import catch_up
from objfs.meta.sqlite import SqliteEngine
from objfs.meta.tables import INODE
from tests.meta.conftest import sqlite_engine
from tests.meta.fakes import STORE_ID, FakeClock, FakeLog
from tests.meta.histories import caught_up, dumped, history


@pytest.mark.parametrize(
    "harm", ["garbage", "header", "empty", "cut", "store", "version", "schema"]
)
def test_a_damaged_file_is_rebuilt(
    tmp_path: Path, log: FakeLog, clock: FakeClock, harm: str
) -> None:
    engine = sqlite_engine(tmp_path)
    history(engine, log, clock)
    before = dumped(engine)
    engine.close()
    damage(engine.path, harm)
    again = sqlite_engine(tmp_path)
    reason = again.discarded
    assert reason is not None
    found = caught_up(again, log, clock)
    assert (found.outcome, found.reason) == ("rebuilt", reason)
    assert dumped(again) == before
    assert caught_up(again, log, clock).outcome == "current"
    again.close()
    third = sqlite_engine(tmp_path)
    assert third.discarded is None
    assert caught_up(third, log, clock).outcome == "current"
    third.close()


def test_a_file_that_was_cut_short_is_seen_at_opening(
    tmp_path: Path, log: FakeLog, clock: FakeClock
) -> None:
    engine = sqlite_engine(tmp_path)
    history(engine, log, clock)
    engine.close()
    engine.path.write_bytes(engine.path.read_bytes()[:-4096])
    again = sqlite_engine(tmp_path)
    assert again.discarded == "it is damaged: database disk image is malformed"
    again.close()


def damage(path: Path, harm: str) -> None:
    content = bytearray(path.read_bytes())
    if harm == "garbage":
        content = bytearray(b"this is no database" * 1000)
    elif harm == "header":
        content[16:20] = b"\xff\xff\xff\xff"
    elif harm == "empty":
        content.clear()
    elif harm == "cut":
        del content[-8192:]
    path.write_bytes(content)
    if harm == "store":
        path.unlink()
        SqliteEngine(path.parent, b"another store's!").close()
    elif harm in ("version", "schema"):
        engine = SqliteEngine(path.parent, STORE_ID)
        version_up, less = "PRAGMA user_version = 99", "DROP INDEX dentry_ino"
        engine._connection.execute(version_up if harm == "version" else less)
        engine.close()


def test_a_page_that_is_damaged_inside_is_found_when_it_is_read(
    tmp_path: Path, log: FakeLog, clock: FakeClock
) -> None:
    engine = sqlite_engine(tmp_path)
    history(engine, log, clock)
    before = dumped(engine)
    engine.close()
    spoil_pages(engine.path)
    again = sqlite_engine(tmp_path)
    assert again.discarded is None
    found = caught_up(again, log, clock)
    assert found == CatchUp("rebuilt", "it failed when it was read", 0, 0, 60, 0)
    assert dumped(again) == before
    again.close()


def test_damage_found_in_use_is_mended_by_the_next_opening(
    tmp_path: Path, log: FakeLog, clock: FakeClock
) -> None:
    engine = sqlite_engine(tmp_path)
    history(engine, log, clock)
    before = dumped(engine)
    engine._connection.execute('UPDATE "inode" SET "row" = x\'c1\' WHERE "ino" = 300')
    engine._cached[INODE.id].clear()
    database = catch_up(engine, log, clock)
    with pytest.raises(IndexFailed, match="open the store again"):
        database.get(INODE, 300)
    assert database.failed is None  # the rest can still be read
    assert database.get(INODE, 256) is not None
    engine.close()
    again = sqlite_engine(tmp_path)
    found = caught_up(again, log, clock)
    assert found.reason == "it was found damaged when it was last used"
    assert dumped(again) == before
    again.close()
    third = sqlite_engine(tmp_path)
    assert third.discarded is None
    third.close()


def spoil_pages(path: Path) -> None:
    """The first one of every table and index but the state's, so that the file opens."""
    query = "SELECT rootpage FROM sqlite_master WHERE rootpage > 0 AND tbl_name != 'objfs_state'"
    with closing(sqlite3.connect(path)) as connection:
        roots = [root for (root,) in connection.execute(query)]
    content = bytearray(path.read_bytes())
    for root in roots:
        content[(root - 1) * 4096 : root * 4096] = b"\x99" * 4096
    path.write_bytes(content)


def test_garbage_beside_the_file_does_no_harm(
    tmp_path: Path, log: FakeLog, clock: FakeClock
) -> None:
    engine = sqlite_engine(tmp_path)
    history(engine, log, clock)
    before = dumped(engine)
    engine.close()
    for suffix in ("-wal", "-shm", ".copy", ".loading"):
        Path(f"{engine.path}{suffix}").write_bytes(b"garbage" * 5000)
    again = sqlite_engine(tmp_path)
    caught_up(again, log, clock)
    assert dumped(again) == before
    again.reset()
    assert {path.name for path in engine.path.parent.iterdir()} <= {
        "objfs.sqlite",
        "objfs.sqlite-wal",
        "objfs.sqlite-shm",
    }
    again.close()
