"""How checksums look in documents and headers: `ChecksumCRC32C`, `x-amz-checksum-crc32c`.

The names are S3's; a composite one (of a multipart upload) is the base64 of the digest, a hyphen
and the number of parts.
"""

import base64
import binascii
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from objfs.s3 import xml_writer
from objfs.s3.xml_reader import Element

# S3's name -> bytes of a digest.
ALGORITHMS = {"CRC32": 4, "CRC32C": 4, "CRC64NVME": 8, "SHA1": 20, "SHA256": 32}
FULL_OBJECT_ONLY = ("CRC64NVME",)
COMPOSITE_ONLY = ("SHA1", "SHA256")  # of an object in parts
ELEMENTS = {f"Checksum{name}": name for name in ALGORITHMS}
HEADERS = {f"x-amz-checksum-{name.lower()}": name for name in ALGORITHMS}


class Checksums(NamedTuple):
    """The checksums of an object or a part. `parts` is their number in a composite one, else 0."""

    digests: Mapping[str, bytes] = MappingProxyType({})
    parts: int = 0

    def texts(self) -> list[tuple[str, str]]:
        """Algorithm and the text that clients compare."""
        tail = f"-{self.parts}" if self.parts else ""
        return [(name, encode_digest(raw) + tail) for name, raw in self.digests.items()]


def encode_digest(raw: bytes) -> str:
    """Base64."""
    return base64.b64encode(raw).decode("ascii")


def decode_digest(text: str, length: int) -> bytes | None:
    """The digest of that many bytes that a base64 text holds; None if it holds none."""
    try:
        raw = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if len(raw) == length else None


def write_checksums(checksums: Checksums) -> str:
    """The elements `ChecksumCRC32` and so on."""
    return "".join(xml_writer.element(f"Checksum{name}", text) for name, text in checksums.texts())


def read_checksums(element: Element) -> dict[str, str]:
    """The texts of the elements `ChecksumCRC32` and so on, by algorithm."""
    return {
        ELEMENTS[child.name]: child.text.strip()
        for child in element.children
        if child.name in ELEMENTS
    }
