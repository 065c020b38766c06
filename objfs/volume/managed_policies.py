"""Policies: managed ones with up to five versions, attached by ARN; and those that a user, group or
role has of its own, inline. Documents are checked when they come; the store keeps their text.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from objfs.auth.managed import ARN_PREFIX, BUILT_IN, built_in
from objfs.auth.policy_document import parse_identity_policy, policy_size
from objfs.base.errors import AlreadyExists, InvalidRequest, LimitExceeded, NotFound, StillNeeded
from objfs.base.limits import (
    ATTACHED_POLICIES_MAX,
    GROUP_POLICY_CHARS_MAX,
    INLINE_POLICIES_MAX,
    MANAGED_POLICY_CHARS_MAX,
    POLICIES_MAX,
    POLICY_VERSIONS_MAX,
    ROLE_POLICY_CHARS_MAX,
    USER_POLICY_CHARS_MAX,
)
from objfs.meta.database import Change
from objfs.meta.rows import Policy, PolicyVersion, Principal
from objfs.meta.tables import POLICY, POLICY_VERSION, PRINCIPAL
from objfs.volume.identity_rows import (
    GROUP,
    ROLE,
    USER,
    IdentityRows,
    check_name,
    check_path,
    checked_tags,
    fold,
    without,
)

INLINE_CHARS_MAX = {
    USER: USER_POLICY_CHARS_MAX,
    GROUP: GROUP_POLICY_CHARS_MAX,
    ROLE: ROLE_POLICY_CHARS_MAX,
}
_BUILT_IN_IDS = {name: f"ANPA{index:017}" for index, name in enumerate(sorted(BUILT_IN))}


class Policies:
    """The verbs of policies."""

    def __init__(self, rows: IdentityRows) -> None:
        self._rows = rows

    # --- managed policies ------------------------------------------------------------------------

    def arn(self, row: Policy) -> str:
        """Of a managed policy; a built-in one has AWS's."""
        if _BUILT_IN_IDS.get(row.name) == row.id:
            return ARN_PREFIX + row.name
        return self._rows.account.arn("policy", row.name, row.path)

    def get(self, arn: str) -> Policy:
        """A managed policy by its ARN. NotFound."""
        found = self._find(arn)
        if found is None:
            raise NotFound(f"Policy {arn} was not found.")
        return found

    def _find(self, arn: str) -> Policy | None:
        if built_in(arn) is not None:
            return _built_in_row(arn.removeprefix(ARN_PREFIX))
        row = self._rows.database.get(POLICY, fold(arn.rpartition("/")[2]))
        return row if row is not None and self.arn(row).lower() == arn.lower() else None

    def arn_of(self, text: str) -> str:
        """The ARN that a name or an ARN means; of two with the name, the store's own. NotFound."""
        if text.startswith("arn:"):
            return self.arn(self.get(text))
        row = self._rows.database.get(POLICY, fold(text))
        if row is not None:
            return self.arn(row)
        for name in BUILT_IN:
            if fold(name) == fold(text):
                return ARN_PREFIX + name
        raise NotFound(f"Policy {text} was not found: `objfs policy list` shows them")

    def all(self, *, own: bool = True, built_in: bool = True, path: str = "/") -> list[Policy]:
        """Managed policies by name, the built-in ones last."""
        found = self._rows.database.scan(POLICY) if own else []
        if built_in:
            found += [_built_in_row(name) for name in BUILT_IN]
        return [each for each in found if each.path.startswith(path)]

    def create(
        self,
        name: str,
        document: str,
        *,
        path: str = "/",
        description: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> Policy:
        """AlreadyExists, InvalidRequest, LimitExceeded, MalformedPolicy."""
        check_name("policy", name)
        check_path(path)
        _check_managed(document)
        if self._rows.database.get(POLICY, fold(name)) is not None:
            raise AlreadyExists(
                f"A policy called {name} already exists. Duplicate names are not allowed."
            )
        if len(self._rows.database.scan(POLICY, limit=POLICIES_MAX)) >= POLICIES_MAX:
            raise LimitExceeded(f"Cannot exceed quota for PoliciesPerAccount: {POLICIES_MAX}")
        with self._rows.change() as change:
            row = Policy(
                fold(name),
                self._rows.new_id(change, "policy"),
                name,
                change.time_ns,
                change.time_ns,
                path,
                description[:1000],
                tags=checked_tags(tags or {}),
            )
            change.put(row)
            change.put(PolicyVersion(row.key, 1, document, change.time_ns))
        return row

    def delete(self, arn: str, *, force: bool = False) -> Policy:
        """NotFound, StillNeeded. With `force` it is detached and its versions go too."""
        row = self._own(arn)
        arn = self.arn(row)
        versions = self._rows.database.scan(POLICY_VERSION, (row.key,))
        attached = self.attachments(arn)
        if not force:
            if attached:
                raise StillNeeded("Cannot delete a policy attached to entities.")
            if len(versions) > 1:
                raise StillNeeded(
                    "This policy has more than one version. Before you delete a policy, you must "
                    "delete the policy's versions. The default version is deleted with the policy."
                )
        for each in attached:
            self.detach(each.kind, each.name, arn)
        with self._rows.change() as change:
            for version in versions:
                change.delete(POLICY_VERSION, row.key, version.version)
            change.delete(POLICY, row.key)
        return row

    def versions(self, arn: str) -> list[PolicyVersion]:
        """Newest first. NotFound."""
        row = self.get(arn)
        text = built_in(arn)
        if text is not None:
            return [PolicyVersion(row.key, 1, text, row.created_ns)]
        return self._rows.database.scan(POLICY_VERSION, (row.key,), reverse=True)

    def version(self, arn: str, number: int | None = None) -> PolicyVersion:
        """One version, None: the one that counts. NotFound."""
        wanted = self.get(arn).current if number is None else number
        for each in self.versions(arn):
            if each.version == wanted:
                return each
        raise NotFound(f"Policy {arn} version v{wanted} does not exist or is not attachable.")

    def document(self, arn: str) -> str | None:
        """The text that counts of a managed policy; None if there is none of this ARN."""
        text = built_in(arn)
        if text is not None:
            return text
        row = self._find(arn)
        if row is None:
            return None
        version = self._rows.database.get(POLICY_VERSION, row.key, row.current)
        return version.document if version is not None else None

    def create_version(self, arn: str, document: str, *, current: bool) -> PolicyVersion:
        """Another version of a policy; with `current` it counts from now on. NotFound,
        LimitExceeded, MalformedPolicy."""
        row = self._own(arn)
        _check_managed(document)
        if len(self._rows.database.scan(POLICY_VERSION, (row.key,))) >= POLICY_VERSIONS_MAX:
            raise LimitExceeded(
                f"A managed policy can have up to {POLICY_VERSIONS_MAX} versions. Before you "
                "create a new version, you must delete an existing version."
            )
        with self._rows.change() as change:
            return _add_version(change, row, document, current)

    def put(self, name: str, document: str, *, path: str = "/") -> Policy:
        """Make the policy, or give it this document; of its versions the oldest goes when there
        would be too many. InvalidRequest, MalformedPolicy, LimitExceeded."""
        row = self._rows.database.get(POLICY, fold(name))
        if row is None:
            return self.create(name, document, path=path)
        _check_managed(document)
        with self._rows.change() as change:
            kept = change.scan(POLICY_VERSION, (row.key,))
            for old in kept[: max(len(kept) - POLICY_VERSIONS_MAX + 1, 0)]:
                change.delete(POLICY_VERSION, row.key, old.version)
            _add_version(change, row, document, True)
        return self.get(self.arn(row))

    def set_current(self, arn: str, number: int) -> None:
        """NotFound."""
        row = self._own(arn)
        self.version(arn, number)
        with self._rows.change() as change:
            change.put(replace(row, current=number, updated_ns=change.time_ns))

    def delete_version(self, arn: str, number: int) -> None:
        """NotFound, StillNeeded for the one that counts."""
        row = self._own(arn)
        self.version(arn, number)
        if number == row.current:
            raise StillNeeded("Cannot delete the default version of a policy.")
        with self._rows.change() as change:
            change.delete(POLICY_VERSION, row.key, number)
            change.put(replace(row, updated_ns=change.time_ns))

    def _own(self, arn: str) -> Policy:
        if built_in(arn) is not None:
            raise InvalidRequest(f"Policy {arn} is built in and cannot be changed.")
        return self.get(arn)

    # --- attached policies -----------------------------------------------------------------------

    def attach(self, kind: str, name: str, arn: str) -> None:
        """Nothing happens if it is attached already. NotFound, LimitExceeded."""
        arn = self.arn(self.get(arn))
        row = self._rows.principal(kind, name)
        if arn in row.attached:
            return
        if len(row.attached) >= ATTACHED_POLICIES_MAX:
            raise LimitExceeded(
                f"Cannot exceed quota for PoliciesPer{kind.title()}: {ATTACHED_POLICIES_MAX}"
            )
        self._put(replace(row, attached=[*row.attached, arn]))

    def detach(self, kind: str, name: str, arn: str) -> None:
        """NotFound, also if it is not attached."""
        row = self._rows.principal(kind, name)
        for attached in row.attached:
            if attached.lower() == arn.lower():
                self._put(replace(row, attached=without(row.attached, attached)))
                return
        raise NotFound(f"Policy {arn} was not found.")

    def attachments(self, arn: str) -> list[Principal]:
        """The users, groups and roles that it is attached to."""
        return [row for row in self._rows.database.scan(PRINCIPAL) if arn in row.attached]

    # --- inline policies -------------------------------------------------------------------------

    def put_inline(self, kind: str, name: str, policy: str, document: str) -> None:
        """NotFound, InvalidRequest, LimitExceeded, MalformedPolicy."""
        check_name("policy", policy)
        parse_identity_policy(document)
        row = self._rows.principal(kind, name)
        inline = row.inline | {policy: document}
        size = sum(map(policy_size, inline.values()))
        if size > INLINE_CHARS_MAX[kind]:
            raise LimitExceeded(
                f"Maximum policy size of {INLINE_CHARS_MAX[kind]} bytes exceeded for {kind} {name}"
            )
        if len(inline) > INLINE_POLICIES_MAX:
            raise LimitExceeded(f"a {kind} has at most {INLINE_POLICIES_MAX} policies of its own")
        self._put(replace(row, inline=inline))

    def inline(self, kind: str, name: str, policy: str) -> str:
        """The document. NotFound."""
        found = self._rows.principal(kind, name).inline.get(policy)
        if found is None:
            raise NotFound(f"The {kind} policy with name {policy} cannot be found.")
        return found

    def delete_inline(self, kind: str, name: str, policy: str) -> None:
        """NotFound."""
        self.inline(kind, name, policy)
        row = self._rows.principal(kind, name)
        kept = {each: text for each, text in row.inline.items() if each != policy}
        self._put(replace(row, inline=kept))

    def _put(self, row: Principal) -> None:
        with self._rows.change() as change:
            change.put(row)


def _add_version(change: Change, row: Policy, document: str, current: bool) -> PolicyVersion:
    number = row.made + 1
    version = PolicyVersion(row.key, number, document, change.time_ns)
    change.put(version)
    change.put(
        replace(
            row,
            made=number,
            current=number if current else row.current,
            updated_ns=change.time_ns,
        )
    )
    return version


def _built_in_row(name: str) -> Policy:
    return Policy(fold(name), _BUILT_IN_IDS[name], name, 0, 0, description="built in")


def _check_managed(document: str) -> None:
    parse_identity_policy(document)
    if policy_size(document) > MANAGED_POLICY_CHARS_MAX:
        raise LimitExceeded(f"Cannot exceed quota for PolicySize: {MANAGED_POLICY_CHARS_MAX}")
