"""Which moments snapshots keep for which keys."""

from typing import Any

from objfs.base.limits import IDS_PER_CHANGE_MAX
from objfs.meta.rows import Snapshot
from objfs.volume.pins import Pins, covers

BUCKET = 7 * IDS_PER_CHANGE_MAX
OTHER = 9 * IDS_PER_CHANGE_MAX


class _Snapshots:
    """A database that has snapshots only."""

    def __init__(self, *rows: Snapshot) -> None:
        self.rows = list(rows)

    def scan(self, table: Any) -> list[Any]:
        return self.rows


def test_a_prefix_covers_itself_what_is_below_and_the_way_to_it() -> None:
    for key in (b"a/b", b"a/b/", b"a/b/c", b"a/b/c/d/", b"a/", b""):
        assert covers(b"a/b", key), key
    for key in (b"a/bc", b"a", b"b", b"a/c", b"ab/", b"a/b2/c"):
        assert not covers(b"a/b", key), key
    assert covers(b"", b"anything")


def test_sequences_are_of_the_scope_sorted_and_without_repetition() -> None:
    pins = Pins(
        _Snapshots(
            Snapshot("late", 30, 0, BUCKET),
            Snapshot("all", 20, 0),
            Snapshot("part", 25, 0, BUCKET, b"a/b"),
            Snapshot("same", 20, 0, BUCKET),
            Snapshot("other", 99, 0, OTHER),
        )
    )
    assert pins.sequences(BUCKET, b"a/b/c") == [20, 25, 30]
    assert pins.sequences(BUCKET, b"x") == [20, 30]
    assert pins.sequences(OTHER, b"x") == [20, 99]
    assert pins.newest == 99


def test_an_interval_is_held_by_a_moment_inside_it() -> None:
    pins = Pins(_Snapshots(Snapshot("one", 20, 0, BUCKET, b"a"), Snapshot("two", 40, 0)))
    assert pins.holds(BUCKET, b"a", 20, 21)
    assert not pins.holds(BUCKET, b"a", 21, 40)
    assert pins.holds(BUCKET, b"b", 21, 41)
    assert not pins.holds(BUCKET, b"b", 10, 21)


def test_a_bucket_made_later_is_not_pinned() -> None:
    pins = Pins(_Snapshots(Snapshot("early", 8, 0)))
    assert pins.of_bucket(BUCKET) == [8]
    assert pins.of_bucket(OTHER) == []


def test_reloading_follows_the_rows() -> None:
    database = _Snapshots(Snapshot("one", 20, 0))
    pins = Pins(database)
    database.rows.clear()
    pins.reload()
    assert pins.newest == 0
    assert pins.sequences(BUCKET, b"") == []


def test_work_holds_its_moments_while_it_lasts() -> None:
    pins = Pins(_Snapshots(Snapshot("one", 20, 0)))
    with pins.held(5, 30), pins.held(30):
        assert pins.newest == 30
        assert pins.sequences(BUCKET, b"a") == [5, 20, 30]
    assert pins.newest == 20
    assert pins.sequences(BUCKET, b"a") == [20]
