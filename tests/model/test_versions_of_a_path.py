"""The versions of a path, after what programs do to files. A history is written newest first: the
content of each version, or DELETED."""

import os
from collections.abc import AsyncIterator

import pytest

from objfs.base.errors import InvalidRequest, IsADirectory, NotFound
from objfs.base.types import AttributeChange, Caller
from tests.model.harness import BUCKET, Harness
from tests.model.subject import READ_BYTES, Subject

ME = Caller(1000, 1000, 0o022)
DELETED = None


class Files(Subject):
    """A volume, used as programs do. Every step takes a second."""

    def __init__(self, harness: Harness) -> None:
        super().__init__(harness.volume, BUCKET)
        self.harness = harness

    async def make(self, path: str, data: bytes) -> None:
        self.create(path, 0o644, ME, 0)
        await self._put(data)

    async def rewrite(self, path: str, data: bytes) -> None:
        await self.open(path, os.O_WRONLY | os.O_TRUNC, 0)
        await self._put(data)

    async def _put(self, data: bytes) -> None:
        await self.volume.write(self.slots[0], 0, data)
        await self.flush(0)
        await self.release(0)
        self.pass_time()

    async def move(self, path: str, to: str, flags: int = 0) -> None:
        await self.rename(path, to, flags)
        self.pass_time()

    async def remove(self, path: str) -> None:
        await self.unlink(path)
        self.pass_time()

    def pass_time(self, seconds: int = 1) -> None:
        self.harness.clock.advance(seconds * 1000)

    async def history(self, path: str) -> list[bytes | None]:
        """What the versions of a path hold, each read by its id; what always holds of them is
        checked on the way."""
        entries = self.volume.versions(BUCKET, path.encode())
        assert [entry.latest for entry in entries] == [True] + [False] * (len(entries) - 1)
        sequences = [entry.sequence for entry in entries]
        assert sequences == sorted(set(sequences), reverse=True)
        times = [entry.time_ns for entry in entries]
        assert times == sorted(times, reverse=True)
        contents: list[bytes | None] = []
        for entry in entries:
            if entry.deleted:
                with pytest.raises(InvalidRequest):
                    self.volume.open_version(BUCKET, path.encode(), entry.version_id)
                contents.append(DELETED)
                continue
            past = self.volume.open_version(BUCKET, path.encode(), entry.version_id)
            data = bytes(await past.read(0, READ_BYTES))
            assert len(data) == past.size == entry.size
            assert data == await self.read_at(path, entry.sequence)
            contents.append(data)
        return contents

    async def read_at(self, path: str, sequence: int) -> bytes:
        """What the tree of that moment has at the path."""
        view = self.volume.at(sequence)
        ino = self.root
        for name in path.split("/"):
            ino = view.lookup(ino, name.encode()).ino
        return bytes(await view.read(ino, 0, READ_BYTES))

    async def reopened(self) -> None:
        """A clean end, and another start with a new index: the histories must not depend on it."""
        await self.harness.close()
        self.take(self.harness.open("lost"))


@pytest.fixture
async def files() -> AsyncIterator[Files]:
    harness = Harness()
    await harness.make()
    files = Files(harness)
    yield files
    await harness.close()


async def test_each_close_after_a_change_is_a_version(files: Files) -> None:
    """S6.1"""
    await files.make("a", b"one")
    await files.rewrite("a", b"two")
    await files.open("a", os.O_RDWR, 0)
    await files.release(0)
    await files.rewrite("a", b"three")
    assert await files.history("a") == [b"three", b"two", b"one"]
    await files.reopened()
    assert await files.history("a") == [b"three", b"two", b"one"]


async def test_closing_a_file_often_in_one_session_is_one_version(files: Files) -> None:
    """S6.1: as a shell does that duplicates a descriptor."""
    files.create("log", 0o644, ME, 0)
    for number in range(5):
        await files.volume.write(files.slots[0], number * 2, b"%d\n" % number)
        await files.flush(0)
    await files.release(0)
    assert await files.history("log") == [b"0\n1\n2\n3\n4\n"]


async def test_closes_far_apart_are_versions(files: Files) -> None:
    files.create("log", 0o644, ME, 0)
    for number in range(3):
        await files.volume.write(files.slots[0], number, b"%d" % number)
        await files.flush(0)
        files.pass_time(20)
    await files.release(0)
    assert await files.history("log") == [b"012", b"01", b"0"]


async def test_what_was_made_durable_is_not_replaced(files: Files) -> None:
    files.create("a", 0o644, ME, 0)
    await files.volume.write(files.slots[0], 0, b"one")
    await files.flush(0)
    await files.fsync(0)
    await files.volume.write(files.slots[0], 0, b"two")
    await files.flush(0)
    await files.release(0)
    assert await files.history("a") == [b"two", b"one"]


async def test_rsync(files: Files) -> None:
    """S6.2, S6.7: a temporary file, its attributes, a rename over the old one."""
    files.mkdir("d", 0o755, ME)
    for data in (b"first", b"second", b"third"):
        await files.make("d/.data.Xy12ab", data)
        ino = files.find("d/.data.Xy12ab").ino
        await files.volume.setattr(ino, AttributeChange(mode=0o600, mtime_ns=1_000_000_000))
        await files.move("d/.data.Xy12ab", "d/data")
    assert await files.history("d/data") == [b"third", b"second", b"first"]
    with pytest.raises(NotFound):  # a name used in passing
        await files.history("d/.data.Xy12ab")
    await files.reopened()
    assert await files.history("d/data") == [b"third", b"second", b"first"]


async def test_an_age_is_that_of_the_path_not_of_the_bytes(files: Files) -> None:
    """A version's time is when the path got it, whatever mtime says and however old the bytes."""
    await files.make("old", b"old bytes")
    files.pass_time(1000)
    before = files.harness.clock.now_ns()
    await files.move("old", "new")
    (entry,) = files.volume.versions(BUCKET, b"new")
    assert entry.time_ns >= before
    deleted, made = files.volume.versions(BUCKET, b"old")
    assert deleted.deleted
    assert made.time_ns < before <= deleted.time_ns


async def test_there_and_back(files: Files) -> None:
    """S6.2: mv a b; mv b a."""
    await files.make("a", b"one")
    await files.move("a", "b")
    await files.move("b", "a")
    assert await files.history("a") == [b"one", DELETED, b"one"]
    assert await files.history("b") == [DELETED, b"one"]
    await files.rewrite("a", b"two")
    assert await files.history("a") == [b"two", b"one", DELETED, b"one"]
    assert await files.history("b") == [DELETED, b"one"]


async def test_a_renamed_directory(files: Files) -> None:
    """S6.2: what lies below moves with it, histories stay where they were."""
    files.mkdir("d", 0o755, ME)
    files.mkdir("d/e", 0o755, ME)
    await files.make("d/e/f", b"one")
    await files.rewrite("d/e/f", b"two")
    await files.move("d", "z")
    await files.rewrite("z/e/f", b"three")
    assert await files.history("z/e/f") == [b"three", b"two"]
    assert await files.history("d/e/f") == [DELETED, b"two", b"one"]
    files.mkdir("d", 0o755, ME)
    files.mkdir("d/e", 0o755, ME)
    await files.make("d/e/f", b"another")
    assert await files.history("d/e/f") == [b"another", DELETED, b"two", b"one"]
    await files.reopened()
    assert await files.history("z/e/f") == [b"three", b"two"]


async def test_a_hard_link(files: Files) -> None:
    """S6.2: two paths lead to one file, each from its own moment on."""
    await files.make("a", b"one")
    await files.rewrite("a", b"two")
    files.link("a", "b")
    files.pass_time()
    await files.rewrite("b", b"three")
    assert await files.history("a") == [b"three", b"two", b"one"]
    assert await files.history("b") == [b"three", b"two"]
    await files.remove("a")
    await files.rewrite("b", b"four")
    assert await files.history("a") == [DELETED, b"three", b"two", b"one"]
    assert await files.history("b") == [b"four", b"three", b"two"]


async def test_an_editor_that_renames_over(files: Files) -> None:
    """S6.2"""
    await files.make("text", b"draft")
    await files.make(".text.swp", b"draft, better")
    await files.move(".text.swp", "text")
    assert await files.history("text") == [b"draft, better", b"draft"]


async def test_an_editor_that_keeps_a_backup(files: Files) -> None:
    """S6.2: mv text text~; write text."""
    await files.make("text", b"one")
    await files.move("text", "text~")
    await files.make("text", b"two")
    assert await files.history("text") == [b"two", DELETED, b"one"]
    assert await files.history("text~") == [b"one"]
    await files.move("text", "text~")
    await files.make("text", b"three")
    assert await files.history("text") == [b"three", DELETED, b"two", DELETED, b"one"]
    assert await files.history("text~") == [b"two", b"one"]


async def test_an_exchange(files: Files) -> None:
    await files.make("a", b"of a")
    await files.make("b", b"of b")
    await files.move("a", "b", 2)
    assert await files.history("a") == [b"of b", b"of a"]
    assert await files.history("b") == [b"of a", b"of b"]


async def test_a_rename_over_a_file_that_is_being_written(files: Files) -> None:
    """What was written under a name is a version of it before the name goes."""
    files.create("a", 0o644, ME, 1)
    await files.volume.write(files.slots[1], 0, b"not closed yet")
    await files.make("b", b"closed")
    await files.move("b", "a")
    assert await files.history("a") == [b"closed", b"not closed yet"]
    await files.volume.write(files.slots[1], 0, b"nobody sees this")
    await files.release(1)
    assert await files.history("a") == [b"closed", b"not closed yet"]


async def test_delete_and_make_again(files: Files) -> None:
    await files.make("a", b"one")
    await files.remove("a")
    await files.make("a", b"two")
    await files.remove("a")
    assert await files.history("a") == [DELETED, b"two", DELETED, b"one"]


async def test_a_directory_in_the_place_of_a_file(files: Files) -> None:
    await files.make("a", b"one")
    await files.remove("a")
    files.mkdir("a", 0o755, ME)
    assert await files.history("a") == [DELETED, b"one"]
    files.rmdir("a")
    await files.make("a", b"two")
    assert await files.history("a") == [b"two", DELETED, b"one"]


async def test_restore_is_a_version_like_any_other(files: Files) -> None:
    """S6.5"""
    await files.make("a", b"one")
    await files.rewrite("a", b"two")
    first = files.volume.versions(BUCKET, b"a")[-1]
    await files.volume.restore(BUCKET, b"a", first.version_id)
    files.pass_time()
    assert await files.history("a") == [b"one", b"two", b"one"]
    await files.rewrite("a", b"three")
    await files.volume.restore(BUCKET, b"a", first.version_id, (BUCKET, b"copy"))
    assert await files.history("a") == [b"three", b"one", b"two", b"one"]
    assert await files.history("copy") == [b"one"]
    await files.reopened()
    assert await files.history("a") == [b"three", b"one", b"two", b"one"]


async def test_a_write_into_what_a_restore_shares(files: Files) -> None:
    """S6.6"""
    await files.make("a", b"one, long enough")
    await files.rewrite("a", b"two")
    first = files.volume.versions(BUCKET, b"a")[-1]
    await files.volume.restore(BUCKET, b"a", first.version_id)
    files.pass_time()
    await files.open("a", os.O_RDWR, 0)
    await files.volume.write(files.slots[0], 0, b"ONE")
    await files.release(0)
    assert await files.history("a") == [
        b"ONE, long enough", b"one, long enough", b"two", b"one, long enough",
    ]  # fmt: skip


async def test_pages_of_a_history(files: Files) -> None:
    await files.make("a", b"0")
    for number in range(1, 6):
        await files.rewrite("a", b"%d" % number)
    whole = files.volume.versions(BUCKET, b"a")
    pages, before = [], None
    while page := files.volume.versions(BUCKET, b"a", limit=2, before=before):
        assert len(page) <= 2
        pages += page
        before = page[-1].sequence
    assert [entry.sequence for entry in pages] == [entry.sequence for entry in whole]
    assert [entry.latest for entry in pages] == [entry.latest for entry in whole]


async def test_what_never_was_has_no_history(files: Files) -> None:
    files.mkdir("d", 0o755, ME)
    for path in (b"none", b"d/none", b"none/none"):
        with pytest.raises(NotFound):
            files.volume.versions(BUCKET, path)
    with pytest.raises(IsADirectory):
        files.volume.versions(BUCKET, b"")


async def test_a_version_that_was_restored_is_not_replaced(files: Files) -> None:
    """The writer goes on in the same session; what was restored keeps its bytes."""
    files.create("a", 0o644, ME, 0)
    await files.volume.write(files.slots[0], 0, b"one")
    await files.flush(0)
    (first,) = files.volume.versions(BUCKET, b"a")
    await files.volume.restore(BUCKET, b"a", first.version_id, (BUCKET, b"copy"))
    await files.volume.write(files.slots[0], 0, b"two")
    await files.flush(0)
    assert await files.history("copy") == [b"one"]
    assert await files.history("a") == [b"two", b"one"]
    await files.release(0)


async def test_a_version_restored_over_its_own_writer(files: Files) -> None:
    files.create("a", 0o644, ME, 0)
    await files.volume.write(files.slots[0], 0, b"one")
    await files.flush(0)
    (first,) = files.volume.versions(BUCKET, b"a")
    await files.volume.write(files.slots[0], 0, b"two")
    await files.volume.restore(BUCKET, b"a", first.version_id)
    assert await files.history("a") == [b"one", b"two", b"one"]
    await files.release(0)


async def test_a_version_that_is_being_read_is_not_replaced(files: Files) -> None:
    files.create("a", 0o644, ME, 0)
    await files.volume.write(files.slots[0], 0, b"one")
    await files.flush(0)
    (first,) = files.volume.versions(BUCKET, b"a")
    past = files.volume.open_version(BUCKET, b"a", first.version_id)
    view = files.volume.at(first.sequence).file(first.ino)
    await files.volume.write(files.slots[0], 0, b"two")
    await files.flush(0)
    assert bytes(await past.read(0, READ_BYTES)) == b"one"
    assert bytes(await view.read(0, READ_BYTES)) == b"one"
    await files.release(0)
