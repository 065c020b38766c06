"""The condition keys of S3 that a call gives to policies ("Amazon S3 condition keys")."""

from objfs.auth.claims import ALGORITHM, Claim, Place, read_timestamp
from objfs.auth.forms import OldClaim
from objfs.s3.calls import Call
from objfs.s3.documents.tagging import HEADER as TAGGING
from objfs.s3.documents.tagging import parse_tagging_header
from objfs.volume.object_types import ObjectInfo

_QUERY = {
    "prefix": "s3:prefix",
    "delimiter": "s3:delimiter",
    "max-keys": "s3:max-keys",
    "versionId": "s3:versionid",
}
_HEADERS = (
    "x-amz-acl",
    "x-amz-content-sha256",
    "x-amz-copy-source",
    "x-amz-grant-full-control",
    "x-amz-grant-read",
    "x-amz-grant-read-acp",
    "x-amz-grant-write",
    "x-amz-grant-write-acp",
    "x-amz-metadata-directive",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
    "x-amz-object-ownership",
)
_OTHER_NAMES = {
    "x-amz-object-lock-mode": "s3:object-lock-mode",
    "x-amz-object-lock-retain-until-date": "s3:object-lock-retain-until-date",
    "x-amz-object-lock-legal-hold": "s3:object-lock-legal-hold",
    "if-match": "s3:if-match",
    "if-none-match": "s3:if-none-match",
}
_PLACES = {
    Place.HEADER: "REST-HEADER",
    Place.QUERY: "REST-QUERY-STRING",
    Place.FORM: "POST",
}


def operation_context(call: Call, info: ObjectInfo | None) -> dict[str, tuple[str, ...]]:
    """The keys with a value, in lower case. InvalidTag for tags that cannot be."""
    found: dict[str, tuple[str, ...]] = {}
    for parameter, name in _QUERY.items():
        value = call.query(parameter)
        if value is not None:
            found[name] = (value,)
    for header in _HEADERS:
        value = call.headers.get(header)
        if value is not None:
            found[f"s3:{header}"] = (value,)
    for header, name in _OTHER_NAMES.items():
        value = call.headers.get(header)
        if value is not None:
            found[name] = (value,)
    if call.caller.claim is not None:
        found.update(_signature_context(call.caller.claim, call.now_ns))
    for key, text in (info.tags if info is not None else {}).items():
        found[f"s3:existingobjecttag/{key.lower()}"] = (text,)
    tagging = call.headers.get(TAGGING)
    if tagging is not None:
        found.update(tag_context(parse_tagging_header(tagging)))
    return found


def _signature_context(claim: Claim | OldClaim, now_ns: int) -> dict[str, tuple[str, ...]]:
    """The keys of a signature; its age is a matter of URLs, which others may have got hold of."""
    found: dict[str, tuple[str, ...]] = {"s3:authtype": (_PLACES[claim.place],)}
    if isinstance(claim, OldClaim):
        return found | {"s3:signatureversion": ("AWS",)}
    found["s3:signatureversion"] = (ALGORITHM,)
    if claim.place is Place.QUERY:
        signed_ns = read_timestamp(claim.timestamp)
        assert signed_ns is not None, "the time of a signature was read before it was believed"
        found["s3:signatureage"] = (str(max(0, now_ns - signed_ns) // 1_000_000),)
    return found


def tag_context(tags: dict[str, str]) -> dict[str, tuple[str, ...]]:
    """The keys of tags that a request sets."""
    found: dict[str, tuple[str, ...]] = {
        f"s3:requestobjecttag/{key.lower()}": (text,) for key, text in tags.items()
    }
    if tags:
        found["s3:requestobjecttagkeys"] = tuple(tags)
    return found
