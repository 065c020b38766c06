"""AWS's query protocol, as IAM and STS speak it: a form as the request, XML as the answer.

Owns the form of answers and what errors from below become in it; codes that one service has for
itself are its own.
"""

from collections.abc import Mapping
from typing import NamedTuple

from objfs.auth.causes import Cause
from objfs.base import errors
from objfs.s3.xml_writer import document, element, readable, tree

CONTENT_TYPE = "text/xml"
UNEXPECTED = (500, "ServiceFailure")
Codes = Mapping[type[BaseException], tuple[int, str]]

# Why a request is not believed -> status and code; of all others:
_NOT_BELIEVED = (403, "AccessDenied")
_BY_CAUSE: Mapping[object, tuple[int, str]] = {
    Cause.BAD_HEADER: (400, "IncompleteSignature"),
    Cause.MALFORMED_HEADER: (400, "IncompleteSignature"),
    Cause.MALFORMED_QUERY: (400, "IncompleteSignature"),
    Cause.OLD_SIGNATURE: (400, "IncompleteSignature"),
    Cause.SEVERAL_MECHANISMS: (400, "IncompleteSignature"),
    Cause.NO_DATE: (400, "IncompleteSignature"),
    Cause.SKEWED: (403, "SignatureDoesNotMatch"),
    Cause.EXPIRED: (403, "SignatureDoesNotMatch"),
    Cause.NOT_YET_VALID: (403, "SignatureDoesNotMatch"),
    Cause.WRONG_SIGNATURE: (403, "SignatureDoesNotMatch"),
    Cause.PAYLOAD_MISMATCH: (403, "SignatureDoesNotMatch"),
    Cause.BAD_PAYLOAD_HASH: (403, "SignatureDoesNotMatch"),
    Cause.UNKNOWN_KEY: (403, "InvalidClientTokenId"),
    Cause.INVALID_TOKEN: (403, "InvalidClientTokenId"),
    Cause.EXPIRED_TOKEN: (403, "ExpiredToken"),
    Cause.INVALID_IDENTITY: (400, "InvalidIdentityToken"),
    Cause.EXPIRED_IDENTITY: (400, "ExpiredTokenException"),
}


class Answer(NamedTuple):
    """The status and the body of an answer, and what it says for the log: "" or an error's code."""

    status: int
    body: bytes
    code: str


def result(name: str, parts: str | None, request_id: str, namespace: str) -> Answer:
    """The answer of an action; `parts` are those of its Result, None if it has none."""
    body = document(
        f"{name}Response",
        tree(f"{name}Result", parts) if parts is not None else "",
        tree("ResponseMetadata", element("RequestId", request_id)),
        namespace=namespace,
    )
    return Answer(200, body, "")


def failure(status: int, code: str, message: str, request_id: str, namespace: str) -> Answer:
    """The answer that is an error."""
    body = document(
        "ErrorResponse",
        tree(
            "Error",
            element("Type", "Sender" if status < 500 else "Receiver"),
            element("Code", code),
            element("Message", readable(message)),
        ),
        element("RequestId", request_id),
        namespace=namespace,
    )
    return Answer(status, body, code)


def status_and_code(error: errors.ObjfsError, codes: Codes) -> tuple[int, str]:
    """What an error from below becomes: by its class and its nearest ancestor that has a row."""
    if isinstance(error, errors.NotAuthenticated):
        return _BY_CAUSE.get(error.cause, _NOT_BELIEVED)
    for ancestor in type(error).__mro__:
        if ancestor in codes:
            return codes[ancestor]
    return UNEXPECTED
