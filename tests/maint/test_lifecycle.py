"""Lifecycle rules applied to real buckets: each rule by itself; beside changes, locks, snapshots;
stopped at any place; in the background."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from objfs.base.limits import DAY_NS
from objfs.maint.jobs import scheduler_of
from objfs.maint.lifecycle import Applied, Cursor, LifecyclePass, lifecycle_job, now_ns
from objfs.maint.scheduler import Scheduler
from objfs.meta.tables import PART
from objfs.volume.lifecycle_rules import LIFECYCLE, Filter, LifecycleConfiguration, Rule
from objfs.volume.object_types import LockRetention, ObjectInfo, PutAttributes
from objfs.volume.work_rows import LIFECYCLE as NOTE
from objfs.volume.work_rows import load_note
from tests.maint.test_scheduler import TrioTime
from tests.model.operations import TICK_NS
from tests.volume.store import ME, Store

BUCKET = "objects"
TICKS_PER_DAY = 1000
SHORT_DAY_NS = TICKS_PER_DAY * TICK_NS
ALL = Filter()


class Crash(Exception):
    """Stops a pass where it stands."""


async def nothing(count: int) -> None:
    await trio.lowlevel.checkpoint()


class Bucket:
    """A bucket in a store, and what most tests do with it."""

    def __init__(self, store: Store, **options: Any) -> None:
        self.store = store
        store.volume.create_bucket(BUCKET, **options)

    @property
    def objects(self) -> Any:
        return self.store.volume.objects

    def rules(self, *rules: Rule) -> None:
        document = msgspec.json.encode(LifecycleConfiguration(rules)) if rules else None
        self.store.volume.set_document(BUCKET, LIFECYCLE, document)

    def days(self, count: float) -> None:
        self.store.clock.advance(max(int(count * TICKS_PER_DAY), 1))

    async def put(self, key: bytes, data: bytes = b"data", **attributes: Any) -> ObjectInfo:
        body = self.objects.put(BUCKET, key)
        await body.write(data)
        info: ObjectInfo = await body.commit(PutAttributes(**attributes))
        self.store.clock.advance()
        return info

    async def delete(self, key: bytes) -> None:
        await self.objects.delete(BUCKET, key)
        self.store.clock.advance()

    def shown(self, key: bytes) -> list[str]:
        """The ids of a key's entries, delete markers as `-`."""
        infos: list[ObjectInfo] = self.objects.versions(BUCKET, key)
        return ["-" if info.delete_marker else info.version_id for info in infos]

    async def apply(
        self, spend: Callable[[int], Awaitable[None]] = nothing, cursor: Cursor | None = None
    ) -> Applied:
        return await LifecyclePass(self.store.volume, SHORT_DAY_NS, spend).run(cursor or Cursor())


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    made = Store()
    await made.make()
    yield made
    await made.close()


@pytest.fixture
def bucket(store: Store) -> Bucket:
    return Bucket(store)


def rule(filter: Filter = ALL, **fields: Any) -> Rule:
    return Rule("r", True, filter, **fields)


# --- each rule by itself --------------------------------------------------------------------------


async def test_the_newest_version_gets_a_delete_marker(bucket: Bucket) -> None:
    """S16.1"""
    old = await bucket.put(b"k")
    bucket.rules(rule(days=2))
    bucket.days(1.5)
    assert await bucket.apply() == Applied()
    bucket.days(2)
    young = await bucket.put(b"l")
    assert await bucket.apply() == Applied(expired=1)
    assert bucket.shown(b"k") == ["-", old.version_id]
    assert bucket.shown(b"l") == [young.version_id]
    assert await bucket.apply() == Applied()


async def test_without_versions_it_is_deleted(store: Store) -> None:
    """S16.1"""
    bucket = Bucket(store, versioning="off")
    await bucket.put(b"k")
    bucket.rules(rule(days=1))
    bucket.days(2)
    assert await bucket.apply() == Applied(expired=1)
    assert bucket.shown(b"k") == []
    page = await store.volume.keys.list_versions(BUCKET)
    assert page.entries == []


async def test_dates(bucket: Bucket) -> None:
    """S16.1"""
    now = now_ns(bucket.store.volume)
    await bucket.put(b"k")
    bucket.rules(rule(date_ns=now + SHORT_DAY_NS))
    assert await bucket.apply() == Applied()
    bucket.days(1)
    assert await bucket.apply() == Applied(expired=1)


async def test_noncurrent_versions_and_the_newest_of_them(bucket: Bucket) -> None:
    """S16.2"""
    made = [(await bucket.put(b"k")).version_id for _ in range(6)][::-1]
    bucket.rules(rule(noncurrent_days=1, newer_noncurrent=2))
    assert await bucket.apply() == Applied()
    bucket.days(2)
    assert await bucket.apply() == Applied(noncurrent=3)
    assert bucket.shown(b"k") == made[:3]
    assert len(bucket.store.volume.versions(BUCKET, b"k")) == 3


async def test_noncurrent_since_the_newer_one_came(bucket: Bucket) -> None:
    """S16.2"""
    old = await bucket.put(b"k")
    bucket.rules(rule(noncurrent_days=2))
    bucket.days(10)
    new = await bucket.put(b"k")
    bucket.days(1.5)
    assert await bucket.apply() == Applied()
    assert bucket.shown(b"k") == [new.version_id, old.version_id]
    bucket.days(1.5)
    assert await bucket.apply() == Applied(noncurrent=1)
    assert bucket.shown(b"k") == [new.version_id]


async def test_markers_with_nothing_below(bucket: Bucket) -> None:
    """S16.3"""
    await bucket.put(b"k")
    await bucket.delete(b"k")
    await bucket.put(b"l")
    await bucket.delete(b"l")
    bucket.rules(rule(Filter("k"), noncurrent_days=1), rule(expired_marker=True))
    assert await bucket.apply() == Applied()
    bucket.days(2)
    assert await bucket.apply() == Applied(noncurrent=1)
    assert bucket.shown(b"k") == ["-"]
    assert await bucket.apply() == Applied(markers=1)
    assert bucket.shown(b"k") == []
    assert len(bucket.shown(b"l")) == 2


async def test_rules_that_are_off_do_nothing(bucket: Bucket) -> None:
    """S16.1"""
    await bucket.put(b"k")
    bucket.rules(Rule("r", False, ALL, days=1))
    bucket.days(9)
    assert await bucket.apply() == Applied()


async def test_uploads_that_go_on_for_long(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """S16.7"""
    monkeypatch.setattr("objfs.maint.lifecycle._UPLOADS_PER_PAGE", 2)
    uploads = bucket.store.volume.uploads

    async def begin(key: bytes) -> str:
        return (await uploads.create(BUCKET, key, PutAttributes())).upload_id

    old = [await begin(b"go/%d" % (number % 3)) for number in range(5)]
    stays = await begin(b"stay")
    part = uploads.part(BUCKET, b"go/0", old[0], 1)
    await part.write(memoryview(b"bytes"))
    await part.commit()
    bucket.rules(rule(Filter("go/"), abort_days=2))
    bucket.days(1.5)
    young = await begin(b"go/0")
    assert await bucket.apply() == Applied()
    bucket.days(1.5)
    assert await bucket.apply() == Applied(uploads=5)
    left = [info.upload_id for info in uploads.list_uploads(BUCKET).uploads]
    assert sorted(left) == sorted([young, stays])
    assert len(bucket.store.volume.core.database.scan(PART)) == 0


async def test_what_goes_costs_the_same_however_much_is_left(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S16.2: of a key with many versions, none is erased by reading all of them."""
    made = [(await bucket.put(b"k")).version_id for _ in range(40)][::-1]
    await bucket.delete(b"k")
    await bucket.put(b"k")
    single: list[str | None] = []
    delete = bucket.objects.delete

    async def counted(name: str, key: bytes, version_id: str | None = None, **more: Any) -> object:
        single.append(version_id)
        return await delete(name, key, version_id, **more)

    monkeypatch.setattr(bucket.objects, "delete", counted)
    bucket.rules(rule(noncurrent_days=1, newer_noncurrent=3))
    bucket.days(3)
    assert await bucket.apply() == Applied(noncurrent=37)
    assert bucket.shown(b"k")[1:] == ["-", *made[:3]]
    assert single == []


# --- what stays -----------------------------------------------------------------------------------


async def test_what_object_lock_keeps_stays(store: Store) -> None:
    """S16.4"""
    bucket = Bucket(store, lock=True)
    until = now_ns(store.volume) + 5 * SHORT_DAY_NS
    held = await bucket.put(b"held", hold=True)
    kept = await bucket.put(b"kept", retention=LockRetention("GOVERNANCE", until))
    for key in (b"held", b"kept"):
        await bucket.put(key)
    bucket.rules(rule(noncurrent_days=1))
    bucket.days(3)
    assert await bucket.apply() == Applied(locked=2)
    assert bucket.shown(b"held")[1:] == [held.version_id]
    assert bucket.shown(b"kept")[1:] == [kept.version_id]
    bucket.days(3)
    assert await bucket.apply() == Applied(noncurrent=1, locked=1)
    assert len(bucket.shown(b"kept")) == 1
    await store.volume.objects.amend(BUCKET, b"held", held.version_id, hold=False)
    assert await bucket.apply() == Applied(noncurrent=1)


async def test_what_a_snapshot_shows_stays(bucket: Bucket) -> None:
    """S16.4"""
    old = await bucket.put(b"k")
    await bucket.store.volume.snapshots.create("s")
    await bucket.put(b"k")
    bucket.rules(rule(noncurrent_days=1))
    bucket.days(3)
    assert await bucket.apply() == Applied(pinned=1)
    assert bucket.shown(b"k")[1:] == [old.version_id]


class Meddling:
    """Does something when a pass is about to act for the first time."""

    def __init__(self, act: Callable[[], Awaitable[object]]) -> None:
        self.act: Callable[[], Awaitable[object]] | None = act

    async def __call__(self, count: int) -> None:
        await trio.lowlevel.checkpoint()
        if 0 < count < 10_000 and self.act is not None:
            act, self.act = self.act, None
            await act()


async def test_what_changed_since_it_was_judged_stays(bucket: Bucket) -> None:
    """S16.5"""
    old = await bucket.put(b"k")
    bucket.rules(rule(days=1))
    bucket.days(3)
    assert await bucket.apply(Meddling(lambda: bucket.put(b"k"))) == Applied()
    assert bucket.shown(b"k")[1:] == [old.version_id]
    assert bucket.shown(b"k")[0] != "-"


async def test_what_got_other_tags_stays(bucket: Bucket) -> None:
    """S16.5"""
    await bucket.put(b"k", tags={"go": "yes"})
    bucket.rules(rule(Filter(tags={"go": "yes"}), days=1))
    bucket.days(3)
    objects = bucket.store.volume.objects
    meddling = Meddling(lambda: objects.amend(BUCKET, b"k", tags={"go": "no"}))
    assert await bucket.apply(meddling) == Applied()
    assert len(bucket.shown(b"k")) == 1


async def test_what_is_the_newest_again_stays(bucket: Bucket) -> None:
    """S16.5"""
    old = await bucket.put(b"k")
    new = await bucket.put(b"k")
    bucket.rules(rule(noncurrent_days=1))
    bucket.days(3)
    objects = bucket.store.volume.objects
    meddling = Meddling(lambda: objects.delete(BUCKET, b"k", new.version_id))
    assert await bucket.apply(meddling) == Applied()
    assert bucket.shown(b"k") == [old.version_id]


async def test_a_null_marker_that_became_a_version_stays(store: Store) -> None:
    """S16.5"""
    bucket = Bucket(store, versioning="suspended")
    await bucket.delete(b"k")
    bucket.rules(rule(expired_marker=True))
    assert await bucket.apply(Meddling(lambda: bucket.put(b"k"))) == Applied()
    assert bucket.shown(b"k") == ["null"]


async def test_rules_that_are_taken_away_do_nothing_more(bucket: Bucket) -> None:
    """S16.5"""
    await bucket.put(b"k")
    bucket.rules(rule(days=1))
    bucket.days(3)

    async def take_away() -> None:
        bucket.rules()

    assert await bucket.apply(Meddling(take_away)) == Applied()
    assert len(bucket.shown(b"k")) == 1


async def test_names_that_are_no_keys_are_passed_over(bucket: Bucket) -> None:
    """S16.1: paths of the mount that are too long, and bytes that are no text."""
    store = bucket.store
    root = parent = store.volume.root(BUCKET)
    for _ in range(6):
        parent = store.volume.mkdir(parent, b"d" * 200, 0o755, ME).ino
    await store.put("f", b"deep", parent)
    handle, _ = store.volume.create(root, b"\xff\xfe", 0o644, 2, ME)
    await store.close_handle(handle)
    bucket.rules(rule(days=1))
    bucket.days(3)
    await bucket.apply()
    assert store.names(root) == [b"d" * 200]
    assert await store.get("f", parent) == b"deep"


# --- stopped, and in the background ---------------------------------------------------------------


class Stopping:
    """Ends a pass before its n-th piece of work; all before that is durable."""

    def __init__(self, store: Store, pieces: int) -> None:
        self.store = store
        self.left = pieces

    async def __call__(self, count: int) -> None:
        self.left -= 1
        if not self.left:
            raise Crash
        await self.store.volume.sync()


async def many(bucket: Bucket) -> None:
    """More than a page, with keys of many versions."""
    for number in range(30):
        for _ in range(1 + number % 4):
            await bucket.put(b"%03d" % number)
    bucket.rules(rule(noncurrent_days=2), rule(Filter("01"), days=2))
    bucket.days(4)


@pytest.mark.parametrize("stop", [1, 4, 9, 17, 30])
async def test_a_pass_that_was_stopped_goes_on(stop: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """S16.6"""
    monkeypatch.setattr("objfs.base.limits.LIST_KEYS_MAX", 7)
    monkeypatch.setattr("objfs.maint.lifecycle.LIFECYCLE_NOTE_SECONDS", 0.0)
    whole, stopped = Store(), Store()
    results = []
    for store in (whole, stopped):
        await store.make()
        bucket = Bucket(store)
        await many(bucket)
        await store.volume.sync()
        if store is stopped:
            with pytest.raises(Crash):
                await bucket.apply(Stopping(store, stop))
            store.crash()
            store.again()
        cursor = load_note(store.volume.core.database, NOTE, Cursor)
        if stop > 20 and store is stopped:
            assert cursor is not None
        await bucket.apply(cursor=cursor)
        assert load_note(store.volume.core.database, NOTE, Cursor) is None
        page = await store.volume.keys.list_versions(BUCKET, limit=1000)
        results.append([(info.key, info.version_id) for info in page.entries])
        assert await bucket.apply() == Applied()
        await store.close()
    assert len(results[0]) == len(results[1])
    assert [key for key, _ in results[0]] == [key for key, _ in results[1]]


async def background(store: Store, day_seconds: float, seconds: float) -> Scheduler:
    store.volume.lifecycle_day_ns = int(day_seconds * 1e9)
    scheduler = Scheduler(store.volume.core)
    scheduler.add(lifecycle_job(store.volume))
    with trio.move_on_after(seconds):
        await scheduler.run()
    return scheduler


@pytest.fixture
async def running() -> AsyncIterator[Store]:
    store = Store()
    store.clock = TrioTime()  # type: ignore[assignment]
    store.open()
    yield store
    await store.close()


async def test_short_days_pass_in_the_background(running: Store, autojump_clock: MockClock) -> None:
    """S16.6"""
    running.volume.create_bucket(BUCKET)
    body = running.volume.objects.put(BUCKET, b"k")
    await body.commit(PutAttributes())
    document = msgspec.json.encode(LifecycleConfiguration((rule(days=1),)))
    running.volume.set_document(BUCKET, LIFECYCLE, document)
    scheduler = await background(running, 10.0, 9.0)
    assert [info.delete_marker for info in running.volume.objects.versions(BUCKET, b"k")] == [False]
    scheduler = await background(running, 10.0, 13.0)
    forms: Any = scheduler.status()["jobs"]
    (job,) = [each for each in forms if each["name"] == "lifecycle"]
    assert job["totals"]["expired"] == 1
    assert job["last"]["result"]["expired"] == 1
    infos = running.volume.objects.versions(BUCKET, b"k")
    assert [info.delete_marker for info in infos] == [True, False]


async def test_a_day_is_looked_at_once(
    running: Store, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S16.6: nothing is read again before the day or the rules are new."""
    volume = running.volume
    volume.create_bucket(BUCKET)
    pages: list[str] = []
    list_versions = volume.keys.list_versions

    async def counted(bucket: str, *arguments: Any) -> Any:
        pages.append(bucket)
        return await list_versions(bucket, *arguments)

    monkeypatch.setattr(volume.keys, "list_versions", counted)
    await background(running, DAY_NS / 1e9, 7200.0)
    assert pages == []
    document = msgspec.json.encode(LifecycleConfiguration((rule(days=1),)))
    volume.set_document(BUCKET, LIFECYCLE, document)
    await background(running, DAY_NS / 1e9, 5 * 3600.0)
    assert len(pages) == 1
    await background(running, DAY_NS / 1e9, 3 * 86400.0)
    assert 3 <= len(pages) <= 5


async def test_it_is_one_of_the_jobs(bucket: Bucket) -> None:
    forms: Any = scheduler_of(bucket.store.volume).status()["jobs"]
    (job,) = [each for each in forms if each["name"] == "lifecycle"]
    assert job["totals"] == dict.fromkeys(Applied.__struct_fields__, 0)
    assert job["due_seconds"] == 60
