"""Errors as clients see them."""

import inspect

import pytest

from objfs.auth.causes import Cause, refused
from objfs.base import errors as base
from objfs.s3.error_codes import CODES
from objfs.s3.errors import S3Error, as_s3, code_of, error_document, is_internal
from tests.s3.model import understood


def every_error() -> list[type[base.ObjfsError]]:
    return [
        kind
        for _, kind in inspect.getmembers(base, inspect.isclass)
        if issubclass(kind, base.ObjfsError)
    ]


@pytest.mark.parametrize("kind", every_error())
def test_every_error_has_a_code(kind: type[base.ObjfsError]) -> None:
    assert code_of(kind) in CODES
    if kind not in {base.ObjfsError, base.DataLost}:
        assert CODES[code_of(kind)].status != 500, kind


def test_what_is_unexpected_is_internal() -> None:
    assert is_internal(ZeroDivisionError())
    assert as_s3(ZeroDivisionError("secret")).message == CODES["InternalError"].message
    assert not is_internal(base.NotFound("x"))


def test_clients_understand_errors() -> None:
    error = S3Error("NoSuchKey", Key="a&<\x01>", VersionId="7")
    body = error_document(error, "/bucket/a", "REQUEST", "HOST")
    parsed = understood("GetObject", body, status=error.status)["Error"]
    assert parsed == {
        "Code": "NoSuchKey",
        "Message": "The specified key does not exist.",
        "Resource": "/bucket/a",
        "Key": "a&<\ufffd>",
        "VersionId": "7",
    }
    assert b"<RequestId>REQUEST</RequestId><HostId>HOST</HostId>" in body


def test_a_delete_marker() -> None:
    """404 where it is what the key has, 405 where it was asked for."""
    newest = as_s3(base.IsDeleteMarker("x", "v1", 0))
    assert (newest.status, newest.headers) == (
        404,
        (("x-amz-delete-marker", "true"), ("x-amz-version-id", "v1")),
    )
    asked = as_s3(base.IsDeleteMarker("x", "v1", 0, latest=False))
    assert asked.status == 405
    assert ("Last-Modified", "Thu, 01 Jan 1970 00:00:00 GMT") in asked.headers


def test_what_does_not_agree() -> None:
    assert as_s3(base.ChecksumMismatch("x", "MD5")).code == "BadDigest"
    assert "CRC32C" in as_s3(base.ChecksumMismatch("x", "CRC32C")).message
    assert as_s3(base.PreconditionFailed("If-Match")).fields == {"Condition": "If-Match"}
    assert as_s3(base.NotModified("If-None-Match")).status == 304
    malformed = as_s3(base.MalformedPolicy("Invalid effect: Perhaps"))
    assert (malformed.code, malformed.message) == ("MalformedPolicy", "Invalid effect: Perhaps")
    refused = as_s3(base.AclRefused("no", "AccessControlListNotSupported"))
    assert (refused.code, refused.message) == ("AccessControlListNotSupported", "no")


@pytest.mark.parametrize("code", CODES)
def test_statuses_are_errors(code: str) -> None:
    assert 300 <= CODES[code].status < 600
    assert CODES[code].message


def test_why_a_request_is_not_believed() -> None:
    details = {"X-Amz-Expires": "10", "ServerTime": "now"}
    expired = as_s3(refused(Cause.EXPIRED, "Request has expired", **details))
    assert (expired.code, expired.status) == ("AccessDenied", 403)
    assert expired.message == "Request has expired"
    assert expired.fields == details
    assert as_s3(base.NotAuthenticated("x")).code == "AccessDenied"
    assert as_s3(base.BadTrailer("x")).code == "MalformedTrailerError"


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_has_a_code(cause: Cause) -> None:
    """Those of web identities have theirs in STS."""
    assert (as_s3(refused(cause, "x")).code == "AccessDenied") == (
        cause.name.endswith("_IDENTITY")
        or cause
        in {
            Cause.NO_DATE,
            Cause.EXPIRED,
            Cause.NOT_YET_VALID,
            Cause.UNSIGNED_HEADERS,
            Cause.POLICY_REFUSES,
        }
    )
