"""Times to sequences."""

import pytest

from objfs.base.errors import InvalidRequest
from objfs.base.limits import MOMENT_GAP_NS
from objfs.base.times import SECOND_NS
from objfs.volume.moments import sequence_at, time_of, time_text
from tests.model.operations import TICK_NS
from tests.volume.store import ME, Store


async def days(store: Store) -> list[tuple[int, int]]:
    """Some bursts of changes: (time after the burst, sequence then)."""
    await store.make()
    marks = []
    for burst in range(4):
        for k in range(3):
            store.volume.mkdir(store.root, b"d%d.%d" % (burst, k), 0o755, ME)
        store.clock.advance(10)
        marks.append((store.clock.now_ns() - 1, store.volume.core.database.sequence))
        store.clock.advance(1000)
    return marks


async def test_a_time_means_the_state_after_the_last_change_before_it() -> None:
    store = Store()
    marks = await days(store)
    for time_ns, sequence in marks:
        for later in (0, 1, 500 * TICK_NS):
            assert sequence_at(store.volume.core.database, time_ns + later) == sequence
            assert store.volume.moment(time_ns + later) == sequence
    assert store.volume.moment("now") == marks[-1][1]
    seconds, rest_ns = divmod(marks[1][0], SECOND_NS)
    assert store.volume.moment(f"@{seconds}.{rest_ns:09d}") == marks[1][1]


async def test_inside_a_burst_the_state_is_at_most_a_gap_older() -> None:
    store = Store()
    await days(store)
    database = store.volume.core.database
    end = database.sequence
    row_ns = time_of(database, end)
    store.clock.advance(1000)
    store.volume.mkdir(store.root, b"later", 0o755, ME)
    first = sequence_at(database, row_ns)
    assert sequence_at(database, row_ns + MOMENT_GAP_NS - 1) == first
    assert sequence_at(database, row_ns + MOMENT_GAP_NS) == end > first


async def test_times_that_no_state_belongs_to() -> None:
    store = Store()
    await days(store)
    with pytest.raises(InvalidRequest, match="in the future"):
        store.volume.moment("2999-01-01")
    with pytest.raises(InvalidRequest, match=r"before this store was made.*begins [0-9]{4}-"):
        store.volume.moment("@1")
    with pytest.raises(InvalidRequest, match="before this store"):
        store.volume.moment(-5)
    with pytest.raises(InvalidRequest, match="is no time"):
        store.volume.moment("soon")


async def test_a_store_without_history_has_no_past() -> None:
    store = Store()
    store.open()
    with pytest.raises(InvalidRequest, match="is empty"):
        store.volume.moment("now")


async def test_a_clock_that_was_put_back_does_not_hide_the_present() -> None:
    store = Store()
    marks = await days(store)
    store.clock._ns -= 5000 * TICK_NS
    store.volume.mkdir(store.root, b"late", 0o755, ME)
    assert store.volume.moment("now") >= marks[-1][1]


def test_times_are_shown_in_utc() -> None:
    assert time_text(1_795_168_800_123_999_999) == "2026-11-20T10:00:00.123Z"
    assert time_text(10**30).startswith("@")
