"""What must not be possible, tried with real requests: URLs that are over or were changed, policies
with conditions, other users' buckets, what is public and what is blocked."""

import contextlib
import datetime
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import botocore.auth
import botocore.crt.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.s3.door import REGION, Key, Served, refused, served
from tests.s3.test_door_rights import fetch

pytestmark = pytest.mark.slow

DENIED = ("AccessDenied", 403)
ALICE = {"AWS": "arn:aws:iam:::user/alice"}
ONE, INSIDE = "arn:aws:s3:::one", "arn:aws:s3:::one/*"
Statement = dict[str, Any]


def allow(*actions: str, resource: Any = "*", **more: Any) -> Statement:
    return {"Effect": "Allow", "Action": list(actions), "Resource": resource, **more}


def deny(*actions: str, resource: Any = "*", **more: Any) -> Statement:
    return allow(*actions, resource=resource, **more) | {"Effect": "Deny"}


def policy(*statements: Statement) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


class Try:
    """A door with a bucket of root's and alice, who may do what her policy says."""

    def __init__(self, door: Served) -> None:
        self.door = door
        self.root = door.client(signature_version="s3v4")
        self.root.create_bucket(Bucket="one")
        self.put("a")
        self.key = door.new_user("alice")
        self.alice = self.client(self.key)

    def client(self, key: Key) -> Any:
        return self.door.client(key, signature_version="s3v4")

    def put(self, key: str, **more: Any) -> None:
        self.root.put_object(Bucket="one", Key=key, Body=b"text", **more)

    def may(self, *statements: Statement) -> None:
        """Alice's policy from now on."""
        self.door.who.policies.put_inline("user", "alice", "own", policy(*statements))

    def bucket(self, *statements: Statement) -> None:
        """The bucket's policy from now on."""
        self.root.put_bucket_policy(Bucket="one", Policy=policy(*statements))

    def gets(self, key: str = "a", client: Any = None) -> bool:
        chosen = client or self.alice
        try:
            chosen.get_object(Bucket="one", Key=key)
        except chosen.exceptions.ClientError as error:
            if error.response["Error"]["Code"] != "AccessDenied":
                raise
            return False
        return True

    def url(self, client: Any, method: str = "get_object", seconds: int = 60, **more: Any) -> str:
        named = {"Bucket": "one", "Key": "a", **more}
        made: str = client.generate_presigned_url(method, Params=named, ExpiresIn=seconds)
        return made


@pytest.fixture
async def trying(tmp_path: Path) -> Any:
    async def run(work: Callable[[Try], None], certificate: Path | None = None) -> None:
        async with served(tmp_path, certificate) as door:
            await door.run(lambda: work(Try(door)))

    return run


@contextlib.contextmanager
def signed_before(seconds: int) -> Iterator[None]:
    """botocore's clocks are behind: that of its own signers, and that of those in C."""
    then = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=seconds)

    def now(remove_tzinfo: bool = True) -> datetime.datetime:
        return then.replace(tzinfo=None) if remove_tzinfo else then

    with (
        mock.patch.object(botocore.auth, "get_current_datetime", now),
        mock.patch.object(botocore.crt.auth, "get_current_datetime", now),
    ):
        yield


# --- Signatures -----------------------------------------------------------------------------------


async def test_urls_end_and_cannot_be_changed(trying: Any) -> None:
    def work(one: Try) -> None:
        with signed_before(61):
            status, _, body = fetch(one.url(one.root))
        assert (status, b"Request has expired" in body) == (403, True)
        with signed_before(61):
            assert fetch(one.url(one.root, seconds=3600))[0] == 200
        with signed_before(-3600):
            assert b"not valid yet" in fetch(one.url(one.root))[2]
        url = one.url(one.root)
        assert fetch(url)[0] == fetch(url)[0] == 200  # until it ends, as often as one likes
        for changed in (
            url.replace("X-Amz-Expires=60", "X-Amz-Expires=6000"),
            url.replace("/one/a?", "/one/b?"),
            url + "&versionId=null",
            url + "&acl",
            url.replace("X-Amz-Signature=", "X-Amz-Signature=0"),
        ):
            assert fetch(changed)[0] == 403, changed
        assert fetch(url, "DELETE")[0] == fetch(url, "PUT", body=b"x")[0] == 403
        assert fetch(url, headers={"Authorization": "AWS4-HMAC-SHA256 x"})[0] == 400
        assert fetch(url, headers={"x-amz-acl": "public-read"})[0] == 403

    await trying(work)


async def test_a_url_may_what_its_signer_may_now(trying: Any) -> None:
    def work(one: Try) -> None:
        one.may(allow("s3:GetObject"))
        url = one.url(one.alice)
        assert fetch(url)[0] == 200
        one.may(allow("s3:PutObject"))
        assert fetch(url)[0] == 403
        one.may(allow("s3:GetObject"))
        assert fetch(url)[0] == 200
        one.door.who.principals.delete_user("alice", force=True)
        assert b"InvalidAccessKeyId" in fetch(url)[2]

    await trying(work)


async def test_a_url_of_a_session(trying: Any) -> None:
    def work(one: Try) -> None:
        one.may(allow("s3:GetObject"))
        sts = one.door.client(one.key, "sts")
        key, other = (Key.of(sts.get_session_token()["Credentials"]) for _ in range(2))
        url = one.url(one.client(key))
        assert fetch(url)[0] == 200
        mixed = one.url(one.client(key._replace(token=other.token)))
        assert b"InvalidToken" in fetch(mixed)[2]
        without = url.partition("&X-Amz-Security-Token=")[0] + "&X-Amz-Signature=" + "0" * 64
        assert b"InvalidAccessKeyId" in fetch(without)[2]

    await trying(work)


async def test_replayed_headers_carry_nothing_else(trying: Any) -> None:
    def work(one: Try) -> None:
        url = f"{one.door.url}/one/b"
        request = AWSRequest("PUT", url, data=b"text")
        botocore.auth.S3SigV4Auth(
            Credentials(one.door.root.id, one.door.root.secret), "s3", REGION
        ).add_auth(request)
        headers = {name.lower(): value for name, value in request.headers.items()}
        for more, body, code in (
            ({}, b"evil", b"XAmzContentSHA256Mismatch"),
            ({"x-amz-acl": "public-read"}, b"text", b"not signed"),
            ({"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}, b"evil", b"SignatureDoesNotMatch"),
            ({"x-amz-copy-source": "/one/a"}, b"", b"not signed"),
        ):
            answer = fetch(url, "PUT", body=body, headers=headers | more)
            assert answer[0] in {400, 403}
            assert code in answer[2]
        assert refused(one.root.head_object, Bucket="one", Key="b")[1] == 404
        assert fetch(url, "PUT", body=b"text", headers=headers)[0] == 200
        with signed_before(3600):
            old = AWSRequest("GET", f"{one.door.url}/one/a")
            botocore.auth.S3SigV4Auth(
                Credentials(one.door.root.id, one.door.root.secret), "s3", REGION
            ).add_auth(old)
        assert b"RequestTimeTooSkewed" in fetch(old.url, headers=dict(old.headers))[2]

    await trying(work)


async def test_forms_of_the_old_signature(trying: Any) -> None:
    def form(key: Key, **fields: str) -> dict[str, Any]:
        until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=5)
        conditions: list[Any] = [{"bucket": "one"}, {"key": "form"}]
        request = AWSRequest("POST", "http://127.0.0.1/")
        request.context["s3-presign-post-fields"] = {"key": "form", **fields}
        request.context["s3-presign-post-policy"] = {
            "expiration": f"{until:%Y-%m-%dT%H:%M:%SZ}",
            "conditions": conditions,
        }
        botocore.auth.HmacV1PostAuth(Credentials(*key)).add_auth(request)
        made: dict[str, Any] = request.context["s3-presign-post-fields"]
        return made | {"file": ("a.txt", b"by form")}

    def work(one: Try) -> None:
        url = f"{one.door.url}/one"
        fields = form(one.key)
        assert b"AccessDenied" in fetch(url, "POST", fields=fields)[2]
        one.may(allow("s3:*"))
        assert fetch(url, "POST", fields=fields)[0] == 204
        assert one.gets("form")
        wrong = {**fields, "signature": fields["signature"][::-1]}
        assert b"SignatureDoesNotMatch" in fetch(url, "POST", fields=wrong)[2]
        assert fetch(url, "POST", fields={**fields, "key": "other"})[0] == 403
        stranger = {**fields, "AWSAccessKeyId": "AKIAIOSFODNN7EXAMPLE"}
        assert b"InvalidAccessKeyId" in fetch(url, "POST", fields=stranger)[2]
        one.may(allow("s3:*"), deny("s3:*", Condition={"StringEquals": VERSION_2}))
        assert fetch(url, "POST", fields=fields)[0] == 403
        assert one.gets("form")
        # and nothing but forms
        old = f"{url}/a?AWSAccessKeyId={one.key.id}&Expires=9999999999&Signature=x"
        assert b"AWS4-HMAC-SHA256" in fetch(old)[2]

    await trying(work)


VERSION_2 = {"s3:signatureversion": "AWS"}

# --- Conditions -----------------------------------------------------------------------------------


async def test_conditions_on_lists(trying: Any) -> None:
    def work(one: Try) -> None:
        home = {"StringLike": {"s3:prefix": ["home/alice/*", "home/alice"]}}
        one.may(allow("s3:ListBucket", resource=ONE, Condition=home))
        s3 = one.alice
        s3.list_objects_v2(Bucket="one", Prefix="home/alice/x")
        for prefix in ("home/", "home/bob/", ""):
            assert refused(s3.list_objects_v2, Bucket="one", Prefix=prefix) == DENIED
        assert refused(s3.list_objects, Bucket="one") == DENIED
        versions = s3.list_object_versions
        assert refused(versions, Bucket="one", Prefix="home/alice/") == DENIED
        few = {"NumericLessThanEquals": {"s3:max-keys": "10"}}
        one.may(allow("s3:ListBucket", Condition=few))
        s3.list_objects_v2(Bucket="one", MaxKeys=10)
        assert refused(s3.list_objects_v2, Bucket="one", MaxKeys=11) == DENIED
        assert refused(s3.list_objects_v2, Bucket="one") == DENIED

    await trying(work)


async def test_conditions_on_where_it_comes_from(trying: Any) -> None:
    def work(one: Try) -> None:
        for address, may in (("127.0.0.0/8", True), ("10.0.0.0/8", False), ("::/0", False)):
            one.may(allow("s3:GetObject", Condition={"IpAddress": {"aws:SourceIp": address}}))
            assert one.gets() is may
        one.may(allow("s3:*"), deny("s3:*", Condition=INSECURE))
        assert not one.gets()
        forged = {"X-Forwarded-For": "10.0.0.1", "X-Forwarded-Proto": "https"}
        assert fetch(one.url(one.alice), headers=forged)[0] == 403
        one.may(allow("s3:GetObject", Condition={"StringLike": {"aws:Referer": "http://good/*"}}))
        assert fetch(one.url(one.alice), headers={"Referer": "http://good/x"})[0] == 200
        assert fetch(one.url(one.alice), headers={"Referer": "http://bad/x"})[0] == 403
        own = "arn:aws:s3:::one/${aws:username}/*"
        one.may(allow("s3:PutObject", resource=own))
        one.alice.put_object(Bucket="one", Key="alice/x")
        assert refused(one.alice.put_object, Bucket="one", Key="bob/x") == DENIED

    await trying(work)


INSECURE = {"Bool": {"aws:SecureTransport": "false"}}


async def test_conditions_on_tls(trying: Any, certificate: Path) -> None:
    def work(one: Try) -> None:
        one.may(allow("s3:*"), deny("s3:*", Condition=INSECURE))
        assert one.gets()

    await trying(work, certificate)


async def test_conditions_on_signatures(trying: Any) -> None:
    def work(one: Try) -> None:
        old = {"NumericGreaterThan": {"s3:signatureAge": "600000"}}
        one.may(allow("s3:*"), deny("s3:*", Condition=old))
        assert one.gets()
        assert fetch(one.url(one.alice, seconds=3600))[0] == 200
        with signed_before(700):
            assert fetch(one.url(one.alice, seconds=3600))[0] == 403
        header = {"StringNotEquals": {"s3:authType": "REST-HEADER"}}
        one.may(allow("s3:*"), deny("s3:*", Condition=header))
        assert one.gets()
        assert fetch(one.url(one.alice))[0] == 403

    await trying(work)


async def test_conditions_on_what_is_written(trying: Any) -> None:
    def work(one: Try) -> None:
        full = {"StringEquals": {"s3:x-amz-acl": "bucket-owner-full-control"}}
        one.may(allow("s3:PutObject", "s3:PutObjectAcl", Condition=full))
        put = one.alice.put_object
        put(Bucket="one", Key="x", ACL="bucket-owner-full-control")
        assert refused(put, Bucket="one", Key="x") == DENIED
        assert refused(put, Bucket="one", Key="x", ACL="private") == DENIED
        tagged = {"StringEquals": {"s3:RequestObjectTag/team": "red"}}
        one.may(allow("s3:PutObject", "s3:PutObjectTagging", Condition=tagged))
        put(Bucket="one", Key="x", Tagging="team=red")
        assert refused(put, Bucket="one", Key="x", Tagging="team=blue") == DENIED
        assert refused(put, Bucket="one", Key="x") == DENIED
        only = {"ForAllValues:StringEquals": {"s3:RequestObjectTagKeys": ["team"]}}
        one.may(allow("s3:PutObject", "s3:PutObjectTagging", Condition=only))
        assert refused(put, Bucket="one", Key="x", Tagging="team=a&cost=b") == DENIED
        new = {"StringEquals": {"s3:if-none-match": "*"}}
        one.may(allow("s3:PutObject", Condition=new))
        assert refused(put, Bucket="one", Key="new") == DENIED
        put(Bucket="one", Key="new", IfNoneMatch="*")

    await trying(work)


async def test_conditions_on_tags_of_objects(trying: Any) -> None:
    def work(one: Try) -> None:
        one.put("red", Tagging="team=red")
        one.put("blue", Tagging="team=blue")
        red = {"StringEquals": {"s3:ExistingObjectTag/team": "red"}}
        one.may(allow("s3:GetObject", "s3:GetObjectTagging", "s3:DeleteObject", Condition=red))
        assert (one.gets("red"), one.gets("blue"), one.gets("a")) == (True, False, False)
        one.alice.get_object_tagging(Bucket="one", Key="red")
        assert refused(one.alice.get_object_tagging, Bucket="one", Key="blue") == DENIED
        one.root.delete_object_tagging(Bucket="one", Key="red")
        assert not one.gets("red")

    await trying(work)


async def test_a_copy_needs_both(trying: Any) -> None:
    def work(one: Try) -> None:
        copy = {"Bucket": "one", "Key": "mine/a", "CopySource": "one/a"}
        mine = "arn:aws:s3:::one/mine/*"
        one.may(allow("s3:PutObject", resource=mine))
        assert refused(one.alice.copy_object, **copy) == DENIED
        one.may(allow("s3:PutObject", resource=mine), allow("s3:GetObject", resource=INSIDE))
        one.alice.copy_object(**copy)
        assert refused(one.alice.copy_object, **(copy | {"Key": "b"})) == DENIED
        upload = one.alice.create_multipart_upload(Bucket="one", Key="mine/b")["UploadId"]
        part = copy | {"Key": "mine/b", "UploadId": upload, "PartNumber": 1}
        one.alice.upload_part_copy(**part)
        one.may(allow("s3:PutObject", resource=mine))
        assert refused(one.alice.upload_part_copy, **part) == DENIED

    await trying(work)


async def test_what_one_may_not_see_does_not_exist(trying: Any) -> None:
    """Without ListBucket, a missing key is refused like one that is there."""

    def work(one: Try) -> None:
        one.may(allow("s3:GetObject", resource="arn:aws:s3:::one/mine/*"))
        for key in ("a", "none", "mine/none"):
            assert refused(one.alice.get_object, Bucket="one", Key=key) == DENIED
        one.may(allow("s3:GetObject", "s3:ListBucket"))
        assert refused(one.alice.get_object, Bucket="one", Key="none")[0] == "NoSuchKey"
        answer = one.alice.delete_objects(
            Bucket="one", Delete={"Objects": [{"Key": "a"}, {"Key": "none"}]}
        )
        assert {each["Code"] for each in answer["Errors"]} == {"AccessDenied"}
        assert one.gets("a", one.root)

    await trying(work)


# --- Buckets of others ----------------------------------------------------------------------------


async def test_bucket_policies_name_users(trying: Any) -> None:
    def work(one: Try) -> None:
        bob = one.client(one.door.new_user("bob"))
        assert not one.gets()
        one.bucket(allow("s3:GetObject", resource=INSIDE, Principal=ALICE))
        assert (one.gets(), one.gets(client=bob)) == (True, False)
        assert fetch(f"{one.door.url}/one/a")[0] == 403
        assert refused(one.alice.put_object, Bucket="one", Key="a") == DENIED
        assert refused(one.alice.get_bucket_policy, Bucket="one") == DENIED
        one.may(deny("s3:GetObject"))
        assert not one.gets()
        one.may(allow("s3:*"))
        one.bucket(deny("s3:GetObject", resource=INSIDE, Principal=ALICE))
        assert not one.gets()
        one.alice.put_object(Bucket="one", Key="b")
        one.bucket(deny("s3:*", resource=[ONE, INSIDE], NotPrincipal=ALICE))
        assert (one.gets(), one.gets(client=one.root)) == (True, False)
        # who owns the bucket can always mend its policy
        one.root.delete_bucket_policy(Bucket="one")
        assert one.gets(client=one.root)

    await trying(work)


async def test_a_user_without_policies_has_own_buckets_only(trying: Any) -> None:
    def work(one: Try) -> None:
        one.may(allow("s3:CreateBucket"))
        one.alice.create_bucket(Bucket="hers")
        one.door.who.policies.delete_inline("user", "alice", "own")
        one.alice.put_object(Bucket="hers", Key="a")
        bob = one.client(one.door.new_user("bob"))
        for call in (bob.list_objects_v2, bob.get_bucket_acl, bob.delete_bucket):
            assert refused(call, Bucket="hers") == DENIED
        assert not one.gets()
        assert refused(bob.create_bucket, Bucket="hers")[1] in {403, 409}

    await trying(work)


# --- Public ---------------------------------------------------------------------------------------


async def test_what_is_public_and_what_is_blocked(trying: Any) -> None:
    def work(one: Try) -> None:
        anybody = f"{one.door.url}/one/a"
        public = allow("s3:GetObject", resource=INSIDE, Principal="*")
        one.bucket(public)
        assert (fetch(anybody)[0], one.gets()) == (200, True)
        assert fetch(anybody, "PUT", body=b"x")[0] == fetch(anybody, "DELETE")[0] == 403
        assert fetch(f"{one.door.url}/one")[0] == fetch(one.door.url)[0] == 403
        block(one, RestrictPublicBuckets=True)
        assert fetch(anybody)[0] == 403
        block(one, BlockPublicPolicy=True)
        assert fetch(anybody)[0] == 200  # what is there stays
        text = policy(public)
        assert refused(one.root.put_bucket_policy, Bucket="one", Policy=text) == DENIED
        near = allow(
            "s3:GetObject",
            resource=INSIDE,
            Principal="*",
            Condition={"IpAddress": {"aws:SourceIp": "127.0.0.1/32"}},
        )
        one.bucket(near)
        assert fetch(anybody)[0] == 200

    await trying(work)


def block(one: Try, **flags: bool) -> None:
    one.root.put_public_access_block(Bucket="one", PublicAccessBlockConfiguration=flags)


async def test_public_lists_and_what_blocks_them(trying: Any) -> None:
    def work(one: Try) -> None:
        rules = {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
        one.root.put_bucket_ownership_controls(Bucket="one", OwnershipControls=rules)
        anybody = f"{one.door.url}/one/a"
        one.root.put_object_acl(Bucket="one", Key="a", ACL="public-read")
        assert fetch(anybody)[0] == 200
        block(one, IgnorePublicAcls=True)
        assert fetch(anybody)[0] == 403
        assert one.gets(client=one.root)
        block(one, BlockPublicAcls=True)
        assert fetch(anybody)[0] == 200
        put = one.root.put_object
        assert refused(put, Bucket="one", Key="b", ACL="public-read") == DENIED
        assert refused(one.root.put_object_acl, Bucket="one", Key="a", ACL="public-read") == DENIED
        assert refused(one.root.put_bucket_acl, Bucket="one", ACL="public-read") == DENIED
        rules = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
        one.root.put_bucket_ownership_controls(Bucket="one", OwnershipControls=rules)
        assert fetch(anybody)[0] == 403

    await trying(work)
