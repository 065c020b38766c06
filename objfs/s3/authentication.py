"""Who calls: the signature of a request, believed or refused."""

from collections.abc import Mapping

from objfs.auth.causes import Cause, refused
from objfs.auth.claims import Anonymous, Claim, Rules, Signable
from objfs.auth.forms import OldClaim, read_form, verify_form
from objfs.auth.signing import SigningKeys
from objfs.auth.sigv4 import read_claim, verify
from objfs.s3.calls import Caller, Holder, Identities
from objfs.s3.http import Request


class Authentication:
    """Believes signatures by the keys that `identities` know."""

    def __init__(self, identities: Identities, region: str) -> None:
        self._identities = identities
        self._keys = SigningKeys()
        self._rules = Rules(region)

    def caller(self, request: Request, now_ns: int, body_sha256: str | None = None) -> Caller:
        """Who sent the request; `body_sha256` for APIs that sign it without sending it.
        NotAuthenticated."""
        signable = Signable(
            request.method, request.raw_path, request.raw_query, request.headers.pairs
        )
        claim = read_claim(signable, self._rules, now_ns)
        if isinstance(claim, Anonymous):
            return Caller(None, claim.payload)
        holder = self._holder(claim)
        proven = verify(signable, claim, holder.secret, self._keys, body_sha256)
        return Caller(holder.identity, proven.payload, proven.chunks, place=claim.place)

    def form_caller(self, fields: Mapping[str, str], now_ns: int) -> Caller:
        """Who signed the policy of a form. NotAuthenticated."""
        claim = read_form(fields, self._rules, now_ns)
        if isinstance(claim, Anonymous):
            return Caller(None, claim.payload)
        holder = self._holder(claim)
        verify_form(fields, claim, holder.secret, self._keys)
        return Caller(holder.identity, claim.payload, place=claim.place)

    def _holder(self, claim: Claim | OldClaim) -> Holder:
        holder = self._identities.resolve(claim.access_key)
        if holder is None or not holder.active:
            raise refused(
                Cause.UNKNOWN_KEY,
                "The AWS Access Key Id you provided does not exist in our records.",
                AWSAccessKeyId=claim.access_key,
            )
        if claim.token is not None:
            raise refused(
                Cause.INVALID_TOKEN,
                "The provided token is malformed or otherwise invalid.",
            )
        return holder
