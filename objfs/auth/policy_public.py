"""Whether a bucket policy is *public*, as S3's policyStatus and BlockPublicPolicy define it.

A statement that allows something to everybody is public, unless a condition ties it to a fixed
value of one of the keys below: no wildcard in it, no variable. An address range counts as fixed if
it is no wider than /8 (IPv4) or /32 (IPv6). A policy is public if one of its statements is; `Deny`
makes no difference.

Source: AWS, Blocking public access to your Amazon S3 storage: The meaning of "public".
"""

import ipaddress

from objfs.auth.conditions import FOR_ALL, Condition, as_network
from objfs.auth.policy_document import PolicyDocument, Statement

_FIXING_KEYS = frozenset(
    {
        "aws:sourcearn",
        "aws:sourcevpc",
        "aws:sourcevpce",
        "aws:sourceowner",
        "aws:sourceaccount",
        "aws:principalorgid",
        "aws:principalarn",
        "aws:principalaccount",
        "aws:userid",
        "aws:username",
        "s3:x-amz-server-side-encryption-aws-kms-key-id",
        "s3:dataaccesspointarn",
        "s3:dataaccesspointaccount",
    }
)
_FIXING_OPERATORS = frozenset(
    {"StringEquals", "StringEqualsIgnoreCase", "StringLike", "ArnEquals", "ArnLike"}
)
_NARROWEST = {4: 8, 6: 32}
_PRIVATE = tuple(
    ipaddress.ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
)


def is_public(policy: PolicyDocument) -> bool:
    """Whether the policy of a bucket lets everybody do something."""
    return any(_is_public(statement) for statement in policy.statements)


def _is_public(statement: Statement) -> bool:
    principals = statement.principals
    if not statement.allows or principals is None:
        return False
    if not (principals.everyone or principals.negated):
        return False
    return not any(_fixes(condition) for condition in statement.conditions)


def _fixes(condition: Condition) -> bool:
    if condition.negated or condition.if_exists or condition.quantifier == FOR_ALL:
        return False
    if condition.key == "aws:sourceip":
        return condition.operator == "IpAddress" and all(map(_is_narrow, condition.values))
    if condition.key not in _FIXING_KEYS or condition.operator not in _FIXING_OPERATORS:
        return False
    return bool(condition.values) and not any(
        sign in value for value in condition.values for sign in ("*", "?", "${")
    )


def _is_narrow(text: str) -> bool:
    network = as_network(text)
    return network.prefixlen >= _NARROWEST[network.version] or any(
        network.version == private.version and network.subnet_of(private)  # type: ignore[arg-type]
        for private in _PRIVATE
    )
