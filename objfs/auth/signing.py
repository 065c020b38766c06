"""Signing with a secret: derived keys, signatures, and their comparison.

Promises: signatures are compared in constant time, derived keys are kept in a bounded cache.
Source: "Signature Calculations for the Authorization Header" of the Amazon S3 API Reference.
"""

import hashlib
import hmac

from cachetools import LRUCache

from objfs.auth.causes import Cause, refused
from objfs.auth.claims import TERMINAL, Scope
from objfs.base.errors import NotAuthenticated
from objfs.base.limits import SIGNING_KEYS_CACHED_MAX

EMPTY_SHA256 = hashlib.sha256().hexdigest()


class SigningKeys:
    """The keys derived from secrets, each good for one day, region and service."""

    def __init__(self) -> None:
        self._keys: LRUCache[tuple[str, Scope], bytes] = LRUCache(SIGNING_KEYS_CACHED_MAX)

    def key(self, secret: str, scope: Scope) -> bytes:
        """The signing key, 32 bytes."""
        key = self._keys.get((secret, scope))
        if key is None:
            key = self._keys[secret, scope] = derive(secret, scope)
        return key


def derive(secret: str, scope: Scope) -> bytes:
    """The signing key of a secret, 32 bytes."""
    key = b"AWS4" + secret.encode()
    for part in (*scope, TERMINAL):
        key = hmac.digest(key, _bytes(part), "sha256")
    return key


def sign(key: bytes, text: str) -> str:
    """The signature of a text, 64 hexadecimal digits."""
    return hmac.digest(key, _bytes(text), "sha256").hex()


def same(one: str, other: str) -> bool:
    """Whether two signatures are equal; takes the same time whichever it is."""
    return hmac.compare_digest(_bytes(one), _bytes(other))


def wrong_signature(
    access_key: str, string_to_sign: str, provided: str, canonical: str | None = None
) -> NotAuthenticated:
    """The refusal, with what helps the writer of a client to see where it went wrong."""
    details = {
        "AWSAccessKeyId": access_key,
        "StringToSign": string_to_sign,
        "SignatureProvided": provided,
        "StringToSignBytes": _bytes(string_to_sign).hex(" "),
    }
    if canonical is not None:
        details["CanonicalRequest"] = canonical
        details["CanonicalRequestBytes"] = _bytes(canonical).hex(" ")
    return refused(
        Cause.WRONG_SIGNATURE,
        "The request signature we calculated does not match the signature you provided. Check your "
        "key and signing method.",
        **details,
    )


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
