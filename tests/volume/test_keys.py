"""Listing of keys and versions: against a plain function over all keys (listing_model.py), for
random trees and histories; S14.1, S14.2, S14.3"""

import stat
from contextlib import suppress
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from objfs.base.errors import ObjfsError
from objfs.meta.database import Change
from objfs.meta.rows import Dentry, DentryPast, Marker, Version, new_inode
from objfs.meta.tables import DENTRY, DENTRY_PAST, MARKER
from objfs.volume.key_entries import After, entries
from objfs.volume.key_paging import Question, beyond
from objfs.volume.keys import key_page, version_page
from objfs.volume.object_entries import shown_entries
from objfs.volume.object_keys import components
from objfs.volume.object_types import PutAttributes
from tests.model.harness import BUCKET as NAME
from tests.volume.listing_model import page_of
from tests.volume.store import ME, Store
from tests.volume.test_erasing_model import story

PARTS = (b"a", b"b", b"a-", b"", b"..", b"a" * 3, b"\xff", b"a.b")
keys = st.lists(st.sampled_from(PARTS), min_size=1, max_size=4).map(b"/".join).filter(bool)
prefixes = st.sampled_from(
    (b"", b"a", b"a/", b"a/b", b"a-", b"/", b"a//", b"\xff", b"zz", b"b/../")
)
delimiters = st.sampled_from((b"", b"/", b"a", b"-", b"/a", b"//", b"b/"))
limits = st.sampled_from((0, 1, 2, 3, 5, 1000))


def plant(change: Change, root: int, key: bytes, size: int) -> None:
    """Rows of an object under any key that S3 allows."""
    parent = root
    for part in components(key)[:-1]:
        found = change.get(DENTRY, parent, part)
        if found is None:
            row = new_inode(change.new_id(), 0, stat.S_IFDIR, change.time_ns, change.sequence)
            found = Dentry(parent, part, row.ino, change.sequence, row.ino)
            change.put(row)
            change.put(found)
        parent = found.ino
    ino = change.new_id()
    row = new_inode(ino, 0, stat.S_IFREG, change.time_ns, change.sequence, size=size, content=ino)
    change.put(replace(row, sealed=change.sequence))
    change.put(
        Version(ino, change.sequence, ino, change.sequence, size, size, change.time_ns, f"{size}")
    )
    change.put(Dentry(parent, components(key)[-1], ino, change.sequence, ino))


def list_all(store: Store, question: Question) -> list[Any]:
    """All items of a listing, page by page, as the pages follow each other."""
    items: list[Any] = []
    while True:
        page = key_page(store.volume.core.database, NAME, question)
        items.append(([(each.key, each.size) for each in page.entries], page.prefixes))
        if not page.truncated:
            return items
        question = question._replace(after=page.next)


def items_of(entries: list[Any], prefixes: list[bytes]) -> list[tuple[bytes, Any]]:
    return sorted([*entries, *((prefix, None) for prefix in prefixes)], key=lambda item: item[0])


@settings(max_examples=120, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(keys, max_size=12, unique=True), prefixes, keys | st.just(b""), delimiters, limits)
@example([b"a/b", b"a", b"a-", b"a//b", b"a/"], b"a", b"a/", b"/", 2)
async def test_a_page_of_keys_is_what_a_plain_function_says(
    held: list[bytes], prefix: bytes, after: bytes, delimiter: bytes, limit: int
) -> None:
    """S14.1"""
    store = Store()
    await store.make()
    with store.volume.core.change() as change:
        for size, key in enumerate(held):
            plant(change, store.root, key, size)
    everything = [(key, [size]) for size, key in enumerate(held)]
    question = Question(prefix, after, delimiter, limit)
    expected = page_of(everything, prefix, after, delimiter, limit)
    page = key_page(store.volume.core.database, NAME, question)
    found = items_of([(each.key, each.size) for each in page.entries], page.prefixes)
    assert (found, page.truncated) == (expected.items, expected.truncated)
    if limit:
        whole = page_of(everything, prefix, after, delimiter, 1000).items
        pages = list_all(store, question)
        assert [item for page in pages for item in items_of(*page)] == whole


def test_beyond_is_the_first_string_above_a_prefix() -> None:
    assert beyond(b"a") == b"b"
    assert beyond(b"a\xff\xff") == b"b"
    assert beyond(b"") is None
    assert beyond(b"\xff") is None


async def test_what_is_no_object_is_passed_over() -> None:
    """S14.2"""
    store = Store()
    volume = await store.make()
    directory = volume.mkdir(store.root, b"d", 0o755, ME).ino
    volume.symlink(directory, b"link", b"target", ME)
    volume.mknod(directory, b"fifo", stat.S_IFIFO | 0o644, 0, ME)
    handle = store.create("new", directory)
    await store.put("file", b"12345", directory)
    page = key_page(volume.core.database, NAME, Question())
    assert [(each.key, each.size) for each in page.entries] == [(b"d/", 0), (b"d/file", 5)]
    assert page.entries[0].etag == "d41d8cd98f00b204e9800998ecf8427e"
    await store.close_handle(handle)
    page = key_page(volume.core.database, NAME, Question(delimiter=b"/"))
    assert (page.entries, page.prefixes) == ([], [b"d/"])
    with volume.core.change() as change:  # as S3 leaves a directory: without an entry of its own
        change.delete(DENTRY, directory, b"")
        for name in (b"file", b"new"):
            change.delete(DENTRY, directory, name)
    assert key_page(volume.core.database, NAME, Question(delimiter=b"/")).prefixes == []


async def keys_ever(store: Store) -> list[bytes]:
    """Every key that may have shown something: all paths that rows can spell."""
    database = store.volume.core.database
    found: set[bytes] = {row.key for row in database.scan(MARKER)}
    pending = [(store.root, b"")]
    seen = set()
    while pending:
        ino, above = pending.pop()
        now, past = database.scan(DENTRY, (ino,)), database.scan(DENTRY_PAST, (ino,))
        rows: list[Dentry | DentryPast] = [*now, *past]
        for row in rows:
            key = above + row.key
            if row.key.endswith(b"/"):
                if (row.ino, key) not in seen and len(key) < 20:
                    seen.add((row.ino, key))
                    pending.append((row.ino, key))
            elif key:
                found.add(key)
    return sorted(found)


def told(entry: Any) -> tuple[Any, ...]:
    """What two ways of finding an entry have to agree on."""
    sealed = entry.version.sealed if entry.version is not None else 0
    return (entry.id, entry.null, entry.marker, sealed)


async def over_s3(store: Store, random: Random) -> None:
    """An object is put or deleted, or one of its versions is erased."""
    objects = store.volume.objects
    key = random.choice((b"a", b"x/a", b"x/", b"x/new", b"y/z/", b"y/z/a", b"n//a", b"k", b"k"))
    if random.random() < 0.5:
        put = objects.put(NAME, key)
        await put.write(memoryview(random.randbytes(3)))
        await put.commit(PutAttributes())
        return
    versions = [each.version_id for each in objects.versions(NAME, key)]
    chosen = random.choice([None, *versions[:2], *versions])
    with suppress(ObjfsError):  # a snapshot holds it
        await objects.delete(NAME, key, chosen)


async def history(seed: int, steps: int) -> Store:
    """A store with a random past: of the mount, with versioning switched, markers and erasing."""
    teller = await story(seed, steps)
    store, random = teller.store, Random(seed)
    database = store.volume.core.database
    for _ in range(random.randint(1, 4)):
        store.volume.set_bucket(NAME, versioning=random.choice(("on", "suspended", "off")))
        for _ in range(12):
            if random.random() < 0.4:
                with suppress(IndexError):  # a path of which nothing is left has no versions
                    await teller.step()
            await over_s3(store, random)
    for _ in range(random.randint(0, 3)):
        key = random.choice((b"a", b"never", b"x/a", b"x/y/z", b"x/"))
        with store.volume.core.change() as change:
            change.put(Marker(store.volume.bucket(NAME).id, key, change.sequence))
    for key in [key for key in await keys_ever(store) if not key.endswith(b"/")]:
        found = shown_entries(database, store.volume.bucket(NAME), key)
        chosen = [each.sequence for each in found if random.random() < 0.15]
        await store.volume.erase(NAME, key, chosen)
    return store


@pytest.mark.parametrize("seed", range(12))
async def test_entries_are_those_of_the_definition(seed: int) -> None:
    """S14.3"""
    store = await history(seed, 30)
    database, bucket = store.volume.core.database, store.volume.bucket(NAME)
    for key in await keys_ever(store):
        expected = [told(each) for each in shown_entries(database, bucket, key)]
        assert [told(each) for each in entries(database, bucket, key)] == expected, key
        for at, entry in enumerate(list(entries(database, bucket, key))):
            after = After(entry.sequence, entry.id)
            rest = [told(each) for each in entries(database, bucket, key, after)]
            assert rest == expected[at + 1 :], (key, entry)


async def everything_of(store: Store) -> list[tuple[bytes, list[str]]]:
    database, bucket = store.volume.core.database, store.volume.bucket(NAME)
    found = []
    for key in await keys_ever(store):
        shown = shown_entries(database, bucket, key)
        ids = ["null" if each.null else f"{each.id:x}" for each in shown]
        found.append(
            (key, [f"{id}{'-' if e.marker else ''}" for id, e in zip(ids, shown, strict=True)])
        )
    return found


def version_items(page: Any) -> list[tuple[bytes, Any]]:
    entries = [(e.key, e.version_id + "-" * e.delete_marker) for e in page.entries]
    items = [*entries, *((prefix, None) for prefix in page.prefixes)]
    return sorted(items, key=lambda item: item[0])


@pytest.mark.parametrize("seed", range(12))
async def test_a_page_of_versions_is_what_a_plain_function_says(seed: int) -> None:
    """S14.3"""
    store = await history(seed, 30)
    database = store.volume.core.database
    everything = await everything_of(store)
    random = Random(seed)
    for _ in range(60):
        prefix = random.choice((b"", b"x", b"x/", b"a", b"y/a"))
        delimiter = random.choice((b"", b"/", b"a", b"/a"))
        limit = random.choice((1, 2, 3, 7, 1000))
        key, ids = random.choice([*everything, (b"", [])])
        marker = random.choice(ids) if ids and random.random() < 0.6 else None
        question = Question(prefix, key, delimiter, limit)
        expected = page_of(everything, prefix, key, delimiter, limit, marker)
        page = version_page(database, NAME, question, (marker or "").rstrip("-"))
        assert version_items(page) == expected.items, (question, marker)
        assert page.truncated == expected.truncated
        whole = page_of(everything, prefix, b"", delimiter, 1000).items
        found: list[Any] = []
        question, version = question._replace(after=b""), ""
        while True:
            page = version_page(database, NAME, question, version)
            found += version_items(page)
            if not page.truncated:
                break
            question, version = question._replace(after=page.next_key), page.next_version
        assert found == whole, question
    latest = [e.key for e in version_page(database, NAME, Question(), "").entries if e.latest]
    assert latest == [key for key, ids in everything if ids][: len(latest)]
