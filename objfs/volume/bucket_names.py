"""Which names a bucket may have: S3's rules for general purpose buckets, so that every bucket made
here can be served, and mirrored to another S3 service, under its own name.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
"""

import re

from objfs.base.errors import InvalidRequest
from objfs.base.limits import BUCKET_NAME_CHARS_MAX, BUCKET_NAME_CHARS_MIN

RESERVED_PREFIXES = ("xn--", "sthree-", "amzn-s3-demo-")
RESERVED_SUFFIXES = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")

_ALLOWED = re.compile(r"[a-z0-9.-]*", re.ASCII)
_ADDRESS = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+", re.ASCII)


def broken_rule(name: str) -> str | None:
    """The first rule that `name` breaks, as the end of a sentence; None if it breaks none."""
    if not BUCKET_NAME_CHARS_MIN <= len(name) <= BUCKET_NAME_CHARS_MAX:
        return f"it must have {BUCKET_NAME_CHARS_MIN} to {BUCKET_NAME_CHARS_MAX} characters"
    if not _ALLOWED.fullmatch(name):
        return "only lower-case letters a-z, digits, dots and hyphens are allowed"
    if not (name[0].isalnum() and name[-1].isalnum()):
        return "it must begin and end with a letter or a digit"
    if ".." in name:
        return "two dots must not follow each other"
    if _ADDRESS.fullmatch(name):
        return "it must not look like an IP address"
    for prefix in RESERVED_PREFIXES:
        if name.startswith(prefix):
            return f"the beginning {prefix!r} is reserved"
    for suffix in RESERVED_SUFFIXES:
        if name.endswith(suffix):
            return f"the ending {suffix!r} is reserved"
    return None


def check_bucket_name(name: str) -> None:
    """Raises InvalidRequest with the broken rule if S3 would refuse the name."""
    rule = broken_rule(name)
    if rule is not None:
        raise InvalidRequest(f"{name!r} cannot be the name of a bucket: {rule}")
