"""Random work on the memory engine and on SQLite gives the same answers at every step, inside a
change and outside, across commits and reopenings, and the same META records."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objfs.meta.database import Change, Database
from objfs.meta.engine import Engine
from objfs.meta.memory import MemoryEngine
from objfs.meta.sqlite import SqliteEngine
from tests.meta.examples import any_key, any_row, any_scan
from tests.meta.fakes import STORE_ID, FakeClock, FakeLog

row_step = st.tuples(st.just("put"), any_row) | st.tuples(st.just("delete"), any_key())
read_step = (
    st.tuples(st.just("get"), any_key())
    | st.tuples(st.just("get_many"), st.lists(any_key(), max_size=4))
    | st.tuples(st.just("scan"), any_scan())
)
change_step = st.tuples(
    st.just("change"), st.lists(row_step | read_step, max_size=12), st.booleans()
)
other_step = st.tuples(st.sampled_from(("commit", "reopen")))
first_step = st.tuples(
    st.just("change"),
    st.lists(st.tuples(st.just("put"), any_row), min_size=5, max_size=40),
    st.just(False),
)
steps = st.builds(
    lambda first, rest: [first, *rest],
    first_step,
    st.lists(change_step | read_step | other_step, min_size=5, max_size=30),
)


class Abandoned(Exception):
    """Raised inside a change to drop it."""


class System:
    """A database on one engine, driven by steps."""

    def __init__(self, engine: Engine, directory: Path | None) -> None:
        self.directory = directory
        self.log = FakeLog()
        self.clock = FakeClock()
        self.database = Database(engine, self.log, self.clock)

    def do(self, step: tuple[Any, ...]) -> object:
        kind = step[0]
        if kind == "change":
            return self.do_change(step[1], step[2])
        if kind == "commit":
            self.database.commit()
        elif kind == "reopen":
            self.reopen()
        else:
            return read(self.database, step)
        return None

    def do_change(self, inner: list[tuple[Any, ...]], abandon: bool) -> list[object]:
        self.clock.advance(0.03)
        answers = []
        try:
            with self.database.change() as change:
                for step in inner:
                    if step[0] == "put":
                        change.put(step[1])
                    elif step[0] == "delete":
                        change.delete(step[1][0], *step[1][1])
                    else:
                        answers.append(read(change, step))
                if abandon:
                    raise Abandoned
        except Abandoned:
            answers.append("abandoned")
        return answers

    def reopen(self) -> None:
        self.database.close()
        engine = self.database.engine
        if self.directory is not None:
            engine = SqliteEngine(self.directory, STORE_ID)
            assert engine.applied == self.database.engine.applied
        self.database = Database(engine, self.log, self.clock)


def read(source: Database | Change, step: tuple[Any, ...]) -> object:
    kind, what = step
    if kind == "get":
        return source.get(what[0], *what[1])
    if kind == "get_many":
        tables = [table for table, _ in what]
        keys = [key for table, key in what if table is tables[0]]
        return source.get_many(tables[0], keys) if tables else []
    table, prefix, options = what
    return source.scan(table, prefix, **options)


def compare(work: list[tuple[Any, ...]], directory: Path) -> None:
    plain = System(MemoryEngine(STORE_ID), None)
    sqlite = System(SqliteEngine(directory, STORE_ID), directory)
    try:
        for step in work:
            assert sqlite.do(step) == plain.do(step), step
        assert list(sqlite.database.engine.dump()) == list(plain.database.engine.dump())
        assert sqlite.log.records == plain.log.records
        assert sqlite.database.engine.applied == plain.database.engine.applied
    finally:
        sqlite.database.close()


@pytest.mark.slow
@given(steps)
def test_engines_agree(work: list[tuple[Any, ...]]) -> None:
    with TemporaryDirectory() as directory:
        compare(work, Path(directory) / "index")
