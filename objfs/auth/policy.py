"""The decision: may this request be done?

In this order, the first that applies:

1. An explicit `Deny` in any policy that counts: identity, session, bucket. One exception: the owner
   of a bucket may always read, set and delete its policy, whatever that policy says, or nobody
   could take a mistake back (in AWS, the account's root user).
2. A grant made by what is asked for: a bucket policy that names the one who asks, or an entry of an
   access control list for them. It needs no policy of theirs.
3. A policy of their own (attached, inline, through a group or role) that allows it. A session
   policy narrows these: both must allow. It narrows grants of a bucket policy too, but for one that
   names the very session, and of access control lists.
4. The owner of the bucket who has no policies at all may do anything in it, as an account may in
   its own buckets. Who has policies is bound by them also in buckets of their own, as a user of an
   account is: a key for backups that may not delete cannot delete.
5. No.

A bucket policy that names the account (its number, or `...:root`) leaves it to the account's own
policies: as a grant it changes nothing, as a denial it denies everybody in the account. `"*"` means
everybody, also without a name.

Source: AWS, Policy evaluation logic; for bucket and object owners, Access control in Amazon S3.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from objfs.auth.identity import USER, Identity
from objfs.auth.patterns import Context, Pattern, Unresolved
from objfs.auth.policy_document import PolicyDocument, Principals, Statement
from objfs.auth.policy_public import is_public

_OWNERS_ALWAYS = frozenset({"s3:getbucketpolicy", "s3:putbucketpolicy", "s3:deletebucketpolicy"})


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be done: `s3:GetObject` with `arn:aws:s3:::bucket/key`. The context has condition
    keys in lower case; `principal_context` gives those about who asks."""

    action: str
    resource: str
    context: Context


class AclGrant(Enum):
    """Whom the entry of an access control list that allows it names."""

    NONE = "none"
    OWNER = "owner"  # the one who asks owns it
    NAMED = "named"  # them, by their canonical id
    GROUP = "group"  # everybody, or everybody who has a name


@dataclass(frozen=True, slots=True)
class Decision:
    """Yes or no, and why. `explicit`: a policy says Deny, it is not only that none says Allow."""

    allowed: bool
    reason: str
    explicit: bool = False

    def __bool__(self) -> bool:
        return self.allowed


def lower_keys(context: Mapping[str, str | Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """A context as `Request` wants it."""
    return {
        key.lower(): (value,) if isinstance(value, str) else tuple(value)
        for key, value in context.items()
    }


def decide(
    request: Request,
    identity: Identity | None,
    *,
    session_policies: Sequence[PolicyDocument] = (),
    bucket_policy: PolicyDocument | None = None,
    bucket_owner: str = "",
    acl: AclGrant = AclGrant.NONE,
    restrict_public: bool = False,
) -> Decision:
    """Whether `identity` (None: nobody who said a name) may do it.

    `bucket_owner`: the canonical id of the bucket's owner, "" for a request about no bucket. `acl`:
    what its access control list says (`objfs/auth/acl.py`). `restrict_public`: the setting
    RestrictPublicBuckets of the bucket.
    """
    policies = identity.policies if identity is not None else ()
    owner = identity is not None and bool(bucket_owner) and identity.canonical == bucket_owner
    bound = bool(policies) or identity is None or identity.kind != USER
    own = _verdict(request, policies)
    session = _verdict(request, session_policies)
    bucket = _bucket_verdict(request, identity, bucket_policy)
    if owner and bucket is _Verdict.DENIED and request.action.lower() in _OWNERS_ALWAYS:
        bucket = _Verdict.SILENT
    if restrict_public and identity is None and bucket_policy is not None:
        bucket = _Verdict.SILENT if is_public(bucket_policy) else bucket
    for verdict, whose in ((own, "an identity"), (session, "a session"), (bucket, "a resource")):
        if verdict is _Verdict.DENIED:
            return Decision(False, f"with an explicit deny in {whose}-based policy", True)
    if bucket is _Verdict.ALLOWED_BY_SESSION:
        return Decision(True, "the bucket policy allows it")
    if session_policies and session is not _Verdict.ALLOWED:
        return Decision(False, f"because no session policy allows the {request.action} action")
    if bucket is _Verdict.ALLOWED:
        return Decision(True, "the bucket policy allows it")
    if _acl_counts(acl, identity, bound):
        return Decision(True, "the access control list allows it")
    if own is _Verdict.ALLOWED:
        return Decision(True, "an identity-based policy allows it")
    if owner and not bound:
        return Decision(True, "the bucket is theirs")
    based = "resource" if identity is None else "identity"
    return Decision(False, f"because no {based}-based policy allows the {request.action} action")


def _acl_counts(acl: AclGrant, identity: Identity | None, bound: bool) -> bool:
    """Whether an entry of an access control list is a grant of its own. One that names a session's
    canonical id means the account, and leaves it to the account's policies."""
    if acl is AclGrant.NAMED:
        return identity is not None and identity.kind == USER
    return acl is AclGrant.GROUP or (acl is AclGrant.OWNER and not bound)


def denial(request: Request, identity: Identity | None, decision: Decision) -> str:
    """The text of AccessDenied, as AWS words it."""
    if identity is None:
        return "Access Denied"
    return (
        f"User: {identity.arn} is not authorized to perform: {request.action} on resource: "
        f'"{request.resource}" {decision.reason}'
    )


class _Verdict(Enum):
    """What some policies say."""

    SILENT = 0
    ALLOWED = 1
    ALLOWED_BY_SESSION = 2  # a bucket policy names the very session
    DENIED = 3


def _verdict(request: Request, policies: Sequence[PolicyDocument]) -> _Verdict:
    found = _Verdict.SILENT
    for policy in policies:
        for statement in policy.statements:
            if statement.allows and found is _Verdict.ALLOWED:
                continue
            if applies(statement, request):
                if not statement.allows:
                    return _Verdict.DENIED
                found = _Verdict.ALLOWED
    return found


def _bucket_verdict(
    request: Request, identity: Identity | None, policy: PolicyDocument | None
) -> _Verdict:
    found = _Verdict.SILENT
    for statement in policy.statements if policy is not None else ():
        assert statement.principals is not None, "a bucket policy names principals"
        who = match_principals(statement.principals, identity)
        counts = who is not Who.NOBODY and (not statement.allows or who is not Who.ACCOUNT)
        if not counts or not applies(statement, request):
            continue
        if not statement.allows:
            return _Verdict.DENIED
        if who is Who.SESSION:
            found = _Verdict.ALLOWED_BY_SESSION
        elif found is _Verdict.SILENT:
            found = _Verdict.ALLOWED
    return found


# --- Who ------------------------------------------------------------------------------------------


class Who(Enum):
    """How the principals of a statement mean the one who asks."""

    NOBODY = 0  # not at all
    ACCOUNT = 1  # by the account they belong to
    NAMED = 2  # by name, or as anybody
    SESSION = 3  # a session by its own ARN


def match_principals(principals: Principals, identity: Identity | None) -> Who:
    """How a statement's principals mean `identity`."""
    found = _who(principals, identity)
    if not principals.negated:
        return found
    return Who.NAMED if found is Who.NOBODY else Who.NOBODY


def _who(principals: Principals, identity: Identity | None) -> Who:
    found = Who.NAMED if principals.everyone else Who.NOBODY
    if identity is None:
        return found
    named, account = principals.named, identity.account
    if not named:
        return found
    if identity.kind != USER and ("AWS", identity.arn) in named:
        return Who.SESSION
    if any(("AWS", _foreign(name)) in named or ("AWS", name) in named for name in identity.names):
        return Who.NAMED
    if identity.kind == USER and ("CanonicalUser", identity.canonical) in named:
        return Who.NAMED
    if found is Who.NOBODY and (
        ("AWS", account.number) in named
        or ("AWS", account.root) in named
        or ("AWS", _foreign(account.root)) in named
        or ("CanonicalUser", account.canonical) in named
    ):
        return Who.ACCOUNT
    return found


def _foreign(arn: str) -> str:
    """The ARN without the account's number, as other stores write it: it means this account."""
    parts = arn.split(":", 5)
    return ":".join((*parts[:4], "", *parts[5:])) if len(parts) == 6 else arn


def trusts(
    request: Request,
    trust: PolicyDocument,
    identity: Identity | None,
    federated: str = "",
    session_policies: Sequence[PolicyDocument] = (),
) -> bool:
    """Whether the trust policy of a role lets somebody take it. `request` has the action
    (`sts:AssumeRole`, `sts:AssumeRoleWithWebIdentity`), the role's ARN, and the context;
    `federated` is the ARN of the issuer whose token it was. A policy that names the account leaves
    it to the account: then a policy of `identity` has to allow the action too. The policies of its
    session narrow what it may take, but for a trust policy that names the very session."""
    found = _Verdict.SILENT
    session = _verdict(request, session_policies)
    narrowed = bool(session_policies) and session is not _Verdict.ALLOWED
    for statement in trust.statements:
        assert statement.principals is not None, "a trust policy names principals"
        who = match_principals(statement.principals, identity)
        if federated and not statement.principals.everyone:
            named = ("Federated", federated) in statement.principals.named
            who = Who.NAMED if named is not statement.principals.negated else Who.NOBODY
        if who is Who.NOBODY or not applies(statement, request):
            continue
        if not statement.allows:
            return False
        if narrowed and who is not Who.SESSION:
            continue
        if who is not Who.ACCOUNT or _allowed_by_own(request, identity):
            found = _Verdict.ALLOWED
    if session is _Verdict.DENIED:
        return False
    own = _verdict(request, identity.policies) if identity is not None else _Verdict.SILENT
    return found is _Verdict.ALLOWED and own is not _Verdict.DENIED


def _allowed_by_own(request: Request, identity: Identity | None) -> bool:
    return identity is not None and _verdict(request, identity.policies) is _Verdict.ALLOWED


# --- What and when --------------------------------------------------------------------------------


def applies(statement: Statement, request: Request) -> bool:
    """Whether action, resource and conditions of a statement mean this request.

    A variable without a value: what would allow does not apply. In what would deny, the pattern
    with it matches nothing, so a `NotResource` with it still denies.
    """
    try:
        return (
            _matches(statement.actions, request.action, request.context, True)
            is not statement.not_actions
            and _matches(statement.resources, request.resource, request.context, statement.allows)
            is not statement.not_resources
            and all(
                condition.holds(request.context, strict=statement.allows)
                for condition in statement.conditions
            )
        )
    except Unresolved:
        return False


def _matches(patterns: Sequence[Pattern], value: str, context: Context, strict: bool) -> bool:
    unresolved = None
    for pattern in patterns:
        try:
            if pattern.matches(value, context):
                return True
        except Unresolved as found:
            unresolved = found
    if strict and unresolved is not None:
        raise unresolved
    return False
