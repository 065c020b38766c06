"""Delete markers, versions that are erased, object lock, and the end of a bucket."""

import os
from typing import Any

import pytest

from objfs.base.errors import (
    BucketExists,
    BucketNotEmpty,
    InvalidRequest,
    IsDeleteMarker,
    Locked,
    NoSuchBucket,
    NoSuchKey,
    NotFound,
    Pinned,
    PreconditionFailed,
)
from objfs.meta.tables import (
    DENTRY,
    DENTRY_PAST,
    ERASED,
    EXTENT,
    INODE,
    MARKER,
    VERSION,
    Table,
)
from objfs.volume.object_lock import LockRule
from objfs.volume.object_types import Conditions, LockRetention, ObjectInfo, PutAttributes
from tests.model.harness import BUCKET
from tests.model.operations import TICK_NS
from tests.volume.store import ME, Store
from tests.volume.test_objects import get, put

DAY_NS = 86_400_000_000_000
HISTORY: tuple[Table[Any], ...] = (MARKER, ERASED, DENTRY_PAST, VERSION)


@pytest.fixture
async def store() -> Store:
    store = Store()
    await store.make()
    return store


def names(store: Store, key: bytes, bucket: str = BUCKET) -> list[str]:
    return [each.version_id for each in store.volume.objects.versions(bucket, key)]


async def test_a_delete_is_a_marker_and_its_end_brings_the_object_back(store: Store) -> None:
    """S13.9"""
    objects = store.volume.objects
    info = await put(store, b"d/k", b"1", PutAttributes(metadata={"a": "b"}, tags={"t": "1"}))
    deleted = await objects.delete(BUCKET, b"d/k")
    assert deleted.delete_marker
    assert store.names() == []  # the directory went with what lay in it
    with pytest.raises(IsDeleteMarker) as raised:
        objects.head(BUCKET, b"d/k")
    assert raised.value.version_id == deleted.version_id
    assert names(store, b"d/k") == [deleted.version_id, info.version_id]
    assert await get(store, b"d/k", info.version_id) == b"1"
    undeleted = await objects.delete(BUCKET, b"d/k", deleted.version_id)
    assert undeleted == deleted
    back = objects.head(BUCKET, b"d/k")
    assert (back.version_id, back.etag, back.metadata, back.tags, back.time_ns) == (
        info.version_id,
        info.etag,
        info.metadata,
        info.tags,
        info.time_ns,
    )
    assert names(store, b"d/k") == [info.version_id]
    assert await store.get("k", store.volume.root(BUCKET, b"d")) == b"1"


async def test_markers_of_keys_that_are_not_there(store: Store) -> None:
    objects = store.volume.objects
    one = await objects.delete(BUCKET, b"never", owner="me")
    two = await objects.delete(BUCKET, b"never")
    assert names(store, b"never") == [two.version_id, one.version_id]
    assert objects.versions(BUCKET, b"never")[1].owner == "me"
    for each in (one, two):
        await objects.delete(BUCKET, b"never", each.version_id)
    assert names(store, b"never") == []
    assert not store.volume.core.database.scan(MARKER)
    with pytest.raises(InvalidRequest):
        await objects.delete(BUCKET, b"never", "no id")


async def test_a_marker_stays_when_the_version_below_it_goes(store: Store) -> None:
    """S13.9"""
    objects = store.volume.objects
    infos = [await put(store, b"k", bytes([at])) for at in range(3)]
    marker = (await objects.delete(BUCKET, b"k")).version_id
    for info in (infos[2], infos[0], infos[1]):
        await objects.delete(BUCKET, b"k", info.version_id)
        assert names(store, b"k")[0] == marker
    await objects.delete(BUCKET, b"k", marker)
    database = store.volume.core.database
    for table in HISTORY:
        assert not database.scan(table)
    await store.volume.sweep()
    assert not database.scan(EXTENT)
    assert len(database.scan(INODE)) == 1


async def test_erasing_the_newest_version_shows_the_one_before(store: Store) -> None:
    """S13.9"""
    objects = store.volume.objects
    ino = await store.put("k", b"one")
    first = objects.head(BUCKET, b"k")
    await store.put("k", b"two")
    assert store.volume.lookup(store.root, b"k").ino == ino  # both are versions of one inode
    handle = await store.volume.open(ino, os.O_RDONLY)
    await objects.delete(BUCKET, b"k", objects.head(BUCKET, b"k").version_id)
    assert names(store, b"k") == [first.version_id]
    assert await store.get("k") == b"one"
    assert bytes(await store.volume.read(handle, 0, 9)) == b"two"  # who has it open keeps it
    await store.volume.release(handle)
    await objects.delete(BUCKET, b"k", first.version_id)
    assert store.names() == []
    with pytest.raises(NoSuchKey):
        objects.head(BUCKET, b"k")


async def test_what_is_no_object_is_not_deleted(store: Store) -> None:
    store.volume.symlink(store.root, b"s", b"x", ME)
    await store.volume.objects.delete(BUCKET, b"s")
    assert store.names() == [b"s"]


async def test_directories_with_an_entry_of_their_own_stay(store: Store) -> None:
    """S13.3"""
    objects = store.volume.objects
    store.volume.mkdir(store.root, b"d", 0o755, ME)
    await put(store, b"d/e/f/g", b"1")
    await objects.delete(BUCKET, b"d/e/f/g")
    directory = store.volume.lookup(store.root, b"d").ino
    assert store.names(directory) == []
    await objects.delete(BUCKET, b"d/")
    assert store.names() == []


async def test_a_deep_directory_goes_with_what_lay_in_it(store: Store) -> None:
    key = b"x/" * 300 + b"y"
    info = await put(store, key, b"1")
    marker = await store.volume.objects.delete(BUCKET, key)
    assert store.names() == []
    await store.volume.objects.delete(BUCKET, key, marker.version_id)
    assert await get(store, key) == b"1"
    await store.volume.objects.delete(BUCKET, key, info.version_id)
    assert store.names() == []


async def test_conditions_of_a_delete(store: Store) -> None:
    objects = store.volume.objects
    info = await put(store, b"k", b"1")
    with pytest.raises(PreconditionFailed):
        await objects.delete(BUCKET, b"k", conditions=Conditions(if_match=("x",)))
    await objects.delete(BUCKET, b"k", conditions=Conditions(if_match=(info.etag,)))
    with pytest.raises(NoSuchKey):
        await objects.delete(BUCKET, b"k", conditions=Conditions(if_match=("*",)))


async def test_several_deletes_share_a_sync(store: Store) -> None:
    for key in (b"a", b"b", b"c"):
        await put(store, key, b"1")
    log = store.volume.core.log
    syncs = log.statistics().syncs
    for key in (b"a", b"b", b"c"):
        await store.volume.objects.delete(BUCKET, key, sync=False)
    assert log.statistics().syncs == syncs
    await store.volume.sync()
    assert log.synced_sequence == log.last_sequence


async def test_a_snapshot_keeps_what_it_shows(store: Store) -> None:
    objects = store.volume.objects
    info = await put(store, b"k", b"1")
    await store.volume.snapshots.create("s")
    with pytest.raises(Pinned):
        await objects.delete(BUCKET, b"k", info.version_id)
    assert await get(store, b"k") == b"1"


# --- object lock --------------------------------------------------------------------------------


async def locked_bucket(store: Store, rule: LockRule | None = None) -> str:
    store.volume.create_bucket("locked", lock=True)
    if rule is not None:
        store.volume.set_lock_rule("locked", rule)
    return "locked"


def soon(store: Store, days: int = 1) -> int:
    return store.clock.now_ns() + days * DAY_NS


async def test_retention_keeps_a_version_from_every_eraser(store: Store) -> None:
    """S13.11"""
    bucket, objects = await locked_bucket(store), store.volume.objects
    until = soon(store)
    kept = PutAttributes(retention=LockRetention("COMPLIANCE", until))
    info = await put(store, b"k", b"1", kept, bucket=bucket)
    assert info.retention == ("COMPLIANCE", until)
    marker = await objects.delete(bucket, b"k")  # that is no loss
    for bypass in (False, True):
        with pytest.raises(Locked):
            await objects.delete(bucket, b"k", info.version_id, bypass_governance=bypass)
    with pytest.raises(Locked):
        await store.volume.forget(bucket, b"k", info.version_id)
    report = await store.volume.forget(bucket, b"k")
    assert (report.entries, report.locked) == (0, 1)
    with pytest.raises(BucketNotEmpty):
        store.volume.delete_bucket(bucket, force=True)
    assert names(store, b"k", bucket) == [marker.version_id, info.version_id]
    store.clock.advance(DAY_NS // TICK_NS + 1)
    await objects.delete(bucket, b"k", info.version_id)
    await objects.delete(bucket, b"k", marker.version_id)
    await objects.delete_bucket(bucket)


async def test_governance_gives_way_to_who_bypasses_it(store: Store) -> None:
    """S13.11"""
    bucket, objects = await locked_bucket(store), store.volume.objects
    kept = PutAttributes(retention=LockRetention("GOVERNANCE", soon(store, 10)))
    info = await put(store, b"k", b"1", kept, bucket=bucket)
    shorter = LockRetention("GOVERNANCE", soon(store))
    with pytest.raises(Locked):
        await objects.amend(bucket, b"k", retention=shorter)
    changed = await objects.amend(bucket, b"k", retention=shorter, bypass_governance=True)
    assert changed.retention == shorter
    longer = LockRetention("COMPLIANCE", soon(store, 2))
    await objects.amend(bucket, b"k", retention=longer)
    for refused in (None, shorter):
        with pytest.raises(Locked):
            await objects.amend(bucket, b"k", retention=refused, bypass_governance=True)
    with pytest.raises(InvalidRequest):
        await objects.amend(bucket, b"k", retention=LockRetention("GOVERNANCE", 5))
    assert objects.head(bucket, b"k").version_id == info.version_id


async def test_a_hold_has_no_end(store: Store) -> None:
    bucket, objects = await locked_bucket(store), store.volume.objects
    info = await put(store, b"k", b"1", PutAttributes(hold=True), bucket=bucket)
    store.clock.advance(1000 * DAY_NS // TICK_NS)
    with pytest.raises(Locked):
        await objects.delete(bucket, b"k", info.version_id, bypass_governance=True)
    await objects.amend(bucket, b"k", info.version_id, hold=False)
    await objects.delete(bucket, b"k", info.version_id)


async def test_the_rule_of_a_bucket_counts_for_both_doors(store: Store) -> None:
    """S13.11"""
    bucket = await locked_bucket(store, LockRule("GOVERNANCE", 3))
    volume, objects = store.volume, store.volume.objects
    root = volume.root(bucket)
    handle, _ = volume.create(root, b"file", 0o644, os.O_RDWR, ME)
    for at in range(2):
        await volume.write(handle, at, b"x")
        await volume.flush(handle)
    await volume.release(handle)
    info = await put(store, b"object", b"1", bucket=bucket)
    files = objects.versions(bucket, b"file")
    assert len(files) == 2  # a version that is kept is not replaced
    for each in (info, *files):
        assert each.retention == ("GOVERNANCE", each.time_ns + 3 * DAY_NS)
    with pytest.raises(InvalidRequest):
        volume.set_bucket(bucket, versioning="suspended")
    for wrong in (LockRule("GOVERNANCE", 0), LockRule("ELSE", 3)):
        with pytest.raises(InvalidRequest):
            volume.set_lock_rule(bucket, wrong)
    volume.set_lock_rule(bucket, None)
    assert (await put(store, b"free", b"", bucket=bucket)).retention is None
    store.crash(None)
    store.again()
    assert store.volume.core.locks


async def test_amending(store: Store) -> None:
    objects = store.volume.objects
    info = await put(store, b"k", b"1", PutAttributes(tags={"a": "1"}, acl=b"acl"))
    await put(store, b"k", b"2")
    changed = await objects.amend(BUCKET, b"k", info.version_id, tags={"b": "2"})
    assert (changed.tags, changed.acl, changed.latest) == ({"b": "2"}, b"acl", False)
    assert objects.head(BUCKET, b"k").tags == {}
    with pytest.raises(InvalidRequest):
        await objects.amend(BUCKET, b"k", hold=True)
    marker = await objects.delete(BUCKET, b"k")
    with pytest.raises(IsDeleteMarker):
        await objects.amend(BUCKET, b"k", marker.version_id, tags={})
    with pytest.raises(NotFound):
        await objects.amend(BUCKET, b"nothing", tags={})
    # What came back is one entry with two rows.
    newest: ObjectInfo = objects.versions(BUCKET, b"k")[1]
    await objects.delete(BUCKET, b"k", marker.version_id)
    await objects.amend(BUCKET, b"k", newest.version_id, tags={"c": "3"})
    await objects.delete(BUCKET, b"k")
    assert objects.head(BUCKET, b"k", newest.version_id).tags == {"c": "3"}


# --- buckets ------------------------------------------------------------------------------------


async def test_a_bucket_goes_when_nothing_is_shown(store: Store) -> None:
    """S13.14"""
    volume, objects = store.volume, store.volume.objects
    for versioning in ("off", "on"):
        volume.create_bucket("bucket", owner="me", versioning=versioning)
        with pytest.raises(BucketExists) as raised:
            volume.create_bucket("bucket")
        assert raised.value.owner == "me"
        for key in (b"k", b"d/", b"d/x"):
            await put(store, key, b"1", bucket="bucket")
            with pytest.raises(BucketNotEmpty):
                await objects.delete_bucket("bucket")
        for key in (b"k", b"d/", b"d/x", b"never"):
            await objects.delete("bucket", key)
        if versioning == "on":
            for key in (b"k", b"d/", b"d/x", b"never"):
                with pytest.raises(BucketNotEmpty):
                    await objects.delete_bucket("bucket")
                for name in names(store, key, "bucket"):
                    await objects.delete("bucket", key, name)
        await objects.delete_bucket("bucket")
        with pytest.raises(NoSuchBucket):
            objects.head("bucket", b"k")
    await volume.sweep()
    database = volume.core.database
    for table in (*HISTORY, EXTENT):
        assert not database.scan(table)
    assert len(database.scan(DENTRY)) == 1


async def test_documents_of_a_bucket(store: Store) -> None:
    volume = store.volume
    assert volume.document(BUCKET, "cors") is None
    volume.set_document(BUCKET, "cors", b"<x/>")
    volume.set_document(BUCKET, "policy", b"{}")
    volume.set_document(BUCKET, "policy", None)
    assert volume.bucket(BUCKET).policy == {"cors": b"<x/>"}


async def test_forgetting_takes_objects_of_directories_and_markers_too(store: Store) -> None:
    volume, objects = store.volume, store.volume.objects
    await put(store, b"d/", b"content")
    await put(store, b"d/x", b"1")
    for key in (b"d/x", b"d/", b"d/never"):
        await objects.delete(BUCKET, key)
    await volume.forget(BUCKET, b"d/")
    for key in (b"d/x", b"d/", b"d/never"):
        assert names(store, key) == []
    for table in HISTORY:
        assert not volume.core.database.scan(table)
