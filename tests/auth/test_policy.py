"""Decisions: AWS's documented examples, who is meant, and random policies against a second
evaluator."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objfs.auth.identity import account_of, request_context
from objfs.auth.managed import ADMINISTRATOR, BUILT_IN, built_in
from objfs.auth.policy import AclGrant, Request, decide, denial, trusts
from objfs.auth.policy_document import (
    PolicyDocument,
    parse_bucket_policy,
    parse_identity_policy,
    parse_trust_policy,
)
from objfs.base.errors import MalformedPolicy
from tests.auth import reference
from tests.auth.policies import (
    ACCOUNT,
    ALICE,
    ARN,
    BOB,
    BUCKET,
    bucket_policy,
    document,
    identity_policy,
    request,
    session,
    statement,
    user,
)

READ = identity_policy(statement(Action=["s3:GetObject", "s3:ListBucket"]))
EVERYTHING = identity_policy(statement(Action="*"))


# --- Identity policies ----------------------------------------------------------------------------


def test_nothing_is_allowed_that_no_policy_allows() -> None:
    assert not decide(request(), user())
    assert not decide(request(), None)
    assert not decide(request("s3:PutObject"), user("alice", READ))
    assert decide(request(), user("alice", READ))


def test_a_deny_counts_more_than_any_allow() -> None:
    denies = identity_policy(statement("Deny", Action="s3:Delete*"))
    both = user("alice", EVERYTHING, denies)
    assert decide(request(), both)
    decision = decide(request("s3:DeleteObject"), both, acl=AclGrant.GROUP)
    assert not decision
    assert "explicit deny in an identity-based policy" in decision.reason


def test_the_home_directory_example() -> None:
    """AWS, "Allows IAM users access to their S3 home directory"."""
    home = identity_policy(
        statement(Action=["s3:ListAllMyBuckets", "s3:GetBucketLocation"]),
        statement(
            Action="s3:ListBucket",
            Resource=ARN,
            Condition={"StringLike": {"s3:prefix": ["", "home/", "home/${aws:username}/*"]}},
        ),
        statement(
            Resource=[f"{ARN}/home/${{aws:username}}", f"{ARN}/home/${{aws:username}}/*"],
        ),
    )
    bob = user("bob", home)

    def may(action: str, resource: str, **context: str) -> bool:
        return decide(request(action, resource, aws__username="bob", **context), bob).allowed

    assert may("s3:ListBucket", ARN, s3__prefix="home/bob/x")
    assert may("s3:ListBucket", ARN, s3__prefix="")
    assert not may("s3:ListBucket", ARN, s3__prefix="home/alice/")
    assert not may("s3:ListBucket", ARN)
    assert may("s3:PutObject", f"{ARN}/home/bob/x")
    assert not may("s3:PutObject", f"{ARN}/home/alice/x")
    assert not may("s3:PutObject", f"{ARN}/home/bobby")
    assert may("s3:ListAllMyBuckets", "arn:aws:s3:::*")


def test_a_variable_without_value_allows_nothing_and_denies_with_not() -> None:
    allow = identity_policy(statement(NotResource=f"{ARN}/${{aws:nobody}}/*", Resource=None))
    assert not decide(request(), user("a", allow))
    deny = identity_policy(
        statement(), statement("Deny", NotResource=f"{ARN}/${{aws:nobody}}/*", Resource=None)
    )
    assert not decide(request(), user("a", deny))
    unmatched = identity_policy(statement(), statement("Deny", Resource=f"{ARN}/${{aws:nobody}}"))
    assert decide(request(), user("a", unmatched))
    condition = {"StringNotEquals": {"aws:x": "${aws:nobody}"}}
    assert not decide(
        request(aws__x="1"), user("a", identity_policy(statement(Condition=condition)))
    )
    refuses = identity_policy(statement(), statement("Deny", Condition=condition))
    assert not decide(request(aws__x="1"), user("a", refuses))


# --- Bucket policies ------------------------------------------------------------------------------


def by_bucket(identity: Any, **fields: Any) -> bool:
    return decide(request(), identity, bucket_policy=bucket_policy(statement(**fields))).allowed


@pytest.mark.parametrize(
    ("principal", "nobody", "alice", "bob", "role"),
    [
        ("*", True, True, True, True),
        ({"AWS": "*"}, True, True, True, True),
        ({"AWS": ACCOUNT.arn("user", "alice")}, False, True, False, False),
        ({"AWS": ["arn:aws:iam:::user/alice"]}, False, True, False, False),
        ({"AWS": "AIDA" + "ALICE" * 3}, False, True, False, False),
        ({"CanonicalUser": ALICE}, False, True, False, False),
        ({"AWS": ACCOUNT.arn("role", "auditor")}, False, False, False, True),
        (
            {"AWS": f"arn:aws:sts::{ACCOUNT.number}:assumed-role/auditor/monday"},
            *(False, False, False, True),
        ),
        # The account, which leaves it to the policies of its users.
        ({"AWS": ACCOUNT.number}, False, False, False, False),
        ({"AWS": ACCOUNT.root}, False, False, False, False),
        ({"CanonicalUser": ACCOUNT.canonical}, False, False, False, False),
        ({"AWS": "999999999999"}, False, False, False, False),
        ({"Service": "logging.s3.amazonaws.com"}, False, False, False, False),
    ],
)
def test_whom_a_bucket_policy_lets_in(
    principal: Any, nobody: bool, alice: bool, bob: bool, role: bool
) -> None:
    who = (None, user("alice"), user("bob", canonical=BOB), session())
    assert [by_bucket(each, Principal=principal) for each in who] == [nobody, alice, bob, role]


def test_a_policy_that_denies_the_account_denies_everybody_in_it() -> None:
    refuses = bucket_policy(statement("Deny", Principal={"AWS": ACCOUNT.root}))
    assert not decide(request(), user("alice", EVERYTHING), bucket_policy=refuses)
    assert not decide(request(), session(EVERYTHING), bucket_policy=refuses)


def test_not_principal() -> None:
    alice, bob = user("alice", EVERYTHING), user("bob", EVERYTHING, canonical=BOB)
    refuses = bucket_policy(statement("Deny", Principal=None, NotPrincipal={"AWS": alice.arn}))
    assert decide(request(), alice, bucket_policy=refuses)
    assert not decide(request(), bob, bucket_policy=refuses)
    assert not decide(request(), None, bucket_policy=refuses)


def test_the_restriction_of_addresses_example() -> None:
    """AWS, "Limiting access to specific IP addresses"."""
    policy = bucket_policy(
        statement("Deny", Condition={"NotIpAddress": {"aws:SourceIp": "192.0.2.0/24"}})
    )
    alice = user("alice", EVERYTHING)
    assert decide(request(aws__SourceIp="192.0.2.9"), alice, bucket_policy=policy)
    assert not decide(request(aws__SourceIp="192.0.3.9"), alice, bucket_policy=policy)
    assert not decide(request(), alice, bucket_policy=policy)


def test_the_encryption_in_transit_example() -> None:
    policy = bucket_policy(
        statement("Deny", Condition={"Bool": {"aws:SecureTransport": "false"}}),
        statement(Action="s3:GetObject"),
    )
    assert decide(request(aws__SecureTransport="true"), None, bucket_policy=policy)
    assert not decide(request(aws__SecureTransport="false"), None, bucket_policy=policy)


def test_the_owner_can_take_a_policy_back() -> None:
    shut = bucket_policy(statement("Deny", Principal="*"))
    alice, bob = user("alice", EVERYTHING), user("bob", EVERYTHING, canonical=BOB)
    for action in ("s3:PutBucketPolicy", "s3:GetBucketPolicy", "s3:DeleteBucketPolicy"):
        asked = request(action, ARN)
        assert decide(asked, alice, bucket_policy=shut, bucket_owner=ALICE)
        assert not decide(asked, bob, bucket_policy=shut, bucket_owner=ALICE)
    assert not decide(request(), alice, bucket_policy=shut, bucket_owner=ALICE)


def test_restricting_public_buckets_shuts_out_who_has_no_name() -> None:
    public = bucket_policy(statement(Principal="*"))
    assert decide(request(), None, bucket_policy=public)
    assert not decide(request(), None, bucket_policy=public, restrict_public=True)
    assert decide(request(), user(), bucket_policy=public, restrict_public=True)


# --- Sessions, lists, owners ----------------------------------------------------------------------


def test_a_session_policy_narrows() -> None:
    auditor = session(EVERYTHING)
    assert decide(request(), auditor, session_policies=[READ])
    assert not decide(request("s3:PutObject"), auditor, session_policies=[READ])
    assert not decide(request(), session(), session_policies=[READ])
    role = bucket_policy(statement(Principal={"AWS": auditor.role_arn}))
    itself = bucket_policy(statement(Principal={"AWS": auditor.arn}))
    put = request("s3:PutObject")
    assert not decide(put, auditor, session_policies=[READ], bucket_policy=role)
    assert decide(put, auditor, session_policies=[READ], bucket_policy=itself)
    refuses = identity_policy(statement("Deny"))
    assert not decide(put, auditor, session_policies=[READ, refuses], bucket_policy=itself)


def test_lists_grant() -> None:
    limited = user("alice", identity_policy(statement(Action="s3:PutObject")))
    assert decide(request(), None, acl=AclGrant.GROUP)
    assert decide(request(), limited, acl=AclGrant.NAMED)
    assert decide(request(), user(), acl=AclGrant.OWNER)
    assert not decide(request(), None, acl=AclGrant.NAMED)
    # A key for backups that may not delete cannot delete, though it owns what it made.
    assert not decide(request("s3:DeleteObject"), limited, acl=AclGrant.OWNER, bucket_owner=ALICE)
    assert not decide(request(), session(), acl=AclGrant.NAMED)
    assert not decide(request(), session(), acl=AclGrant.OWNER)


def test_an_owner_without_policies_may_do_anything_in_the_bucket() -> None:
    assert decide(request("s3:PutLifecycleConfiguration", ARN), user(), bucket_owner=ALICE)
    assert not decide(request(), user("bob", canonical=BOB), bucket_owner=ALICE)
    assert not decide(request(), session(), bucket_owner=ACCOUNT.canonical)


def test_tenants() -> None:
    """Users who make buckets of their own and see nothing of each other's."""
    policy = parse_identity_policy(BUILT_IN["S3OwnBucketsAccess"])
    alice, bob = user("alice", policy), user("bob", policy, canonical=BOB)
    for who, allowed in ((alice, True), (bob, False)):
        context = request_context(
            who, time_ns=0, source="127.0.0.1", secure=False, bucket_owner=ALICE
        )
        assert decide(Request("s3:GetObject", f"{ARN}/a", context), who).allowed is allowed
        assert decide(Request("s3:CreateBucket", "arn:aws:s3:::new", context), who)


# --- Built-in policies and words ------------------------------------------------------------------


def test_built_in_policies() -> None:
    assert built_in(ADMINISTRATOR) == BUILT_IN["AdministratorAccess"]
    assert built_in("arn:aws:iam::aws:policy/Other") is None
    allowed = {
        name: {
            action
            for action in ("s3:GetObject", "s3:ListBucket", "s3:PutObject", "iam:CreateUser")
            if decide(request(action, ARN), user("a", parse_identity_policy(text)))
        }
        for name, text in BUILT_IN.items()
    }
    reading = {"s3:GetObject", "s3:ListBucket"}
    assert allowed == {
        "AdministratorAccess": {*reading, "s3:PutObject", "iam:CreateUser"},
        "AmazonS3FullAccess": {*reading, "s3:PutObject"},
        "AmazonS3ReadOnlyAccess": reading,
        "IAMFullAccess": {"iam:CreateUser"},
        "IAMReadOnlyAccess": set(),
        "S3OwnBucketsAccess": set(),
    }


def test_a_denial_says_who_what_and_why() -> None:
    asked, alice = request(), user()
    text = denial(asked, alice, decide(asked, alice))
    assert text == (
        f"User: {alice.arn} is not authorized to perform: s3:GetObject on resource: "
        f'"{ARN}/a" because no identity-based policy allows the s3:GetObject action'
    )
    assert denial(asked, None, decide(asked, None)) == "Access Denied"


def test_an_account_follows_from_its_store() -> None:
    one, other = account_of(b"a" * 16), account_of(b"b" * 16)
    assert one == account_of(b"a" * 16) != other
    assert len(one.number) == 12
    assert one.number.isdigit()
    assert len(one.canonical) == 64


def test_the_keys_of_a_request() -> None:
    context = request_context(
        user(), time_ns=10**18, source="::1", secure=True, region="r", user_agent="u", referer="f"
    )
    assert context["aws:currenttime"] == ("2001-09-09T01:46:40Z",)
    assert context["aws:epochtime"] == ("1000000000",)
    assert context["aws:username"] == ("alice",)
    assert context["aws:securetransport"] == ("true",)
    assert context["aws:principaltype"] == ("User",)
    assert "objfs:bucketowner" not in context
    anonymous = request_context(None, time_ns=0, source="::1", secure=False)
    assert anonymous["aws:userid"] == ("anonymous",)
    role = request_context(session(), time_ns=0, source="::1", secure=False)
    assert role["aws:principalarn"] == (ACCOUNT.arn("role", "auditor"),)
    assert "aws:username" not in role


# --- Random policies ------------------------------------------------------------------------------

ACTIONS = ("s3:GetObject", "s3:PutObject", "s3:ListBucket", "s3:DeleteObject")
PATTERNS = (*ACTIONS, "s3:*", "*", "S3:get*", "s3:?utObject")
RESOURCES = (ARN, f"{ARN}/a", f"{ARN}/bob/x", f"{ARN}/*", f"{ARN}/b*b/x")
RESOURCE_PATTERNS = (
    *RESOURCES,
    "*",
    f"{ARN}*",
    f"{ARN}/${{aws:username}}/*",
    f"{ARN}/?",
    f"{ARN}/${{aws:none, 'bob'}}/x",
    f"{ARN}/b${{*}}b/x",
)
VALUES = {
    "aws:username": ("bob", "b*b", "a"),
    "s3:prefix": ("", "a", "bob/x", "BOB"),
    "aws:SourceIp": ("10.1.2.3", "192.0.2.1", "2001:db8::1"),
    "s3:max-keys": ("1", "10", "10.5"),
    "aws:SecureTransport": ("true", "false"),
    "aws:TagKeys": ("x", "y", "z"),
}
STRING = ("a", "b*", "*", "bob", "${aws:username}", "${aws:username}*", "b${*}b", "${s3:none, 'a'}")
OPERATORS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    **dict.fromkeys(
        ("StringEquals", "StringNotEquals", "StringLike", "StringNotLike"),
        (("aws:username", "s3:prefix", "aws:TagKeys"), (*STRING, "x", "")),
    ),
    "StringEqualsIgnoreCase": (("s3:prefix",), ("bOb", "A")),
    **dict.fromkeys(
        ("IpAddress", "NotIpAddress"),
        (("aws:SourceIp",), ("10.0.0.0/8", "192.0.2.1", "2001:db8::/32")),
    ),
    **dict.fromkeys(
        ("NumericEquals", "NumericLessThan", "NumericGreaterThanEquals"),
        (("s3:max-keys",), ("1", "10", "10.5")),
    ),
    "Bool": (("aws:SecureTransport",), ("true", "false")),
}


@st.composite
def conditions(draw: st.DrawFn) -> dict[str, Any]:
    if draw(st.integers(0, 9)) == 0:
        return {"Null": {draw(st.sampled_from(sorted(VALUES))): draw(st.sampled_from(["true"]))}}
    name = draw(st.sampled_from(sorted(OPERATORS)))
    keys, values = OPERATORS[name]
    prefix = draw(st.sampled_from(("", "", "ForAllValues:", "ForAnyValue:")))
    suffix = draw(st.sampled_from(("", "", "IfExists")))
    key = draw(st.sampled_from(keys))
    return {prefix + name + suffix: {key: draw(st.lists(st.sampled_from(values), min_size=1))}}


@st.composite
def statements(draw: st.DrawFn) -> dict[str, Any]:
    def some(pool: tuple[str, ...]) -> list[str]:
        return draw(st.lists(st.sampled_from(pool), min_size=1, max_size=2))

    no_action, no_resource = (
        draw(st.sampled_from(("", "", "Not"))),
        draw(st.sampled_from(("", "", "Not"))),
    )
    found: dict[str, Any] = {
        "Effect": draw(st.sampled_from(("Allow", "Allow", "Deny"))),
        no_action + "Action": some(PATTERNS),
        no_resource + "Resource": some(RESOURCE_PATTERNS),
    }
    if draw(st.booleans()):
        found["Condition"] = draw(conditions())
    return found


policies = st.lists(statements(), min_size=1, max_size=3).map(lambda each: {"Statement": each})
contexts = st.fixed_dictionaries(
    {},
    optional={
        key: st.lists(
            st.sampled_from(values),
            min_size=1,
            max_size=2 if key == "aws:TagKeys" else 1,
            unique=True,
        )
        for key, values in VALUES.items()
    },
)


def parsed(policy: dict[str, Any]) -> PolicyDocument:
    return parse_identity_policy(json.dumps({"Version": "2012-10-17"} | policy))


def said(allowed: str) -> bool:
    return allowed == "Allow"


@pytest.mark.slow
@settings(max_examples=400)
@given(
    st.lists(policies, max_size=2),
    st.lists(policies, max_size=1),
    st.lists(policies, max_size=1),
    st.sampled_from(ACTIONS),
    st.sampled_from(RESOURCES),
    contexts,
)
def test_random_policies_are_decided_as_the_reference_does(
    own: list[Any], sessions: list[Any], bucket: list[Any], action: str, resource: str, given: Any
) -> None:
    keys = {key.lower(): tuple(values) for key, values in given.items()}
    plain = {key: list(values) for key, values in keys.items()}
    named = [
        {"Statement": [each | {"Principal": "*"} for each in policy["Statement"]]}
        for policy in bucket
    ]
    texts = [json.dumps({"Version": "2012-10-17"} | policy) for policy in named]
    try:
        resource_policy = [parse_bucket_policy(text, BUCKET) for text in texts]
    except MalformedPolicy:  # it names actions that do not go with its resources
        bucket, resource_policy = [], []
    results = [
        reference.evaluate(each, action, resource, plain) for each in (own, sessions, bucket)
    ]
    by_identity, by_session, by_policy = results
    expected = (
        "Deny" not in results
        and (not sessions or said(by_session))
        and (said(by_identity) or said(by_policy))
    )
    decision = decide(
        Request(action, resource, keys),
        user("alice", *map(parsed, own)),
        session_policies=[parsed(each) for each in sessions],
        bucket_policy=resource_policy[0] if resource_policy else None,
    )
    assert decision.allowed is expected, decision.reason


def test_a_text_is_parsed_once() -> None:
    policy = parse_identity_policy(BUILT_IN["AdministratorAccess"])
    assert parse_identity_policy(BUILT_IN["AdministratorAccess"]) is policy


# --- Roles ----------------------------------------------------------------------------------------


def taken(principal: Any, who: Any, federated: str = "", **fields: Any) -> bool:
    trust = parse_trust_policy(
        document(
            {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"} | fields,
        )
    )
    asked = request("sts:AssumeRole", ACCOUNT.arn("role", "auditor"), aws__x="y")
    return trusts(asked, trust, who, federated)


def test_who_may_take_a_role() -> None:
    allowed = identity_policy(statement(Action="sts:AssumeRole"))
    refused = identity_policy(statement("Deny", Action="sts:*"))
    alice = user()
    assert taken({"AWS": alice.arn}, alice)
    assert not taken({"AWS": alice.arn}, user("bob", canonical=BOB))
    assert not taken({"AWS": alice.arn}, user("alice", refused))
    assert taken("*", alice)
    # The account: then a policy of the user's own has to allow it too.
    assert not taken({"AWS": ACCOUNT.root}, alice)
    assert taken({"AWS": ACCOUNT.root}, user("alice", allowed))
    assert not taken("*", alice, Condition={"StringEquals": {"aws:x": "z"}})
    assert not taken("*", alice, Effect="Deny")


def test_an_issuer_may_give_a_role() -> None:
    issuer = ACCOUNT.arn("oidc-provider", "id.example.com")
    assert taken({"Federated": issuer}, None, issuer)
    assert not taken({"Federated": issuer}, None, issuer + "/other")
    assert not taken({"Federated": issuer}, user())
    assert not taken({"AWS": ACCOUNT.root}, None, issuer)
