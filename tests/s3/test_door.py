"""The door end to end, by boto3."""

from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from objfs.s3.operations_table import OPERATIONS
from tests.s3.door import Served, refused, served

pytestmark = pytest.mark.slow


async def test_buckets(tmp_path: Path) -> None:
    async with served(tmp_path) as door:
        await door.run(use_buckets, door)


def use_buckets(door: Served) -> None:
    s3 = door.client()
    assert s3.list_buckets()["Buckets"] == []
    s3.create_bucket(Bucket="one")
    s3.create_bucket(Bucket="two")
    assert [each["Name"] for each in s3.list_buckets()["Buckets"]] == ["one", "two"]
    page = s3.list_buckets(MaxBuckets=1)
    assert [each["Name"] for each in page["Buckets"]] == ["one"]
    page = s3.list_buckets(MaxBuckets=1, ContinuationToken=page["ContinuationToken"])
    assert [each["Name"] for each in page["Buckets"]] == ["two"]
    assert s3.head_bucket(Bucket="one")["BucketRegion"] == "us-east-1"
    assert refused(s3.create_bucket, Bucket="one") == ("BucketAlreadyOwnedByYou", 409)
    assert refused(s3.head_bucket, Bucket="none") == ("404", 404)
    assert refused(s3.get_bucket_location, Bucket="none") == ("NoSuchBucket", 404)
    assert refused(s3.create_bucket, Bucket="Bad_Name") == ("InvalidBucketName", 400)
    assert s3.get_bucket_location(Bucket="one")["LocationConstraint"] is None
    s3.delete_bucket(Bucket="two")
    assert refused(s3.delete_bucket, Bucket="two") == ("NoSuchBucket", 404)


async def test_configuration(tmp_path: Path) -> None:
    async with served(tmp_path) as door:
        await door.run(configure, door)


def configure(door: Served) -> None:
    s3 = door.client()
    s3.create_bucket(Bucket="one")
    for get, code in (
        (s3.get_bucket_cors, "NoSuchCORSConfiguration"),
        (s3.get_bucket_lifecycle_configuration, "NoSuchLifecycleConfiguration"),
        (s3.get_bucket_tagging, "NoSuchTagSet"),
        (s3.get_bucket_policy, "NoSuchBucketPolicy"),
        (s3.get_bucket_policy_status, "NoSuchBucketPolicy"),
        (s3.get_bucket_encryption, "ServerSideEncryptionConfigurationNotFoundError"),
        (s3.get_public_access_block, "NoSuchPublicAccessBlockConfiguration"),
        (s3.get_object_lock_configuration, "ObjectLockConfigurationNotFoundError"),
        (s3.get_bucket_website, "NoSuchWebsiteConfiguration"),
        (s3.get_bucket_replication, "ReplicationConfigurationNotFoundError"),
    ):
        assert refused(get, Bucket="one") == (code, 404)
    tags = {"TagSet": [{"Key": "a", "Value": "b"}]}
    s3.put_bucket_tagging(Bucket="one", Tagging=tags)
    assert s3.get_bucket_tagging(Bucket="one")["TagSet"] == tags["TagSet"]
    s3.delete_bucket_tagging(Bucket="one")
    assert refused(s3.get_bucket_tagging, Bucket="one")[0] == "NoSuchTagSet"
    rules = [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]
    s3.put_bucket_cors(Bucket="one", CORSConfiguration={"CORSRules": rules})
    assert s3.get_bucket_cors(Bucket="one")["CORSRules"] == rules
    expiring = [
        {"ID": "x", "Status": "Enabled", "Filter": {"Prefix": "a"}, "Expiration": {"Days": 1}}
    ]
    s3.put_bucket_lifecycle_configuration(Bucket="one", LifecycleConfiguration={"Rules": expiring})
    assert s3.get_bucket_lifecycle_configuration(Bucket="one")["Rules"] == expiring
    assert "Status" not in s3.get_bucket_versioning(Bucket="one")
    s3.put_bucket_versioning(Bucket="one", VersioningConfiguration={"Status": "Enabled"})
    assert s3.get_bucket_versioning(Bucket="one")["Status"] == "Enabled"
    s3.put_bucket_notification_configuration(Bucket="one", NotificationConfiguration={})
    s3.put_bucket_logging(Bucket="one", BucketLoggingStatus={})
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket="one")
    assert s3.get_bucket_request_payment(Bucket="one")["Payer"] == "BucketOwner"
    assert refused(s3.list_bucket_inventory_configurations, Bucket="one") == (
        "NotImplemented",
        501,
    )


async def test_objects(tmp_path: Path) -> None:
    async with served(tmp_path) as door:
        await door.run(use_objects, door)


def use_objects(door: Served) -> None:
    s3 = door.client()
    s3.create_bucket(Bucket="one")
    s3.put_bucket_versioning(Bucket="one", VersioningConfiguration={"Status": "Enabled"})
    data = bytes(range(256)) * 5000
    put = s3.put_object(
        Bucket="one",
        Key="dir/a b+ü",
        Body=data,
        ContentType="text/plain",
        Metadata={"name": "wert", "umlaut": "x"},
        Tagging="k=v",
        ChecksumAlgorithm="SHA256",
    )
    assert put["ChecksumSHA256"]
    got = s3.get_object(Bucket="one", Key="dir/a b+ü", ChecksumMode="ENABLED")
    assert got["Body"].read() == data
    assert (got["ETag"], got["VersionId"]) == (put["ETag"], put["VersionId"])
    assert (got["ContentType"], got["Metadata"]["name"]) == ("text/plain", "wert")
    assert got["TagCount"] == 1
    part = s3.get_object(Bucket="one", Key="dir/a b+ü", Range="bytes=100-199")
    assert part["Body"].read() == data[100:200]
    assert part["ContentRange"] == f"bytes 100-199/{len(data)}"
    head = s3.head_object(Bucket="one", Key="dir/a b+ü")
    assert head["ContentLength"] == len(data)
    assert refused(s3.get_object, Bucket="one", Key="none") == ("NoSuchKey", 404)
    assert refused(s3.get_object, Bucket="one", Key="dir/a b+ü", IfMatch='"x"') == (
        "PreconditionFailed",
        412,
    )
    assert refused(s3.get_object, Bucket="one", Key="dir/a b+ü", IfNoneMatch=put["ETag"]) == (
        "304",
        304,
    )
    assert refused(s3.get_object, Bucket="one", Key="dir/a b+ü", Range=f"bytes={len(data)}-") == (
        "InvalidRange",
        416,
    )
    assert refused(s3.put_object, Bucket="one", Key="dir/a b+ü", IfNoneMatch="*", Body=data) == (
        "PreconditionFailed",
        412,
    )
    assert refused(s3.get_object, Bucket="one", Key="dir/a b+ü", VersionId="x")[0] in {
        "NoSuchVersion",
        "InvalidArgument",
    }
    wrong = "AAAAAA=="
    assert refused(s3.put_object, Bucket="one", Key="w", Body=b"x", ChecksumCRC32=wrong) == (
        "BadDigest",
        400,
    )
    assert refused(s3.head_object, Bucket="one", Key="w") == ("404", 404)
    copy_objects(s3, data, put)


def copy_objects(s3: Any, data: bytes, put: dict[str, Any]) -> None:
    source = {"Bucket": "one", "Key": "dir/a b+ü"}
    copied = s3.copy_object(Bucket="one", Key="copy", CopySource=source)
    assert copied["CopyObjectResult"]["ETag"] == put["ETag"]
    assert s3.get_object(Bucket="one", Key="copy")["Metadata"]["name"] == "wert"
    s3.copy_object(
        Bucket="one",
        Key="copy",
        CopySource=source,
        MetadataDirective="REPLACE",
        Metadata={"n": "1"},
    )
    assert s3.head_object(Bucket="one", Key="copy")["Metadata"] == {"n": "1"}
    itself = {"Bucket": "one", "Key": "copy"}
    assert refused(s3.copy_object, Bucket="one", Key="copy", CopySource=itself)[0] == (
        "InvalidRequest"
    )
    attributes = s3.get_object_attributes(
        Bucket="one", Key="dir/a b+ü", ObjectAttributes=["ETag", "ObjectSize", "Checksum"]
    )
    assert attributes["ObjectSize"] == len(data)
    assert attributes["Checksum"]["ChecksumSHA256"] == put["ChecksumSHA256"]
    assert s3.get_object_tagging(Bucket="one", Key="copy")["TagSet"] == [{"Key": "k", "Value": "v"}]


async def test_lists(tmp_path: Path) -> None:
    async with served(tmp_path) as door:
        await door.run(use_lists, door)


def use_lists(door: Served) -> None:
    s3 = door.client()
    s3.create_bucket(Bucket="one")
    s3.put_bucket_versioning(Bucket="one", VersioningConfiguration={"Status": "Enabled"})
    keys = sorted(["a", "a/b", "a/c", "b/x y", "b/é", "z+"], key=str.encode)
    for key in keys:
        s3.put_object(Bucket="one", Key=key, Body=key.encode())
    for operation in ("list_objects", "list_objects_v2"):
        pages = s3.get_paginator(operation).paginate(Bucket="one", PaginationConfig={"PageSize": 2})
        found = [each["Key"] for page in pages for each in page.get("Contents", [])]
        assert found == keys
    split = s3.list_objects_v2(Bucket="one", Delimiter="/")
    assert [each["Prefix"] for each in split["CommonPrefixes"]] == ["a/", "b/"]
    assert [each["Key"] for each in split["Contents"]] == ["a", "z+"]
    assert s3.list_objects_v2(Bucket="one", StartAfter="a/c", MaxKeys=1)["Contents"][0]["Key"] == (
        "b/x y"
    )
    assert s3.list_objects_v2(Bucket="one", MaxKeys=0)["KeyCount"] == 0
    s3.put_object(Bucket="one", Key="a", Body=b"again")
    pages = s3.get_paginator("list_object_versions").paginate(
        Bucket="one", PaginationConfig={"PageSize": 2}
    )
    found = [(each["Key"], each["IsLatest"]) for page in pages for each in page["Versions"]]
    assert found[:2] == [("a", True), ("a", False)]
    assert len(found) == len(keys) + 1


async def test_uploads(tmp_path: Path) -> None:
    async with served(tmp_path) as door:
        await door.run(use_uploads, door)


def use_uploads(door: Served) -> None:
    s3 = door.client()
    s3.create_bucket(Bucket="one")
    first, last = bytes(range(256)) * (5 * 4096), b"the end"
    named = {"Bucket": "one", "Key": "big"}
    started = s3.create_multipart_upload(
        **named, Metadata={"name": "wert"}, ChecksumAlgorithm="CRC32"
    )
    upload = {**named, "UploadId": started["UploadId"]}
    assert started["ChecksumType"] == "COMPOSITE"
    made = {
        number: s3.upload_part(**upload, PartNumber=number, Body=data, ChecksumAlgorithm="CRC32")
        for number, data in ((2, last), (1, first), (3, b"left out"))
    }
    listed = s3.list_parts(**upload, MaxParts=2)
    assert [each["PartNumber"] for each in listed["Parts"]] == [1, 2]
    assert listed["IsTruncated"] is True
    uploads = s3.list_multipart_uploads(Bucket="one")["Uploads"]
    assert [(each["Key"], each["UploadId"]) for each in uploads] == [("big", upload["UploadId"])]
    parts = [
        {
            "PartNumber": number,
            "ETag": made[number]["ETag"],
            "ChecksumCRC32": made[number]["ChecksumCRC32"],
        }
        for number in (1, 2)
    ]
    complete = s3.complete_multipart_upload
    for wrong, expected in (
        (parts[::-1], "InvalidPartOrder"),
        ([{**parts[0], "ETag": '"x"'}], "InvalidPart"),
        ([parts[1], {**parts[1], "PartNumber": 9}], "InvalidPart"),
        ([{**parts[1]}, {**parts[1], "PartNumber": 3, "ETag": made[3]["ETag"]}], "InvalidPart"),
    ):
        assert refused(complete, **upload, MultipartUpload={"Parts": wrong}) == (expected, 400)
    done = complete(**upload, MultipartUpload={"Parts": parts})
    assert done["ETag"].endswith('-2"')
    assert done["ChecksumCRC32"].endswith("-2")
    again = complete(**upload, MultipartUpload={"Parts": parts})
    assert again["ETag"] == done["ETag"]
    got = s3.get_object(**named)
    assert got["Body"].read() == first + last
    assert got["Metadata"] == {"name": "wert"}
    part = s3.get_object(**named, PartNumber=2)
    assert (part["Body"].read(), part["PartsCount"]) == (last, 2)
    attributes = s3.get_object_attributes(**named, ObjectAttributes=["ObjectParts"])
    assert attributes["ObjectParts"]["TotalPartsCount"] == 2
    copied = s3.create_multipart_upload(Bucket="one", Key="copied")["UploadId"]
    part = s3.upload_part_copy(
        Bucket="one",
        Key="copied",
        UploadId=copied,
        PartNumber=1,
        CopySource={"Bucket": "one", "Key": "big"},
        CopySourceRange="bytes=1-256",
    )
    s3.complete_multipart_upload(
        Bucket="one",
        Key="copied",
        UploadId=copied,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["CopyPartResult"]["ETag"]}]},
    )
    assert s3.get_object(Bucket="one", Key="copied")["Body"].read() == first[1:257]
    given_up = {**named, "UploadId": s3.create_multipart_upload(**named)["UploadId"]}
    s3.abort_multipart_upload(**given_up)
    assert refused(s3.list_parts, **given_up) == ("NoSuchUpload", 404)
    assert refused(s3.upload_part, **given_up, PartNumber=1, Body=b"") == ("NoSuchUpload", 404)
    assert refused(s3.upload_part, **given_up, PartNumber=10_001, Body=b"")[1] in {400, 404}


async def test_everything_that_is_promised_is_there(tmp_path: Path) -> None:
    """docs/S3.md says what is done; the door does it."""
    async with served(tmp_path) as door:
        done = {each.name for each in OPERATIONS.values() if not each.refused}
        assert done <= door.operations


# --- Deletes, tags, locks -------------------------------------------------------------------------


async def test_deletes(tmp_path: Path) -> None:
    async with served(tmp_path) as door:
        await door.run(use_deletes, door)


def use_deletes(door: Served) -> None:
    s3 = door.client()
    s3.create_bucket(Bucket="one")
    s3.put_object(Bucket="one", Key="a", Body=b"1")
    assert "VersionId" not in s3.delete_object(Bucket="one", Key="a")
    assert "DeleteMarker" not in s3.delete_object(Bucket="one", Key="never")
    assert refused(s3.get_object, Bucket="one", Key="a") == ("NoSuchKey", 404)
    s3.put_bucket_versioning(Bucket="one", VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket="one", Key="a", Body=b"1")["VersionId"]
    assert refused(s3.delete_bucket, Bucket="one") == ("BucketNotEmpty", 409)
    assert refused(s3.delete_object, Bucket="one", Key="a", IfMatch='"x"') == (
        "PreconditionFailed",
        412,
    )
    marker = s3.delete_object(Bucket="one", Key="a")
    assert marker["DeleteMarker"] is True
    with pytest.raises(ClientError) as caught:
        s3.get_object(Bucket="one", Key="a")
    headers = caught.value.response["ResponseMetadata"]["HTTPHeaders"]
    assert headers["x-amz-delete-marker"] == "true"
    assert headers["x-amz-version-id"] == marker["VersionId"]
    assert s3.get_object(Bucket="one", Key="a", VersionId=first)["Body"].read() == b"1"
    named = {"Bucket": "one", "Key": "a", "VersionId": marker["VersionId"]}
    assert refused(s3.get_object, **named) == ("MethodNotAllowed", 405)
    listed = s3.list_object_versions(Bucket="one")
    assert [each["VersionId"] for each in listed["DeleteMarkers"]] == [marker["VersionId"]]
    assert refused(s3.delete_bucket, Bucket="one") == ("BucketNotEmpty", 409)
    undeleted = s3.delete_object(**named)
    assert (undeleted["DeleteMarker"], undeleted["VersionId"]) == (True, marker["VersionId"])
    assert s3.get_object(Bucket="one", Key="a")["VersionId"] == first
    assert s3.delete_object(Bucket="one", Key="a", VersionId=first)["VersionId"] == first
    assert refused(s3.delete_object, Bucket="one", Key="a", VersionId="no version")[1] == 400
    for key in ("x", "y", "z é"):
        s3.put_object(Bucket="one", Key=key, Body=b"")
    wanted = [{"Key": "x"}, {"Key": "none"}, {"Key": "z é"}, {"Key": "y", "ETag": "wrong"}]
    answer = s3.delete_objects(Bucket="one", Delete={"Objects": wanted})
    assert [each["Key"] for each in answer["Deleted"]] == ["x", "none", "z é"]
    assert [(each["Key"], each["Code"]) for each in answer["Errors"]] == [
        ("y", "PreconditionFailed")
    ]
    pages = s3.list_object_versions(Bucket="one")
    everything = [
        {"Key": each["Key"], "VersionId": each["VersionId"]}
        for each in [*pages["Versions"], *pages["DeleteMarkers"]]
    ]
    assert "Errors" not in s3.delete_objects(Bucket="one", Delete={"Objects": everything})
    s3.delete_bucket(Bucket="one")
    assert refused(s3.list_objects_v2, Bucket="one") == ("NoSuchBucket", 404)


async def test_locks_and_tags(tmp_path: Path) -> None:
    async with served(tmp_path) as door:
        await door.run(use_locks, door)


def use_locks(door: Served) -> None:
    s3 = door.client()
    s3.create_bucket(Bucket="one", ObjectLockEnabledForBucket=True)
    assert s3.get_bucket_versioning(Bucket="one")["Status"] == "Enabled"
    suspend = {"Status": "Suspended"}
    assert refused(s3.put_bucket_versioning, Bucket="one", VersioningConfiguration=suspend) == (
        "InvalidBucketState",
        409,
    )
    default = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}
    configuration = {"ObjectLockEnabled": "Enabled", "Rule": default}
    s3.put_object_lock_configuration(Bucket="one", ObjectLockConfiguration=configuration)
    found = s3.get_object_lock_configuration(Bucket="one")
    assert found["ObjectLockConfiguration"] == configuration
    version = s3.put_object(Bucket="one", Key="a", Body=b"1")["VersionId"]
    named = {"Bucket": "one", "Key": "a", "VersionId": version}
    assert s3.get_object_retention(Bucket="one", Key="a")["Retention"]["Mode"] == "GOVERNANCE"
    assert refused(s3.delete_object, **named) == ("AccessDenied", 403)
    s3.put_object_legal_hold(Bucket="one", Key="a", LegalHold={"Status": "ON"})
    assert s3.head_object(Bucket="one", Key="a")["ObjectLockLegalHoldStatus"] == "ON"
    assert refused(s3.delete_object, **named, BypassGovernanceRetention=True) == (
        "AccessDenied",
        403,
    )
    s3.put_object_legal_hold(Bucket="one", Key="a", LegalHold={"Status": "OFF"})
    assert refused(s3.put_object_retention, **named, Retention={}) == ("AccessDenied", 403)
    s3.put_object_tagging(Bucket="one", Key="a", Tagging={"TagSet": [{"Key": "k", "Value": "v"}]})
    assert s3.get_object_tagging(Bucket="one", Key="a")["TagSet"] == [{"Key": "k", "Value": "v"}]
    s3.delete_object_tagging(Bucket="one", Key="a")
    assert s3.get_object_tagging(Bucket="one", Key="a")["TagSet"] == []
    s3.delete_object(**named, BypassGovernanceRetention=True)
    assert refused(s3.get_object_retention, Bucket="one", Key="a") == ("NoSuchKey", 404)
    s3.create_bucket(Bucket="two")
    s3.put_object(Bucket="two", Key="a", Body=b"")
    assert refused(s3.get_object_retention, Bucket="two", Key="a") == ("InvalidRequest", 400)
