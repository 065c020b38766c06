"""Documents of buckets and objects: read as S3 reads them, and ours are read by botocore's parser.

botocore's serializer makes the requests, so that the shapes are S3's and not our idea of them.
"""

import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objfs.auth.ownership import OWNERSHIPS, PublicAccessBlock, decode_block
from objfs.s3.documents import access, buckets, cors, encryption, locking, tagging
from objfs.s3.documents.stored import load, store
from objfs.volume.object_types import LockRetention
from tests.s3.asking import code, request
from tests.s3.model import understood

NOW_NS = 1_795_600_000_000_000_000


# --- Tagging --------------------------------------------------------------------------------------

TAG_TEXT = st.text(st.characters(categories=("L", "N", "Zs")) | st.sampled_from("_.:/=+-@"))


@given(st.dictionaries(TAG_TEXT.filter(bool), TAG_TEXT, max_size=10))
def test_tags(tags: dict[str, str]) -> None:
    tags = {key[:128]: value[:256] for key, value in tags.items() if not key.startswith("aws:")}
    tag_set = [{"Key": key, "Value": value} for key, value in tags.items()]
    body = request("PutObjectTagging", Key="k", Tagging={"TagSet": tag_set})
    assert tagging.parse_object_tagging(body) == tags
    answer = understood("GetObjectTagging", tagging.write_tagging(tags))
    assert answer["TagSet"] == tag_set


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([("k" * 129, "")], "InvalidTag"),
        ([("", "v")], "InvalidTag"),
        ([("k", "v" * 257)], "InvalidTag"),
        ([("k", "<>")], "InvalidTag"),
        ([("a\tb", "")], "InvalidTag"),
        ([("k", "1"), ("k", "2")], "InvalidTag"),
        ([("aws:x", "1")], "InvalidTag"),
        ([(f"k{number}", "") for number in range(11)], "BadRequest"),
    ],
)
def test_tags_refused(pairs: list[tuple[str, str]], expected: str) -> None:
    assert code(tagging.check_tags, pairs, 10) == expected


def test_tagging_headers() -> None:
    assert tagging.parse_tagging_header("a=1&b=x%20y&c=z+z&d") == {
        "a": "1",
        "b": "x y",
        "c": "z z",
        "d": "",
    }
    assert tagging.parse_tagging_header("") == {}
    assert code(tagging.parse_tagging_header, "a=1&a=2") == "InvalidArgument"
    assert code(tagging.parse_tagging_header, "a=%ff") == "InvalidArgument"


def test_tagging_documents_refused() -> None:
    for body in (
        b"<Tagging/>",
        b"<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>",
        b"<Tagging><TagSet><Other/></TagSet></Tagging>",
        b"<Tags/>",
    ):
        assert code(tagging.parse_object_tagging, body) == "MalformedXML"


# --- CORS -----------------------------------------------------------------------------------------


def cors_rules(*rules: dict[str, Any]) -> cors.CorsConfiguration:
    return cors.parse_cors(request("PutBucketCors", CORSConfiguration={"CORSRules": list(rules)}))


FULL_RULE = {
    "ID": "one",
    "AllowedHeaders": ["x-amz-*", "content-type"],
    "AllowedMethods": ["GET", "PUT"],
    "AllowedOrigins": ["https://*.example.com", "http://localhost"],
    "ExposeHeaders": ["ETag"],
    "MaxAgeSeconds": 30,
}


def test_cors_documents() -> None:
    configuration = cors_rules(FULL_RULE, {"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]})
    assert load(cors.CorsConfiguration, store(configuration)) == configuration
    assert understood("GetBucketCors", cors.write_cors(configuration))["CORSRules"] == [
        FULL_RULE,
        {"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]},
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"AllowedMethods": ["PATCH"]}, "InvalidRequest"),
        ({"AllowedOrigins": ["*a*"]}, "InvalidRequest"),
        ({"AllowedHeaders": ["**"]}, "InvalidRequest"),
        ({"ExposeHeaders": ["x-*"]}, "InvalidRequest"),
        ({"AllowedMethods": []}, "MalformedXML"),
        ({"AllowedOrigins": []}, "MalformedXML"),
        ({"ID": "x" * 256}, "MalformedXML"),
        ({"MaxAgeSeconds": -1}, "MalformedXML"),
    ],
)
def test_cors_refused(change: dict[str, Any], expected: str) -> None:
    assert code(cors_rules, FULL_RULE | change) == expected
    assert code(cors_rules) == "MalformedXML"
    assert code(cors_rules, *[FULL_RULE] * 101) == "MalformedXML"


def test_preflight() -> None:
    configuration = cors_rules(FULL_RULE, {"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]})
    headers = dict(
        cors.preflight(configuration, "https://a.example.com", "PUT", "X-Amz-Date, content-type")
    )
    assert headers == {
        "Access-Control-Allow-Origin": "https://a.example.com",
        "Access-Control-Allow-Methods": "GET, PUT",
        "Access-Control-Allow-Headers": "x-amz-date, content-type",
        "Access-Control-Expose-Headers": "ETag",
        "Access-Control-Max-Age": "30",
        "Access-Control-Allow-Credentials": "true",
        "Vary": "Origin, Access-Control-Request-Headers, Access-Control-Request-Method",
    }
    assert (
        dict(cors.preflight(configuration, "https://other", "GET", None))[
            "Access-Control-Allow-Origin"
        ]
        == "*"
    )
    for origin, method, asked in (
        ("https://other", "PUT", None),
        ("https://a.example.com", "DELETE", None),
        ("https://a.example.com", "PUT", "authorization"),
        ("https://.example.co", "PUT", None),
    ):
        assert code(cors.preflight, configuration, origin, method, asked) == "AccessForbidden"
    assert code(cors.preflight, None, "x", "GET", None) == "AccessForbidden"
    assert code(cors.preflight, configuration, None, "GET", None) == "BadRequest"
    assert code(cors.preflight, configuration, "x", None, None) == "BadRequest"
    assert code(cors.preflight, configuration, "x", "PATCH", None) == "BadRequest"


def test_cors_of_answers() -> None:
    configuration = cors_rules(FULL_RULE)
    allowed = dict(cors.response_headers(configuration, "http://localhost", "GET"))
    assert allowed["Access-Control-Allow-Origin"] == "http://localhost"
    assert cors.response_headers(configuration, "http://localhost", "DELETE") == []
    assert cors.response_headers(configuration, None, "GET") == []
    assert cors.response_headers(None, "http://localhost", "GET") == []


# --- Buckets --------------------------------------------------------------------------------------


def test_creation() -> None:
    body = request(
        "CreateBucket",
        CreateBucketConfiguration={
            "LocationConstraint": "eu-central-1",
            "Tags": [{"Key": "a", "Value": "b"}],
        },
    )
    assert buckets.parse_creation(body) == ("eu-central-1", {"a": "b"})
    assert buckets.parse_creation(b"") == (None, {})
    assert code(buckets.parse_creation, b"<x/>") == "MalformedXML"
    buckets.check_region(None, "eu-central-1")
    buckets.check_region("eu-central-1", "eu-central-1")
    assert code(buckets.check_region, "eu-north-1", "us-east-1") == "InvalidLocationConstraint"


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1"])
def test_location(region: str) -> None:
    answer = understood("GetBucketLocation", buckets.write_location(region))
    # S3's own quirk: us-east-1 is nothing; botocore mends the other case in a handler.
    assert answer.get("LocationConstraint", "") in {"", region}
    assert (b"us-east-1" in buckets.write_location(region)) is False


def test_versioning() -> None:
    for status, value in (("Enabled", "on"), ("Suspended", "suspended")):
        body = request("PutBucketVersioning", VersioningConfiguration={"Status": status})
        assert buckets.parse_versioning(body) == value
        answer = understood("GetBucketVersioning", buckets.write_versioning(value))
        assert answer["Status"] == status
    assert "Status" not in understood("GetBucketVersioning", buckets.write_versioning("off"))
    for configuration, expected in (
        ({}, "IllegalVersioningConfigurationException"),
        ({"Status": "Off"}, "MalformedXML"),
        ({"Status": "Enabled", "MFADelete": "Enabled"}, "NotImplemented"),
    ):
        body = request("PutBucketVersioning", VersioningConfiguration=configuration)
        assert code(buckets.parse_versioning, body) == expected


def test_list_of_buckets() -> None:
    listed = [buckets.ListedBucket("one", NOW_NS), buckets.ListedBucket("two", 0)]
    answer = understood(
        "ListBuckets",
        buckets.write_bucket_list(listed, "id", display="me", region="r", prefix="p", token="t"),
    )
    assert [each["Name"] for each in answer["Buckets"]] == ["one", "two"]
    assert answer["Buckets"][1]["CreationDate"] == datetime.datetime(
        1970, 1, 1, tzinfo=datetime.UTC
    )
    assert answer["Owner"] == {"ID": "id", "DisplayName": "me"}
    assert (answer["ContinuationToken"], answer["Prefix"]) == ("t", "p")
    assert answer["Buckets"][0]["BucketRegion"] == "r"


def test_one_form_only() -> None:
    """Logging, notifications, payment, acceleration: what is off is accepted."""
    buckets.check_logging_off(request("PutBucketLogging", BucketLoggingStatus={}))
    buckets.check_notification_empty(
        request("PutBucketNotificationConfiguration", NotificationConfiguration={})
    )
    buckets.check_payer(
        request("PutBucketRequestPayment", RequestPaymentConfiguration={"Payer": "BucketOwner"})
    )
    buckets.check_not_accelerated(
        request("PutBucketAccelerateConfiguration", AccelerateConfiguration={"Status": "Suspended"})
    )
    answer = understood("GetBucketRequestPayment", buckets.write_payer())
    assert answer["Payer"] == "BucketOwner"


def test_one_form_only_refused() -> None:
    logging = {"LoggingEnabled": {"TargetBucket": "b", "TargetPrefix": "p"}}
    queue = {"QueueConfigurations": [{"QueueArn": "arn", "Events": ["s3:ObjectCreated:*"]}]}
    for call, body in (
        (buckets.check_logging_off, request("PutBucketLogging", BucketLoggingStatus=logging)),
        (
            buckets.check_notification_empty,
            request("PutBucketNotificationConfiguration", NotificationConfiguration=queue),
        ),
        (
            buckets.check_payer,
            request("PutBucketRequestPayment", RequestPaymentConfiguration={"Payer": "Requester"}),
        ),
        (
            buckets.check_not_accelerated,
            request(
                "PutBucketAccelerateConfiguration", AccelerateConfiguration={"Status": "Enabled"}
            ),
        ),
    ):
        assert code(call, body) == "NotImplemented"


# --- Encryption, lock, access ---------------------------------------------------------------------


def encryption_body(algorithm: str, **more: Any) -> bytes:
    default = {"SSEAlgorithm": algorithm, **more}
    rules = [{"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": True}]
    return request("PutBucketEncryption", ServerSideEncryptionConfiguration={"Rules": rules})


def test_encryption() -> None:
    found = encryption.parse_encryption(encryption_body("AES256"))
    assert load(encryption.EncryptionConfiguration, store(found)) == found
    answer = understood("GetBucketEncryption", encryption.write_encryption(found))
    assert answer["ServerSideEncryptionConfiguration"]["Rules"] == [
        {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": True}
    ]
    assert code(encryption.parse_encryption, encryption_body("aws:kms")) == "NotImplemented"
    assert code(encryption.parse_encryption, encryption_body("DES")) == "MalformedXML"
    with_key = encryption_body("AES256", KMSMasterKeyID="x")
    assert code(encryption.parse_encryption, with_key) == "InvalidArgument"


def lock_body(**default: Any) -> bytes:
    configuration: dict[str, Any] = {"ObjectLockEnabled": "Enabled"}
    if default:
        configuration["Rule"] = {"DefaultRetention": default}
    return request("PutObjectLockConfiguration", ObjectLockConfiguration=configuration)


def test_lock() -> None:
    found = locking.parse_lock(lock_body(Mode="GOVERNANCE", Days=2))
    assert found.retention(NOW_NS) == LockRetention("GOVERNANCE", NOW_NS + 2 * 86_400 * 10**9)
    answer = understood("GetObjectLockConfiguration", locking.write_lock(found))
    assert answer["ObjectLockConfiguration"] == {
        "ObjectLockEnabled": "Enabled",
        "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 2}},
    }
    assert load(locking.LockConfiguration, store(found)) == found
    assert locking.parse_lock(lock_body()).retention(NOW_NS) is None
    years = locking.parse_lock(lock_body(Mode="COMPLIANCE", Years=1)).retention(0)
    assert years == LockRetention("COMPLIANCE", 365 * 86_400 * 10**9)
    for body, expected in (
        (lock_body(Mode="GOVERNANCE"), "MalformedXML"),
        (lock_body(Mode="GOVERNANCE", Days=1, Years=1), "MalformedXML"),
        (lock_body(Mode="OTHER", Days=1), "MalformedXML"),
        (lock_body(Mode="GOVERNANCE", Days=0), "InvalidArgument"),
        (lock_body(Mode="GOVERNANCE", Years=101), "InvalidArgument"),
        (b"<ObjectLockConfiguration/>", "MalformedXML"),
    ):
        assert code(locking.parse_lock, body) == expected


def test_retention_and_hold() -> None:
    until = datetime.datetime(2030, 1, 1, 12, tzinfo=datetime.UTC)
    asked = {"Mode": "COMPLIANCE", "RetainUntilDate": until}
    found = locking.parse_retention(request("PutObjectRetention", Key="k", Retention=asked), NOW_NS)
    assert found is not None
    answer = understood("GetObjectRetention", locking.write_retention(found))
    assert answer["Retention"] == asked
    assert locking.parse_retention(b"<Retention/>", NOW_NS) is None
    past = {**asked, "RetainUntilDate": datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)}
    body = request("PutObjectRetention", Key="k", Retention=past)
    assert code(locking.parse_retention, body, NOW_NS) == "InvalidArgument"
    for status in (True, False):
        held = request(
            "PutObjectLegalHold", Key="k", LegalHold={"Status": "ON" if status else "OFF"}
        )
        assert locking.parse_legal_hold(held) is status
        answer = understood("GetObjectLegalHold", locking.write_legal_hold(status))
        assert answer["LegalHold"]["Status"] == ("ON" if status else "OFF")
    bad = request("PutObjectLegalHold", Key="k", LegalHold={"Status": "on"})
    assert code(locking.parse_legal_hold, bad) == "MalformedXML"


def test_public_access_and_ownership() -> None:
    flags = {"BlockPublicAcls": True, "RestrictPublicBuckets": True}
    body = request("PutPublicAccessBlock", PublicAccessBlockConfiguration=flags)
    found = access.parse_public_access(body)
    assert found == PublicAccessBlock(block_public_acls=True, restrict_public_buckets=True)
    assert decode_block(found.encode()) == found
    answer = understood("GetPublicAccessBlock", access.write_public_access(found))
    assert answer["PublicAccessBlockConfiguration"] == {
        "BlockPublicAcls": True,
        "IgnorePublicAcls": False,
        "BlockPublicPolicy": False,
        "RestrictPublicBuckets": True,
    }
    for ownership in OWNERSHIPS:
        controls = {"Rules": [{"ObjectOwnership": ownership}]}
        body = request("PutBucketOwnershipControls", OwnershipControls=controls)
        assert access.parse_ownership(body) == ownership
        answer = understood("GetBucketOwnershipControls", access.write_ownership(ownership))
        assert answer["OwnershipControls"] == controls
    other = request(
        "PutBucketOwnershipControls", OwnershipControls={"Rules": [{"ObjectOwnership": "x"}]}
    )
    assert code(access.parse_ownership, other) == "MalformedXML"
    status = understood("GetBucketPolicyStatus", buckets.write_policy_status(True))
    assert status["PolicyStatus"]["IsPublic"] is True
