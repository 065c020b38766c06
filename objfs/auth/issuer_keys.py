"""The keys of issuers of identities: those that are configured, or what the issuer publishes.

What an issuer published is kept, and asked for anew when it gets old or when a token is signed with
a key that is not in it (issuers change their keys). Anybody can send tokens with unknown keys: one
issuer is asked at most every WEB_IDENTITY_ASK_SECONDS, by one request at a time. When it does not
answer, keys of the last WEB_IDENTITY_KEYS_OLD_SECONDS still count.
"""

from functools import lru_cache

import trio
from cachetools import LRUCache

from objfs.auth.web_identity import VerifyingKey, fetch_keys, key_for, read_keys
from objfs.base.errors import InvalidRequest, StorageError
from objfs.base.limits import (
    PROVIDERS_MAX,
    WEB_IDENTITY_ASK_SECONDS,
    WEB_IDENTITY_KEYS_OLD_SECONDS,
    WEB_IDENTITY_KEYS_SECONDS,
)
from objfs.base.ports import Clock, Fetch

_NEVER = float("-inf")
_Keys = tuple[VerifyingKey, ...]


class _Published:
    """What one issuer published, and when it was asked."""

    def __init__(self) -> None:
        self.turn = trio.Lock()
        self.keys: _Keys = ()
        self.fetched = _NEVER
        self.asked = _NEVER
        self.trouble = "it was asked, and the answer was not waited for"


class IssuerKeys:
    """Keys by the URL of their issuer, at most those of twice PROVIDERS_MAX issuers."""

    def __init__(self, clock: Clock, fetch: Fetch) -> None:
        self._clock = clock
        self._fetch = fetch
        self._published: LRUCache[str, _Published] = LRUCache(2 * PROVIDERS_MAX)

    async def keys(self, url: str, token: str, configured: str = "") -> _Keys:
        """The keys to verify a token of the issuer with; `configured` is a JWK set that replaces
        what the issuer publishes. StorageError if there are none."""
        if configured:
            return _configured(configured)
        published = self._published.setdefault(url, _Published())
        if not self._fresh(published, token):
            async with published.turn:
                if not self._fresh(published, token) and self._may_ask(published):
                    await self._ask(url, published)
        age = self._clock.monotonic() - published.fetched
        if age > WEB_IDENTITY_KEYS_OLD_SECONDS:
            raise StorageError(f"the keys of {url} are not known: {published.trouble}")
        return published.keys

    def _fresh(self, published: _Published, token: str) -> bool:
        age = self._clock.monotonic() - published.fetched
        return age <= WEB_IDENTITY_KEYS_SECONDS and key_for(token, published.keys) is not None

    def _may_ask(self, published: _Published) -> bool:
        return self._clock.monotonic() - published.asked >= WEB_IDENTITY_ASK_SECONDS

    async def _ask(self, url: str, published: _Published) -> None:
        published.asked = self._clock.monotonic()
        try:
            published.keys = await fetch_keys(url, self._fetch)
        except (InvalidRequest, StorageError) as error:
            published.trouble = str(error)
        else:
            published.fetched = self._clock.monotonic()


@lru_cache(maxsize=PROVIDERS_MAX)
def _configured(document: str) -> _Keys:
    return read_keys(document.encode())
