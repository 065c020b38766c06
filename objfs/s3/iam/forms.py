"""The XML of what IAM's answers show: users, groups, roles, keys, policies, issuers, lists."""

import datetime
from collections.abc import Callable, Iterable
from typing import TypeVar
from urllib.parse import quote

from objfs.s3.iam.parameters import Page
from objfs.s3.xml_writer import element, tree
from objfs.volume.identities import (
    AccessKey,
    Identities,
    Policy,
    PolicyVersion,
    Principal,
    Provider,
)

T = TypeVar("T")


def date(time_ns: int) -> str:
    """Whole seconds, as IAM has them."""
    when = datetime.datetime.fromtimestamp(time_ns // 10**9, datetime.UTC)
    return f"{when:%Y-%m-%dT%H:%M:%SZ}"


def encoded(document: str) -> str:
    """A policy in an answer is percent-encoded (RFC 3986)."""
    return quote(document, safe="")


def members(name: str, parts: Iterable[str]) -> str:
    """A list."""
    return tree(name, (tree("member", part) for part in parts))


def page_of(name: str, page: Page[T], form: Callable[[T], str]) -> str:
    """A page of a list, and whether there is more."""
    return (
        element("IsTruncated", bool(page.marker))
        + members(name, (form(each) for each in page.items))
        + element("Marker", page.marker or None)
    )


def tags(given: dict[str, str]) -> str:
    """Nothing for none."""
    if not given:
        return ""
    return members(
        "Tags", (element("Key", key) + element("Value", value) for key, value in given.items())
    )


def user(who: Identities, row: Principal) -> str:
    """The parts of a User."""
    return (
        element("Path", row.path)
        + element("UserName", row.name)
        + element("UserId", row.id)
        + element("Arn", who.principals.arn(row))
        + element("CreateDate", date(row.created_ns))
        + tags(row.tags)
    )


def group(who: Identities, row: Principal) -> str:
    """The parts of a Group."""
    return (
        element("Path", row.path)
        + element("GroupName", row.name)
        + element("GroupId", row.id)
        + element("Arn", who.principals.arn(row))
        + element("CreateDate", date(row.created_ns))
    )


def role(who: Identities, row: Principal) -> str:
    """The parts of a Role."""
    return (
        element("Path", row.path)
        + element("RoleName", row.name)
        + element("RoleId", row.id)
        + element("Arn", who.principals.arn(row))
        + element("CreateDate", date(row.created_ns))
        + element("AssumeRolePolicyDocument", encoded(row.trust))
        + element("Description", row.description or None)
        + element("MaxSessionDuration", row.session_seconds)
        + tags(row.tags)
    )


def key(user_name: str, row: AccessKey) -> str:
    """The parts of AccessKeyMetadata."""
    return (
        element("UserName", user_name)
        + element("AccessKeyId", row.id)
        + element("Status", "Active" if row.active else "Inactive")
        + element("CreateDate", date(row.created_ns))
    )


def policy(who: Identities, row: Policy) -> str:
    """The parts of a Policy."""
    arn = who.policies.arn(row)
    return (
        element("PolicyName", row.name)
        + element("PolicyId", row.id)
        + element("Arn", arn)
        + element("Path", row.path)
        + element("DefaultVersionId", f"v{row.current}")
        + element("AttachmentCount", len(who.policies.attachments(arn)))
        + element("PermissionsBoundaryUsageCount", 0)
        + element("IsAttachable", True)
        + element("Description", row.description or None)
        + element("CreateDate", date(row.created_ns))
        + element("UpdateDate", date(row.updated_ns))
        + tags(row.tags)
    )


def policy_version(row: PolicyVersion, current: int, *, document: bool) -> str:
    """The parts of a PolicyVersion."""
    return (
        (element("Document", encoded(row.document)) if document else "")
        + element("VersionId", f"v{row.version}")
        + element("IsDefaultVersion", row.version == current)
        + element("CreateDate", date(row.created_ns))
    )


def provider(row: Provider) -> str:
    """What GetOpenIDConnectProvider shows."""
    return (
        element("Url", row.url)
        + members("ClientIDList", map(_text, row.clients))
        + members("ThumbprintList", map(_text, row.thumbprints))
        + element("CreateDate", date(row.created_ns))
        + tags(row.tags)
    )


def texts(name: str, values: Iterable[str]) -> str:
    """A list of plain texts."""
    return members(name, map(_text, values))


def _text(value: str) -> str:
    return element("x", value)[len("<x>") : -len("</x>")]
