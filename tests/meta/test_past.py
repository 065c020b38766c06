"""Skip-scans of tables of the past: what both engines find, against the plain definition."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from objfs.meta.rows import DentryPast
from objfs.meta.tables import DENTRY_PAST, EXTENT_PAST, VERSION
from tests.meta.fakes import AnyEngine
from tests.meta.test_engine_contract import CHECKSUM, put

KEYS = (b"a", b"a/", b"b", b"\xff", b"")


def past(parent: int, key: bytes, until: int) -> DentryPast:
    return DentryPast(parent, key, until, 7, until - 1)


rows = st.sets(st.tuples(st.sampled_from((1, 2)), st.sampled_from(KEYS), st.integers(1, 12)))


@given(rows=rows, bound=st.integers(0, 13), step=st.integers(0, 5), commit=st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_one_row_of_each_group(
    engine: AnyEngine, rows: set[tuple[int, bytes, int]], bound: int, step: int, commit: bool
) -> None:
    engine.reset()
    put(engine, *(past(*row) for row in rows))
    if commit:
        engine.commit()
    groups = sorted({(parent, key) for parent, key, _ in rows} | {(3, b"none")})
    for newest in (False, True):
        expected = []
        for parent, key in groups:
            untils = [row[2] for row in rows if row[:2] == (parent, key)]
            fitting = [until for until in untils if (until <= bound if newest else until > bound)]
            best = (max if newest else min)(fitting, default=None)
            expected.append(best and past(parent, key, best))
        assert engine.nearest(DENTRY_PAST, groups, bound, newest=newest) == expected
    for newest in (True, False):
        every = engine.nearest(DENTRY_PAST, groups, bound, newest=newest)
        first = [row for row in every if row and row.parent == 1]
        after: bytes | int | str | None = None
        found: list[DentryPast] = []
        for _ in range(len(KEYS) + 1):
            page, after = engine.scan_nearest(
                DENTRY_PAST, (1,), bound, after=after, newest=newest, rows=step
            )
            found += page
            if after is None:
                break
        assert after is None
        assert found == first
    between, _ = engine.scan_nearest(DENTRY_PAST, (1,), bound, after=b"a", before=b"\xff", rows=100)
    assert between == [row for row in first if b"a" < row.key < b"\xff"]


intervals = st.dictionaries(
    st.tuples(st.sampled_from((1, 2)), st.sampled_from(KEYS)),
    st.sets(st.integers(1, 12)),
)


@given(ends=intervals, at=st.integers(0, 13), step=st.integers(0, 5), commit=st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_what_held(
    engine: AnyEngine,
    ends: dict[tuple[int, bytes], set[int]],
    at: int,
    step: int,
    commit: bool,
) -> None:
    """Of each name every second time between two ends is one in which it was there."""
    engine.reset()
    held: list[DentryPast] = []
    for (parent, key), times in sorted(ends.items()):
        for since, until in zip(sorted(times)[::2], sorted(times)[1::2], strict=False):
            row = DentryPast(parent, key, until, 7, since)
            put(engine, row)
            held += [row] if parent == 1 and since <= at < until else []
    if commit:
        engine.commit()
    found: list[DentryPast] = []
    after: bytes | int | str | None = None
    for _ in range(len(KEYS) + 1):
        page, after = engine.scan_holding(DENTRY_PAST, (1,), at, after=after, rows=step)
        found += page
        if after is None:
            break
    assert after is None
    assert found == held
    between, _ = engine.scan_holding(DENTRY_PAST, (1,), at, after=b"a", before=b"\xff", rows=99)
    assert between == [row for row in held if b"a" < row.key < b"\xff"]


def test_many_groups_and_none(engine: AnyEngine) -> None:
    put(engine, *(past(1, b"%04d" % k, 5) for k in range(200)))
    groups = [(1, b"%04d" % k) for k in range(200)]
    found = engine.nearest(DENTRY_PAST, groups[::-1], 4)
    assert [row.key for row in found if row] == [key for _, key in groups[::-1]]
    assert engine.nearest(VERSION, [], 4) == []
    assert engine.scan_nearest(EXTENT_PAST, (9,), 4, after=-1, before=99, rows=10) == ([], None)


def test_what_was_put_after_a_scan_is_found(engine: AnyEngine) -> None:
    put(engine, past(1, b"a", 5))
    assert engine.scan_nearest(DENTRY_PAST, (1,), 0, rows=9) == ([past(1, b"a", 5)], None)
    put(engine, past(1, b"a", 3))
    assert engine.scan_nearest(DENTRY_PAST, (1,), 0, rows=9) == ([past(1, b"a", 3)], None)
    assert engine.scan_holding(DENTRY_PAST, (1,), 2, rows=9) == ([past(1, b"a", 3)], None)
    assert engine.nearest(DENTRY_PAST, [(1, b"a")], 0) == [past(1, b"a", 3)]
    assert engine.applied is not None
    engine.apply([(DENTRY_PAST, (1, b"a", 3), None)], engine.applied.sequence + 1, CHECKSUM)
    assert engine.nearest(DENTRY_PAST, [(1, b"a")], 0) == [past(1, b"a", 5)]
