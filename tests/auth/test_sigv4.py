"""Requests signed by botocore are believed; changed in any part they are not."""

import hashlib
import string
from collections.abc import Callable
from urllib.parse import quote, urlencode

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from objfs.auth.causes import Cause
from objfs.auth.claims import Anonymous, Claim, Mode, Payload, Place, Signable
from objfs.auth.signing import SigningKeys
from objfs.auth.sigv4 import Verified, check_body, read_claim, verify
from objfs.base.errors import NotAuthenticated
from tests.auth import oracle
from tests.auth.oracle import KEY, NOW_NS, RULES, SECRET

KEYS = SigningKeys()

text = st.text(st.characters(codec="utf-8"), max_size=20)
methods = st.sampled_from(["GET", "PUT", "POST", "DELETE", "HEAD"])
names = st.text(string.ascii_letters + "-", min_size=1, max_size=12).map(lambda name: f"x-{name}")
values = st.text(string.ascii_letters + string.digits + " \t/=:;,%~'\"", max_size=30)
headers = st.dictionaries(names, values, max_size=5).map(lambda found: list(found.items()))
query_names = text.filter(bool).filter(lambda name: not name.startswith(("X-Amz-", "Signature")))
queries = st.lists(st.tuples(query_names, text), max_size=5, unique_by=lambda pair: pair[0])
bodies = st.binary(max_size=100)


def url_of(key: str, query: list[tuple[str, str]], safe: str = "/~") -> str:
    made = "http://127.0.0.1:9000/bucket/" + quote(key, safe=safe)
    return f"{made}?{urlencode(query, quote_via=quote)}" if query else made


def believed(request: Signable, secret: str = SECRET, body_sha256: str | None = None) -> Verified:
    claim = read_claim(request, RULES, NOW_NS)
    assert isinstance(claim, Claim)
    return verify(request, claim, secret, KEYS, body_sha256)


def cause_of(request: Signable, secret: str = SECRET) -> Cause:
    with pytest.raises(NotAuthenticated) as caught:
        believed(request, secret)
    assert isinstance(caught.value.cause, Cause)
    return caught.value.cause


@settings(max_examples=50)
@given(methods, text, queries, headers, bodies)
def test_a_signed_header_is_believed(
    method: str, key: str, query: list[tuple[str, str]], extra: list[tuple[str, str]], body: bytes
) -> None:
    request = oracle.request_of(method, url_of(key, query), extra, body)
    verified = believed(oracle.signed(request))
    assert verified.claim.access_key == KEY
    assert verified.claim.place is Place.HEADER
    assert verified.payload == Payload(Mode.HASHED, hashlib.sha256(body).hexdigest())
    assert verified.chunks is None


@settings(max_examples=50)
@given(methods, text, queries, st.integers(1, 604_800))
def test_a_presigned_url_is_believed(
    method: str, key: str, query: list[tuple[str, str]], expires: int
) -> None:
    request = oracle.request_of(method, url_of(key, query))
    verified = believed(oracle.presigned(request, expires))
    assert verified.claim.place is Place.QUERY
    assert verified.payload == Payload(Mode.UNSIGNED)


@given(st.sampled_from(["iam", "sts"]), queries)
def test_iam_and_sts_sign_the_hash_of_a_body_that_they_do_not_send(
    service: str, fields: list[tuple[str, str]]
) -> None:
    body = urlencode(fields).encode()
    request = oracle.signed(oracle.request_of("POST", "http://127.0.0.1/", (), body), service)
    assert request.header("x-amz-content-sha256") is None
    verified = believed(request, body_sha256=hashlib.sha256(body).hexdigest())
    assert verified.claim.scope.service == service
    with pytest.raises(NotAuthenticated):
        believed(request, body_sha256=hashlib.sha256(body + b"x").hexdigest())


@pytest.mark.parametrize("sign", [oracle.signed, oracle.presigned])
def test_temporary_credentials_bring_their_token(sign: Callable[..., Signable]) -> None:
    request = sign(oracle.request_of("GET", url_of("k", [])), token="a token/+=")
    assert believed(request).claim.token == "a token/+="


def test_a_header_date_will_do() -> None:
    request = oracle.request_of("GET", url_of("k", []), [("Date", "")])
    seen = oracle.signed(request)
    assert seen.header("x-amz-date") is None
    assert believed(seen).claim.timestamp == "20261120T101500Z"


@settings(max_examples=50)
@given(text.filter(bool), queries.filter(bool))
def test_a_target_that_is_spelled_otherwise_than_signed_is_believed(
    key: str, query: list[tuple[str, str]]
) -> None:
    """Clients encode what they sign as AWS says, and on the wire as they like."""
    request = oracle.signed(oracle.request_of("GET", url_of(key, query)))
    loose = url_of(key, query, safe="/~!$&'()*+,;=:@").removeprefix("http://127.0.0.1:9000")
    wire = request._replace(path=loose.partition("?")[0].encode(), query=urlencode(query).encode())
    assert believed(wire).claim.signature


@given(st.data())
def test_whatever_was_changed_is_not_believed(data: st.DataObject) -> None:
    request = oracle.signed(
        oracle.request_of("GET", url_of("a key", [("a", "b")]), [("x-amz-meta-a", "b")])
    )
    name = data.draw(st.sampled_from([name for name, _ in request.headers]))
    changed = data.draw(
        st.sampled_from(
            [
                request._replace(method="PUT"),
                request._replace(path=request.path + b"/"),
                request._replace(path=request.path.replace(b"%20", b"%2520")),
                request._replace(path=b"/bucket/./a%20key"),
                request._replace(query=b""),
                request._replace(query=request.query + b"&acl"),
                request._replace(query=b"a=c"),
                request._replace(headers=[*request.headers, ("x-amz-meta-a", "c")]),
                request._replace(headers=[(n, v + "0" * (n == name)) for n, v in request.headers]),
            ]
        )
    )
    with pytest.raises(NotAuthenticated):
        believed(changed)


@given(st.integers(0, 63), st.sampled_from("0123456789abcdef"))
def test_another_signature_is_not_believed(place: int, digit: str) -> None:
    request = oracle.signed(oracle.request_of("GET", url_of("k", [])))
    header = request.header("authorization")
    assert header is not None
    at = len(header) - 64 + place
    assume(header[at] != digit)
    changed = header[:at] + digit + header[at + 1 :]
    others = [pair for pair in request.headers if pair[0] != "authorization"]
    assert cause_of(request._replace(headers=[*others, ("authorization", changed)])) is (
        Cause.WRONG_SIGNATURE
    )


def test_another_secret_is_not_believed_and_the_refusal_helps() -> None:
    request = oracle.signed(oracle.request_of("GET", url_of("k", [])))
    with pytest.raises(NotAuthenticated) as caught:
        believed(request, SECRET + "x")
    assert caught.value.cause is Cause.WRONG_SIGNATURE
    details = caught.value.details
    assert details["AWSAccessKeyId"] == KEY
    assert details["StringToSign"].startswith("AWS4-HMAC-SHA256\n20261120T101500Z\n20261120/")
    assert details["CanonicalRequest"].startswith("GET\n/bucket/k\n\nhost:127.0.0.1:9000\n")
    assert bytes.fromhex(details["StringToSignBytes"]).decode() == details["StringToSign"]
    assert SECRET not in str(details)


def test_keys_of_other_days_and_secrets_are_other_keys() -> None:
    """The cache of derived keys keeps them apart."""
    request = oracle.signed(oracle.request_of("GET", url_of("k", [])))
    assert believed(request).claim.access_key == KEY
    assert cause_of(request, "another secret") is Cause.WRONG_SIGNATURE
    assert believed(request).claim.access_key == KEY


def test_bytes_that_are_no_utf_8_are_signed_as_they_are() -> None:
    request = Signable("GET", b"/bucket/\xff\xfe", b"prefix=\xff", [("host", "h\udcff")])
    stamp = "20261120T101500Z"
    assert isinstance(read_claim(request, RULES, NOW_NS), Anonymous)
    headers = [("x-amz-date", stamp), ("x-amz-content-sha256", "UNSIGNED-PAYLOAD")]
    header = (
        f"AWS4-HMAC-SHA256 Credential={KEY}/20261120/{oracle.REGION}/s3/aws4_request,"
        f"SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature={'0' * 64}"
    )
    bad = request._replace(headers=[*request.headers, *headers, ("authorization", header)])
    assert cause_of(bad) is Cause.WRONG_SIGNATURE


def test_the_body_is_compared_with_its_declared_hash() -> None:
    digest = hashlib.sha256(b"body").hexdigest()
    check_body(Payload(Mode.HASHED, digest.upper()), digest)
    check_body(Payload(Mode.UNSIGNED), digest)
    with pytest.raises(NotAuthenticated) as caught:
        check_body(Payload(Mode.HASHED, "0" * 64), digest)
    assert caught.value.cause is Cause.PAYLOAD_MISMATCH
