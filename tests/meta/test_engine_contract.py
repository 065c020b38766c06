"""What every engine does: the contract of `objfs/meta/engine.py`."""

from pathlib import Path

import pytest

from objfs.base.errors import DataLost
from objfs.base.limits import CHECKPOINT_PART_BYTES
from objfs.meta.engine import Applied, Changed, Engine
from objfs.meta.memory import MemoryEngine
from objfs.meta.rows import Dentry, Setting
from objfs.meta.sqlite import SqliteEngine
from objfs.meta.tables import DENTRY, EXTENT, INODE, SETTING, AnyRow, Key, table_of
from tests.meta.examples import dentry, extent, inode
from tests.meta.fakes import STORE_ID, AnyEngine

CHECKSUM = b"c" * 16
INTEGER_MAX = (1 << 63) - 1


def put(engine: Engine, *rows: AnyRow) -> None:
    sequence = engine.applied.sequence + 1 if engine.applied else 1
    changes = [(table_of(row), table_of(row).key_of(row), row) for row in rows]
    engine.apply(changes, sequence, CHECKSUM)


def delete(engine: Engine, *keys: Key) -> None:
    assert engine.applied is not None
    changes = [(DENTRY, key, None) for key in keys]
    engine.apply(changes, engine.applied.sequence + 1, CHECKSUM)


def names(found: list[Dentry]) -> list[bytes]:
    return [row.key for row in found]


def another(engine: AnyEngine, directory: Path, store_id: bytes = STORE_ID) -> AnyEngine:
    """A second, empty engine of the same sort."""
    if isinstance(engine, MemoryEngine):
        return MemoryEngine(store_id)
    return SqliteEngine(directory / "another", store_id)


def test_an_empty_engine_has_nothing(engine: AnyEngine) -> None:
    assert engine.applied is None
    assert engine.discarded is None
    assert engine.get(INODE, 1) is None
    assert engine.scan(INODE) == []
    assert list(engine.dump()) == []


def test_what_was_applied_is_read_at_once(engine: AnyEngine) -> None:
    put(engine, inode(5), dentry(1, b"a", 5))
    assert engine.get(INODE, 5) == inode(5)
    assert engine.get_many(DENTRY, [(1, b"a"), (1, b"b")]) == [dentry(1, b"a", 5), None]
    assert engine.scan(DENTRY, (1,)) == [dentry(1, b"a", 5)]
    assert engine.applied == Applied(1, CHECKSUM)


def test_many_rows_come_in_the_order_asked_for(engine: AnyEngine) -> None:
    put(engine, *(inode(ino) for ino in range(0, 200, 2)))
    engine.commit()
    put(engine, inode(1), inode(2, size=2))
    wanted = [150, 1, 7, *range(100), 2, 150, 1 << 63, -1]
    found = engine.get_many(INODE, [(ino,) for ino in wanted])
    assert found == [engine.get(INODE, ino) for ino in wanted]
    assert [row is not None for row in found[:3]] == [True, True, False]
    assert engine.get_many(INODE, []) == []


def test_a_put_replaces_the_row_and_its_place_in_indexes(engine: AnyEngine) -> None:
    put(engine, dentry(1, b"a", 5, cookie=10))
    assert engine.scan(DENTRY, (5,), index="ino") == [dentry(1, b"a", 5, cookie=10)]
    put(engine, dentry(1, b"a", 6, cookie=11))
    assert engine.scan(DENTRY, (5,), index="ino") == []
    assert engine.scan(DENTRY, (6,), index="ino") == [dentry(1, b"a", 6, cookie=11)]
    assert engine.count(DENTRY) == 1


@pytest.mark.parametrize("committed", [False, True])
def test_a_deleted_row_is_gone(engine: AnyEngine, committed: bool) -> None:
    put(engine, dentry(1, b"a", 5), dentry(1, b"b", 5))
    if committed:
        engine.commit()
        assert engine.get(DENTRY, 1, b"a") is not None
    delete(engine, (1, b"a"), (1, b"never was"))
    assert engine.get(DENTRY, 1, b"a") is None
    assert names(engine.scan(DENTRY, (5,), index="ino")) == [b"b"]
    engine.commit()
    assert engine.get(DENTRY, 1, b"a") is None
    assert engine.count(DENTRY) == 1


def test_order_is_by_bytes(engine: AnyEngine) -> None:
    keys = [b"foo/", b"foo-x", b"foo", b"", b"\xff", b"\x00", b"foo\x00", b"Foo"]
    put(engine, *(dentry(1, key, 5) for key in keys))
    assert names(engine.scan(DENTRY, (1,))) == sorted(keys)
    assert names(engine.scan(DENTRY, (1,), reverse=True)) == sorted(keys, reverse=True)
    texts = ["a", "B", "\U0001f600", "\uffff", "é", "e\u0301"]
    put(engine, *(Setting(text, b"") for text in texts))
    assert [row.name for row in engine.scan(SETTING)] == sorted(texts)


def test_bounds_are_half_open(engine: AnyEngine) -> None:
    put(engine, *(extent(7, offset, 1) for offset in (0, 10, 20, 30)), extent(8, 15, 1))
    found = engine.scan(EXTENT, (7,), lower=10, upper=30)
    assert [row.offset for row in found] == [10, 20]
    found = engine.scan(EXTENT, (7,), upper=30, reverse=True, limit=1)
    assert [row.offset for row in found] == [20]
    assert engine.scan(EXTENT, (7,), lower=20, upper=20) == []
    assert engine.scan(EXTENT, (7,), lower=30, upper=20) == []
    assert engine.scan(EXTENT, (7, 20)) == [extent(7, 20, 1)]
    assert engine.scan(EXTENT, (7,), limit=0) == []


def test_an_index_orders_by_its_fields_and_then_by_the_key(engine: AnyEngine) -> None:
    put(engine, extent(9, 0, 4), extent(7, 20, 4), extent(7, 10, 4), extent(8, 0, 3))
    found = engine.scan(EXTENT, (4,), index="segment")
    assert [(row.content, row.offset) for row in found] == [(7, 10), (7, 20), (9, 0)]
    found = engine.scan(EXTENT, (4,), index="segment", lower=8)
    assert [row.content for row in found] == [9]
    assert [row.segment for row in engine.scan(EXTENT, index="segment", limit=2)] == [3, 4]


def test_integers_beyond_the_columns_hold_nothing(engine: AnyEngine) -> None:
    put(engine, extent(INTEGER_MAX, INTEGER_MAX, 1))
    over = 1 << 63
    assert engine.get(EXTENT, over, 0) is None
    assert engine.get_many(INODE, [(over,)]) == [None]
    assert engine.scan(EXTENT, (over,)) == []
    assert engine.scan(EXTENT, lower=over) == []
    assert len(engine.scan(EXTENT, lower=-over - 1, upper=over + 1)) == 1


def test_row_images_are_idempotent(engine: AnyEngine) -> None:
    changes: list[Changed] = [
        (INODE, (5,), inode(5)),
        (DENTRY, (1, b"a"), dentry(1, b"a", 5)),
        (DENTRY, (1, b"b"), None),
    ]
    for _ in range(2):
        engine.apply(changes, 1, CHECKSUM)
        engine.commit()
    assert [row for _, row in engine.dump()] == [inode(5), dentry(1, b"a", 5)]


def test_a_backup_becomes_the_same_index(engine: AnyEngine, tmp_path: Path) -> None:
    put(engine, *(inode(ino, target=b"x" * 4000) for ino in range(2, 600)))
    put(engine, dentry(1, b"a", 5))
    copy = engine.begin_backup()
    put(engine, dentry(1, b"made later", 5))  # may be in the copy or not, but then as a whole
    backup = copy()
    parts = list(backup.parts)
    assert backup.sequence == 2
    assert len(parts) > 1
    assert all(0 < len(part) <= CHECKPOINT_PART_BYTES for part in parts)
    other = another(engine, tmp_path)
    put(other, inode(77_777))
    other.load(parts, 2)
    assert other.applied == Applied(2, CHECKSUM)
    expected = [item for item in engine.dump() if item[1] != dentry(1, b"made later", 5)]
    assert list(other.dump()) == expected
    put(other, inode(5, size=9))
    assert other.get(INODE, 5) == inode(5, size=9)
    other.close()


@pytest.mark.parametrize("damage", ["cut", "garbage", "empty", "sequence", "other store"])
def test_a_bad_backup_changes_nothing(engine: AnyEngine, tmp_path: Path, damage: str) -> None:
    put(engine, *(inode(ino) for ino in range(2, 200)))
    backup = engine.begin_backup()()
    parts = list(backup.parts)
    if damage == "cut":
        parts = [b"".join(parts)[:-5000]]
    elif damage == "garbage":
        parts = [b"garbage" * 1000]
    elif damage == "empty":
        parts = []
    sequence = backup.sequence + (damage == "sequence")
    store_id = b"somebody else's " if damage == "other store" else STORE_ID
    other = another(engine, tmp_path, store_id)
    put(other, dentry(1, b"kept", 5))
    with pytest.raises(DataLost, match="checkpoint"):
        other.load(parts, sequence)
    assert other.get(DENTRY, 1, b"kept") is not None
    other.close()


def test_a_reset_forgets_everything(engine: AnyEngine) -> None:
    put(engine, inode(5))
    engine.commit()
    put(engine, inode(6))
    engine.reset()
    assert engine.applied is None
    assert list(engine.dump()) == []
    put(engine, inode(7))
    assert [row for _, row in engine.dump()] == [inode(7)]
