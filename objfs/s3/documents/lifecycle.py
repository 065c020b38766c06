"""Lifecycle rules of a bucket: read, checked as S3 checks them, written.

S3: "Lifecycle configuration elements". Transitions are refused, because there is one storage class.
What rules are and what they decide is in `objfs/volume/lifecycle_rules.py`.
"""

from collections.abc import Sequence

from objfs.base.limits import (
    DAY_NS,
    LIFECYCLE_DAYS_MAX,
    LIFECYCLE_NEWER_VERSIONS_MAX,
    LIFECYCLE_RULES_MAX,
    OBJECT_TAGS_MAX,
    RULE_ID_CHARS_MAX,
)
from objfs.s3 import xml_writer
from objfs.s3.dates import http_date, iso_date, parse_iso_date
from objfs.s3.documents.tagging import check_tags, read_tag, write_tag
from objfs.s3.errors import S3Error
from objfs.s3.xml_reader import Element, malformed, parse
from objfs.volume.lifecycle_rules import Due, Filter, LifecycleConfiguration, Rule

_PREDICATES = ("Prefix", "Tag", "ObjectSizeGreaterThan", "ObjectSizeLessThan")
_TRANSITIONS = ("Transition", "NoncurrentVersionTransition")
_ACTIONS = ("Expiration", "NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload")


def _invalid(message: str) -> S3Error:
    return S3Error("InvalidArgument", message)


def parse_lifecycle(document: bytes) -> LifecycleConfiguration:
    """A LifecycleConfiguration. MalformedXML, InvalidArgument, InvalidRequest, NotImplemented."""
    root = parse(document, "LifecycleConfiguration")
    root.only("Rule")
    if not 1 <= len(root.children) <= LIFECYCLE_RULES_MAX:
        raise malformed()
    rules = tuple(_rule(each, place) for place, each in enumerate(root.children, 1))
    if len({rule.id for rule in rules}) != len(rules):
        raise _invalid("Rule ID must be unique. Found same ID for more than one rule")
    return LifecycleConfiguration(rules)


def _rule(element: Element, place: int) -> Rule:
    element.only("ID", "Status", "Prefix", "Filter", *_ACTIONS, *_TRANSITIONS)
    element.at_most_one("ID", "Status", "Prefix", "Filter", *_ACTIONS)
    for name in _TRANSITIONS:
        if element.find(name) is not None:
            raise S3Error(
                "NotImplemented", f"{name} is not implemented: there is one storage class."
            )
    status = element.needed("Status")
    if status not in {"Enabled", "Disabled"}:
        raise malformed()
    name = element.value("ID") or f"rule-{place}"
    if len(name) > RULE_ID_CHARS_MAX:
        raise _invalid(f"ID length should not exceed allowed limit of {RULE_ID_CHARS_MAX}")
    days, date_ns, expired_marker = _expiration(element.find("Expiration"))
    noncurrent_days, newer = _noncurrent(element.find("NoncurrentVersionExpiration"))
    rule = Rule(
        id=name,
        enabled=status == "Enabled",
        filter=_filter(element),
        old_form=element.find("Prefix") is not None,
        abort_days=_abort_days(element.find("AbortIncompleteMultipartUpload")),
        days=days,
        date_ns=date_ns,
        expired_marker=expired_marker,
        noncurrent_days=noncurrent_days,
        newer_noncurrent=newer,
    )
    _check_together(rule, element)
    return rule


def _check_together(rule: Rule, element: Element) -> None:
    """What S3 does not let a rule combine."""
    if not any(element.find(name) is not None for name in _ACTIONS):
        raise S3Error("InvalidRequest", "At least one action needs to be specified in a rule")
    sized = rule.filter.larger_than is not None or rule.filter.smaller_than is not None
    for action, there in (
        ("ExpiredObjectDeleteMarker", rule.expired_marker),
        ("AbortIncompleteMultipartUpload", rule.abort_days is not None),
    ):
        if there and rule.filter.tags:
            raise S3Error("InvalidRequest", f"{action} cannot be specified with Tags.")
        if there and sized:
            raise S3Error("InvalidRequest", f"{action} cannot be specified with Object Size.")


def _filter(element: Element) -> Filter:
    found, prefix = element.find("Filter"), element.find("Prefix")
    if (found is None) is (prefix is None):
        raise malformed()
    if found is None:
        return _predicates([prefix] if prefix else [])
    found.only("And", *_PREDICATES)
    if len(found.children) > 1:
        raise malformed()
    together = found.find("And")
    if together is None:
        return _predicates(found.children)
    together.only(*_PREDICATES)
    together.at_most_one("Prefix", "ObjectSizeGreaterThan", "ObjectSizeLessThan")
    if len(together.children) < 2:
        raise malformed()
    return _predicates(together.children)


def _predicates(elements: Sequence[Element]) -> Filter:
    around = Element("Filter", {})
    around.children = list(elements)
    prefix = around.find("Prefix")
    tags = [read_tag(each) for each in around.all("Tag")]
    if len({key for key, _ in tags}) != len(tags):
        raise S3Error("InvalidRequest", "Duplicate Tag Keys are not allowed.")
    larger, smaller = around.number("ObjectSizeGreaterThan"), around.number("ObjectSizeLessThan")
    if (larger is not None and larger < 0) or (smaller is not None and smaller < 1):
        raise S3Error("InvalidRequest", "The object size of a filter must not be negative.")
    if larger is not None and smaller is not None and larger >= smaller:
        raise S3Error(
            "InvalidRequest",
            "'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'.",
        )
    return Filter(
        prefix.text if prefix is not None else "",
        check_tags(tags, OBJECT_TAGS_MAX),
        larger,
        smaller,
    )


def _days(element: Element, name: str, action: str, least: int = 1) -> int:
    days = element.number(name)
    if days is None:
        raise malformed()
    if not least <= days <= LIFECYCLE_DAYS_MAX:
        raise _invalid(f"'{name}' for {action} action must be a positive integer")
    return days


def _expiration(element: Element | None) -> tuple[int | None, int | None, bool]:
    """Days, date, and whether expired delete markers go."""
    if element is None:
        return None, None, False
    element.only("Days", "Date", "ExpiredObjectDeleteMarker")
    if len(element.children) != 1:
        raise malformed()
    if element.find("Days") is not None:
        return _days(element, "Days", "Expiration"), None, False
    if element.find("Date") is None:
        return None, None, element.flag("ExpiredObjectDeleteMarker") or False
    date_ns = parse_iso_date(element.needed("Date"))
    if date_ns is None:
        raise malformed()
    if date_ns % DAY_NS:
        raise _invalid("'Date' must be at midnight GMT")
    return None, date_ns, False


def _noncurrent(element: Element | None) -> tuple[int | None, int]:
    """Days, and how many newer noncurrent versions stay whatever their age."""
    if element is None:
        return None, 0
    element.only("NoncurrentDays", "NewerNoncurrentVersions")
    element.at_most_one("NoncurrentDays", "NewerNoncurrentVersions")
    days = _days(element, "NoncurrentDays", "NoncurrentVersionExpiration")
    newer = element.number("NewerNoncurrentVersions")
    if newer is not None and not 1 <= newer <= LIFECYCLE_NEWER_VERSIONS_MAX:
        raise _invalid(
            "'NewerNoncurrentVersions' for NoncurrentVersionExpiration action must be a positive "
            f"integer of at most {LIFECYCLE_NEWER_VERSIONS_MAX}"
        )
    return days, newer or 0


def _abort_days(element: Element | None) -> int | None:
    if element is None:
        return None
    element.only("DaysAfterInitiation")
    return _days(element, "DaysAfterInitiation", "AbortIncompleteMultipartUpload")


def write_lifecycle(configuration: LifecycleConfiguration) -> bytes:
    """The LifecycleConfiguration document."""
    return xml_writer.document("LifecycleConfiguration", map(_write_rule, configuration.rules))


def _write_rule(rule: Rule) -> str:
    write, prefix = xml_writer.element, xml_writer.element("Prefix", rule.filter.prefix)
    expires = (
        write("Days", rule.days)
        + write("Date", None if rule.date_ns is None else iso_date(rule.date_ns))
        + write("ExpiredObjectDeleteMarker", rule.expired_marker or None)
    )
    noncurrent = write("NoncurrentDays", rule.noncurrent_days) + write(
        "NewerNoncurrentVersions", rule.newer_noncurrent or None
    )
    abort = write("DaysAfterInitiation", rule.abort_days)
    return xml_writer.tree(
        "Rule",
        write("ID", rule.id),
        prefix if rule.old_form else _write_filter(rule.filter),
        write("Status", "Enabled" if rule.enabled else "Disabled"),
        *(
            xml_writer.tree(name, inside)
            for name, inside in zip(_ACTIONS, (expires, noncurrent, abort), strict=True)
            if inside
        ),
    )


def _write_filter(of: Filter) -> str:
    parts = [write_tag(*pair) for pair in of.tags.items()]
    parts += [
        xml_writer.element(name, value)
        for name, value in (
            ("ObjectSizeGreaterThan", of.larger_than),
            ("ObjectSizeLessThan", of.smaller_than),
        )
        if value is not None
    ]
    if of.prefix or not parts:
        parts.insert(0, xml_writer.element("Prefix", of.prefix))
    return xml_writer.tree("Filter", parts[0] if len(parts) == 1 else xml_writer.tree("And", parts))


def expiration_header(found: Due) -> str:
    """The value of `x-amz-expiration`."""
    rule = found.rule.replace("\\", "\\\\").replace('"', '\\"')
    return f'expiry-date="{http_date(found.time_ns)}", rule-id="{rule}"'
