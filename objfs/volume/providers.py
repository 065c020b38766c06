"""OpenID Connect issuers whose tokens stand for roles (AssumeRoleWithWebIdentity).

An issuer is known by its URL without the scheme. Its public keys are configured with it, as a JSON
Web Key Set; of one without, the door asks the issuer for them.
"""

import re
from collections.abc import Mapping, Sequence

import msgspec
from msgspec.structs import replace

from objfs.base.errors import AlreadyExists, InvalidRequest, LimitExceeded, NotFound
from objfs.base.limits import PROVIDER_CLIENTS_MAX, PROVIDER_KEYS_BYTES_MAX, PROVIDERS_MAX
from objfs.meta.rows import Provider
from objfs.meta.tables import PROVIDER
from objfs.volume.identity_rows import IdentityRows, checked_tags

_URL = re.compile(r"https?://([\x21-\x7e]{1,255})")
_THUMBPRINT = re.compile(r"[0-9A-Fa-f]{40}")
KIND = "oidc-provider"


class Providers:
    """The verbs of issuers."""

    def __init__(self, rows: IdentityRows) -> None:
        self._rows = rows

    def arn(self, row: Provider) -> str:
        """The ARN of an issuer."""
        return self._rows.account.arn(KIND, row.url)

    def get(self, arn_or_url: str) -> Provider:
        """By its ARN or URL. NotFound."""
        prefix = self._rows.account.arn(KIND, "")
        url = arn_or_url.removeprefix(prefix) if arn_or_url.startswith("arn:") else arn_or_url
        found = self._rows.database.get(PROVIDER, _without_scheme(url))
        if found is None:
            raise NotFound(f"OpenIDConnect Provider not found for arn {arn_or_url}")
        return found

    def arn_of(self, url: str) -> str | None:
        """The ARN of an issuer that is known; None: it is not."""
        row = self._rows.database.get(PROVIDER, _without_scheme(url))
        return self.arn(row) if row is not None else None

    def all(self) -> list[Provider]:
        """All issuers, by URL."""
        return self._rows.database.scan(PROVIDER)

    def create(
        self,
        url: str,
        *,
        clients: Sequence[str] = (),
        thumbprints: Sequence[str] = (),
        keys: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> Provider:
        """An issuer; `clients` are the audiences whose tokens are taken, `keys` its JSON Web Key
        Set. AlreadyExists, InvalidRequest, LimitExceeded."""
        if not _URL.fullmatch(url):
            raise InvalidRequest(f"{url[:300]!r} is no URL of an issuer: it begins with https://")
        name = _without_scheme(url)
        if self._rows.database.get(PROVIDER, name) is not None:
            raise AlreadyExists(f"Provider with url {url} already exists.")
        if len(self.all()) >= PROVIDERS_MAX:
            raise LimitExceeded(f"Cannot exceed quota for OpenIdConnectProviders: {PROVIDERS_MAX}")
        with self._rows.change() as change:
            row = Provider(
                name,
                change.time_ns,
                _checked_clients(clients),
                _checked_thumbprints(thumbprints),
                _checked_keys(keys),
                checked_tags(tags or {}),
            )
            change.put(row)
        return row

    def update(
        self,
        arn_or_url: str,
        *,
        clients: Sequence[str] | None = None,
        thumbprints: Sequence[str] | None = None,
        keys: str | None = None,
    ) -> Provider:
        """Change what is given. NotFound, InvalidRequest, LimitExceeded."""
        row = self.get(arn_or_url)
        if clients is not None:
            row = replace(row, clients=_checked_clients(clients))
        if thumbprints is not None:
            row = replace(row, thumbprints=_checked_thumbprints(thumbprints))
        if keys is not None:
            row = replace(row, keys=_checked_keys(keys))
        with self._rows.change() as change:
            change.put(row)
        return row

    def delete(self, arn_or_url: str) -> Provider:
        """NotFound."""
        row = self.get(arn_or_url)
        with self._rows.change() as change:
            change.delete(PROVIDER, row.url)
        return row


def _without_scheme(url: str) -> str:
    return url.partition("://")[2] or url


def _checked_clients(clients: Sequence[str]) -> list[str]:
    if len(clients) > PROVIDER_CLIENTS_MAX:
        raise LimitExceeded(
            f"Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: {PROVIDER_CLIENTS_MAX}"
        )
    if not all(0 < len(each) <= 255 for each in clients):
        raise InvalidRequest("a client id has 1 to 255 characters")
    return list(dict.fromkeys(clients))


def _checked_thumbprints(thumbprints: Sequence[str]) -> list[str]:
    if len(thumbprints) > 5:
        raise InvalidRequest("Thumbprint list must contain fewer than 5 entries.")
    if not all(_THUMBPRINT.fullmatch(each) for each in thumbprints):
        raise InvalidRequest("a thumbprint has 40 hexadecimal digits")
    return list(thumbprints)


def _checked_keys(keys: str) -> str:
    if len(keys.encode()) > PROVIDER_KEYS_BYTES_MAX:
        raise LimitExceeded(f"the keys of an issuer take at most {PROVIDER_KEYS_BYTES_MAX} bytes")
    if keys:
        try:
            found = msgspec.json.decode(keys, type=dict[str, list[dict[str, object]]])
        except msgspec.MsgspecError as error:
            raise InvalidRequest(f"the keys are no JSON Web Key Set: {error}") from None
        if not found.get("keys"):
            raise InvalidRequest("the JSON Web Key Set has no keys")
    return keys
