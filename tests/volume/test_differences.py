"""What differs between two moments, below the mount."""

from itertools import islice
from random import Random

import pytest

from objfs.base.errors import NotFound
from objfs.base.types import AttributeChange
from objfs.volume.differences import Difference, Differences
from tests.model.harness import Harness
from tests.model.test_restore import lived, restore, sealed
from tests.volume.store import Store
from tests.volume.test_tree_restore import OLD_TICKS, example, mkdir
from tests.volume.trees import Shown, shown, tree_at


@pytest.fixture
async def store() -> Store:
    store = Store()
    await store.make()
    return store


def differences(
    store: Harness,
    before: int,
    after: int,
    key: bytes = b"",
    *,
    renames: bool = True,
    page: int = 1000,
) -> list[Difference]:
    """In pages of `page`, joined."""
    found: list[Difference] = []
    passed: bytes | None = None
    while True:
        one, other = tree_at(store, before), tree_at(store, after)
        comparison = Differences(store.volume.core.database, one, other, renames=renames)
        walk = (each for each in comparison.walk(key, passed) if each is not None)
        some = list(islice(walk, page))
        found += some
        if len(some) < page:
            return found
        passed = found[-1].key


def told(found: list[Difference]) -> list[tuple[str, bytes, bytes | None]]:
    return [(each.kind, each.key, each.before) for each in found]


async def test_added_changed_deleted_renamed(store: Store) -> None:
    """S8.6"""
    before = await example(store)
    top = store.volume.lookup(store.root, b"d").ino
    volume = store.volume
    await store.put("file", b"second one", top)
    await store.put("new", b"x", top)
    await volume.unlink(top, b"symlink")
    await volume.rename(top, b"other", top, b"moved")
    await volume.rename(top, b"below", store.root, b"above")
    below = volume.lookup(store.root, b"above").ino
    await store.put("inside", b"y", below)
    await volume.setattr(volume.lookup(top, b"empty").ino, AttributeChange(mode=0o600))
    volume.setxattr(top, b"user.x", b"y")
    store.clock.advance(OLD_TICKS)
    after = store.log.last_sequence
    found = differences(store, before, after)
    assert told(found) == [
        ("renamed", b"above/", b"d/below/"),
        ("added", b"above/inside", None),
        ("changed", b"d/", None),
        ("changed", b"d/empty", None),
        ("changed", b"d/file", None),
        ("renamed", b"d/moved", b"d/other"),
        ("added", b"d/new", None),
        ("deleted", b"d/symlink", None),
    ]
    by_key = {each.key: each for each in found}
    assert by_key[b"d/"].attributes == ["xattrs"]
    assert (by_key[b"d/empty"].attributes, by_key[b"d/empty"].content) == (["mode"], False)
    assert (by_key[b"d/file"].size_before, by_key[b"d/file"].size_after) == (5, 10)
    assert by_key[b"d/symlink"].type == "symlink"
    # The other way round everything is the reverse.
    back = told(differences(store, after, before))
    assert ("renamed", b"d/below/", b"above/") in back
    assert ("deleted", b"d/below/inside", b"above/inside") in back
    assert len(back) == len(found)
    for size in (1, 2, 3):
        assert differences(store, before, after, page=size) == found


async def test_of_a_path(store: Store) -> None:
    """S8.6: of a path both moments are looked up by its name; what came from outside was added."""
    before = await example(store)
    top = store.volume.lookup(store.root, b"d").ino
    await store.volume.rename(top, b"file", store.root, b"out")
    await store.volume.rename(top, b"other", store.volume.lookup(top, b"below").ino, b"in")
    after = store.log.last_sequence
    assert told(differences(store, before, after, b"d/below")) == [("added", b"d/below/in", None)]
    assert told(differences(store, before, after, b"d")) == [
        ("renamed", b"d/below/in", b"d/other"),
        ("deleted", b"d/file", None),
    ]
    assert told(differences(store, before, after, b"out")) == [("renamed", b"out", b"d/file")]
    assert told(differences(store, before, after, b"d/file")) == [("deleted", b"d/file", None)]
    with pytest.raises(NotFound):
        differences(store, before, after, b"never")


async def test_a_file_that_became_a_directory_and_links(store: Store) -> None:
    """S8.6"""
    await store.put("x", b"file")
    ino = await store.put("a", b"linked")
    before = store.log.last_sequence
    await store.volume.unlink(store.root, b"x")
    mkdir(store, "x")
    store.volume.link(ino, store.root, b"b")
    await store.volume.unlink(store.root, b"a")
    after = store.log.last_sequence
    assert told(differences(store, before, after)) == [
        ("renamed", b"b", b"a"),
        ("deleted", b"x", None),
        ("added", b"x/", None),
    ]
    assert told(differences(store, before, after, b"x")) == [
        ("deleted", b"x", None),
        ("added", b"x/", None),
    ]


@pytest.mark.parametrize("seed", range(12))
async def test_random_moments_differ_in_what_comparing_them_shows(seed: int) -> None:
    """S8.6: and not at all after a restore. The pages join to the whole."""
    run = await lived(seed)
    store, random = run.harness, Random(seed)
    await sealed(store, "present")
    last = store.log.last_sequence
    for _ in range(4):
        before, after = (random.randint(store.found + 1, last) for _ in range(2))
        one, other = await shown(store, before), await shown(store, after)
        found = differences(store, before, after, renames=False)
        keys = {
            path
            for path in one.keys() | other.keys()
            if _comparable(one, path) != _comparable(other, path)
        }
        # Bytes are known by their identity: written again, the same ones differ.
        rewritten = {each.key for each in found if each.kind == "changed" and each.content}
        assert keys <= {each.key for each in found} <= keys | rewritten, (seed, before, after)
        assert [each.key for each in found] == sorted(each.key for each in found)
        paged = differences(store, before, after, page=random.randint(1, 4))
        assert paged == differences(store, before, after), (seed, before, after)
        for each in paged:
            assert (each.kind == "added") or (each.before or each.key) in one
            assert (each.kind == "deleted") or each.key in other
    await restore(store, b"", before)
    assert differences(store, before, store.log.last_sequence, renames=False) == []


def _comparable(tree: dict[bytes, Shown], path: bytes) -> Shown | None:
    """As far as a difference looks."""
    each = tree.get(path)
    if each is None:
        return None
    kept = each._replace(linked_to=b"")
    return kept._replace(mtime_ns=0) if path.endswith(b"/") or not path else kept
