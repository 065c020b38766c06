"""Histories of an index: made at random, and given again from the log."""

from random import Random

from objfs.meta.change_record import decode_change
from objfs.meta.database import CatchUp
from objfs.meta.engine import Changed, Engine
from objfs.meta.memory import MemoryEngine
from objfs.meta.replay import catch_up
from objfs.meta.rows import InodePast
from objfs.meta.tables import DENTRY, EXTENT, INODE, AnyRow, table_of
from tests.meta.examples import dentry, extent, inode, version
from tests.meta.fakes import STORE_ID, FakeClock, FakeLog


def history(
    engine: Engine, log: FakeLog, clock: FakeClock, *, seed: int = 1, changes: int = 60
) -> None:
    """Go on with a random history: creates, writes, renames, deletes."""
    random, database = Random(seed), catch_up(engine, log, clock)
    for _ in range(changes):
        clock.advance(random.random() / 10)
        with database.change() as change:
            ino, name = random.choice((change.new_id(), 256, 300)), b"%d" % random.randrange(9)
            old = change.get(INODE, ino)
            change.put(inode(ino, size=random.randrange(99), since=change.sequence))
            if old is not None:
                change.put(InodePast(ino, change.sequence, old, {b"user.a": b"b"}))
            if random.random() < 0.4:
                change.delete(DENTRY, 1, name)
            else:
                change.put(dentry(1, name, ino, cookie=ino))
            for row in change.scan(EXTENT, (ino,), limit=2):
                change.delete(EXTENT, row.content, row.offset)
            change.put(extent(ino, random.randrange(0, 100, 10), random.randrange(3)))
            change.put(version(ino, change.sequence, 10))
        if random.random() < 0.2:
            database.commit()
    database.commit()


def dumped(engine: Engine) -> list[tuple[str, AnyRow]]:
    return list(engine.dump())


def caught_up(engine: Engine, log: FakeLog, clock: FakeClock) -> CatchUp:
    database = catch_up(engine, log, clock)
    assert database.sequence == log.last_sequence
    assert database.caught_up is not None
    return database.caught_up


def from_scratch(log: FakeLog, clock: FakeClock) -> list[tuple[str, AnyRow]]:
    """The rows that the log gives without any checkpoint."""
    plain = FakeLog()
    plain.records, plain.last_sequence = log.records, log.last_sequence
    engine = MemoryEngine(STORE_ID)
    catch_up(engine, plain, clock)
    return dumped(engine)


def change_of(row: AnyRow) -> Changed:
    return table_of(row), table_of(row).key_of(row), row


def applied_first(log: FakeLog) -> tuple[list[Changed], int, bytes]:
    first = log.records[1]
    return decode_change(first.payload, 1).changes, 1, first.checksum
