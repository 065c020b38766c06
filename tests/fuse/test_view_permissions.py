"""Who may see the past: permissions of the moment and of today."""

import os
import stat

import pytest

from objfs.base.errors import AccessDenied, ObjfsError
from objfs.base.types import AttributeChange, Caller
from objfs.fuse.operations import ROOT_ID
from objfs.fuse.views import groups_of
from objfs.volume.acl import ACCESS_NAME, GROUP_OBJ, MASK, OTHER, USER, USER_OBJ, encode
from objfs.volume.acl import Entry as AclEntry
from tests.fuse.past import OTHER_USER, OWNER, ROOT, Past


async def secret(past: Past, then_mode: int, now_mode: int) -> bytes:
    """A directory with a file, both with one mode then and another now."""
    store, volume = past.store, past.store.volume
    sub = volume.mkdir(store.root, b"d", 0o755, OWNER).ino
    ino = await store.put("f", b"secret", sub)
    await volume.setattr(ino, AttributeChange(mode=then_mode & 0o666, uid=1000, gid=1000))
    await volume.setattr(sub, AttributeChange(mode=then_mode))
    then = past.moment()
    await volume.setattr(ino, AttributeChange(mode=now_mode & 0o666))
    await volume.setattr(sub, AttributeChange(mode=now_mode))
    return b".objfs/at/" + then


async def test_what_is_forbidden_today_is_forbidden_in_the_past(past: Past) -> None:
    """S9.4"""
    at = await secret(past, 0o755, 0o700)
    assert stat.S_IMODE(past.find(at + b"/d").mode) == 0o755  # shown as it was
    with pytest.raises(AccessDenied):
        past.find(at + b"/d/f", OTHER_USER)
    with pytest.raises(AccessDenied):
        await past.entries(at + b"/d", OTHER_USER)
    file = past.find(at + b"/d/f").ino
    with pytest.raises(AccessDenied):
        await past.do.open(file, os.O_RDONLY, OTHER_USER)
    with pytest.raises(AccessDenied):
        past.do.getxattr_past(file, b"user.x", OTHER_USER)
    for caller in (ROOT, OWNER):
        assert await past.read(at + b"/d/f", caller) == b"secret"
    # Nothing below it is cached by the kernel, for others would then not be asked about.
    assert past.do.lookup_past(past.find(at + b"/d").ino, b"f", ROOT).seconds == 0
    assert [seconds for _, _, seconds in await past.entries(at + b"/d")] == [0]


async def test_what_was_forbidden_then_is_left_to_the_kernel(past: Past) -> None:
    """S9.4"""
    at = await secret(past, 0o700, 0o755)
    assert stat.S_IMODE(past.find(at + b"/d").mode) == 0o700
    assert stat.S_IMODE(past.find(at + b"/d/f").mode) == 0o600


async def test_where_the_file_is_gone_only_the_moment_counts(past: Past) -> None:
    """S9.4"""
    at = await secret(past, 0o755, 0o700)
    volume, root = past.store.volume, past.store.root
    sub = volume.lookup(root, b"d").ino
    await volume.unlink(sub, b"f")
    volume.rmdir(root, b"d")
    assert await past.read(at + b"/d/f", OTHER_USER) == b"secret"


async def test_a_change_of_permissions_makes_the_kernel_forget_the_views(past: Past) -> None:
    at = await secret(past, 0o755, 0o755)
    told: list[tuple[int, bytes]] = []
    past.do.views.expire = lambda id, name: told.append((id, name))
    sub = past.store.volume.lookup(past.store.root, b"d").ino
    await past.do.setattr(sub, AttributeChange(mode=0o711), None, OWNER)
    assert told == []  # no view shows it yet
    past.find(at + b"/d/f", OTHER_USER)
    await past.do.setattr(sub, AttributeChange(mtime_ns=1), None, OWNER)
    assert told == []
    await past.do.setattr(sub, AttributeChange(mode=0o700), None, OWNER)
    assert told == [(ROOT_ID, b".objfs")]
    with pytest.raises(AccessDenied):
        past.find(at + b"/d/f", OTHER_USER)
    acl = encode(
        [
            AclEntry(USER_OBJ, 7),
            AclEntry(USER, 5, 2000),
            AclEntry(GROUP_OBJ, 0),
            AclEntry(MASK, 5),
            AclEntry(OTHER, 0),
        ]
    )
    past.do.setxattr(sub, ACCESS_NAME, acl)
    assert len(told) == 2
    assert past.find(at + b"/d/f", OTHER_USER).size == 6
    past.do.removexattr(sub, ACCESS_NAME)
    assert len(told) == 3


async def test_groups_of_the_caller_count(past: Past) -> None:
    at = await secret(past, 0o777, 0o750)
    volume = past.store.volume
    sub = volume.lookup(past.store.root, b"d").ino
    await volume.setattr(sub, AttributeChange(gid=os.getgid()))
    own = Caller(2000, 5555, 0o022, os.getpid())  # by what /proc says of this process
    assert groups_of(own) == {5555, *os.getgroups()}
    if os.getgid() in os.getgroups():
        past.find(at + b"/d/f", own)
    with pytest.raises(AccessDenied):
        past.find(at + b"/d/f", Caller(2000, 5555, 0o022, 0))


async def test_versions_and_deleted_obey_the_permissions_of_today(past: Past) -> None:
    """S9.4"""
    await secret(past, 0o755, 0o700)
    volume = past.store.volume
    sub = volume.lookup(past.store.root, b"d").ino
    (name,) = await past.names(b".objfs/versions/d/f")
    for path in (b".objfs/versions/d/f", b".objfs/deleted/d/f"):
        with pytest.raises(ObjfsError):
            past.find(path, OTHER_USER)
    await volume.setattr(sub, AttributeChange(mode=0o755))
    versions = past.find(b".objfs/versions/d/f", OTHER_USER)
    assert stat.S_IMODE(versions.mode) == 0o500  # the kernel refuses, and so do we
    with pytest.raises(AccessDenied):
        past.find(b".objfs/versions/d/f/" + name, OTHER_USER)
    assert await past.read(b".objfs/versions/d/f/" + name, OWNER) == b"secret"
