"""The worked examples of the Amazon S3 API Reference, signature by signature."""

import pytest

from objfs.auth.claims import Claim, Mode, Rules, Signable, read_timestamp
from objfs.auth.forms import read_form, verify_form
from objfs.auth.signing import EMPTY_SHA256, SigningKeys
from objfs.auth.sigv4 import Verified, read_claim, verify
from objfs.s3.chunked import Trailer, decoder_of
from objfs.s3.chunked import verify as verify_events
from tests.auth.oracle import KEY, SECRET

RULES = Rules("us-east-1")
STAMP = "20130524T000000Z"
SCOPE = "20130524/us-east-1/s3/aws4_request"


def at(stamp: str) -> int:
    moment = read_timestamp(stamp)
    assert moment is not None
    return moment


def believed(request: Signable) -> Verified:
    claim = read_claim(request, RULES, at(STAMP))
    assert isinstance(claim, Claim)
    return verify(request, claim, SECRET, SigningKeys())


def example(
    method: str, target: str, headers: dict[str, str], signed: str, signature: str
) -> Signable:
    path, _, query = target.partition("?")
    sent = {
        "host": "examplebucket.s3.amazonaws.com",
        "x-amz-date": STAMP,
        "x-amz-content-sha256": EMPTY_SHA256,
        **headers,
        "authorization": f"AWS4-HMAC-SHA256 Credential={KEY}/{SCOPE},"
        f"SignedHeaders={signed},Signature={signature}",
    }
    return Signable(method, path.encode(), query.encode(), list(sent.items()))


PLAIN = "host;x-amz-content-sha256;x-amz-date"
EXAMPLES = {
    "get an object": example(
        "GET",
        "/test.txt",
        {"range": "bytes=0-9"},
        "host;range;x-amz-content-sha256;x-amz-date",
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    ),
    "put an object": example(
        "PUT",
        "/test$file.text",  # sent as it is, signed as %24
        {
            "date": "Fri, 24 May 2013 00:00:00 GMT",
            "x-amz-storage-class": "REDUCED_REDUNDANCY",
            "x-amz-content-sha256": (
                "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"
            ),
        },
        "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    ),
    "get a lifecycle": example(
        "GET",
        "/?lifecycle",
        {},
        PLAIN,
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    ),
    "list objects": example(
        "GET",
        "/?max-keys=2&prefix=J",
        {},
        PLAIN,
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    ),
}


@pytest.mark.parametrize("request_", EXAMPLES.values(), ids=list(EXAMPLES))
def test_the_examples_of_headers(request_: Signable) -> None:
    assert believed(request_).claim.access_key == KEY


def test_the_example_of_a_presigned_url() -> None:
    query = (
        f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={KEY}%2F{SCOPE.replace('/', '%2F')}"
        f"&X-Amz-Date={STAMP}&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature="
        "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )
    host = [("host", "examplebucket.s3.amazonaws.com")]
    verified = believed(Signable("GET", b"/test.txt", query.encode(), host))
    assert verified.payload.mode is Mode.UNSIGNED


# --- A body in chunks -----------------------------------------------------------------------------

CHUNKED = {
    "host": "s3.amazonaws.com",
    "content-encoding": "aws-chunked",
    "x-amz-decoded-content-length": "66560",
    "x-amz-storage-class": "REDUCED_REDUNDANCY",
}
SIGNED_CHUNKED = "x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class"


def body(signatures: list[str], trailer: bytes) -> bytes:
    first, second, last = (signature.encode() for signature in signatures)
    return b"".join(
        (
            b"10000;chunk-signature=" + first + b"\r\n" + b"a" * 65536 + b"\r\n",
            b"400;chunk-signature=" + second + b"\r\n" + b"a" * 1024 + b"\r\n",
            b"0;chunk-signature=" + last + b"\r\n" + trailer + b"\r\n",
        )
    )


def passed(verified: Verified, sent: bytes, names: str | None = None) -> Trailer:
    """The body goes through in pieces, and every signature is verified."""
    decoder = decoder_of(verified.payload, 66560, names)
    assert verified.chunks is not None
    events = [
        each for at in range(0, len(sent), 7777) for each in decoder.feed(sent[at : at + 7777])
    ]
    verify_events(events, verified.chunks)
    decoder.close()
    assert b"".join(each for each in events if isinstance(each, memoryview)) == b"a" * 66560
    assert isinstance(events[-1], Trailer)
    return events[-1]


def test_the_example_of_a_body_in_chunks() -> None:
    request = example(
        "PUT",
        "/examplebucket/chunkObject.txt",
        {
            **CHUNKED,
            "content-length": "66824",
            "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        },
        "content-encoding;content-length;host;" + SIGNED_CHUNKED,
        "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
    )
    sent = body(
        [
            "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
            "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
            "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
        ],
        b"",
    )
    assert len(sent) == 66824
    assert passed(believed(request), sent) == Trailer((), None)


def test_the_example_of_a_trailer() -> None:
    request = example(
        "PUT",
        "/examplebucket/chunkObject.txt",
        {
            **CHUNKED,
            "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
            "x-amz-trailer": "x-amz-checksum-crc32c",
        },
        f"content-encoding;host;{SIGNED_CHUNKED};x-amz-trailer",
        "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
    )
    signature = "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435"
    header = ("x-amz-checksum-crc32c", "sOO8/Q==")
    sent = body(
        [
            "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
            "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
            "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
        ],
        f"{':'.join(header)}\r\nx-amz-trailer-signature:{signature}\r\n".encode(),
    )
    assert passed(believed(request), sent, "x-amz-checksum-crc32c") == Trailer((header,), signature)


def test_the_example_of_a_form() -> None:
    """ "Examples: Browser-Based Upload using HTTP POST", of 2013."""
    policy = (
        "eyAiZXhwaXJhdGlvbiI6ICIyMDEzLTA4LTA3VDEyOjAwOjAwLjAwMFoiLA0KICAiY29uZGl0aW9ucyI6IFsNCiAg"
        "ICB7ImJ1Y2tldCI6ICJleGFtcGxlYnVja2V0In0sDQogICAgWyJzdGFydHMtd2l0aCIsICIka2V5IiwgInVzZXIv"
        "dXNlcjEvIl0sDQogICAgeyJhY2wiOiAicHVibGljLXJlYWQifSwNCiAgICB7InN1Y2Nlc3NfYWN0aW9uX3JlZGly"
        "ZWN0IjogImh0dHA6Ly9leGFtcGxlYnVja2V0LnMzLmFtYXpvbmF3cy5jb20vc3VjY2Vzc2Z1bF91cGxvYWQuaHRt"
        "bCJ9LA0KICAgIFsic3RhcnRzLXdpdGgiLCAiJENvbnRlbnQtVHlwZSIsICJpbWFnZS8iXSwNCiAgICB7IngtYW16"
        "LW1ldGEtdXVpZCI6ICIxNDM2NTEyMzY1MTI3NCJ9LA0KICAgIFsic3RhcnRzLXdpdGgiLCAiJHgtYW16LW1ldGEt"
        "dGFnIiwgIiJdLA0KDQogICAgeyJ4LWFtei1jcmVkZW50aWFsIjogIkFLSUFJT1NGT0ROTjdFWEFNUExFLzIwMTMw"
        "ODA2L3VzLWVhc3QtMS9zMy9hd3M0X3JlcXVlc3QifSwNCiAgICB7IngtYW16LWFsZ29yaXRobSI6ICJBV1M0LUhN"
        "QUMtU0hBMjU2In0sDQogICAgeyJ4LWFtei1kYXRlIjogIjIwMTMwODA2VDAwMDAwMFoiIH0NCiAgXQ0KfQ=="
    )
    fields = {
        "key": "user/user1/${filename}",
        "acl": "public-read",
        "x-amz-credential": f"{KEY}/20130806/us-east-1/s3/aws4_request",
        "x-amz-algorithm": "AWS4-HMAC-SHA256",
        "x-amz-date": "20130806T000000Z",
        "policy": policy,
        "x-amz-signature": "21496b44de44ccb73d545f1a995c68214c9cb0d41c45a17a5daeec0b1a6db047",
    }
    claim = read_form(fields, RULES, at("20130806T010000Z"))
    assert isinstance(claim, Claim)
    verify_form(fields, claim, SECRET, SigningKeys())
