"""Who asks: an identity as policies see it, and the names of things (ARNs, unique ids).

A store is one *account*: its number and the account's canonical id are made of the store's id, so
they are the same wherever the store is opened. Each user has a canonical id of its own: what a user
makes belongs to that id, and access control lists can name it.

Source: AWS, IAM identifiers.
"""

import datetime
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from objfs.auth.policy_document import PolicyDocument

USER = "user"
ROLE_SESSION = "role session"
ACCOUNT_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Account:
    """The account that a store is."""

    number: str  # twelve digits
    canonical: str  # 64 hexadecimal digits: the owner of what no user owns

    @property
    def root(self) -> str:
        """The ARN that means the whole account."""
        return f"arn:aws:iam::{self.number}:root"

    def arn(self, kind: str, name: str, path: str = "/") -> str:
        """Of a user, group, role or policy."""
        return f"arn:aws:iam::{self.number}:{kind}{path}{name}"


def account_of(store_id: bytes) -> Account:
    """The account of a store, from its 16-byte id."""
    digest = hashlib.sha256(b"objfs account\0" + store_id)
    number = int.from_bytes(digest.digest()[:8], "big") % 10**ACCOUNT_DIGITS
    return Account(f"{number:0{ACCOUNT_DIGITS}}", digest.hexdigest())


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody who proved who they are."""

    kind: str  # USER or ROLE_SESSION
    account: Account
    arn: str  # arn:aws:iam::...:user/NAME, arn:aws:sts::...:assumed-role/ROLE/SESSION
    user_id: str  # AIDA...; of a session AROA...:SESSION
    name: str  # of a user; "" for a session
    canonical: str  # the owner of what they make
    policies: tuple[PolicyDocument, ...] = ()  # their own and their groups' or role's
    role_arn: str = ""  # of a session
    uid: int = -1  # the owner of files that they make; -1: not set
    gid: int = -1
    tags: Mapping[str, str] = field(default_factory=dict)
    session: Mapping[str, str] = field(default_factory=dict)  # condition keys of temporary keys

    @property
    def names(self) -> Sequence[str]:
        """What a policy may call them, other than by their account."""
        names = [self.arn, self.user_id]
        if self.role_arn:
            names += [self.role_arn, self.user_id.partition(":")[0]]
        return names


def principal_context(identity: Identity | None) -> dict[str, tuple[str, ...]]:
    """The condition keys that tell who asks; the request adds its own."""
    if identity is None:
        return {"aws:principaltype": ("Anonymous",), "aws:userid": ("anonymous",)}
    context: dict[str, tuple[str, ...]] = {
        "aws:principalarn": (identity.role_arn or identity.arn,),
        "aws:principalaccount": (identity.account.number,),
        "aws:principaltype": ("User" if identity.kind == USER else "AssumedRole",),
        "aws:userid": (identity.user_id,),
        "objfs:canonicaluser": (identity.canonical,),
    }
    if identity.name:
        context["aws:username"] = (identity.name,)
    for name, value in identity.tags.items():
        context[f"aws:principaltag/{name.lower()}"] = (value,)
    context.update((name, (value,)) for name, value in identity.session.items())
    return context


def request_context(
    identity: Identity | None,
    *,
    time_ns: int,
    source: str,
    secure: bool,
    bucket_owner: str = "",
    region: str = "",
    user_agent: str | None = None,
    referer: str | None = None,
) -> dict[str, tuple[str, ...]]:
    """The condition keys that every request has. `source` is the peer's address, `secure` whether
    it came over TLS. The operation adds its own (`s3:prefix`...) to the dict."""
    seconds = time_ns // 10**9
    when = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    context = principal_context(identity)
    context["aws:currenttime"] = (f"{when:%Y-%m-%dT%H:%M:%SZ}",)
    context["aws:epochtime"] = (str(seconds),)
    context["aws:securetransport"] = ("true" if secure else "false",)
    given = {
        "aws:sourceip": source,
        "objfs:bucketowner": bucket_owner,
        "aws:requestedregion": region,
        "aws:useragent": user_agent,
        "aws:referer": referer,
    }
    context.update((key, (value,)) for key, value in given.items() if value)
    return context
