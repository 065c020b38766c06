"""What changed beneath a directory, below the mount."""

from random import Random

import pytest

from objfs.volume.changes import Changes, PathChange, last_kind
from objfs.volume.showing import FOREVER
from tests.model.harness import BUCKET, Harness
from tests.model.test_restore import lived
from tests.volume.store import ME, Store
from tests.volume.test_tree_restore import OLD_TICKS, mkdir
from tests.volume.trees import shown


@pytest.fixture
async def store() -> Store:
    store = Store()
    await store.make()
    return store


def page(store: Harness, key: bytes, limit: int, before: int = FOREVER) -> list[PathChange]:
    database = store.volume.core.database
    walk = Changes(database, store.volume.bucket(BUCKET)).newest(key, limit, before)
    while True:
        try:
            next(walk)
        except StopIteration as ended:
            found: list[PathChange] = ended.value
            return found


def told(found: list[PathChange]) -> list[tuple[str, bytes, bytes | None, int | None]]:
    return [(each.kind, each.key, each.before, each.size) for each in found]


async def test_each_kind_newest_first(store: Store) -> None:
    """S6.9"""
    top = mkdir(store, "d")
    await store.put("a", b"first", top)
    store.clock.advance(OLD_TICKS)
    await store.put("a", b"longer one", top)
    store.volume.symlink(top, b"s", b"a", ME)
    await store.volume.rename(top, b"a", top, b"b")
    await store.volume.unlink(top, b"s")
    await store.volume.rename(store.root, b"d", store.root, b"e")
    await store.put("in", b"x", top)
    await store.volume.rename(top, b"b", store.root, b"out")
    assert told(page(store, b"", 100)) == [
        ("renamed", b"out", b"e/b", 10),
        ("created", b"e/in", None, 1),
        ("renamed", b"e/", b"d/", None),
        ("deleted", b"d/s", None, None),
        ("renamed", b"d/b", b"d/a", 10),
        ("created", b"d/s", None, None),
        ("changed", b"d/a", None, 10),
        ("created", b"d/a", None, 5),
        ("created", b"d/", None, None),
    ]
    # Under the name that it had, and under the one it has.
    assert [each.key for each in page(store, b"d", 100)] == [
        b"d/s",
        b"d/b",
        b"d/s",
        b"d/a",
        b"d/a",
    ]
    assert told(page(store, b"e/", 100)) == [
        ("renamed", b"out", b"e/b", None),
        ("created", b"e/in", None, 1),
    ]


async def test_a_save_over_a_file_is_a_change_of_it(store: Store) -> None:
    """S6.9: by a new file under its name; with the version ids that the file's history has."""
    await store.put("a", b"one")
    await store.put("new~", b"second")
    await store.volume.unlink(store.root, b"a")
    await store.put("a", b"third..")
    found = [each for each in page(store, b"", 100) if each.key == b"a"]
    assert [each.kind for each in found] == ["created", "deleted", "created"]
    versions = store.volume.versions(BUCKET, b"a")
    assert [each.sequence for each in found] == [each.sequence for each in versions]


async def test_of_a_deleted_directory(store: Store) -> None:
    """S6.9"""
    top = mkdir(store, "d")
    await store.put("a", b"data", mkdir(store, "below", top))
    below = store.volume.lookup(top, b"below").ino
    await store.volume.unlink(below, b"a")
    store.volume.rmdir(top, b"below")
    store.volume.rmdir(store.root, b"d")
    assert [(each.kind, each.key) for each in page(store, b"d", 2)] == [
        ("deleted", b"d/below/"),
        ("deleted", b"d/below/a"),
    ]
    row = store.volume.bucket(BUCKET)
    assert last_kind(store.volume.core.database, row, b"d") == "directory"
    assert last_kind(store.volume.core.database, row, b"none") is None


@pytest.mark.parametrize("seed", range(10))
async def test_pages_join_and_explain_every_moment(seed: int) -> None:
    """S6.9: what two moments next to each other show differently was told of the second."""
    run = await lived(seed)
    store, random = run.harness, Random(seed)
    whole = page(store, b"", 10_000)
    assert [each.sequence for each in whole] == sorted(
        (each.sequence for each in whole), reverse=True
    )
    joined: list[PathChange] = []
    before = FOREVER
    while some := page(store, b"", random.randint(1, 5), before):
        joined += some
        before = some[-1].sequence
    assert joined == whole
    told_at: dict[int, list[PathChange]] = {}
    for each in whole:
        told_at.setdefault(each.sequence, []).append(each)
    sequences = range(store.found + 1, store.log.last_sequence)
    for sequence in random.sample(sequences, min(20, len(sequences))):
        one, other = await shown(store, sequence), await shown(store, sequence + 1)
        told_now = told_at.get(sequence + 1, [])
        came = {path for path in other if path not in one}
        went = {path for path in one if path not in other}
        for each in told_now:
            if each.kind == "renamed" and each.key.endswith(b"/"):  # with all below it
                came = {path for path in came if not path.startswith(each.key)}
                went = {path for path in went if not path.startswith(each.before or b"?")}
        sealed_later = {path for path in came if other[path].data == b"" and other[path].size == 0}
        explained = {each.key for each in told_now} | sealed_later
        assert came <= explained, (seed, sequence)
        gone = {each.key for each in told_now if each.kind == "deleted"}
        gone |= {each.before for each in told_now if each.before is not None}
        assert went <= gone, (seed, sequence)
        rewritten = {
            path for path in one.keys() & other.keys() if one[path].data != other[path].data
        }
        assert rewritten <= explained, (seed, sequence)
