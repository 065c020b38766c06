"""The Condition block of a policy statement: its operators, and when it holds.

    block    = { operator: { key: value | [ value, ... ] } }     all operators and keys must hold
    operator = [ "ForAllValues:" | "ForAnyValue:" ] name [ "IfExists" ]

What holds, by the name of the operator (`_COMPARE` has one comparison for each pair of a positive
and a negated one):

- A *positive* operator holds if the key's value meets any of the policy's values. Without the key
  it does not hold, with `IfExists` it does.
- A *negated* one (`StringNotEquals`, `NotIpAddress`) holds if the value meets none. It also holds
  without the key.
- `ForAnyValue:` holds if it does for any of the key's values; without the key it does not.
  `ForAllValues:` holds if it does for each; without the key it holds.
- `Null` holds if the key is there ("false") or is not ("true").
- A value of the request that is no number, time, address or ARN meets nothing.

A key that has several values in the request and is asked about with neither prefix: positive as
with `ForAnyValue:`, negated as with `ForAllValues:`, so that a `Deny` with either denies more.

Source: AWS, IAM JSON policy elements: Condition operators; Multivalued context keys.
"""

import base64
import binascii
import datetime
import ipaddress
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from objfs.auth.patterns import Context, Pattern, Unresolved

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
ARN_PARTS = 6
FOR_ALL = "ForAllValues"
FOR_ANY = "ForAnyValue"
_IF_EXISTS = "IfExists"
_DATE = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d:?\d\d)?)?"
)


# --- Values ---------------------------------------------------------------------------------------


def as_number(text: str) -> Decimal:
    """ValueError for what is no number."""
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        raise ValueError(f"no number: {text!r}") from None
    if not value.is_finite():
        raise ValueError(f"no number: {text!r}")
    return value


def as_date(text: str) -> float:
    """Seconds since 1970 of an ISO 8601 date, or of such a number. ValueError."""
    found = _DATE.fullmatch(text.strip())
    if found is None:
        return float(as_number(text))
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups()[:6])
    zone = datetime.timezone(_offset(found[8]))
    whole = datetime.datetime(year, month, day, hour, minute, second, tzinfo=zone)
    return whole.timestamp() + float(f"0.{found[7] or 0}")


def _offset(text: str | None) -> datetime.timedelta:
    if text is None or text == "Z":
        return datetime.timedelta(0)
    offset = datetime.timedelta(hours=int(text[1:3]), minutes=int(text[-2:]))
    return -offset if text[0] == "-" else offset


def as_boolean(text: str) -> bool:
    """ValueError for what is neither true nor false."""
    lower = text.strip().lower()
    if lower not in ("true", "false"):
        raise ValueError(f"neither true nor false: {text!r}")
    return lower == "true"


def as_network(text: str) -> Network:
    """A network or an address; IPv4 written as IPv6 is IPv4. ValueError."""
    network = ipaddress.ip_network(text.strip(), strict=False)
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.IPv4Network((mapped, network.prefixlen - 96), strict=False)
    return network


def as_bytes(text: str) -> bytes:
    """Base64. ValueError."""
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None


def as_arn_parts(text: str) -> list[str]:
    """The six parts of an ARN. ValueError."""
    parts = text.split(":", ARN_PARTS - 1)
    if len(parts) != ARN_PARTS:
        raise ValueError(f"no ARN: {text!r}")
    return parts


# --- Comparisons ----------------------------------------------------------------------------------

# (value of the request, value of the policy as prepared) -> whether they meet. ValueError: no.
Meets = Callable[[str, object, Context], bool]


def _equals(value: str, expected: object, context: Context) -> bool:
    assert isinstance(expected, Pattern)
    return value == expected.literal(context)


def _equals_ignoring_case(value: str, expected: object, context: Context) -> bool:
    assert isinstance(expected, Pattern)
    return value.lower() == expected.literal(context).lower()


def _like(value: str, expected: object, context: Context) -> bool:
    assert isinstance(expected, Pattern)
    return expected.matches(value, context)


def _arn_like(value: str, expected: object, context: Context) -> bool:
    assert isinstance(expected, list)
    parts = zip(expected, as_arn_parts(value), strict=True)
    return all(pattern.matches(part, context) for pattern, part in parts)


def _within(value: str, expected: object, context: Context) -> bool:
    network = as_network(value)
    if isinstance(network, ipaddress.IPv4Network):
        return isinstance(expected, ipaddress.IPv4Network) and network.subnet_of(expected)
    return isinstance(expected, ipaddress.IPv6Network) and network.subnet_of(expected)


def _comparing(parse: Callable[[str], object], test: Callable[[object, object], bool]) -> Meets:
    return lambda value, expected, context: test(parse(value), expected)


_ORDER: dict[str, Callable[..., bool]] = {
    "Equals": lambda value, expected: value == expected,
    "LessThan": lambda value, expected: value < expected,
    "LessThanEquals": lambda value, expected: value <= expected,
    "GreaterThan": lambda value, expected: value > expected,
    "GreaterThanEquals": lambda value, expected: value >= expected,
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a value of the policy is prepared (ValueError: it cannot be), and compared."""

    prepare: Callable[[str, bool], object]  # (text, whether it may have variables)
    meets: Meets


def _pattern(text: str, variables: bool) -> Pattern:
    return Pattern(text, variables=variables)


def _arn_patterns(text: str, variables: bool) -> list[Pattern]:
    if text == "*":
        return [Pattern("*", variables=False)] * ARN_PARTS
    return [Pattern(part, variables=variables) for part in _split_arn_pattern(text)]


def _split_arn_pattern(text: str) -> list[str]:
    """Colons inside of `${...}` do not separate."""
    parts, depth = [""], 0
    for at, character in enumerate(text):
        if text.startswith("${", at):
            depth += 1
        elif character == "}" and depth:
            depth -= 1
        if character == ":" and not depth and len(parts) < ARN_PARTS:
            parts.append("")
        else:
            parts[-1] += character
    if len(parts) != ARN_PARTS:
        raise ValueError(f"no ARN: {text!r}")
    return parts


def _parsed(parse: Callable[[str], object]) -> Callable[[str, bool], object]:
    return lambda text, variables: parse(text)


_COMPARE: dict[str, Comparison] = {
    "StringEquals": Comparison(_pattern, _equals),
    "StringEqualsIgnoreCase": Comparison(_pattern, _equals_ignoring_case),
    "StringLike": Comparison(_pattern, _like),
    "ArnEquals": Comparison(_arn_patterns, _arn_like),  # AWS: the two behave identically
    "ArnLike": Comparison(_arn_patterns, _arn_like),
    "IpAddress": Comparison(_parsed(as_network), _within),
    "Bool": Comparison(_parsed(as_boolean), _comparing(as_boolean, _ORDER["Equals"])),
    "BinaryEquals": Comparison(_parsed(as_bytes), _comparing(as_bytes, _ORDER["Equals"])),
}
for _name, _test in _ORDER.items():
    _COMPARE["Numeric" + _name] = Comparison(_parsed(as_number), _comparing(as_number, _test))
    _COMPARE["Date" + _name] = Comparison(_parsed(as_date), _comparing(as_date, _test))

# Negated operators, by the positive one.
_NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
    "NotIpAddress": "IpAddress",
    "NumericNotEquals": "NumericEquals",
    "DateNotEquals": "DateEquals",
}
NULL = "Null"


# --- Conditions -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Condition:
    """One operator with one key."""

    operator: str  # the positive one, or Null
    negated: bool
    quantifier: str  # "", ForAllValues, ForAnyValue
    if_exists: bool
    key: str  # in lower case
    values: tuple[str, ...]  # as in the policy
    expected: tuple[object, ...]  # the same, prepared

    def holds(self, context: Context, *, strict: bool) -> bool:
        """Whether it holds for a request with these keys. `strict`: what a variable leaves open
        raises Unresolved; else it meets nothing."""
        present = context.get(self.key, ())
        if self.operator == NULL:
            return any(expected is not bool(present) for expected in self.expected)
        if not present:
            if self.quantifier == FOR_ANY:
                return self.if_exists
            return self.if_exists or self.negated or self.quantifier == FOR_ALL
        each = [self._meets_any(value, context, strict) is not self.negated for value in present]
        if self.quantifier == FOR_ALL or (not self.quantifier and self.negated):
            return all(each)
        return any(each)

    def _meets_any(self, value: str, context: Context, strict: bool) -> bool:
        meets = _COMPARE[self.operator].meets
        unresolved = None
        for expected in self.expected:
            try:
                if meets(value, expected, context):
                    return True
            except Unresolved as found:
                unresolved = found
            except ValueError:
                continue
        if strict and unresolved is not None:
            raise unresolved
        return False


class UnknownOperator(ValueError):
    """There is no such operator."""


def parse_condition(
    operator: str, key: str, values: Sequence[str], *, variables: bool
) -> Condition:
    """One operator of a Condition block with one of its keys. UnknownOperator; ValueError for a
    value that the operator does not take."""
    quantifier, _, name = operator.rpartition(":")
    if quantifier not in ("", FOR_ALL, FOR_ANY):
        raise UnknownOperator(operator)
    if_exists = name.endswith(_IF_EXISTS)
    name = name.removesuffix(_IF_EXISTS)
    if name == NULL and not if_exists and not quantifier:
        expected: list[object] = [as_boolean(value) for value in values]
        return Condition(NULL, False, "", False, key.lower(), tuple(values), tuple(expected))
    positive = _NEGATED.get(name, name)
    comparison = _COMPARE.get(positive)
    if comparison is None:
        raise UnknownOperator(operator)
    return Condition(
        positive,
        name in _NEGATED,
        quantifier,
        if_exists,
        key.lower(),
        tuple(values),
        tuple(comparison.prepare(value, variables) for value in values),
    )
