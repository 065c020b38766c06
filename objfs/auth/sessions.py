"""Temporary credentials, as STS issues them: an access key, a secret and a token that says it all.

The token is the session itself, encrypted with a store key: nothing is stored, any process that has
the store keys can verify it, and without them it can be neither made nor changed. What it names (a
role, a user) is looked up at each request: one that is gone, or may do less now, takes its sessions
with it.
"""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence

import msgspec

from objfs.auth.causes import Cause, refused
from objfs.auth.secrets import TEMPORARY, StoreKeys, new_access_key_id, new_secret
from objfs.base.errors import InvalidRequest, NotAuthenticated, StoreKeyMissing
from objfs.base.limits import (
    SESSION_NAME_CHARS_MAX,
    SESSION_POLICY_BYTES_MAX,
    SESSION_SECONDS,
    SESSION_SECONDS_MAX,
    SESSION_SECONDS_MIN,
    SESSION_TOKEN_BYTES_MAX,
)
from objfs.base.ports import Randomness

_CONTEXT = b"session"
_NAME = re.compile(rf"[\w+=,.@-]{{2,{SESSION_NAME_CHARS_MAX}}}", re.ASCII)
_SECOND_NS = 1_000_000_000


class Session(msgspec.Struct, frozen=True, array_like=True):
    """What temporary credentials stand for. Fields are only added at the end, with a default."""

    access_key: str
    secret: str
    principal: str  # the unique id of the role or user: a name can be of another one later
    name: str  # of the session, chosen by who took it
    issued_ns: int
    expires_ns: int
    policy: str = ""  # a document: the session may do what it and the principal's allow
    attributes: dict[str, str] = {}  # for conditions: of a web identity, say
    policy_arns: tuple[str, ...] = ()  # managed policies that count like `policy`

    def __repr__(self) -> str:
        return f"Session({self.access_key}, {self.principal}/{self.name})"


class Issued(msgspec.Struct, frozen=True):
    """A session and its token, for the client."""

    session: Session
    token: str


def issue(
    principal: str,
    name: str,
    now_ns: int,
    keys: StoreKeys,
    randomness: Randomness,
    *,
    seconds: int = SESSION_SECONDS,
    seconds_max: int = SESSION_SECONDS_MAX,
    policy: str = "",
    policy_arns: Sequence[str] = (),
    attributes: Mapping[str, str] | None = None,
) -> Issued:
    """New credentials for a principal. `seconds_max` is the role's, or that of sessions of users.
    InvalidRequest for a name, a duration or a size that STS does not take."""
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            f"RoleSessionName must have 2 to {SESSION_NAME_CHARS_MAX} letters, digits or _+=,.@-"
        )
    longest = max(seconds_max, SESSION_SECONDS_MAX)
    if not SESSION_SECONDS_MIN <= seconds <= longest:
        raise InvalidRequest(f"DurationSeconds must be {SESSION_SECONDS_MIN} to {longest}")
    if seconds > seconds_max:
        raise InvalidRequest(
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
        )
    if len(policy.encode()) > SESSION_POLICY_BYTES_MAX:
        raise InvalidRequest(f"the session policy has over {SESSION_POLICY_BYTES_MAX} bytes")
    session = Session(
        access_key=new_access_key_id(randomness, TEMPORARY),
        secret=new_secret(randomness),
        principal=principal,
        name=name,
        issued_ns=now_ns,
        expires_ns=now_ns + seconds * _SECOND_NS,
        policy=policy,
        attributes=dict(attributes or {}),
        policy_arns=tuple(policy_arns),
    )
    sealed = keys.encrypt(msgspec.msgpack.encode(session), _CONTEXT, randomness)
    token = base64.urlsafe_b64encode(sealed).decode().rstrip("=")
    if len(token) > SESSION_TOKEN_BYTES_MAX:
        raise InvalidRequest(f"the session's token would have over {SESSION_TOKEN_BYTES_MAX} bytes")
    return Issued(session, token)


def read_token(token: str, access_key: str, keys: StoreKeys, now_ns: int) -> Session:
    """The session of a token that came with this access key. NotAuthenticated when the token is
    none of ours, of another key, or over."""
    if len(token) > SESSION_TOKEN_BYTES_MAX:
        raise _invalid()
    try:
        padded = token.encode("ascii") + b"=" * (-len(token) % 4)
        sealed = base64.b64decode(padded, altchars=b"-_", validate=True)
        session = msgspec.msgpack.decode(keys.decrypt(sealed, _CONTEXT), type=Session)
    except (binascii.Error, UnicodeEncodeError, StoreKeyMissing, msgspec.DecodeError):
        raise _invalid() from None
    if session.access_key != access_key:
        raise _invalid()
    if now_ns >= session.expires_ns:
        raise refused(Cause.EXPIRED_TOKEN, "The provided token has expired.")
    return session


def _invalid() -> NotAuthenticated:
    return refused(Cause.INVALID_TOKEN, "The provided token is malformed or otherwise invalid.")
