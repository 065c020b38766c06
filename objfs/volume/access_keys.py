"""Access keys: pairs of an id and a secret that users sign requests with.

A secret is shown once, when the key is made. The store has it encrypted with a key of the store
(`objfs/auth/secrets.py`), which the process that opens the store passes in. The last use of a key
is noted every KEY_USED_NS at most, for people to find keys that nobody uses.
"""

from collections.abc import Callable
from typing import NamedTuple

from msgspec.structs import replace

from objfs.auth.secrets import StoreKeys, new_access_key_id, new_secret
from objfs.base.errors import LimitExceeded, NotFound, ObjfsError, StoreKeyMissing
from objfs.base.limits import ACCESS_KEYS_PER_USER_MAX, KEY_USED_NS
from objfs.base.ports import Randomness
from objfs.meta.rows import AccessKey
from objfs.meta.tables import ACCESS_KEY
from objfs.volume.core import Core
from objfs.volume.identity_rows import USER, IdentityRows


class NewKey(NamedTuple):
    """A key as it is made: the only time that its secret is told."""

    row: AccessKey
    secret: str


class AccessKeys:
    """The verbs of access keys."""

    def __init__(self, core: Core, rows: IdentityRows) -> None:
        self._core = core
        self._rows = rows
        self._load: Callable[[], StoreKeys] | None = None
        self._randomness: Randomness | None = None
        self._store_keys: StoreKeys | None = None

    def use(self, load: Callable[[], StoreKeys], randomness: Randomness) -> None:
        """Where the keys of the store come from, at the first need."""
        self._load, self._randomness, self._store_keys = load, randomness, None

    def store_keys(self) -> tuple[StoreKeys, Randomness]:
        """The keys of the store, and what makes new secrets. StoreKeyMissing."""
        if self._load is None or self._randomness is None:
            raise StoreKeyMissing("the process that opened the store has no keys of the store")
        if self._store_keys is None:
            self._store_keys = self._load()
        return self._store_keys, self._randomness

    def keys(self, user: str) -> list[AccessKey]:
        """The keys of a user, oldest first. NotFound."""
        row = self._rows.principal(USER, user)
        found = self._rows.database.scan(ACCESS_KEY, (row.key,), index="user")
        return sorted(found, key=lambda key: (key.created_ns, key.id))

    def all(self) -> list[AccessKey]:
        """The keys of all users."""
        return self._rows.database.scan(ACCESS_KEY)

    def find(self, key_id: str) -> AccessKey | None:
        """One by its id."""
        return self._rows.database.get(ACCESS_KEY, key_id)

    def get(self, key_id: str) -> AccessKey:
        """One by its id. NotFound."""
        found = self.find(key_id)
        if found is None:
            raise NotFound(f"The Access Key with id {key_id} cannot be found.")
        return found

    def create(self, user: str) -> NewKey:
        """A new key of a user. NotFound, LimitExceeded, StoreKeyMissing."""
        owner = self._rows.principal(USER, user)
        if len(self.keys(user)) >= ACCESS_KEYS_PER_USER_MAX:
            raise LimitExceeded(
                f"Cannot exceed quota for AccessKeysPerUser: {ACCESS_KEYS_PER_USER_MAX}"
            )
        keys, randomness = self.store_keys()
        key_id, secret = new_access_key_id(randomness), new_secret(randomness)
        with self._rows.change() as change:
            sealed = keys.encrypt(secret.encode(), _context(key_id), randomness)
            row = AccessKey(key_id, owner.key, sealed, change.time_ns)
            change.put(row)
        return NewKey(row, secret)

    def secret(self, row: AccessKey) -> str:
        """The secret of a key. StoreKeyMissing."""
        keys, _ = self.store_keys()
        return keys.decrypt(row.secret, _context(row.id)).decode()

    def set_active(self, key_id: str, active: bool, user: str | None = None) -> AccessKey:
        """Switch a key on or off; `user`: it has to be theirs. NotFound."""
        row = replace(self._of_user(key_id, user), active=active)
        with self._rows.change() as change:
            change.put(row)
        return row

    def delete(self, key_id: str, user: str | None = None) -> AccessKey:
        """`user`: it has to be theirs. NotFound."""
        row = self._of_user(key_id, user)
        with self._rows.change() as change:
            change.delete(ACCESS_KEY, row.id)
        return row

    def _of_user(self, key_id: str, user: str | None) -> AccessKey:
        row = self.get(key_id)
        if user is not None and row.user != self._rows.principal(USER, user).key:
            raise NotFound(f"The Access Key with id {key_id} cannot be found.")
        return row

    def note_used(self, key_id: str, service: str, region: str) -> None:
        """A request was signed with the key just now. It is a note: what cannot be written is left
        out."""
        row = self._rows.database.get(ACCESS_KEY, key_id)
        now = self._core.clock.now_ns()
        if row is None or self._core.read_only or now - row.used_ns < KEY_USED_NS:
            return
        used = replace(row, used_ns=now, used_service=service[:64], used_region=region[:64])
        try:
            with self._core.change() as change:  # changes nothing that was resolved
                change.put(used)
        except ObjfsError:
            return


def _context(key_id: str) -> bytes:
    return b"access key " + key_id.encode()
