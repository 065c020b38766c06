"""Every operation of S3, as data: how a request names it, which IAM actions it needs, and whether
this server does it. docs/S3.md shows the same table; a test compares the two, and this one with
botocore's model of the service.

Actions are those of the "Service authorization reference" of Amazon S3. Where a request names a
version, `version_action` is asked for in place of `action`.
"""

from typing import NamedTuple


class Operation(NamedTuple):
    """One operation. `scope` says what the path names: "service", "bucket" or "object".
    `subresource` is the query parameter that chooses it, "" for none. `refused` says why this
    server does not do it; "" if it does. `note` limits what is done."""

    name: str
    method: str
    scope: str
    subresource: str
    action: str
    version_action: str = ""
    refused: str = ""
    note: str = ""


_DIRECTORY = "of directory buckets (S3 Express) only"
_REPORTS = "reports about buckets are not made here"
_TABLES = "metadata tables are a service of AWS"
_TIERS = "there are no storage tiers"
_LONG_DELETE = "DeleteBucketLifecycleConfiguration"
_ANNOTATIONS = "annotations do not exist here: use metadata or tags"

_SERVICE = (
    Operation("ListBuckets", "GET", "service", "", "s3:ListAllMyBuckets"),
    Operation(
        "ListDirectoryBuckets",
        "GET",
        "service",
        "max-directory-buckets",
        "s3express:ListAllMyDirectoryBuckets",
        refused=_DIRECTORY,
    ),
    Operation(
        "WriteGetObjectResponse",
        "POST",
        "service",
        "WriteGetObjectResponse",
        "s3-object-lambda:WriteGetObjectResponse",
        refused="there are no Object Lambda functions",
    ),
)


def _configuration(
    subresource: str,
    name: str,
    read: str,
    write: str,
    erase: str | None = None,
    *,
    refused: tuple[str, ...] = (),
    why: str = "",
    note: str = "",
) -> tuple[Operation, ...]:
    """The two or three operations of a bucket's configuration. `erase` is the action of the
    DELETE, None where there is no DELETE; `refused` are the methods that are not done."""
    methods = [("GET", "Get", read), ("PUT", "Put", write)]
    if erase is not None:
        methods.append(("DELETE", "Delete", erase))
    return tuple(
        Operation(
            _name(prefix, name),
            method,
            "bucket",
            subresource,
            action,
            refused=why if method in refused else "",
            note="" if method in refused else note,
        )
        for method, prefix, action in methods
    )


def _name(prefix: str, name: str) -> str:
    # S3's one exception: DeleteBucketLifecycle.
    return "DeleteBucketLifecycle" if prefix + name == _LONG_DELETE else prefix + name


def _refused(subresource: str, name: str, why: str, *, lists: bool = True) -> tuple[Operation, ...]:
    """A family of configurations that is refused as a whole."""
    action = f"s3:{{}}{name.removeprefix('Bucket')}Configuration"
    family = [
        Operation(
            f"{prefix}{name}Configuration",
            method,
            "bucket",
            subresource,
            action.format(verb),
            "",
            why,
        )
        for prefix, method, verb in (
            ("Delete", "DELETE", "Put"),
            ("Get", "GET", "Get"),
            ("Put", "PUT", "Put"),
        )
    ]
    if lists:
        family.append(
            Operation(
                f"List{name}Configurations",
                "GET",
                "bucket",
                subresource,
                action.format("Get"),
                "",
                why,
            )
        )
    return tuple(family)


_BUCKET = (
    Operation("CreateBucket", "PUT", "bucket", "", "s3:CreateBucket"),
    Operation("DeleteBucket", "DELETE", "bucket", "", "s3:DeleteBucket"),
    Operation("HeadBucket", "HEAD", "bucket", "", "s3:ListBucket"),
    Operation("ListObjects", "GET", "bucket", "", "s3:ListBucket"),
    Operation("ListObjectsV2", "GET", "bucket", "list-type", "s3:ListBucket"),
    Operation("ListObjectVersions", "GET", "bucket", "versions", "s3:ListBucketVersions"),
    Operation("ListMultipartUploads", "GET", "bucket", "uploads", "s3:ListBucketMultipartUploads"),
    Operation("DeleteObjects", "POST", "bucket", "delete", "s3:DeleteObject"),
    Operation(
        "PostObject",
        "POST",
        "bucket",
        "",
        "s3:PutObject",
        note="the upload of a browser's form",
    ),
    Operation("GetBucketLocation", "GET", "bucket", "location", "s3:GetBucketLocation"),
    Operation("GetBucketPolicyStatus", "GET", "bucket", "policyStatus", "s3:GetBucketPolicyStatus"),
    *_configuration("acl", "BucketAcl", "s3:GetBucketAcl", "s3:PutBucketAcl"),
    *_configuration(
        "cors", "BucketCors", "s3:GetBucketCORS", "s3:PutBucketCORS", "s3:PutBucketCORS"
    ),
    *_configuration(
        "encryption",
        "BucketEncryption",
        "s3:GetEncryptionConfiguration",
        "s3:PutEncryptionConfiguration",
        "s3:PutEncryptionConfiguration",
        refused=("PUT",),
        why="the server does not encrypt objects",
        note="there never is one",
    ),
    *_configuration(
        "lifecycle",
        "BucketLifecycleConfiguration",
        "s3:GetLifecycleConfiguration",
        "s3:PutLifecycleConfiguration",
        "s3:PutLifecycleConfiguration",
        note="transitions are refused: there are no storage tiers",
    ),
    *_configuration(
        "logging",
        "BucketLogging",
        "s3:GetBucketLogging",
        "s3:PutBucketLogging",
        note="only to turn it off: the server's audit log has every request",
    ),
    *_configuration(
        "notification",
        "BucketNotificationConfiguration",
        "s3:GetBucketNotification",
        "s3:PutBucketNotification",
        note="only an empty one: there is nothing here that could be notified",
    ),
    *_configuration(
        "object-lock",
        "ObjectLockConfiguration",
        "s3:GetBucketObjectLockConfiguration",
        "s3:PutBucketObjectLockConfiguration",
    ),
    *_configuration(
        "ownershipControls",
        "BucketOwnershipControls",
        "s3:GetBucketOwnershipControls",
        "s3:PutBucketOwnershipControls",
        "s3:PutBucketOwnershipControls",
    ),
    *_configuration(
        "policy",
        "BucketPolicy",
        "s3:GetBucketPolicy",
        "s3:PutBucketPolicy",
        "s3:DeleteBucketPolicy",
    ),
    *_configuration(
        "publicAccessBlock",
        "PublicAccessBlock",
        "s3:GetBucketPublicAccessBlock",
        "s3:PutBucketPublicAccessBlock",
        "s3:PutBucketPublicAccessBlock",
    ),
    *_configuration(
        "replication",
        "BucketReplication",
        "s3:GetReplicationConfiguration",
        "s3:PutReplicationConfiguration",
        "s3:PutReplicationConfiguration",
        refused=("PUT",),
        why="nothing is replicated to other services",
        note="there never is one",
    ),
    *_configuration(
        "requestPayment",
        "BucketRequestPayment",
        "s3:GetBucketRequestPayment",
        "s3:PutBucketRequestPayment",
        note="nobody pays here: BucketOwner only",
    ),
    *_configuration(
        "accelerate",
        "BucketAccelerateConfiguration",
        "s3:GetAccelerateConfiguration",
        "s3:PutAccelerateConfiguration",
        note="Suspended only",
    ),
    *_configuration(
        "tagging",
        "BucketTagging",
        "s3:GetBucketTagging",
        "s3:PutBucketTagging",
        "s3:PutBucketTagging",
    ),
    *_configuration(
        "versioning",
        "BucketVersioning",
        "s3:GetBucketVersioning",
        "s3:PutBucketVersioning",
        note="MFA delete is refused",
    ),
    *_configuration(
        "website",
        "BucketWebsite",
        "s3:GetBucketWebsite",
        "s3:PutBucketWebsite",
        "s3:DeleteBucketWebsite",
        refused=("PUT",),
        why="buckets are not served as web sites",
        note="there never is one",
    ),
    *_refused("analytics", "BucketAnalytics", _REPORTS),
    *_refused("intelligent-tiering", "BucketIntelligentTiering", _TIERS),
    *_refused("inventory", "BucketInventory", _REPORTS),
    *_refused("metrics", "BucketMetrics", "the metrics of this server are in Prometheus' form"),
    *(
        Operation(f"{verb}{name}", method, "bucket", subresource, f"s3:{verb}{name}", "", _TABLES)
        for name, subresource in (
            ("BucketMetadataConfiguration", "metadataConfiguration"),
            ("BucketMetadataTableConfiguration", "metadataTable"),
        )
        for verb, method in (("Create", "POST"), ("Delete", "DELETE"), ("Get", "GET"))
    ),
    *(
        Operation(
            f"UpdateBucketMetadata{name}TableConfiguration",
            "PUT",
            "bucket",
            f"metadata{name}Table",
            f"s3:UpdateBucketMetadata{name}TableConfiguration",
            "",
            _TABLES,
        )
        for name in ("Annotation", "Inventory", "Journal")
    ),
    *(
        Operation(
            f"{verb}BucketAbac",
            method,
            "bucket",
            "abac",
            f"s3:{verb}BucketAbac",
            "",
            "tags of buckets are no part of access control here",
        )
        for verb, method in (("Get", "GET"), ("Put", "PUT"))
    ),
    Operation(
        "CreateSession", "GET", "bucket", "session", "s3express:CreateSession", "", _DIRECTORY
    ),
)

_OBJECT = (
    Operation("GetObject", "GET", "object", "", "s3:GetObject", "s3:GetObjectVersion"),
    Operation("HeadObject", "HEAD", "object", "", "s3:GetObject", "s3:GetObjectVersion"),
    Operation("PutObject", "PUT", "object", "", "s3:PutObject"),
    Operation("CopyObject", "PUT", "object", "", "s3:PutObject"),
    Operation("DeleteObject", "DELETE", "object", "", "s3:DeleteObject", "s3:DeleteObjectVersion"),
    Operation(
        "GetObjectAttributes",
        "GET",
        "object",
        "attributes",
        "s3:GetObjectAttributes",
        "s3:GetObjectVersionAttributes",
    ),
    Operation("GetObjectAcl", "GET", "object", "acl", "s3:GetObjectAcl", "s3:GetObjectVersionAcl"),
    Operation("PutObjectAcl", "PUT", "object", "acl", "s3:PutObjectAcl", "s3:PutObjectVersionAcl"),
    Operation(
        "GetObjectTagging",
        "GET",
        "object",
        "tagging",
        "s3:GetObjectTagging",
        "s3:GetObjectVersionTagging",
    ),
    Operation(
        "PutObjectTagging",
        "PUT",
        "object",
        "tagging",
        "s3:PutObjectTagging",
        "s3:PutObjectVersionTagging",
    ),
    Operation(
        "DeleteObjectTagging",
        "DELETE",
        "object",
        "tagging",
        "s3:DeleteObjectTagging",
        "s3:DeleteObjectVersionTagging",
    ),
    Operation("GetObjectRetention", "GET", "object", "retention", "s3:GetObjectRetention"),
    Operation("PutObjectRetention", "PUT", "object", "retention", "s3:PutObjectRetention"),
    Operation("GetObjectLegalHold", "GET", "object", "legal-hold", "s3:GetObjectLegalHold"),
    Operation("PutObjectLegalHold", "PUT", "object", "legal-hold", "s3:PutObjectLegalHold"),
    Operation("CreateMultipartUpload", "POST", "object", "uploads", "s3:PutObject"),
    Operation("UploadPart", "PUT", "object", "uploadId", "s3:PutObject"),
    Operation("UploadPartCopy", "PUT", "object", "uploadId", "s3:PutObject"),
    Operation("CompleteMultipartUpload", "POST", "object", "uploadId", "s3:PutObject"),
    Operation("AbortMultipartUpload", "DELETE", "object", "uploadId", "s3:AbortMultipartUpload"),
    Operation("ListParts", "GET", "object", "uploadId", "s3:ListMultipartUploadParts"),
    Operation(
        "RestoreObject",
        "POST",
        "object",
        "restore",
        "s3:RestoreObject",
        note="no object is archived: always InvalidObjectState",
    ),
    Operation(
        "SelectObjectContent",
        "POST",
        "object",
        "select",
        "s3:GetObject",
        "",
        "objects are not queried",
    ),
    Operation(
        "GetObjectTorrent",
        "GET",
        "object",
        "torrent",
        "s3:GetObjectTorrent",
        "s3:GetObjectVersionTorrent",
        "S3 itself gave it up",
    ),
    Operation("RenameObject", "PUT", "object", "renameObject", "s3:PutObject", "", _DIRECTORY),
    Operation(
        "UpdateObjectEncryption",
        "PUT",
        "object",
        "encryption",
        "s3:UpdateObjectEncryption",
        "",
        "versions are not changed: copy the object onto itself",
    ),
    *(
        Operation(name, method, "object", "annotation", f"s3:{name}", "", _ANNOTATIONS)
        for name, method in (
            ("DeleteObjectAnnotation", "DELETE"),
            ("GetObjectAnnotation", "GET"),
            ("ListObjectAnnotations", "GET"),
            ("PutObjectAnnotation", "PUT"),
        )
    ),
)

OPERATIONS: dict[str, Operation] = {each.name: each for each in (*_SERVICE, *_BUCKET, *_OBJECT)}

# Older names of the same requests in S3's model.
OLDER_NAMES = {
    "GetBucketLifecycle": "GetBucketLifecycleConfiguration",
    "PutBucketLifecycle": "PutBucketLifecycleConfiguration",
    "GetBucketNotification": "GetBucketNotificationConfiguration",
    "PutBucketNotification": "PutBucketNotificationConfiguration",
}


def subresources(scope: str) -> frozenset[str]:
    """The query parameters that choose an operation in that scope."""
    return frozenset(
        each.subresource for each in OPERATIONS.values() if each.scope == scope and each.subresource
    )
