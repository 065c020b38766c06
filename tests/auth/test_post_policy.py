"""Forms that botocore signed, and what their policies allow."""

import base64
import json
import string
from typing import Any

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from hypothesis import given, settings
from hypothesis import strategies as st

from objfs.auth.causes import Cause
from objfs.auth.claims import Anonymous, Claim, Place
from objfs.auth.forms import OldClaim, read_form, verify_form
from objfs.auth.post_policy import PostPolicy, read_post_policy
from objfs.auth.signing import SigningKeys
from objfs.base.errors import NotAuthenticated
from tests.auth import oracle
from tests.auth.oracle import KEY, NOW_NS, REGION, RULES, SECRET

BUCKET = "the-bucket"
UNTIL = "2026-11-20T12:00:00.000Z"
words = st.text(string.ascii_lowercase, min_size=1, max_size=8)


def form(
    fields: dict[str, str], conditions: list[Any], until: str = UNTIL, token: str | None = None
) -> dict[str, str]:
    """The fields of a form as botocore makes and signs them."""
    request = AWSRequest(method="POST", url="http://127.0.0.1/")
    request.context["s3-presign-post-fields"] = dict(fields)
    request.context["s3-presign-post-policy"] = {"expiration": until, "conditions": conditions}
    with oracle.clock():
        botocore.auth.S3SigV4PostAuth(oracle.credentials(token), "s3", REGION).add_auth(request)
    return {
        name.lower(): value for name, value in request.context["s3-presign-post-fields"].items()
    }


def allowed(fields: dict[str, str], bucket: str = BUCKET, now_ns: int = NOW_NS) -> PostPolicy:
    """Everything that a server does with a form."""
    claim = read_form(fields, RULES, now_ns)
    assert isinstance(claim, Claim)
    assert (claim.place, claim.access_key) == (Place.FORM, KEY)
    verify_form(fields, claim, SECRET, SigningKeys())
    policy = read_post_policy(fields["policy"])
    policy.check(fields, bucket, now_ns)
    return policy


def refusal(*arguments: Any, **named: Any) -> NotAuthenticated:
    with pytest.raises(NotAuthenticated) as caught:
        allowed(*arguments, **named)
    return caught.value


def read(document: object) -> PostPolicy:
    return read_post_policy(base64.b64encode(json.dumps(document).encode()).decode())


@settings(max_examples=40)
@given(st.dictionaries(words.map(lambda name: f"x-amz-meta-{name}"), words, max_size=4), st.data())
def test_a_form_is_believed_and_its_fields_are_covered(
    metadata: dict[str, str], data: st.DataObject
) -> None:
    fields = {"key": "a/b", **metadata}
    conditions: list[Any] = [{"bucket": BUCKET}]
    for name, value in fields.items():
        begins = ["starts-with", f"${name}", value[: data.draw(st.integers(0, len(value)))]]
        conditions.append(
            data.draw(st.sampled_from([{name: value}, ["eq", f"${name}", value], begins]))
        )
    made = form(fields, conditions)
    allowed(made)
    name = data.draw(st.sampled_from(sorted(fields)))
    if ["starts-with", f"${name}", ""] not in conditions:
        assert refusal({**made, name: "!" + fields[name]}).cause is Cause.POLICY_REFUSES
    assert refusal({**made, "x-amz-meta-extra-field": "1"}).cause is Cause.POLICY_REFUSES


def test_tokens_and_ignored_fields() -> None:
    made = form({"key": "k"}, [{"bucket": BUCKET}, {"key": "k"}], token="a token")
    allowed({**made, "x-ignore-this": "1"})
    claim = read_form(made, RULES, NOW_NS)
    assert isinstance(claim, Claim)
    assert claim.token == "a token"


@pytest.mark.parametrize(
    ("conditions", "fields", "says"),
    [
        ([["eq", "$content-type", "text/plain"]], {"content-type": "text/plain"}, None),
        ([["starts-with", "$x-amz-meta-tag", ""]], {"x-amz-meta-tag": "anything"}, None),
        ([["starts-with", "$x-amz-meta-tag", ""]], {}, None),
        ([["StArTs-WiTh", "$CoNtEnT-TyPe", "text/"]], {"content-type": "text/a, text/b"}, None),
        ([["eq", "$bucket", BUCKET]], {}, None),
        (
            [["eq", "$content-type", "text/plain"]],
            {"content-type": "image/jpeg"},
            'Policy Condition failed: ["eq","$content-type","text/plain"]',
        ),
        (
            [{"content-type": "application/xml"}],
            {"content-type": "text/html"},
            'Policy Condition failed: ["eq", "$content-type", "application/xml"]',
        ),
        (
            [["starts-with", "$content-type", "text/"]],
            {"content-type": "text/plain, image/jpeg"},
            'Policy Condition failed: ["starts-with","$content-type","text/"]',
        ),
        ([["starts-with", "$x-amz-meta-a", "a"]], {}, "Policy Condition failed"),
        ([["eq", "$bucket", "another"]], {}, "Policy Condition failed"),
        ([["eq", "content-type", "a/b"]], {}, "Policy Condition failed"),
        ([], {"x-amz-meta-custom": "value"}, "Extra input fields: x-amz-meta-custom"),
    ],
)
def test_conditions(conditions: list[Any], fields: dict[str, str], says: str | None) -> None:
    made = {**form({"key": "k"}, [{"bUcKeT": BUCKET}, {"Key": "k"}, *conditions]), **fields}
    if says is None:
        allowed(made)
    else:
        error = refusal(made)
        assert error.cause is Cause.POLICY_REFUSES
        assert str(error).startswith(f"Invalid according to Policy: {says}")


def test_the_bucket_has_to_be_covered() -> None:
    error = refusal(form({"key": "k"}, [{"key": "k"}]))
    assert str(error) == "Invalid according to Policy: Extra input fields: bucket"


def test_a_policy_ends() -> None:
    made = form({"key": "k"}, [{"bucket": BUCKET}, {"key": "k"}])
    hour = 3600 * 10**9
    allowed(made, now_ns=NOW_NS + hour)
    error = refusal(made, now_ns=NOW_NS + 2 * hour)
    assert str(error) == "Invalid according to Policy: Policy expired."
    late = form({"key": "k"}, [{"bucket": BUCKET}, {"key": "k"}], "2027-11-20T12:00:00Z")
    allowed(late, now_ns=NOW_NS + 168 * hour)
    assert refusal(late, now_ns=NOW_NS + 169 * hour).cause is Cause.EXPIRED
    assert refusal(late, now_ns=NOW_NS - hour).cause is Cause.NOT_YET_VALID


def test_the_length_of_the_file() -> None:
    ranges = [["content-length-range", 3, 10], ["Content-Length-Range", "0", "8"]]
    policy = read({"expiration": UNTIL, "conditions": ranges})
    policy.check_length(3)
    policy.check_length(8)
    with pytest.raises(NotAuthenticated) as caught:
        policy.check_length(9)
    assert caught.value.cause is Cause.TOO_LARGE
    assert caught.value.details == {"ProposedSize": "9", "MaxSizeAllowed": "8"}
    with pytest.raises(NotAuthenticated) as caught:
        policy.check_length(2)
    assert caught.value.cause is Cause.TOO_SMALL
    read({"expiration": UNTIL, "conditions": []}).check_length(1 << 50)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "Expecting '{' but found End-of-Input"),
        ("invalid_base64", "invalid Base64 encoding."),
        ("\N{SNOWMAN}", "invalid Base64 encoding."),
        ("aW52YWxpZCBqc29u", "Invalid JSON."),
        (base64.b64encode(b"[" * 15_000).decode(), "Invalid JSON."),
        (base64.b64encode(b'{"conditions": [' + b"[" * 14_000).decode(), "Invalid JSON."),
        (base64.b64encode(b'{"a": "\xff"}').decode(), "Invalid JSON."),
        ("A" * 30_000, "it has over 20480 bytes."),
    ],
)
def test_policies_that_are_none(text: str, says: str) -> None:
    with pytest.raises(NotAuthenticated) as caught:
        read_post_policy(text)
    assert caught.value.cause is Cause.MALFORMED_POLICY
    assert str(caught.value) == f"Invalid Policy: {says}"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"expiration": None}, "Invalid JSON."),
        ({"expiration": True}, "Invalid JSON."),
        ({"expiration": "tomorrow"}, "Invalid 'expiration' value: 'tomorrow'"),
        ({"expiration": "2026-11-31T00:00:00Z"}, "Invalid 'expiration' value"),
        ({"expiration": "2026-11-20 10:15:00+00:00"}, "Invalid 'expiration' value"),
        ({"conditions": True}, "Invalid 'conditions' value: must be a List."),
        ({"conditions": [True]}, "Invalid condition test: must be a List or Object."),
        ({"conditions": [[]]}, "Invalid Condition: missing operation identifier."),
        ({"conditions": [["is", "$a", "b"]]}, "Invalid Condition: unknown operation 'is'."),
        ({"conditions": [["eq", "$a", "b", "c"]]}, "Invalid eq: wrong number of arguments."),
        ({"conditions": [["content-length-range", 0]]}, "Invalid content-length-range: wrong"),
        ({"conditions": [["eq", False, "b"]]}, "Invalid JSON."),
        ({"conditions": [["eq", "$a", True]]}, "Invalid JSON."),
        ({"conditions": [["content-length-range", 12, False]]}, "Invalid JSON."),
        ({"conditions": [["content-length-range", "a", "14"]]}, "Invalid JSON."),
        ({"conditions": [["content-length-range", -1, 0]]}, "Invalid JSON."),
        ({"conditions": [{}]}, "Invalid Simple-Condition: Simple-Conditions must have exactly"),
        ({"conditions": [{"a": "b", "c": "d"}]}, "Invalid Simple-Condition: Simple-Conditions"),
        ({"conditions": [{"a": True}]}, "Invalid Simple-Condition: value must be a string."),
        ({"conditions": [{"a": "b"}] * 300}, "there are over 256 conditions."),
        ({"extra": "field"}, "Unexpected: 'extra'"),
    ],
)
def test_policies_that_break_the_rules(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(NotAuthenticated) as caught:
        read({"expiration": UNTIL, "conditions": [], **changes})
    assert caught.value.cause is Cause.MALFORMED_POLICY
    assert str(caught.value).startswith(f"Invalid Policy: {says}")


@pytest.mark.parametrize("missing", ["expiration", "conditions"])
def test_policies_that_lack_something(missing: str) -> None:
    document = {"expiration": UNTIL, "conditions": []}
    document[missing.upper()] = document.pop(missing)
    with pytest.raises(NotAuthenticated) as caught:
        read(document)
    assert str(caught.value) == f"Invalid Policy: Policy missing {missing}."


MADE = form({"key": "k"}, [{"bucket": BUCKET}, {"key": "k"}])


@pytest.mark.parametrize(
    "name",
    ["policy", "x-amz-signature", "x-amz-credential", "x-amz-date", "x-amz-algorithm"],
)
def test_forms_that_lack_a_field(name: str) -> None:
    error = refusal({field: value for field, value in MADE.items() if field != name})
    assert error.cause is Cause.MALFORMED_FORM
    assert f"must contain a field named '{name}'" in str(error)


@pytest.mark.parametrize(
    ("changes", "cause", "says"),
    [
        ({"x-amz-algorithm": "invalid"}, Cause.MALFORMED_FORM, "Only AWS4-HMAC-SHA256"),
        ({"x-amz-date": "invalid"}, Cause.MALFORMED_FORM, "ISO8601 Long format"),
        ({"x-amz-date": "20261119T101500Z"}, Cause.MALFORMED_FORM, "of the day"),
        ({"x-amz-credential": "no-slashes"}, Cause.MALFORMED_FORM, "mal-formed"),
        ({"x-amz-signature": "incorrect"}, Cause.WRONG_SIGNATURE, "does not match"),
        ({"x-amz-signature": "\N{SNOWMAN}"}, Cause.WRONG_SIGNATURE, "does not match"),
        ({"policy": MADE["policy"][:-4]}, Cause.WRONG_SIGNATURE, "does not match"),
        ({"awsaccesskeyid": "A", "signature": "s"}, Cause.SEVERAL_MECHANISMS, "Only one"),
    ],
)
def test_forms_that_are_refused(changes: dict[str, str], cause: Cause, says: str) -> None:
    error = refusal({**MADE, **changes})
    assert error.cause is cause
    assert says in str(error)


def test_a_form_of_nobody() -> None:
    assert isinstance(read_form({"key": "k"}, RULES, NOW_NS), Anonymous)


# --- Signature version 2 --------------------------------------------------------------------------


def old_form(fields: dict[str, str], conditions: list[Any], token: str | None = None) -> Any:
    """The fields of a form as botocore makes and signs them in the old way."""
    request = AWSRequest(method="POST", url="http://127.0.0.1/")
    request.context["s3-presign-post-fields"] = dict(fields)
    request.context["s3-presign-post-policy"] = {"expiration": UNTIL, "conditions": conditions}
    botocore.auth.HmacV1PostAuth(oracle.credentials(token)).add_auth(request)
    return {
        name.lower(): value for name, value in request.context["s3-presign-post-fields"].items()
    }


def old_allowed(fields: dict[str, str]) -> OldClaim:
    claim = read_form(fields, RULES, NOW_NS)
    assert isinstance(claim, OldClaim)
    verify_form(fields, claim, SECRET, SigningKeys())
    read_post_policy(fields["policy"]).check(fields, BUCKET, NOW_NS)
    return claim


@given(words, words)
def test_an_old_form_is_believed(key: str, other: str) -> None:
    made = old_form({"key": key}, [{"bucket": BUCKET}, {"key": key}], token=None)
    claim = old_allowed(made)
    assert (claim.place, claim.access_key, claim.token) == (Place.FORM, KEY, None)
    policy = old_form({"key": key}, [{"bucket": BUCKET}, {"key": key + other}])["policy"]
    for field, value in (("policy", policy), ("signature", made["signature"][::-1])):
        with pytest.raises(NotAuthenticated) as caught:
            old_allowed({**made, field: value})
        assert caught.value.cause is Cause.WRONG_SIGNATURE
    with pytest.raises(NotAuthenticated) as caught:
        old_allowed({**made, "x-amz-meta-extra": "1"})
    assert caught.value.cause is Cause.POLICY_REFUSES


def test_an_old_form_with_a_token() -> None:
    made = old_form({"key": "k"}, [{"bucket": BUCKET}, {"key": "k"}], token="a token")
    assert old_allowed(made).token == "a token"


@pytest.mark.parametrize("name", ["policy", "signature"])
def test_old_forms_that_lack_a_field(name: str) -> None:
    made = old_form({"key": "k"}, [{"bucket": BUCKET}, {"key": "k"}])
    del made[name]
    with pytest.raises(NotAuthenticated) as caught:
        old_allowed(made)
    assert caught.value.cause is Cause.MALFORMED_FORM
    assert f"must contain a field named '{name}'" in str(caught.value)
