"""S3's error codes: the status and the message of each that this server sends.

The codes and messages are S3's own ("Error responses", "List of error codes" in the API reference);
clients match on the code, people read the message.
"""

from typing import NamedTuple


class ErrorCode(NamedTuple):
    """What goes with a code: the HTTP status, and the message if nothing better is known."""

    status: int
    message: str


def _codes(status: int, messages: dict[str, str]) -> dict[str, ErrorCode]:
    return {code: ErrorCode(status, message) for code, message in messages.items()}


_NOT_MODIFIED = {"NotModified": "Not Modified"}

_BAD_REQUEST = {
    "AccessControlListNotSupported": "The bucket does not allow ACLs",
    "AuthorizationHeaderMalformed": "The authorization header is malformed.",
    "AuthorizationQueryParametersError": "Query-string authentication parameters are malformed.",
    "BadDigest": "The Content-MD5 you specified did not match what we received.",
    "BadRequest": "The request cannot be understood.",
    "EntityTooLarge": "Your proposed upload exceeds the maximum allowed size",
    "EntityTooSmall": "Your proposed upload is smaller than the minimum allowed size",
    "ExpiredToken": "The provided token has expired.",
    "IllegalLocationConstraintException": "The unspecified location constraint is incompatible "
    "for the region specific endpoint this request was sent to.",
    "IllegalVersioningConfigurationException": "The versioning configuration specified in the "
    "request is invalid.",
    "IncompleteBody": "You did not provide the number of bytes specified by the Content-Length "
    "HTTP header",
    "InvalidAccessPoint": "The specified access point name or account is not valid.",
    "InvalidArgument": "Invalid Argument",
    "InvalidBucketAclWithObjectOwnership": "Bucket cannot have ACLs set with ObjectOwnership's "
    "BucketOwnerEnforced setting",
    "InvalidBucketName": "The specified bucket is not valid.",
    "InvalidBucketOwnerAWSAccountID": "The value of the expected bucket owner parameter must be an "
    "AWS Account ID or a canonical user ID.",
    "InvalidChunkSizeError": "Only the last chunk is allowed to have a size less than 8192 bytes",
    "InvalidDigest": "The Content-MD5 you specified was invalid.",
    "InvalidEncryptionAlgorithmError": "The Encryption request you specified is not valid. "
    "Supported value: AES256.",
    "InvalidHostHeader": "The host headers provided in the request used the incorrect style "
    "addressing.",
    "InvalidHttpMethod": "The request was made with an unexpected HTTP method.",
    "InvalidLocationConstraint": "The specified location-constraint is not valid",
    "InvalidPart": "One or more of the specified parts could not be found.  The part may not have "
    "been uploaded, or the specified entity tag may not match the part's entity tag.",
    "InvalidPartOrder": "The list of parts was not in ascending order. Parts must be ordered by "
    "part number.",
    "InvalidPolicyDocument": "The content of the form does not meet the conditions specified in "
    "the policy document.",
    "InvalidRedirectLocation": "The website redirect location must have a prefix of 'http://' or "
    "'https://' or '/'.",
    "InvalidRequest": "Invalid Request",
    "InvalidStorageClass": "The storage class you specified is not valid",
    "InvalidTag": "The TagValue you have provided is invalid",
    "InvalidTargetBucketForLogging": "The target bucket for logging does not exist, is not owned "
    "by you, or does not have the appropriate grants for the log-delivery group.",
    "InvalidToken": "The provided token is malformed or otherwise not valid.",
    "InvalidURI": "Couldn't parse the specified URI.",
    "KeyTooLongError": "Your key is too long",
    "MalformedACLError": "The XML you provided was not well-formed or did not validate against "
    "our published schema",
    "MalformedPOSTRequest": "The body of your POST request is not well-formed multipart/form-data.",
    "MalformedPolicy": "Policy has invalid resource.",
    "MalformedTrailerError": "The request contained trailing data that was not well-formed or did "
    "not conform to our published schema.",
    "MalformedXML": "The XML you provided was not well-formed or did not validate against our "
    "published schema",
    "MaxMessageLengthExceeded": "Your request was too big.",
    "MaxPostPreDataLengthExceededError": "Your POST request fields preceding the upload file were "
    "too large.",
    "MetadataTooLarge": "Your metadata headers exceed the maximum allowed metadata size",
    "MissingRequestBodyError": "Request body is empty.",
    "MissingSecurityHeader": "Your request was missing a required header.",
    "NoLoggingStatusForKey": "There is no such thing as a logging status subresource for a key.",
    "RequestHeaderSectionTooLarge": "Your request header section exceeds the maximum allowed "
    "request header section size",
    "RequestIsNotMultiPartContent": "Bucket POST must be of the enclosure-type "
    "multipart/form-data.",
    "RequestTimeout": "Your socket connection to the server was not read from or written to "
    "within the timeout period. Idle connections will be closed.",
    "TooManyBuckets": "You have attempted to create more buckets than allowed",
    "UnexpectedContent": "This request does not support content",
    "UnresolvableGrantByEmailAddress": "The e-mail address you provided does not match any account "
    "on record.",
    "UnsupportedArgument": "The request contained an unsupported argument.",
    "UserKeyMustBeSpecified": "The bucket POST must contain the specified field name. If it is "
    "specified, check the order of the fields.",
    "XAmzContentChecksumMismatch": "The provided 'x-amz-checksum' header does not match what was "
    "computed.",
    "XAmzContentSHA256Mismatch": "The provided 'x-amz-content-sha256' header does not match what "
    "was computed.",
}

_FORBIDDEN = {
    "AccessDenied": "Access Denied",
    "AccessForbidden": "CORSResponse: This CORS request is not allowed. This is usually because "
    "the evalution of Origin, request method / Access-Control-Request-Method or "
    "Access-Control-Request-Headers are not whitelisted by the resource's CORS spec.",
    "AllAccessDisabled": "All access to this object has been disabled.",
    "InvalidAccessKeyId": "The AWS Access Key Id you provided does not exist in our records.",
    "InvalidObjectState": "The operation is not valid for the current state of the object.",
    "RequestTimeTooSkewed": "The difference between the request time and the current time is too "
    "large.",
    "SignatureDoesNotMatch": "The request signature we calculated does not match the signature you "
    "provided. Check your key and signing method.",
}

_NOT_FOUND = {
    "NoSuchBucket": "The specified bucket does not exist",
    "NoSuchBucketPolicy": "The bucket policy does not exist",
    "NoSuchConfiguration": "The specified configuration does not exist.",
    "NoSuchCORSConfiguration": "The CORS configuration does not exist",
    "NoSuchKey": "The specified key does not exist.",
    "NoSuchLifecycleConfiguration": "The lifecycle configuration does not exist",
    "NoSuchObjectLockConfiguration": "The specified object does not have a ObjectLock "
    "configuration",
    "NoSuchPublicAccessBlockConfiguration": "The public access block configuration was not found",
    "NoSuchTagSet": "The TagSet does not exist",
    "NoSuchUpload": "The specified upload does not exist. The upload ID may be invalid, or the "
    "upload may have been aborted or completed.",
    "NoSuchVersion": "The specified version does not exist.",
    "NoSuchWebsiteConfiguration": "The specified bucket does not have a website configuration",
    "ObjectLockConfigurationNotFoundError": "Object Lock configuration does not exist for this "
    "bucket",
    "OwnershipControlsNotFoundError": "The bucket ownership controls were not found",
    "ReplicationConfigurationNotFoundError": "The replication configuration was not found",
    "ServerSideEncryptionConfigurationNotFoundError": "The server side encryption configuration "
    "was not found",
}

_METHOD_NOT_ALLOWED = {
    "MethodNotAllowed": "The specified method is not allowed against this resource.",
}

_CONFLICT = {
    "BucketAlreadyExists": "The requested bucket name is not available. The bucket namespace is "
    "shared by all users of the system. Please select a different name and try again.",
    "BucketAlreadyOwnedByYou": "Your previous request to create the named bucket succeeded and you "
    "already own it.",
    "BucketNotEmpty": "The bucket you tried to delete is not empty",
    "ConditionalRequestConflict": "A conflicting conditional operation is currently in progress "
    "against this resource. Please try again.",
    "InvalidBucketState": "The request is not valid for the current state of the bucket.",
    "OperationAborted": "A conflicting conditional operation is currently in progress against this "
    "resource. Please try again.",
}

_OTHERS = {
    "PermanentRedirect": ErrorCode(
        301, "The bucket you are attempting to access must be addressed by the specified endpoint."
    ),
    "MissingContentLength": ErrorCode(411, "You must provide the Content-Length HTTP header."),
    "PreconditionFailed": ErrorCode(
        412, "At least one of the pre-conditions you specified did not hold"
    ),
    "RequestURITooLong": ErrorCode(414, "The request target is too long."),
    "InvalidRange": ErrorCode(416, "The requested range is not satisfiable"),
    "ExpectationFailed": ErrorCode(417, "The only expectation is 100-continue."),
    "InvalidPartNumber": ErrorCode(416, "The requested partnumber is not satisfiable"),
    "InternalError": ErrorCode(500, "We encountered an internal error. Please try again."),
    "NotImplemented": ErrorCode(
        501, "A header you provided implies functionality that is not implemented"
    ),
    "HttpVersionNotSupported": ErrorCode(505, "The HTTP version must be 1.1 or 1.0."),
    "ServiceUnavailable": ErrorCode(503, "Service is unable to handle request."),
    "SlowDown": ErrorCode(503, "Please reduce your request rate."),
    "InsufficientStorage": ErrorCode(507, "There is no space left for this request."),
}

CODES: dict[str, ErrorCode] = {
    **_codes(304, _NOT_MODIFIED),
    **_codes(400, _BAD_REQUEST),
    **_codes(403, _FORBIDDEN),
    **_codes(404, _NOT_FOUND),
    **_codes(405, _METHOD_NOT_ALLOWED),
    **_codes(409, _CONFLICT),
    **_OTHERS,
}
