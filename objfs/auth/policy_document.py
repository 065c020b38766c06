"""Policy documents: parsed from JSON and checked, with the words that AWS has for what is wrong.

    document  = { "Version", "Id", "Statement": statement | [ statement, ... ] }
    statement = { "Sid", "Effect", "Principal" | "NotPrincipal", "Action" | "NotAction",
                  "Resource" | "NotResource", "Condition" }

There are three kinds. An *identity* policy belongs to a user, group, role or session: it names no
principal. A *bucket* policy names principals, and resources of its bucket only. A *trust* policy
says who may take a role: it names principals and no resource.

A document is parsed once and kept as a value; the text is what is stored. Variables count from
version 2012-10-17 on, which identity policies must have.

Source: AWS, Grammar of the IAM JSON policy language; messages as S3 and IAM give them.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, NoReturn

from objfs.auth.conditions import Condition, UnknownOperator, parse_condition
from objfs.auth.patterns import Pattern
from objfs.auth.s3_actions import BUCKET, OBJECT, S3_ACTIONS
from objfs.base.errors import MalformedPolicy
from objfs.base.limits import (
    BUCKET_POLICY_BYTES_MAX,
    PARSED_POLICIES_CACHED_MAX,
    POLICY_DOCUMENT_CHARS_MAX,
)

VERSION = "2012-10-17"
OLD_VERSION = "2008-10-17"
_TOP = ("Version", "Id", "Statement")
_FIELDS = (
    *("Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction"),
    *("Resource", "NotResource", "Condition"),
)
_PRINCIPAL_KINDS = ("AWS", "CanonicalUser", "Service", "Federated")
_AWS_PRINCIPAL = re.compile(
    r"\*|\d{12}|A(?:ID|RO)A[A-Z0-9]{12,124}"
    r"|arn:aws:iam::(?:\d{12})?:(?:root|(?:user|role)/[\x21-\x29\x2b-\x3e\x40-\x7e]+)"
    r"|arn:aws:sts::(?:\d{12})?:(?:assumed-role/[\w+=,.@-]+/[\w+=,.@-]+|federated-user/[\w+=,.@-]+)"
)
_CANONICAL = re.compile(r"[0-9a-f]{64}")
_S3_ARN = "arn:aws:s3:::"


class Kind(Enum):
    """What a document is for."""

    IDENTITY = "identity"
    BUCKET = "bucket"
    TRUST = "trust"


@dataclass(frozen=True, slots=True)
class Principals:
    """Whom a statement is about, or with `negated` is not."""

    everyone: bool
    named: frozenset[tuple[str, str]]  # (kind, name): ("AWS", an ARN), ("CanonicalUser", an id)
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, ready to be asked."""

    sid: str
    allows: bool
    principals: Principals | None
    actions: tuple[Pattern, ...]
    not_actions: bool
    resources: tuple[Pattern, ...]
    not_resources: bool
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class PolicyDocument:
    """A policy that parsed."""

    text: str
    statements: tuple[Statement, ...]


# What is wrong -> what S3 says of a bucket policy, what IAM says of the others.
_WORDS = {
    "json": ("This policy contains invalid Json", "Syntax errors in policy."),
    "begin": (
        "Policies must be valid JSON and the first byte must be '{{'",
        "Syntax errors in policy.",
    ),
    "version": (
        "The policy must contain a valid version string",
        "Policy document must be version 2012-10-17 or greater.",
    ),
    "syntax": ("Invalid policy syntax.", "Syntax errors in policy."),
    "unknown": ("Unknown field {0}", "Syntax errors in policy."),
    "no statement": ("Missing required field Statement", "Syntax errors in policy."),
    "empty": ("Could not parse the policy: Statement is empty!", "Syntax errors in policy."),
    "sid": (
        "Statement IDs (SID) in a single policy must be unique.",
        "Statement IDs (SID) in a single policy must be unique.",
    ),
    "no effect": ("Missing required field Effect", "Syntax errors in policy."),
    "effect": ("Invalid effect: {0}", "Syntax errors in policy."),
    "no principal": (
        "Missing required field Principal",
        "Missing required field Principal",
    ),
    "principal": ("Invalid principal in policy", 'Invalid principal in policy: "{0}"'),
    "prohibited": ("Invalid policy syntax.", "Policy document should not specify a principal."),
    "no action": ("Missing required field Action", "Policy statement must contain actions."),
    "action": ("Policy has invalid action", "The policy failed legacy parsing"),
    "vendor": (
        "Policy has invalid action",
        "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.",
    ),
    "no resource": ("Missing required field Resource", "Policy statement must contain resources."),
    "resource": ("Policy has invalid resource", 'Resource {0} must be in ARN format or "*".'),
    "partition": (
        "Policy has invalid resource",
        'Partition "{1}" is not valid for resource "{0}".',
    ),
    "resource of a role": ("Invalid policy syntax.", "Has prohibited field Resource"),
    "applies": ("Action does not apply to any resource(s) in statement", "{0}"),
    "operator": ("Invalid Condition type : {0}", "Invalid Condition type : {0}"),
    "key": (
        "Policy has an invalid condition key",
        "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.",
    ),
    "value": ("Invalid value in Condition : {0}", "The policy failed legacy parsing"),
    "size": (
        f"Policy exceeds the maximum allowed document size of {BUCKET_POLICY_BYTES_MAX} bytes",
        f"The policy has more than {POLICY_DOCUMENT_CHARS_MAX} characters",
    ),
}


def parse_identity_policy(text: str) -> PolicyDocument:
    """A policy of a user, group, role or session. MalformedPolicy, with IAM's words."""
    return _parse(text, Kind.IDENTITY, "")


def parse_trust_policy(text: str) -> PolicyDocument:
    """The policy that says who may take a role. MalformedPolicy, with IAM's words."""
    return _parse(text, Kind.TRUST, "")


def parse_bucket_policy(text: str | bytes, bucket: str) -> PolicyDocument:
    """The policy of `bucket`. MalformedPolicy, with S3's words."""
    if isinstance(text, bytes):
        try:
            text = text.decode()
        except UnicodeDecodeError:
            raise MalformedPolicy(_WORDS["json"][0]) from None
    return _parse(text, Kind.BUCKET, bucket)


@lru_cache(maxsize=PARSED_POLICIES_CACHED_MAX)
def _parse(text: str, kind: Kind, bucket: str) -> PolicyDocument:
    return _Parser(kind, bucket).document(text)


def policy_size(text: str) -> int:
    """How much of IAM's quotas a document takes: its characters without white space."""
    return len("".join(text.split()))


class _Parser:
    """One document being parsed."""

    def __init__(self, kind: Kind, bucket: str) -> None:
        self._kind = kind
        self._bucket = bucket
        self._variables = False

    def _wrong(self, what: str, *words: object) -> NoReturn:
        text = _WORDS[what][0 if self._kind is Kind.BUCKET else 1]
        raise MalformedPolicy(text.format(*(str(word)[:200] for word in words)))

    def document(self, text: str) -> PolicyDocument:
        """MalformedPolicy."""
        size = len(text.encode(errors="replace")) if self._kind is Kind.BUCKET else len(text)
        if size > (
            BUCKET_POLICY_BYTES_MAX if self._kind is Kind.BUCKET else POLICY_DOCUMENT_CHARS_MAX
        ):
            self._wrong("size")
        if not text.lstrip().startswith("{"):
            self._wrong("begin")
        top = self._load(text)
        for name in top:
            if name not in _TOP:
                self._wrong("unknown", name)
        self._variables = self._version(top) == VERSION
        if not isinstance(top.get("Id", ""), str):
            self._wrong("syntax")
        statements = [self._statement(each) for each in self._statements(top)]
        sids = [each.sid for each in statements if each.sid]
        if len(sids) != len(set(sids)):
            self._wrong("sid")
        return PolicyDocument(text, tuple(statements))

    def _load(self, text: str) -> dict[str, Any]:
        try:
            top = json.loads(text, object_pairs_hook=_no_twins, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            self._wrong("json")
        assert isinstance(top, dict)
        return top

    def _version(self, top: dict[str, Any]) -> str:
        version = top.get("Version", OLD_VERSION)
        if version not in (VERSION, OLD_VERSION) or (
            self._kind is Kind.IDENTITY and version != VERSION
        ):
            self._wrong("version")
        assert isinstance(version, str)
        return version

    def _statements(self, top: dict[str, Any]) -> list[dict[str, Any]]:
        if "Statement" not in top:
            self._wrong("no statement")
        found = top["Statement"]
        found = found if isinstance(found, list) else [found]
        if not found:
            self._wrong("empty")
        if not all(isinstance(each, dict) for each in found):
            self._wrong("syntax")
        return found

    def _statement(self, fields: dict[str, Any]) -> Statement:
        for name in fields:
            if name not in _FIELDS:
                self._wrong("unknown", name)
        sid = fields.get("Sid", "")
        if not isinstance(sid, str):
            self._wrong("syntax")
        allows = self._effect(fields)
        principals = self._principals(fields)
        actions, not_actions = self._either(fields, "Action")
        resources, not_resources = self._resources(fields)
        statement = Statement(
            sid,
            allows,
            principals,
            tuple(self._action(each) for each in actions),
            not_actions,
            tuple(self._resource(each) for each in resources),
            not_resources,
            tuple(self._conditions(fields.get("Condition", {}))),
        )
        if self._kind is Kind.BUCKET:
            self._check_applies(statement)
        return statement

    def _effect(self, fields: dict[str, Any]) -> bool:
        if "Effect" not in fields:
            self._wrong("no effect")
        effect = fields["Effect"]
        if effect not in ("Allow", "Deny"):
            self._wrong("effect", effect)
        return bool(effect == "Allow")

    def _either(self, fields: dict[str, Any], name: str) -> tuple[list[str], bool]:
        """The values of `name` or of its opposite, and which of them it was."""
        opposite = "Not" + name
        if name in fields and opposite in fields:
            self._wrong("syntax")
        if name not in fields and opposite not in fields:
            self._wrong(f"no {name.lower()}")
        values = fields[opposite if opposite in fields else name]
        values = values if isinstance(values, list) else [values]
        if not all(isinstance(each, str) for each in values):
            self._wrong("syntax")
        if not values:
            self._wrong(f"no {name.lower()}")
        return values, opposite in fields

    # --- who -----------------------------------------------------------------------------------

    def _principals(self, fields: dict[str, Any]) -> Principals | None:
        given = [name for name in ("Principal", "NotPrincipal") if name in fields]
        if self._kind is Kind.IDENTITY:
            if given:
                self._wrong("prohibited")
            return None
        if not given:
            self._wrong("no principal")
        if len(given) > 1:
            self._wrong("syntax")
        value, negated = fields[given[0]], given[0] == "NotPrincipal"
        if value == "*":
            return Principals(True, frozenset(), negated)
        if not isinstance(value, dict) or not value:
            self._wrong("principal", value)
        named = {pair for kind in value for pair in self._named(kind, value[kind])}
        return Principals(("AWS", "*") in named, frozenset(named - {("AWS", "*")}), negated)

    def _named(self, kind: str, names: Any) -> Iterable[tuple[str, str]]:
        names = names if isinstance(names, list) else [names]
        if kind not in _PRINCIPAL_KINDS or not names:
            self._wrong("principal", kind)
        for name in names:
            if not isinstance(name, str) or not name:
                self._wrong("principal", name)
            if kind == "AWS" and not _AWS_PRINCIPAL.fullmatch(name):
                self._wrong("principal", name)
            if kind == "CanonicalUser" and not _CANONICAL.fullmatch(name):
                self._wrong("principal", name)
            yield kind, name

    # --- what ----------------------------------------------------------------------------------

    def _action(self, text: str) -> Pattern:
        vendor, colon, name = text.partition(":")
        pattern = Pattern(text, variables=False, ignore_case=True)
        if text == "*":
            return pattern
        if not colon or not vendor:
            self._wrong("vendor")
        if not re.fullmatch(r"[\w.-]+", vendor) or not re.fullmatch(r"[\w*?-]+", name):
            self._wrong("action")
        if self._kind is Kind.BUCKET and not any(
            pattern.matches(action, {}) for action in S3_ACTIONS
        ):
            self._wrong("action")
        return pattern

    def _resources(self, fields: dict[str, Any]) -> tuple[list[str], bool]:
        if self._kind is Kind.TRUST:
            if "Resource" in fields or "NotResource" in fields:
                self._wrong("resource of a role")
            return ["*"], False
        return self._either(fields, "Resource")

    def _resource(self, text: str) -> Pattern:
        pattern = Pattern(text, variables=self._variables)
        if text == "*":
            return pattern
        parts = text.split(":", 5)
        if len(parts) < 6 or parts[0] != "arn":
            self._wrong("resource", text)
        if parts[1] not in ("aws", "*"):
            self._wrong("partition", text, parts[1])
        if self._kind is Kind.BUCKET:
            name = text.removeprefix(_S3_ARN).partition("/")[0]
            if not text.startswith(_S3_ARN) or not Pattern(name, variables=False).matches(
                self._bucket, {}
            ):
                self._wrong("resource", text)
        return pattern

    def _check_applies(self, statement: Statement) -> None:
        if statement.not_actions or statement.not_resources:
            return
        kinds = {kind for each in statement.resources for kind in _kinds_of(each.text)}
        for action in statement.actions:
            if not any(
                kind in kinds for name, kind in S3_ACTIONS.items() if action.matches(name, {})
            ):
                self._wrong("applies")

    # --- when ----------------------------------------------------------------------------------

    def _conditions(self, block: Any) -> Iterable[Condition]:
        if not isinstance(block, dict):
            self._wrong("syntax")
        for operator, keys in block.items():
            if not isinstance(keys, dict):
                self._wrong("syntax")
            for key, values in keys.items():
                yield self._condition(operator, key, values)

    def _condition(self, operator: str, key: str, values: Any) -> Condition:
        texts = [self._text(each) for each in (values if isinstance(values, list) else [values])]
        vendor, colon, name = key.partition(":")
        if not (vendor and colon and name):
            self._wrong("key")
        try:
            return parse_condition(operator, key, texts, variables=self._variables)
        except UnknownOperator:
            self._wrong("operator", operator)
        except ValueError:
            self._wrong("value", ", ".join(texts))

    def _text(self, value: Any) -> str:
        if isinstance(value, str):
            return value
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int | float):
            return str(value)
        self._wrong("syntax")


def _kinds_of(resource: str) -> Sequence[str]:
    """Which kinds of resource a bucket policy's pattern can mean."""
    bucket, slash, _ = resource.removeprefix(_S3_ARN).partition("/")
    if slash:
        return (OBJECT,)
    return (BUCKET, OBJECT) if bucket.endswith("*") else (BUCKET,)


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
