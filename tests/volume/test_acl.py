"""POSIX ACLs: the byte form, the mode bits that go with them, chmod, inheritance."""

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objfs.base.errors import InvalidRequest
from objfs.volume import acl
from objfs.volume.acl import GROUP, GROUP_OBJ, MASK, OTHER, USER, USER_OBJ, Entry

PERMISSIONS = st.integers(0, 7)
MINIMAL = (Entry(USER_OBJ, 7), Entry(GROUP_OBJ, 5), Entry(OTHER, 4))
NAMED = (
    Entry(USER_OBJ, 7),
    Entry(USER, 6, 1000),
    Entry(GROUP_OBJ, 5),
    Entry(GROUP, 7, 50),
    Entry(MASK, 6),
    Entry(OTHER, 1),
)


@st.composite
def acls(draw: st.DrawFn) -> acl.Acl:
    ids = st.lists(st.integers(0, 70_000), unique=True, max_size=3)
    users = [Entry(USER, draw(PERMISSIONS), id) for id in draw(ids)]
    groups = [Entry(GROUP, draw(PERMISSIONS), id) for id in draw(ids)]
    masked = bool(users or groups) or draw(st.booleans())
    masks = [Entry(MASK, draw(PERMISSIONS))] if masked else []
    owner, group, other = (Entry(tag, draw(PERMISSIONS)) for tag in (USER_OBJ, GROUP_OBJ, OTHER))
    return (owner, *users, group, *groups, *masks, other)


def test_the_form_is_the_kernels() -> None:
    # What `setfacl -m u:1000:rw` leaves on a file of mode 0640, read with getfattr -e hex.
    stored = bytes.fromhex(
        "02000000 01000600ffffffff 02000600e8030000 04000400ffffffff 10000600ffffffff"
        "20000000ffffffff"
    )
    assert acl.decode(stored) == (
        Entry(USER_OBJ, 6),
        Entry(USER, 6, 1000),
        Entry(GROUP_OBJ, 4),
        Entry(MASK, 6),
        Entry(OTHER, 0),
    )
    assert acl.encode(acl.decode(stored)) == stored


@given(acls())
def test_what_is_encoded_is_decoded(entries: acl.Acl) -> None:
    value = acl.encode(entries)
    acl.validate(value)
    assert acl.decode(value) == entries


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\2\0\0",
        acl.encode(()),
        acl.encode(MINIMAL)[:-1],
        b"\1" + acl.encode(MINIMAL)[1:],
        acl.encode(MINIMAL[:2]),
        acl.encode((*MINIMAL[:2], MINIMAL[1], MINIMAL[2])),
        acl.encode(MINIMAL[::-1]),
        acl.encode((*MINIMAL[:2], Entry(MASK, 7), Entry(MASK, 7), MINIMAL[2])),
        acl.encode((MINIMAL[0], Entry(USER, 7, 5), *MINIMAL[1:])),  # no mask
        acl.encode((MINIMAL[0], Entry(USER, 7, 5), Entry(USER, 1, 5), *NAMED[2:])),
        acl.encode((Entry(USER_OBJ, 8), *MINIMAL[1:])),
        acl.encode((MINIMAL[0], Entry(USER, 7, acl.UNDEFINED_ID), *NAMED[2:])),
        acl.encode((*MINIMAL, Entry(0x40, 7))),
    ],
)
def test_a_malformed_acl_is_refused(bad: bytes) -> None:
    with pytest.raises(InvalidRequest):
        acl.validate(bad)


def test_mode_bits_of_an_acl() -> None:
    assert acl.mode_of(acl.encode(MINIMAL), stat.S_IFREG | 0o4000) == stat.S_IFREG | 0o4754
    assert acl.mode_of(acl.encode(NAMED), stat.S_IFDIR | 0o1777) == stat.S_IFDIR | 0o1761


@given(acls())
def test_minimal_is_what_mode_bits_can_say(entries: acl.Acl) -> None:
    value = acl.encode(entries)
    assert acl.is_minimal(value) == (len(entries) == 3)
    if acl.is_minimal(value):
        bits = acl.mode_of(value, 0)
        assert [entry.permissions for entry in entries] == [bits >> 6, bits >> 3 & 7, bits & 7]


@given(acls(), st.integers(0, 0o7777))
def test_after_chmod_the_mode_is_that_mode(entries: acl.Acl, mode: int) -> None:
    changed = acl.decode(acl.chmod(acl.encode(entries), mode))
    assert acl.mode_of(acl.encode(changed), mode) == mode
    named = (USER, GROUP)
    kept = [entry for entry in entries if entry.tag in named]
    assert [entry for entry in changed if entry.tag in named] == kept


def test_chmod_of_an_acl_with_mask_leaves_the_owning_group() -> None:
    changed = {e.tag: e.permissions for e in acl.decode(acl.chmod(acl.encode(NAMED), 0o640))}
    assert (changed[USER_OBJ], changed[GROUP_OBJ], changed[MASK], changed[OTHER]) == (6, 5, 4, 0)


def test_without_a_default_acl_the_umask_counts() -> None:
    assert acl.inherit(None, stat.S_IFREG | 0o2666, 0o7027) == (stat.S_IFREG | 0o2640, None, None)


def test_a_default_acl_takes_the_place_of_the_umask() -> None:
    default = acl.encode(NAMED)
    mode, access, passed_on = acl.inherit(default, stat.S_IFREG | 0o664, 0o077)
    assert mode == stat.S_IFREG | 0o660
    assert access is not None
    assert {e.tag: e.permissions for e in acl.decode(access)}[MASK] == 6
    assert passed_on is None


def test_a_directory_passes_the_default_acl_on() -> None:
    default = acl.encode(NAMED)
    mode, access, passed_on = acl.inherit(default, stat.S_IFDIR | 0o2777, 0)
    assert (mode, passed_on) == (stat.S_IFDIR | 0o2761, default)
    assert access == default


def test_a_minimal_default_acl_gives_mode_bits_alone() -> None:
    default = acl.encode(MINIMAL)
    assert acl.inherit(default, stat.S_IFREG | 0o666, 0o777) == (stat.S_IFREG | 0o644, None, None)


def test_symlinks_have_no_acl() -> None:
    mode = stat.S_IFLNK | 0o777
    assert acl.inherit(acl.encode(NAMED), mode, 0o077) == (mode, None, None)


@given(acls(), st.integers(0, 0o777))
def test_nobody_gets_more_than_was_asked_for(default: acl.Acl, mode: int) -> None:
    asked = stat.S_IFREG | mode
    got, access, _ = acl.inherit(acl.encode(default), asked, 0)
    assert got & ~asked == 0
    assert access is None or acl.mode_of(access, asked) == got
