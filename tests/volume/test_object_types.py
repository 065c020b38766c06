"""Conditions of S3 requests, as functions over values."""

from typing import Any

import pytest

from objfs.base.errors import NoSuchKey, NotModified, PreconditionFailed
from objfs.volume.object_types import Conditions, ObjectInfo

SECOND_NS = 1_000_000_000
INFO = ObjectInfo(
    bucket="b", key=b"k", version_id="1", sequence=1, time_ns=10 * SECOND_NS + 5, etag="e"
)
BEFORE, AT, AFTER = 9 * SECOND_NS, 10 * SECOND_NS, 11 * SECOND_NS


@pytest.mark.parametrize(
    "demands",
    [
        {},
        {"if_match": ("e",)},
        {"if_match": ("*",)},
        {"if_match": ("x", "e"), "if_unmodified_since_ns": BEFORE},
        {"if_unmodified_since_ns": AT},
        {"if_none_match": ("x",), "if_modified_since_ns": AFTER},
        {"if_modified_since_ns": BEFORE},
    ],
)
def test_a_read_goes_on(demands: dict[str, Any]) -> None:
    Conditions(**demands).check(INFO)


@pytest.mark.parametrize(
    ("demands", "error"),
    [
        ({"if_match": ("x",)}, PreconditionFailed),
        ({"if_match": ()}, PreconditionFailed),
        ({"if_unmodified_since_ns": BEFORE}, PreconditionFailed),
        ({"if_match": ("x",), "if_none_match": ("e",)}, PreconditionFailed),
        ({"if_none_match": ("e",)}, NotModified),
        ({"if_none_match": ("*",), "if_modified_since_ns": BEFORE}, NotModified),
        ({"if_modified_since_ns": AT}, NotModified),
        ({"if_match": ("e",), "if_modified_since_ns": AT}, NotModified),
    ],
)
def test_a_read_ends_early(demands: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(PreconditionFailed) as raised:
        Conditions(**demands).check(INFO)
    assert type(raised.value) is error


def test_a_write_tells_what_is_missing_from_what_differs() -> None:
    Conditions(if_match=("e",)).check_write(INFO)
    Conditions(if_none_match=("*",)).check_write(None)
    Conditions(if_none_match=("x",)).check_write(INFO)
    with pytest.raises(NoSuchKey):
        Conditions(if_match=("e",)).check_write(None)
    for refused in (
        Conditions(if_match=("x",)),
        Conditions(if_none_match=("*",)),
        Conditions(if_none_match=("e",)),
        Conditions(if_unmodified_since_ns=BEFORE),
    ):
        with pytest.raises(PreconditionFailed) as raised:
            refused.check_write(INFO)
        assert type(raised.value) is PreconditionFailed
