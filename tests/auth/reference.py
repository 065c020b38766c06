"""A second evaluator of policies, written from the documentation alone and as plainly as it goes:
it
walks the JSON, and knows nothing of `objfs.auth`. Random policies are decided by both."""

import fnmatch
import ipaddress
import re
from typing import Any

Context = dict[str, list[str]]


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def fill(text: str, context: Context) -> str | None:
    """Variables as literal text, in a form that `glob` takes; None: unresolved."""
    out = ""
    for piece in re.split(r"(\$\{[^{}]*\})", text):
        if not piece.startswith("${"):
            out += piece.replace("[", "[[]")
            continue
        name, _, default = piece[2:-1].partition(",")
        if name in ("*", "?", "$"):
            out += f"[{name}]"
            continue
        values = context.get(name.strip().lower(), [])
        if len(values) == 1:
            value = values[0]
        elif default:
            value = default.strip().strip("'")
        else:
            return None
        out += "".join(f"[{sign}]" if sign in "*?[" else sign for sign in value)
    return out


def glob(pattern: str, value: str) -> bool:
    return fnmatch.fnmatchcase(value, pattern)


def one(operator: str, expected: str, value: str, context: Context) -> bool | None:
    """One value of the request against one of the policy. None: unresolved."""
    if operator.startswith("String"):
        pattern = fill(expected, context)
        if pattern is None:
            return None
        if operator == "StringLike":
            return glob(pattern, value)
        if operator == "StringEqualsIgnoreCase":
            pattern, value = pattern.lower(), value.lower()
        return pattern.replace("[*]", "*").replace("[?]", "?").replace("[$]", "$") == value
    if operator == "IpAddress":
        return ipaddress.ip_address(value) in ipaddress.ip_network(expected)
    if operator == "Bool":
        return value.lower() == expected.lower()
    comparisons = {
        "NumericEquals": float(value) == float(expected),
        "NumericLessThan": float(value) < float(expected),
        "NumericGreaterThanEquals": float(value) >= float(expected),
    }
    return comparisons[operator]


NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotLike": "StringLike",
    "NotIpAddress": "IpAddress",
}


def condition(
    operator: str, key: str, expected: Any, context: Context, strict: bool
) -> bool | None:
    values = context.get(key.lower(), [])
    if operator == "Null":
        return any((each == "true") == (not values) for each in as_list(expected))
    quantifier, _, name = operator.rpartition(":")
    optional = name.endswith("IfExists")
    name = name.removesuffix("IfExists")
    negated = name in NEGATED
    if not values:
        if optional:
            return True
        return quantifier == "ForAllValues" or (negated and quantifier != "ForAnyValue")
    results = []
    for value in values:
        each = [
            one(NEGATED.get(name, name), wanted, value, context) for wanted in as_list(expected)
        ]
        if strict and not any(each) and None in each:
            return None
        results.append(any(each) != negated)
    everyone = quantifier == "ForAllValues" or (not quantifier and negated)
    return all(results) if everyone else any(results)


def statement_applies(
    statement: dict[str, Any], action: str, resource: str, context: Context
) -> bool | None:
    """None: something in it is unresolved."""
    wanted = as_list(statement.get("Action", statement.get("NotAction")))
    found = any(glob(each.lower(), action.lower()) for each in wanted)
    if found == ("NotAction" in statement):
        return False
    wanted = as_list(statement.get("Resource", statement.get("NotResource")))
    filled = [fill(each, context) for each in wanted]
    found = any(glob(each, resource) for each in filled if each is not None)
    strict = statement["Effect"] == "Allow"
    if strict and not found and None in filled:
        return None
    if found == ("NotResource" in statement):
        return False
    for operator, keys in statement.get("Condition", {}).items():
        for key, expected in keys.items():
            holds = condition(operator, key, expected, context, strict)
            if not holds:
                return holds
    return True


def evaluate(policies: list[Any], action: str, resource: str, context: Context) -> str:
    """Allow, Deny or nothing. A variable without value: an Allow with it does not apply; in a Deny
    it matches nothing."""
    found = ""
    for policy in policies:
        for statement in policy["Statement"]:
            if statement_applies(statement, action, resource, context):
                if statement["Effect"] == "Deny":
                    return "Deny"
                found = "Allow"
    return found
