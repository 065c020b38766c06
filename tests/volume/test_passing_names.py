"""Names used in passing keep no history; names that a user could have meant do."""

import stat
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from objfs.base.errors import NotFound
from objfs.base.types import AttributeChange
from objfs.meta.maintenance import count_usage
from objfs.meta.rows import Snapshot
from objfs.meta.tables import DENTRY_PAST, TABLES, USAGE
from objfs.volume.passing_names import used_in_passing
from tests.model.harness import BUCKET
from tests.volume.store import ME, Store

FILE, LINK = stat.S_IFREG, stat.S_IFLNK
RENAMED_ONLY = (
    ".data.Xy12aB", ".a b.tar.gz.0aZ9bb", ".Makefile.zUvWxY", "letter.odt.hTqRwe", "sedAb12Cd",
)  # fmt: skip
EITHER = (
    ".goutputstream-ABCDEF", ".goutputstream-abc123", "lu139161q33pkw.tmp", ".~lock.a.odt#",
    "~$report.docx", ".text.swp", ".text.swx", ".bashrc.swo", ".text.swpx", ".a.txt.kate-swp",
)  # fmt: skip
MEANT = (
    "a", "4913", ".tmp", ".data", "data~", "#data#", ".#data", "a.tmp", "lukas.tmp", "a.part",
    ".a.backup", ".a.Backup", ".a.README", ".a.sha256", ".a.202611", ".a.sqlite", "a.README",
    "a.Xy12aBc", "a.Xy12a", ".swp", "text.swp", ".text.swz", "sedation", "index.lock", ".Xy12aB",
)  # fmt: skip


@pytest.mark.parametrize("name", [*RENAMED_ONLY, *EITHER, *MEANT])
@pytest.mark.parametrize("removed", [False, True])
def test_the_table(name: str, removed: bool) -> None:
    found = used_in_passing(name.encode(), FILE, 10, removed=removed)
    assert found == (name in EITHER or (name in RENAMED_ONLY and not removed))


def test_some_names_are_passing_for_what_is_there_only() -> None:
    assert used_in_passing(b"4913", FILE, 0, removed=True)
    assert used_in_passing(b".#data", LINK, 30, removed=True)
    assert not used_in_passing(b"4913", FILE, 0, removed=False)
    assert not used_in_passing(b".data.Xy12aB", LINK, 30, removed=False)


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    store = Store()
    await store.make()
    yield store
    await store.close()


async def move(store: Store, name: str, to: str) -> None:
    store.clock.advance(1000)
    await store.volume.rename(store.root, name.encode(), store.root, to.encode())
    store.clock.advance(1000)


async def ever(store: Store, name: str) -> list[bytes | None]:
    """The versions of a name; none if it never was."""
    try:
        return await store.history(name)
    except NotFound:
        return []


def past_names(store: Store) -> list[bytes]:
    return [row.key for row in store.volume.core.database.scan(DENTRY_PAST)]


async def test_a_name_that_rsync_uses_in_passing_never_was(store: Store) -> None:
    """S6.7: the file's own history is one version for each run."""
    for data in (b"one", b"two", b"three"):
        await store.put(".data.Xy12aB", data)
        between = store.volume.core.database.sequence
        await move(store, ".data.Xy12aB", "data")
        assert await ever(store, ".data.Xy12aB") == []
        names = [name for name, _ in store.volume.at(between).list_directory(store.root)]
        assert b".data.Xy12aB" not in names
    assert await store.history("data") == [b"three", b"two", b"one"]
    assert past_names(store) == [b"data", b"data"]


async def test_a_name_that_a_user_could_have_meant_keeps_its_history(store: Store) -> None:
    """S6.7"""
    await store.put("draft", b"one")
    await move(store, "draft", "final")
    await store.put(".final.Xy12aB", b"two")
    store.clock.advance(1000)
    await store.volume.unlink(store.root, b".final.Xy12aB")
    assert await ever(store, "draft") == [None, b"one"]
    assert await ever(store, ".final.Xy12aB") == [None, b"two"]


async def test_a_file_that_was_not_made_under_the_name_keeps_its_history(store: Store) -> None:
    """S6.7"""
    await store.put("data", b"precious")
    await move(store, "data", ".data.Xy12aB")
    await move(store, ".data.Xy12aB", "other")
    assert await ever(store, ".data.Xy12aB") == [None, b"precious"]
    assert await ever(store, "data") == [None, b"precious"]


async def test_a_file_that_was_restored_there_keeps_its_history(store: Store) -> None:
    await store.put("data", b"precious")
    (version,) = store.volume.versions(BUCKET, b"data")
    await store.volume.restore(BUCKET, b"data", version.version_id, (BUCKET, b".data.Xy12aB"))
    await move(store, ".data.Xy12aB", "other")
    assert await ever(store, ".data.Xy12aB") == [None, b"precious"]


async def test_a_name_that_stayed_for_an_hour_keeps_its_history(store: Store) -> None:
    """S6.7"""
    await store.put(".data.Xy12aB", b"slow")
    store.clock.advance(3_600_000)
    await move(store, ".data.Xy12aB", "data")
    assert await ever(store, ".data.Xy12aB") == [None, b"slow"]


async def test_a_name_that_a_snapshot_shows_keeps_its_history(store: Store) -> None:
    """S6.7"""
    await store.put(".data.Xy12aB", b"seen")
    core = store.volume.core
    with core.change() as change:
        change.put(Snapshot("s", core.database.sequence, change.time_ns))
    core.pins.reload()
    at = core.pins.newest
    await move(store, ".data.Xy12aB", "data")
    assert [name for name, _ in store.volume.at(at).list_directory(store.root)] == [b".data.Xy12aB"]


async def test_in_a_bucket_with_a_lock_every_name_keeps_its_history(store: Store) -> None:
    """S6.7"""
    with store.volume.core.change() as change:
        change.put(replace(store.volume.bucket(BUCKET), lock=True))
    await store.put(".data.Xy12aB", b"locked")
    await move(store, ".data.Xy12aB", "data")
    assert await ever(store, ".data.Xy12aB") == [None, b"locked"]


async def test_rsync_that_delays_its_updates(store: Store) -> None:
    """S6.7: from its temporary name to `.~tmp~`, and from there to the name."""
    held = store.volume.mkdir(store.root, b".~tmp~", 0o700, ME).ino
    await store.put(".data.Xy12aB", b"one")
    await store.volume.rename(store.root, b".data.Xy12aB", held, b"data")
    store.clock.advance(1000)
    await store.volume.rename(held, b"data", store.root, b"data")
    assert await store.history("data") == [b"one"]
    assert await ever(store, ".~tmp~/data") == []
    store.volume.rmdir(store.root, b".~tmp~")
    assert past_names(store) == []
    held = store.volume.mkdir(store.root, b".~tmp~", 0o700, ME).ino
    await store.volume.rename(store.root, b"data", held, b"data")
    await store.volume.rename(held, b"data", store.root, b"data")
    assert await ever(store, ".~tmp~/data") == [None, b"one"]
    store.volume.rmdir(store.root, b".~tmp~")
    assert await ever(store, ".~tmp~/data") == [None, b"one"]
    assert b".~tmp~/" in past_names(store)


async def test_a_hard_link_to_a_user_s_file_keeps_its_history(store: Store) -> None:
    ino = await store.put("data", b"precious")
    store.volume.link(ino, store.root, b".data.swp")
    await store.volume.unlink(store.root, b".data.swp")
    assert await ever(store, ".data.swp") == [None, b"precious"]
    store.volume.link(ino, store.root, b".data.swp")
    await move(store, ".data.swp", "other")
    assert (await ever(store, ".data.swp"))[:2] == [None, b"precious"]


async def test_a_temporary_name_that_is_replaced_by_a_link(store: Store) -> None:
    """Some programs link the finished file to its name, and remove the temporary one."""
    ino = await store.put(".goutputstream-ABC123", b"one")
    store.volume.link(ino, store.root, b"data")
    await store.volume.unlink(store.root, b".goutputstream-ABC123")
    assert await store.history("data") == [b"one"]
    assert await ever(store, ".goutputstream-ABC123") == []


async def test_of_a_swap_file_nothing_is_left(store: Store) -> None:
    """S6.7: names, versions, attributes and bytes go when it is removed and closed."""
    await store.put("text", b"the text")
    database = store.volume.core.database
    before = {table.name: len(database.scan(table)) for table in TABLES}
    for opened in (False, True):
        handle = store.create(".text.swp")
        for number in range(3):
            await store.volume.write(handle, number * 1000, b"what was typed")
            await store.volume.flush(handle)
            store.clock.advance(11_000)
        if opened:
            await store.volume.unlink(store.root, b".text.swp")
            await store.close_handle(handle)
        else:
            await store.close_handle(handle)
            await store.volume.unlink(store.root, b".text.swp")
        await store.volume.sweep()
        assert await ever(store, ".text.swp") == []
        after = {table.name: len(database.scan(table)) for table in TABLES}
        for name in ("moment", "inode_past"):  # of the directory
            before[name] = after[name] = 0
        assert after == before
    counted = await count_usage(database)
    assert list(counted.usage.values()) == database.scan(USAGE)


async def test_of_a_swap_file_with_a_long_history_it_is_kept(store: Store) -> None:
    handle = store.create(".text.swp")
    for number in range(30):
        await store.volume.write(handle, 0, b"%d" % number)
        await store.volume.flush(handle)
        store.clock.advance(11_000)
    await store.close_handle(handle)
    await store.volume.unlink(store.root, b".text.swp")
    assert len(await ever(store, ".text.swp")) == 31


async def test_a_passing_file_whose_link_was_a_user_s_is_kept(store: Store) -> None:
    ino = await store.put(".text.swp", b"precious")
    store.volume.link(ino, store.root, b"text")
    store.clock.advance(1000)
    await store.volume.unlink(store.root, b"text")
    await store.volume.unlink(store.root, b".text.swp")
    assert await ever(store, "text") == [None, b"precious"]


async def test_times_for_a_file_of_which_nothing_is_left_are_no_error(store: Store) -> None:
    """The kernel's write-back cache sends them late: an error would be that of a syncfs(2)."""
    ino = await store.put(".text.swp", b"swap")
    await store.volume.unlink(store.root, b".text.swp")
    gone = await store.volume.setattr(ino, AttributeChange(mtime_ns=5, ctime_ns=6))
    assert (gone.nlink, stat.S_ISREG(gone.mode)) == (0, True)
    with pytest.raises(NotFound):
        await store.volume.setattr(ino, AttributeChange(mode=0o600))
