"""What is no policy, and what AWS says then."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objfs.auth.policy_document import (
    PolicyDocument,
    parse_bucket_policy,
    parse_identity_policy,
    parse_trust_policy,
    policy_size,
)
from objfs.base.errors import MalformedPolicy
from objfs.base.limits import BUCKET_POLICY_BYTES_MAX
from tests.auth.policies import ARN, document

GOOD = {
    "Effect": "Allow",
    "Principal": "*",
    "Action": "s3:GetObject",
    "Resource": f"{ARN}/*",
}


def bucket_words(text: str | bytes) -> str:
    with pytest.raises(MalformedPolicy) as caught:
        parse_bucket_policy(text, "photos")
    return str(caught.value)


def changed(**fields: Any) -> str:
    merged = {**GOOD, **fields}
    return document({name: value for name, value in merged.items() if value is not None})


def test_good_ones() -> None:
    assert parse_bucket_policy(changed(), "photos").statements[0].allows
    assert parse_bucket_policy(changed(Sid="a b").encode(), "photos")
    assert parse_bucket_policy(json.dumps({"Statement": GOOD, "Id": "x"}), "photos")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Policies must be valid JSON and the first byte must be '{'"),
        ("[]", "Policies must be valid JSON and the first byte must be '{'"),
        ("{", "This policy contains invalid Json"),
        ('{"Version": "a", "Version": "b"}', "This policy contains invalid Json"),
        ('{"Statement": NaN}', "This policy contains invalid Json"),
        ("{" + '"a":[' * 3000, "This policy contains invalid Json"),
        ('{"Statement": ' + "1" * 5000 + "}", "This policy contains invalid Json"),
        (b"\xff{", "This policy contains invalid Json"),
        ("{}", "Missing required field Statement"),
        ('{"Statement": []}', "Could not parse the policy: Statement is empty!"),
        ('{"Statement": [1]}', "Invalid policy syntax."),
        ('{"Statement": [{}], "Extra": 1}', "Unknown field Extra"),
        (document(GOOD, version="2020-01-01"), "The policy must contain a valid version string"),
        (changed(Effect=None), "Missing required field Effect"),
        (changed(Effect="Perhaps"), "Invalid effect: Perhaps"),
        (changed(Effect=["Allow"]), "Invalid effect: ['Allow']"),
        (changed(Principal=None), "Missing required field Principal"),
        (changed(NotPrincipal="*"), "Invalid policy syntax."),
        (changed(Principal="alice"), "Invalid principal in policy"),
        (changed(Principal={"AWS": "alice"}), "Invalid principal in policy"),
        (changed(Principal={"AWS": []}), "Invalid principal in policy"),
        (changed(Principal={"AWS": "arn:aws:iam::1:user/a"}), "Invalid principal in policy"),
        (
            changed(Principal={"AWS": "arn:aws:iam::123456789012:user/a*"}),
            "Invalid principal in policy",
        ),
        (changed(Principal={"Other": "*"}), "Invalid principal in policy"),
        (changed(Principal={"CanonicalUser": "abc"}), "Invalid principal in policy"),
        (changed(Action=None), "Missing required field Action"),
        (changed(NotAction="s3:*"), "Invalid policy syntax."),
        (changed(Action=[]), "Missing required field Action"),
        (changed(Action=[1]), "Invalid policy syntax."),
        (changed(Action="GetObject"), "Policy has invalid action"),
        (changed(Action="s3:Fly"), "Policy has invalid action"),
        (changed(Action="iam:*"), "Policy has invalid action"),
        (changed(Resource=None), "Missing required field Resource"),
        (changed(Resource="photos/*"), "Policy has invalid resource"),
        (changed(Resource="arn:aws:s3:::other/*"), "Policy has invalid resource"),
        (changed(Resource="arn:aws-cn:s3:::photos/*"), "Policy has invalid resource"),
        (changed(Resource=ARN), "Action does not apply to any resource(s) in statement"),
        (
            changed(Action=["s3:GetObject", "s3:ListBucket"]),
            "Action does not apply to any resource(s) in statement",
        ),
        (changed(Condition=[]), "Invalid policy syntax."),
        (changed(Condition={"StringIs": {"aws:x": "y"}}), "Invalid Condition type : StringIs"),
        (changed(Condition={"StringEquals": {"x": "y"}}), "Policy has an invalid condition key"),
        (changed(Condition={"Bool": {"aws:x": "y"}}), "Invalid value in Condition : y"),
        (changed(Condition={"StringEquals": {"aws:x": {}}}), "Invalid policy syntax."),
        (changed(Whom="*"), "Unknown field Whom"),
        (
            document({**GOOD, "Sid": "a"}, {**GOOD, "Sid": "a"}),
            "Statement IDs (SID) in a single policy must be unique.",
        ),
    ],
)
def test_bucket_policies_that_are_none(text: str | bytes, words: str) -> None:
    assert bucket_words(text) == words


def test_a_bucket_policy_has_a_largest_size() -> None:
    padding = BUCKET_POLICY_BYTES_MAX - len(changed(Sid=""))
    assert parse_bucket_policy(changed(Sid="x" * padding), "photos")
    assert "maximum allowed document size" in bucket_words(changed(Sid="x" * (padding + 1)))


@pytest.mark.parametrize(
    "fields",
    [
        {"Resource": "arn:aws:s3:::*/*"},
        {"Resource": "arn:aws:s3:::pho*"},
        {"Resource": "*"},
        {"Resource": ARN, "Action": "s3:*"},
        {"Resource": ARN, "Action": "*"},
        {"Resource": [ARN, f"{ARN}/*"], "Action": ["s3:ListBucket", "s3:GetObject"]},
        {"Action": "S3:getobject"},
        {"Principal": {"AWS": ["*", "123456789012", "arn:aws:iam:::user/x/y"]}},
        {"Principal": {"CanonicalUser": "ab" * 32, "Service": "logging.s3.amazonaws.com"}},
        {"Condition": {"NumericLessThan": {"s3:max-keys": 10}, "Bool": {"aws:x": True}}},
    ],
)
def test_bucket_policies_that_are_some(fields: dict[str, Any]) -> None:
    assert parse_bucket_policy(changed(**fields), "photos")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"Principal": "*"}, "Policy document should not specify a principal."),
        ({"Action": None}, "Policy statement must contain actions."),
        ({"Resource": None}, "Policy statement must contain resources."),
        ({"Effect": None}, "Syntax errors in policy."),
        ({"Action": "Get"}, "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb"),
        ({"Resource": "x"}, 'Resource x must be in ARN format or "*".'),
        ({"Resource": "arn:cn:s3:::x"}, 'Partition "cn" is not valid for resource'),
    ],
)
def test_identity_policies_that_are_none(fields: dict[str, Any], words: str) -> None:
    text = changed(**{"Principal": None} | fields)
    with pytest.raises(MalformedPolicy) as caught:
        parse_identity_policy(text)
    assert str(caught.value).startswith(words)


def test_identity_policies_need_the_new_version() -> None:
    good = {name: value for name, value in GOOD.items() if name != "Principal"}
    assert parse_identity_policy(document(good))
    with pytest.raises(MalformedPolicy, match=r"must be version 2012-10-17 or greater"):
        parse_identity_policy(document(good, version="2008-10-17"))


def test_trust_policies() -> None:
    trust = {"Effect": "Allow", "Principal": {"AWS": "123456789012"}, "Action": "sts:AssumeRole"}
    assert parse_trust_policy(document(trust)).statements[0].principals
    with pytest.raises(MalformedPolicy, match="prohibited field Resource"):
        parse_trust_policy(document({**trust, "Resource": "*"}))


def test_white_space_does_not_count() -> None:
    assert policy_size('{ "a":\n\t1 }') == 7


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*GOOD, "Statement", "Version", "Condition", "AWS", "Bool", "x"]), inner
        )
    ),
)


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from([*GOOD, "Condition", "NotAction", "Sid"]), JSON))
def test_nothing_else_than_malformed(fields: dict[str, Any]) -> None:
    for merged in (fields, GOOD | fields):
        for parse in (parse_identity_policy, parse_trust_policy, bucket):
            with suppress(MalformedPolicy):
                assert parse(document(merged)).statements


def bucket(text: str) -> PolicyDocument:
    return parse_bucket_policy(text, "photos")
