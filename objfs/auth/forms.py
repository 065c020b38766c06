"""The claim of a browser's POST form: its fields say who signed, and what is signed is the policy.

What the policy allows is `post_policy.py`. Names of fields are in lower case here; browsers and S3
do not care about their case.

Source: "Browser-Based Uploads Using POST (AWS Signature Version 4)" of the Amazon S3 API Reference.
"""

from collections.abc import Mapping

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
    old_signature,
    read_credential,
    read_timestamp,
)
from objfs.auth.signing import SigningKeys, same, sign, wrong_signature
from objfs.base.limits import PRESIGNED_SECONDS_MAX, SIGNATURE_SKEW_SECONDS

_FIELDS = ("policy", "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature")


def read_form(fields: Mapping[str, str], rules: Rules, now_ns: int) -> Claim | Anonymous:
    """What the fields before the file say. NotAuthenticated when they break a rule."""
    payload = Payload(Mode.UNSIGNED)
    if fields.keys().isdisjoint(_FIELDS):
        if "awsaccesskeyid" in fields:
            raise old_signature()
        return Anonymous(payload)
    if "awsaccesskeyid" in fields and "signature" in fields:
        raise old_signature()
    for name in _FIELDS:
        if name not in fields:
            raise malformed(
                Place.FORM,
                f"Bucket POST must contain a field named '{name}'.  If it is specified, please "
                "check the order of the fields.",
                ArgumentName=name,
                ArgumentValue="",
            )
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
        token=fields.get("x-amz-security-token"),
    )


def verify_form(fields: Mapping[str, str], claim: Claim, secret: str, keys: SigningKeys) -> None:
    """The owner of the secret signed this policy; NotAuthenticated otherwise."""
    policy = fields["policy"]
    if not same(sign(keys.key(secret, claim.scope), policy), claim.signature):
        raise wrong_signature(claim.access_key, policy, claim.signature)


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
