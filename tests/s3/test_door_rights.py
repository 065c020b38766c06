"""The door end to end, by boto3: who may, URLs, forms, other origins, bad requests."""

import json
from pathlib import Path
from typing import Any

import pytest
import urllib3

from tests.s3.door import Key, Served, refused, served

pytestmark = pytest.mark.slow


async def test_signatures(tmp_path: Path) -> None:
    async with served(tmp_path) as door:
        nobody = door.user("nobody")
        await door.run(sign_wrongly, door, nobody)


def sign_wrongly(door: Served, without_policies: Key) -> None:
    right = door.client()
    right.create_bucket(Bucket="one")
    stranger = door.client(door.root._replace(id="AKIAIOSFODNN7EXAMPLE"))
    assert refused(stranger.list_objects_v2, Bucket="one") == ("InvalidAccessKeyId", 403)
    forger = door.client(door.root._replace(secret="x" * 40))
    assert refused(forger.list_objects_v2, Bucket="one") == ("SignatureDoesNotMatch", 403)
    nobody = door.client(without_policies)
    assert refused(nobody.list_objects_v2, Bucket="one") == ("AccessDenied", 403)
    assert refused(nobody.put_object, Bucket="one", Key="k", Body=b"x") == ("AccessDenied", 403)
    assert refused(nobody.get_object, Bucket="one", Key="k") == ("AccessDenied", 403)


TENANT = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "arn:aws:s3:::*"},
        {"Effect": "Allow", "Action": "s3:*", "Resource": ["arn:aws:s3:::team-*"]},
    ],
}


async def test_a_policy_may_name_the_buckets_that_can_be_made(tmp_path: Path) -> None:
    async with served(tmp_path) as door:
        tenant = door.user("tenant", json.dumps(TENANT))
        await door.run(make_buckets, door, tenant)


def make_buckets(door: Served, tenant: Key) -> None:
    s3 = door.client(tenant)
    assert refused(s3.create_bucket, Bucket="other") == ("AccessDenied", 403)
    s3.create_bucket(Bucket="team-one")
    s3.put_object(Bucket="team-one", Key="a", Body=b"x")
    assert [each["Name"] for each in s3.list_buckets()["Buckets"]] == ["team-one"]


# --- Who may --------------------------------------------------------------------------------------

READ_ANYBODY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": "*",
            "Action": "s3:GetObject",
            "Resource": "arn:aws:s3:::one/public/*",
        }
    ],
}


def fetch(url: str, method: str = "GET", **more: Any) -> tuple[int, Any, bytes]:
    """Status, headers and body of a plain request."""
    answer = urllib3.PoolManager(retries=False).request(method, url, **more)
    return answer.status, answer.headers, answer.data


async def test_rights(tmp_path: Path) -> None:
    async with served(tmp_path) as door:
        reader = door.user("reader")
        await door.run(use_rights, door, reader)


def use_rights(door: Served, reader: Key) -> None:
    s3, other = door.client(), door.client(reader)
    s3.create_bucket(Bucket="one")
    s3.put_object(Bucket="one", Key="public/a", Body=b"open")
    s3.put_object(Bucket="one", Key="a", Body=b"closed")
    assert fetch(f"{door.url}/one/public/a")[0] == 403
    s3.put_bucket_policy(Bucket="one", Policy=json.dumps(READ_ANYBODY))
    assert json.loads(s3.get_bucket_policy(Bucket="one")["Policy"]) == READ_ANYBODY
    assert s3.get_bucket_policy_status(Bucket="one")["PolicyStatus"]["IsPublic"] is True
    assert fetch(f"{door.url}/one/public/a")[::2] == (200, b"open")
    assert fetch(f"{door.url}/one/a")[0] == 403
    # Who may not list is not told what is there.
    assert fetch(f"{door.url}/one/public/none")[0] == 403
    assert other.get_object(Bucket="one", Key="public/a")["Body"].read() == b"open"
    assert refused(other.get_object, Bucket="one", Key="a") == ("AccessDenied", 403)
    assert refused(other.put_bucket_policy, Bucket="one", Policy="{}") == ("AccessDenied", 403)
    assert refused(s3.put_bucket_policy, Bucket="one", Policy="{}") == ("MalformedPolicy", 400)
    block = {"BlockPublicPolicy": True, "RestrictPublicBuckets": True}
    s3.put_public_access_block(Bucket="one", PublicAccessBlockConfiguration=block)
    assert s3.get_public_access_block(Bucket="one")["PublicAccessBlockConfiguration"] == {
        "BlockPublicAcls": False,
        "IgnorePublicAcls": False,
        **block,
    }
    assert fetch(f"{door.url}/one/public/a")[0] == 403
    public = json.dumps(READ_ANYBODY)
    assert refused(s3.put_bucket_policy, Bucket="one", Policy=public) == ("AccessDenied", 403)
    s3.delete_bucket_policy(Bucket="one")


async def test_lists_of_rights(tmp_path: Path) -> None:
    async with served(tmp_path) as door:
        await door.run(use_acls, door)


def use_acls(door: Served) -> None:
    s3 = door.client()
    s3.create_bucket(Bucket="one")
    closed = ("AccessControlListNotSupported", 400)
    assert refused(s3.put_bucket_acl, Bucket="one", ACL="public-read") == closed
    assert refused(s3.put_object, Bucket="one", Key="k", Body=b"", ACL="public-read") == closed
    s3.put_object(Bucket="one", Key="k", Body=b"", ACL="private")
    controls = {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
    s3.put_bucket_ownership_controls(Bucket="one", OwnershipControls=controls)
    assert s3.get_bucket_ownership_controls(Bucket="one")["OwnershipControls"] == controls
    s3.put_object(Bucket="one", Key="k", Body=b"open", ACL="public-read")
    assert fetch(f"{door.url}/one/k")[::2] == (200, b"open")
    grants = s3.get_object_acl(Bucket="one", Key="k")["Grants"]
    assert [each["Permission"] for each in grants] == ["FULL_CONTROL", "READ"]
    assert fetch(f"{door.url}/one?list-type=2")[0] == 403
    s3.put_bucket_acl(Bucket="one", ACL="public-read")
    assert fetch(f"{door.url}/one?list-type=2")[0] == 200
    policy = {key: s3.get_bucket_acl(Bucket="one")[key] for key in ("Owner", "Grants")}
    s3.put_bucket_acl(Bucket="one", AccessControlPolicy=policy)
    assert refused(s3.create_bucket, Bucket="two", ACL="public-read") == (
        "InvalidBucketAclWithObjectOwnership",
        400,
    )
    s3.create_bucket(Bucket="two", ACL="public-read", ObjectOwnership="ObjectWriter")


async def test_iam(tmp_path: Path) -> None:
    async with served(tmp_path) as door:
        await door.run(use_iam, door)


def use_iam(door: Served) -> None:
    """A user made through the API may do what its policy says, from the next request on."""
    iam, s3 = door.client(service="iam"), door.client()
    s3.create_bucket(Bucket="one")
    iam.create_user(UserName="ann")
    made = iam.create_access_key(UserName="ann")["AccessKey"]
    key = Key(made["AccessKeyId"], made["SecretAccessKey"])
    ann = door.client(key)
    assert refused(ann.list_objects_v2, Bucket="one") == ("AccessDenied", 403)
    allow = {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::one"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    iam.put_user_policy(UserName="ann", PolicyName="p", PolicyDocument=policy)
    assert ann.list_objects_v2(Bucket="one")["KeyCount"] == 0
    assert refused(door.client(key, "iam").list_users)[0] == "AccessDenied"
    iam.update_access_key(UserName="ann", AccessKeyId=key.id, Status="Inactive")
    assert refused(ann.list_objects_v2, Bucket="one") == ("InvalidAccessKeyId", 403)
    forger = door.client(door.root._replace(secret="x" * 40), "iam")
    assert refused(forger.list_users) == ("SignatureDoesNotMatch", 403)
    unknown = door.client(Key("AKIAIOSFODNN7EXAMPLE", "x"), "iam")
    assert refused(unknown.list_users) == ("InvalidClientTokenId", 403)


# --- URLs, forms, other origins -------------------------------------------------------------------


async def test_presigned(tmp_path: Path) -> None:
    async with served(tmp_path) as door:
        await door.run(use_urls, door)


def use_urls(door: Served) -> None:
    s3 = door.client(signature_version="s3v4")
    s3.create_bucket(Bucket="one")
    named = {"Bucket": "one", "Key": "a b/é"}
    put = s3.generate_presigned_url("put_object", Params=named)
    assert fetch(put, "PUT", body=b"by url")[0] == 200
    get = s3.generate_presigned_url(
        "get_object", Params={**named, "ResponseContentType": "text/x-own"}
    )
    status, headers, body = fetch(get)
    assert (status, headers["Content-Type"], body) == (200, "text/x-own", b"by url")
    assert fetch(get.replace("text%2Fx-own", "text%2Fx-oth"))[0] == 403
    assert fetch(f"{door.url}/one/a%20b/%C3%A9?response-content-type=x")[0] == 403


async def test_forms(tmp_path: Path) -> None:
    async with served(tmp_path) as door:
        await door.run(post_forms, door)


def post_forms(door: Served) -> None:
    s3 = door.client(signature_version="s3v4")
    s3.create_bucket(Bucket="one")
    fields: dict[str, Any] = {"success_action_status": "201", "x-amz-meta-name": "wert"}
    conditions = [
        ["starts-with", "$key", "up/"],
        {"success_action_status": "201"},
        {"x-amz-meta-name": "wert"},
        ["content-length-range", 1, 100],
    ]
    signed = s3.generate_presigned_post("one", "up/${filename}", fields, conditions)

    def post(**changed: Any) -> tuple[int, Any, bytes]:
        data = {**signed["fields"], "file": ("a.txt", b"by form"), **changed}
        return fetch(signed["url"], "POST", fields=data)

    status, headers, body = post()
    assert status == 201
    assert b"<Key>up/a.txt</Key>" in body
    got = s3.get_object(Bucket="one", Key="up/a.txt")
    assert (got["Body"].read(), got["Metadata"]) == (b"by form", {"name": "wert"})
    assert got["ETag"] == headers["ETag"]
    assert post(key="other")[0] == 403
    assert b"EntityTooLarge" in post(file=("a", b"x" * 101))[2]
    assert b"EntityTooSmall" in post(file=("a", b""))[2]
    assert b"SignatureDoesNotMatch" in post(**{"x-amz-signature": "0" * 64})[2]
    nobody = {"key": "up/b", "file": ("b", b"x")}
    assert fetch(signed["url"], "POST", fields=nobody)[0] == 403
    assert b"RequestIsNotMultiPartContent" in fetch(signed["url"], "POST", body=b"x")[2]


async def test_other_origins(tmp_path: Path) -> None:
    async with served(tmp_path) as door:
        await door.run(use_origins, door)


def use_origins(door: Served) -> None:
    s3 = door.client()
    s3.create_bucket(Bucket="one")
    rule = {"AllowedMethods": ["GET"], "AllowedOrigins": ["http://a"], "AllowedHeaders": ["*"]}
    asked = {"Origin": "http://a", "Access-Control-Request-Method": "GET"}
    assert fetch(f"{door.url}/one/k", "OPTIONS", headers=asked)[0] == 403
    s3.put_bucket_cors(Bucket="one", CORSConfiguration={"CORSRules": [rule]})
    status, headers, _ = fetch(f"{door.url}/one/k", "OPTIONS", headers=asked)
    assert (status, headers["Access-Control-Allow-Origin"]) == (200, "http://a")
    status, headers, _ = fetch(f"{door.url}/one/k", headers={"Origin": "http://a"})
    assert (status, headers["Access-Control-Allow-Origin"]) == (403, "http://a")
    status, headers, _ = fetch(f"{door.url}/one/k", headers={"Origin": "http://b"})
    assert "Access-Control-Allow-Origin" not in headers


# --- Bad input ------------------------------------------------------------------------------------


async def test_bad_requests(tmp_path: Path) -> None:
    async with served(tmp_path) as door:
        await door.run(send_badly, door)


def send_badly(door: Served) -> None:
    """Each has S3's own code, and none is an internal error."""
    s3 = door.client()
    s3.create_bucket(Bucket="one")
    for method, path, expected in (
        ("GET", "/one/%ff", "InvalidURI"),
        ("GET", "/ONE/x", "InvalidBucketName"),
        ("GET", "/one/" + "x" * 1025, "KeyTooLongError"),
        ("GET", "/one?acl&policy", "InvalidArgument"),
        ("PATCH", "/one/k", "MethodNotAllowed"),
        ("POST", "/one/k", "MethodNotAllowed"),
        ("GET", "/one?inventory&id=1", "NotImplemented"),
        ("GET", "/", "AccessDenied"),
        ("PUT", "/one/k?X-Amz-Algorithm=AWS4-HMAC-SHA256", "AuthorizationQueryParametersError"),
    ):
        status, _, body = fetch(door.url + path, method)
        assert f"<Code>{expected}</Code>".encode() in body, (method, path, status, body)
    assert refused(s3.put_bucket_versioning, Bucket="one", VersioningConfiguration={}) == (
        "IllegalVersioningConfigurationException",
        400,
    )
    assert refused(s3.put_object, Bucket="one", Key="k", Body=b"", StorageClass="GLACIER") == (
        "InvalidStorageClass",
        400,
    )
    assert refused(s3.put_object, Bucket="one", Key="k", Body=b"", Metadata={"a": "x" * 2049}) == (
        "MetadataTooLarge",
        400,
    )
    assert refused(s3.put_object, Bucket="one", Key="k", Body=b"", Tagging="a=1&a=2") == (
        "InvalidArgument",
        400,
    )
    assert refused(
        s3.put_object, Bucket="one", Key="k", Body=b"", ServerSideEncryption="aws:kms"
    ) == ("NotImplemented", 501)
    assert refused(s3.list_objects_v2, Bucket="one", ContinuationToken="\x00")[0] == (
        "InvalidArgument"
    )
    assert refused(s3.get_object_retention, Bucket="one", Key="none")[0] == "NoSuchKey"
