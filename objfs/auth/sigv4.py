"""Believing a claim: the canonical request, the string to sign, the comparison.

Promises: what is verified is the raw target, as it came. Clients differ in how they spell a path or
a query on the wire and in what they sign, so the same target in AWS's own spelling is believed too;
both decode to the same request. Nothing is encoded twice, and no path is normalized: `a//b` and
`a/../b` are keys.

Source: "Create a canonical request" of the Amazon S3 API Reference.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote_from_bytes, unquote_to_bytes

import msgspec

from objfs.auth.causes import Cause, refused
from objfs.auth.chunks import ChunkVerifier
from objfs.auth.claims import (
    ALGORITHM,
    Anonymous,
    Claim,
    Mode,
    Payload,
    Rules,
    Signable,
    anonymous_payload,
    old_signature,
)
from objfs.auth.header_claims import header_claim
from objfs.auth.query_claims import QUERY_MARKS, SIGNATURE_FIELD, query_claim, query_fields
from objfs.auth.signing import SigningKeys, same, sign, wrong_signature

_BLANKS = re.compile(r"[ \t]+")


class Verified(msgspec.Struct, frozen=True):
    """A claim that is proven. `chunks` verifies the body where it is signed chunk by chunk."""

    claim: Claim
    payload: Payload
    chunks: ChunkVerifier | None = None


def read_claim(request: Signable, rules: Rules, now_ns: int) -> Claim | Anonymous:
    """The claim of a request whose signature is in its header or query. NotAuthenticated when
    there is one that breaks a rule."""
    query = query_fields(request.query)
    header = request.header("authorization")
    presigned = not QUERY_MARKS.isdisjoint(query)
    old = "AWSAccessKeyId" in query and "Signature" in query
    if header is not None and (presigned or old):
        raise refused(
            Cause.SEVERAL_MECHANISMS,
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature "
            "query string parameter or the Authorization header should be specified",
            ArgumentName="Authorization",
            ArgumentValue=header,
        )
    if presigned:
        return query_claim(request, query, rules, now_ns)
    if old:
        raise old_signature()
    if header is not None:
        return header_claim(request, header, rules, now_ns)
    return Anonymous(anonymous_payload(request))


def verify(
    request: Signable,
    claim: Claim,
    secret: str,
    keys: SigningKeys,
    body_sha256: str | None = None,
) -> Verified:
    """The claim, believed: the owner of the secret signed this request. `body_sha256` is needed
    where the hash of the body is signed and not sent, as IAM and STS have it. NotAuthenticated
    otherwise."""
    declared = _declared(claim.payload, body_sha256)
    key = keys.key(secret, claim.scope)
    first = None
    for path, query in _spellings(request):
        canonical = canonical_request(request, claim, path, query, declared)
        text = string_to_sign(claim, canonical)
        if same(sign(key, text), claim.signature):
            chunks = ChunkVerifier(claim, key) if claim.payload.signed_chunks else None
            return Verified(claim, claim.payload, chunks)
        first = first or (text, canonical)
    assert first is not None
    raise wrong_signature(claim.access_key, first[0], claim.signature, first[1])


def check_body(payload: Payload, sha256: str) -> None:
    """Refuses a body whose digest (hexadecimal) is not the declared one."""
    if payload.sha256 is not None and payload.sha256.lower() != sha256:
        raise refused(
            Cause.PAYLOAD_MISMATCH,
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
            ClientComputedContentSHA256=payload.sha256,
            S3ComputedContentSHA256=sha256,
        )


def canonical_request(request: Signable, claim: Claim, path: str, query: str, payload: str) -> str:
    """The text whose hash is signed."""
    names = claim.signed_headers
    values: dict[str, list[str]] = {name: [] for name in names}
    for name, value in request.headers:
        if name in values:
            values[name].append(_BLANKS.sub(" ", value.strip(" \t")))
    headers = "".join(f"{name}:{','.join(values[name])}\n" for name in names)
    return "\n".join((request.method, path, query, headers, ";".join(names), payload))


def string_to_sign(claim: Claim, canonical: str) -> str:
    """The text that is signed."""
    digest = hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()
    return f"{ALGORITHM}\n{claim.timestamp}\n{claim.scope}\n{digest}"


def _declared(payload: Payload, body_sha256: str | None) -> str:
    if payload.mode is not Mode.HASHED:
        mode: str = payload.mode.value
        return mode
    declared = payload.sha256 or body_sha256
    assert declared is not None, "the hash of a body that is signed and not sent is asked for"
    return declared


def _spellings(request: Signable) -> Iterator[tuple[str, str]]:
    """The spellings of path and query that may have been signed: as they came, which is the
    likeliest, and as AWS encodes them."""
    came = _text(request.path)
    queries = _queries(request.query)
    for query in queries:
        yield came, query
    encoded = quote_from_bytes(unquote_to_bytes(request.path), safe="/")
    if encoded != came:
        for query in queries:
            yield encoded, query


def _queries(raw: bytes) -> Iterable[str]:
    """Those of a query, its fields in order and without the signature itself."""
    if not raw:
        return ("",)
    fields = [
        (name, value)
        for part in raw.split(b"&")
        if part
        for name, _, value in [part.partition(b"=")]
    ]
    fields = [field for field in fields if _text(field[0]) != SIGNATURE_FIELD]
    encoded = [(_encoded(name), _encoded(value)) for name, value in fields]
    came = [(_text(name), _text(value)) for name, value in fields]
    return dict.fromkeys(
        "&".join(f"{name}={value}" for name, value in sorted(each)) for each in (came, encoded)
    )


def _encoded(raw: bytes) -> str:
    return quote_from_bytes(unquote_to_bytes(raw.replace(b"+", b" ")), safe="")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
