"""What a page of a listing reads, and where from. S14.4, S14.5"""

import stat
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from objfs.base.errors import NoSuchBucket
from objfs.meta.rows import Dentry, DentryPast, Row, RowWithBlobs, Version, new_inode
from objfs.meta.sqlite import SqliteEngine
from objfs.meta.tables import Key, R, Table, table_of
from objfs.volume.key_paging import Question
from objfs.volume.keys import KeyPage, VersionPage, key_page, version_page
from objfs.volume.volume import Volume
from tests.model.harness import BUCKET, Harness
from tests.volume.store import ME, Store

FAR_BACK = 7  # versions begin at this sequence


class Counting:
    """Counts the rows that are read through it."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self.rows = 0

    def get(self, table: Table[R], *key: Any) -> R | None:
        self.rows += 1
        found: R | None = self._source.get(table, *key)
        return found

    def get_many(self, table: Table[R], keys: list[Key]) -> list[R | None]:
        self.rows += len(keys)
        found: list[R | None] = self._source.get_many(table, keys)
        return found

    def scan(self, table: Table[R], prefix: Key = (), **options: Any) -> list[R]:
        found: list[R] = self._source.scan(table, prefix, **options)
        self.rows += len(found) + 1
        return found


async def planted(rows: list[Row | RowWithBlobs], store: Harness) -> Volume:
    """A store whose index has these rows besides: pages are only read, so no log is needed."""
    volume = await store.make()
    engine = volume.core.database.engine
    assert engine.applied is not None
    engine.apply([(table_of(r), table_of(r).key_of(r), r) for r in rows], *engine.applied)
    return volume


def file_rows(ino: int, sealed: int) -> list[Row | RowWithBlobs]:
    row = new_inode(ino, 0, stat.S_IFREG, sealed, sealed, content=ino)
    return [replace(row, sealed=sealed), Version(ino, sealed, ino, sealed, 1, 1, sealed, "e")]


def flat(root: int, count: int) -> list[Row | RowWithBlobs]:
    """So many files in one directory, d/."""
    directory = new_inode(9_000_000, 0, stat.S_IFDIR, FAR_BACK, FAR_BACK)
    rows: list[Row | RowWithBlobs] = [directory, Dentry(root, b"d/", directory.ino, FAR_BACK, 5)]
    for number in range(count):
        ino = 10_000_000 + number
        rows.append(Dentry(directory.ino, b"%06d" % number, ino, FAR_BACK, ino))
        rows += file_rows(ino, FAR_BACK)
    return rows


async def store_with(count: int) -> Volume:
    store = Store()
    root = (await Store().make()).root(BUCKET)
    return await planted(flat(root, count), store)


def read_by(volume: Volume, question: Question, *, versions: bool = False) -> int:
    """How many rows a page reads."""
    source = Counting(volume.core.database)
    page: KeyPage | VersionPage
    if versions:
        page = version_page(source, BUCKET, question, "")
    else:
        page = key_page(source, BUCKET, question)
    assert page.truncated
    assert len(page.entries) + len(page.prefixes) == question.limit
    return source.rows


@pytest.mark.slow
async def test_a_page_costs_the_same_of_any_number_of_keys() -> None:
    """S14.5"""
    few, many = await store_with(300), await store_with(30_000)
    for delimiter in (b"", b"/"):
        for versions in (False, True):
            question = Question(b"d/", b"d/000100", delimiter, 100)
            cost = read_by(few, question, versions=versions)
            assert read_by(many, question, versions=versions) <= cost + 10
            far = question._replace(after=b"d/025000")
            assert read_by(many, far, versions=versions) <= cost + 10
            assert cost < (1300 if versions else 500)


async def test_a_common_prefix_is_sought_past() -> None:
    """S14.5"""
    volume = await store_with(3000)
    source = Counting(volume.core.database)
    page = key_page(source, BUCKET, Question(b"", b"", b"/", 1000))
    assert page.prefixes == [b"d/"]
    assert source.rows < 30
    source = Counting(volume.core.database)
    page = key_page(source, BUCKET, Question(b"d/00", b"d/001997", b"2", 10))
    assert [each.key for each in page.entries] == [b"d/001998", b"d/001999"]
    assert page.prefixes == [b"d/002"]  # a thousand keys
    assert not page.truncated
    assert source.rows < 100


def replaced(root: int, count: int) -> list[Row | RowWithBlobs]:
    """The key `k`, written so many times through S3: each PUT is another inode."""
    rows: list[Row | RowWithBlobs] = []
    for number in range(count):
        ino, since = 10_000_000 + number, FAR_BACK + number
        rows += file_rows(ino, since)
        if number + 1 < count:
            rows.append(DentryPast(root, b"k", since + 1, ino, since))
        else:
            rows.append(Dentry(root, b"k", ino, since, ino))
    return rows


@pytest.mark.parametrize("overwritten", [False, True])
async def test_a_page_within_one_key_costs_what_it_shows(overwritten: bool) -> None:
    """S14.5"""
    count = 3000
    store = Store()
    root = (await Store().make()).root(BUCKET)
    if overwritten:  # through the mount: one inode with many versions
        ino = 10_000_000
        rows = [row for n in range(count) for row in file_rows(ino, FAR_BACK + n)]
        rows.append(Dentry(root, b"k", ino, FAR_BACK, ino))
    else:
        rows = replaced(root, count)
    volume = await planted(rows, store)
    marker, seen, costs = "", 0, []
    while True:
        source = Counting(volume.core.database)
        question = Question(b"", b"k" if marker else b"", b"", 250)
        page = version_page(source, BUCKET, question, marker)
        costs.append(source.rows)
        seen += len(page.entries)
        if not page.truncated:
            break
        assert (page.next_key, len(page.entries)) == (b"k", 250)
        marker = page.next_version
    assert seen == count
    assert max(costs) < 3500
    assert [each for each in page.entries if each.latest] == []


async def test_a_large_page_is_read_beside_the_owner(tmp_path: Path) -> None:
    """S14.4 What was changed a moment ago is on it, though nothing was committed."""
    store = Harness(tmp_path / "index")
    volume = await store.make()
    for name in (b"one", b"two"):
        handle, _ = volume.create(volume.root(BUCKET), name, 0o644, 2, ME)
        await volume.write(handle, 0, b"bytes")
        await volume.flush(handle)
        await volume.release(handle)
        page = await volume.keys.list_keys(BUCKET)
        assert page == await volume.keys.list_keys(BUCKET, limit=30)
        assert page.entries[-1].key == name
        versions = await volume.keys.list_versions(BUCKET)
        assert versions == await volume.keys.list_versions(BUCKET, limit=30)
        assert [each.latest for each in versions.entries] == [True] * len(page.entries)
    with pytest.raises(NoSuchBucket):
        await volume.keys.list_keys("nobody")
    engine = volume.core.database.engine
    assert isinstance(engine, SqliteEngine)
    engine.checkpoint_wal()  # no reader keeps it from being folded
    await store.close()
