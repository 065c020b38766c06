"""Cross-origin rules of a bucket, and what they decide for a request.

S3: "Elements of a CORS configuration"; the Fetch standard says what browsers make of the headers.
"""

from collections.abc import Sequence

from objfs.base.limits import CORS_RULES_MAX, RULE_ID_CHARS_MAX
from objfs.s3 import xml_writer
from objfs.s3.documents.stored import Document
from objfs.s3.errors import S3Error
from objfs.s3.xml_reader import Element, malformed, parse

METHODS = ("GET", "PUT", "POST", "DELETE", "HEAD")
_VARY = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"
_ELEMENTS = (
    "ID",
    "AllowedHeader",
    "AllowedMethod",
    "AllowedOrigin",
    "ExposeHeader",
    "MaxAgeSeconds",
)


class CorsRule(Document, frozen=True):
    """One rule. Origins and headers may hold one `*` each."""

    origins: tuple[str, ...]
    methods: tuple[str, ...]
    headers: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    max_age_seconds: int | None = None
    id: str | None = None


class CorsConfiguration(Document, frozen=True):
    """The rules of a bucket; the first that matches counts."""

    rules: tuple[CorsRule, ...]


def parse_cors(document: bytes) -> CorsConfiguration:
    """A CORSConfiguration. MalformedXML, InvalidRequest."""
    root = parse(document, "CORSConfiguration")
    root.only("CORSRule")
    if not 1 <= len(root.children) <= CORS_RULES_MAX:
        raise malformed()
    return CorsConfiguration(tuple(_rule(each) for each in root.children))


def _rule(element: Element) -> CorsRule:
    element.only(*_ELEMENTS)
    element.at_most_one("ID", "MaxAgeSeconds")
    rule = CorsRule(
        origins=_texts(element, "AllowedOrigin"),
        methods=_texts(element, "AllowedMethod"),
        headers=_texts(element, "AllowedHeader"),
        exposed=_texts(element, "ExposeHeader"),
        max_age_seconds=element.number("MaxAgeSeconds"),
        id=element.value("ID"),
    )
    if not rule.origins or not rule.methods or len(rule.id or "") > RULE_ID_CHARS_MAX:
        raise malformed()
    if rule.max_age_seconds is not None and rule.max_age_seconds < 0:
        raise malformed()
    _check_values(rule)
    return rule


def _texts(element: Element, name: str) -> tuple[str, ...]:
    return tuple(each.text.strip() for each in element.all(name))


def _check_values(rule: CorsRule) -> None:
    for method in rule.methods:
        if method not in METHODS:
            raise S3Error(
                "InvalidRequest",
                f"Found unsupported HTTP method in CORS config. Unsupported method is {method}",
            )
    for name, values in (("AllowedOrigin", rule.origins), ("AllowedHeader", rule.headers)):
        for value in values:
            if value.count("*") > 1:
                raise S3Error(
                    "InvalidRequest", f'{name} "{value}" can not have more than one wildcard.'
                )
    for value in rule.exposed:
        if "*" in value:
            raise S3Error(
                "InvalidRequest",
                f'ExposeHeader "{value}" contains wildcard. We currently do not support wildcard '
                "for ExposeHeader",
            )


def write_cors(configuration: CorsConfiguration) -> bytes:
    """The CORSConfiguration document."""
    return xml_writer.document("CORSConfiguration", map(_write_rule, configuration.rules))


def _write_rule(rule: CorsRule) -> str:
    lists = (
        ("AllowedHeader", rule.headers),
        ("AllowedMethod", rule.methods),
        ("AllowedOrigin", rule.origins),
        ("ExposeHeader", rule.exposed),
    )
    return xml_writer.tree(
        "CORSRule",
        xml_writer.element("ID", rule.id),
        (xml_writer.element(name, value) for name, values in lists for value in values),
        xml_writer.element("MaxAgeSeconds", rule.max_age_seconds),
    )


def _matches(pattern: str, value: str) -> bool:
    head, star, tail = pattern.partition("*")
    if not star:
        return pattern == value
    return len(value) >= len(head) + len(tail) and value.startswith(head) and value.endswith(tail)


def matching_rule(
    configuration: CorsConfiguration | None, origin: str, method: str, headers: Sequence[str] = ()
) -> tuple[CorsRule, str] | None:
    """The first rule that lets `origin` do `method` with those request headers, and the pattern
    of the origin that did it."""
    for rule in configuration.rules if configuration else ():
        allowed = [pattern.lower() for pattern in rule.headers]
        if method not in rule.methods or not all(
            any(_matches(pattern, header.lower()) for pattern in allowed) for header in headers
        ):
            continue
        for pattern in rule.origins:
            if _matches(pattern, origin):
                return rule, pattern
    return None


def _origin_headers(rule: CorsRule, pattern: str, origin: str) -> list[tuple[str, str]]:
    headers = [
        ("Access-Control-Allow-Origin", "*" if pattern == "*" else origin),
        ("Access-Control-Allow-Methods", ", ".join(rule.methods)),
    ]
    if rule.exposed:
        headers.append(("Access-Control-Expose-Headers", ", ".join(rule.exposed)))
    if rule.max_age_seconds is not None:
        headers.append(("Access-Control-Max-Age", str(rule.max_age_seconds)))
    if pattern != "*":
        headers.append(("Access-Control-Allow-Credentials", "true"))
    return [*headers, ("Vary", _VARY)]


def response_headers(
    configuration: CorsConfiguration | None, origin: str | None, method: str
) -> list[tuple[str, str]]:
    """What the rules add to the answer of a request with that `Origin`."""
    found = matching_rule(configuration, origin, method) if origin else None
    return _origin_headers(*found, origin) if found and origin else []


def preflight(
    configuration: CorsConfiguration | None,
    origin: str | None,
    method: str | None,
    headers: str | None,
) -> list[tuple[str, str]]:
    """The headers of the answer to an OPTIONS request with these `Origin`,
    `Access-Control-Request-Method` and `-Headers`. BadRequest, AccessForbidden."""
    if not origin:
        raise S3Error("BadRequest", "Insufficient information. Origin request header needed.")
    if method not in METHODS:
        raise S3Error("BadRequest", f"Invalid Access-Control-Request-Method: {method or 'null'}")
    if configuration is None:
        raise S3Error(
            "AccessForbidden", "CORSResponse: CORS is not enabled for this bucket.", Method=method
        )
    asked = [name.strip().lower() for name in (headers or "").split(",") if name.strip()]
    found = matching_rule(configuration, origin, method, asked)
    if found is None:
        raise S3Error("AccessForbidden", Method=method)
    allowed = [("Access-Control-Allow-Headers", ", ".join(asked))] if asked else []
    return [*_origin_headers(*found, origin), *allowed]
