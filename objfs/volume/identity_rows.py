"""What the verbs of identities share: rows by name, names and ids, the account, one way to change.

Names differ when they differ in more than case. An id (`AIDA...`) is drawn from the store's id and
the change that makes it, so it is never used again. Whatever changes tells `changed`, so that what
was resolved is looked up anew. Messages are IAM's own, where it has one.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from objfs.auth.identity import account_of
from objfs.base.errors import AlreadyExists, InvalidRequest, LimitExceeded, NotFound
from objfs.base.limits import GROUPS_MAX, PRINCIPAL_TAGS_MAX, ROLES_MAX, USERS_MAX
from objfs.meta.database import Change
from objfs.meta.rows import Principal
from objfs.meta.tables import PRINCIPAL
from objfs.volume.core import Core

USER, GROUP, ROLE = "user", "group", "role"
COUNTS_MAX = {USER: USERS_MAX, GROUP: GROUPS_MAX, ROLE: ROLES_MAX}
_ID_PREFIX = {USER: "AIDA", GROUP: "AGPA", ROLE: "AROA", "policy": "ANPA"}
_NAME = re.compile(r"[A-Za-z0-9_+=,.@-]+")
_NAME_CHARS_MAX = {USER: 64, ROLE: 64}  # else 128
_PATH = re.compile(r"/(?:[\x21-\x2e\x30-\x7e]+/)*")
_PATH_CHARS_MAX = 512
_TAG = re.compile(r"[\w\s.:/=+@-]*")


def fold(name: str) -> str:
    """The key of a name."""
    return name.lower()


def check_name(kind: str, name: str) -> None:
    """InvalidRequest for what cannot be the name of a user, group, role or policy."""
    longest = _NAME_CHARS_MAX.get(kind, 128)
    if not _NAME.fullmatch(name) or len(name) > longest:
        raise InvalidRequest(
            f"the specified value for {kind}Name is invalid: {name[:200]!r}. It has 1 to {longest} "
            "letters, digits and characters of _+=,.@-"
        )


def check_path(path: str) -> None:
    """InvalidRequest for what cannot be a path of names."""
    if not _PATH.fullmatch(path) or len(path) > _PATH_CHARS_MAX:
        raise InvalidRequest(
            f"the specified value for path is invalid: {path[:200]!r}. It begins and ends with /"
        )


def checked_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """InvalidRequest, LimitExceeded."""
    if len(tags) > PRINCIPAL_TAGS_MAX:
        raise LimitExceeded(f"Cannot exceed quota for TagsPerUser: {PRINCIPAL_TAGS_MAX}")
    for name, value in tags.items():
        if not (0 < len(name) <= 128 and _TAG.fullmatch(name)):
            raise InvalidRequest(f"{name[:200]!r} cannot be the key of a tag")
        if not (len(value) <= 256 and _TAG.fullmatch(value)):
            raise InvalidRequest(f"{value[:300]!r} cannot be the value of a tag")
    return dict(tags)


class IdentityRows:
    """The rows of identities of one store."""

    def __init__(self, core: Core, changed: Callable[[], None]) -> None:
        self._core = core
        self._changed = changed
        self.database = core.database
        self.account = account_of(core.log.store_id)

    @contextmanager
    def change(self) -> Iterator[Change]:
        """A change of identities."""
        with self._core.change() as change:
            yield change
        self._changed()

    def new_id(self, change: Change, kind: str) -> str:
        """A new unique id."""
        digest = base64.b32encode(self._digest(change.new_id())).decode()
        return _ID_PREFIX[kind] + digest[:17]

    def new_canonical(self, change: Change) -> str:
        """A new canonical id."""
        return self._digest(change.new_id()).hex()

    def _digest(self, number: int) -> bytes:
        store = self._core.log.store_id
        return hashlib.sha256(b"objfs id\0" + store + number.to_bytes(8, "little")).digest()

    # --- principals ------------------------------------------------------------------------------

    def find(self, kind: str, name: str) -> Principal | None:
        """One by its name."""
        return self.database.get(PRINCIPAL, kind, fold(name))

    def principal(self, kind: str, name: str) -> Principal:
        """One by its name. NotFound."""
        found = self.find(kind, name)
        if found is None:
            raise NotFound(f"The {kind} with name {name} cannot be found.")
        return found

    def principals(self, kind: str, path: str = "/") -> list[Principal]:
        """All of a kind whose path begins with `path`, by name."""
        found = self.database.scan(PRINCIPAL, (kind,))
        return [each for each in found if each.path.startswith(path)]

    def check_new(self, kind: str, name: str, path: str) -> None:
        """Whether one of this name can be made. AlreadyExists, InvalidRequest, LimitExceeded."""
        check_name(kind, name)
        check_path(path)
        if self.find(kind, name) is not None:
            raise AlreadyExists(f"{kind.title()} with name {name} already exists.")
        most = COUNTS_MAX[kind]
        if len(self.database.scan(PRINCIPAL, (kind,), limit=most)) >= most:
            raise LimitExceeded(f"Cannot exceed quota for {kind.title()}sPerAccount: {most}")

    def members(self, group: str) -> list[Principal]:
        """The users of a group, by its key."""
        return [each for each in self.principals(USER) if group in each.groups]

    def arn(self, row: Principal) -> str:
        """The ARN of a user, group or role."""
        return self.account.arn(row.kind, row.name, row.path)


def without(names: Iterable[str], name: str) -> list[str]:
    """`names` but for one."""
    return [each for each in names if each != name]
