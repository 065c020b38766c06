"""Bucket names by S3's rules."""

import pytest

from objfs.base.errors import InvalidRequest
from objfs.volume.bucket_names import broken_rule, check_bucket_name


@pytest.mark.parametrize(
    "name", ["abc", "my.bucket", "a-b", "0ab", "a" * 63, "1.2.3", "1.2.3.4.5", "a--b", "a.-b"]
)
def test_names_that_s3_takes(name: str) -> None:
    assert broken_rule(name) is None


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("", "3 to 63"),
        ("ab", "3 to 63"),
        ("a" * 64, "3 to 63"),
        ("Abc", "lower-case"),
        ("a_b", "lower-case"),
        ("a/b", "lower-case"),
        ("gr\u00fcn", "lower-case"),
        ("abc\n", "lower-case"),
        ("\u0661\u0662\u0663", "lower-case"),
        (".abc", "begin and end"),
        ("abc-", "begin and end"),
        ("a..b", "two dots"),
        ("192.168.5.4", "IP address"),
        ("xn--abc", "'xn--' is reserved"),
        ("sthree-abc", "'sthree-' is reserved"),
        ("amzn-s3-demo-abc", "'amzn-s3-demo-' is reserved"),
        ("abc-s3alias", "'-s3alias' is reserved"),
        ("abc--ol-s3", "'--ol-s3' is reserved"),
        ("abc.mrap", "'.mrap' is reserved"),
        ("abc--x-s3", "'--x-s3' is reserved"),
        ("abc--table-s3", "'--table-s3' is reserved"),
    ],
)
def test_names_that_s3_refuses_say_why(name: str, rule: str) -> None:
    with pytest.raises(InvalidRequest, match=rule):
        check_bucket_name(name)
