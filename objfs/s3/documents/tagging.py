"""Tags: of buckets and objects, in XML and in the header `x-amz-tagging`.

S3's rules ("Categorizing your objects using tags"): 10 tags of an object, 50 of a bucket; keys of 1
to 128 characters, values of at most 256; letters, digits, blanks and `_ . : / = + - @`; no key
twice, none that begins with `aws:`.
"""

import unicodedata
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from objfs.base.limits import (
    BUCKET_TAGS_MAX,
    OBJECT_TAGS_MAX,
    TAG_KEY_CHARS_MAX,
    TAG_VALUE_CHARS_MAX,
)
from objfs.s3 import xml_writer
from objfs.s3.errors import S3Error
from objfs.s3.xml_reader import Element, malformed, parse

_SIGNS = frozenset("_.:/=+-@")
HEADER = "x-amz-tagging"


def _allowed(text: str) -> bool:
    return all(
        character in _SIGNS or unicodedata.category(character)[0] in "LNZ" for character in text
    )


def check_tags(pairs: Iterable[tuple[str, str]], limit: int) -> dict[str, str]:
    """The tags, if they may be set. InvalidTag, BadRequest."""
    tags: dict[str, str] = {}
    for key, value in pairs:
        if not 1 <= len(key) <= TAG_KEY_CHARS_MAX or not _allowed(key):
            raise S3Error("InvalidTag", "The TagKey you have provided is invalid", TagKey=key)
        if len(value) > TAG_VALUE_CHARS_MAX or not _allowed(value):
            raise S3Error(
                "InvalidTag",
                "The TagValue you have provided is invalid",
                TagKey=key,
                TagValue=value,
            )
        if key.lower().startswith("aws:"):
            raise S3Error(
                "InvalidTag", "System tags cannot be added/updated by requester", TagKey=key
            )
        if key in tags:
            raise S3Error(
                "InvalidTag", "Cannot provide multiple Tags with the same key", TagKey=key
            )
        tags[key] = value
    if len(tags) > limit:
        what = "Object" if limit == OBJECT_TAGS_MAX else "Bucket"
        raise S3Error("BadRequest", f"{what} tags cannot be greater than {limit}")
    return tags


def read_tag(element: Element) -> tuple[str, str]:
    """Key and value of an element `Tag`; blanks belong to them. MalformedXML."""
    element.only("Key", "Value")
    element.at_most_one("Key", "Value")
    key, value = element.find("Key"), element.find("Value")
    if key is None or value is None:
        raise malformed()
    return key.text, value.text


def parse_tagging(document: bytes, limit: int) -> dict[str, str]:
    """The tags of a Tagging document. MalformedXML, InvalidTag, BadRequest."""
    root = parse(document, "Tagging")
    root.only("TagSet")
    root.at_most_one("TagSet")
    tag_set = root.find("TagSet")
    if tag_set is None:
        raise malformed()
    tag_set.only("Tag")
    return check_tags((read_tag(each) for each in tag_set.children), limit)


def parse_object_tagging(document: bytes) -> dict[str, str]:
    """The tags of an object."""
    return parse_tagging(document, OBJECT_TAGS_MAX)


def parse_bucket_tagging(document: bytes) -> dict[str, str]:
    """The tags of a bucket."""
    return parse_tagging(document, BUCKET_TAGS_MAX)


def parse_tagging_header(value: str) -> dict[str, str]:
    """The tags of `x-amz-tagging`: `key1=value1&key2=value2`, URL-encoded. InvalidArgument,
    InvalidTag, BadRequest."""
    pairs = []
    for piece in value.strip().split("&"):
        if piece:
            key, _, text = piece.partition("=")
            pairs.append((_decoded(key), _decoded(text)))
    if len({key for key, _ in pairs}) != len(pairs):
        raise _bad_header(value)
    return check_tags(pairs, OBJECT_TAGS_MAX)


def _decoded(text: str) -> str:
    raw = unquote_to_bytes(text.replace("+", " ").encode("utf-8", "surrogateescape"))
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise _bad_header(text) from error


def _bad_header(value: str) -> S3Error:
    return S3Error(
        "InvalidArgument",
        f"The header '{HEADER}' shall be encoded as UTF-8 then URLEncoded URL query parameters "
        "without tag name duplicates.",
        ArgumentName=HEADER,
        ArgumentValue=value,
    )


def write_tag(key: str, value: str) -> str:
    """An element `Tag`."""
    return (
        f"<Tag><Key>{xml_writer.escape(key)}</Key><Value>{xml_writer.escape(value)}</Value></Tag>"
    )


def write_tagging(tags: dict[str, str]) -> bytes:
    """The Tagging document."""
    return xml_writer.document(
        "Tagging",
        xml_writer.tree("TagSet", (write_tag(*pair) for pair in tags.items())),
    )
