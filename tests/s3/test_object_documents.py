"""Documents about objects: deletes, uploads, lists, copies, attributes; botocore reads ours."""

import datetime
from typing import Any
from urllib.parse import unquote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objfs.s3.documents import deleting, listing, multipart, objects
from objfs.s3.documents.checksums import Checksums
from objfs.s3.errors import S3Error
from objfs.volume.object_types import COMPOSITE, ObjectInfo
from tests.s3.asking import code, request
from tests.s3.model import understood

TIME_NS = 1_767_225_600 * 10**9
TIME = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
# What XML carries as it is; everything else needs encoding-type=url.
KEYS = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), min_size=1
)


def info(key: bytes, **fields: Any) -> ObjectInfo:
    known = {"bucket": "b", "version_id": "v1", "sequence": 1, "time_ns": TIME_NS, "etag": "e"}
    return ObjectInfo(key=key, **{**known, **fields})


# --- Deletes --------------------------------------------------------------------------------------


@given(st.lists(st.tuples(KEYS, st.none() | st.just("v")), min_size=1, max_size=20))
def test_delete_requests(entries: list[tuple[str, str | None]]) -> None:
    named = [
        {"Key": key, **({"VersionId": version} if version else {})} for key, version in entries
    ]
    body = request("DeleteObjects", Delete={"Objects": named, "Quiet": True})
    found = deleting.parse_delete(body)
    assert [(each.key, each.version_id) for each in found.entries] == entries
    assert found.quiet


def test_conditions_of_deletes() -> None:
    entry = {"Key": "k", "ETag": '"abc"', "Size": 3, "LastModifiedTime": TIME}
    found = deleting.parse_delete(request("DeleteObjects", Delete={"Objects": [entry]}))
    assert found.entries == [deleting.ToDelete("k", None, "abc", TIME_NS, 3)]


def test_deletes_refused() -> None:
    for body in (
        b"<Delete/>",
        b"<Delete><Object/></Delete>",
        b"<Delete><Object><Key></Key></Object></Delete>",
        b"<Delete><Object><Key>a</Key><X/></Object></Delete>",
        b"<Delete><Object><Key>a</Key></Object><Quiet>maybe</Quiet></Delete>",
        b"<Delete>" + b"<Object><Key>a</Key></Object>" * 1001 + b"</Delete>",
    ):
        assert code(deleting.parse_delete, body) == "MalformedXML"


def test_delete_results() -> None:
    outcomes = [
        deleting.Outcome(deleting.ToDelete("a&b")),
        deleting.Outcome(deleting.ToDelete("c", "v1")),
        deleting.Outcome(deleting.ToDelete("d"), marker_version="m"),
        deleting.Outcome(deleting.ToDelete("e"), error=S3Error("AccessDenied")),
    ]
    answer = understood("DeleteObjects", deleting.write_delete_result(outcomes, quiet=False))
    assert answer["Deleted"] == [
        {"Key": "a&b"},
        {"Key": "c", "VersionId": "v1"},
        {"Key": "d", "DeleteMarker": True, "DeleteMarkerVersionId": "m"},
    ]
    errors = [{"Key": "e", "Code": "AccessDenied", "Message": "Access Denied"}]
    assert answer["Errors"] == errors
    quiet = understood("DeleteObjects", deleting.write_delete_result(outcomes, quiet=True))
    assert quiet["Errors"] == errors
    assert "Deleted" not in quiet


# --- Uploads --------------------------------------------------------------------------------------


def test_completions() -> None:
    parts = [
        {"PartNumber": 1, "ETag": '"a"', "ChecksumCRC32": "AAAA"},
        {"PartNumber": 10_000, "ETag": "b"},
    ]
    body = request(
        "CompleteMultipartUpload", Key="k", UploadId="u", MultipartUpload={"Parts": parts}
    )
    assert multipart.parse_complete(body) == [
        (1, "a", {"CRC32": "AAAA"}),
        (10_000, "b", {}),
    ]
    for wrong, expected in (
        (b"<CompleteMultipartUpload/>", "MalformedXML"),
        (b"<CompleteMultipartUpload><Part/></CompleteMultipartUpload>", "MalformedXML"),
        (body.replace(b"10000", b"10001"), "InvalidArgument"),
        (body.replace(b"10000", b"0"), "InvalidArgument"),
        (body.replace(b"10000", b"x"), "MalformedXML"),
    ):
        assert code(multipart.parse_complete, wrong) == expected


def test_answers_about_uploads() -> None:
    answer = understood("CreateMultipartUpload", multipart.write_initiated("b", b"k<", "u"))
    assert (answer["Bucket"], answer["Key"], answer["UploadId"]) == ("b", "k<", "u")
    answer = understood(
        "CompleteMultipartUpload",
        multipart.write_completed(
            "http://x/b/k", "b", b"k", "e-2", Checksums({"CRC32": b"1234"}, 2), COMPOSITE
        ),
    )
    assert answer["ETag"] == '"e-2"'
    assert answer["ChecksumCRC32"] == "MTIzNA==-2"
    assert answer["ChecksumType"] == COMPOSITE


def test_lists_of_parts() -> None:
    upload = multipart.ListedUpload(b"k", "u", TIME_NS, "me", "you", "STANDARD", "CRC32", COMPOSITE)
    parts = [multipart.ListedPart(3, "e", 7, TIME_NS, Checksums({"CRC32": b"1234"}))]
    page = multipart.PartsPage(parts, 2, 3, 1, truncated=True)
    answer = understood("ListParts", multipart.write_parts("b", upload, page))
    assert answer["Parts"] == [
        {
            "PartNumber": 3,
            "LastModified": TIME,
            "ETag": '"e"',
            "Size": 7,
            "ChecksumCRC32": "MTIzNA==",
        }
    ]
    assert (answer["IsTruncated"], answer["NextPartNumberMarker"], answer["MaxParts"]) == (
        True,
        3,
        1,
    )
    assert (answer["Initiator"]["ID"], answer["Owner"]["ID"]) == ("me", "you")
    assert answer["ChecksumAlgorithm"] == "CRC32"


def test_lists_of_uploads() -> None:
    uploads = [multipart.ListedUpload("é ".encode(), "u", TIME_NS, "me", "you")]
    page = multipart.UploadsPage(
        uploads, [b"p/"], b"p", b"/", b"m", "um", b"nk", "nu", 1, truncated=True, encoding="url"
    )
    answer = understood("ListMultipartUploads", multipart.write_uploads("b", page))
    assert answer["Uploads"][0]["Key"] == "%C3%A9%20"
    assert answer["CommonPrefixes"] == [{"Prefix": "p/"}]
    assert (answer["NextKeyMarker"], answer["NextUploadIdMarker"]) == ("nk", "nu")
    assert (answer["KeyMarker"], answer["UploadIdMarker"], answer["Delimiter"]) == ("m", "um", "/")


# --- Lists ----------------------------------------------------------------------------------------


@given(st.lists(KEYS), st.lists(KEYS), KEYS, st.sampled_from([None, "url"]))
def test_lists(keys: list[str], prefixes: list[str], text: str, encoding: str | None) -> None:
    entries = [info(key.encode()) for key in keys]
    page = listing.Keys(entries, [prefix.encode() for prefix in prefixes], truncated=True)
    raw = text.encode()
    asked = listing.KeysAsked("b", raw, raw, 1000, encoding)
    decoded = unquote_plus if encoding else str  # as botocore's handler does it
    for operation, written in (
        ("ListObjects", listing.write_list(asked, page, raw, raw)),
        (
            "ListObjectsV2",
            listing.write_list_v2(asked, page, start_after=raw, token="t", next_token="n"),
        ),
    ):
        answer = understood(operation, written)
        assert answer.get("EncodingType") == encoding
        assert [decoded(each["Key"]) for each in answer.get("Contents", [])] == keys
        found = [decoded(each["Prefix"]) for each in answer.get("CommonPrefixes", [])]
        assert found == prefixes
        assert decoded(answer["Prefix"]) == text
        assert decoded(answer["Delimiter"]) == text
        assert answer["IsTruncated"] is True
    assert decoded(answer["StartAfter"]) == text
    assert (answer["ContinuationToken"], answer["NextContinuationToken"]) == ("t", "n")
    assert answer["KeyCount"] == len(keys) + len(prefixes)


def test_what_a_list_tells() -> None:
    entry = info(b"k", size=5, checksums={"CRC32": b"1234"}, owner="me")
    asked = listing.KeysAsked("b", owners="you")
    answer = understood("ListObjects", listing.write_list(asked, listing.Keys([entry]), b"", None))
    assert answer["Contents"] == [
        {
            "Key": "k",
            "LastModified": TIME,
            "ETag": '"e"',
            "ChecksumAlgorithm": ["CRC32"],
            "ChecksumType": "FULL_OBJECT",
            "Size": 5,
            "StorageClass": "STANDARD",
            "Owner": {"ID": "me"},
        }
    ]
    assert "NextMarker" not in answer


def test_versions() -> None:
    entries = [
        info(b"k", delete_marker=True, version_id="v2"),
        info(b"k", latest=False, size=5),
    ]
    asked = listing.KeysAsked("b", owners="me")
    answer = understood(
        "ListObjectVersions",
        listing.write_versions(
            asked,
            listing.Keys(entries, [b"p/"], truncated=True),
            key_marker=b"a",
            version_marker="v0",
            next_key=b"k",
            next_version="v1",
        ),
    )
    assert answer["DeleteMarkers"] == [
        {
            "Key": "k",
            "VersionId": "v2",
            "IsLatest": True,
            "LastModified": TIME,
            "Owner": {"ID": "me"},
        }
    ]
    assert [(each["VersionId"], each["IsLatest"], each["Size"]) for each in answer["Versions"]] == [
        ("v1", False, 5)
    ]
    assert (answer["NextKeyMarker"], answer["NextVersionIdMarker"]) == ("k", "v1")
    assert (answer["KeyMarker"], answer["VersionIdMarker"]) == ("a", "v0")


# --- Copies, attributes, forms --------------------------------------------------------------------


def test_copies() -> None:
    written = objects.write_copied(
        "CopyObjectResult", "e", TIME_NS, Checksums({"SHA1": b"1" * 20}), "FULL_OBJECT"
    )
    answer = understood("CopyObject", written)["CopyObjectResult"]
    assert (answer["ETag"], answer["LastModified"]) == ('"e"', TIME)
    assert answer["ChecksumSHA1"]
    written = objects.write_copied("CopyPartResult", "e", TIME_NS, Checksums())
    assert understood("UploadPartCopy", written)["CopyPartResult"] == {
        "ETag": '"e"',
        "LastModified": TIME,
    }


def test_attributes() -> None:
    entry = info(b"k", size=12, parts=[5, 7], checksums={"CRC32": b"1234"}, checksum_type=COMPOSITE)
    asked = objects.parse_attributes("ETag,Checksum, ObjectParts,StorageClass,ObjectSize")
    written = objects.write_attributes(
        asked, entry, "STANDARD", objects.page_of_parts([5, 7], 0, 1)
    )
    answer = understood("GetObjectAttributes", written)
    del answer["ResponseMetadata"]
    assert answer == {
        "ETag": "e",
        "Checksum": {"ChecksumCRC32": "MTIzNA==-2", "ChecksumType": COMPOSITE},
        "ObjectParts": {
            "TotalPartsCount": 2,
            "PartNumberMarker": 0,
            "NextPartNumberMarker": 1,
            "MaxParts": 1,
            "IsTruncated": True,
            "Parts": [{"PartNumber": 1, "Size": 5}],
        },
        "StorageClass": "STANDARD",
        "ObjectSize": 12,
    }
    only = understood(
        "GetObjectAttributes",
        objects.write_attributes(frozenset({"ObjectSize"}), entry, "STANDARD", None),
    )
    assert set(only) == {"ObjectSize", "ResponseMetadata"}
    assert objects.page_of_parts([5, 7], 1, 10) == (2, 1, 10, [(2, 7)], False)
    for text in (None, "", "Size"):
        assert code(objects.parse_attributes, text) == "InvalidArgument"


def test_answers_to_forms() -> None:
    written = objects.write_posted("http://x", "b", b"k", "e")
    assert written.endswith(
        b"<PostResponse><Location>http://x</Location><Bucket>b</Bucket><Key>k</Key>"
        b"<ETag>&quot;e&quot;</ETag></PostResponse>"
    )


@pytest.mark.parametrize("number", [1, 10_000])
def test_numbers_of_parts(number: int) -> None:
    assert multipart.check_part_number(number) == number
    assert code(multipart.check_part_number, number * 10_000 + 1) == "InvalidArgument"
