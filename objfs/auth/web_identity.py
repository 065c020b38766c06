"""Identities that somebody else vouches for: tokens of an OpenID Connect issuer (JWT).

Owns when such a token is believed: the issuer is one we know, the key is one of its own, the
algorithm is one that fits the key (never `none`, never a shared secret: the key's type decides, not
the token), it is for us, and it is now. The parsing of keys and signatures is PyJWT's.

Sources: RFC 7519, RFC 8725 (best current practices for JWT), OpenID Connect Core and Discovery 1.0.
"""

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import jwt
import msgspec

from objfs.auth.causes import Cause, refused
from objfs.base.errors import InvalidRequest, NotAuthenticated
from objfs.base.limits import (
    WEB_IDENTITY_BYTES_MAX,
    WEB_IDENTITY_KEYS_BYTES_MAX,
    WEB_IDENTITY_KEYS_MAX,
    WEB_IDENTITY_SKEW_SECONDS,
)
from objfs.base.ports import Fetch

RSA_BITS_MIN = 2048
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES = {"P-256": ("ES256",), "P-384": ("ES384",), "P-521": ("ES512",)}
_SECOND_NS = 1_000_000_000
_SIGNATURES = jwt.PyJWS()


class VerifyingKey(msgspec.Struct, frozen=True):
    """A public key of an issuer, and the algorithms that it is good for."""

    id: str | None
    algorithms: tuple[str, ...]
    key: Any  # as PyJWT takes it


class Issuer(msgspec.Struct, frozen=True):
    """Whom we believe: the exact `iss` of its tokens, for whom they are made, its keys."""

    url: str
    audiences: frozenset[str]
    keys: tuple[VerifyingKey, ...]


class Identity(msgspec.Struct, frozen=True):
    """Who a token is about. All claims are there for conditions of a role's trust policy."""

    issuer: str
    subject: str
    audience: str
    claims: dict[str, Any]


# --- Keys -----------------------------------------------------------------------------------------


def read_keys(document: bytes) -> tuple[VerifyingKey, ...]:
    """The keys in a JWK set (RFC 7517) that can verify a token; others are left out.
    InvalidRequest for what is no set, or has none."""
    parsed = _json(document, "the set of keys")
    listed = parsed.get("keys")
    if not isinstance(listed, list) or len(listed) > WEB_IDENTITY_KEYS_MAX:
        raise InvalidRequest(f"a set of keys has a list of at most {WEB_IDENTITY_KEYS_MAX} keys")
    keys = tuple(key for each in listed if (key := _read_key(each)) is not None)
    if not keys:
        raise InvalidRequest("the set of keys has none that can verify a token")
    return keys


def _read_key(jwk: object) -> VerifyingKey | None:
    if not isinstance(jwk, dict) or jwk.get("use", "sig") != "sig" or "d" in jwk:
        return None
    algorithms = _algorithms(jwk)
    if not algorithms:
        return None
    try:
        key = jwt.PyJWK(jwk, algorithms[0]).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    if getattr(key, "key_size", RSA_BITS_MIN) < RSA_BITS_MIN and jwk.get("kty") == "RSA":
        return None
    number = jwk.get("kid")
    return VerifyingKey(number if isinstance(number, str) else None, algorithms, key)


def _algorithms(jwk: Mapping[str, object]) -> tuple[str, ...]:
    """Those of the key's type; only the one that it names, if it does."""
    curve = jwk.get("crv")
    fitting: tuple[str, ...] = ()
    if jwk.get("kty") == "RSA":
        fitting = _RSA
    elif jwk.get("kty") == "EC":
        fitting = _CURVES.get(str(curve), ())
    elif jwk.get("kty") == "OKP" and curve == "Ed25519":
        fitting = ("EdDSA",)
    named = jwk.get("alg")
    return fitting if named is None else tuple(each for each in fitting if each == named)


async def fetch_keys(url: str, fetch: Fetch) -> tuple[VerifyingKey, ...]:
    """The keys of an issuer, found as OpenID Connect Discovery says. InvalidRequest when its
    documents are wrong; whatever `fetch` raises."""
    where = url.rstrip("/") + "/.well-known/openid-configuration"
    document = _json(await fetch.get(where, WEB_IDENTITY_KEYS_BYTES_MAX), where)
    if document.get("issuer") != url:
        raise InvalidRequest(f"{where}: it describes another issuer, not {url}")
    keys_url = document.get("jwks_uri")
    if not isinstance(keys_url, str) or urlsplit(keys_url).scheme != urlsplit(url).scheme:
        raise InvalidRequest(f"{where}: it names no `jwks_uri` that is as safe as the issuer's")
    return read_keys(await fetch.get(keys_url, WEB_IDENTITY_KEYS_BYTES_MAX))


# --- Tokens ---------------------------------------------------------------------------------------


def issuer_named(token: str) -> str:
    """The issuer that a token says it is of, to choose whose keys verify it. Not proven."""
    issuer = _claims(_parts(token)["payload"]).get("iss")
    if not isinstance(issuer, str):
        raise _invalid("it names no issuer")
    return issuer


def key_for(token: str, keys: Iterable[VerifyingKey]) -> VerifyingKey | None:
    """The key that a token says it is signed with; None if it is not there (it may be new)."""
    header = _parts(token)["header"]
    number, algorithm = header.get("kid"), header.get("alg")
    fitting = [key for key in keys if algorithm in key.algorithms]
    if number is None:
        return fitting[0] if len(fitting) == 1 else None
    return next((key for key in fitting if key.id == number), None)


def verify_identity(token: str, issuer: Issuer, now_ns: int) -> Identity:
    """Who the token is about. NotAuthenticated unless this issuer signed it, for one of its
    audiences, and its time is now (give or take WEB_IDENTITY_SKEW_SECONDS)."""
    key = key_for(token, issuer.keys)
    if key is None:
        raise _invalid("no key of its issuer fits it")
    algorithm = _parts(token)["header"]["alg"]
    try:
        payload = _SIGNATURES.decode(token, key.key, algorithms=[algorithm])
    except (jwt.PyJWTError, ValueError, TypeError):
        raise _invalid("its signature does not verify") from None
    claims = _claims(payload)
    if claims.get("iss") != issuer.url:
        raise _invalid("it is of another issuer")
    audience = _audience(claims.get("aud"), issuer.audiences)
    _check_times(claims, now_ns)
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject:
        raise _invalid("it has no subject")
    return Identity(issuer.url, subject, audience, claims)


def _parts(token: str) -> dict[str, Any]:
    """Header and payload of a token that nobody verified yet."""
    if len(token) > WEB_IDENTITY_BYTES_MAX:
        raise _invalid(f"it has over {WEB_IDENTITY_BYTES_MAX} characters")
    try:
        unverified: dict[str, Any] = {"verify_signature": False}
        return _SIGNATURES.decode_complete(token, options=unverified)  # type: ignore[arg-type]
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise _invalid("it cannot be read") from None


def _claims(payload: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(payload, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _invalid("its claims cannot be read") from None


def _audience(given: object, wanted: frozenset[str]) -> str:
    for each in given if isinstance(given, list) else [given]:
        if isinstance(each, str) and each in wanted:
            return each
    raise _invalid("Incorrect token audience")


def _check_times(claims: Mapping[str, Any], now_ns: int) -> None:
    skew = WEB_IDENTITY_SKEW_SECONDS
    now = now_ns / _SECOND_NS
    expires, begins = _seconds(claims, "exp"), _seconds(claims, "nbf")
    if expires is None:
        raise _invalid("it never expires")
    if now >= expires + skew:
        raise refused(Cause.EXPIRED_IDENTITY, "Token expired: the web identity token is too old")
    issued = _seconds(claims, "iat")
    if any(each is not None and each > now + skew for each in (begins, issued)):
        raise _invalid("it is not valid yet")


def _seconds(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _invalid(f"its {name} is no number")
    return value


def _json(document: bytes, what: str) -> dict[str, Any]:
    if len(document) > WEB_IDENTITY_KEYS_BYTES_MAX:
        raise InvalidRequest(f"{what}: it has over {WEB_IDENTITY_KEYS_BYTES_MAX} bytes")
    try:
        return msgspec.json.decode(document, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidRequest(f"{what}: it is no JSON object") from None


def _invalid(why: str) -> NotAuthenticated:
    return refused(Cause.INVALID_IDENTITY, f"The web identity token is not valid: {why}")
