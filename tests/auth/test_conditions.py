"""Condition operators, by AWS's own tables and examples."""

import pytest

from objfs.auth.conditions import UnknownOperator, parse_condition
from objfs.auth.policy import lower_keys


def holds(operator: str, expected: object, value: object = None, **more: object) -> bool:
    values = expected if isinstance(expected, list) else [expected]
    condition = parse_condition(operator, "k:Key", [str(each) for each in values], variables=True)
    context = {} if value is None else {"k:key": value}
    return condition.holds(lower_keys(context | more), strict=True)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("operator", "expected", "value", "result"),
    [
        ("StringEquals", "a", "a", True),
        ("StringEquals", "a", "A", False),
        ("StringEquals", ["a", "b"], "b", True),
        ("StringEquals", "a*", "ab", False),
        ("StringEquals", "a*", "a*", True),
        ("StringNotEquals", ["a", "b"], "b", False),
        ("StringNotEquals", ["a", "b"], "c", True),
        ("StringEqualsIgnoreCase", "aB", "Ab", True),
        ("StringNotEqualsIgnoreCase", "aB", "Ab", False),
        ("StringLike", "a*c?", "abbcd", True),
        ("StringLike", ["", "home/*"], "", True),
        ("StringNotLike", "a*", "ab", False),
        ("StringNotLike", "a*", "b", True),
        ("NumericEquals", "10", "10.0", True),
        ("NumericNotEquals", "10", "11", True),
        ("NumericLessThan", "10", "9", True),
        ("NumericLessThan", "10", "10", False),
        ("NumericLessThanEquals", "10", "10", True),
        ("NumericGreaterThan", "10", "11", True),
        ("NumericGreaterThanEquals", "10", "9", False),
        ("NumericEquals", "10", "ten", False),
        ("DateGreaterThan", "2020-01-01T00:00:01Z", "2020-01-01T00:00:02Z", True),
        ("DateLessThan", "2020-01-01", "2019-12-31T23:59:59Z", True),
        ("DateEquals", "2020-01-01T00:00:00Z", "1577836800", True),
        ("DateEquals", "2020-01-01T01:00:00+01:00", "2020-01-01T00:00:00Z", True),
        ("DateNotEquals", "2020-01-01", "2020-01-02", True),
        ("DateLessThanEquals", "2020-01-01T00:00:00.5Z", "2020-01-01T00:00:00.4Z", True),
        ("Bool", "true", "True", True),
        ("Bool", "true", "false", False),
        ("BinaryEquals", "QmlnIQ==", "QmlnIQ==", True),
        ("BinaryEquals", "QmlnIQ==", "Big!", False),
        ("IpAddress", "203.0.113.0/24", "203.0.113.7", True),
        ("IpAddress", "203.0.113.0/24", "203.0.114.7", False),
        ("IpAddress", "203.0.113.7", "203.0.113.7", True),
        ("IpAddress", ["203.0.113.0/24", "2001:db8::/32"], "2001:db8::1", True),
        ("IpAddress", "203.0.113.0/24", "::ffff:203.0.113.9", True),
        ("IpAddress", "203.0.113.0/24", "nowhere", False),
        ("NotIpAddress", "203.0.113.0/24", "203.0.113.7", False),
        ("NotIpAddress", "203.0.113.0/24", "8.8.8.8", True),
        ("ArnEquals", "arn:aws:iam::*:user/a*", "arn:aws:iam::123456789012:user/ab", True),
        ("ArnLike", "arn:aws:iam::*:user/ab", "arn:aws:iam:x:1:user/ab", False),
        ("ArnLike", "arn:aws:s3:::b/*", "arn:aws:s3:::b/c:d/e", True),
        ("ArnLike", "arn:aws:*", "arn:aws:s3:::b", None),
        ("ArnNotLike", "arn:aws:s3:::b", "arn:aws:s3:::c", True),
        ("ArnEquals", "*", "arn:aws:s3:::c", True),
    ],
)
def test_operators(operator: str, expected: object, value: str, result: bool | None) -> None:
    if result is None:
        with pytest.raises(ValueError, match="no ARN"):
            holds(operator, expected, value)
    else:
        assert holds(operator, expected, value) is result


@pytest.mark.parametrize(
    ("operator", "without"),
    [
        ("StringEquals", False),
        ("StringNotEquals", True),
        ("StringEqualsIfExists", True),
        ("StringNotEqualsIfExists", True),
        ("NumericLessThan", False),
        ("NotIpAddress", True),
        ("IpAddressIfExists", True),
        ("ForAllValues:StringEquals", True),
        ("ForAnyValue:StringEquals", False),
        ("ForAnyValue:StringNotEquals", False),
        ("ForAllValues:StringNotEquals", True),
    ],
)
def test_a_key_that_is_not_there(operator: str, without: bool) -> None:
    expected = {"NumericLessThan": "1"}.get(operator, "1.1.1.1" if "Ip" in operator else "a")
    assert holds(operator, expected) is without


@pytest.mark.parametrize(
    ("operator", "expected", "values", "result"),
    [
        # The table of AWS's page on multivalued keys.
        ("ForAllValues:StringEquals", ["1", "2"], ["1"], True),
        ("ForAllValues:StringEquals", ["1", "2"], ["1", "3"], False),
        ("ForAnyValue:StringEquals", ["1", "2"], ["1", "3"], True),
        ("ForAnyValue:StringEquals", ["1", "2"], ["3"], False),
        ("ForAllValues:StringNotEquals", ["1"], ["2", "3"], True),
        ("ForAllValues:StringNotEquals", ["1"], ["1", "3"], False),
        ("ForAnyValue:StringNotLike", ["1*"], ["12", "3"], True),
        ("ForAnyValue:StringNotLike", ["1*"], ["12", "1"], False),
        ("StringEquals", ["1"], ["1", "2"], True),
        ("StringNotEquals", ["1"], ["1", "2"], False),
    ],
)
def test_keys_with_several_values(
    operator: str, expected: list[str], values: list[str], result: bool
) -> None:
    assert holds(operator, expected, values) is result


def test_null() -> None:
    assert holds("Null", "true")
    assert not holds("Null", "true", "x")
    assert holds("Null", "false", "x")
    assert not holds("Null", "false")


def test_variables_in_values() -> None:
    more = {"aws:username": "bob"}
    assert holds("StringEquals", "${aws:username}", "bob", **more)
    assert holds("StringLike", "home/${aws:username}/*", "home/bob/x", **more)
    assert holds(
        "ArnLike", "arn:aws:iam::1:user/${aws:username}", "arn:aws:iam::1:user/bob", **more
    )
    assert not holds("ArnLike", "arn:aws:iam::1:user/${aws:username}", "no arn", **more)


@pytest.mark.parametrize(
    "operator",
    ["", "Equals", "StringMatches", "ForSome:StringEquals", "NullIfExists", "ForAnyValue:Null"],
)
def test_unknown_operators(operator: str) -> None:
    with pytest.raises(UnknownOperator):
        parse_condition(operator, "k:x", ["true"], variables=True)


@pytest.mark.parametrize(
    ("operator", "value"),
    [
        ("NumericEquals", "ten"),
        ("NumericEquals", "NaN"),
        ("DateEquals", "soon"),
        ("DateEquals", "2020-13-01"),
        ("DateEquals", "2020-01-01T00:00:00+99:00"),
        ("Bool", "yes"),
        ("IpAddress", "1.2.3"),
        ("BinaryEquals", "!"),
        ("Null", "perhaps"),
        ("ArnLike", "user/a"),
    ],
)
def test_values_that_an_operator_does_not_take(operator: str, value: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_condition(operator, "k:x", [value], variables=True)
