"""Objects of S3 over the files of the mount: what is put, read and found through both doors."""

import hashlib
import os
import stat
import zlib

import pytest
import trio

from objfs.base.errors import (
    AttributeTooLarge,
    ChecksumMismatch,
    DirectoryNotEmpty,
    InvalidRequest,
    KeyTooLong,
    NoSuchBucket,
    NoSuchKey,
    NoSuchVersion,
    NotFound,
    PreconditionFailed,
)
from objfs.base.types import AttributeChange
from objfs.meta.tables import DENTRY, EXTENT, INODE, ORPHAN, UNSEALED
from objfs.volume.digests import Digests
from objfs.volume.object_types import Conditions, ObjectInfo, PutAttributes
from tests.model.harness import BUCKET
from tests.volume.store import ME, Store


@pytest.fixture
async def store() -> Store:
    store = Store()
    await store.make()
    return store


async def put(
    store: Store,
    key: bytes,
    data: bytes = b"",
    attributes: PutAttributes | None = None,
    conditions: Conditions | None = None,
    bucket: str = BUCKET,
) -> ObjectInfo:
    body = store.volume.objects.put(bucket, key)
    for start in range(0, len(data), 1 << 20):
        await body.write(memoryview(data)[start : start + (1 << 20)])
    return await body.commit(attributes or PutAttributes(), conditions)


async def get(store: Store, key: bytes, version_id: str | None = None) -> bytes:
    objects = store.volume.objects
    info = objects.head(BUCKET, key, version_id)
    file = objects.open(info)
    return bytes(await file.read(0, info.size + 1))


async def test_what_is_put_is_an_object_and_a_file(store: Store) -> None:
    """S13.1"""
    info = await put(store, b"a/b/c", b"hello")
    assert (info.size, info.etag) == (5, hashlib.md5(b"hello").hexdigest())
    assert info == store.volume.objects.head(BUCKET, b"a/b/c")
    assert await get(store, b"a/b/c") == b"hello"
    directory = store.volume.root(BUCKET, b"a/b")
    assert await store.get("c", directory) == b"hello"
    inode = store.volume.lookup(directory, b"c")
    assert stat.S_IMODE(inode.mode) == 0o644
    assert stat.S_IMODE(store.volume.getattr(directory).mode) == 0o755
    assert store.volume.getattr(store.root).nlink == 3
    assert info.metadata == {}


async def test_a_small_object_is_one_change_and_one_sync(store: Store) -> None:
    """S13.6"""
    await put(store, b"before", b"x")
    log = store.volume.core.log
    before, syncs = log.last_sequence, log.statistics().syncs
    await put(store, b"small", os.urandom(4096))
    assert log.last_sequence == before + 1
    assert log.statistics().syncs == syncs + 1
    assert log.synced_sequence == log.last_sequence


@pytest.mark.parametrize("size", [0, 1, 100_000, 300_000, 4 << 20, (9 << 20) + 17])
async def test_bodies_of_all_sizes(store: Store, size: int) -> None:
    """S13.5"""
    data = os.urandom(1 << 16) * (size // (1 << 16) + 1)
    data = data[:size]
    body = store.volume.objects.put(BUCKET, b"k", ("CRC32", "SHA256"))
    buffer = bytearray(70_000)
    for start in range(0, size, len(buffer)):
        piece = data[start : start + len(buffer)]
        buffer[: len(piece)] = piece
        await body.write(memoryview(buffer)[: len(piece)])  # used again by the caller
    info = await body.commit(PutAttributes())
    assert info.etag == hashlib.md5(data).hexdigest()
    assert info.checksums == {
        "CRC32": zlib.crc32(data).to_bytes(4, "big"),
        "SHA256": hashlib.sha256(data).digest(),
    }
    assert await get(store, b"k") == data
    assert await store.get("k") == data
    core = store.volume.core
    assert core.dirty_bytes == 0
    assert not core.database.scan(ORPHAN)
    assert not core.database.scan(UNSEALED)
    store.crash()
    store.again()
    assert await get(store, b"k") == data


def test_checksums_of_the_standards_examples() -> None:
    digests = Digests(("CRC32", "CRC32C", "CRC64NVME"))
    digests.update([b"1234", bytearray(b"56789")])
    assert digests.checksums() == {
        "CRC32": bytes.fromhex("cbf43926"),
        "CRC32C": bytes.fromhex("e3069283"),
        "CRC64NVME": bytes.fromhex("ae8b14860a799888"),
    }
    with pytest.raises(InvalidRequest):
        Digests(("CRC16",))


async def test_chunks_in_the_background(store: Store) -> None:
    data = os.urandom(1 << 20) * 13
    async with trio.open_nursery() as nursery:
        await nursery.start(store.volume.run)
        store.volume.core.settings = type(store.volume.core.settings)(dirty_bytes=6 << 20)
        info = await put(store, b"k", data)
        assert info.etag == hashlib.md5(data).hexdigest()
        assert await get(store, b"k") == data
        nursery.cancel_scope.cancel()


async def test_what_is_aborted_or_refused_leaves_nothing(store: Store) -> None:
    """S13.8"""
    database = store.volume.core.database
    inodes = len(database.scan(INODE))
    for size in (10, 6 << 20):
        body = store.volume.objects.put(BUCKET, b"x/y", ("SHA1",))
        await body.write(bytes(size))
        await body.abort()
        body = store.volume.objects.put(BUCKET, b"x/y", ("SHA1",))
        await body.write(bytes(size))
        with pytest.raises(ChecksumMismatch):
            await body.commit(PutAttributes(checksums={"SHA1": bytes(20)}))
        with pytest.raises(ChecksumMismatch):
            await put(store, b"x/y", bytes(size), PutAttributes(md5=bytes(16)))
        with pytest.raises(NoSuchKey):
            await put(store, b"x/y", bytes(size), None, Conditions(if_match=("*",)))
    assert len(database.scan(INODE)) == inodes
    assert not database.scan(EXTENT)
    assert not database.scan(ORPHAN)
    assert store.volume.core.dirty_bytes == 0
    with pytest.raises(NoSuchKey):
        store.volume.objects.head(BUCKET, b"x/y")


async def test_what_a_crash_interrupts_leaves_nothing(store: Store) -> None:
    """S13.8"""
    body = store.volume.objects.put(BUCKET, b"x/y")
    await body.write(os.urandom(6 << 20))
    await store.volume.sync()
    assert store.volume.core.database.scan(EXTENT)
    store.crash()
    store.again()
    assert not store.volume.core.database.scan(EXTENT)
    assert not store.volume.core.database.scan(ORPHAN)
    assert store.names() == []


async def test_keys_that_posix_cannot_name(store: Store) -> None:
    """S13.1, S13.2"""
    keys = [
        b"a//b",
        b"/",
        b"//",
        b"./x",
        b"../x",
        b"d/..",
        b"n" * 300,
        b"m" * 300 + b"/x",
        b".objfs",
    ]
    for key in keys:
        await put(store, key, key)
    for key in keys:
        assert await get(store, key) == key
    assert sorted(store.names()) == [b"a", b"d"]
    for directory in (b"a", b"d"):
        assert store.names(store.volume.lookup(store.root, directory).ino) == []
    for name in (b"n" * 300, b"m" * 300, b".objfs"):
        with pytest.raises((NotFound, InvalidRequest)):
            store.volume.lookup(store.root, name)
    with pytest.raises(DirectoryNotEmpty):
        store.volume.rmdir(store.root, b"a")
    for key, error in ((b"k" * 1025, KeyTooLong), (b"", InvalidRequest)):
        with pytest.raises(error):
            store.volume.objects.put(BUCKET, key)
    with pytest.raises(NoSuchBucket):
        store.volume.objects.put("nowhere", b"k")


async def test_a_directory_shadows_a_file_in_the_mount_only(store: Store) -> None:
    """S13.2"""
    for first, second in ((b"a", b"a/b"), (b"c/d", b"c")):
        await put(store, first, b"1")
        await put(store, second, b"2")
        assert await get(store, first) == b"1"
        assert await get(store, second) == b"2"
    assert store.names() == [b"a", b"c"]
    for name in (b"a", b"c"):
        inode = store.volume.lookup(store.root, name)
        assert stat.S_ISDIR(inode.mode)
    volume = store.volume
    await volume.unlink(volume.lookup(store.root, b"a").ino, b"b")
    volume.rmdir(store.root, b"a")
    assert await store.get("a") == b"1"  # it is seen again
    assert store.names() == [b"a", b"c"]


async def test_a_directory_of_the_mount_is_an_object(store: Store) -> None:
    """S13.3"""
    directory = store.volume.mkdir(store.root, b"d", 0o750, ME).ino
    info = store.volume.objects.head(BUCKET, b"d/")
    assert (info.size, info.etag) == (0, hashlib.md5(b"").hexdigest())
    assert info.metadata["mode"] == str(stat.S_IFDIR | 0o750)
    assert await get(store, b"d/") == b""
    await put(store, b"d/", b"content", PutAttributes(metadata={"k": "v"}))
    assert await get(store, b"d/") == b"content"
    assert store.names(directory) == []
    assert store.volume.objects.head(BUCKET, b"d/").metadata == {"k": "v"}
    store.volume.rmdir(store.root, b"d")
    with pytest.raises(NoSuchKey):
        store.volume.objects.head(BUCKET, b"d/")
    await put(store, b"e/f", b"1")
    with pytest.raises(NoSuchKey):
        store.volume.objects.head(BUCKET, b"e/")
    await store.volume.unlink(store.volume.lookup(store.root, b"e").ino, b"f")
    assert store.volume.objects.head(BUCKET, b"e/").size == 0


async def test_deep_keys(store: Store) -> None:
    key = b"a/" * 511 + b"b"
    await put(store, key, b"deep")
    assert await get(store, key) == b"deep"
    with pytest.raises(PreconditionFailed):
        await put(store, key, b"", None, Conditions(if_none_match=("*",)))


async def test_a_put_keeps_mode_owner_and_acl(store: Store) -> None:
    """S13.4"""
    ino = await store.put("f", b"old")
    await store.volume.setattr(ino, AttributeChange(mode=0o4751, uid=7, gid=8))
    store.volume.setxattr(ino, b"user.old", b"1")
    handle = await store.volume.open(ino, os.O_RDWR)
    await store.volume.write(handle, 0, b"OLD")
    await put(store, b"f", b"new", PutAttributes(metadata={"new": "2"}, uid=1, gid=2))
    inode = store.volume.lookup(store.root, b"f")
    assert inode.ino != ino
    assert (stat.S_IMODE(inode.mode), inode.uid, inode.gid) == (0o751, 7, 8)
    assert store.volume.listxattr(inode.ino) == [b"user.new"]
    assert bytes(await store.volume.read(handle, 0, 10)) == b"OLD"  # who has it open keeps it
    await store.volume.release(handle)
    assert await store.history("f") == [b"new", b"OLD", b"old"]
    info = store.volume.objects.head(BUCKET, b"f")
    assert info.metadata == {"new": "2", "mode": str(stat.S_IFREG | 0o751), "uid": "7", "gid": "8"}


async def test_a_new_key_has_the_owner_of_who_puts_it(store: Store) -> None:
    """S13.4"""
    info = await put(store, b"d/k", b"", PutAttributes(uid=7, gid=8))
    assert info.metadata == {}
    for path in (b"d", b"d/k"):
        ino = store.volume.objects.head(BUCKET, b"d/k").ino
        inode = store.volume.getattr(ino if path == b"d/k" else store.volume.root(BUCKET, b"d"))
        assert (inode.uid, inode.gid) == (7, 8)


async def test_a_put_replaces_symlinks_and_never_follows_them(store: Store) -> None:
    """S13.4"""
    await store.put("target", b"t")
    store.volume.symlink(store.root, b"s", b"target", ME)
    store.volume.mknod(store.root, b"p", stat.S_IFIFO | 0o600, 0, ME)
    handle = store.create("never")
    for key in (b"s", b"p", b"never", b"s/x"):
        with pytest.raises(NoSuchKey):
            store.volume.objects.head(BUCKET, key)
    await put(store, b"s", b"new")
    assert await get(store, b"s") == b"new"
    assert await get(store, b"target") == b"t"
    await store.close_handle(handle)
    assert store.volume.objects.head(BUCKET, b"never").size == 0


async def test_metadata_are_extended_attributes(store: Store) -> None:
    """S13.12"""
    sent = {"colour": "blue", "mtime": "1700000000.25", "mode": "33152", "x": "ü"}
    info = await put(store, b"k", b"", PutAttributes(metadata=sent))
    assert info.metadata == sent
    inode = store.volume.lookup(store.root, b"k")
    assert inode.mtime_ns == 1_700_000_000_250_000_000
    assert stat.S_IMODE(inode.mode) == 0o600
    assert store.volume.getxattr(inode.ino, b"user.x") == "ü".encode()
    store.clock.advance(1000)
    await store.volume.setattr(inode.ino, AttributeChange(mode=0o640, mtime_ns=5))
    store.volume.setxattr(inode.ino, b"user.binary", b"\xff")
    store.volume.setxattr(inode.ino, b"user.colour", b"red")
    info = store.volume.objects.head(BUCKET, b"k")
    assert info.metadata == sent | {
        "colour": "red",
        "mode": str(stat.S_IFREG | 0o640),
        "mtime": "0.000000005",
    }
    assert info.missing_metadata == 1
    with pytest.raises(AttributeTooLarge):
        await put(store, b"k", b"", PutAttributes(metadata={f"n{at}": "" for at in range(100)}))


async def test_files_of_the_mount_have_true_etags_at_once(store: Store) -> None:
    """S13.5"""
    seen = set()
    handle = store.create("f")
    for at in range(4):
        await store.volume.write(handle, at, b"x")
        await store.volume.flush(handle)
        info = store.volume.objects.head(BUCKET, b"f")
        assert info.size == at + 1
        assert info.etag.endswith("-1")
        assert len(info.etag) == 34
        seen.add(info.etag)
    assert len(seen) == 4
    await store.volume.release(handle)
    versions = store.volume.objects.versions(BUCKET, b"f")
    assert {each.etag for each in versions} == seen  # what S3 was told of is not replaced
    assert info.metadata["uid"] == "1000"


async def test_conditions_are_tested_in_the_commit(store: Store) -> None:
    """S13.7"""
    objects = store.volume.objects
    one, two = objects.put(BUCKET, b"k"), objects.put(BUCKET, b"k")
    for each in (one, two):
        await each.write(b"x")
    only_new = Conditions(if_none_match=("*",))
    info = await one.commit(PutAttributes(), only_new)
    with pytest.raises(PreconditionFailed):
        await two.commit(PutAttributes(), only_new)
    await put(store, b"k", b"y", None, Conditions(if_match=(info.etag,)))
    with pytest.raises(PreconditionFailed):
        await put(store, b"k", b"z", None, Conditions(if_match=(info.etag,)))
    assert await get(store, b"k") == b"y"


async def test_versions_of_a_key(store: Store) -> None:
    infos = [await put(store, b"k", bytes([at])) for at in range(3)]
    for at, info in enumerate(infos):
        assert await get(store, b"k", info.version_id) == bytes([at])
    versions = store.volume.objects.versions(BUCKET, b"k")
    assert [each.version_id for each in versions] == [each.version_id for each in infos[::-1]]
    assert [each.latest for each in versions] == [True, False, False]
    for name in ("1", "null", "nonsense"):
        with pytest.raises(NoSuchVersion):
            store.volume.objects.head(BUCKET, b"k", name)


async def test_the_kernel_is_told_of_what_changed(store: Store) -> None:
    """S13.6"""
    told = []
    store.volume.core.invalidate = lambda ino, name: told.append((ino, name))
    await put(store, b"d/e/f", b"1")
    assert (store.root, b"d") in told
    told.clear()
    await put(store, b"d/e/f", b"2")
    assert told == [(store.volume.root(BUCKET, b"d/e"), b"f")]


async def test_a_copy_shares_the_bytes(store: Store) -> None:
    """S13.13"""
    source = await put(store, b"a", os.urandom(300_000), PutAttributes(metadata={"k": "v"}))
    extents = len(store.volume.core.database.scan(EXTENT))
    copied = await store.volume.objects.copy(source, BUCKET, b"b/c", PutAttributes())
    assert (copied.etag, copied.size, copied.metadata) == (source.etag, source.size, {})
    assert await get(store, b"b/c") == await get(store, b"a")
    assert len(store.volume.core.database.scan(EXTENT)) == extents
    ino = store.volume.lookup(store.volume.root(BUCKET, b"b"), b"c").ino
    handle = await store.volume.open(ino, os.O_RDWR)
    await store.volume.write(handle, 0, b"changed")
    await store.close_handle(handle)
    assert (await get(store, b"b/c"))[:7] == b"changed"
    assert (await get(store, b"a"))[:7] != b"changed"


async def test_null_versions(store: Store) -> None:
    """S13.10"""
    volume = store.volume
    volume.create_bucket("plain", versioning="off")
    for at in range(3):
        await put(store, b"k", bytes([at]), bucket="plain")
    (only,) = volume.objects.versions("plain", b"k")
    assert only.version_id == "null"
    assert volume.objects.head("plain", b"k", "null") == only
    volume.set_bucket("plain", versioning="on")
    new = await put(store, b"k", b"new", bucket="plain")
    names = [each.version_id for each in volume.objects.versions("plain", b"k")]
    assert names == [new.version_id, "null"]
    volume.set_bucket("plain", versioning="suspended")
    await put(store, b"k", b"later", bucket="plain")
    names = [each.version_id for each in volume.objects.versions("plain", b"k")]
    assert names == ["null", new.version_id]
    assert len(volume.core.database.scan(DENTRY, (volume.root("plain"),), lower=b"\0")) == 1
