"""Secrets at rest: encrypted with a key of the store, and how new ones are made.

    version (1 byte, 1) | id of the store key (4, big-endian) | nonce (12) | AES-256-GCM (n + 16)

Owns this form and the store keys as values; `objfs/cli/store_keys.py` keeps them in a file outside
of the log, so that neither the log nor a backup of it gives a secret away. Promises: a context
(what the secret is, and of whom) is bound to each, so that one cannot be put in the place of
another; a key's id is random, so that a new file after a loss is never taken for the old one. 2^32
secrets of one key are the limit of random nonces (NIST SP 800-38D, section 8.3).
"""

import struct
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from objfs.base.errors import StoreKeyMissing
from objfs.base.ports import Randomness

KEY_BYTES = 32
_VERSION = 1
_HEAD = struct.Struct(">BI12s")
assert _HEAD.size == 17
_TAG_BYTES = 16
_DOMAIN = b"objfs secret\x00"

_KEY_ID_SIGNS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_SECRET_SIGNS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
PERMANENT = "AKIA"  # how the ids of a user's keys begin
TEMPORARY = "ASIA"  # and those of a session


class StoreKeys:
    """The keys of a store: new secrets are encrypted with the current one, old ones are read with
    the one that their form names. Shows no key when printed."""

    def __init__(self, keys: Mapping[int, bytes], current: int) -> None:
        assert current in keys
        assert all(0 < number < 1 << 32 and len(key) == KEY_BYTES for number, key in keys.items())
        self.keys = dict(keys)
        self.current = current

    def __repr__(self) -> str:
        return f"StoreKeys({', '.join(map(str, self.keys))}; current {self.current})"

    def encrypt(self, plain: bytes, context: bytes, randomness: Randomness) -> bytes:
        """The secret in the form above."""
        head = _HEAD.pack(_VERSION, self.current, randomness.bits(96).to_bytes(12))
        cipher = AESGCM(self.keys[self.current])
        return head + cipher.encrypt(head[-12:], plain, _DOMAIN + head + context)

    def decrypt(self, sealed: bytes, context: bytes) -> bytes:
        """The secret again. StoreKeyMissing when its key is not there, or it is not what was
        encrypted in this context."""
        if len(sealed) < _HEAD.size + _TAG_BYTES or sealed[0] != _VERSION:
            raise StoreKeyMissing("this is no encrypted secret, or of a later objfs")
        _, number, nonce = _HEAD.unpack_from(sealed)
        key = self.keys.get(number)
        if key is None:
            raise StoreKeyMissing(
                f"a secret is encrypted with the store key {number}, which is not there: put the "
                "key file of this store back from its backup"
            )
        try:
            bound = _DOMAIN + sealed[: _HEAD.size] + context
            return AESGCM(key).decrypt(nonce, sealed[_HEAD.size :], bound)
        except InvalidTag:
            raise StoreKeyMissing(
                f"a secret does not verify with the store key {number}: it, or the key file, was "
                "changed"
            ) from None

    def rotated(self, randomness: Randomness) -> "StoreKeys":
        """The same with one more, which is current."""
        number = _new_number(randomness, self.keys)
        return StoreKeys({**self.keys, number: _new_key(randomness)}, number)


def new_store_keys(randomness: Randomness) -> StoreKeys:
    """The keys of a store that has none yet."""
    number = _new_number(randomness, {})
    return StoreKeys({number: _new_key(randomness)}, number)


def new_access_key_id(randomness: Randomness, beginning: str = PERMANENT) -> str:
    """20 characters, of which 16 are random."""
    return beginning + _signs(randomness, _KEY_ID_SIGNS, 16)


def new_secret(randomness: Randomness) -> str:
    """A secret access key: 40 letters and digits, 238 random bits. AWS's have / and + too, which
    get lost on their way through URLs and shells."""
    return _signs(randomness, _SECRET_SIGNS, 40)


def _signs(randomness: Randomness, signs: str, count: int) -> str:
    number = randomness.bits(8 * count + 64)  # 64 bits more than enough: no sign is likelier
    made = []
    for _ in range(count):
        number, rest = divmod(number, len(signs))
        made.append(signs[rest])
    return "".join(made)


def _new_number(randomness: Randomness, taken: Mapping[int, bytes]) -> int:
    while (number := randomness.bits(31)) == 0 or number in taken:
        pass
    return number


def _new_key(randomness: Randomness) -> bytes:
    return randomness.bits(8 * KEY_BYTES).to_bytes(KEY_BYTES)
