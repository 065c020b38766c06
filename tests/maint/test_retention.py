"""Rules applied to real histories, over simulated days."""

import contextlib
import copy
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from objfs.base.errors import NotFound
from objfs.base.types import AttributeChange
from objfs.maint.jobs import scheduler_of
from objfs.maint.retention import Applied, Cursor, RetentionPass, retention_job
from objfs.maint.scheduler import Budget
from objfs.meta.maintenance import count_usage
from objfs.meta.rows import Retention
from objfs.meta.tables import (
    DENTRY_PAST,
    ERASED,
    EXTENT_PAST,
    INODE_PAST,
    SWEEP,
    USAGE,
    VERSION,
)
from objfs.volume.moments import resolve
from objfs.volume.work_rows import RETENTION, load_note
from tests.model.harness import BUCKET, SettableClock, some_survives
from tests.volume.store import ME, Store

HOUR = 3_600_000  # in ticks of about a millisecond
DAY = 24 * HOUR


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    made = Store()
    await made.make()
    yield made
    await made.close()


def give(store: Store, prefix: bytes = b"", **rules: Any) -> None:
    store.volume.retention.set(BUCKET, prefix, Retention(0, b"", **rules))


async def apply(store: Store) -> Applied:
    """A dry run, then the pass: they say the same, and a second pass finds nothing."""
    before = store.dump()
    dry = await RetentionPass(store.volume, dry=True).run()
    assert store.dump() == before
    applied = await RetentionPass(store.volume).run()
    assert dry.paths >= applied.paths  # a directory may be gone before it is come to
    dry.paths = applied.paths
    assert dry == applied
    again = await RetentionPass(store.volume).run()
    assert (again.entries, again.versions, again.bytes) == (0, 0, 0)
    assert again.pinned == applied.pinned
    core = store.volume.core
    assert core.database.scan(SWEEP) == []
    counted = await count_usage(core.database)
    assert counted.usage == {row.bucket: row for row in core.database.scan(USAGE)}
    return applied


async def days(store: Store, name: str, count: int, per_day: int = 1) -> list[bytes]:
    """A file that is written every day, or more often. Its contents, newest first."""
    made: list[bytes] = []
    for number in range(count * per_day):
        made.insert(0, b"%s %d" % (name.encode(), number))
        await store.put(name, made[0])
        store.clock.advance(DAY // per_day)
    return made


def rows(store: Store, *tables: Any) -> int:
    return sum(len(store.volume.core.database.scan(table)) for table in tables)


async def ever(store: Store, name: str) -> list[bytes | None]:
    try:
        return await store.history(name)
    except NotFound:
        return []


async def test_the_last_versions_are_kept(store: Store) -> None:
    """S10.2"""
    made = await days(store, "f", 8)
    give(store, keep_last=3)
    applied = await apply(store)
    assert (applied.paths, applied.entries, applied.versions) == (1, 5, 5)
    assert applied.bytes == 5 * len(b"f 0")
    assert await store.history("f") == made[:3]
    assert rows(store, VERSION) == 3
    assert rows(store, ERASED) == 0


async def test_every_moment_of_the_time_reads_as_it_did(store: Store) -> None:
    """S10.3"""
    await days(store, "f", 20)
    give(store, keep_for_seconds=7 * 86400)
    core = store.volume.core
    now = core.clock.now_ns()
    moments = [now - hour * 3600 * 10**9 for hour in range(0, 7 * 24 + 1, 4)]

    async def read() -> list[bytes]:
        found = []
        for moment in moments:
            view = store.volume.at(resolve(store.volume.core, moment))
            ino = view.lookup(store.root, b"f").ino
            found.append(bytes(await view.read(ino, 0, 100)))
        return found

    before = await read()
    assert len(set(before)) == 7
    assert (await apply(store)).entries == 13
    assert await read() == before


async def test_weeks_and_months_are_thinned(store: Store) -> None:
    """S10.2: day after day, with the rules applied every day, what is left are the newest of each
    day, week and month."""
    give(store, daily=7, weekly=4, monthly=6)
    for number in range(200):
        await store.put("f", b"%d" % number)
        store.clock.advance(DAY)
        if number % 3 == 0:
            await RetentionPass(store.volume).run()
    await apply(store)
    left = await store.history("f")
    assert left[:7] == [b"%d" % number for number in range(199, 192, -1)]
    assert 14 <= len(left) <= 17
    assert rows(store, VERSION) == len(left)


async def test_rules_of_the_nearest_directory_count(store: Store) -> None:
    """S10.1"""
    inner = store.volume.mkdir(store.root, b"inner", 0o755, ME).ino
    outer = store.volume.mkdir(store.root, b"other", 0o755, ME).ino
    for number in range(5):
        for parent in (store.root, inner, outer):
            await store.put("f", b"%d" % number, parent)
        store.clock.advance(DAY)
    give(store, keep_last=2)
    give(store, b"inner", keep_all=True)
    give(store, b"other/f", keep_last=4)
    assert (await apply(store)).entries == 3 + 1
    assert len(await store.history("f")) == 2
    assert len(await store.history("inner/f")) == 5
    assert len(await store.history("other/f")) == 4


async def test_without_rules_nothing_goes(store: Store) -> None:
    """S10.1"""
    await days(store, "f", 5)
    assert await apply(store) == Applied()
    give(store, keep_all=True)
    assert await apply(store) == Applied()


async def test_rules_of_the_store_count_where_a_bucket_has_none(store: Store) -> None:
    """S10.1"""
    made = await days(store, "f", 5)
    store.volume.retention.set(None, b"", Retention(0, b"", keep_last=1))
    give(store, keep_all=True)
    assert (await apply(store)).entries == 0
    store.volume.retention.remove(BUCKET, b"")
    assert (await apply(store)).entries == 4
    assert await store.history("f") == made[:1]


async def test_snapshots_pin(store: Store) -> None:
    """S10.4: the moment stays, attributes included; the report says whose it is."""
    await days(store, "f", 3)
    store.volume.setxattr(store.volume.lookup(store.root, b"f").ino, b"user.a", b"then")
    store.clock.advance(DAY)
    await store.volume.snapshots.create("monday")
    at = store.volume.core.pins.newest
    await days(store, "f", 6)
    give(store, keep_last=2)
    applied = await apply(store)
    assert (applied.pinned, applied.snapshots) == (1, {"monday": 1})
    assert await store.history("f") == [b"f 5", b"f 4", b"f 2"]
    view = store.volume.at(at)
    ino = view.lookup(store.root, b"f").ino
    assert bytes(await view.read(ino, 0, 10)) == b"f 2"
    assert view.xattrs(ino) == {b"user.a": b"then"}
    store.volume.snapshots.delete("monday")
    assert (await apply(store)).pinned == 0
    assert await store.history("f") == [b"f 5", b"f 4"]


async def test_a_deleted_file_goes_after_its_days(store: Store) -> None:
    """S10.5: with its deletion and the directory that it lay in."""
    directory = store.volume.mkdir(store.root, b"d", 0o755, ME).ino
    await store.put("f", b"one", directory)
    store.clock.advance(DAY)
    await store.put("f", b"two", directory)
    await store.put("stays", b"here")
    store.clock.advance(DAY)
    await store.volume.unlink(directory, b"f")
    store.volume.rmdir(store.root, b"d")
    give(store, keep_last=1, deleted_days=30)
    store.clock.advance(29 * DAY)
    assert (await apply(store)).entries == 1
    assert await ever(store, "d/f") == [None, b"two"]
    store.clock.advance(2 * DAY)
    assert (await apply(store)).entries == 1
    assert await ever(store, "d/f") == []
    assert await store.history("stays") == [b"here"]
    assert rows(store, DENTRY_PAST, ERASED) == 0
    assert {row.ino for row in store.volume.core.database.scan(INODE_PAST)} <= {store.root}


async def test_a_directory_that_was_renamed(store: Store) -> None:
    """The history of the old path goes; that of the new one stays, with its bytes."""
    directory = store.volume.mkdir(store.root, b"old", 0o755, ME).ino
    store.volume.mkdir(directory, b"sub", 0o755, ME)
    for number in range(3):
        await store.put("f", b"%d" % number, directory)
        store.clock.advance(DAY)
    await store.volume.rename(store.root, b"old", store.root, b"new")
    store.clock.advance(DAY)
    await store.put("f", b"3", directory)
    give(store, keep_all=True, deleted_days=10)
    store.clock.advance(11 * DAY)
    applied = await apply(store)
    assert (applied.entries, applied.versions) == (3, 2)
    assert await ever(store, "old/f") == []
    assert await store.history("new/f") == [b"3", b"2"]
    assert [name for name, _ in store.volume.at(5).list_directory(store.root)] == []
    assert rows(store, DENTRY_PAST, ERASED) == 0


async def test_hard_links_and_renames_keep_what_another_path_shows(store: Store) -> None:
    """S10.2"""
    ino = await store.put("a", b"one")
    store.clock.advance(DAY)
    store.volume.link(ino, store.root, b"keep")
    store.clock.advance(DAY)
    await store.put("a", b"two")
    store.clock.advance(DAY)
    await store.put("a", b"three")
    store.clock.advance(DAY)
    give(store, keep_last=1)
    give(store, b"keep", keep_all=True)
    applied = await apply(store)
    assert (applied.entries, applied.versions) == (2, 0)
    assert await store.history("a") == [b"three"]
    assert await store.history("keep") == [b"three", b"two", b"one"]
    store.volume.retention.remove(BUCKET, b"keep")
    assert (await apply(store)).versions == 2


async def test_symlinks_have_a_history_too(store: Store) -> None:
    store.volume.symlink(store.root, b"link", b"target", ME)
    store.clock.advance(DAY)
    await store.volume.unlink(store.root, b"link")
    give(store, keep_all=True, deleted_days=1)
    store.clock.advance(DAY)
    assert (await apply(store)).entries == 1
    assert rows(store, DENTRY_PAST) == 0


async def test_past_attributes_go_by_the_same_rules(store: Store) -> None:
    """S10.8: of a file that is never written and of the directory that it lies in."""
    ino = await store.put("f", b"one")
    for number in range(60):
        await store.volume.setattr(ino, AttributeChange(mode=0o600 + number % 2))
        await store.put(f"other{number}", b"")
        store.clock.advance(DAY)
        if number == 20:
            await store.volume.snapshots.create("pinned")
    core = store.volume.core
    now, pin = core.clock.now_ns(), core.pins.newest

    def read() -> list[object]:
        found: list[object] = [store.volume.at(pin).getattr(each) for each in (ino, store.root)]
        for hour in range(0, 7 * 24 - 1, 4):
            view = store.volume.at(resolve(core, now - hour * 3600 * 10**9))
            found += [view.getattr(each) for each in (ino, store.root)]
        return found

    before = read()
    assert rows(store, INODE_PAST) > 100
    give(store, keep_for_seconds=7 * 86400)
    await apply(store)
    assert read() == before
    assert len(core.database.scan(INODE_PAST, (ino,))) <= 9
    assert len(core.database.scan(INODE_PAST, (store.root,))) <= 9
    left = rows(store, INODE_PAST)
    await apply(store)
    assert rows(store, INODE_PAST) == left


async def test_a_version_keeps_the_attributes_that_it_had_last(store: Store) -> None:
    """S10.8"""
    ino = await store.put("f", b"one")
    for mode in (0o600, 0o640, 0o666):
        store.clock.advance(DAY)
        await store.volume.setattr(ino, AttributeChange(mode=mode))
    store.clock.advance(DAY)
    await store.put("f", b"two")
    store.clock.advance(DAY)
    await store.volume.setattr(ino, AttributeChange(mode=0o777))
    store.clock.advance(DAY)
    give(store, keep_last=2)
    await apply(store)
    first = store.volume.versions(BUCKET, b"f")[-1]
    await store.volume.restore(BUCKET, b"f", first.version_id)
    restored = store.volume.lookup(store.root, b"f")
    assert (restored.mode & 0o7777, await store.get("f")) == (0o666, b"one")


async def test_a_pass_goes_on_where_it_was_stopped(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S10.6: crashed at each of its steps, with its last changes lost or not."""
    monkeypatch.setattr("objfs.maint.retention.RETENTION_NOTE_SECONDS", 0)
    made: dict[str, list[bytes]] = {}
    directory = store.volume.mkdir(store.root, b"d", 0o755, ME).ino
    for number in range(4):
        for name, parent in (("a", store.root), ("z", store.root), ("m", directory)):
            made.setdefault(name, []).insert(0, b"%s %d" % (name.encode(), number))
            await store.put(name, made[name][0], parent)
        store.clock.advance(DAY)
    give(store, keep_last=1)
    await store.volume.sync()
    resumed = 0
    for stop in range(1, 30):
        twin = copy.copy(store)
        twin.__dict__.update(store.twin().__dict__)
        twin.open()
        with contextlib.suppress(KeyboardInterrupt):
            await RetentionPass(twin.volume, breathe=stopping(stop)).run()
        twin.crash(some_survives(stop))
        twin.open("lost")
        cursor = load_note(twin.volume.core.database, RETENTION, Cursor)
        resumed += cursor is not None
        await RetentionPass(twin.volume).run(cursor)
        for name in ("a", "z", "d/m"):
            assert await twin.history(name) == made[name[-1]][:1]
        assert rows(twin, VERSION) == 3
        assert rows(twin, SWEEP) == 0
        assert load_note(twin.volume.core.database, RETENTION, Cursor) is None
        await twin.close()
    assert resumed >= 3


def stopping(stop: int) -> Callable[[], Awaitable[None]]:
    """A `breathe` that ends the pass, the so manieth time."""
    breaths = 0

    async def breathe() -> None:
        nonlocal breaths
        breaths += 1
        if breaths == stop:
            raise KeyboardInterrupt

    return breathe


async def test_a_long_history_is_judged_in_pages(store: Store) -> None:
    for number in range(350):
        await store.put("f", b"%d" % number)
        store.clock.advance(HOUR)
    give(store, keep_last=120, daily=5)
    assert (await apply(store)).entries == 230
    assert rows(store, VERSION) == 120
    assert rows(store, EXTENT_PAST) == 0


async def test_in_the_background_rules_count_after_an_hour(
    store: Store, autojump_clock: MockClock
) -> None:
    """S10.7: there is time to think again; then they are applied without a command."""
    made = await days(store, "f", 5)
    await store.volume.sync()
    store.crash(None)
    store.clock = TrioTime(store.clock)  # type: ignore[assignment]
    store.open()
    give(store, keep_last=2)
    scheduler = scheduler_of(store.volume)
    with trio.move_on_after(3000):
        await scheduler.run()
    assert await store.history("f") == made
    with trio.move_on_after(7 * 3600):
        await scheduler.run()
    assert await store.history("f") == made[:2]
    (form,) = (each for each in scheduler.status()["jobs"] if each["name"] == "retention")  # type: ignore[attr-defined]
    assert form["last"]["result"]["entries"] == 3


class TrioTime:
    """The clock of the running loop, from where another one stands."""

    def __init__(self, clock: SettableClock) -> None:
        self._ns = clock.now_ns() - int(trio.current_time() * 1e9)

    def now_ns(self) -> int:
        return self._ns + int(trio.current_time() * 1e9)

    def monotonic(self) -> float:
        return trio.current_time()


async def test_without_rules_the_background_writes_nothing(store: Store) -> None:
    await days(store, "f", 2)
    before = store.volume.core.database.sequence
    job = retention_job(store.volume)
    assert await job.run(cast(Budget, None)) is None
    assert store.volume.core.database.sequence == before


@pytest.mark.slow
async def test_ten_thousand_histories(store: Store) -> None:
    """Small ones in a hundred directories."""
    give(store, keep_last=2, deleted_days=3)
    for group in range(100):
        directory = store.volume.mkdir(store.root, b"d%02d" % group, 0o755, ME).ino
        for file in range(100):
            for number in range(3):
                await store.put(f"f{file}", b"%d" % number, directory)
            if file % 10 == 0:
                await store.volume.unlink(directory, b"f%d" % file)
        store.clock.advance(HOUR)
    store.clock.advance(4 * DAY)
    applied = await apply(store)
    assert applied.paths >= 10_000
    assert applied.entries == 9_000 + 3 * 1_000
    assert rows(store, VERSION) == 18_000
