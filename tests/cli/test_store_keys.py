"""The file with the keys of a store."""

import os
import stat
from pathlib import Path

import pytest

from objfs.auth.secrets import new_store_keys
from objfs.base.errors import StoreKeyMissing
from objfs.base.system import SystemClock, SystemRandomness
from objfs.cli.store_directory import StoreDirectory, create_store
from objfs.cli.store_keys import (
    KEY_FILE_VARIABLE,
    key_file,
    load_store_keys,
    read_store_keys,
    save_store_keys,
)

RANDOM = SystemRandomness()


@pytest.fixture
def store(tmp_path: Path) -> StoreDirectory:
    return create_store(tmp_path / "store", SystemClock(), RANDOM)


def test_it_is_made_once_and_for_its_owner_only(store: StoreDirectory) -> None:
    old = os.umask(0)
    try:
        keys = load_store_keys(store, {}, RANDOM)
    finally:
        os.umask(old)
    file = key_file(store, {})
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(store.keys.stat().st_mode) == 0o700
    assert "BACK THIS FILE UP" in file.read_text()
    again = load_store_keys(store, {}, RANDOM)
    assert (again.keys, again.current) == (keys.keys, keys.current)
    assert again.decrypt(keys.encrypt(b"a", b"", RANDOM), b"") == b"a"


def test_rotated_keys_are_kept(store: StoreDirectory) -> None:
    keys = load_store_keys(store, {}, RANDOM).rotated(RANDOM)
    save_store_keys(store, key_file(store, {}), keys)
    again = load_store_keys(store, {}, RANDOM)
    assert (again.keys, again.current) == (keys.keys, keys.current)
    assert len(again.keys) == 2


def test_it_may_lie_elsewhere(store: StoreDirectory, tmp_path: Path) -> None:
    given = tmp_path / "elsewhere"
    environment = {KEY_FILE_VARIABLE: str(given)}
    with pytest.raises(StoreKeyMissing, match="cannot be read"):
        load_store_keys(store, environment, RANDOM)  # never made there: it may be a wrong path
    assert not given.exists()
    keys = new_store_keys(RANDOM)
    save_store_keys(store, given, keys)
    assert load_store_keys(store, environment, RANDOM).keys == keys.keys
    assert not store.keys.exists()


def test_everybody_may_not_read_it(store: StoreDirectory) -> None:
    load_store_keys(store, {}, RANDOM)
    file = key_file(store, {})
    file.chmod(0o604)
    with pytest.raises(StoreKeyMissing, match="chmod 600"):
        load_store_keys(store, {}, RANDOM)


def test_the_keys_of_another_store(store: StoreDirectory, tmp_path: Path) -> None:
    other = create_store(tmp_path / "other", SystemClock(), RANDOM)
    load_store_keys(other, {}, RANDOM)
    with pytest.raises(StoreKeyMissing, match="another store"):
        read_store_keys(store, key_file(other, {}))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no toml",
        "current = 1",
        "current = 1\nkeys = 3",
        "current = 1\n[keys]\n",
        "current = 2\n[keys]\n1 = '" + "00" * 32 + "'",
        "current = 1\n[keys]\n1 = '" + "00" * 31 + "'",
        "current = 0\n[keys]\n0 = '" + "00" * 32 + "'",
        "current = 1\n[keys]\n1 = 'no hex'",
        "current = 1\n[keys]\n1 = 5",
        "current = [1]\n[keys]\n1 = '" + "00" * 32 + "'",
    ],
)
def test_files_that_are_not_understood(store: StoreDirectory, text: str) -> None:
    load_store_keys(store, {}, RANDOM)
    file = key_file(store, {})
    file.write_text(text)
    with pytest.raises(StoreKeyMissing):
        load_store_keys(store, {}, RANDOM)
    assert file.read_text() == text
