"""What each call of the kernel means, with no kernel."""

import os
import stat

import pytest

from objfs.base import limits
from objfs.base.errors import (
    AlreadyExists,
    BadHandle,
    CrossBucket,
    DirectoryNotEmpty,
    InvalidRequest,
    NameTooLong,
    NotADirectory,
    NotFound,
    NotPermitted,
    NotSupported,
    ReadOnly,
)
from objfs.base.types import AttributeChange, Caller
from objfs.fuse.operations import ROOT_ID, Operations
from objfs.fuse.views import VIEW_BIT
from objfs.volume import acl
from objfs.volume.volume import Inode
from tests.fuse.conftest import Kernel

ROOT = Caller(uid=0, gid=0, umask=0o022)
USER = Caller(uid=1000, gid=1000, umask=0o022)
LONG = b"n" * (limits.NAME_BYTES_MAX + 1)


def found(do: Operations, name: bytes, parent: int = ROOT_ID) -> Inode:
    inode = do.lookup(parent, name)
    assert inode is not None
    return inode


def make(do: Operations, name: bytes, parent: int = ROOT_ID, mode: int = 0o644) -> tuple[int, int]:
    """A new file: its handle and its inode number."""
    fh, inode = do.create(parent, name, mode, os.O_RDWR, USER)
    return fh, inode.ino


def names(do: Operations, id: int = ROOT_ID) -> list[bytes]:
    fh = do.opendir(id)
    listed = [name for name, _, _ in do.readdir(fh, 0)]
    do.releasedir(fh)
    assert listed[:2] == [b".", b".."]
    return listed[2:]


# --- names and inodes ----------------------------------------------------------------------------


async def test_the_mounted_root_is_1_to_the_kernel(kernel: Kernel) -> None:
    root = kernel.do.getattr(ROOT_ID)
    assert root.ino == kernel.bucket != ROOT_ID
    assert kernel.do.id_of(root.ino) == ROOT_ID
    _, ino = make(kernel.do, b"f")
    assert kernel.do.id_of(ino) == ino
    assert kernel.do.getattr(ino).ino == ino


async def test_lookup_finds_or_says_that_there_is_none(kernel: Kernel) -> None:
    _, ino = make(kernel.do, b"f")
    assert found(kernel.do, b"f").ino == ino
    assert kernel.do.lookup(ROOT_ID, b"g") is None
    with pytest.raises(NameTooLong):
        kernel.do.lookup(ROOT_ID, LONG)


async def test_dot_and_dot_dot(kernel: Kernel) -> None:
    do = kernel.do
    one = do.mkdir(ROOT_ID, b"one", 0o755, USER)
    two = do.mkdir(one.ino, b"two", 0o755, USER)
    assert found(do, b".", two.ino).ino == two.ino
    assert found(do, b"..", two.ino).ino == one.ino
    assert found(do, b"..", one.ino).ino == kernel.bucket
    assert found(do, b"..").ino == kernel.bucket


async def test_a_mounted_prefix_has_nothing_above_it(kernel: Kernel) -> None:
    one = kernel.do.mkdir(ROOT_ID, b"one", 0o755, USER)
    two = kernel.do.mkdir(one.ino, b"two", 0o755, USER)
    below = Operations(kernel.volume, one.ino)
    assert found(below, b"..").ino == one.ino
    assert below.id_of(found(below, b"..", two.ino).ino) == ROOT_ID
    with pytest.raises(NotPermitted):
        below.mkdir(ROOT_ID, b".objfs", 0o755, USER)


async def test_the_name_of_the_past_is_reserved_in_the_root(kernel: Kernel) -> None:
    do = kernel.do
    _, ino = make(do, b"f")
    below = do.mkdir(ROOT_ID, b"d", 0o755, USER).ino
    name = b".objfs"
    for attempt in (
        lambda: do.create(ROOT_ID, name, 0o644, os.O_RDWR, USER),
        lambda: do.mkdir(ROOT_ID, name, 0o755, USER),
        lambda: do.mknod(ROOT_ID, name, stat.S_IFIFO | 0o644, 0, USER),
        lambda: do.symlink(ROOT_ID, name, b"f", USER),
        lambda: do.link(ino, ROOT_ID, name),
    ):
        with pytest.raises(NotPermitted):
            attempt()
    with pytest.raises(NotPermitted):
        await do.rename(ROOT_ID, b"f", ROOT_ID, name, 0)
    assert found(do, name).ino & VIEW_BIT
    assert do.mkdir(below, name, 0o755, USER).ino == found(do, name, below).ino


async def test_an_object_with_the_reserved_name_is_not_shown(kernel: Kernel) -> None:
    # S3 may make it; through the mount it is neither found nor listed.
    kernel.volume.mkdir(kernel.bucket, b".objfs", 0o755, USER)
    make(kernel.do, b"f")
    assert found(kernel.do, b".objfs").ino & VIEW_BIT
    assert names(kernel.do) == [b"f"]


async def test_names_too_long_are_refused(kernel: Kernel) -> None:
    do = kernel.do
    _, ino = make(do, b"f")
    for attempt in (
        lambda: do.create(ROOT_ID, LONG, 0o644, os.O_RDWR, USER),
        lambda: do.mkdir(ROOT_ID, LONG, 0o755, USER),
        lambda: do.mknod(ROOT_ID, LONG, stat.S_IFREG | 0o644, 0, USER),
        lambda: do.symlink(ROOT_ID, LONG, b"f", USER),
        lambda: do.link(ino, ROOT_ID, LONG),
        lambda: do.rmdir(ROOT_ID, LONG),
    ):
        with pytest.raises(NameTooLong):
            attempt()
    for removal in (do.unlink(ROOT_ID, LONG), do.rename(ROOT_ID, b"f", ROOT_ID, LONG, 0)):
        with pytest.raises(NameTooLong):
            await removal


async def test_every_type_of_inode(kernel: Kernel) -> None:
    do = kernel.do
    device = os.makedev(1, 3)
    made = {
        b"fifo": do.mknod(ROOT_ID, b"fifo", stat.S_IFIFO | 0o622, 0, USER),
        b"null": do.mknod(ROOT_ID, b"null", stat.S_IFCHR | 0o666, device, ROOT),
        b"plain": do.mknod(ROOT_ID, b"plain", stat.S_IFREG | 0o644, 0, USER),
        b"dir": do.mkdir(ROOT_ID, b"dir", 0o777, USER),
        b"link": do.symlink(ROOT_ID, b"link", b"to/there", USER),
    }
    assert made[b"null"].rdev == device
    assert do.readlink(made[b"link"].ino) == b"to/there"
    assert made[b"dir"].mode == stat.S_IFDIR | 0o755
    assert sorted(names(do)) == sorted(made)
    for name, inode in made.items():
        assert do.getattr(inode.ino) == inode == found(do, name)
        assert inode.uid in (0, 1000)


async def test_links_renames_and_removals(kernel: Kernel) -> None:
    do = kernel.do
    fh, ino = make(do, b"f")
    await do.flush(fh)
    await do.release(fh)
    directory = do.mkdir(ROOT_ID, b"d", 0o755, USER).ino
    assert do.link(ino, directory, b"g").nlink == 2
    with pytest.raises(DirectoryNotEmpty):
        do.rmdir(ROOT_ID, b"d")
    await do.rename(directory, b"g", ROOT_ID, b"h", 0)
    do.rmdir(ROOT_ID, b"d")
    await do.unlink(ROOT_ID, b"f")
    assert names(do) == [b"h"]
    assert do.getattr(ino).nlink == 1
    with pytest.raises(NotFound):
        await do.unlink(ROOT_ID, b"f")
    with pytest.raises(NotADirectory):
        do.rmdir(ROOT_ID, b"h")


async def test_rename_without_replacing_and_exchanging(kernel: Kernel) -> None:
    do = kernel.do
    one, two = make(do, b"one")[1], make(do, b"two")[1]
    with pytest.raises(AlreadyExists):
        await do.rename(ROOT_ID, b"one", ROOT_ID, b"two", 1)
    await do.rename(ROOT_ID, b"one", ROOT_ID, b"two", 2)
    assert (found(do, b"one").ino, found(do, b"two").ino) == (two, one)
    with pytest.raises(InvalidRequest):
        await do.rename(ROOT_ID, b"one", ROOT_ID, b"two", 4)  # RENAME_WHITEOUT


async def test_forget_and_access_need_nothing(kernel: Kernel) -> None:
    kernel.do.forget([(kernel.bucket, 1), (99, 3)])
    assert kernel.do.access(ROOT_ID)
    with pytest.raises(NotFound):
        kernel.do.access(99)


# --- files ---------------------------------------------------------------------------------------


async def test_what_is_written_is_read(kernel: Kernel) -> None:
    do = kernel.do
    fh, ino = make(do, b"f")
    assert do.write_nowait(fh, 0, b"hello")
    assert await do.write(fh, 5, b" world") == 6
    assert bytes(await do.read(fh, 0, 100)) == b"hello world"
    assert bytes(do.read_nowait(fh, 6, 3) or b"") == b"wor"
    await do.flush(fh)
    await do.fsync(fh)
    await do.release(fh)
    assert do.getattr(ino).size == 11
    again = await do.open(ino, os.O_RDONLY, USER)
    assert bytes(await do.read(again, 0, 100)) == b"hello world"


async def test_handles_opened_for_writing_can_be_read(kernel: Kernel) -> None:
    do = kernel.do
    fh, ino = make(do, b"f")
    do.write_nowait(fh, 0, b"abc")
    writer = await do.open(ino, os.O_WRONLY | os.O_APPEND, USER)
    assert bytes(await do.read(writer, 0, 3)) == b"abc"
    # The kernel sends the offset of an append itself.
    assert do.write_nowait(writer, 1, b"X")
    assert bytes(await do.read(fh, 0, 3)) == b"aXc"


async def test_open_truncates(kernel: Kernel) -> None:
    fh, ino = make(kernel.do, b"f")
    kernel.do.write_nowait(fh, 0, b"abc")
    await kernel.do.open(ino, os.O_WRONLY | os.O_TRUNC, USER)
    assert kernel.do.getattr(ino).size == 0


async def test_closed_handles_are_bad(kernel: Kernel) -> None:
    do = kernel.do
    fh, _ = make(do, b"f")
    await do.release(fh)
    for attempt in (lambda: do.read_nowait(fh, 0, 1), lambda: do.write_nowait(fh, 0, b"x")):
        with pytest.raises(BadHandle):
            attempt()
    for call in (do.read(fh, 0, 1), do.write(fh, 0, b"x"), do.flush(fh), do.release(fh)):
        with pytest.raises(BadHandle):
            await call
    with pytest.raises(BadHandle):
        do.releasedir(fh)
    with pytest.raises(BadHandle):
        list(do.readdir(fh, 0))


async def test_handles_of_a_removed_file_still_work(kernel: Kernel) -> None:
    do = kernel.do
    fh, ino = make(do, b"f")
    do.write_nowait(fh, 0, b"abc")
    await do.unlink(ROOT_ID, b"f")
    assert do.getattr(ino).nlink == 0
    assert bytes(await do.read(fh, 0, 3)) == b"abc"
    await do.release(fh)


async def test_setattr_sets_what_was_asked(kernel: Kernel) -> None:
    do = kernel.do
    fh, ino = make(do, b"f")
    do.write_nowait(fh, 0, b"abcdef")
    inode = await do.setattr(ino, AttributeChange(mode=0o600, mtime_ns=7), fh, USER)
    assert (stat.S_IMODE(inode.mode), inode.mtime_ns) == (0o600, 7)
    assert (await do.setattr(ino, AttributeChange(size=3), None, USER)).size == 3
    inode = await do.setattr(ino, AttributeChange(uid=5, gid=6), None, ROOT)
    assert (inode.uid, inode.gid) == (5, 6)


async def test_statfs_has_the_figures_of_the_device(kernel: Kernel) -> None:
    make(kernel.do, b"f")
    assert kernel.do.statfs() == kernel.volume.space()


# --- setuid and setgid ---------------------------------------------------------------------------

KILLED = [
    (0o4755, 0o755),
    (0o2755, 0o755),
    (0o6777, 0o777),
    (0o2644, 0o2644),  # without group execute permission it is no privilege
    (0o1777, 0o1777),
]


@pytest.mark.parametrize(("before", "after"), KILLED)
async def test_a_write_clears_setuid_and_setgid(kernel: Kernel, before: int, after: int) -> None:
    do = kernel.do
    fh, ino = make(do, b"f")
    other = await do.open(ino, os.O_RDWR, USER)
    await do.setattr(ino, AttributeChange(mode=before), None, USER)
    if before != after:
        assert not do.write_nowait(other, 0, b"x")
    await do.write(other, 0, b"x")
    assert stat.S_IMODE(do.getattr(ino).mode) == after
    assert do.write_nowait(fh, 1, b"y")


@pytest.mark.parametrize(("before", "after"), KILLED)
@pytest.mark.parametrize("change", [AttributeChange(size=1), AttributeChange(gid=7)])
async def test_truncate_and_chown_clear_them(
    kernel: Kernel, before: int, after: int, change: AttributeChange
) -> None:
    fh, ino = make(kernel.do, b"f")
    await kernel.do.setattr(ino, AttributeChange(mode=before), None, USER)
    inode = await kernel.do.setattr(ino, change, fh, USER)
    assert stat.S_IMODE(inode.mode) == after


async def test_root_may_truncate_without_clearing_them(kernel: Kernel) -> None:
    _, ino = make(kernel.do, b"f")
    await kernel.do.setattr(ino, AttributeChange(mode=0o4755), None, USER)
    inode = await kernel.do.setattr(ino, AttributeChange(size=0), None, ROOT)
    assert stat.S_IMODE(inode.mode) == 0o4755
    await kernel.do.open(ino, os.O_WRONLY | os.O_TRUNC, ROOT)
    assert stat.S_IMODE(kernel.do.getattr(ino).mode) == 0o4755
    await kernel.do.open(ino, os.O_WRONLY | os.O_TRUNC, USER)
    assert stat.S_IMODE(kernel.do.getattr(ino).mode) == 0o755


async def test_where_the_kernel_clears_them_we_do_not(kernel: Kernel) -> None:
    # Root may write to a setuid file, and only the kernel knows who writes.
    do = kernel.do
    do.kernel_kills = True
    fh, ino = make(do, b"f", mode=0o4755)
    await do.setattr(ino, AttributeChange(mode=0o4755), None, ROOT)
    assert do.write_nowait(fh, 0, b"x")
    assert stat.S_IMODE(do.getattr(ino).mode) == 0o4755


# --- extended attributes -------------------------------------------------------------------------


async def test_extended_attributes(kernel: Kernel) -> None:
    do = kernel.do
    _, ino = make(do, b"f")
    assert do.getxattr(ino, b"user.a") is None
    do.setxattr(ino, b"user.a", b"1")
    do.setxattr(ino, b"trusted.b", b"")
    assert do.getxattr(ino, b"user.a") == b"1"
    assert do.getxattr(ino, b"trusted.b") == b""
    assert do.getxattr(ino, b"user.c") is None
    assert sorted(do.listxattr(ino, ROOT)) == [b"trusted.b", b"user.a"]
    assert do.listxattr(ino, USER) == [b"user.a"]
    do.removexattr(ino, b"user.a")
    assert do.getxattr(ino, b"user.a") is None
    with pytest.raises(NotSupported):
        do.setxattr(ino, b"system.nfs4_acl", b"x")


async def test_the_question_before_each_write_takes_no_query(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    do = kernel.do
    _, made = make(do, b"made")
    plain = do.mknod(ROOT_ID, b"found", stat.S_IFREG | 0o644, 0, USER).ino
    assert do.getxattr(plain, b"security.capability") is None
    monkeypatch.setattr(kernel.volume, "getattr", None)
    monkeypatch.setattr(kernel.volume, "getxattr", None)
    assert do.getxattr(made, b"security.capability") is None
    assert do.getxattr(plain, b"security.capability") is None


async def test_what_changed_behind_is_asked_anew(kernel: Kernel) -> None:
    _, ino = make(kernel.do, b"f")
    kernel.volume.setxattr(ino, b"user.a", b"1")
    assert kernel.do.getxattr(ino, b"user.a") is None  # only the kernel's knowledge so far
    kernel.do.changed_behind(ino)
    assert kernel.do.getxattr(ino, b"user.a") == b"1"


async def test_the_memory_of_inodes_without_attributes_is_bounded(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "INODES_WITHOUT_XATTRS_MAX", 3)
    inodes = [make(kernel.do, b"%d" % number)[1] for number in range(10)]
    assert len(kernel.do._without_xattrs) <= 3
    assert all(kernel.do.getxattr(ino, b"user.a") is None for ino in inodes)


async def test_files_inherit_default_acls(kernel: Kernel) -> None:
    do = kernel.do
    directory = do.mkdir(ROOT_ID, b"d", 0o755, USER).ino
    entries = (
        acl.Entry(acl.USER_OBJ, 7),
        acl.Entry(acl.USER, 6, 42),
        acl.Entry(acl.GROUP_OBJ, 7),
        acl.Entry(acl.MASK, 7),
        acl.Entry(acl.OTHER, 0),
    )
    do.setxattr(directory, acl.DEFAULT_NAME, acl.encode(entries))
    _, inode = do.create(directory, b"f", 0o666, os.O_RDWR, Caller(1000, 1000, 0o077))
    assert stat.S_IMODE(inode.mode) == 0o660  # no umask
    assert do.getxattr(inode.ino, acl.ACCESS_NAME) is not None


# --- all buckets ---------------------------------------------------------------------------------


async def test_all_buckets_are_directories(all_buckets: Kernel) -> None:
    do = all_buckets.do
    root = do.getattr(ROOT_ID)
    assert (root.mode, root.nlink) == (stat.S_IFDIR | 0o555, 4)
    assert sorted(names(do)) == [b"main", b"other"]
    bucket = found(do, b"main")
    assert bucket.ino == all_buckets.bucket == do.id_of(bucket.ino)
    assert found(do, b"..", bucket.ino).ino == ROOT_ID
    assert found(do, b"..").ino == ROOT_ID
    assert do.lookup(ROOT_ID, b"none") is None
    assert do.lookup(ROOT_ID, b"\xff") is None
    with pytest.raises(NameTooLong):
        do.lookup(ROOT_ID, LONG)
    fh = do.opendir(ROOT_ID)
    listed = [entry for entry, _ in zip(do.readdir(fh, 0), range(3), strict=False)]
    assert [name for name, _, _ in do.readdir(fh, listed[-1][1])] == [b"other"]
    assert do.lists_buckets(fh)
    await do.fsyncdir(fh)


async def test_the_list_of_buckets_is_read_only(all_buckets: Kernel) -> None:
    do = all_buckets.do
    for attempt in (
        lambda: do.create(ROOT_ID, b"f", 0o644, os.O_RDWR, ROOT),
        lambda: do.mkdir(ROOT_ID, b"d", 0o755, ROOT),
        lambda: do.symlink(ROOT_ID, b"l", b"t", ROOT),
        lambda: do.rmdir(ROOT_ID, b"main"),
        lambda: do.setxattr(ROOT_ID, b"user.a", b"1"),
        lambda: do.removexattr(ROOT_ID, b"user.a"),
    ):
        with pytest.raises(ReadOnly):
            attempt()
    for call in (
        do.setattr(ROOT_ID, AttributeChange(mode=0o777), None, ROOT),
        do.rename(ROOT_ID, b"main", ROOT_ID, b"new", 0),
    ):
        with pytest.raises(ReadOnly):
            await call
    assert do.getxattr(ROOT_ID, b"user.a") is None
    assert do.listxattr(ROOT_ID, ROOT) == []


async def test_nothing_moves_between_buckets(all_buckets: Kernel) -> None:
    do = all_buckets.do
    one, two = found(do, b"main").ino, found(do, b"other").ino
    _, ino = make(do, b"f", one)
    with pytest.raises(CrossBucket):
        await do.rename(one, b"f", two, b"f", 0)
    with pytest.raises(CrossBucket):
        do.link(ino, two, b"f")
    with pytest.raises(NotPermitted):
        do.mkdir(two, b".objfs", 0o755, ROOT)
