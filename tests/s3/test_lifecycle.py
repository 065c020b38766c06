"""Lifecycle rules: S3's checks, and what they decide for entries of any age."""

import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objfs.base.limits import DAY_NS
from objfs.s3.documents.lifecycle import expiration_header, parse_lifecycle, write_lifecycle
from objfs.s3.documents.stored import load, store
from objfs.volume.lifecycle_rules import Due, Entry, LifecycleConfiguration, due, upload_due
from tests.s3.asking import code, request
from tests.s3.model import understood

MIDNIGHT = datetime.datetime(2027, 1, 1, tzinfo=datetime.UTC)
FIRST_OF_2026 = 1_767_225_600 * 10**9


def body(*rules: dict[str, Any]) -> bytes:
    return request("PutBucketLifecycleConfiguration", LifecycleConfiguration={"Rules": list(rules)})


def rule(number: int = 1, filter: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"ID": f"r{number}", "Status": "Enabled", "Filter": filter or {"Prefix": ""}, **more}


def configured(*rules: dict[str, Any]) -> LifecycleConfiguration:
    return parse_lifecycle(body(*rules))


ALL_OF = {
    "And": {
        "Prefix": "a/",
        "Tags": [{"Key": "k", "Value": "v"}, {"Key": "l", "Value": ""}],
        "ObjectSizeGreaterThan": 10,
        "ObjectSizeLessThan": 20,
    }
}
RULES = [
    rule(1, ALL_OF, Expiration={"Days": 3}),
    rule(2, {"Tag": {"Key": "k", "Value": "v"}}, Expiration={"Date": MIDNIGHT}),
    rule(3, {"ObjectSizeGreaterThan": 7}, Expiration={"Days": 1}),
    rule(4, {"Prefix": "x"}, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 2}),
    rule(
        5,
        NoncurrentVersionExpiration={"NoncurrentDays": 4, "NewerNoncurrentVersions": 2},
        Expiration={"ExpiredObjectDeleteMarker": True},
    ),
    {"ID": "old", "Status": "Disabled", "Prefix": "p", "Expiration": {"Days": 1}},
]


def test_documents_come_back() -> None:
    found = configured(*RULES)
    assert load(LifecycleConfiguration, store(found)) == found
    answer = understood("GetBucketLifecycleConfiguration", write_lifecycle(found))
    assert answer["Rules"] == RULES


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (rule(Expiration={"Days": 0}), "InvalidArgument"),
        (rule(Expiration={"Days": -1}), "InvalidArgument"),
        (rule(Expiration={"Days": 1, "ExpiredObjectDeleteMarker": True}), "MalformedXML"),
        (
            rule(Expiration={"Date": datetime.datetime(2027, 1, 1, 1, tzinfo=datetime.UTC)}),
            "InvalidArgument",
        ),
        (rule(), "InvalidRequest"),
        (rule(Expiration={"Days": 1}, Status="on"), "MalformedXML"),
        (rule(Expiration={"Days": 1}, ID="x" * 256), "InvalidArgument"),
        (rule(Expiration={"Days": 1}, Prefix="both"), "MalformedXML"),
        (
            rule(1, {"Prefix": "a", "Tag": {"Key": "k", "Value": "v"}}, Expiration={"Days": 1}),
            "MalformedXML",
        ),
        (rule(1, {"And": {"Prefix": "a"}}, Expiration={"Days": 1}), "MalformedXML"),
        (
            rule(1, {"And": {"Tags": [{"Key": "k", "Value": "v"}] * 2}}, Expiration={"Days": 1}),
            "InvalidRequest",
        ),
        (
            rule(
                1,
                {"And": {"ObjectSizeGreaterThan": 5, "ObjectSizeLessThan": 5}},
                Expiration={"Days": 1},
            ),
            "InvalidRequest",
        ),
        (
            rule(
                1,
                {"Tag": {"Key": "k", "Value": "v"}},
                Expiration={"ExpiredObjectDeleteMarker": True},
            ),
            "InvalidRequest",
        ),
        (
            rule(
                1,
                {"ObjectSizeLessThan": 5},
                AbortIncompleteMultipartUpload={"DaysAfterInitiation": 1},
            ),
            "InvalidRequest",
        ),
        (rule(AbortIncompleteMultipartUpload={"DaysAfterInitiation": 0}), "InvalidArgument"),
        (rule(NoncurrentVersionExpiration={"NoncurrentDays": 0}), "InvalidArgument"),
        (rule(NoncurrentVersionExpiration={"NewerNoncurrentVersions": 2}), "MalformedXML"),
        (
            rule(NoncurrentVersionExpiration={"NoncurrentDays": 1, "NewerNoncurrentVersions": 101}),
            "InvalidArgument",
        ),
        (rule(Transitions=[{"Days": 1, "StorageClass": "GLACIER"}]), "NotImplemented"),
        (rule(1, {"Tag": {"Key": "", "Value": "v"}}, Expiration={"Days": 1}), "InvalidTag"),
    ],
)
def test_rules_refused(wrong: dict[str, Any], expected: str) -> None:
    assert code(parse_lifecycle, body(wrong)) == expected


def test_documents_refused() -> None:
    assert code(parse_lifecycle, body()) == "MalformedXML"
    twice = rule(Expiration={"Days": 1})
    assert code(parse_lifecycle, body(twice, twice)) == "InvalidArgument"
    nowhere = (
        b"<LifecycleConfiguration><Rule><Status>Enabled</Status></Rule></LifecycleConfiguration>"
    )
    assert code(parse_lifecycle, nowhere) == "MalformedXML"


def test_rules_without_an_id_get_one() -> None:
    each = {"Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}
    assert [rule.id for rule in configured(each, each).rules] == ["rule-1", "rule-2"]


@given(st.integers(0, 10**19), st.integers(1, 1000))
def test_days_end_at_midnight(time_ns: int, days: int) -> None:
    found = due(configured(rule(Expiration={"Days": days})), Entry("k", time_ns))
    assert found is not None
    assert found.time_ns % DAY_NS == 0
    assert time_ns + days * DAY_NS <= found.time_ns < time_ns + (days + 1) * DAY_NS


def test_a_shorter_day() -> None:
    found = due(configured(rule(Expiration={"Days": 2})), Entry("k", 15), day_ns=10)
    assert found == Due(40, "r1")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (Entry("a/x", 0, 15, {"k": "v", "l": "", "m": "n"}), 3),
        (Entry("a/x", 0, 15, {"k": "v"}), None),
        (Entry("b/x", 0, 15, {"k": "v", "l": ""}), None),
        (Entry("a/x", 0, 10, {"k": "v", "l": ""}), None),
        (Entry("a/x", 0, 20, {"k": "v", "l": ""}), None),
        (Entry("a/x", 0, 15, {"k": "v", "l": ""}, noncurrent_since_ns=0), None),
    ],
)
def test_filters(entry: Entry, expected: int | None) -> None:
    found = due(configured(RULES[0]), entry)
    assert (None if found is None else found.time_ns // DAY_NS) == expected


def test_the_earliest_rule_counts_and_disabled_ones_do_not() -> None:
    rules = configured(
        rule(1, Expiration={"Days": 9}),
        rule(2, Expiration={"Days": 5}),
        rule(3, Expiration={"Days": 1}, Status="Disabled"),
    )
    found = due(rules, Entry("k", FIRST_OF_2026))
    assert found == Due(FIRST_OF_2026 + 5 * DAY_NS, "r2")
    assert expiration_header(found) == ('expiry-date="Tue, 06 Jan 2026 00:00:00 GMT", rule-id="r2"')


def test_dates() -> None:
    found = due(configured(rule(Expiration={"Date": MIDNIGHT})), Entry("k", 0))
    assert found == Due(int(MIDNIGHT.timestamp()) * 10**9, "r1")


def test_noncurrent_versions() -> None:
    rules = configured(RULES[4])
    old = Entry("k", 0, noncurrent_since_ns=FIRST_OF_2026, newer_noncurrent=2)
    assert due(rules, old) == Due(FIRST_OF_2026 + 4 * DAY_NS, "r5")
    assert due(rules, old._replace(newer_noncurrent=1)) is None
    assert due(rules, Entry("k", 0)) is None


def test_delete_markers() -> None:
    marker = Entry("k", 5, delete_marker=True, alone=True)
    by_marker, by_days = configured(RULES[4]), configured(rule(Expiration={"Days": 1}))
    assert due(by_marker, marker) == Due(5, "r5")
    assert due(by_days, marker) == Due(2 * DAY_NS, "r1")
    for rules in (by_marker, by_days):
        assert due(rules, marker._replace(alone=False)) is None


def test_uploads() -> None:
    rules = configured(*RULES)
    assert upload_due(rules, "xy", 0) == Due(2 * DAY_NS, "r4")
    assert upload_due(rules, "y", 0) is None
