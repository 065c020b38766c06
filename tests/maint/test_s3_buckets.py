"""Commands, retention, views and fsck over buckets that S3 filled: keys that POSIX cannot name,
keys below keys, delete markers, null versions, locked ones."""

import os
from collections.abc import AsyncIterator
from typing import Any

import pytest

from objfs.base.errors import InvalidRequest, NotFound
from objfs.base.types import Caller
from objfs.maint import commands
from objfs.maint.fsck import Asked, Fsck
from objfs.maint.lifecycle import now_ns
from objfs.maint.retention import RetentionPass
from objfs.meta.rows import Retention
from objfs.volume.listing import logged_page
from objfs.volume.object_types import LockRetention
from objfs.volume.volume import RENAME_EXCHANGE, Volume
from tests.maint.test_lifecycle import BUCKET, Bucket
from tests.volume.store import Store

CALLER = Caller(0, 0, 0o022)
NAMED = [b"a/b", b"q/r/s/t", "\u00fc".encode(), b"\xff\xfe"]
KEYS = [
    *NAMED,
    b"a",
    b"a//b",
    b"dir/",
    b"dir/x",
    b"n" * 300,
    b"..",
    b"x/../z",
    b"/",
    b"//",
    b"/lead",
    b".objfs/at",
    b"z\x00y",
    b"k" * 1024,
]


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    made = Store()
    await made.make()
    yield made
    await made.close()


async def fill(bucket: Bucket) -> None:
    """Each key has three versions, with a deletion between the second and the third."""
    for key in KEYS:
        await bucket.put(key, b"0")
        await bucket.put(key, b"1")
        await bucket.delete(key)
        await bucket.put(key, b"2")


async def ask(bucket: Bucket, command: str, key: bytes, **more: Any) -> Any:
    volume: Volume = bucket.store.volume
    return await commands.run(volume, command, {"bucket": BUCKET, "key": key, **more})


async def check_whole(bucket: Bucket) -> None:
    found = await Fsck(bucket.store.volume).run(Asked(), restart=True)
    assert not found.problems
    counted: Any = await commands.run(bucket.store.volume, "recount", {})
    for figures in counted["buckets"].values():
        assert figures["counted"] == figures["kept"]


@pytest.mark.parametrize("key", KEYS)
async def test_commands_know_every_key(store: Store, key: bytes) -> None:
    """S13.1"""
    bucket = Bucket(store)
    await fill(bucket)
    shown = bucket.objects.versions(BUCKET, key)
    versions = (await ask(bucket, "versions", key))["versions"]
    assert [(each["version_id"], each["deleted"]) for each in versions] == [
        (info.version_id, info.delete_marker) for info in shown
    ]
    ids = [each["version_id"] for each in versions if not each["deleted"]]
    read = [
        (await ask(bucket, "read_version", key, version_id=id, offset=0, size=9))["data"]
        for id in ids
    ]
    assert read == [b"2", b"1", b"0"]
    used = await ask(bucket, "du", key)
    below = [each for each in KEYS if each == key or each.startswith(key.removesuffix(b"/") + b"/")]
    assert (used["files"], used["versions"]) == (len(below), 3 * len(below))
    whole = await ask(bucket, "du", b"")
    assert (whole["files"], whole["versions"]) == (len(KEYS), 3 * len(KEYS))


async def test_two_moments_differ_in_every_key(store: Store) -> None:
    """S13.1"""
    bucket = Bucket(store)
    before = store.volume.core.database.sequence
    await fill(bucket)
    between = store.volume.core.database.sequence
    for key in KEYS:
        await bucket.put(key, b"more")
    files = sorted(key for key in KEYS if not key.endswith(b"/"))
    assert await differing(bucket, before, "added") == files
    assert await differing(bucket, between, "changed") == files
    assert await differing(bucket, store.volume.core.database.sequence, "changed") == []


async def test_a_restored_bucket_has_every_key(store: Store) -> None:
    """S13.1"""
    bucket = Bucket(store)
    await fill(bucket)
    then = store.volume.core.database.sequence
    for key in KEYS:
        await bucket.delete(key)
    await store.volume.restore_at(store.volume.bucket(BUCKET), b"", then)
    shown = store.names(store.volume.root(BUCKET))
    assert sorted(shown) == sorted([b"a", b"q", b"dir", b"x", *NAMED[2:]])
    for key in KEYS:
        if not key.endswith(b"/"):
            file = bucket.objects.open(bucket.objects.head(BUCKET, key))
            assert bytes(await file.read(0, 9)) == b"2"
    await check_whole(bucket)


async def differing(bucket: Bucket, before: int, change: str) -> list[bytes]:
    found = (await ask(bucket, "diff", b"", before=before))["differences"]
    paths = [each["path"] for each in found if each["kind"] == change and each["type"] == "file"]
    return sorted(os.fsencode(each) for each in paths)


@pytest.mark.parametrize("versioning", ["off", "on", "suspended"])
async def test_retention_and_forgetting_leave_what_is_there(store: Store, versioning: str) -> None:
    """S10.1, S11.2"""
    bucket = Bucket(store, versioning=versioning)
    await fill(bucket)
    await bucket.delete(b"never")
    await check_whole(bucket)
    store.volume.retention.set(BUCKET, b"", Retention(0, b"", keep_last=1))
    dry = await RetentionPass(store.volume, dry=True).run()
    assert await RetentionPass(store.volume).run() == dry
    assert dry.entries == 2 * len(KEYS)
    for key in KEYS:
        assert len(bucket.shown(key)) == 1
        assert store.volume.objects.head(BUCKET, key).size == 1
    await check_whole(bucket)
    await store.volume.forget(BUCKET, b"")
    assert all(len(bucket.shown(key)) == 1 for key in KEYS)
    await check_whole(bucket)


async def test_locked_versions_stay_and_are_counted(store: Store) -> None:
    """S10.1, S11.2"""
    bucket = Bucket(store, lock=True)
    until = LockRetention("COMPLIANCE", now_ns(store.volume) + 10**15)
    held = await bucket.put(b"k", b"0", hold=True)
    kept = await bucket.put(b"k", b"1", retention=until)
    await bucket.put(b"k", b"2")
    await bucket.delete(b"k")
    store.volume.retention.set(BUCKET, b"", Retention(0, b"", deleted_days=1))
    store.clock.advance(3 * 86_400 * 1000)
    dry = await RetentionPass(store.volume, dry=True).run()
    applied = await RetentionPass(store.volume).run()
    assert (applied.entries, applied.locked) == (dry.entries, dry.locked) == (1, 2)
    assert bucket.shown(b"k") == ["-", kept.version_id, held.version_id]
    forgotten = await ask(bucket, "forget", b"k")
    assert (forgotten["entries"], forgotten["locked"]) == (0, 2)
    assert bucket.shown(b"k") == ["-", kept.version_id, held.version_id]
    await check_whole(bucket)


async def test_views_of_the_past_list_what_the_kernel_can_name(store: Store) -> None:
    """S13.2"""
    bucket = Bucket(store)
    await fill(bucket)
    volume = store.volume
    view, root = volume.at(volume.core.database.sequence), volume.root(BUCKET)
    now = store.names(root)
    assert sorted(name for name, _ in view.list_directory(root)) == sorted(now)
    for key in KEYS:
        await bucket.delete(key)
    assert [name for name, _ in view.list_directory(root)] == sorted(now)
    for node in (volume.past.versions(root), volume.past.top(root).lookup(b"deleted").node):
        names = [each.name for each in node.page((0, b"")).entries]
        assert sorted(name for name in names if name != b".objfs") == sorted(now)


async def test_a_file_that_a_directory_shadows_now_is_in_the_view_of_before(store: Store) -> None:
    """S13.2"""
    bucket = Bucket(store)
    volume = store.volume
    await bucket.put(b"s", b"file")
    alone = volume.at(volume.core.database.sequence)
    await bucket.put(b"s/x", b"below")
    both = volume.at(volume.core.database.sequence)
    root = volume.root(BUCKET)
    for _ in range(2):
        ((name, inode),) = alone.list_directory(root)
        assert (name, inode.size) == (b"s", 4)
        ((name, inode),) = both.list_directory(root)
        assert (name, both.lookup(root, b"s").ino) == (b"s", inode.ino)
        assert [name for name, _ in both.list_directory(inode.ino)] == [b"x"]
        await bucket.delete(b"s/x")


async def test_what_never_was_is_no_directory(store: Store) -> None:
    bucket = Bucket(store)
    await bucket.put(b"a//b", b"x")
    assert (await ask(bucket, "path_kind", b"a//"))["kind"] == "directory"
    found = (await ask(bucket, "changes", b"a//"))["changes"]
    assert [each["path"] for each in found] == ["a//b"]
    with pytest.raises(NotFound):
        await ask(bucket, "path_kind", b"b//")


def readable(bucket: Bucket) -> list[bytes]:
    """The names in the bucket's root that the mount lists."""
    volume = bucket.store.volume
    return [name for name, _, _ in logged_page(volume.core.database, volume.root(BUCKET), 0, 100)]


async def test_a_directory_moved_over_one_that_hides_an_object_hides_it_too(store: Store) -> None:
    """S13.1"""
    bucket = Bucket(store)
    await bucket.put(b"a", b"an object")
    root, volume = store.volume.root(BUCKET), store.volume
    for name in (b"b", b"c"):
        volume.mkdir(root, name, 0o755, CALLER)
    await volume.rename(root, b"c", root, b"b")
    await bucket.put(b"b", b"hidden")
    volume.mkdir(root, b"d", 0o755, CALLER)
    await volume.rename(root, b"d", root, b"b")
    assert volume.lookup(root, b"b").mode & 0o40000
    assert sorted(readable(bucket)) == [b"a", b"b"]
    await check_whole(bucket)


async def test_an_exchange_does_not_take_the_name_of_a_hidden_object(store: Store) -> None:
    """S13.1"""
    bucket = Bucket(store)
    root, volume = store.volume.root(BUCKET), store.volume
    volume.mkdir(root, b"a", 0o755, CALLER)
    await bucket.put(b"a", b"hidden")
    await bucket.put(b"b", b"seen")
    with pytest.raises(InvalidRequest, match="is an object too"):
        await volume.rename(root, b"a", root, b"b", RENAME_EXCHANGE)
    assert volume.objects.head(BUCKET, b"a").size == len(b"hidden")
    assert volume.objects.head(BUCKET, b"b").size == len(b"seen")
    await check_whole(bucket)
