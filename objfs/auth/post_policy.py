"""The policy of a browser's POST form: until when, and which fields with which values.

Owns its language (JSON in base64: `expiration` and `conditions`) and its evaluation. Nobody has to
have signed it to be read; `forms.py` says who did. Names of fields and operations are in lower case
here: S3 does not care about their case, but it does about that of `expiration` and `conditions`.

Source: "POST Policy" of the Amazon S3 API Reference. Messages are S3's.
"""

import base64
import binascii
import datetime
import json
import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from objfs.auth.causes import Cause, refused
from objfs.base.limits import POST_CONDITIONS_MAX, POST_POLICY_BYTES_MAX

_LENGTH = "content-length-range"
_NOT_COVERED = frozenset({"x-amz-signature", "awsaccesskeyid", "signature", "file", "policy"})
_EXPIRATION = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?\d*(Z|[+-]\d\d:?\d\d)", re.ASCII
)


class Condition(msgspec.Struct, frozen=True):
    """What the value of a field must be, or how it must begin; `text` is for the refusal."""

    operation: Literal["eq", "starts-with"]
    field: str  # in lower case
    value: str
    text: str

    def holds(self, fields: Mapping[str, str]) -> bool:
        """A field that is missing begins with nothing."""
        given = fields.get(self.field)
        if self.operation == "eq":
            return given == self.value
        if self.field == "content-type" and given is not None:
            return all(part.strip().startswith(self.value) for part in given.split(","))
        return (given or "").startswith(self.value)


class PostPolicy(msgspec.Struct, frozen=True):
    """A policy that was read."""

    expiration_ns: int
    conditions: tuple[Condition, ...]
    length_min: int | None = None  # of the file, in bytes; None with `length_max`: any
    length_max: int | None = None

    def check(self, fields: Mapping[str, str], bucket: str, now_ns: int) -> None:
        """Whether the policy allows a form with these fields, all of which must be covered. Names
        in lower case, `${filename}` in the key replaced. NotAuthenticated if it does not."""
        if now_ns > self.expiration_ns:
            raise _refuses("Policy expired.")
        given = {**fields, "bucket": bucket}
        for condition in self.conditions:
            if not condition.holds(given):
                raise _refuses(f"Policy Condition failed: {condition.text}")
        covered = {condition.field for condition in self.conditions} | _NOT_COVERED
        extra = [name for name in given if name not in covered and name[:9] != "x-ignore-"]
        if extra:
            raise _refuses(f"Extra input fields: {', '.join(extra)}")

    def check_length(self, length: int) -> None:
        """Whether the file may have so many bytes."""
        if self.length_max is not None and length > self.length_max:
            raise refused(
                Cause.TOO_LARGE,
                "Your proposed upload exceeds the maximum allowed size",
                ProposedSize=str(length),
                MaxSizeAllowed=str(self.length_max),
            )
        if self.length_min is not None and length < self.length_min:
            raise refused(
                Cause.TOO_SMALL,
                "Your proposed upload is smaller than the minimum allowed size",
                ProposedSize=str(length),
                MinSizeAllowed=str(self.length_min),
            )


def read_post_policy(text: str) -> PostPolicy:
    """The policy in the field `policy`. NotAuthenticated (MALFORMED_POLICY) for anything else."""
    document = _document(text)
    if "expiration" not in document:
        raise _malformed("Policy missing expiration.")
    if "conditions" not in document:
        raise _malformed("Policy missing conditions.")
    if unknown := sorted(document.keys() - {"expiration", "conditions"}):
        raise _malformed(f"Unexpected: '{unknown[0]}'")
    expiration_ns = _expiration(document["expiration"])
    listed = document["conditions"]
    if not isinstance(listed, list):
        raise _malformed("Invalid 'conditions' value: must be a List.")
    if len(listed) > POST_CONDITIONS_MAX:
        raise _malformed(f"there are over {POST_CONDITIONS_MAX} conditions.")
    conditions = []
    shortest: int | None = None
    longest: int | None = None
    for each in listed:
        read = _condition(each)
        if isinstance(read, Condition):
            conditions.append(read)
        else:  # several ranges hold all together
            shortest = max(read[0], shortest or 0)
            longest = min(read[1], read[1] if longest is None else longest)
    return PostPolicy(expiration_ns, tuple(conditions), shortest, longest)


# --- The language ---------------------------------------------------------------------------------


def _document(text: str) -> dict[str, Any]:
    if len(text) > POST_POLICY_BYTES_MAX:
        raise _malformed(f"it has over {POST_POLICY_BYTES_MAX} bytes.")
    try:
        raw = base64.b64decode("".join(text.split()).encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise _malformed("invalid Base64 encoding.") from None
    if not raw:
        raise _malformed("Expecting '{' but found End-of-Input")
    try:
        return msgspec.json.decode(raw, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _malformed("Invalid JSON.") from None


def _expiration(value: object) -> int:
    if not isinstance(value, str):
        raise _malformed("Invalid JSON.")
    match = _EXPIRATION.fullmatch(value)
    try:
        when = datetime.datetime.fromisoformat(value) if match else None
        if when is not None:
            return int(when.timestamp()) * 10**9
    except (ValueError, OverflowError):
        pass
    raise _malformed(f"Invalid 'expiration' value: '{value}'")


def _condition(each: object) -> Condition | tuple[int, int]:
    """A condition, or the bounds of the file's length."""
    if isinstance(each, dict):
        return _simple(each)
    if not isinstance(each, list):
        raise _malformed("Invalid condition test: must be a List or Object.")
    if not each or not isinstance(each[0], str):
        raise _malformed("Invalid Condition: missing operation identifier.")
    operation = each[0].lower()
    if operation not in ("eq", "starts-with", _LENGTH):
        raise _malformed(f"Invalid Condition: unknown operation '{each[0]}'.")
    if len(each) != 3:
        raise _malformed(f"Invalid {operation}: wrong number of arguments.")
    if operation == _LENGTH:
        return _length(each[1]), _length(each[2])
    field, value = each[1:]
    if not isinstance(field, str) or not isinstance(value, str):
        raise _malformed("Invalid JSON.")
    text = json.dumps(each, separators=(",", ":"), ensure_ascii=False)
    if not field.startswith("$"):  # no field has such a name: it can never hold
        raise _refuses(f"Policy Condition failed: {text}")
    return Condition("eq" if operation == "eq" else "starts-with", field[1:].lower(), value, text)


def _simple(each: dict[str, Any]) -> Condition:
    if len(each) != 1:
        raise _malformed(
            "Invalid Simple-Condition: Simple-Conditions must have exactly one property specified."
        )
    ((field, value),) = each.items()
    if not isinstance(value, str):
        raise _malformed("Invalid Simple-Condition: value must be a string.")
    text = json.dumps(["eq", f"${field}", value], ensure_ascii=False)
    return Condition("eq", field.lower(), value, text)


def _length(bound: object) -> int:
    if isinstance(bound, str) and re.fullmatch(r"[0-9]{1,18}", bound, re.ASCII):
        return int(bound)
    if isinstance(bound, int) and not isinstance(bound, bool) and bound >= 0:
        return bound
    raise _malformed("Invalid JSON.")


def _malformed(message: str) -> Exception:
    return refused(Cause.MALFORMED_POLICY, f"Invalid Policy: {message}")


def _refuses(message: str) -> Exception:
    return refused(Cause.POLICY_REFUSES, f"Invalid according to Policy: {message}")
