"""What is refused before any secret is needed, each with its cause."""

import re

import pytest

from objfs.auth.causes import Cause
from objfs.auth.claims import Anonymous, Claim, Mode, Payload, Rules, Signable
from objfs.auth.signing import SigningKeys
from objfs.auth.sigv4 import read_claim, verify
from objfs.base.errors import AccessDenied, NotAuthenticated
from tests.auth import oracle
from tests.auth.oracle import NOW_NS, REGION, RULES, SECRET

SECOND = 10**9
URL = "http://127.0.0.1:9000/bucket/key"


def by_header() -> Signable:
    return oracle.signed(oracle.request_of("PUT", URL, [("x-amz-meta-a", "b")], b"body"))


def by_query(expires: int = 3600) -> Signable:
    return oracle.presigned(oracle.request_of("GET", URL), expires)


def with_header(request: Signable, name: str, value: str | None) -> Signable:
    others = [pair for pair in request.headers if pair[0] != name]
    return request._replace(headers=[*others, (name, value)] if value is not None else others)


def edited(request: Signable, pattern: str, replacement: str) -> Signable:
    """The same with another Authorization header."""
    header = request.header("authorization") or ""
    changed = re.sub(pattern, replacement, header)
    assert changed != header
    return with_header(request, "authorization", changed)


def asked(request: Signable, pattern: str, replacement: str) -> Signable:
    """The same with another query."""
    changed = re.sub(pattern, replacement, request.query.decode())
    assert changed.encode() != request.query
    return request._replace(query=changed.encode())


def refusal(request: Signable, now_ns: int = NOW_NS, rules: Rules = RULES) -> NotAuthenticated:
    with pytest.raises(NotAuthenticated) as caught:
        read_claim(request, rules, now_ns)
    assert isinstance(caught.value, AccessDenied)
    return caught.value


HEADER = Cause.MALFORMED_HEADER


@pytest.mark.parametrize(
    ("pattern", "replacement", "cause", "says"),
    [
        (r".*", "invalid_header", Cause.BAD_HEADER, "one and only one"),
        ("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256", Cause.BAD_HEADER, "Unsupported Authoriz"),
        ("AWS4-HMAC-SHA256", "Bearer", Cause.BAD_HEADER, "Unsupported Authorization Type"),
        (r".*", "AWS KEY:signature", Cause.OLD_SIGNATURE, "Please use AWS4-HMAC-SHA256"),
        (r", SignedHeaders=[^,]*", "", HEADER, "requires three components"),
        ("SignedHeaders=", "SignedHeaders-", HEADER, "component"),
        ("Credential=", "missing=", HEADER, "missing Credential."),
        ("SignedHeaders=", "missing=", HEADER, "missing SignedHeaders."),
        ("Signature=", "missing=", HEADER, "missing Signature."),
        ("/20261120/", "/20261120/extra/", HEADER, "the Credential is mal-formed"),
        ("=AKIA[^/]*/", "=/", HEADER, "the Credential is mal-formed"),
        ("/aws4_request", "/aws_request", HEADER, 'incorrect terminal "aws_request"'),
        ("/s3/", "/ec2/", HEADER, 'incorrect service "ec2"'),
        ("/20261120/", "/3223423234/", HEADER, 'incorrect date format "3223423234"'),
        ("/20261120/", "/20261320/", HEADER, 'incorrect date format "20261320"'),
        ("/20261120/", "/20261119/", HEADER, "not the same as X-Amz-Date"),
        (f"/{REGION}/", "/us-west-1/", HEADER, f'"us-west-1" is wrong; expecting "{REGION}"'),
        ("SignedHeaders=[^,]*", "SignedHeaders=", HEADER, "SignedHeaders is malformed"),
        ("SignedHeaders=", "SignedHeaders=host;", HEADER, "SignedHeaders is malformed"),
        ("SignedHeaders=", f"SignedHeaders={'a;' * 300}", HEADER, "SignedHeaders is malformed"),
        ("=host;", "=", Cause.UNSIGNED_HEADERS, "which were not signed"),
        (";x-amz-meta-a", "", Cause.UNSIGNED_HEADERS, "which were not signed"),
    ],
)
def test_headers_that_are_refused(pattern: str, replacement: str, cause: Cause, says: str) -> None:
    error = refusal(edited(by_header(), pattern, replacement))
    assert error.cause is cause
    assert says in str(error)


def test_a_wrong_region_is_told_the_right_one() -> None:
    error = refusal(by_header(), rules=Rules("us-west-2"))
    assert error.details == {"Region": "us-west-2"}


def test_iam_is_signed_for_the_home_region_too() -> None:
    iam = oracle.signed(oracle.request_of("POST", "http://127.0.0.1/", (), b"A=b"), "iam")
    moved = edited(iam, f"/{REGION}/", "/us-east-1/")
    claim = read_claim(moved, RULES, NOW_NS)
    assert isinstance(claim, Claim)
    assert claim.scope.region == "us-east-1"
    assert refusal(edited(iam, f"/{REGION}/", "/us-east-2/")).cause is Cause.MALFORMED_HEADER


@pytest.mark.parametrize(
    ("name", "value", "cause"),
    [
        ("x-amz-date", None, Cause.NO_DATE),
        ("x-amz-date", "", Cause.NO_DATE),
        ("x-amz-date", "03032006", Cause.NO_DATE),
        ("x-amz-date", "20261120T251500Z", Cause.NO_DATE),
        ("x-amz-date", "20261120T\uff11\uff101500Z", Cause.NO_DATE),
        ("x-amz-content-sha256", None, Cause.NO_PAYLOAD_HASH),
        ("x-amz-content-sha256", "invalid_sha256", Cause.BAD_PAYLOAD_HASH),
        ("x-amz-content-sha256", Mode.HASHED.value, Cause.BAD_PAYLOAD_HASH),
        ("x-amz-copy-source", "bucket/other", Cause.UNSIGNED_HEADERS),
    ],
)
def test_headers_beside_it_that_are_refused(name: str, value: str | None, cause: Cause) -> None:
    assert refusal(with_header(by_header(), name, value)).cause is cause


@pytest.mark.parametrize("date", ["", "yesterday", "Fri, 99 Nov 2026 10:15:00 GMT", "1" * 5000])
def test_a_date_that_is_none(date: str) -> None:
    request = with_header(with_header(by_header(), "x-amz-date", None), "date", date)
    assert refusal(request).cause is Cause.NO_DATE


def test_the_headers_that_were_not_signed_are_named() -> None:
    request = with_header(by_header(), "x-amz-tagging", "a=b")
    request = with_header(request, "x-amz-copy-source", "b/k")
    assert refusal(request).details == {"HeadersNotSigned": "x-amz-tagging, x-amz-copy-source"}


@pytest.mark.parametrize("seconds", [-900, 0, 900])
def test_a_clock_may_be_a_quarter_of_an_hour_off(seconds: int) -> None:
    assert isinstance(read_claim(by_header(), RULES, NOW_NS + seconds * SECOND), Claim)


@pytest.mark.parametrize("seconds", [-901, 901, 5 * 86_400])
def test_and_no_more(seconds: int) -> None:
    error = refusal(by_header(), NOW_NS + seconds * SECOND)
    assert error.cause is Cause.SKEWED
    assert error.details["RequestTime"] == "20261120T101500Z"
    assert error.details["MaxAllowedSkewMilliseconds"] == "900000"


QUERY = Cause.MALFORMED_QUERY


@pytest.mark.parametrize(
    ("pattern", "replacement", "cause", "says"),
    [
        *(
            (f"&?{name}=[^&]*", "", QUERY, "Query-string authentication version 4 requires")
            for name in (
                "X-Amz-Algorithm",
                "X-Amz-Credential",
                "X-Amz-Date",
                "X-Amz-Expires",
                "X-Amz-SignedHeaders",
                "X-Amz-Signature",
            )
        ),
        ("X-Amz-Date=", "X-Amz-Date=20261120T101500Z&X-Amz-Date=", QUERY, "there once"),
        ("AWS4-HMAC-SHA256", "AWS4-SHA256", QUERY, "X-Amz-Algorithm only supports"),
        ("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256", QUERY, "X-Amz-Algorithm only supports"),
        ("Credential=[^&]*", "Credential=access/hello/world", QUERY, "Credential is mal-formed"),
        ("aws4_request", "aws5_request", QUERY, 'incorrect terminal "aws5_request"'),
        ("%2Fs3%2F", "%2Fsns%2F", QUERY, 'incorrect service "sns"'),
        (REGION, "us-west-1", QUERY, 'the region "us-west-1" is wrong'),
        ("%2F20261120%2F", "%2F32234Z34%2F", QUERY, 'incorrect date format "32234Z34"'),
        ("%2F20261120%2F", "%2F20060102%2F", QUERY, 'Invalid credential date "20060102"'),
        ("X-Amz-Date=[^&]*", "X-Amz-Date=today", QUERY, "ISO8601 Long Format"),
        ("Expires=3600", "Expires=soon", QUERY, "should be a number"),
        ("Expires=3600", "Expires=\u0661", QUERY, "should be a number"),
        ("Expires=3600", "Expires=" + "9" * 5000, QUERY, "should be a number"),
        ("Expires=3600", "Expires=-3", QUERY, "must be non-negative"),
        ("Expires=3600", "Expires=604801", QUERY, "less than a week"),
        ("SignedHeaders=host", "SignedHeaders=%3B", QUERY, "SignedHeaders is malformed"),
        ("SignedHeaders=host", "SignedHeaders=date", Cause.UNSIGNED_HEADERS, "not signed"),
    ],
)
def test_queries_that_are_refused(pattern: str, replacement: str, cause: Cause, says: str) -> None:
    error = refusal(asked(by_query(), pattern, replacement))
    assert error.cause is cause
    assert says in str(error)


def test_a_presigned_url_lives_as_long_as_it_says() -> None:
    assert isinstance(read_claim(by_query(10), RULES, NOW_NS + 10 * SECOND), Claim)
    error = refusal(by_query(10), NOW_NS + 11 * SECOND)
    assert error.cause is Cause.EXPIRED
    assert str(error) == "Request has expired"
    assert error.details["Expires"] == "2026-11-20T10:15:10Z"
    assert refusal(by_query(10), NOW_NS - 901 * SECOND).cause is Cause.NOT_YET_VALID


def test_headers_beside_a_presigned_url_have_to_be_signed() -> None:
    request = with_header(by_query(), "x-amz-tagging", "a=b")
    assert refusal(request).cause is Cause.UNSIGNED_HEADERS


def test_a_presigned_url_may_say_how_the_body_is_covered() -> None:
    request = oracle.presigned(oracle.request_of("PUT", URL, [("x-amz-content-sha256", "0" * 64)]))
    claim = read_claim(request, RULES, NOW_NS)
    assert isinstance(claim, Claim)
    assert claim.payload == Payload(Mode.HASHED, "0" * 64)
    assert verify(request, claim, SECRET, SigningKeys()).payload == claim.payload


def test_a_request_has_one_signature() -> None:
    query = by_query()
    both = with_header(query, "authorization", by_header().header("authorization"))
    assert refusal(both).cause is Cause.SEVERAL_MECHANISMS


def test_the_old_query_signature_is_refused() -> None:
    old = Signable("GET", b"/b/k", b"AWSAccessKeyId=A&Signature=s&Expires=1", [("host", "h")])
    assert refusal(old).cause is Cause.OLD_SIGNATURE


@pytest.mark.parametrize(
    ("headers", "payload"),
    [
        ([], Payload(Mode.UNSIGNED)),
        ([("x-amz-content-sha256", "a" * 64)], Payload(Mode.HASHED, "a" * 64)),
        (
            [("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")],
            Payload(Mode.UNSIGNED_CHUNKS_TRAILER),
        ),
    ],
)
def test_nobody_is_a_value(headers: list[tuple[str, str]], payload: Payload) -> None:
    request = Signable("GET", b"/b/k", b"list-type=2&prefix=%20", [("host", "h"), *headers])
    assert read_claim(request, RULES, NOW_NS) == Anonymous(payload)


def test_nobody_signs_no_chunks() -> None:
    mode = Mode.SIGNED_CHUNKS.value
    request = Signable("PUT", b"/b/k", b"", [("host", "h"), ("x-amz-content-sha256", mode)])
    assert refusal(request).cause is Cause.BAD_PAYLOAD_HASH
