"""Why a request is not believed: one cause for each thing that a client can get wrong.

Owns the list of causes. The doors translate them (`objfs/s3` to S3's codes and statuses); nothing
here knows of HTTP. `refused` makes the error: its message says what is wrong in the words of AWS,
because people search for them, and its details are the elements that S3 adds to its error document.
"""

import enum

from objfs.base.errors import NotAuthenticated


class Cause(enum.Enum):
    """What is wrong; after each the code that S3 gives it."""

    # Neither header, query nor form can be read as a signature.
    BAD_HEADER = enum.auto()  # InvalidArgument: no header of any known kind
    MALFORMED_HEADER = enum.auto()  # AuthorizationHeaderMalformed
    MALFORMED_QUERY = enum.auto()  # AuthorizationQueryParametersError
    MALFORMED_FORM = enum.auto()  # InvalidArgument
    OLD_SIGNATURE = enum.auto()  # InvalidRequest: signature version 2
    SEVERAL_MECHANISMS = enum.auto()  # InvalidArgument
    # When it was signed.
    NO_DATE = enum.auto()  # AccessDenied
    SKEWED = enum.auto()  # RequestTimeTooSkewed
    EXPIRED = enum.auto()  # AccessDenied: Request has expired
    NOT_YET_VALID = enum.auto()  # AccessDenied
    # Who signed, and what.
    UNKNOWN_KEY = enum.auto()  # InvalidAccessKeyId
    INVALID_TOKEN = enum.auto()  # InvalidToken
    EXPIRED_TOKEN = enum.auto()  # ExpiredToken
    UNSIGNED_HEADERS = enum.auto()  # AccessDenied
    WRONG_SIGNATURE = enum.auto()  # SignatureDoesNotMatch
    # The payload.
    NO_PAYLOAD_HASH = enum.auto()  # InvalidRequest
    BAD_PAYLOAD_HASH = enum.auto()  # InvalidArgument: neither a hash nor a known mode
    PAYLOAD_MISMATCH = enum.auto()  # XAmzContentSHA256Mismatch
    # The policy of a form.
    MALFORMED_POLICY = enum.auto()  # InvalidPolicyDocument
    POLICY_REFUSES = enum.auto()  # AccessDenied
    TOO_LARGE = enum.auto()  # EntityTooLarge
    TOO_SMALL = enum.auto()  # EntityTooSmall
    # A web identity (STS).
    INVALID_IDENTITY = enum.auto()  # InvalidIdentityToken
    EXPIRED_IDENTITY = enum.auto()  # ExpiredTokenException


def refused(cause: Cause, message: str, **details: str) -> NotAuthenticated:
    """The error of a cause. `details` are elements of S3's error document by their names."""
    return NotAuthenticated(message, cause, details)
