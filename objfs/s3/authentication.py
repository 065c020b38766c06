"""Who calls: the signature of a request, believed or refused."""

import hashlib
from collections.abc import Mapping

from cachetools import LRUCache

from objfs.auth.causes import Cause, refused
from objfs.auth.claims import Anonymous, Claim, Mode, Rules, Signable
from objfs.auth.forms import OldClaim, read_form, verify_form
from objfs.auth.signing import SigningKeys
from objfs.auth.sigv4 import check_body, read_claim, verify
from objfs.base.limits import IDENTITIES_CACHED_MAX, KEY_USED_NS
from objfs.s3.calls import Caller
from objfs.s3.http import Request
from objfs.s3.temporary_keys import TemporaryKey, resolve_session
from objfs.volume.identities import Identities, KeyHolder

S3, QUERY_SERVICES = frozenset({"s3"}), frozenset({"iam", "sts"})


class Authentication:
    """Believes signatures by the keys that `identities` know, and by those of sessions."""

    def __init__(self, identities: Identities, region: str) -> None:
        self._identities = identities
        self._keys = SigningKeys()
        self._rules = Rules(region, S3)
        self._query_rules = Rules(region, QUERY_SERVICES)
        self._noted: LRUCache[str, int] = LRUCache(IDENTITIES_CACHED_MAX)

    def caller(self, request: Request, now_ns: int) -> Caller:
        """Who sent the request. NotAuthenticated."""
        signable = _signable(request)
        claim = read_claim(signable, self._rules, now_ns)
        if isinstance(claim, Anonymous):
            return Caller(None, claim.payload)
        holder = self._holder(claim, now_ns)
        proven = verify(signable, claim, holder.secret, self._keys)
        self._note_used(claim, now_ns)
        return _caller(claim, holder)._replace(chunks=proven.chunks)

    def form_caller(self, fields: Mapping[str, str], now_ns: int) -> Caller:
        """Who signed the policy of a form. NotAuthenticated."""
        claim = read_form(fields, self._rules, now_ns)
        if isinstance(claim, Anonymous):
            return Caller(None, claim.payload)
        holder = self._holder(claim, now_ns)
        verify_form(fields, claim, holder.secret, self._keys)
        return _caller(claim, holder)

    def query_claim(self, request: Request, now_ns: int) -> Claim | Anonymous:
        """What a call of IAM or STS says about who signed it, before its body is there. Not proven
        but for this: there is such a key. NotAuthenticated."""
        claim = read_claim(_signable(request), self._query_rules, now_ns)
        if isinstance(claim, Claim):
            if claim.payload.mode is not Mode.HASHED:
                raise refused(
                    Cause.BAD_PAYLOAD_HASH, "the body of this request has to be under its signature"
                )
            self._holder(claim, now_ns)
        return claim

    def query_caller(self, request: Request, claim: Claim, body: bytes, now_ns: int) -> Caller:
        """Who made a call of IAM or STS, its body included. NotAuthenticated."""
        holder = self._holder(claim, now_ns)
        digest = hashlib.sha256(body).hexdigest()
        check_body(claim.payload, digest)
        verify(_signable(request), claim, holder.secret, self._keys, digest)
        self._note_used(claim, now_ns)
        return _caller(claim, holder)

    def _holder(self, claim: Claim | OldClaim, now_ns: int) -> KeyHolder | TemporaryKey:
        if claim.token is not None:
            return resolve_session(self._identities, claim.access_key, claim.token, now_ns)
        holder = self._identities.resolve(claim.access_key)
        if holder is None or not holder.active:
            raise refused(
                Cause.UNKNOWN_KEY,
                "The AWS Access Key Id you provided does not exist in our records.",
                AWSAccessKeyId=claim.access_key,
            )
        return holder

    def _note_used(self, claim: Claim, now_ns: int) -> None:
        key = claim.access_key
        if claim.token is None and now_ns - self._noted.get(key, 0) >= KEY_USED_NS:
            self._noted[key] = now_ns
            self._identities.keys.note_used(key, claim.scope.service, claim.scope.region)


def _signable(request: Request) -> Signable:
    return Signable(request.method, request.raw_path, request.raw_query, request.headers.pairs)


def _caller(claim: Claim | OldClaim, holder: KeyHolder | TemporaryKey) -> Caller:
    if isinstance(holder, TemporaryKey):
        return Caller(
            holder.identity,
            claim.payload,
            session_policies=holder.session_policies,
            claim=claim,
            temporary=True,
        )
    return Caller(holder.identity, claim.payload, claim=claim)
