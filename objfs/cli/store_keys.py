"""The file with the keys of a store: `STORE/keys/store-keys.toml`, or where OBJFS_KEY_FILE says.

Owns its form and its place. It lies outside of the log on purpose: who copies the log has no
secrets. So it has to be backed up by itself: without it, the secrets of access keys and everything
encrypted by the server are lost. Promises: it is made at the first need and durable before anything
is encrypted with it, nobody else may read it, and it is never replaced by one that lacks a key.
"""

import os
import stat
import tomllib
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from objfs.auth.secrets import KEY_BYTES, StoreKeys, new_store_keys
from objfs.base.errors import StoreKeyMissing
from objfs.base.ports import Randomness
from objfs.cli.store_directory import StoreDirectory, sync_directory, write_file

KEY_FILE_VARIABLE = "OBJFS_KEY_FILE"
KEY_FILE = "store-keys.toml"
_OTHERS = stat.S_IRWXO


def key_file(store: StoreDirectory, environment: Mapping[str, str]) -> Path:
    """Where the keys of the store are."""
    given = environment.get(KEY_FILE_VARIABLE)
    return Path(given) if given else store.keys / KEY_FILE


def load_store_keys(
    store: StoreDirectory, environment: Mapping[str, str], randomness: Randomness
) -> StoreKeys:
    """The keys of the store. Made if there are none: for its owner only. StoreKeyMissing when the
    file cannot be used, or is given and not there."""
    file = key_file(store, environment)
    if not os.path.lexists(file) and KEY_FILE_VARIABLE not in environment:
        keys = new_store_keys(randomness)
        store.keys.mkdir(mode=0o700, exist_ok=True)
        sync_directory(store.path)
        save_store_keys(store, file, keys)
        return keys
    return read_store_keys(store, file)


def save_store_keys(store: StoreDirectory, file: Path, keys: StoreKeys) -> None:
    """Durable when it returns, and readable by its owner only."""
    lines = [
        "# The keys of an objfs store. BACK THIS FILE UP, and not beside the store: without it the",
        "# secrets of access keys, and what the server encrypted, cannot be read by anybody.",
        f'store = "{uuid.UUID(bytes=store.store_id)}"',
        f"current = {keys.current}",
        "",
        "[keys]",
        *(f'{number} = "{key.hex()}"' for number, key in keys.keys.items()),
    ]
    write_file(file, "\n".join(lines) + "\n", 0o600)


def read_store_keys(store: StoreDirectory, file: Path) -> StoreKeys:
    """What the file says. StoreKeyMissing when it is not there, open to others, of another store,
    or not understood."""
    try:
        with file.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            fields = tomllib.load(opened)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StoreKeyMissing(f"{file}: the store keys cannot be read: {error}") from error
    if mode & _OTHERS:
        raise StoreKeyMissing(f"{file}: everybody may read the store keys; run `chmod 600 {file}`")
    owner = fields.get("store")
    if owner is not None and owner != str(uuid.UUID(bytes=store.store_id)):
        raise StoreKeyMissing(f"{file}: these are the keys of another store, {owner}")
    try:
        return _understand(fields)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreKeyMissing(
            f"{file}: this is no file of store keys ({error}); put it back from its backup"
        ) from error


def _understand(fields: Mapping[str, Any]) -> StoreKeys:
    keys = {int(number): bytes.fromhex(key) for number, key in fields["keys"].items()}
    current = fields["current"]
    if current not in keys:
        raise ValueError(f"the key {current}, which is current, is not in it")
    for number, key in keys.items():
        if not 0 < number < 1 << 32 or len(key) != KEY_BYTES:
            raise ValueError(f"the key {number} is not {KEY_BYTES} bytes")
    return StoreKeys(keys, current)
