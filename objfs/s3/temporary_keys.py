"""Who signs with temporary credentials: the token that comes with each request, read and looked up.

Promises: what a session may is decided by what its role or user may now; a session whose role or
user is gone is nobody's, at once, also when another has taken the name. What narrows a session (a
document of its own, managed policies) never gets lost: a managed policy that is gone allows
nothing.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from objfs.auth.causes import Cause, refused
from objfs.auth.claims import iso
from objfs.auth.identity import Identity
from objfs.auth.policy_document import PolicyDocument, parse_identity_policy
from objfs.auth.sessions import Session, read_token
from objfs.base.errors import NotFound
from objfs.volume.identities import Identities

_DENY_ALL = (
    '{"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}}'
)


class TemporaryKey(NamedTuple):
    """An access key of a session and who has it."""

    secret: str
    identity: Identity
    session_policies: tuple[PolicyDocument, ...]
    active: bool = True


def resolve_session(who: Identities, access_key: str, token: str, now_ns: int) -> TemporaryKey:
    """Who signs with this key and token. NotAuthenticated, StoreKeyMissing."""
    keys, _ = who.keys.store_keys()
    session = read_token(token, access_key, keys, now_ns)
    try:
        identity = who.session(session.principal, session.name)
    except NotFound:
        raise refused(
            Cause.UNKNOWN_KEY,
            "The AWS Access Key Id you provided does not exist in our records.",
            AWSAccessKeyId=access_key,
        ) from None
    context = {
        **session.attributes,
        "aws:tokenissuetime": iso(session.issued_ns),
        "aws:multifactorauthpresent": "false",
    }
    return TemporaryKey(
        session.secret, replace(identity, session=context), tuple(_policies(who, session))
    )


def _policies(who: Identities, session: Session) -> Iterator[PolicyDocument]:
    if session.policy:
        yield parse_identity_policy(session.policy)
    for arn in session.policy_arns:
        yield parse_identity_policy(who.policies.document(arn) or _DENY_ALL)
