"""Errors as S3 says them: what is raised in the door, what errors from below become, their XML.

Promises: whatever is raised has an answer of S3's. What is nobody's fault but ours (an exception
that is no ObjfsError) becomes InternalError, and `is_internal` tells the caller to log it.
"""

from collections.abc import Iterable

from objfs.auth.causes import Cause
from objfs.base import errors as base
from objfs.s3 import xml_writer
from objfs.s3.dates import http_date
from objfs.s3.error_codes import CODES

# Errors from below -> S3's codes, by class and its nearest ancestor that has a row.
_BY_CLASS: dict[type[BaseException], str] = {
    base.InvalidRequest: "InvalidArgument",
    base.NameTooLong: "KeyTooLongError",
    base.KeyTooLong: "KeyTooLongError",
    base.MalformedPolicy: "MalformedPolicy",
    base.ChecksumMismatch: "BadDigest",
    base.BadFraming: "IncompleteBody",
    base.BadChunkSize: "InvalidChunkSizeError",
    base.BadTrailer: "MalformedTrailerError",
    base.InvalidPart: "InvalidPart",
    base.InvalidPartOrder: "InvalidPartOrder",
    base.EntityTooSmall: "EntityTooSmall",
    base.WrongUploadSize: "InvalidRequest",
    base.NotFound: "NoSuchKey",
    base.NoSuchBucket: "NoSuchBucket",
    base.NoSuchVersion: "NoSuchVersion",
    base.NoSuchUpload: "NoSuchUpload",
    base.AlreadyExists: "OperationAborted",
    base.BucketExists: "BucketAlreadyExists",
    base.NotADirectory: "InvalidRequest",
    base.IsADirectory: "InvalidRequest",
    base.DirectoryNotEmpty: "BucketNotEmpty",
    base.CrossBucket: "InvalidRequest",
    base.TooManyLinks: "InvalidRequest",
    base.FileTooLarge: "EntityTooLarge",
    base.AttributeTooLarge: "MetadataTooLarge",
    base.NotPermitted: "AccessDenied",
    base.AccessDenied: "AccessDenied",
    base.PreconditionFailed: "PreconditionFailed",
    base.NotModified: "NotModified",
    base.NotSupported: "NotImplemented",
    base.ReadOnly: "AccessDenied",
    base.Busy: "OperationAborted",
    base.BadHandle: "OperationAborted",
    base.StaleInode: "OperationAborted",
    base.StorageError: "ServiceUnavailable",
    base.NoSpace: "InsufficientStorage",
    base.DataLost: "InternalError",
    base.StoreError: "ServiceUnavailable",
}

# Why a request is not believed -> S3's codes. Those of STS are not S3's: its door has its own.
_BY_CAUSE: dict[object, str] = {
    Cause.BAD_HEADER: "InvalidArgument",
    Cause.MALFORMED_HEADER: "AuthorizationHeaderMalformed",
    Cause.MALFORMED_QUERY: "AuthorizationQueryParametersError",
    Cause.MALFORMED_FORM: "InvalidArgument",
    Cause.OLD_SIGNATURE: "InvalidRequest",
    Cause.SEVERAL_MECHANISMS: "InvalidArgument",
    Cause.NO_DATE: "AccessDenied",
    Cause.SKEWED: "RequestTimeTooSkewed",
    Cause.EXPIRED: "AccessDenied",
    Cause.NOT_YET_VALID: "AccessDenied",
    Cause.UNKNOWN_KEY: "InvalidAccessKeyId",
    Cause.INVALID_TOKEN: "InvalidToken",
    Cause.EXPIRED_TOKEN: "ExpiredToken",
    Cause.UNSIGNED_HEADERS: "AccessDenied",
    Cause.WRONG_SIGNATURE: "SignatureDoesNotMatch",
    Cause.NO_PAYLOAD_HASH: "InvalidRequest",
    Cause.BAD_PAYLOAD_HASH: "InvalidArgument",
    Cause.PAYLOAD_MISMATCH: "XAmzContentSHA256Mismatch",
    Cause.MALFORMED_POLICY: "InvalidPolicyDocument",
    Cause.POLICY_REFUSES: "AccessDenied",
    Cause.TOO_LARGE: "EntityTooLarge",
    Cause.TOO_SMALL: "EntityTooSmall",
}

Headers = tuple[tuple[str, str], ...]


class S3Error(base.ObjfsError):
    """An answer that is an error: `code` of error_codes.CODES, a message if the usual one says too
    little, the elements that S3 adds (BucketName, Key, ArgumentName...), headers of the answer."""

    def __init__(
        self, code: str, message: str = "", *, headers: Headers = (), **fields: str | int
    ) -> None:
        self.code = code
        self.status = CODES[code].status
        self.message = message or CODES[code].message
        self.fields = fields
        self.headers = headers
        super().__init__(f"{code}: {self.message}")


def invalid_argument(message: str, name: str, value: str) -> S3Error:
    """S3's answer to a parameter, a header or an element that makes no sense."""
    return S3Error("InvalidArgument", message, ArgumentName=name, ArgumentValue=value)


def code_of(kind: type[BaseException]) -> str:
    """The code of an error from below."""
    for ancestor in kind.__mro__:
        if ancestor in _BY_CLASS:
            return _BY_CLASS[ancestor]
    return "InternalError"


def as_s3(error: BaseException) -> S3Error:
    """The answer to whatever was raised."""
    if isinstance(error, S3Error):
        return error
    if isinstance(error, base.IsDeleteMarker):
        return _delete_marker(error)
    if isinstance(error, base.AclRefused):
        return S3Error(error.code, str(error))
    if isinstance(error, base.NotAuthenticated):
        answer = S3Error(_BY_CAUSE.get(error.cause, "AccessDenied"), str(error))
        answer.fields.update(error.details)
        return answer
    code = code_of(type(error))
    if code in {"InvalidArgument", "InvalidRequest", "MalformedPolicy", "IncompleteBody"}:
        return S3Error(code, str(error))  # ours, and says what to correct
    if isinstance(error, base.PreconditionFailed):
        return S3Error(code, Condition=error.condition)
    if isinstance(error, base.ChecksumMismatch):
        return _mismatch(error)
    if isinstance(error, base.Locked):
        return S3Error(code, "Access Denied because object protected by object lock.")
    return S3Error(code)


def _delete_marker(error: base.IsDeleteMarker) -> S3Error:
    """S3 says 404 of a key that is deleted, and 405 of a delete marker that is asked for."""
    headers: Headers = (("x-amz-delete-marker", "true"), ("x-amz-version-id", error.version_id))
    if error.latest:
        return S3Error("NoSuchKey", headers=headers)
    modified = (("Last-Modified", http_date(error.time_ns)), ("Allow", "DELETE"))
    return S3Error(
        "MethodNotAllowed", headers=headers + modified, Method="GET", ResourceType="DeleteMarker"
    )


def _mismatch(error: base.ChecksumMismatch) -> S3Error:
    if error.what in {"", "MD5"}:
        return S3Error("BadDigest")
    if error.what == "x-amz-content-sha256":
        return S3Error("XAmzContentSHA256Mismatch")
    return S3Error(
        "BadDigest", f"The {error.what} you specified did not match the calculated checksum."
    )


def is_internal(error: BaseException) -> bool:
    """Whether it is a fault of ours, to be logged with its traceback."""
    return as_s3(error).status == 500


def error_document(
    error: S3Error, resource: str, request_id: str, host_id: str, extra: Iterable[str] = ()
) -> bytes:
    """The XML of an error (S3: "REST error responses"; without a namespace, as S3 sends it).
    `extra` are elements that are written already. Any client can read it: a key in it shows U+FFFD
    where XML has no character."""
    write, readable = xml_writer.element, xml_writer.readable
    return xml_writer.document(
        "Error",
        write("Code", error.code),
        write("Message", readable(error.message)),
        (write(name, readable(str(value))) for name, value in error.fields.items()),
        extra,
        write("Resource", readable(resource)),
        write("RequestId", request_id),
        write("HostId", host_id),
        namespace="",
    )
