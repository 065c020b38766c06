"""Identities of a store: the verbs about them, and who signs with which key.

`resolve` is asked for every request, so what it finds is kept in memory: at most
IDENTITIES_CACHED_MAX keys, all of them forgotten when anything about identities changes. A policy
that does not parse any more, which no verb stores, denies everything to whom it belongs to.
"""

import logging
from collections.abc import Callable, Iterable
from typing import NamedTuple

from cachetools import LRUCache

from objfs.auth.identity import ROLE_SESSION, Identity
from objfs.auth.identity import USER as USER_IDENTITY
from objfs.auth.policy_document import PolicyDocument, parse_identity_policy
from objfs.auth.secrets import StoreKeys
from objfs.base.errors import MalformedPolicy, NotFound
from objfs.base.limits import IDENTITIES_CACHED_MAX
from objfs.base.ports import Randomness
from objfs.meta.rows import AccessKey, Policy, PolicyVersion, Principal, Provider
from objfs.meta.tables import ACCESS_KEY, PRINCIPAL
from objfs.volume.access_keys import AccessKeys
from objfs.volume.core import Core
from objfs.volume.identity_rows import GROUP, ROLE, USER, IdentityRows
from objfs.volume.managed_policies import Policies
from objfs.volume.principals import Principals
from objfs.volume.providers import Providers

__all__ = [
    "GROUP",
    "ROLE",
    "USER",
    "AccessKey",
    "Identities",
    "KeyHolder",
    "Policy",
    "PolicyVersion",
    "Principal",
    "Provider",
]

logger = logging.getLogger(__name__)

_DENY_ALL = parse_identity_policy(
    '{"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}}'
)


class KeyHolder(NamedTuple):
    """What an access key is."""

    key_id: str
    secret: str
    active: bool
    identity: Identity


class Identities:
    """Users, groups, roles, keys, policies and issuers of a volume."""

    def __init__(self, core: Core) -> None:
        self._cache: LRUCache[str, KeyHolder] = LRUCache(IDENTITIES_CACHED_MAX)
        self._sessions: LRUCache[tuple[str, str], Identity] = LRUCache(IDENTITIES_CACHED_MAX)
        self._rows = rows = IdentityRows(core, self._forget)
        self._database = core.database
        self.account = rows.account
        self.principals = Principals(rows)
        self.keys = AccessKeys(core, rows)
        self.policies = Policies(rows)
        self.providers = Providers(rows)

    def use(self, load: Callable[[], StoreKeys], randomness: Randomness) -> None:
        """What makes and reads secrets from now on; `load` is called at the first need."""
        self.keys.use(load, randomness)
        self._forget()

    def _forget(self) -> None:
        self._cache.clear()
        self._sessions.clear()

    def resolve(self, key_id: str) -> KeyHolder | None:
        """Who signs with this access key; None if there is no such key. A key that is not active is
        found too. StoreKeyMissing."""
        found = self._cache.get(key_id)
        if found is None:
            row = self._database.get(ACCESS_KEY, key_id)
            user = self._database.get(PRINCIPAL, USER, row.user) if row is not None else None
            if row is None or user is None:
                return None
            found = KeyHolder(key_id, self.keys.secret(row), row.active, self._of_user(user))
            self._cache[key_id] = found
        return found

    def user(self, name: str) -> Identity:
        """A user as policies see it. NotFound."""
        return self._of_user(self._rows.principal(USER, name))

    def _of_user(self, row: Principal) -> Identity:
        groups = [self._rows.find(GROUP, key) for key in row.groups]
        policies = [
            policy
            for each in (row, *(group for group in groups if group is not None))
            for policy in self._policies_of(each)
        ]
        return Identity(
            USER_IDENTITY,
            self.account,
            self._rows.arn(row),
            row.id,
            row.name,
            row.canonical,
            tuple(policies),
            uid=row.uid,
            gid=row.gid,
            tags=row.tags,
        )

    def session(self, principal: str, name: str) -> Identity:
        """Who has temporary credentials, made for the principal with this unique id, under the name
        of a session. Of a role: what they make belongs to the account. Of a user: that user.
        NotFound when the principal is gone, even if another has its name."""
        found = self._sessions.get((principal, name))
        if found is None:
            rows = self._database.scan(PRINCIPAL, (principal,), index="id", limit=1)
            if not rows or rows[0].kind == GROUP:
                raise NotFound(f"The principal with id {principal} cannot be found.")
            row = rows[0]
            found = self._of_user(row) if row.kind == USER else self._of_role(row, name)
            self._sessions[principal, name] = found
        return found

    def _of_role(self, row: Principal, session: str) -> Identity:
        return Identity(
            ROLE_SESSION,
            self.account,
            f"arn:aws:sts::{self.account.number}:assumed-role/{row.name}/{session}",
            f"{row.id}:{session}",
            "",
            self.account.canonical,
            tuple(self._policies_of(row)),
            role_arn=self._rows.arn(row),
            tags=row.tags,
        )

    def _policies_of(self, row: Principal) -> Iterable[PolicyDocument]:
        for text in row.inline.values():
            yield _parsed(text, row)
        for arn in row.attached:
            document = self.policies.document(arn)
            if document is not None:
                yield _parsed(document, row)

    # --- owners ----------------------------------------------------------------------------------

    def owner(self, canonical: str) -> str:
        """Whose a bucket is by its stored owner: of what no user owns, it is the account."""
        return canonical or self.account.canonical

    def display_name(self, canonical: str) -> str:
        """The name of who has a canonical id; of the account and of who is gone, the id itself."""
        found = self._database.scan(PRINCIPAL, (canonical,), index="canonical", limit=1)
        return found[0].name if canonical and found else canonical

    def known(self, principal: str) -> bool:
        """Whether there is who a bucket policy names as `{"AWS": principal}`: an ARN or a unique
        id. Accounts and `*` are known."""
        if not principal.startswith("arn:"):
            found = self._database.scan(PRINCIPAL, (principal,), index="id", limit=1)
            return not principal.startswith("A") or bool(found)
        _, _, service, _, account, rest = principal.split(":", 5)
        if account not in ("", self.account.number):
            return False
        kind, _, name = rest.partition("/")
        if kind == "root":
            return True
        if service == "sts":
            return kind != "assumed-role" or self._rows.find(ROLE, name.split("/")[0]) is not None
        row = self._rows.find(kind, name.rpartition("/")[2])
        return row is not None and self._rows.arn(row).endswith(":" + rest)


def _parsed(text: str, row: Principal) -> PolicyDocument:
    try:
        return parse_identity_policy(text)
    except MalformedPolicy as error:
        logger.error("a policy of the %s %s denies everything: %s", row.kind, row.name, error)
        return _DENY_ALL
