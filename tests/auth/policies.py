"""Identities and requests for tests of decisions."""

import json
from typing import Any

from objfs.auth.identity import ROLE_SESSION, USER, Account, Identity
from objfs.auth.policy import Request, lower_keys
from objfs.auth.policy_document import (
    PolicyDocument,
    parse_bucket_policy,
    parse_identity_policy,
)

ACCOUNT = Account("123456789012", "c0" * 32)
BUCKET = "photos"
ARN = f"arn:aws:s3:::{BUCKET}"
ALICE, BOB = "a1" * 32, "b0" * 32


def document(*statements: dict[str, Any], version: str = "2012-10-17") -> str:
    return json.dumps({"Version": version, "Statement": list(statements)})


def statement(effect: str = "Allow", **fields: Any) -> dict[str, Any]:
    """None takes a field away."""
    merged = {"Effect": effect, "Action": "s3:*", "Resource": "*"} | fields
    return {name: value for name, value in merged.items() if value is not None}


def identity_policy(*statements: dict[str, Any]) -> PolicyDocument:
    return parse_identity_policy(document(*statements))


def bucket_policy(*statements: dict[str, Any]) -> PolicyDocument:
    filled = [each if "NotPrincipal" in each else {"Principal": "*"} | each for each in statements]
    return parse_bucket_policy(document(*filled), BUCKET)


def user(name: str = "alice", *policies: PolicyDocument, canonical: str = ALICE) -> Identity:
    return Identity(
        USER,
        ACCOUNT,
        ACCOUNT.arn("user", name),
        "AIDA" + name.upper() * 3,
        name,
        canonical,
        policies,
    )


def session(*policies: PolicyDocument) -> Identity:
    return Identity(
        ROLE_SESSION,
        ACCOUNT,
        f"arn:aws:sts::{ACCOUNT.number}:assumed-role/auditor/monday",
        "AROAAUDITORAUDITOR:monday",
        "",
        ACCOUNT.canonical,
        policies,
        role_arn=ACCOUNT.arn("role", "auditor"),
    )


def request(action: str = "s3:GetObject", resource: str = f"{ARN}/a", **context: Any) -> Request:
    """Condition keys as `aws__SourceIp="..."`."""
    keys = {key.replace("__", ":").replace("_", "-"): value for key, value in context.items()}
    return Request(action, resource, lower_keys(keys))
