"""When issuers are asked for their keys, and which keys count when they do not answer."""

import json

import pytest
import trio
import trio.testing

from objfs.auth.issuer_keys import IssuerKeys
from objfs.base.errors import StorageError
from objfs.base.limits import (
    WEB_IDENTITY_ASK_SECONDS,
    WEB_IDENTITY_KEYS_OLD_SECONDS,
    WEB_IDENTITY_KEYS_SECONDS,
)
from tests.auth.test_web_identity import SIGNERS, URL, document, jwk_of, token_of

WHERE = URL + "/.well-known/openid-configuration"
JWKS = URL + "/keys"


class Issuer:
    """An issuer that publishes some keys, or does not answer; and the clock beside it."""

    def __init__(self, *kids: str) -> None:
        self.now = 1000.0
        self.kids: tuple[str, ...] = kids
        self.answers = True
        self.asked = 0

    def now_ns(self) -> int:
        return int(self.now * 10**9)

    def monotonic(self) -> float:
        return self.now

    async def get(self, url: str, limit: int) -> bytes:
        await trio.lowlevel.checkpoint()
        if not self.answers:
            self.asked += 1
            raise StorageError("it is gone")
        if url == WHERE:
            self.asked += 1
            return json.dumps({"issuer": URL, "jwks_uri": JWKS}).encode()
        assert url == JWKS
        return document(*(jwk_of(SIGNERS[kid][1].public_key(), kid=kid) for kid in self.kids))


async def ids(keys: IssuerKeys, kid: str = "r") -> set[str | None]:
    return {key.id for key in await keys.keys(URL, token_of(kid))}


async def test_configured_keys_are_enough() -> None:
    issuer = Issuer()
    keys = IssuerKeys(issuer, issuer)
    configured = document(jwk_of(SIGNERS["e"][1].public_key(), kid="e")).decode()
    assert [key.id for key in await keys.keys(URL, token_of("e"), configured)] == ["e"]
    assert issuer.asked == 0


async def test_keys_are_kept_and_get_old() -> None:
    issuer = Issuer("r")
    keys = IssuerKeys(issuer, issuer)
    for _ in range(3):
        assert await ids(keys) == {"r"}
    assert issuer.asked == 1
    issuer.now += WEB_IDENTITY_KEYS_SECONDS + 1
    issuer.kids = ("e",)
    assert await ids(keys) == {"e"}
    assert issuer.asked == 2


async def test_a_new_key_is_asked_for_at_a_bounded_rate() -> None:
    issuer = Issuer("r")
    keys = IssuerKeys(issuer, issuer)
    await ids(keys)
    issuer.kids = ("r", "e")
    assert await ids(keys, "e") == {"r"}  # too soon
    issuer.now += WEB_IDENTITY_ASK_SECONDS
    assert await ids(keys, "e") == {"r", "e"}
    assert issuer.asked == 2
    for _ in range(20):
        await ids(keys, "d")
    assert issuer.asked == 2


async def test_one_request_asks_and_the_others_wait() -> None:
    issuer = Issuer("r")
    keys = IssuerKeys(issuer, issuer)
    found: list[set[str | None]] = []

    async def ask() -> None:
        found.append(await ids(keys))

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(ask)
    assert (issuer.asked, found) == (1, [{"r"}] * 10)


async def test_old_keys_count_while_the_issuer_is_away() -> None:
    issuer = Issuer("r")
    keys = IssuerKeys(issuer, issuer)
    await ids(keys)
    issuer.answers = False
    issuer.now += WEB_IDENTITY_KEYS_SECONDS + 1
    assert await ids(keys) == {"r"}
    issuer.now += WEB_IDENTITY_KEYS_OLD_SECONDS
    with pytest.raises(StorageError, match="it is gone"):
        await ids(keys)
    issuer.answers = True
    with pytest.raises(StorageError, match="it is gone"):
        await ids(keys)  # too soon
    issuer.now += WEB_IDENTITY_ASK_SECONDS
    assert await ids(keys) == {"r"}


async def test_who_asks_may_leave() -> None:
    issuer = Issuer("r")
    keys = IssuerKeys(issuer, issuer)
    with trio.CancelScope() as scope:
        scope.cancel()
        await ids(keys)
    assert scope.cancelled_caught
    issuer.now += WEB_IDENTITY_ASK_SECONDS
    assert await ids(keys) == {"r"}
