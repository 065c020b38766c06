"""Two settings of a bucket that stand above policies and access control lists.

*ObjectOwnership* says whose an uploaded object is, and whether lists count at all:

- `BucketOwnerEnforced`: everything belongs to the bucket's owner, and there are no lists. A request
  that brings one is refused, unless it gives all to the bucket's owner anyway.
- `BucketOwnerPreferred`: an object uploaded with the canned list `bucket-owner-full-control`
  belongs to the bucket's owner.
- `ObjectWriter`: an object belongs to who uploads it.

*PublicAccessBlock* has four flags: two refuse new lists and policies that are public, two make
those that are there count for less.

Source: AWS, Controlling ownership of objects; Blocking public access.
"""

from typing import Literal, get_args

import msgspec

from objfs.auth.acl import FULL_CONTROL, Acl, Grant, private_acl
from objfs.auth.policy_document import PolicyDocument
from objfs.auth.policy_public import is_public
from objfs.base.errors import AccessDenied, AclRefused, InvalidRequest

Ownership = Literal["BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"]
OWNERSHIPS: tuple[Ownership, ...] = get_args(Ownership)
ENFORCED: Ownership = "BucketOwnerEnforced"
PREFERRED: Ownership = "BucketOwnerPreferred"


class PublicAccessBlock(msgspec.Struct, frozen=True, rename="pascal"):
    """The four flags; its stored form is JSON."""

    block_public_acls: bool = False  # refuse lists that are public
    ignore_public_acls: bool = False  # such grants do not count
    block_public_policy: bool = False  # refuse policies that are public
    restrict_public_buckets: bool = False  # a public policy counts for the account only

    def encode(self) -> bytes:
        """The stored form."""
        return msgspec.json.encode(self)


ALL_BLOCKED = PublicAccessBlock(True, True, True, True)
NONE_BLOCKED = PublicAccessBlock()


def decode_block(stored: bytes | None) -> PublicAccessBlock:
    """From the stored form; without one nothing is blocked."""
    return NONE_BLOCKED if stored is None else msgspec.json.decode(stored, type=PublicAccessBlock)


def checked_ownership(text: str) -> Ownership:
    """InvalidRequest for what is none."""
    for each in OWNERSHIPS:
        if text == each:
            return each
    raise InvalidRequest(f"object ownership is one of {', '.join(OWNERSHIPS)}, not {text!r}")


def check_policy(policy: PolicyDocument, block: PublicAccessBlock) -> None:
    """Whether a bucket may get this policy. AccessDenied."""
    if block.block_public_policy and is_public(policy):
        raise AccessDenied(
            "the policy is public, and BlockPublicPolicy of the bucket refuses public policies"
        )


def object_acl(
    asked: Acl | None,
    *,
    writer: str,
    bucket_owner: str,
    ownership: Ownership,
    block: PublicAccessBlock,
    canned: str = "",
) -> Acl:
    """The list of an object that `writer` (a canonical id) uploads, or a new list of one that
    `writer` owns. `asked` is what the request has (`acl_of_headers`), `canned` the name if it was
    canned. AclRefused, AccessDenied."""
    if ownership == ENFORCED:
        check_enforced(asked, bucket_owner, canned)
        return private_acl(bucket_owner)
    acl = asked or private_acl(writer)
    _check_public(acl, block)
    if ownership == PREFERRED and canned == "bucket-owner-full-control":
        return private_acl(bucket_owner)
    return acl


def bucket_acl(
    asked: Acl | None, *, owner: str, ownership: Ownership, block: PublicAccessBlock
) -> Acl:
    """The list of a bucket that is made, or its new one. AclRefused, AccessDenied."""
    if ownership == ENFORCED:
        check_enforced(asked, owner, "")
        return private_acl(owner)
    acl = asked or private_acl(owner)
    _check_public(acl, block)
    return acl


def check_enforced(asked: Acl | None, bucket_owner: str, canned: str) -> None:
    """Where there are no lists, one that changes nothing is let pass. AclRefused."""
    if asked is None or canned in ("private", "bucket-owner-full-control"):
        return
    if set(asked.grants) <= {Grant(bucket_owner, FULL_CONTROL)}:
        return
    raise AclRefused("The bucket does not allow ACLs", "AccessControlListNotSupported")


def effective_acl(acl: Acl, bucket_owner: str, ownership: Ownership) -> Acl:
    """The list that counts: where there are none, everything is the bucket owner's."""
    return private_acl(bucket_owner) if ownership == ENFORCED else acl


def check_ownership_change(ownership: Ownership, bucket: Acl) -> None:
    """Whether a bucket with this list may get `ownership`. AclRefused."""
    if ownership == ENFORCED and set(bucket.grants) - {Grant(bucket.owner, FULL_CONTROL)}:
        raise AclRefused(
            "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
            "InvalidBucketAclWithObjectOwnership",
        )


def _check_public(acl: Acl, block: PublicAccessBlock) -> None:
    if block.block_public_acls and acl.is_public:
        raise AccessDenied(
            "the access control list is public, and BlockPublicAcls of the bucket refuses those"
        )
