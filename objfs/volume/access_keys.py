"""Access keys: pairs of an id and a secret that users sign requests with.

A secret is shown once, when the key is made. The store has it encrypted by the `Vault`, which the
process that opens the store passes in (`Identities.use`); without one no key is made or resolved.
The last use of a key is noted every KEY_USED_NS at most, for people to find keys that nobody uses.
"""

import string
from collections.abc import Callable
from typing import NamedTuple, Protocol

from msgspec.structs import replace

from objfs.base.errors import InvalidRequest, LimitExceeded, NotFound, ObjfsError, ReadOnly
from objfs.base.limits import ACCESS_KEYS_PER_USER_MAX, KEY_USED_NS
from objfs.base.ports import Randomness
from objfs.meta.rows import AccessKey
from objfs.meta.tables import ACCESS_KEY
from objfs.volume.core import Core
from objfs.volume.identity_rows import USER, IdentityRows

SECRET_CHARS = 40
_ALPHABET = string.ascii_letters + string.digits


class Vault(Protocol):
    """Encrypts secrets with a key of the store; `objfs.auth.secrets.StoreKeys` is one."""

    def encrypt(self, plain: bytes, context: bytes, randomness: Randomness) -> bytes:
        """`plain` encrypted, bound to `context`."""

    def decrypt(self, sealed: bytes, context: bytes) -> bytes:
        """What `encrypt` was given. StoreError for anything else, or another context."""


class VaultDoor(NamedTuple):
    """How to come by a vault, at the first need, and the randomness for it."""

    open: Callable[[], Vault]
    randomness: Randomness


class NewKey(NamedTuple):
    """A key as it is made: the only time that its secret is told."""

    row: AccessKey
    secret: str


class AccessKeys:
    """The verbs of access keys."""

    def __init__(self, core: Core, rows: IdentityRows) -> None:
        self._core = core
        self._rows = rows
        self._door: VaultDoor | None = None
        self._vault: Vault | None = None

    def use(self, door: VaultDoor) -> None:
        """What makes and reads secrets from now on."""
        self._door, self._vault = door, None

    def _opened(self) -> tuple[Vault, Randomness]:
        if self._door is None:
            raise InvalidRequest("the keys of the store are not here: no secret can be read")
        if self._vault is None:
            self._vault = self._door.open()
        return self._vault, self._door.randomness

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
        """A new key of a user. NotFound, LimitExceeded, InvalidRequest without a vault."""
        owner = self._rows.principal(USER, user)
        if len(self.keys(user)) >= ACCESS_KEYS_PER_USER_MAX:
            raise LimitExceeded(
                f"Cannot exceed quota for AccessKeysPerUser: {ACCESS_KEYS_PER_USER_MAX}"
            )
        vault, randomness = self._opened()
        secret = new_secret(randomness)
        with self._rows.change() as change:
            key_id = self._rows.new_id(change, "key")
            sealed = vault.encrypt(secret.encode(), _context(key_id), randomness)
            row = AccessKey(key_id, owner.key, sealed, change.time_ns)
            change.put(row)
        return NewKey(row, secret)

    def secret(self, row: AccessKey) -> str:
        """The secret of a key. StoreError, InvalidRequest without a vault."""
        vault, _ = self._opened()
        return vault.decrypt(row.secret, _context(row.id)).decode()

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
        except (ReadOnly, ObjfsError):
            return


def _context(key_id: str) -> bytes:
    return b"access key " + key_id.encode()


def new_secret(randomness: Randomness) -> str:
    """40 letters and digits: 238 random bits."""
    number = randomness.bits(512)
    characters = []
    for _ in range(SECRET_CHARS):
        number, index = divmod(number, len(_ALPHABET))
        characters.append(_ALPHABET[index])
    return "".join(characters)
