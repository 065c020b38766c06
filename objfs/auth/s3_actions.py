"""The actions of S3 that policies can name, and what kind of resource each one is about.

From the service authorization reference of Amazon S3, as far as general purpose buckets go. Which
operation of the API needs which of them is said where the operations are.
"""

ACCOUNT = "account"
BUCKET = "bucket"
OBJECT = "object"

_ACCOUNT_ACTIONS = """
GetAccountPublicAccessBlock PutAccountPublicAccessBlock ListAllMyBuckets CreateJob ListJobs
ListAccessPoints ListStorageLensConfigurations
"""

_BUCKET_ACTIONS = """
CreateBucket DeleteBucket DeleteBucketPolicy DeleteBucketOwnershipControls DeleteBucketWebsite
GetAccelerateConfiguration GetAnalyticsConfiguration GetBucketAcl GetBucketCORS GetBucketLocation
GetBucketLogging GetBucketNotification GetBucketObjectLockConfiguration GetBucketOwnershipControls
GetBucketPolicy GetBucketPolicyStatus GetBucketPublicAccessBlock GetBucketRequestPayment
GetBucketTagging GetBucketVersioning GetBucketWebsite GetEncryptionConfiguration
GetIntelligentTieringConfiguration GetInventoryConfiguration GetLifecycleConfiguration
GetMetricsConfiguration GetReplicationConfiguration ListBucket ListBucketMultipartUploads
ListBucketVersions PutAccelerateConfiguration PutAnalyticsConfiguration PutBucketAcl PutBucketCORS
PutBucketLogging PutBucketNotification PutBucketObjectLockConfiguration PutBucketOwnershipControls
PutBucketPolicy PutBucketPublicAccessBlock PutBucketRequestPayment PutBucketTagging
PutBucketVersioning PutBucketWebsite PutEncryptionConfiguration
PutIntelligentTieringConfiguration PutInventoryConfiguration PutLifecycleConfiguration
PutMetricsConfiguration PutReplicationConfiguration
"""

_OBJECT_ACTIONS = """
AbortMultipartUpload BypassGovernanceRetention DeleteObject DeleteObjectTagging DeleteObjectVersion
DeleteObjectVersionTagging GetObject GetObjectAcl GetObjectAttributes GetObjectLegalHold
GetObjectRetention GetObjectTagging GetObjectTorrent GetObjectVersion GetObjectVersionAcl
GetObjectVersionAttributes GetObjectVersionForReplication GetObjectVersionTagging
GetObjectVersionTorrent InitiateReplication ListMultipartUploadParts
ObjectOwnerOverrideToBucketOwner
PutObject PutObjectAcl PutObjectLegalHold PutObjectRetention PutObjectTagging PutObjectVersionAcl
PutObjectVersionTagging ReplicateDelete ReplicateObject ReplicateTags RestoreObject
"""

S3_ACTIONS: dict[str, str] = {
    f"s3:{name}": kind
    for kind, names in (
        (ACCOUNT, _ACCOUNT_ACTIONS),
        (BUCKET, _BUCKET_ACTIONS),
        (OBJECT, _OBJECT_ACTIONS),
    )
    for name in names.split()
}
