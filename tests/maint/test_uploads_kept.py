"""What keeps, checks and counts a store knows the parts of uploads, which no file has. S15.1"""

from random import Random

import pytest

from objfs.maint.disk_usage import disk_usage
from objfs.maint.fsck import Asked, Fsck
from objfs.maint.hits import hits_of
from objfs.maint.scrub import Scrub, ScrubResult
from objfs.meta.maintenance import open_reader
from objfs.meta.rows import Part
from objfs.meta.tables import EXTENT, PART, UPLOAD
from objfs.volume.object_types import PutAttributes
from objfs.volume.upload_rules import AskedPart
from objfs.volume.uploads import UploadInfo
from tests.maint.test_compaction import compact, drop
from tests.model.harness import BUCKET
from tests.volume.store import ME, Store

KEY = b"d/k"
SIZE = 300_000


@pytest.fixture
async def store() -> Store:
    store = Store()
    await store.make()
    store.volume.uploads.part_bytes_min = 0
    return store


async def uploaded(store: Store, data: list[bytes]) -> tuple[UploadInfo, list[Part]]:
    """An upload that goes on, with bytes of files between those of its parts."""
    uploads = store.volume.uploads
    upload = await uploads.create(BUCKET, KEY, PutAttributes())
    parts = []
    for number, part in enumerate(data, 1):
        await store.put(f"between{number}", Random(number).randbytes(SIZE))
        body = uploads.part(BUCKET, KEY, upload.upload_id, number)
        await body.write(memoryview(part))
        parts.append(await body.commit())
    return upload, parts


async def completed(store: Store, upload: UploadInfo, parts: list[Part]) -> bytes:
    asked = [AskedPart(part.number, part.etag) for part in parts]
    info = await store.volume.uploads.complete(BUCKET, KEY, upload.upload_id, asked)
    file = store.volume.objects.open(info)
    return bytes(await file.read(0, info.size))


async def test_compaction_and_scrub_keep_parts(store: Store) -> None:
    data = [Random(number).randbytes(SIZE) for number in range(10, 14)]
    upload, parts = await uploaded(store, data)
    before = {(row.segment, row.position) for row in store.volume.core.database.scan(EXTENT)}
    await drop(store, *(f"between{number}" for number in range(1, 5)))
    await store.volume.sweep()
    await store.close()
    store.again()
    store.volume.uploads.part_bytes_min = 0
    await compact(store.volume)
    after = {(row.segment, row.position) for row in store.volume.core.database.scan(EXTENT)}
    assert not after & before  # the parts were moved
    scrubbed = await Scrub(store.volume).run()
    assert isinstance(scrubbed, ScrubResult)
    assert scrubbed.damaged == 0
    state = await Fsck(store.volume, noting=False).run(Asked(data=True), restart=True)
    assert state.problems == []
    assert await completed(store, upload, parts) == b"".join(data)


async def test_disk_usage_counts_parts(store: Store) -> None:
    store.volume.mkdir(store.root, b"d", 0o755, ME)
    upload, parts = await uploaded(store, [b"x" * 1000, b"y" * 24])
    for usage in (
        await disk_usage(store.volume),
        await disk_usage(store.volume, BUCKET),
        await disk_usage(store.volume, BUCKET, b"d"),
    ):
        assert usage.upload_bytes == 1024
    assert (await disk_usage(store.volume, BUCKET, b"between1")).upload_bytes == 0
    await completed(store, upload, parts)
    await store.volume.uploads.clean()
    assert (await disk_usage(store.volume)).upload_bytes == 0


async def test_damage_tells_of_parts(store: Store) -> None:
    upload, parts = await uploaded(store, [Random(1).randbytes(SIZE)])
    database = store.volume.core.database
    row = database.scan(EXTENT, (parts[0].content,))[0]
    async with open_reader(database) as reader:
        hits = await hits_of(database, reader, row.segment, [row.position])
    assert [hit.path for hit in hits[row.position][0]] == [f"[part 1 of upload {upload.upload_id}]"]


async def test_a_part_of_nothing_is_found_and_dropped(store: Store) -> None:
    await uploaded(store, [Random(1).randbytes(SIZE)])
    database = store.volume.core.database
    upload = database.scan(UPLOAD)[0]
    with store.volume.core.change() as change:
        change.delete(UPLOAD, *UPLOAD.key_of(upload))
    state = await Fsck(store.volume, noting=False).run(Asked(repair=True), restart=True)
    assert [problem.code for problem in state.problems] == ["part-of-nothing"]
    assert state.left == 0
    assert not database.scan(PART)
    state = await Fsck(store.volume, noting=False).run(Asked(), restart=True)
    assert state.problems == []


async def test_a_check_leaves_alone_what_is_on_its_way(store: Store) -> None:
    """A body that comes slowly, while somebody repairs the store."""
    upload, _ = await uploaded(store, [])
    data = Random(1).randbytes(5 << 20)
    put = store.volume.objects.put(BUCKET, b"slow")
    part = store.volume.uploads.part(BUCKET, KEY, upload.upload_id, 1)
    for body in (put, part):
        await body.write(memoryview(data))
    state = await Fsck(store.volume, noting=False).run(Asked(repair=True), restart=True)
    assert state.problems == []
    info = await put.commit(PutAttributes())
    file = store.volume.objects.open(info)
    assert bytes(await file.read(0, info.size)) == data
    assert await completed(store, upload, [await part.commit()]) == data
