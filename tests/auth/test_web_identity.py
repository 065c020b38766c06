"""Tokens of an OpenID Connect issuer: those that PyJWT and cryptography make, and those that
attackers would."""

import base64
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from objfs.auth.causes import Cause
from objfs.auth.web_identity import (
    Identity,
    Issuer,
    VerifyingKey,
    fetch_keys,
    issuer_named,
    key_for,
    read_keys,
    verify_identity,
)
from objfs.base.errors import InvalidRequest, NotAuthenticated

NOW = 1_795_169_700
URL = "https://issuer.example/realm"
RSA = rsa.generate_private_key(65537, 2048)
CURVE = ec.generate_private_key(ec.SECP256R1())
EDWARDS = ed25519.Ed25519PrivateKey.generate()
SIGNERS: dict[str, tuple[str, Any]] = {
    "r": ("RS256", RSA),
    "e": ("ES256", CURVE),
    "d": ("EdDSA", EDWARDS),
}


def jwk_of(key: Any, **named: object) -> dict[str, Any]:
    made: Any
    if isinstance(key, rsa.RSAPublicKey):
        made = jwt.algorithms.RSAAlgorithm.to_jwk(key)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        made = jwt.algorithms.ECAlgorithm.to_jwk(key)
    else:
        made = jwt.algorithms.OKPAlgorithm.to_jwk(key)
    return {**json.loads(made), **named}


def document(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


SET = document(*(jwk_of(key.public_key(), kid=kid) for kid, (_, key) in SIGNERS.items()))
KEYS = read_keys(SET)
ISSUER = Issuer(URL, frozenset({"objfs", "other"}), KEYS)


def claims(**named: object) -> dict[str, object]:
    made = {"iss": URL, "sub": "me", "aud": "objfs", "exp": NOW + 600, "iat": NOW, **named}
    return {name: value for name, value in made.items() if value is not None}


def token_of(kid: str | None = "r", /, **named: object) -> str:
    algorithm, key = SIGNERS[kid or "r"]
    return jwt.api_jws.encode(
        json.dumps(claims(**named)).encode(),
        key,
        algorithm=algorithm,
        headers={"kid": kid} if kid else None,
    )


def verified(token: str, issuer: Issuer = ISSUER, now: float = NOW) -> Identity:
    return verify_identity(token, issuer, int(now * 10**9))


def refusal(token: str, issuer: Issuer = ISSUER, now: float = NOW) -> NotAuthenticated:
    with pytest.raises(NotAuthenticated) as caught:
        verified(token, issuer, now)
    return caught.value


@pytest.mark.parametrize("kid", SIGNERS)
def test_a_token_is_believed(kid: str) -> None:
    token = token_of(kid, email="a@b")
    assert issuer_named(token) == URL
    identity = verified(token)
    assert (identity.issuer, identity.subject, identity.audience) == (URL, "me", "objfs")
    assert identity.claims["email"] == "a@b"


def test_one_of_several_audiences() -> None:
    assert verified(token_of(aud=["nobody", "other"])).audience == "other"


def test_without_a_key_id_the_only_fitting_key_counts() -> None:
    assert verified(token_of(None)).subject == "me"
    two = read_keys(document(*(jwk_of(RSA.public_key(), kid=kid) for kid in "ab")))
    assert key_for(token_of(None), two) is None
    assert refusal(token_of(None), Issuer(URL, ISSUER.audiences, two)).cause is (
        Cause.INVALID_IDENTITY
    )


@pytest.mark.parametrize(
    ("named", "says"),
    [
        ({"iss": URL + "/"}, "another issuer"),
        ({"iss": None}, "another issuer"),
        ({"aud": "nobody"}, "Incorrect token audience"),
        ({"aud": None}, "Incorrect token audience"),
        ({"aud": [["objfs"], 3]}, "Incorrect token audience"),
        ({"exp": None}, "never expires"),
        ({"exp": "soon"}, "its exp is no number"),
        ({"exp": True}, "its exp is no number"),
        ({"nbf": NOW + 61}, "not valid yet"),
        ({"iat": NOW + 61}, "not valid yet"),
        ({"sub": None}, "no subject"),
        ({"sub": ""}, "no subject"),
        ({"sub": 3}, "no subject"),
    ],
)
def test_claims_that_are_refused(named: dict[str, object], says: str) -> None:
    error = refusal(token_of(**named))
    assert error.cause is Cause.INVALID_IDENTITY
    assert says in str(error)


def test_a_token_expires_with_a_little_mercy_for_clocks() -> None:
    token = token_of(exp=NOW, nbf=NOW - 1)
    assert verified(token, now=NOW + 59).subject == "me"
    assert refusal(token, now=NOW + 60).cause is Cause.EXPIRED_IDENTITY


# --- What attackers try ---------------------------------------------------------------------------


def raw(header: dict[str, Any], payload: dict[str, Any], signature: bytes = b"") -> str:
    parts = (json.dumps(header).encode(), json.dumps(payload).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", None, 5, ["RS256"], "HS256"])
def test_no_algorithm_but_those_of_the_key(algorithm: object) -> None:
    for kid in ("r", None):
        header = {"alg": algorithm, "typ": "JWT"} | ({"kid": kid} if kid else {})
        assert refusal(raw(header, claims())).cause is Cause.INVALID_IDENTITY
        assert refusal(raw(header, claims(), b"x")).cause is Cause.INVALID_IDENTITY


def test_a_public_key_is_no_shared_secret() -> None:
    public = RSA.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    unsigned = raw({"alg": "HS256", "kid": "r"}, claims()).rstrip(".")
    made = base64.urlsafe_b64encode(hmac.digest(public, unsigned.encode(), "sha256")).decode()
    assert refusal(f"{unsigned}.{made.rstrip('=')}").cause is Cause.INVALID_IDENTITY


def test_the_key_in_a_token_is_not_used() -> None:
    mine = rsa.generate_private_key(65537, 2048)
    for kid in ("r", "mine"):
        forged = jwt.api_jws.encode(
            json.dumps(claims()).encode(),
            mine,
            algorithm="RS256",
            headers={"kid": kid, "jwk": jwk_of(mine.public_key()), "jku": URL},
        )
        assert refusal(forged).cause is Cause.INVALID_IDENTITY


@settings(max_examples=50)
@given(st.data())
def test_a_changed_token_is_refused(data: st.DataObject) -> None:
    token = token_of("e")
    at = data.draw(st.integers(0, len(token) - 2))
    sign = data.draw(st.sampled_from("ABCxyz019-_.="))
    changed = token[:at] + sign + token[at + 1 :]
    if changed != token:
        assert refusal(changed).cause is Cause.INVALID_IDENTITY


@given(st.text(max_size=100))
def test_no_text_is_a_token(text: str) -> None:
    for each in (text, f"{text}.{text}.{text}", raw({"alg": "RS256"}, {})[:-1] + text):
        assert refusal(each).cause is Cause.INVALID_IDENTITY
        with pytest.raises(NotAuthenticated):
            issuer_named(each)


def test_long_tokens_are_refused() -> None:
    assert "20000" in str(refusal(token_of(extra="x" * 20_000)))


# --- Keys -----------------------------------------------------------------------------------------


def test_keys_know_what_they_are_good_for() -> None:
    good = {key.id: key.algorithms for key in KEYS}
    assert good["e"] == ("ES256",)
    assert good["d"] == ("EdDSA",)
    assert "RS256" in good["r"]
    assert "HS256" not in good["r"]
    (named,) = read_keys(document(jwk_of(RSA.public_key(), alg="RS512", use="sig")))
    assert named.algorithms == ("RS512",)
    assert key_for(token_of(None), [named]) is None


def unfit() -> list[dict[str, Any]]:
    private = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(RSA))
    weak = rsa.generate_private_key(65537, 1024).public_key()
    return [
        private,
        jwk_of(weak),
        jwk_of(RSA.public_key(), use="enc"),
        jwk_of(RSA.public_key(), alg="HS256"),
        {**jwk_of(RSA.public_key()), "n": 5},
        {**jwk_of(CURVE.public_key()), "crv": "P-384"},
        {**jwk_of(CURVE.public_key()), "x": "AAAA"},
        {"kty": "oct", "k": "c2VjcmV0"},
        {"kty": ["RSA"]},
        {},
    ]


@pytest.mark.parametrize("jwk", unfit())
def test_keys_that_are_left_out(jwk: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match="none that can verify"):
        read_keys(document(jwk))
    assert [key.id for key in read_keys(document(jwk, jwk_of(CURVE.public_key(), kid="e")))] == [
        "e"
    ]


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"{}", b'{"keys": 3}', b'{"keys": []}', b'{"keys": [3]}', b"[" * 100_000],
)
def test_sets_that_are_none(text: bytes) -> None:
    with pytest.raises(InvalidRequest):
        read_keys(text)


def test_sets_are_bounded() -> None:
    with pytest.raises(InvalidRequest):
        read_keys(document(*[jwk_of(CURVE.public_key())] * 65))
    with pytest.raises(InvalidRequest):
        read_keys(b" " * (256 << 10) + SET)


class Documents:
    """What a server at an issuer's URL would give."""

    def __init__(self, found: dict[str, bytes]) -> None:
        self.found = found

    async def get(self, url: str, limit: int) -> bytes:
        assert limit > 0
        return self.found[url]


WHERE = URL + "/.well-known/openid-configuration"


async def test_keys_are_found_by_discovery() -> None:
    described = json.dumps({"issuer": URL, "jwks_uri": "https://issuer.example/keys"}).encode()
    documents = Documents({WHERE: described, "https://issuer.example/keys": SET})
    found: tuple[VerifyingKey, ...] = await fetch_keys(URL, documents)
    assert [key.id for key in found] == list(SIGNERS)


@pytest.mark.parametrize(
    "described",
    [
        {"issuer": "https://other.example", "jwks_uri": "https://issuer.example/keys"},
        {"issuer": URL},
        {"issuer": URL, "jwks_uri": "http://issuer.example/keys"},
        {"issuer": URL, "jwks_uri": "file:///etc/passwd"},
        {"issuer": URL, "jwks_uri": 3},
    ],
)
async def test_descriptions_that_are_refused(described: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        await fetch_keys(URL, Documents({WHERE: json.dumps(described).encode()}))
