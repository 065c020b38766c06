"""What headers of requests say, and what answers say with them."""

import base64
import datetime
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objfs.base.errors import NotModified, PreconditionFailed
from objfs.s3.dates import http_date, iso_date, parse_http_date, parse_iso_date
from objfs.s3.documents.checksums import Checksums
from objfs.s3.errors import S3Error
from objfs.s3.headers import (
    checksums,
    conditions,
    copy_source,
    encryption,
    locking,
    metadata,
    ranges,
)
from objfs.s3.http import Headers
from objfs.volume.object_types import LockRetention, ObjectInfo
from tests.s3.asking import code

NOW_NS = 1_795_600_000_000_000_000


def headers(**values: str) -> Headers:
    """Headers with hyphens for underscores."""
    return Headers(
        (name.replace("_", "-").encode(), value.encode("utf-8", "surrogateescape"))
        for name, value in values.items()
    )


def info(**fields: object) -> ObjectInfo:
    known: dict[str, object] = {"bucket": "b", "key": b"k", "version_id": "null"}
    return ObjectInfo(**{**known, "sequence": 1, "time_ns": NOW_NS, "etag": "abc", **fields})  # type: ignore[arg-type]


# --- Dates ----------------------------------------------------------------------------------------

TIMES = st.integers(0, 4_000_000_000_000_000_000)


@given(TIMES)
def test_dates_come_back(time_ns: int) -> None:
    second = time_ns // 10**9 * 10**9
    assert parse_http_date(http_date(time_ns)) == second
    assert parse_iso_date(iso_date(time_ns)) == time_ns // 10**6 * 10**6


def test_forms_of_dates() -> None:
    wanted = 784_111_777 * 10**9
    for text in (
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun, 06 Nov 1994 09:49:37 +0100",
    ):
        assert parse_http_date(text) == wanted, text
    for text in ("1994-11-06T08:49:37Z", "1994-11-06T09:49:37+01:00", "1994-11-06T08:49:37.000Z"):
        assert parse_iso_date(text) == wanted, text
    assert parse_iso_date("1994-11-06") == wanted // 86_400_000_000_000 * 86_400_000_000_000
    assert parse_iso_date("9999-12-31T23:59:59Z") is not None


@given(st.text())
def test_any_text_is_a_date_or_none(text: str) -> None:
    for parse in (parse_http_date, parse_iso_date):
        found = parse(text)
        assert found is None or isinstance(found, int)


# --- Ranges ---------------------------------------------------------------------------------------


@given(st.integers(0, 100), st.integers(0, 120), st.integers(0, 120))
def test_ranges(size: int, first: int, last: int) -> None:
    """Against Python's own slices."""
    whole = bytes(range(size))
    for text, wanted in (
        (f"bytes={first}-{last}", whole[first : last + 1]),
        (f"bytes={first}-", whole[first:]),
        (f"bytes=-{last}", whole[-last:] if last else b""),
    ):
        if text == f"bytes={first}-{last}" and last < first:
            assert ranges.parse_range(text, size) is None
        elif not wanted:
            with pytest.raises(S3Error, match="InvalidRange") as caught:
                ranges.parse_range(text, size)
            assert caught.value.headers == (("Content-Range", f"bytes */{size}"),)
        else:
            found = ranges.parse_range(text, size)
            assert found is not None
            assert whole[found.start : found.start + found.length] == wanted
            end = found.start + len(wanted) - 1
            assert found.content_range == f"bytes {found.start}-{end}/{size}"


@pytest.mark.parametrize(
    "text", [None, "", "bytes", "bytes=-", "bytes=a-b", "bytes=1-2,4-5", "items=0-1", "bytes=٣-"]
)
def test_what_is_no_range(text: str | None) -> None:
    assert ranges.parse_range(text, 10) is None


def test_parts_as_ranges() -> None:
    assert ranges.part_range([5, 7], 12, 2) == (5, 7, 12)
    assert ranges.part_range(None, 12, 1) == (0, 12, 12)
    assert ranges.part_range(None, 0, 1) is None
    assert code(ranges.part_range, [5, 7], 12, 3) == "InvalidPartNumber"
    assert code(ranges.part_range, None, 12, 0) == "InvalidPartNumber"


def test_copied_ranges() -> None:
    assert ranges.parse_copied_range("bytes=2-5", 10) == (2, 4, 10)
    assert ranges.parse_copied_range(None, 10) == (0, 10, 10)
    for text in ("bytes=2-", "bytes=-2", "2-5", "bytes=5-2", "bytes=0-10", "bytes=0-1,2-3"):
        assert code(ranges.parse_copied_range, text, 10) == "InvalidArgument"


# --- Conditions -----------------------------------------------------------------------------------


def test_etags() -> None:
    parse = conditions.parse_etags
    assert parse(['"a", W/"b" , c,*'], weak=True) == ("a", "b", "c", "*")
    assert parse(['"a", W/"b"'], weak=False) == ("a",)
    assert parse(['"a"', '"b,c"'], weak=True) == ("a", "b,c")
    assert parse([], weak=True) is None
    assert parse([""], weak=True) == ()


@pytest.mark.parametrize(
    ("asked", "outcome"),
    [
        ({"if_match": '"abc"'}, None),
        ({"if_match": "*"}, None),
        ({"if_match": '"x"'}, PreconditionFailed),
        ({"if_match": '"abc"', "if_unmodified_since": http_date(0)}, None),
        ({"if_unmodified_since": http_date(0)}, PreconditionFailed),
        ({"if_unmodified_since": http_date(NOW_NS)}, None),
        ({"if_none_match": 'W/"abc"'}, NotModified),
        ({"if_none_match": '"x"', "if_modified_since": http_date(NOW_NS)}, None),
        ({"if_modified_since": http_date(NOW_NS)}, NotModified),
        ({"if_modified_since": http_date(0)}, None),
        ({"if_modified_since": "yesterday"}, None),
        ({"if_match": '"x"', "if_none_match": '"abc"'}, PreconditionFailed),
    ],
)
def test_order_of_conditions(asked: dict[str, str], outcome: type[Exception] | None) -> None:
    for found in (
        conditions.read_conditions(headers(**asked)),
        conditions.copy_conditions(
            headers(**{f"x-amz-copy-source-{name}": value for name, value in asked.items()})
        ),
    ):
        if outcome is None:
            if found is not None:
                found.check(info())
        else:
            assert found is not None
            with pytest.raises(outcome):
                found.check(info())


def test_conditions_of_writes() -> None:
    assert conditions.write_conditions(headers()) is None
    found = conditions.write_conditions(headers(if_none_match="*"))
    assert found is not None
    assert found.if_none_match == ("*",)
    assert conditions.delete_conditions(headers(if_match='"a"')) is not None
    for name, value in (
        ("if_none_match", '"a"'),
        ("if_modified_since", http_date(0)),
        ("if_unmodified_since", http_date(0)),
    ):
        assert code(conditions.write_conditions, headers(**{name: value})) == "NotImplemented"
    assert code(conditions.delete_conditions, headers(if_none_match="*")) == "NotImplemented"


# --- Metadata -------------------------------------------------------------------------------------


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_metadata_comes_back(text: str) -> None:
    encoded = metadata.encode_value(text)
    assert encoded.isascii()
    assert encoded.isprintable()
    assert metadata.decode_value(encoded) == text


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_metadata_as_bare_utf8(text: str) -> None:
    if "=?" not in text:
        assert metadata.decode_value(text) == text.strip()


@given(st.binary())
def test_any_bytes_are_metadata(raw: bytes) -> None:
    metadata.decode_value(raw.decode("utf-8", "surrogateescape")).encode()


def test_user_metadata() -> None:
    found = metadata.user_metadata(
        Headers([(b"X-Amz-Meta-A", b"1"), (b"x-amz-meta-a", b"2"), (b"x-amz-metb", b"3")])
    )
    assert found == {"a": "1,2"}
    assert metadata.decode_value("=?utf-8?q?caf=C3=A9?=") == "café"
    assert metadata.decode_value("=?no-such?q?caf?=") == "=?no-such?q?caf?="
    assert code(metadata.check_metadata, {"a": "x" * 2048}) == "MetadataTooLarge"
    assert metadata.check_metadata({"a": "x" * 2047})


def test_content_headers() -> None:
    found = metadata.content_headers(
        headers(
            content_type="text/plain",
            content_encoding="aws-chunked,gzip",
            expires="0",
            x_amz_storage_class="STANDARD_IA",
            x_amz_website_redirect_location="/x",
            date="now",
        )
    )
    assert found == {
        "content-type": "text/plain",
        "content-encoding": "gzip",
        "expires": "0",
        "x-amz-storage-class": "STANDARD_IA",
        "x-amz-website-redirect-location": "/x",
    }
    assert metadata.content_headers(headers(content_encoding="aws-chunked")) == {}
    shown = metadata.object_headers(info(headers=found, metadata={"a": "é"}, missing_metadata=2))
    assert ("Content-Type", "text/plain") in shown
    assert ("x-amz-meta-a", "=?UTF-8?B?w6k=?=") in shown
    assert ("x-amz-missing-meta", "2") in shown
    assert metadata.object_headers(info()) == [("Content-Type", "binary/octet-stream")]
    wrong = headers(x_amz_storage_class="GLACIER")
    assert code(metadata.content_headers, wrong) == "InvalidStorageClass"
    wrong = headers(x_amz_website_redirect_location="x")
    assert code(metadata.content_headers, wrong) == "InvalidRedirectLocation"


def test_overrides() -> None:
    query = {"response-content-type": "a/b", "other": "x"}
    assert metadata.overrides(query, signed=True) == {"Content-Type": "a/b"}
    assert metadata.overrides({}, signed=False) == {}
    with pytest.raises(S3Error, match="anonymous"):
        metadata.overrides(query, signed=False)
    with pytest.raises(S3Error, match="InvalidArgument"):
        metadata.overrides({"response-expires": "a\r\nSet-Cookie: b"}, signed=True)


# --- Checksums ------------------------------------------------------------------------------------

CRC = base64.b64encode(b"1234").decode()


def test_sent_checksums() -> None:
    md5 = base64.b64encode(hashlib.md5(b"").digest()).decode()
    found = checksums.sent_checksums(headers(content_md5=md5, x_amz_checksum_crc32c=CRC))
    assert found == (hashlib.md5(b"").digest(), "CRC32C", (("CRC32C", b"1234"),), None)
    found = checksums.sent_checksums(
        headers(x_amz_trailer="x-amz-checksum-sha256", x_amz_sdk_checksum_algorithm="sha256")
    )
    assert found == (None, "SHA256", (), "x-amz-checksum-sha256")


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"content_md5": "x"}, "InvalidDigest"),
        ({"content_md5": CRC}, "InvalidDigest"),
        ({"x_amz_checksum_crc32": "x"}, "InvalidRequest"),
        ({"x_amz_checksum_sha1": CRC}, "InvalidRequest"),
        ({"x_amz_checksum_crc32": CRC, "x_amz_checksum_crc32c": CRC}, "InvalidRequest"),
        ({"x_amz_checksum_crc32": CRC, "x_amz_trailer": "x-amz-checksum-sha1"}, "InvalidRequest"),
        ({"x_amz_trailer": "x-other"}, "InvalidRequest"),
        ({"x_amz_sdk_checksum_algorithm": "CRC32"}, "InvalidRequest"),
        ({"x_amz_sdk_checksum_algorithm": "MD6"}, "InvalidRequest"),
        (
            {"x_amz_sdk_checksum_algorithm": "SHA1", "x_amz_checksum_crc32": CRC},
            "InvalidRequest",
        ),
    ],
)
def test_checksums_refused(sent: dict[str, str], expected: str) -> None:
    assert code(checksums.sent_checksums, headers(**sent)) == expected


@pytest.mark.parametrize(
    ("algorithm", "kind", "outcome"),
    [
        (None, None, (None, None)),
        ("crc32", None, ("CRC32", "COMPOSITE")),
        ("CRC64NVME", None, ("CRC64NVME", "FULL_OBJECT")),
        ("CRC32", "FULL_OBJECT", ("CRC32", "FULL_OBJECT")),
        ("SHA256", "FULL_OBJECT", None),
        ("CRC64NVME", "COMPOSITE", None),
        (None, "COMPOSITE", None),
        ("CRC32", "OTHER", None),
    ],
)
def test_checksums_of_uploads(
    algorithm: str | None, kind: str | None, outcome: tuple[str, str] | None
) -> None:
    asked = {"x_amz_checksum_algorithm": algorithm, "x_amz_checksum_type": kind}
    given_headers = headers(**{name: value for name, value in asked.items() if value})
    if outcome is None:
        assert code(checksums.upload_checksum, given_headers) == "InvalidRequest"
    else:
        assert checksums.upload_checksum(given_headers) == outcome


def test_checksums_in_answers() -> None:
    told = checksums.checksum_headers(Checksums({"CRC32": b"1234"}, 3), "COMPOSITE")
    assert told == [
        ("x-amz-checksum-crc32", f"{CRC}-3"),
        ("x-amz-checksum-type", "COMPOSITE"),
    ]
    assert checksums.checksum_headers(Checksums(), "FULL_OBJECT") == []


# --- Copy sources, encryption, locks --------------------------------------------------------------


def test_copy_sources() -> None:
    parse = copy_source.parse_copy_source
    assert parse("/bucket/a%20b%3Fc?versionId=1") == ("bucket", b"a b?c", "1")
    assert parse("bucket/a+b//../c") == ("bucket", b"a+b//../c", None)
    assert parse("bucket/é") == ("bucket", "é".encode(), None)
    assert parse("%2Fbucket%2Fkey") == ("bucket", b"key", None)
    for value in ("", "/", "bucket", "bucket/", "/bucket/k?acl", "B/k", "bucket/%ff", "bucket/k?"):
        if value != "bucket/k?":
            assert code(parse, value) == "InvalidArgument", value
    assert code(parse, "bucket/" + "x" * 1025) == "KeyTooLongError"
    assert copy_source.directive(None, "x-amz-metadata-directive") == "COPY"
    assert copy_source.directive("replace", "x-amz-metadata-directive") == "REPLACE"
    assert code(copy_source.directive, "x", "x-amz-metadata-directive") == "InvalidArgument"


def customer(secret: bytes, **changed: str) -> Headers:
    values = {
        "algorithm": "AES256",
        "key": base64.b64encode(secret).decode(),
        "key_md5": base64.b64encode(hashlib.md5(secret).digest()).decode(),
        **changed,
    }
    prefix = "x_amz_server_side_encryption_customer_"
    return headers(**{prefix + name: value for name, value in values.items() if value})


def test_keys_of_clients() -> None:
    key = bytes(range(32))
    found = encryption.client_key(customer(key), secure=True)
    assert found is not None
    assert found.key == key
    assert "key=" not in repr(found)
    assert dict(found.headers)["x-amz-server-side-encryption-customer-algorithm"] == "AES256"
    assert encryption.client_key(headers(), secure=False) is None
    for wrong, expected in (
        (customer(key, algorithm="DES"), "InvalidEncryptionAlgorithmError"),
        (customer(key, key_md5="x"), "InvalidArgument"),
        (customer(key, key_md5=""), "InvalidArgument"),
        (customer(key, key=""), "InvalidArgument"),
        (customer(key[:16]), "InvalidArgument"),
    ):
        with pytest.raises(S3Error, match=expected):
            encryption.client_key(wrong, secure=True)
    with pytest.raises(S3Error, match="secure connection"):
        encryption.client_key(customer(key), secure=False)


def test_encryption_asked_for() -> None:
    assert encryption.wants_encryption(headers(x_amz_server_side_encryption="AES256"))
    assert not encryption.wants_encryption(headers())
    for value, expected in (
        ("aws:kms", "NotImplemented"),
        ("x", "InvalidEncryptionAlgorithmError"),
    ):
        asked = headers(x_amz_server_side_encryption=value)
        assert code(encryption.wants_encryption, asked) == expected


def test_locks() -> None:
    until = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
    asked = headers(
        x_amz_object_lock_mode="GOVERNANCE",
        x_amz_object_lock_retain_until_date=until.isoformat(),
        x_amz_object_lock_legal_hold="ON",
    )
    found = locking.lock_retention(asked, NOW_NS)
    assert found == LockRetention("GOVERNANCE", int(until.timestamp()) * 10**9)
    assert locking.legal_hold(asked) is True
    assert locking.legal_hold(headers()) is None
    assert dict(locking.lock_headers(info(retention=found, hold=True))) == {
        "x-amz-object-lock-mode": "GOVERNANCE",
        "x-amz-object-lock-retain-until-date": "2030-01-01T00:00:00.000Z",
        "x-amz-object-lock-legal-hold": "ON",
    }
    assert locking.lock_headers(info()) == []
    for values in (
        {"x_amz_object_lock_mode": "GOVERNANCE"},
        {"x_amz_object_lock_mode": "X", "x_amz_object_lock_retain_until_date": "2030-01-01"},
        {"x_amz_object_lock_mode": "COMPLIANCE", "x_amz_object_lock_retain_until_date": "x"},
        {
            "x_amz_object_lock_mode": "COMPLIANCE",
            "x_amz_object_lock_retain_until_date": "2020-01-01T00:00:00Z",
        },
    ):
        assert code(locking.lock_retention, headers(**values), NOW_NS) == "InvalidArgument"
    assert code(locking.legal_hold, headers(x_amz_object_lock_legal_hold="on")) == "InvalidArgument"
    assert locking.bypasses(headers(x_amz_bypass_governance_retention="True"))
