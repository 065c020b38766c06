"""The claim of a browser's POST form: its fields say who signed, and what is signed is the policy.

What the policy allows is `post_policy.py`. Names of fields are in lower case here; browsers and S3
do not care about their case.

A form may be signed with signature version 2 as well: the generators of forms on many pages are
that old, and so are the suites that test servers. What is signed is a policy that says what the
form may do and until when. A request signed that way is refused.

Source: "Browser-Based Uploads Using POST (AWS Signature Version 4)" of the Amazon S3 API Reference,
and "Browser-Based Uploads Using POST (AWS Signature Version 2)" of the S3 User Guide.
"""

import base64
import hmac
from collections.abc import Mapping

import msgspec

from objfs.auth.causes import Cause, refused
from objfs.auth.claims import (
    ALGORITHM,
    SECOND_NS,
    Anonymous,
    Claim,
    Mode,
    Payload,
    Place,
    Rules,
    malformed,
    read_credential,
    read_timestamp,
)
from objfs.auth.signing import SigningKeys, same, sign, wrong_signature
from objfs.base.limits import PRESIGNED_SECONDS_MAX, SIGNATURE_SKEW_SECONDS

_FIELDS = ("policy", "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature")
_OLD_FIELDS = ("policy", "awsaccesskeyid", "signature")
_ONLY_NEW = frozenset(_FIELDS) - {"policy", "x-amz-date"}  # a date can be a field of any form


class OldClaim(msgspec.Struct, frozen=True):
    """A signature of version 2 that was read. Nothing of it is proven."""

    access_key: str
    signature: str  # in base64
    payload: Payload
    token: str | None

    @property
    def place(self) -> Place:
        """Only forms have them."""
        return Place.FORM


def read_form(fields: Mapping[str, str], rules: Rules, now_ns: int) -> Claim | OldClaim | Anonymous:
    """What the fields before the file say. NotAuthenticated when they break a rule."""
    payload = Payload(Mode.UNSIGNED)
    token = fields.get("x-amz-security-token")
    new, old = not _ONLY_NEW.isdisjoint(fields), "awsaccesskeyid" in fields
    if new and old:
        raise refused(
            Cause.SEVERAL_MECHANISMS,
            "Only one auth mechanism allowed: the fields of a form are of one signature version",
            ArgumentName="AWSAccessKeyId",
            ArgumentValue=fields["awsaccesskeyid"],
        )
    if old:
        _check_there(fields, _OLD_FIELDS)
        return OldClaim(fields["awsaccesskeyid"], fields["signature"], payload, token)
    if fields.keys().isdisjoint(_FIELDS):
        return Anonymous(payload)
    _check_there(fields, _FIELDS)
    algorithm = fields["x-amz-algorithm"]
    if algorithm != ALGORITHM:
        raise malformed(
            Place.FORM,
            f"Only {ALGORITHM} is supported",
            ArgumentName="X-Amz-Algorithm",
            ArgumentValue=algorithm,
        )
    access_key, scope = read_credential(fields["x-amz-credential"], rules, Place.FORM)
    timestamp = fields["x-amz-date"]
    _check_date(timestamp, scope.date, now_ns)
    return Claim(
        place=Place.FORM,
        access_key=access_key,
        scope=scope,
        timestamp=timestamp,
        signed_headers=(),
        signature=fields["x-amz-signature"],
        payload=payload,
        token=token,
    )


def verify_form(
    fields: Mapping[str, str], claim: Claim | OldClaim, secret: str, keys: SigningKeys
) -> None:
    """The owner of the secret signed this policy; NotAuthenticated otherwise."""
    policy = fields["policy"]
    if isinstance(claim, OldClaim):
        signature = _old_signature(secret, policy)
    else:
        signature = sign(keys.key(secret, claim.scope), policy)
    if not same(signature, claim.signature):
        raise wrong_signature(claim.access_key, policy, claim.signature)


def _old_signature(secret: str, policy: str) -> str:
    text = policy.encode("utf-8", "surrogateescape")
    return base64.b64encode(hmac.digest(secret.encode(), text, "sha1")).decode()


def _check_there(fields: Mapping[str, str], names: tuple[str, ...]) -> None:
    for name in names:
        if name not in fields:
            raise malformed(
                Place.FORM,
                f"Bucket POST must contain a field named '{name}'.  If it is specified, please "
                "check the order of the fields.",
                ArgumentName=name,
                ArgumentValue="",
            )


def _check_date(timestamp: str, date: str, now_ns: int) -> None:
    """A key that was derived for a day is good for a week."""
    signed_ns = read_timestamp(timestamp)
    if signed_ns is None or timestamp[:8] != date:
        raise malformed(
            Place.FORM,
            "X-Amz-Date must be formated via ISO8601 Long format"
            if signed_ns is None
            else "X-Amz-Date must be of the day that the credential is for",
            ArgumentName="X-Amz-Date",
            ArgumentValue=timestamp,
        )
    if signed_ns > now_ns + SIGNATURE_SKEW_SECONDS * SECOND_NS:
        raise refused(Cause.NOT_YET_VALID, "Request is not valid yet")
    if now_ns > signed_ns + PRESIGNED_SECONDS_MAX * SECOND_NS:
        raise refused(Cause.EXPIRED, "Invalid according to Policy: Policy expired.")
