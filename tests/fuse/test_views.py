"""Views of the past through the operations of a mount, with no kernel."""

import json
import os
import stat
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from objfs.base.errors import (
    BadHandle,
    NotADirectory,
    NotFound,
    ReadOnly,
    StaleInode,
)
from objfs.base.limits import CHANGING_VIEW_SECONDS, KERNEL_CACHE_SECONDS
from objfs.base.types import AttributeChange
from objfs.fuse.operations import ROOT_ID, Operations
from objfs.fuse.views import VIEW_BIT
from objfs.volume.view import Page, View
from objfs.volume.volume import Inode, Volume
from tests.fuse.conftest import Kernel
from tests.fuse.past import OWNER, ROOT, Past
from tests.model.harness import BUCKET
from tests.model.operations import TICK_NS
from tests.volume.store import Store


async def test_a_moment_shows_names_bytes_and_attributes(past: Past) -> None:
    """S9.1"""
    store, do, volume = past.store, past.do, past.store.volume
    sub = volume.mkdir(store.root, b"d", 0o755, OWNER)
    ino = await store.put("f", b"one", sub.ino)
    volume.symlink(sub.ino, b"link", b"f", OWNER)
    volume.setxattr(ino, b"user.color", b"red")
    then = past.moment()
    await store.put("f", b"second", sub.ino)
    await volume.setattr(ino, AttributeChange(mode=0o600))
    volume.removexattr(ino, b"user.color")
    await volume.unlink(sub.ino, b"link")
    await store.put("new", b"", sub.ino)
    at = b".objfs/at/" + then
    assert await past.names(at) == [b"d"]
    assert await past.names(at + b"/d") == [b"f", b"link"]
    inode = past.find(at + b"/d/f")
    assert (inode.size, stat.S_IMODE(inode.mode), inode.nlink) == (3, 0o644, 1)
    assert await past.read(at + b"/d/f") == b"one"
    assert do.getxattr_past(inode.ino, b"user.color", ROOT) == b"red"
    assert do.listxattr(inode.ino, ROOT) == [b"user.color"]
    assert do.getxattr_past(inode.ino, b"user.objfs.inode", ROOT) == str(ino).encode()
    assert do.getxattr_past(inode.ino, b"user.none", ROOT) is None
    assert do.readlink(past.find(at + b"/d/link").ino) == b"f"
    with pytest.raises(NotFound):
        past.find(at + b"/d/new")
    assert await past.read(b".objfs/at/now/d/f") == b"second"


async def test_which_names_of_times_lead_somewhere(past: Past) -> None:
    await past.store.put("f", b"one")
    then = past.moment()
    for name in (then, b"now", b"0s"):
        assert past.find(b".objfs/at/" + name).ino & VIEW_BIT
    for name in (b"soon", b"2999-01-01", b"", b"@1", b"\xff", b"@GMT-1970.01.02-00.00.00"):
        with pytest.raises(NotFound):
            past.find(b".objfs/at/" + name)


async def test_relative_times_are_resolved_anew_and_fixed_ones_are_believed(past: Past) -> None:
    """S9.2"""
    await past.store.put("f", b"one")
    then = past.moment()
    at = past.find(b".objfs/at").ino
    fixed = past.do.lookup_past(at, then, ROOT)
    assert fixed.seconds == KERNEL_CACHE_SECONDS
    relative = past.do.lookup_past(at, b"0s", ROOT)
    assert relative.seconds == CHANGING_VIEW_SECONDS <= 1
    await past.store.put("f", b"changed")
    # The walk that has begun goes on in its state; a new one begins at another.
    old = past.do.lookup_past(relative.inode.ino, b"f", ROOT).inode
    assert old.size == 3
    again = past.do.lookup_past(at, b"0s", ROOT)
    assert again.inode.ino != relative.inode.ino
    assert past.do.lookup_past(again.inode.ino, b"f", ROOT).inode.size == 7
    assert past.do.lookup_past(at, then, ROOT).inode.ino == fixed.inode.ino


async def test_what_a_view_shows_is_not_amended(past: Past) -> None:
    """S9.2"""
    ino = await past.store.put("f", b"one")
    shown = past.find(b".objfs/at/now")
    await past.store.volume.setattr(ino, AttributeChange(mode=0o600))
    await past.store.put("f", b"second")
    inode = past.do.lookup_past(shown.ino, b"f", ROOT).inode
    assert (stat.S_IMODE(inode.mode), inode.size) == (0o644, 3)


async def test_listing_offers_restore_points(past: Past) -> None:
    store = past.store
    for _ in range(5):
        await store.put("f", b"x" * 10)
        store.clock.advance(100 * 10**9 // TICK_NS)
    names = await past.names(b".objfs/at")
    assert 5 <= len(names) <= 20
    assert all(name.startswith(b"@GMT-") for name in names)
    assert names == sorted(names, reverse=True)
    for name in names:
        past.find(b".objfs/at/" + name)
    assert await past.read(b".objfs/at/" + names[0] + b"/f") == b"x" * 10


async def test_snapshots_are_listed_by_name(past: Past) -> None:
    store = past.store
    await store.put("f", b"one")
    await store.volume.snapshots.create("first")
    await store.put("f", b"second")
    other = store.volume.create_bucket("other")
    await store.volume.snapshots.create("elsewhere", other)
    assert await past.names(b".objfs/snapshots") == [b"first"]
    assert await past.read(b".objfs/snapshots/first/f") == b"one"
    for name in (b"none", b"elsewhere"):
        with pytest.raises(NotFound):
            past.find(b".objfs/snapshots/" + name)


async def test_versions_of_a_file_are_files(past: Past) -> None:
    """S9.5"""
    store, volume = past.store, past.store.volume
    sub = volume.mkdir(store.root, b"d", 0o755, OWNER).ino
    for text in (b"one", b"second", b"three"):
        await store.put("f.tar.gz", text, sub)
        past.moment()
    await volume.unlink(sub, b"f.tar.gz")
    past.moment()
    await store.put("f.tar.gz", b"four", sub)
    names = await past.names(b".objfs/versions/d/f.tar.gz")
    expected = [e.version_id for e in volume.versions(BUCKET, b"d/f.tar.gz") if not e.deleted]
    assert len(names) == 4
    assert all(
        name.endswith(f"Z-{id}.gz".encode()) for name, id in zip(names, expected, strict=True)
    )
    read = [await past.read(b".objfs/versions/d/f.tar.gz/" + name) for name in names]
    assert read == [b"four", b"three", b"second", b"one"]
    for name in (b"x", names[0] + b"x", names[0][:-3], b"2026-11-20T10.00.00.000Z-1.gz"):
        with pytest.raises(NotFound):
            past.find(b".objfs/versions/d/f.tar.gz/" + name)
    assert await past.names(b".objfs/versions") == [b"d"]
    assert await past.names(b".objfs/versions/d") == [b"f.tar.gz"]
    with pytest.raises(NotFound):
        past.find(b".objfs/versions/none")


async def test_versions_of_what_was_a_file_and_a_directory(past: Past) -> None:
    store, volume = past.store, past.store.volume
    await store.put("x", b"as a file")
    past.moment()
    await volume.unlink(store.root, b"x")
    sub = volume.mkdir(store.root, b"x", 0o755, OWNER).ino
    await store.put("below", b"b", sub)
    assert await past.names(b".objfs/versions") == [b"x"]
    names = await past.names(b".objfs/versions/x")
    assert names[1:] == [b"below"]
    assert await past.read(b".objfs/versions/x/" + names[0]) == b"as a file"
    (only,) = await past.names(b".objfs/versions/x/below")
    assert await past.read(b".objfs/versions/x/below/" + only) == b"b"


async def test_deleted_directories_are_there_with_their_names(past: Past) -> None:
    """S9.5"""
    store, volume = past.store, past.store.volume
    keep = volume.mkdir(store.root, b"keep", 0o755, OWNER).ino
    gone = volume.mkdir(keep, b"gone", 0o750, OWNER).ino
    await store.put("a", b"first a", gone)
    await store.put("b", b"b", gone)
    await store.put("moved", b"m", gone)
    past.moment()
    await store.put("a", b"last a", gone)
    await volume.rename(gone, b"moved", store.root, b"moved")
    for name in (b"a", b"b"):
        await volume.unlink(gone, name)
        past.moment()
    volume.rmdir(keep, b"gone")
    past.moment()
    await store.put("overwritten", b"1")
    await store.put("overwritten", b"2")
    assert await past.names(b".objfs/deleted") == [b"keep"]
    assert await past.names(b".objfs/deleted/keep") == [b"gone"]
    assert await past.names(b".objfs/deleted/keep/gone") == [b"a", b"b"]
    assert await past.read(b".objfs/deleted/keep/gone/a") == b"last a"
    assert stat.S_IMODE(past.find(b".objfs/deleted/keep/gone").mode) == 0o750
    # A new directory of that name: what the old one had is still found.
    new = volume.mkdir(keep, b"gone", 0o755, OWNER).ino
    await store.put("b", b"new b", new)
    assert await past.names(b".objfs/deleted/keep/gone") == [b"a"]
    for name in (b"b", b"moved", b"none"):
        with pytest.raises(NotFound):
            past.find(b".objfs/deleted/keep/gone/" + name)
    with pytest.raises(NotFound):
        past.find(b".objfs/deleted/moved")


async def test_a_deleted_file_that_is_still_open_is_deleted(past: Past) -> None:
    store, volume = past.store, past.store.volume
    await store.put("f", b"sealed")
    ino = volume.lookup(store.root, b"f").ino
    handle = await volume.open(ino, os.O_RDWR)
    past.moment()
    await volume.unlink(store.root, b"f")
    assert await past.names(b".objfs/deleted") == [b"f"]
    assert await past.read(b".objfs/deleted/f") == b"sealed"
    await volume.release(handle)
    assert await past.read(b".objfs/deleted/f") == b"sealed"


async def test_status_is_json_with_its_true_size(past: Past) -> None:
    inode = past.find(b".objfs/status")
    text = await past.read(b".objfs/status")
    assert json.loads(text)["state"] == "writable"
    assert inode.size == len(text)
    assert not past.do.views.is_fixed(inode.ino)
    assert past.find(b".objfs/status").ino != inode.ino


async def test_nothing_can_be_changed(past: Past) -> None:
    """S9.3"""
    store, do = past.store, past.do
    await store.put("f", b"one")
    live = store.volume.lookup(store.root, b"f").ino
    then = past.moment()
    top, file = past.find(b".objfs/at/" + then).ino, past.find(b".objfs/at/" + then + b"/f").ino
    for directory in (top, past.find(b".objfs").ino, past.find(b".objfs/deleted").ino):
        for attempt in (
            lambda id=directory: do.create(id, b"n", 0o644, os.O_RDWR, ROOT),
            lambda id=directory: do.mkdir(id, b"n", 0o755, ROOT),
            lambda id=directory: do.mknod(id, b"n", stat.S_IFIFO, 0, ROOT),
            lambda id=directory: do.symlink(id, b"n", b"f", ROOT),
            lambda id=directory: do.link(live, id, b"n"),
            lambda id=directory: do.rmdir(id, b"n"),
            lambda id=directory: do.setxattr(id, b"user.x", b"1"),
            lambda id=directory: do.removexattr(id, b"user.x"),
        ):
            with pytest.raises(ReadOnly):
                attempt()
        with pytest.raises(ReadOnly):
            await do.unlink(directory, b"f")
    with pytest.raises(ReadOnly):
        do.link(file, ROOT_ID, b"n")
    for source, target in ((top, ROOT_ID), (ROOT_ID, top), (top, top)):
        with pytest.raises(ReadOnly):
            await do.rename(source, b"f", target, b"n", 0)
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_TRUNC, os.O_APPEND):
        with pytest.raises(ReadOnly):
            await do.open(file, flags, ROOT)
    with pytest.raises(ReadOnly):
        await do.setattr(file, AttributeChange(size=0), None, ROOT)
    assert await past.read(b".objfs/at/" + then + b"/f") == b"one"


async def test_ids_live_as_long_as_the_kernel_knows_them(past: Past) -> None:
    store, do = past.store, past.do
    for k in range(10):
        await store.put(f"f{k}", b"x")
    then = past.moment()
    root = past.find(b".objfs/at/" + then)
    known = len(do.views)
    first = past.find(b".objfs/at/" + then + b"/f1")
    again = past.find(b".objfs/at/" + then + b"/f1")
    assert first.ino == again.ino
    assert first.ino & VIEW_BIT
    await past.entries(b".objfs/at/" + then)
    assert len(do.views) == known + 10
    do.forget([(first.ino, 2)])
    assert do.getattr(first.ino).size == 1  # the listing counted once more
    do.forget([(first.ino, 1), (12345, 1)])
    with pytest.raises(StaleInode):
        do.getattr(first.ino)
    assert past.find(b".objfs/at/" + then + b"/f1").ino > first.ino
    assert do.getattr(root.ino)


async def test_what_the_kernel_did_not_take_is_not_known(past: Past) -> None:
    store, do = past.store, past.do
    for k in range(10):
        await store.put(f"f{k}", b"x")
    root = past.find(b".objfs/at/now").ino
    known = len(do.views)
    fh = do.opendir_past(root, ROOT)
    taken: list[bytes] = []

    def give(name: bytes, cookie: int, id: int, inode: Inode, seconds: float) -> bool:
        if len(taken) == 5:
            return False
        taken.append(name)
        return True

    await do.views.readdir(fh, 0, give)
    assert taken == [b".", b"..", b"f0", b"f1", b"f2"]
    assert len(do.views) == known + 3
    taken.clear()
    await do.views.readdir(fh, 5, give)
    assert taken == [b"f3", b"f4", b"f5", b"f6", b"f7"]
    taken.clear()
    await do.views.readdir(fh, 3, give)  # back
    assert taken == [b"f1", b"f2", b"f3", b"f4", b"f5"]
    do.releasedir(fh)
    with pytest.raises(BadHandle):
        await do.views.readdir(fh, 0, give)
    with pytest.raises(NotADirectory):
        do.opendir_past(past.find(b".objfs/at/now/f1").ino, ROOT)


async def test_a_reader_who_goes_on_has_the_next_page_read_meanwhile(
    past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, volume = past.store, past.store.volume
    names = [b"%04d" % k for k in range(600)]
    for name in names:
        volume.mknod(store.root, name, stat.S_IFREG | 0o644, 0, OWNER)
    fh = past.do.opendir_past(past.find(b".objfs/at/" + past.moment()).ino, ROOT)
    later: list[Callable[[], Awaitable[None]]] = []
    volume.core.spawn = lambda *work: later.append(partial(*work))
    given: list[bytes] = []
    while_nobody_waits: list[bool] = []  # of each page that was read
    room, answering, page = 0, False, View.page

    def read(view: View, ino: int, after: bytes) -> Page:
        while_nobody_waits.append(not answering)
        return page(view, ino, after)

    monkeypatch.setattr(View, "page", read)

    def give(name: bytes, cookie: int, id: int, inode: Inode, seconds: float) -> bool:
        nonlocal room
        room -= 1
        if room >= 0:
            given.append(name)
        return room >= 0

    while room <= 0:  # until an answer had room left
        room, answering = 100, True
        await past.do.views.readdir(fh, len(given) + 2, give)
        answering = False
        while later:
            await later.pop()()
    volume.core.spawn = None
    assert given == names
    assert while_nobody_waits == [False, True, True]


async def test_large_directories_are_listed_in_pages(past: Past) -> None:
    store, volume = past.store, past.store.volume
    names = [b"%04d" % k for k in range(700)]
    for name in names:
        volume.mknod(store.root, name, stat.S_IFREG | 0o644, 0, OWNER)
    then = past.moment()
    for name in names[::2]:
        await volume.unlink(store.root, name)
    for name in names[:100]:
        volume.mknod(store.root, b"new" + name, stat.S_IFREG | 0o644, 0, OWNER)
    at = b".objfs/at/" + then
    assert await past.names(at) == names
    fh = past.do.opendir_past(past.find(at).ino, ROOT)
    one_by_one: list[bytes] = []
    cookies = [2]
    room = 0

    def give(name: bytes, cookie: int, id: int, inode: Inode, seconds: float) -> bool:
        nonlocal room
        if not room:
            return False
        room -= 1
        one_by_one.append(name)
        cookies.append(cookie)
        return True

    while not room:  # until an answer had room left
        room = 37
        await past.do.views.readdir(fh, cookies[-1], give)
    assert one_by_one == names
    assert await past.names(b".objfs/deleted") == names[::2]


# --- all buckets, prefixes -----------------------------------------------------------------------


async def test_all_buckets_have_a_past(all_buckets: Kernel) -> None:
    volume, do = all_buckets.volume, all_buckets.do
    await write(volume, all_buckets.bucket, b"f", b"one")
    store = Store.__new__(Store)
    past = Past(store, do)
    for path in (b".objfs/at/now", b".objfs/versions", b".objfs/deleted"):
        assert await past.names(path) == [b"main", b"other"]
    assert await past.read(b".objfs/at/now/main/f") == b"one"
    assert await past.read(b"main/.objfs/at/now/f") == b"one"
    assert len(await past.names(b".objfs/versions/main/f")) == 1
    assert await past.names(b"other/.objfs/at/now") == []
    with pytest.raises(NotFound):
        past.find(b".objfs/at/now/none")
    assert await past.names(b".objfs/snapshots") == []


async def write(volume: Volume, parent: int, name: bytes, data: bytes) -> None:
    handle, _ = volume.create(parent, name, 0o644, os.O_RDWR, OWNER)
    await volume.write(handle, 0, data)
    await volume.flush(handle)
    await volume.release(handle)


async def test_a_mounted_prefix_shows_its_own_past(past: Past) -> None:
    store, volume = past.store, past.store.volume
    sub = volume.mkdir(store.root, b"d", 0o755, OWNER).ino
    before = past.moment()
    deep = volume.mkdir(sub, b"e", 0o755, OWNER).ino
    await store.put("f", b"one", deep)
    below = Past(store, Operations(volume, deep))
    assert await below.read(b".objfs/at/now/f") == b"one"
    assert await below.names(b".objfs/versions") == [b"f"]
    assert len(await below.names(b".objfs/versions/f")) == 1
    with pytest.raises(NotFound):
        below.find(b".objfs/at/" + before)
