"""Users, groups and roles: made, listed, changed, deleted.

A user may be in groups and gets their policies too. What is deleted must be empty first: a user of
keys, policies and groups, a group of users and policies, a role of policies; or `force` says that
all that goes with it.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from objfs.auth.policy_document import parse_trust_policy, policy_size
from objfs.base.errors import AlreadyExists, InvalidRequest, LimitExceeded, NotFound, StillNeeded
from objfs.base.limits import (
    GROUPS_PER_USER_MAX,
    ROWS_PER_BATCH_MAX,
    TRUST_POLICY_CHARS_MAX,
)
from objfs.meta.rows import Principal
from objfs.meta.tables import ACCESS_KEY, PRINCIPAL
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

SESSION_SECONDS_MIN, SESSION_SECONDS_MAX = 3600, 43_200
DESCRIPTION_CHARS_MAX = 1000


class Principals:
    """The verbs of users, groups and roles."""

    def __init__(self, rows: IdentityRows) -> None:
        self._rows = rows
        self.get = rows.principal
        self.find = rows.find
        self.all = rows.principals
        self.arn = rows.arn

    # --- users -----------------------------------------------------------------------------------

    def create_user(
        self,
        name: str,
        *,
        path: str = "/",
        uid: int = -1,
        gid: int = -1,
        tags: Mapping[str, str] | None = None,
    ) -> Principal:
        """A user without keys and policies. `uid` and `gid` own the files that it makes, as the
        mount shows them; -1: those of the directory's owner. AlreadyExists, InvalidRequest,
        LimitExceeded."""
        self._rows.check_new(USER, name, path)
        with self._rows.change() as change:
            row = Principal(
                USER,
                fold(name),
                self._rows.new_id(change, USER),
                name,
                change.time_ns,
                path,
                self._rows.new_canonical(change),
                _checked_owner(uid),
                _checked_owner(gid),
                tags=checked_tags(tags or {}),
            )
            change.put(row)
        return row

    def set_user(self, name: str, *, uid: int | None = None, gid: int | None = None) -> Principal:
        """Change whose the files are that a user makes. NotFound, InvalidRequest."""
        row = self.get(USER, name)
        row = replace(
            row,
            uid=row.uid if uid is None else _checked_owner(uid),
            gid=row.gid if gid is None else _checked_owner(gid),
        )
        self._put(row)
        return row

    def delete_user(self, name: str, *, force: bool = False) -> Principal:
        """NotFound, StillNeeded."""
        row = self.get(USER, name)
        keys = self._rows.database.scan(ACCESS_KEY, (row.key,), index="user")
        if not force:
            if keys:
                raise StillNeeded("Cannot delete entity, must delete access keys first.")
            _check_bare(row)
            if row.groups:
                raise StillNeeded("Cannot delete entity, must remove user from all groups first.")
        with self._rows.change() as change:
            for key in keys:
                change.delete(ACCESS_KEY, key.id)
            change.delete(PRINCIPAL, USER, row.key)
        return row

    # --- groups ----------------------------------------------------------------------------------

    def create_group(self, name: str, *, path: str = "/") -> Principal:
        """AlreadyExists, InvalidRequest, LimitExceeded."""
        self._rows.check_new(GROUP, name, path)
        with self._rows.change() as change:
            row = Principal(
                GROUP, fold(name), self._rows.new_id(change, GROUP), name, change.time_ns, path
            )
            change.put(row)
        return row

    def delete_group(self, name: str, *, force: bool = False) -> Principal:
        """NotFound, StillNeeded."""
        row = self.get(GROUP, name)
        members = self._rows.members(row.key)
        if not force:
            if members:
                raise StillNeeded("Cannot delete entity, must remove users from group first.")
            _check_bare(row)
        for start in range(0, len(members), ROWS_PER_BATCH_MAX):
            with self._rows.change() as change:
                for user in members[start : start + ROWS_PER_BATCH_MAX]:
                    change.put(replace(user, groups=without(user.groups, row.key)))
        with self._rows.change() as change:
            change.delete(PRINCIPAL, GROUP, row.key)
        return row

    def add_member(self, group: str, user: str) -> None:
        """Nothing happens if the user is in the group. NotFound, LimitExceeded."""
        into, row = self.get(GROUP, group), self.get(USER, user)
        if into.key in row.groups:
            return
        if len(row.groups) >= GROUPS_PER_USER_MAX:
            raise LimitExceeded(f"Cannot exceed quota for GroupsPerUser: {GROUPS_PER_USER_MAX}")
        self._put(replace(row, groups=[*row.groups, into.key]))

    def remove_member(self, group: str, user: str) -> None:
        """NotFound, also if the user is not in the group."""
        out_of, row = self.get(GROUP, group), self.get(USER, user)
        if out_of.key not in row.groups:
            raise NotFound(f"User {user} is not in group {group}.")
        self._put(replace(row, groups=without(row.groups, out_of.key)))

    def members(self, group: str) -> list[Principal]:
        """The users of a group, by name. NotFound."""
        return self._rows.members(self.get(GROUP, group).key)

    def groups_of(self, user: str) -> list[Principal]:
        """The groups of a user. NotFound."""
        return [self.get(GROUP, key) for key in self.get(USER, user).groups]

    # --- roles -----------------------------------------------------------------------------------

    def create_role(
        self,
        name: str,
        trust: str,
        *,
        path: str = "/",
        description: str = "",
        session_seconds: int = SESSION_SECONDS_MIN,
        tags: Mapping[str, str] | None = None,
    ) -> Principal:
        """`trust` is the policy that says who may take the role. AlreadyExists, InvalidRequest,
        LimitExceeded, MalformedPolicy."""
        self._rows.check_new(ROLE, name, path)
        with self._rows.change() as change:
            row = Principal(
                ROLE,
                fold(name),
                self._rows.new_id(change, ROLE),
                name,
                change.time_ns,
                path,
                trust=_checked_trust(trust),
                description=_checked_description(description),
                session_seconds=_checked_seconds(session_seconds),
                tags=checked_tags(tags or {}),
            )
            change.put(row)
        return row

    def set_role(
        self,
        name: str,
        *,
        trust: str | None = None,
        description: str | None = None,
        session_seconds: int | None = None,
    ) -> Principal:
        """Change what is given. NotFound, InvalidRequest, MalformedPolicy."""
        row = self.get(ROLE, name)
        if trust is not None:
            row = replace(row, trust=_checked_trust(trust))
        if description is not None:
            row = replace(row, description=_checked_description(description))
        if session_seconds is not None:
            row = replace(row, session_seconds=_checked_seconds(session_seconds))
        self._put(row)
        return row

    def delete_role(self, name: str, *, force: bool = False) -> Principal:
        """NotFound, StillNeeded."""
        row = self.get(ROLE, name)
        if not force:
            _check_bare(row)
        with self._rows.change() as change:
            change.delete(PRINCIPAL, ROLE, row.key)
        return row

    # --- all of them -----------------------------------------------------------------------------

    def rename(
        self, kind: str, name: str, *, new_name: str | None = None, path: str | None = None
    ) -> Principal:
        """Give a user or group another name or path; its id, keys, members and policies stay.
        NotFound, AlreadyExists, InvalidRequest."""
        row = self.get(kind, name)
        changed = replace(row, name=new_name or row.name, path=path or row.path)
        changed = replace(changed, key=fold(changed.name))
        check_name(kind, changed.name)
        check_path(changed.path)
        if changed.key != row.key and self._rows.find(kind, changed.name) is not None:
            raise AlreadyExists(f"{kind.title()} with name {new_name} already exists.")
        members = self._rows.members(row.key) if kind == GROUP else []
        if len(members) > ROWS_PER_BATCH_MAX and changed.key != row.key:
            raise LimitExceeded(
                f"a group of more than {ROWS_PER_BATCH_MAX} users cannot get another name"
            )
        with self._rows.change() as change:
            if changed.key != row.key:
                change.delete(PRINCIPAL, kind, row.key)
                for user in members:
                    groups = [*without(user.groups, row.key), changed.key]
                    change.put(replace(user, groups=groups))
                if kind == USER:
                    for key in change.scan(ACCESS_KEY, (row.key,), index="user"):
                        change.put(replace(key, user=changed.key))
            change.put(changed)
        return changed

    def set_tags(self, kind: str, name: str, tags: Mapping[str, str]) -> Principal:
        """All tags of a user or role, in the place of those it has. NotFound, InvalidRequest,
        LimitExceeded."""
        row = replace(self.get(kind, name), tags=checked_tags(tags))
        self._put(row)
        return row

    def _put(self, row: Principal) -> None:
        with self._rows.change() as change:
            change.put(row)


def _check_bare(row: Principal) -> None:
    if row.inline:
        raise StillNeeded("Cannot delete entity, must delete policies first.")
    if row.attached:
        raise StillNeeded("Cannot delete entity, must detach all policies first.")


def _checked_owner(number: int) -> int:
    if not -1 <= number < (1 << 32) - 1:
        raise InvalidRequest(f"{number} is no id of a user or group of the system")
    return number


def _checked_trust(text: str) -> str:
    parse_trust_policy(text)
    if policy_size(text) > TRUST_POLICY_CHARS_MAX:
        raise LimitExceeded(f"Cannot exceed quota for ACLSizePerRole: {TRUST_POLICY_CHARS_MAX}")
    return text


def _checked_description(text: str) -> str:
    if len(text) > DESCRIPTION_CHARS_MAX:
        raise InvalidRequest(f"a description has at most {DESCRIPTION_CHARS_MAX} characters")
    return text


def _checked_seconds(seconds: int) -> int:
    if not SESSION_SECONDS_MIN <= seconds <= SESSION_SECONDS_MAX:
        raise InvalidRequest(
            f"the longest session of a role lasts {SESSION_SECONDS_MIN} to {SESSION_SECONDS_MAX} "
            f"seconds, not {seconds}"
        )
    return seconds
