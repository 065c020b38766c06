"""Secrets at rest, keys, and temporary credentials."""

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objfs.auth.causes import Cause
from objfs.auth.secrets import (
    StoreKeys,
    new_access_key_id,
    new_secret,
    new_store_keys,
)
from objfs.auth.sessions import Issued, issue, read_token
from objfs.base.errors import InvalidRequest, NotAuthenticated, StoreKeyMissing
from objfs.base.system import SystemRandomness

NOW_NS = 1_795_169_700 * 10**9
RANDOM = SystemRandomness()
KEYS = new_store_keys(RANDOM)


@given(st.binary(max_size=200), st.binary(max_size=20))
def test_a_secret_comes_back_in_its_context(plain: bytes, context: bytes) -> None:
    sealed = KEYS.encrypt(plain, context, RANDOM)
    assert len(sealed) == len(plain) + 33
    assert KEYS.decrypt(sealed, context) == plain
    assert KEYS.encrypt(plain, context, RANDOM) != sealed
    with pytest.raises(StoreKeyMissing):
        KEYS.decrypt(sealed, context + b"x")


@given(st.data())
def test_a_changed_secret_is_refused(data: st.DataObject) -> None:
    sealed = KEYS.encrypt(b"the secret", b"of a key", RANDOM)
    at = data.draw(st.integers(0, len(sealed) - 1))
    changed = bytearray(sealed)
    changed[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(StoreKeyMissing):
        KEYS.decrypt(bytes(changed), b"of a key")
    with pytest.raises(StoreKeyMissing):
        KEYS.decrypt(sealed[:at], b"of a key")


def test_keys_are_rotated() -> None:
    old = KEYS.encrypt(b"old", b"", RANDOM)
    rotated = KEYS.rotated(RANDOM)
    new = rotated.encrypt(b"new", b"", RANDOM)
    assert (rotated.decrypt(old, b""), rotated.decrypt(new, b"")) == (b"old", b"new")
    with pytest.raises(StoreKeyMissing, match="put the key file"):
        KEYS.decrypt(new, b"")
    with pytest.raises(StoreKeyMissing):
        new_store_keys(RANDOM).decrypt(old, b"")


def test_the_form_is_the_one_of_the_page() -> None:
    """AES-256-GCM with the head as associated data: another implementation reads it."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

    keys = StoreKeys({0x01020304: b"k" * 32}, 0x01020304)
    sealed = keys.encrypt(b"plain", b"context", RANDOM)
    assert sealed[:5] == b"\x01\x01\x02\x03\x04"
    bound = b"objfs secret\x00" + sealed[:17] + b"context"
    assert AESGCM(b"k" * 32).decrypt(sealed[5:17], sealed[17:], bound) == b"plain"


def test_keys_are_not_shown() -> None:
    shown = repr(StoreKeys({7: b"k" * 32}, 7))
    assert shown == "StoreKeys(7; current 7)"


def test_access_keys() -> None:
    made = {new_access_key_id(RANDOM) for _ in range(100)}
    assert len(made) == 100
    assert all(re.fullmatch(r"AKIA[A-Z2-7]{16}", each) for each in made)
    secrets = {new_secret(RANDOM) for _ in range(100)}
    assert len(secrets) == 100
    assert all(re.fullmatch(r"[A-Za-z0-9]{40}", each) for each in secrets)
    assert len(set("".join(secrets))) == 62


# --- Sessions -------------------------------------------------------------------------------------


def session(**named: object) -> Issued:
    return issue("role", "a.name@b", NOW_NS, KEYS, RANDOM, **named)  # type: ignore[arg-type]


def cause_of(token: str, access_key: str, now_ns: int = NOW_NS) -> object:
    with pytest.raises(NotAuthenticated) as caught:
        read_token(token, access_key, KEYS, now_ns)
    return caught.value.cause


def test_a_token_is_its_session() -> None:
    issued = session(seconds=900, policy='{"Version": "2012-10-17"}', attributes={"sub": "me"})
    assert re.fullmatch(r"ASIA[A-Z2-7]{16}", issued.session.access_key)
    end_ns = NOW_NS + 900 * 10**9
    assert issued.session.expires_ns == end_ns
    read = read_token(issued.token, issued.session.access_key, KEYS, end_ns - 1)
    assert read == issued.session
    assert issued.session.secret not in repr(issued)
    assert issued.session.secret.encode() not in base64.urlsafe_b64decode(issued.token + "==")
    assert cause_of(issued.token, issued.session.access_key, end_ns) is Cause.EXPIRED_TOKEN
    assert cause_of(issued.token, session().session.access_key) is Cause.INVALID_TOKEN
    with pytest.raises(NotAuthenticated):
        read_token(issued.token, issued.session.access_key, new_store_keys(RANDOM), NOW_NS)


@given(st.text(max_size=60))
def test_no_text_is_a_token(text: str) -> None:
    assert cause_of(text, "ASIA") is Cause.INVALID_TOKEN


def test_other_secrets_are_no_tokens() -> None:
    sealed = KEYS.encrypt(b"\x90", b"session", RANDOM)
    assert cause_of(base64.urlsafe_b64encode(sealed).decode(), "ASIA") is Cause.INVALID_TOKEN
    assert cause_of("A" * 10_000, "ASIA") is Cause.INVALID_TOKEN


@pytest.mark.parametrize(
    "named",
    [
        {"seconds": 899},
        {"seconds": 43_201},
        {"seconds": 7200, "seconds_max": 3600},
        {"policy": "x" * 2049},
        {"attributes": {"sub": "x" * 8000}},
    ],
)
def test_sessions_that_sts_refuses(named: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        session(**named)


@pytest.mark.parametrize("name", ["", "a", "a b", "a/b", "x" * 65, "\u00e9\u00e9"])
def test_names_that_sts_refuses(name: str) -> None:
    with pytest.raises(InvalidRequest):
        issue("role", name, NOW_NS, KEYS, RANDOM)
