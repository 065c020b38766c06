"""What hostile requests and strict suites ask of the door, answered as S3 does."""

import http.client
from pathlib import Path
from typing import Any

import pytest
from botocore import UNSIGNED
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.s3.door import REGION, Served, refused, served

pytestmark = pytest.mark.slow
DIGITS = "9" * 5000  # more than Python makes a number of


async def test_numbers_without_end(tmp_path: Path) -> None:
    async with served(tmp_path) as door:
        await door.run(use_numbers, door)


def use_numbers(door: Served) -> None:
    s3 = door.client(parameter_validation=False)
    s3.create_bucket(Bucket="one")
    s3.put_object(Bucket="one", Key="k", Body=b"body")
    got = s3.get_object(Bucket="one", Key="k", Range=f"bytes=1-{DIGITS}")
    assert got["Body"].read() == b"ody"
    assert s3.get_object(Bucket="one", Key="k", Range=f"bytes=-{DIGITS}")["ContentLength"] == 4
    ask: dict[str, Any] = {"Bucket": "one", "Key": "k"}
    assert refused(s3.get_object, **ask, Range=f"bytes={DIGITS}-") == ("InvalidRange", 416)
    for text in (DIGITS, "0" * 5000, "0000000019" + "9" * 20):
        assert refused(s3.get_object, **ask, PartNumber=text) == ("InvalidArgument", 400)
        assert refused(s3.list_objects, Bucket="one", MaxKeys=text) == ("InvalidArgument", 400)
        assert refused(
            s3.get_object_attributes, **ask, ObjectAttributes=["ETag"], MaxParts=text
        ) == ("InvalidArgument", 400)
    upload = s3.create_multipart_upload(**ask)["UploadId"]
    copied: dict[str, Any] = {**ask, "UploadId": upload, "CopySource": "one/k"}
    assert refused(
        s3.upload_part_copy, **copied, PartNumber=1, CopySourceRange=f"bytes=0-{DIGITS}"
    ) == ("InvalidArgument", 400)
    assert refused(s3.upload_part_copy, **copied, PartNumber=DIGITS) == ("InvalidArgument", 400)
    made = s3.upload_part_copy(**copied, PartNumber=1)["CopyPartResult"]["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": made}]}
    complete: dict[str, Any] = {**ask, "UploadId": upload, "MultipartUpload": parts}
    assert refused(s3.complete_multipart_upload, **complete, MpuObjectSize=9) == (
        "InvalidRequest",
        400,
    )
    s3.complete_multipart_upload(**complete, MpuObjectSize=4)


async def test_empty_version_marker_and_owner_of_the_source(tmp_path: Path) -> None:
    async with served(tmp_path) as door:
        await door.run(use_markers, door)


def use_markers(door: Served) -> None:
    s3 = door.client()
    s3.create_bucket(Bucket="one")
    s3.put_object(Bucket="one", Key="k", Body=b"body")
    assert refused(s3.list_object_versions, Bucket="one", KeyMarker="k", VersionIdMarker="") == (
        "InvalidArgument",
        400,
    )
    assert refused(s3.list_object_versions, Bucket="one", VersionIdMarker="x") == (
        "InvalidArgument",
        400,
    )
    copied = {"Bucket": "one", "Key": "n", "CopySource": "one/k"}
    assert refused(s3.copy_object, **copied, ExpectedSourceBucketOwner="111111111111") == (
        "AccessDenied",
        403,
    )
    s3.copy_object(**copied)


async def test_put_without_a_length(tmp_path: Path) -> None:
    async with served(tmp_path) as door:
        await door.run(put_unmeasured, door)


def put_unmeasured(door: Served) -> None:
    door.client().create_bucket(Bucket="one")
    asked = AWSRequest("PUT", f"{door.url}/one/k")
    S3SigV4Auth(Credentials(*door.root), "s3", REGION).add_auth(asked)
    connection = http.client.HTTPConnection("127.0.0.1", door.running.port)
    connection.putrequest("PUT", "/one/k")
    for name, value in asked.headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 411
    assert b"<Code>MissingContentLength</Code>" in answer.read()
    connection.close()


async def test_what_is_missing_is_told_to_who_may_list(tmp_path: Path) -> None:
    async with served(tmp_path) as door:
        await door.run(ask_for_missing, door)


def ask_for_missing(door: Served) -> None:
    s3, anybody = door.client(), door.client(signature_version=UNSIGNED)
    s3.create_bucket(Bucket="one", ObjectOwnership="ObjectWriter")
    s3.delete_public_access_block(Bucket="one")
    assert refused(anybody.get_object, Bucket="one", Key="none") == ("AccessDenied", 403)
    s3.put_bucket_acl(Bucket="one", ACL="public-read")
    assert refused(anybody.get_object, Bucket="one", Key="none") == ("NoSuchKey", 404)
    s3.put_object(Bucket="one", Key="k", Body=b"")
    assert refused(anybody.get_object, Bucket="one", Key="k") == ("AccessDenied", 403)


def _policy(action: str, effect: str = "Allow") -> str:
    return (
        f'{{"Version": "2012-10-17", "Statement": [{{"Effect": "{effect}", "Action": "{action}",'
        ' "Resource": "arn:aws:s3:::one/*"}]}'
    )


async def test_lists_of_new_objects(tmp_path: Path) -> None:
    async with served(tmp_path) as door:
        bob = door.user("bob", _policy("s3:PutObject"))
        carol = door.user("carol", _policy("s3:PutObject"))
        door.volume.identities.policies.put_inline(
            "user", "carol", "denied", _policy("s3:PutObjectAcl", "Deny")
        )
        await door.run(put_with_lists, door, door.client(bob), door.client(carol))


def put_with_lists(door: Served, bob: Any, carol: Any) -> None:
    s3 = door.client()
    s3.create_bucket(Bucket="one", ObjectOwnership="ObjectWriter")
    owner = s3.get_bucket_acl(Bucket="one")["Owner"]["ID"]
    put: dict[str, Any] = {"Bucket": "one", "Key": "k", "Body": b""}
    bob.put_object(**put, ACL="bucket-owner-full-control")
    bob.put_object(**put, GrantFullControl=f"id={owner}")
    assert refused(bob.put_object, **put, ACL="public-read") == ("AccessDenied", 403)
    assert refused(bob.put_object, **put, ACL="private", GrantRead=f"id={owner}") == (
        "InvalidRequest",
        400,
    )
    carol.put_object(**put)
    assert refused(carol.put_object, **put, ACL="private") == ("AccessDenied", 403)
