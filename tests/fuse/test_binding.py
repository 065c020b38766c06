"""pyfuse3's types: what is packed, and that nothing but FUSEError gets out."""

import errno
import inspect
import os
import stat
from typing import Any

import pyfuse3
import pytest
import trio

from objfs.base.errors import DataLost, NoSpace, NotFound, ObjfsError
from objfs.base.limits import BUCKET_LIST_CACHE_SECONDS, KERNEL_CACHE_SECONDS
from objfs.base.types import AttributeChange, Caller
from objfs.fuse.binding import Binding
from objfs.fuse.operations import ROOT_ID
from tests.fuse.conftest import Kernel

CONTEXT = pyfuse3.RequestContext()
ATTRIBUTES = pyfuse3.EntryAttributes()
FIELDS = pyfuse3.SetattrFields()

# Arguments for every call that pyfuse3 may make.
CALLS: dict[str, tuple[Any, ...]] = {
    "lookup": (1, b"n", CONTEXT),
    "getattr": (1, CONTEXT),
    "setattr": (1, ATTRIBUTES, FIELDS, None, CONTEXT),
    "readlink": (1, CONTEXT),
    "mknod": (1, b"n", 0, 0, CONTEXT),
    "mkdir": (1, b"n", 0, CONTEXT),
    "unlink": (1, b"n", CONTEXT),
    "rmdir": (1, b"n", CONTEXT),
    "symlink": (1, b"n", b"t", CONTEXT),
    "rename": (1, b"n", 1, b"m", 0, CONTEXT),
    "link": (1, 1, b"n", CONTEXT),
    "open": (1, 0, CONTEXT),
    "read": (1, 0, 1),
    "write": (1, 0, b"x"),
    "flush": (1,),
    "release": (1,),
    "fsync": (1, False),
    "opendir": (1, CONTEXT),
    "readdir": (1, 0, None),
    "releasedir": (1,),
    "fsyncdir": (1, False),
    "statfs": (CONTEXT,),
    "setxattr": (1, b"user.a", b"1", CONTEXT),
    "getxattr": (1, b"user.a", CONTEXT),
    "listxattr": (1, CONTEXT),
    "removexattr": (1, b"user.a", CONTEXT),
    "access": (1, 0, CONTEXT),
    "create": (1, b"n", 0, 0, CONTEXT),
    "poll": (1, 1, None, CONTEXT),
}
WITHOUT_OPERATION = {"poll", "forget", "init", "stacktrace"}


class Failing:
    """Operations of which every one raises the same error."""

    root = 500
    all_buckets = False

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __getattr__(self, name: str) -> Any:
        def fail(*arguments: object) -> object:
            raise self.error

        return fail


def failing(error: BaseException) -> Binding:
    operations: Any = Failing(error)
    return Binding(operations, lambda: None)


@pytest.fixture
def binding(kernel: Kernel) -> Binding:
    return Binding(kernel.do, lambda: None)


def test_every_call_of_pyfuse3_is_here() -> None:
    calls = {name for name, _ in inspect.getmembers(pyfuse3.Operations, inspect.isfunction)}
    ours = {name for name in vars(Binding) if not name.startswith("_")}
    assert {name for name in calls if not name.startswith("_")} - {"stacktrace"} <= ours
    assert set(CALLS) | WITHOUT_OPERATION >= {name for name in calls if not name.startswith("_")}


@pytest.mark.parametrize("call", sorted(set(CALLS) - WITHOUT_OPERATION))
@pytest.mark.parametrize(
    ("error", "number"),
    [
        (KeyError("a bug"), errno.EIO),
        (MemoryError(), errno.ENOMEM),
        (NoSpace("full"), errno.ENOSPC),
        (DataLost("broken"), errno.EIO),
        (ExceptionGroup("", [NotFound("gone")]), errno.ENOENT),
    ],
)
async def test_nothing_but_fuse_errors_gets_out(
    call: str, error: Exception, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(pyfuse3.FUSEError) as caught:
        await getattr(failing(error), call)(*CALLS[call])
    assert caught.value.errno == number
    tells = not isinstance(error, NoSpace | ExceptionGroup)
    assert bool(caplog.records) == tells
    # A bug shows where it is; what the device did shows what happened.
    assert all(
        (record.exc_info is None) == isinstance(error, ObjfsError) for record in caplog.records
    )


async def test_cancellation_goes_through() -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as cancelled:
            await failing(cancelled).getattr(1, CONTEXT)
    assert scope.cancelled_caught


async def test_forget_and_poll_reach_nobody() -> None:
    binding = failing(KeyError())
    binding.forget([(5, 1)])
    with pytest.raises(pyfuse3.FUSEError) as caught:
        await binding.poll(1, 1, None, CONTEXT)
    assert caught.value.errno == errno.ENOSYS


def test_the_kernel_says_hello() -> None:
    said: list[str] = []
    operations: Any = Failing(KeyError())
    Binding(operations, lambda: said.append("hello")).init()
    assert said == ["hello"]


async def test_attributes_are_packed(kernel: Kernel, binding: Binding) -> None:
    caller = Caller(5, 6, 0)
    device = kernel.do.mknod(ROOT_ID, b"n", stat.S_IFBLK | 0o640, os.makedev(7, 8), caller)
    change = AttributeChange(atime_ns=1_000_000_002, mtime_ns=-5, ctime_ns=3 * 10**18 + 1)
    await kernel.do.setattr(device.ino, change, None, caller)
    entry = await binding.getattr(device.ino, CONTEXT)
    assert entry.st_ino == device.ino
    assert entry.st_mode == stat.S_IFBLK | 0o640
    assert (entry.st_uid, entry.st_gid, entry.st_nlink) == (5, 6, 1)
    assert entry.st_rdev == os.makedev(7, 8)
    assert (entry.st_atime_ns, entry.st_mtime_ns) == (1_000_000_002, -5)
    assert entry.st_ctime_ns == 3 * 10**18 + 1
    assert entry.attr_timeout == entry.entry_timeout == KERNEL_CACHE_SECONDS
    assert entry.generation == 0


async def test_sizes_and_blocks(kernel: Kernel, binding: Binding) -> None:
    info, entry = await binding.create(ROOT_ID, b"f", 0o644, os.O_RDWR, CONTEXT)
    ino = entry.st_ino
    assert info.keep_cache
    assert not info.direct_io
    assert await binding.write(info.fh, 0, b"x" * 1000) == 1000
    await binding.flush(info.fh)
    entry = await binding.getattr(ino, CONTEXT)
    assert (entry.st_size, entry.st_blocks) == (1000, 2)


async def test_the_root_is_1(kernel: Kernel, binding: Binding) -> None:
    assert (await binding.getattr(ROOT_ID, CONTEXT)).st_ino == ROOT_ID
    below = kernel.do.mkdir(ROOT_ID, b"d", 0o755, Caller(0, 0, 0)).ino
    assert (await binding.lookup(below, b"..", CONTEXT)).st_ino == ROOT_ID


async def test_a_name_that_is_not_there_is_remembered(binding: Binding) -> None:
    entry = await binding.lookup(ROOT_ID, b"none", CONTEXT)
    assert (entry.st_ino, entry.entry_timeout) == (0, KERNEL_CACHE_SECONDS)


async def test_a_missing_attribute_is_enodata(kernel: Kernel, binding: Binding) -> None:
    with pytest.raises(pyfuse3.FUSEError) as caught:
        await binding.getxattr(ROOT_ID, b"security.capability", CONTEXT)
    assert caught.value.errno == errno.ENODATA
    await binding.setxattr(ROOT_ID, b"user.a", b"1", CONTEXT)
    assert await binding.getxattr(ROOT_ID, b"user.a", CONTEXT) == b"1"


async def test_space_is_told_in_blocks(kernel: Kernel, binding: Binding) -> None:
    space = kernel.volume.space()
    data = await binding.statfs(CONTEXT)
    assert (data.f_bsize, data.f_frsize, data.f_namemax) == (4096, 4096, 255)
    assert data.f_blocks == space.total_bytes // 4096
    assert data.f_bfree == space.free_bytes // 4096
    assert data.f_bavail == space.available_bytes // 4096
    assert data.f_files - data.f_ffree == space.inodes


async def test_a_listing_stops_when_the_kernels_buffer_is_full(
    kernel: Kernel, binding: Binding, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (b"a", b"b", b"c"):
        kernel.do.mkdir(ROOT_ID, name, 0o755, Caller(0, 0, 0))
    given: list[tuple[bytes, int, int]] = []
    room = 3

    def reply(token: object, name: bytes, entry: pyfuse3.EntryAttributes, cookie: int) -> bool:
        if len(given) == room:
            return False
        given.append((name, entry.st_ino, cookie))
        return True

    monkeypatch.setattr(pyfuse3, "readdir_reply", reply)
    token = pyfuse3.ReaddirToken()
    fh = await binding.opendir(ROOT_ID, CONTEXT)
    await binding.readdir(fh, 0, token)
    assert [name for name, _, _ in given] == [b".", b"..", b"a"]
    assert given[0][1] == given[1][1] == ROOT_ID
    room = 10
    await binding.readdir(fh, given[-1][2], token)
    assert [name for name, _, _ in given[3:]] == [b"b", b"c"]
    await binding.releasedir(fh)


async def test_buckets_are_remembered_briefly(all_buckets: Kernel) -> None:
    binding = Binding(all_buckets.do, lambda: None)
    for name in (b"main", b"none"):
        entry = await binding.lookup(ROOT_ID, name, CONTEXT)
        assert entry.entry_timeout == BUCKET_LIST_CACHE_SECONDS
    assert (await binding.getattr(ROOT_ID, CONTEXT)).attr_timeout == BUCKET_LIST_CACHE_SECONDS
    inside = await binding.lookup(all_buckets.bucket, b"none", CONTEXT)
    assert inside.entry_timeout == KERNEL_CACHE_SECONDS
