"""Access control lists, object ownership, and the block of public access."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objfs.auth.acl import (
    ALL_USERS,
    AUTHENTICATED_USERS,
    CANNED,
    FULL_CONTROL,
    LOG_DELIVERY,
    PERMISSIONS,
    READ,
    Acl,
    Grant,
    acl_grant,
    acl_of_headers,
    canned_acl,
    checked_acl,
    checked_grantee,
    decode_acl,
    encode_acl,
    grantees_of,
    list_needed,
    private_acl,
)
from objfs.auth.identity import Identity
from objfs.auth.ownership import (
    ALL_BLOCKED,
    NONE_BLOCKED,
    PublicAccessBlock,
    bucket_acl,
    check_ownership_change,
    checked_ownership,
    decode_block,
    effective_acl,
    object_acl,
)
from objfs.auth.policy import AclGrant
from objfs.auth.s3_actions import S3_ACTIONS
from objfs.base.errors import AccessDenied, AclRefused, DataLost, InvalidRequest
from objfs.base.limits import ACL_GRANTS_MAX
from tests.auth.policies import ALICE, BOB, user

CAROL = "ca" * 32
alice, bob = user(), user("bob", canonical=BOB)


def granted(action: str, who: Identity | None, acl: Acl, **options: bool) -> AclGrant:
    return acl_grant(action, who, acl, **options)


# --- Lists ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("private", []),
        ("public-read", [(ALL_USERS, "READ")]),
        ("public-read-write", [(ALL_USERS, "READ"), (ALL_USERS, "WRITE")]),
        ("authenticated-read", [(AUTHENTICATED_USERS, "READ")]),
        ("aws-exec-read", []),
        ("bucket-owner-read", [(BOB, "READ")]),
        ("bucket-owner-full-control", [(BOB, "FULL_CONTROL")]),
        ("log-delivery-write", [(LOG_DELIVERY, "WRITE"), (LOG_DELIVERY, "READ_ACP")]),
    ],
)
def test_canned_lists(name: str, others: list[tuple[str, str]]) -> None:
    acl = canned_acl(name, ALICE, BOB)
    assert acl.owner == ALICE
    assert acl.grants == (Grant(ALICE, "FULL_CONTROL"), *(Grant(*each) for each in others))
    assert decode_acl(encode_acl(acl)) == acl
    assert canned_acl(name, BOB, BOB).grants[0] == Grant(BOB, "FULL_CONTROL")
    assert acl.is_public is name.startswith(("public", "authenticated"))


def test_a_canned_list_that_is_none() -> None:
    assert len(CANNED) == 8
    with pytest.raises(AclRefused) as caught:
        canned_acl("open", ALICE, BOB)
    assert caught.value.code == "InvalidArgument"


GRANTEES = st.sampled_from([ALICE, BOB, ALL_USERS, AUTHENTICATED_USERS, LOG_DELIVERY])


@settings(max_examples=30)
@given(st.lists(st.builds(Grant, GRANTEES, st.sampled_from(PERMISSIONS))))
def test_the_stored_form(grants: list[Grant]) -> None:
    acl = Acl(ALICE, tuple(grants))
    assert decode_acl(encode_acl(acl)) == acl


@pytest.mark.parametrize("stored", [b"", b"\x90", b"\x92\xa1a\x91\x92\xa1a\xa1?"])
def test_a_stored_form_that_is_none(stored: bytes) -> None:
    with pytest.raises(DataLost):
        decode_acl(stored)


def test_headers() -> None:
    assert acl_of_headers({}, ALICE, BOB) is None
    canned = acl_of_headers({"x-amz-acl": "public-read"}, ALICE, BOB)
    assert canned == canned_acl("public-read", ALICE, BOB)
    headers = {
        "x-amz-grant-read": f'id="{BOB}", uri="{ALL_USERS}",id={CAROL}',
        "x-amz-grant-full-control": f"id={ALICE}",
    }
    assert acl_of_headers(headers, ALICE, BOB) == Acl(
        ALICE,
        (
            Grant(BOB, READ),
            Grant(ALL_USERS, READ),
            Grant(CAROL, READ),
            Grant(ALICE, FULL_CONTROL),
        ),
    )
    with pytest.raises(InvalidRequest, match="both Canned ACLs and Header Grants"):
        acl_of_headers(headers | {"x-amz-acl": "private"}, ALICE, BOB)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("", ""),
        ("everybody", "InvalidArgument"),
        ('id="abc"', "InvalidArgument"),
        (f'id="{BOB}" x', "InvalidArgument"),
        ('uri="http://example.com/all"', "InvalidArgument"),
        ('emailAddress="a@example.com"', "UnresolvableGrantByEmailAddress"),
        (f'id="{BOB},', "InvalidArgument"),
    ],
)
def test_headers_that_are_wrong(value: str, code: str) -> None:
    if not code:
        assert grantees_of(value) == []
        return
    with pytest.raises(AclRefused) as caught:
        grantees_of(value)
    assert caught.value.code == code


def test_checks() -> None:
    assert checked_grantee("id", BOB) == BOB
    grant = Grant(BOB, READ)
    assert checked_acl(ALICE, [grant, grant]).grants == (grant,)
    for grants in ([Grant(BOB, "FLY")], [grant] * (ACL_GRANTS_MAX + 1)):
        with pytest.raises(AclRefused) as caught:
            checked_acl(ALICE, grants)
        assert caught.value.code == "MalformedACLError"


# --- What they allow ------------------------------------------------------------------------------


def test_which_list_an_action_needs() -> None:
    assert list_needed("s3:GetObject") == list_needed("s3:PutObjectAcl") == "object"
    assert list_needed("s3:ListBucket") == list_needed("s3:PutObject") == "bucket"
    assert list_needed("s3:PutBucketPolicy") is None
    assert sum(list_needed(action) is not None for action in S3_ACTIONS) == 18


def test_permissions() -> None:
    acl = Acl(ALICE, (Grant(BOB, READ),))
    assert granted("s3:GetObject", bob, acl) is AclGrant.NAMED
    assert granted("s3:GetObject", None, acl) is AclGrant.NONE
    assert granted("s3:GetObjectAcl", bob, acl) is AclGrant.NONE
    assert granted("s3:PutBucketTagging", bob, Acl(ALICE, (Grant(BOB, FULL_CONTROL),))) is (
        AclGrant.NONE
    )
    everything = Acl(ALICE, (Grant(BOB, FULL_CONTROL),))
    for action in ("s3:GetObjectVersion", "s3:PutObjectAcl", "s3:PutObject", "s3:PutBucketAcl"):
        assert granted(action, bob, everything) is AclGrant.NAMED


def test_groups() -> None:
    everybody = canned_acl("public-read", ALICE, ALICE)
    known = canned_acl("authenticated-read", ALICE, ALICE)
    assert granted("s3:GetObject", None, everybody) is AclGrant.GROUP
    assert granted("s3:GetObject", bob, everybody) is AclGrant.GROUP
    assert granted("s3:GetObject", None, known) is AclGrant.NONE
    assert granted("s3:GetObject", bob, known) is AclGrant.GROUP
    assert granted("s3:PutObject", None, everybody) is AclGrant.NONE
    for acl in (everybody, known):
        assert granted("s3:GetObject", bob, acl, ignore_public=True) is AclGrant.NONE
        assert granted("s3:GetObject", alice, acl, ignore_public=True) is AclGrant.OWNER


def test_the_owner_may_always_read_and_change_the_list() -> None:
    bare = Acl(ALICE, ())
    assert granted("s3:GetObjectAcl", alice, bare) is AclGrant.OWNER
    assert granted("s3:PutBucketAcl", alice, bare) is AclGrant.OWNER
    assert granted("s3:GetObject", alice, bare) is AclGrant.NONE
    assert granted("s3:GetObject", alice, private_acl(ALICE)) is AclGrant.OWNER


# --- Ownership and blocking -----------------------------------------------------------------------


def uploaded(name: str | None, ownership: str, block: PublicAccessBlock = NONE_BLOCKED) -> Acl:
    asked = None if name is None else canned_acl(name, ALICE, BOB)
    return object_acl(
        asked,
        writer=ALICE,
        bucket_owner=BOB,
        ownership=checked_ownership(ownership),
        block=block,
        canned=name or "",
    )


def test_the_writer_owns() -> None:
    assert uploaded(None, "ObjectWriter") == private_acl(ALICE)
    assert uploaded("bucket-owner-full-control", "ObjectWriter").owner == ALICE
    assert uploaded("public-read", "ObjectWriter").is_public


def test_the_bucket_owner_is_preferred() -> None:
    assert uploaded(None, "BucketOwnerPreferred").owner == ALICE
    assert uploaded("bucket-owner-full-control", "BucketOwnerPreferred") == private_acl(BOB)


def test_the_bucket_owner_is_enforced() -> None:
    for harmless in (None, "private", "bucket-owner-full-control"):
        assert uploaded(harmless, "BucketOwnerEnforced") == private_acl(BOB)
    for name in ("public-read", "bucket-owner-read", "authenticated-read"):
        with pytest.raises(AclRefused, match="does not allow ACLs") as caught:
            uploaded(name, "BucketOwnerEnforced")
        assert caught.value.code == "AccessControlListNotSupported"
    public = canned_acl("public-read", ALICE, BOB)
    assert effective_acl(public, BOB, "BucketOwnerEnforced") == private_acl(BOB)
    assert effective_acl(public, BOB, "ObjectWriter") == public


def test_lists_of_buckets() -> None:
    public = canned_acl("public-read", ALICE, ALICE)
    made = bucket_acl(public, owner=ALICE, ownership="ObjectWriter", block=NONE_BLOCKED)
    assert made == public
    assert bucket_acl(None, owner=ALICE, ownership="ObjectWriter", block=NONE_BLOCKED) == (
        private_acl(ALICE)
    )
    with pytest.raises(AclRefused):
        bucket_acl(public, owner=ALICE, ownership="BucketOwnerEnforced", block=NONE_BLOCKED)
    check_ownership_change("BucketOwnerEnforced", private_acl(ALICE))
    check_ownership_change("BucketOwnerPreferred", public)
    with pytest.raises(AclRefused) as caught:
        check_ownership_change("BucketOwnerEnforced", public)
    assert caught.value.code == "InvalidBucketAclWithObjectOwnership"


def test_blocking_public_lists() -> None:
    block = PublicAccessBlock(block_public_acls=True)
    for name in ("public-read", "authenticated-read", "public-read-write"):
        with pytest.raises(AccessDenied, match="BlockPublicAcls"):
            uploaded(name, "ObjectWriter", block)
    assert uploaded("bucket-owner-read", "ObjectWriter", block).grants[1] == Grant(BOB, READ)


def test_the_stored_form_of_a_block() -> None:
    for block in (ALL_BLOCKED, NONE_BLOCKED, PublicAccessBlock(ignore_public_acls=True)):
        assert decode_block(block.encode()) == block
    assert decode_block(None) == NONE_BLOCKED
    assert b"BlockPublicAcls" in ALL_BLOCKED.encode()


def test_ownerships_that_are_none() -> None:
    with pytest.raises(InvalidRequest, match="BucketOwnerPreferred"):
        checked_ownership("Mine")
