"""Writing the XML of an answer.

Promises: what is written is well-formed for every text but one: characters that XML 1.0 cannot
carry at all go out as references (`&#x1;`), as S3 sends them, and strict parsers refuse those; a
client that has such keys asks for `encoding-type=url`, and every control character is `%XX`.
"""

import re
from collections.abc import Callable, Iterable
from urllib.parse import quote_from_bytes

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'

# A carriage return would be read as a line feed; the others are no characters of XML 1.0.
_SPECIAL = re.compile('[&<>"\r\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]')
_UNSPEAKABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_NAMED = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}
_KEY_SAFE = "/*"


def _reference(match: re.Match[str]) -> str:
    character = match[0]
    if "\ud800" <= character <= "\udfff":  # no UTF-8 has it
        return "\ufffd"
    return _NAMED.get(character) or f"&#x{ord(character):x};"


def escape(text: str) -> str:
    """`text` as the content of an element or of an attribute in double quotes."""
    return _SPECIAL.sub(_reference, text) if _SPECIAL.search(text) else text


def readable(text: str) -> str:
    """The text with U+FFFD for what XML 1.0 cannot carry: for what only people read."""
    return _UNSPEAKABLE.sub("\ufffd", text)


def url_encoded(key: bytes) -> str:
    """A key under `encoding-type=url`: what S3 leaves is left, a blank is `%20`, which decoders of
    both habits (`+` or not) read."""
    return quote_from_bytes(key, _KEY_SAFE)


def plain(key: bytes) -> str:
    """A key as text. What is no UTF-8 (a file's name may be that) shows U+FFFD."""
    return key.decode("utf-8", "replace")


def key_writer(encoding_type: str | None) -> Callable[[bytes], str]:
    """What turns keys into escaped text: for `encoding-type=url`, or none."""
    if encoding_type == "url":
        return url_encoded  # leaves nothing that needs escaping
    return lambda key: escape(plain(key))


def element(name: str, value: str | int | bool | None) -> str:
    """`<name>value</name>`; nothing for None. Booleans are `true` and `false`."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return f"<{name}>true</{name}>" if value else f"<{name}>false</{name}>"
    if isinstance(value, int):
        return f"<{name}>{value}</{name}>"
    return f"<{name}>{escape(value)}</{name}>"


def tree(name: str, *parts: str | Iterable[str]) -> str:
    """An element around parts that are written already."""
    inside = "".join(part if isinstance(part, str) else "".join(part) for part in parts)
    return f"<{name}>{inside}</{name}>"


def document(name: str, *parts: str | Iterable[str], namespace: str = NAMESPACE) -> bytes:
    """A whole document, with S3's namespace on its outermost element."""
    inside = "".join(part if isinstance(part, str) else "".join(part) for part in parts)
    opening = f'{name} xmlns="{namespace}"' if namespace else name
    return f"{DECLARATION}<{opening}>{inside}</{name}>".encode()
