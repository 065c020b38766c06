"""Who may: what policies, lists and settings of a bucket say about a call.

Reads a bucket's documents (their names are here) and asks `objfs/auth/policy.py`. Parsed policies
are kept, by their text.
"""

from collections.abc import Callable, Iterator, Mapping

from cachetools import LRUCache

from objfs.auth.acl import BUCKET, Acl, acl_grant, decode_acl, list_needed, private_acl
from objfs.auth.identity import Account, request_context
from objfs.auth.ownership import (
    ENFORCED,
    Ownership,
    PublicAccessBlock,
    checked_ownership,
    decode_block,
    effective_acl,
)
from objfs.auth.policy import AclGrant, Decision, Request, decide, denial
from objfs.auth.policy_document import PolicyDocument, parse_bucket_policy
from objfs.base.limits import BUCKET_POLICIES_CACHED_MAX
from objfs.s3.calls import Call
from objfs.s3.errors import S3Error
from objfs.s3.headers.contexts import operation_context
from objfs.volume.buckets import Bucket
from objfs.volume.object_types import ObjectInfo
from objfs.volume.volume import Volume

POLICY, ACL, OWNERSHIP, PUBLIC_ACCESS = "policy", "acl", "ownership", "public-access-block"
_EXPECTED_OWNER = "x-amz-expected-bucket-owner"
_EXPECTED_SOURCE_OWNER = "x-amz-source-expected-bucket-owner"


class _Asked(Mapping[str, tuple[str, ...]]):
    """Condition keys, made when a policy first asks for one: most never do."""

    def __init__(self, make: Callable[[], dict[str, tuple[str, ...]]]) -> None:
        self._make = make
        self._made: dict[str, tuple[str, ...]] | None = None

    def _all(self) -> dict[str, tuple[str, ...]]:
        if self._made is None:
            self._made = self._make()
        return self._made

    def __getitem__(self, key: str) -> tuple[str, ...]:
        return self._all()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


class Authorization:
    """Decides about calls on the buckets of a volume."""

    def __init__(self, volume: Volume, account: Account, region: str) -> None:
        self._volume = volume
        self.account = account
        self._region = region
        self._policies: LRUCache[tuple[str, bytes], PolicyDocument] = LRUCache(
            BUCKET_POLICIES_CACHED_MAX
        )

    # --- what a bucket says ----------------------------------------------------------------------

    def bucket(self, call: Call) -> Bucket:
        """The bucket of a call. NoSuchBucket; AccessDenied if it is not whose the call expects."""
        return self._expected(call.headers.get(_EXPECTED_OWNER), call.bucket)

    def source_bucket(self, call: Call, name: str) -> Bucket:
        """The bucket that a call copies from. NoSuchBucket; AccessDenied as `bucket`."""
        return self._expected(call.headers.get(_EXPECTED_SOURCE_OWNER), name)

    def _expected(self, expected: str | None, name: str) -> Bucket:
        row = self._volume.objects.reading.bucket(name)
        if expected is not None and expected not in {self.account.number, self.owner(row)}:
            raise S3Error("AccessDenied")
        return row

    def owner(self, bucket: Bucket) -> str:
        """The canonical id of a bucket's owner."""
        return bucket.owner or self.account.canonical

    def policy(self, bucket: Bucket) -> PolicyDocument | None:
        """The policy of a bucket."""
        stored = bucket.policy.get(POLICY)
        if stored is None:
            return None
        found = self._policies.get((bucket.name, stored))
        if found is None:
            found = parse_bucket_policy(stored, bucket.name)
            self._policies[bucket.name, stored] = found
        return found

    def public_access(self, bucket: Bucket) -> PublicAccessBlock:
        """Its four switches."""
        return decode_block(bucket.policy.get(PUBLIC_ACCESS))

    def ownership(self, bucket: Bucket) -> Ownership:
        """To whom objects belong that are put into it."""
        stored = bucket.policy.get(OWNERSHIP)
        return ENFORCED if stored is None else checked_ownership(stored.decode())

    def acl(self, bucket: Bucket) -> Acl:
        """The list of a bucket."""
        stored = bucket.policy.get(ACL)
        owner = self.owner(bucket)
        acl = private_acl(owner) if stored is None else decode_acl(stored)
        return effective_acl(acl, owner, self.ownership(bucket))

    def object_acl(self, bucket: Bucket, info: ObjectInfo) -> Acl:
        """The list of an object."""
        owner = self.owner(bucket)
        acl = private_acl(info.owner or owner) if info.acl is None else decode_acl(info.acl)
        return effective_acl(acl, owner, self.ownership(bucket))

    # --- decisions -------------------------------------------------------------------------------

    def decide(
        self,
        call: Call,
        action: str,
        bucket: Bucket | None,
        key: bytes | None = None,
        info: ObjectInfo | None = None,
        extra: Mapping[str, tuple[str, ...]] | None = None,
    ) -> tuple[Request, Decision]:
        """What is asked of the policies, and what they say. `bucket` None: of no bucket; `info`:
        the object, if there is one."""
        identity = call.caller.identity
        context = _Asked(lambda: self._context(call, bucket, info, extra))
        asked = Request(
            action, _resource(call.bucket if bucket is None else bucket.name, key), context
        )
        return asked, decide(
            asked,
            identity,
            session_policies=call.caller.session_policies,
            bucket_policy=None if bucket is None else self.policy(bucket),
            bucket_owner="" if bucket is None else self.owner(bucket),
            acl=self._granted(call, action, bucket, info),
            restrict_public=bucket is not None
            and self.public_access(bucket).restrict_public_buckets,
        )

    def _context(
        self,
        call: Call,
        bucket: Bucket | None,
        info: ObjectInfo | None,
        extra: Mapping[str, tuple[str, ...]] | None,
    ) -> dict[str, tuple[str, ...]]:
        """All condition keys of a call. InvalidTag."""
        context = request_context(
            call.caller.identity,
            time_ns=call.now_ns,
            source=call.request.peer,
            secure=call.request.secure,
            bucket_owner="" if bucket is None else self.owner(bucket),
            region=self._region,
            user_agent=call.headers.get("user-agent"),
            referer=call.headers.get("referer"),
        )
        context.update(operation_context(call, info))
        context.update(extra or {})
        return context

    def _granted(
        self, call: Call, action: str, bucket: Bucket | None, info: ObjectInfo | None
    ) -> AclGrant:
        needed = list_needed(action)
        if bucket is None or needed is None:
            return AclGrant.NONE
        if needed == BUCKET:
            acl = self.acl(bucket)
        elif info is not None:
            acl = self.object_acl(bucket, info)
        else:
            return AclGrant.NONE
        ignored = self.public_access(bucket).ignore_public_acls
        return acl_grant(action, call.caller.identity, acl, ignore_public=ignored)

    def allows(
        self,
        call: Call,
        action: str,
        bucket: Bucket | None,
        key: bytes | None = None,
        info: ObjectInfo | None = None,
    ) -> bool:
        """Whether the caller may."""
        return self.decide(call, action, bucket, key, info)[1].allowed

    def require(
        self,
        call: Call,
        action: str,
        bucket: Bucket | None,
        key: bytes | None = None,
        info: ObjectInfo | None = None,
        extra: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        """AccessDenied if the caller may not."""
        asked, decision = self.decide(call, action, bucket, key, info, extra)
        if not decision:
            raise S3Error("AccessDenied", denial(asked, call.caller.identity, decision))


def _resource(bucket: str, key: bytes | None) -> str:
    """The ARN; `bucket` "": the request is about none, and AWS's examples name them all."""
    arn = f"arn:aws:s3:::{bucket or '*'}"
    return arn if key is None else f"{arn}/{key.decode('utf-8', 'surrogateescape')}"
