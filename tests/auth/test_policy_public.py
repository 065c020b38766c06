"""Which bucket policies are public."""

from typing import Any

import pytest

from objfs.auth.ownership import NONE_BLOCKED, PublicAccessBlock, check_policy
from objfs.auth.policy_public import is_public
from objfs.base.errors import AccessDenied
from tests.auth.policies import ACCOUNT, ARN, bucket_policy, statement

ONE = {"AWS": ACCOUNT.arn("user", "alice")}


def when(operator: str, key: str, value: Any) -> dict[str, Any]:
    return {"Condition": {operator: {key: value}}}


@pytest.mark.parametrize(
    ("fields", "public"),
    [
        ({}, True),
        ({"Principal": {"AWS": ["*", ACCOUNT.number]}}, True),
        ({"Principal": ONE}, False),
        ({"Principal": None, "NotPrincipal": ONE}, True),
        # AWS's own example: a fixed network is not public, a very wide one is.
        (when("IpAddress", "aws:SourceIp", "192.0.2.0/24"), False),
        (when("IpAddress", "aws:SourceIp", ["192.0.2.0/24", "0.0.0.0/1"]), True),
        (when("IpAddress", "aws:SourceIp", "10.0.0.0/8"), False),
        (when("IpAddress", "aws:SourceIp", "8.0.0.0/7"), True),
        (when("IpAddress", "aws:SourceIp", "2001:db8::/32"), False),
        (when("IpAddress", "aws:SourceIp", "2001::/16"), True),
        (when("IpAddressIfExists", "aws:SourceIp", "192.0.2.0/24"), True),
        (when("NotIpAddress", "aws:SourceIp", "192.0.2.0/24"), True),
        (when("StringEquals", "aws:SourceVpc", "vpc-91237329"), False),
        (when("StringLike", "aws:SourceVpc", "vpc-*"), True),
        (when("StringLike", "aws:SourceVpc", "vpc-1"), False),
        (when("StringEquals", "aws:PrincipalArn", "${aws:username}"), True),
        (when("StringEquals", "aws:SourceVpc", []), True),
        (when("ForAllValues:StringEquals", "aws:SourceVpc", "vpc-1"), True),
        (when("StringEquals", "aws:UserAgent", "mine"), True),
        (when("StringNotEquals", "aws:userid", "AIDAX"), True),
    ],
)
def test_statements(fields: dict[str, Any], public: bool) -> None:
    assert is_public(bucket_policy(statement(**fields))) is public


def test_one_public_statement_is_enough_and_a_deny_does_not_matter() -> None:
    shut = statement("Deny", Principal="*")
    mine = statement(Principal=ONE)
    everybody = statement(Action="s3:GetObject", Resource=f"{ARN}/open/*")
    assert not is_public(bucket_policy(shut, mine))
    assert is_public(bucket_policy(shut, mine, everybody))


def test_blocking_public_policies() -> None:
    blocked = PublicAccessBlock(block_public_policy=True)
    with pytest.raises(AccessDenied, match="BlockPublicPolicy"):
        check_policy(bucket_policy(statement()), blocked)
    check_policy(bucket_policy(statement(Principal=ONE)), blocked)
    check_policy(bucket_policy(statement()), NONE_BLOCKED)
