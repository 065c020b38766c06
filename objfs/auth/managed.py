"""The managed policies that every store has. They cannot be changed; their ARNs are AWS's own, but
for the last one, which has no counterpart there.

`S3OwnBucketsAccess` makes a user a tenant: it may make buckets and do anything in those, and sees
nothing of others' that these do not give it.
"""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from objfs.auth.policy_document import VERSION

ARN_PREFIX = "arn:aws:iam::aws:policy/"
ADMINISTRATOR = ARN_PREFIX + "AdministratorAccess"

Statement = dict[str, object]


def _allow(actions: str | list[str], **more: object) -> Statement:
    return {"Effect": "Allow", "Action": actions, "Resource": "*", **more}


def _document(*statements: Statement) -> str:
    document = {"Version": VERSION, "Statement": list(statements)}
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()


# By name. The last one's condition: the bucket's owner is the one who asks.
BUILT_IN: Mapping[str, str] = MappingProxyType(
    {
        "AdministratorAccess": _document(_allow("*")),
        "AmazonS3FullAccess": _document(_allow("s3:*")),
        "AmazonS3ReadOnlyAccess": _document(_allow(["s3:Get*", "s3:List*"])),
        "IAMFullAccess": _document(_allow("iam:*")),
        "IAMReadOnlyAccess": _document(_allow(["iam:Get*", "iam:List*"])),
        "S3OwnBucketsAccess": _document(
            _allow(["s3:CreateBucket", "s3:ListAllMyBuckets"]),
            _allow(
                "s3:*",
                Condition={"StringEquals": {"objfs:BucketOwner": "${objfs:CanonicalUser}"}},
            ),
        ),
    }
)


def built_in(arn: str) -> str | None:
    """The document of a built-in policy by its ARN; None if it is none."""
    if not arn.startswith(ARN_PREFIX):
        return None
    return BUILT_IN.get(arn.removeprefix(ARN_PREFIX))
