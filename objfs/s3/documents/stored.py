"""How parsed documents are kept with their bucket: the JSON of a frozen struct.

Promises: a document that was accepted has one stored form whatever its XML looked like, and fields
are only added, with a default, so what was stored stays readable.
"""

from typing import TypeVar

import msgspec

T = TypeVar("T")


class Document(msgspec.Struct, frozen=True, omit_defaults=True):
    """Base of the documents."""


def store(document: msgspec.Struct) -> bytes:
    """The stored form."""
    return msgspec.json.encode(document, order="sorted")


def load(kind: type[T], stored: bytes) -> T:
    """The document again."""
    return msgspec.json.decode(stored, type=kind)
