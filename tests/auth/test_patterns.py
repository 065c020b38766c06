"""Wildcards and variables."""

import re
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objfs.auth.patterns import Pattern, Unresolved

CONTEXT = {"aws:username": ("bob",), "many": ("a", "b"), "star": ("*",), "none": ()}


def matches(pattern: str, value: str) -> bool:
    return Pattern(pattern, variables=True).matches(value, CONTEXT)


def by_hand(pattern: str, value: str) -> bool:
    """The definition, in quadratic space."""
    row = [True] + [False] * len(value)
    for sign in pattern:
        new = [row[0] and sign == "*"]
        for at, character in enumerate(value):
            if sign == "*":
                new.append(row[at + 1] or new[at])
            else:
                new.append(row[at] and sign in ("?", character))
        row = new
    return row[-1]


@pytest.mark.slow
@settings(max_examples=500)
@given(st.text("ab/*?.", max_size=9), st.text("ab/.\n", max_size=9))
def test_wildcards_match_as_defined(pattern: str, value: str) -> None:
    assert matches(pattern, value) is by_hand(pattern, value)


def test_many_stars_cost_no_more() -> None:
    pattern = "*a" * 500 + "b"
    assert not matches(pattern, "a" * 2000)
    assert matches(pattern, "a" * 2000 + "b")


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        ("home/${aws:username}/*", "home/bob/x"),
        ("home/${AWS:UserName}/*", "home/bob/x"),
        ("${aws:username}${aws:username}", "bobbob"),
        ("a${*}b${?}${$}", "a*b?$"),
        ("${star}", "*"),
        ("${none, 'nobody'}/x", "nobody/x"),
        ("${aws:username, 'nobody'}", "bob"),
        ("${missing,''}x", "x"),
        ("${ }", "${ }"),
        ("${unclosed", "${unclosed"),
    ],
)
def test_variables(pattern: str, value: str) -> None:
    assert matches(pattern, value)
    assert not matches(pattern, value + "!") or pattern.endswith("*")


def test_what_a_variable_stands_for_is_literal() -> None:
    assert not matches("${star}", "anything")
    assert not matches("a${*}b", "axb")


@pytest.mark.parametrize("key", ["missing", "none", "many"])
def test_a_variable_without_one_value_is_unresolved(key: str) -> None:
    with pytest.raises(Unresolved):
        matches("x${" + key + "}", "x")


def test_without_variables_the_text_is_literal() -> None:
    assert Pattern("${aws:username}", variables=False).matches("${aws:username}", CONTEXT)


def test_case_counts_unless_said() -> None:
    assert Pattern("S3:get*", variables=False, ignore_case=True).matches("s3:GetObject", {})
    assert not matches("S3:get*", "s3:GetObject")


@given(st.text(string.printable, max_size=20))
def test_no_sign_of_expressions_means_anything(text: str) -> None:
    plain = re.sub(r"[*?$]", "", text)
    assert matches(plain, plain)
