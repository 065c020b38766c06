"""Multipart uploads. S15.1, S15.2, S15.3, S15.4, S15.5, S15.6"""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from random import Random
from typing import Any

import pytest

from objfs.base import limits
from objfs.base.errors import (
    ChecksumMismatch,
    EntityTooSmall,
    InvalidPart,
    InvalidPartOrder,
    InvalidRequest,
    NoSuchKey,
    NoSuchUpload,
    ObjfsError,
    PreconditionFailed,
)
from objfs.maint.fsck import Asked, Fsck
from objfs.meta.rows import Part
from objfs.meta.tables import ENDED_UPLOAD, EXTENT, PART, PURGE, UPLOAD, Table
from objfs.store.faults import Crash
from objfs.store.memory import nothing_survives
from objfs.volume.digests import Digests
from objfs.volume.object_types import COMPOSITE, FULL_OBJECT, Conditions, ObjectInfo, PutAttributes
from objfs.volume.upload_rules import AskedPart
from objfs.volume.uploads import UploadInfo
from tests.model.harness import BUCKET
from tests.model.operations import TICK_NS
from tests.volume.erasing_model import needless_extents
from tests.volume.listing_model import page_of
from tests.volume.store import ME, Store

KEY = b"dir/object"
LARGE = limits.INLINE_DATA_BYTES_MAX + 1000  # goes to the bulk segment, under an inode of its own


@pytest.fixture
async def store() -> Store:
    store = Store()
    await store.make()
    store.volume.uploads.part_bytes_min = 0
    return store


async def begin(store: Store, key: bytes = KEY, checksum: str = "", kind: str = "") -> UploadInfo:
    attributes = PutAttributes(
        metadata={"a": "b"}, headers={"content-type": "x/y"}, checksum_type=kind or FULL_OBJECT
    )
    return await store.volume.uploads.create(BUCKET, key, attributes, checksum=checksum)


async def add(store: Store, upload: UploadInfo, number: int, data: bytes) -> Part:
    body = store.volume.uploads.part(BUCKET, upload.key, upload.upload_id, number)
    for start in range(0, len(data), 1 << 20):
        await body.write(memoryview(data)[start : start + (1 << 20)])
    return await body.commit(hashlib.md5(data).digest())


def asked(parts: Sequence[Part]) -> list[AskedPart]:
    return [AskedPart(part.number, part.etag) for part in parts]


async def complete(
    store: Store, upload: UploadInfo, parts: Sequence[Part], conditions: Conditions | None = None
) -> ObjectInfo:
    return await store.volume.uploads.complete(
        BUCKET, upload.key, upload.upload_id, asked(parts), conditions
    )


async def get(store: Store, info: ObjectInfo) -> bytes:
    file = store.volume.objects.open(info)
    return bytes(await file.read(0, info.size + 1)) if info.size else b""


async def check_held(store: Store) -> None:
    """Nothing is there that nobody needs; the log alone gives the same index."""
    await store.volume.uploads.clean()
    await store.volume.sweep()
    assert not needless_extents(store)
    state = await Fsck(store.volume, noting=False).run(Asked(), restart=True)
    assert state.problems == []
    assert not store.volume.core.database.scan(PURGE)
    assert not store.volume.core.building
    before = store.dump()
    store.volume.core.database.commit()
    store.crash(None)
    store.open("lost")
    store.volume.uploads.part_bytes_min = 0
    assert store.dump() == before


async def test_parts_in_any_order_become_an_object(store: Store) -> None:
    """S15.1"""
    random = Random(1)
    upload = await begin(store)
    data = {number: random.randbytes(size) for number, size in ((7, 100), (2, LARGE), (9, 1))}
    parts = {number: await add(store, upload, number, data[number]) for number in (7, 2, 9)}
    parts[7] = await add(store, upload, 7, b"replaced")
    with pytest.raises(NoSuchKey):
        store.volume.objects.head(BUCKET, KEY)
    before = {(row.segment, row.position) for row in store.volume.core.database.scan(EXTENT)}
    info = await complete(store, upload, [parts[2], parts[7], parts[9]])
    rows = store.volume.core.database.scan(EXTENT)
    assert {(row.segment, row.position) for row in rows} <= before  # no byte was written again
    assert await get(store, info) == data[2] + b"replaced" + data[9]
    assert info == store.volume.objects.head(BUCKET, KEY)
    sums = b"".join(bytes.fromhex(parts[number].etag) for number in (2, 7, 9))
    assert info.etag == f"{hashlib.md5(sums).hexdigest()}-3"
    assert info.parts == [LARGE, 8, 1]
    assert (info.metadata["a"], info.headers) == ("b", {"content-type": "x/y"})
    assert await store.get("object", store.volume.root(BUCKET, b"dir")) == await get(store, info)
    await check_held(store)
    assert not store.volume.core.database.scan(PART)


@pytest.mark.parametrize(("algorithm", "kind"), [("CRC32C", COMPOSITE), ("CRC64NVME", FULL_OBJECT)])
async def test_checksums(store: Store, algorithm: str, kind: str) -> None:
    """S15.1"""

    def digest(data: bytes) -> bytes:
        sums = Digests((algorithm,))
        sums.update([data])
        return sums.checksums()[algorithm]

    upload = await begin(store, checksum=algorithm, kind=kind)
    parts = [await add(store, upload, number, bytes([number] * 500)) for number in (1, 2)]
    assert parts[0].checksums == {algorithm: digest(b"\1" * 500)}
    whole = digest(b"\1" * 500 + b"\2" * 500)
    if kind == COMPOSITE:
        whole = digest(digest(b"\1" * 500) + digest(b"\2" * 500))
    verb = store.volume.uploads.complete
    with pytest.raises(ChecksumMismatch):
        await verb(BUCKET, KEY, upload.upload_id, asked(parts), checksums={algorithm: b"wrong"})
    wrong = [AskedPart(1, parts[0].etag, {algorithm: whole}), asked(parts)[1]]
    with pytest.raises(InvalidPart):
        await verb(BUCKET, KEY, upload.upload_id, wrong)
    with pytest.raises(InvalidRequest):
        await verb(BUCKET, KEY, upload.upload_id, asked(parts), size=999)
    info = await verb(
        BUCKET, KEY, upload.upload_id, asked(parts), checksums={algorithm: whole}, size=1000
    )
    assert (info.checksums, info.checksum_type) == ({algorithm: whole}, kind)


async def test_rules_of_completing(store: Store) -> None:
    """S15.2"""
    store.volume.uploads.part_bytes_min = 10
    upload = await begin(store)
    small = await add(store, upload, 1, b"small")
    large = await add(store, upload, 2, b"large enough")
    with pytest.raises(EntityTooSmall):
        await complete(store, upload, [small, large])
    with pytest.raises(InvalidPartOrder):
        await complete(store, upload, [large, small])
    with pytest.raises(InvalidPartOrder):
        await complete(store, upload, [large, large])
    verb = store.volume.uploads.complete
    with pytest.raises(InvalidPart):
        await verb(BUCKET, KEY, upload.upload_id, [AskedPart(2, small.etag)])
    with pytest.raises(InvalidPart):
        await verb(BUCKET, KEY, upload.upload_id, [AskedPart(3, small.etag)])
    with pytest.raises(InvalidRequest):
        await complete(store, upload, [])
    with pytest.raises(InvalidRequest):
        await add(store, upload, limits.PARTS_MAX + 1, b"")
    with pytest.raises(NoSuchUpload):
        await verb(BUCKET, b"another", upload.upload_id, asked([large]))
    with pytest.raises(NoSuchUpload):
        await verb(BUCKET, KEY, "xyz", asked([large]))
    await store.put("object", b"is there", _directory(store))
    with pytest.raises(PreconditionFailed):
        await complete(store, upload, [large], Conditions(if_none_match=("*",)))
    await check_held(store)
    assert await get(store, await complete(store, upload, [large])) == b"large enough"
    await check_held(store)


def _directory(store: Store) -> int:
    with suppress(ObjfsError):
        return store.volume.root(BUCKET, b"dir")
    return store.volume.mkdir(store.root, b"dir", 0o755, ME).ino


async def test_completing_again_has_the_same_answer(store: Store) -> None:
    """S15.3"""
    upload = await begin(store)
    parts = [await add(store, upload, number, b"part") for number in (1, 2)]
    info = await complete(store, upload, parts)
    assert await complete(store, upload, parts) == info
    await check_held(store)
    assert await complete(store, upload, parts) == info
    with pytest.raises(NoSuchUpload):
        await complete(store, upload, parts[:1])
    with pytest.raises(NoSuchUpload):
        await add(store, upload, 1, b"late")
    with pytest.raises(NoSuchUpload):
        await store.volume.uploads.abort(BUCKET, KEY, upload.upload_id)
    again = await begin(store)
    newer = await complete(store, again, [await add(store, again, 1, b"newer")])
    assert (await complete(store, upload, parts)).version_id == info.version_id != newer.version_id
    store.clock.advance(int(limits.UPLOAD_KEPT_SECONDS * 1e9) // TICK_NS + 1)
    await store.volume.uploads.clean()
    assert not store.volume.core.database.scan(ENDED_UPLOAD)
    with pytest.raises(NoSuchUpload):
        await complete(store, upload, parts)


async def test_aborting_leaves_nothing(store: Store) -> None:
    """S15.4"""
    upload = await begin(store)
    body = store.volume.uploads.part(BUCKET, KEY, upload.upload_id, 3)
    await body.write(memoryview(bytes(LARGE)))
    for number in (1, 2):
        await add(store, upload, number, bytes(LARGE))
    await store.volume.uploads.abort(BUCKET, KEY, upload.upload_id)
    with pytest.raises(NoSuchUpload):
        await body.commit()
    with pytest.raises(NoSuchUpload):
        store.volume.uploads.list_parts(BUCKET, KEY, upload.upload_id)
    await check_held(store)
    tables: tuple[Table[Any], ...] = (UPLOAD, PART, ENDED_UPLOAD, EXTENT)
    for table in tables:
        assert not store.volume.core.database.scan(table)


async def test_a_part_of_another_object(store: Store) -> None:
    """S15.5"""
    data = Random(2).randbytes(LARGE)
    ino = await store.put("source", data)
    handle = await store.volume.open(ino, 2)
    await store.volume.write(handle, 1000, b"changed")
    await store.close_handle(handle)
    data = data[:1000] + b"changed" + data[1007:]
    source = store.volume.objects.head(BUCKET, b"source")
    upload = await begin(store, checksum="CRC32C")
    copy = store.volume.uploads.copy_part
    appended = store.log.statistics()
    place = (BUCKET, KEY, upload.upload_id)
    parts = [
        await copy(*place, 1, source, 990, 1010),
        await copy(*place, 2, source),
        await copy(*place, 3, source, 5, 5),
    ]
    assert parts[0].etag == hashlib.md5(data[990:1010]).hexdigest()
    assert store.log.statistics().segments == appended.segments
    with pytest.raises(InvalidRequest):
        await copy(*place, 1, source, 0, len(data) + 1)
    await store.put("source", b"other bytes now")
    await check_held(store)
    info = await complete(store, upload, parts)
    assert await get(store, info) == data[990:1010] + data
    await check_held(store)


async def test_lists_of_parts_and_uploads(store: Store) -> None:
    """S15.6"""
    uploads = store.volume.uploads
    keys = [b"a", b"a", b"b/c", b"b/d", b"b/d", b"e"]
    begun = [await begin(store, key) for key in keys]
    await uploads.abort(BUCKET, b"e", begun[5].upload_id)
    everything = [
        (key, [each.upload_id for each in begun if each.key == key])
        for key in sorted(set(keys) - {b"e"})
    ]
    for prefix in (b"", b"b", b"b/"):
        for delimiter in (b"", b"/"):
            for limit in (1, 2, 1000):
                whole = page_of(everything, prefix, b"", delimiter, 1000).items
                found: list[tuple[bytes, object]] = []
                key, marker = b"", ""
                while True:
                    page = uploads.list_uploads(BUCKET, prefix, key, marker, delimiter, limit)
                    items = [(each.key, each.upload_id) for each in page.uploads]
                    found += sorted([*items, *((each, None) for each in page.prefixes)])
                    if not page.truncated:
                        break
                    key, marker = page.next_key, page.next_upload
                assert found == whole, (prefix, delimiter, limit)
    numbers = [3, 1, 10_000, 4]
    for number in numbers:
        await add(store, begun[0], number, b"x" * number)
    place = (BUCKET, b"a", begun[0].upload_id)
    page_one = uploads.list_parts(*place, limit=2)
    assert [part.number for part in page_one.parts] == [1, 3]
    assert (page_one.truncated, page_one.next) == (True, 3)
    page_two = uploads.list_parts(*place, after=3)
    assert [(part.number, part.size) for part in page_two.parts] == [(4, 4), (10_000, 10_000)]
    assert not page_two.truncated
    assert not uploads.list_parts(*place, limit=0).truncated
    store.volume.delete_bucket(BUCKET)
    await uploads.clean()
    assert not store.volume.core.database.scan(UPLOAD)
    assert not store.volume.core.database.scan(PART)


async def crashing(store: Store, upload: UploadInfo, parts: list[Part], verb: str) -> None:
    if verb == "complete":
        await complete(store, upload, parts)
        await store.volume.uploads.clean()
    else:
        await store.volume.uploads.abort(BUCKET, KEY, upload.upload_id)


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["complete", "abort"])
async def test_a_crash_at_any_call_of_the_device(store: Store, verb: str) -> None:
    """S15.1, S15.4"""
    random = Random(3)
    await store.put("object", b"old", _directory(store))
    upload = await begin(store)
    data = [random.randbytes(size) for size in (LARGE, 300, LARGE, 5)]
    parts = [await add(store, upload, at + 1, each) for at, each in enumerate(data)]
    call, crashed = 0, True
    while crashed:
        call += 1
        twin = store.twin()
        assert isinstance(twin, Store)
        twin.again()
        twin.volume.uploads.part_bytes_min = 0
        twin.plan.crash_at = len(twin.plan.calls) + call
        crashed = False
        try:
            await crashing(twin, upload, parts, verb)
        except (Crash, ObjfsError):
            crashed = True
        twin.crash(None if call % 2 else nothing_survives)
        twin.again()
        twin.volume.uploads.part_bytes_min = 0
        await _check_after(twin, upload, parts, b"".join(data), verb)
    assert call > 3


async def _check_after(
    store: Store, upload: UploadInfo, parts: list[Part], data: bytes, verb: str
) -> None:
    """Either nothing has happened, and it can be done now; or all has."""
    going_on = bool(store.volume.core.database.scan(UPLOAD))
    held = await get(store, store.volume.objects.head(BUCKET, KEY))
    assert held == (b"old" if going_on or verb == "abort" else data)
    await check_held(store)
    if going_on:
        await crashing(store, upload, parts, verb)
        await check_held(store)
    held = await get(store, store.volume.objects.head(BUCKET, KEY))
    assert held == (b"old" if verb == "abort" else data)
    assert not store.volume.core.database.scan(PART)


@pytest.mark.parametrize("seed", range(6))
async def test_random_uploads(store: Store, seed: int) -> None:
    """S15.1, S15.5: against a dict of bytes."""
    random = Random(seed)
    objects: dict[bytes, bytes] = {}
    going_on: list[tuple[UploadInfo, dict[int, tuple[Part, bytes]]]] = []
    for _ in range(60):
        verb = random.choice(("begin", "add", "add", "copy", "complete", "abort", "crash"))
        if verb == "begin" or not going_on:
            key = random.choice((b"k", b"d/k", b"d/e/k"))
            going_on.append((await begin(store, key), {}))
            continue
        upload, parts = random.choice(going_on)
        number = random.randint(1, 4)
        if verb == "add":
            data = random.randbytes(random.choice((0, 5, 3000)))
            parts[number] = (await add(store, upload, number, data), data)
        elif verb == "copy" and objects:
            key, data = random.choice(sorted(objects.items()))
            start = random.randint(0, len(data))
            end = random.randint(start, len(data))
            source = store.volume.objects.head(BUCKET, key)
            place = (BUCKET, upload.key, upload.upload_id, number)
            part = await store.volume.uploads.copy_part(*place, source, start, end)
            parts[number] = (part, data[start:end])
        elif verb == "complete" and parts:
            chosen = sorted(random.sample(sorted(parts), random.randint(1, len(parts))))
            info = await complete(store, upload, [parts[each][0] for each in chosen])
            objects[upload.key] = b"".join(parts[each][1] for each in chosen)
            assert await get(store, info) == objects[upload.key]
            going_on = [each for each in going_on if each[0] is not upload]
        elif verb == "abort":
            await store.volume.uploads.abort(BUCKET, upload.key, upload.upload_id)
            going_on = [each for each in going_on if each[0] is not upload]
        else:
            store.crash(nothing_survives)
            store.again()
            store.volume.uploads.part_bytes_min = 0
    for key, data in objects.items():
        assert await get(store, store.volume.objects.head(BUCKET, key)) == data
    assert len(store.volume.uploads.list_uploads(BUCKET).uploads) == len(going_on)
    await check_held(store)
