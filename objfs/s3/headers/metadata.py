"""What headers say of an object: its content, the user's metadata, its storage class.

User metadata is text. Headers carry ASCII, so other characters come and go as RFC 2047 has it
(`=?UTF-8?B?...?=`), or come as bare UTF-8.
"""

import base64
import re
from collections.abc import Iterable, Mapping
from email.errors import HeaderParseError
from email.header import decode_header

from objfs.base.limits import REDIRECT_BYTES_MAX, USER_METADATA_BYTES_MAX
from objfs.s3.errors import S3Error, invalid_argument
from objfs.s3.http import Headers
from objfs.volume.object_types import ObjectInfo

META = "x-amz-meta-"
DEFAULT_CONTENT_TYPE = "binary/octet-stream"
STORAGE_CLASS = "x-amz-storage-class"
STANDARD = "STANDARD"
REDIRECT = "x-amz-website-redirect-location"
_CONTENT = {
    "content-type": "Content-Type",
    "content-encoding": "Content-Encoding",
    "cache-control": "Cache-Control",
    "content-disposition": "Content-Disposition",
    "content-language": "Content-Language",
    "expires": "Expires",
    REDIRECT: REDIRECT,
}
_OVERRIDES = {
    "response-content-type": "Content-Type",
    "response-content-encoding": "Content-Encoding",
    "response-cache-control": "Cache-Control",
    "response-content-disposition": "Content-Disposition",
    "response-content-language": "Content-Language",
    "response-expires": "Expires",
}
# Labels only: every object is stored alike. Archives would have to be restored before they are
# read, and the others belong to other services.
_CLASSES = (
    STANDARD,
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER_IR",
)
_PLAIN = re.compile(r"[ -~]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def storage_class(headers: Headers) -> str:
    """The class that a request asks for. InvalidStorageClass."""
    asked = headers.get(STORAGE_CLASS) or STANDARD
    if asked not in _CLASSES:
        raise S3Error("InvalidStorageClass", StorageClassRequested=asked)
    return asked


def content_headers(headers: Headers) -> dict[str, str]:
    """The headers of a request that stay with the object, by their names in lower case. What S3
    gives to an object without one is not kept. InvalidStorageClass, InvalidRedirectLocation."""
    kept = {name: headers.get(name) for name in _CONTENT}
    if kept["content-encoding"] is not None:
        codings = (coding.strip() for coding in kept["content-encoding"].split(","))
        kept["content-encoding"] = ", ".join(each for each in codings if each != "aws-chunked")
    location = kept[REDIRECT]
    if location is not None and not location.startswith(("/", "http://", "https://")):
        raise S3Error("InvalidRedirectLocation")
    if len(location or "") > REDIRECT_BYTES_MAX:
        raise S3Error("InvalidRedirectLocation", "The website redirect location is too long.")
    found = {name: value for name, value in kept.items() if value}
    chosen = storage_class(headers)
    if chosen != STANDARD:
        found[STORAGE_CLASS] = chosen
    return found


def decode_value(value: str) -> str:
    """The text of a metadata header, as `Headers` gives it."""
    text = value.strip()
    if "=?" in text:
        try:
            pieces = decode_header(text)
            text = "".join(
                piece.decode(charset or "ascii", "replace") if isinstance(piece, bytes) else piece
                for piece, charset in pieces
            )
        except (HeaderParseError, LookupError, ValueError):
            pass  # it only looks like an encoded word
    raw = text.encode("utf-8", "surrogateescape")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def encode_value(value: str) -> str:
    """A header's form of a metadata text, which `decode_value` reads again."""
    if _PLAIN.fullmatch(value) and "=?" not in value and value == value.strip():
        return value
    return f"=?UTF-8?B?{base64.b64encode(value.encode('utf-8', 'surrogateescape')).decode()}?="


def user_metadata(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The metadata of a request, without `x-amz-meta-`; values of one name are joined by commas.
    MetadataTooLarge."""
    found: dict[str, str] = {}
    for name, value in headers:
        if name.startswith(META):
            short, text = name[len(META) :], decode_value(value)
            found[short] = f"{found[short]},{text}" if short in found else text
    return check_metadata(found)


def check_metadata(metadata: dict[str, str]) -> dict[str, str]:
    """The metadata, if S3 takes so much of it. MetadataTooLarge."""
    size = sum(
        len(text.encode("utf-8", "surrogateescape")) for pair in metadata.items() for text in pair
    )
    if size > USER_METADATA_BYTES_MAX:
        raise S3Error("MetadataTooLarge", Size=size, MaxSizeAllowed=USER_METADATA_BYTES_MAX)
    return metadata


def object_headers(info: ObjectInfo) -> list[tuple[str, str]]:
    """The headers of an answer that tell of an object's content and metadata."""
    kept = info.headers
    headers = [("Content-Type", kept.get("content-type", DEFAULT_CONTENT_TYPE))]
    headers += [
        (shown, kept[name])
        for name, shown in _CONTENT.items()
        if name in kept and name != "content-type"
    ]
    if STORAGE_CLASS in kept:
        headers.append((STORAGE_CLASS, kept[STORAGE_CLASS]))
    headers += [(META + name, encode_value(value)) for name, value in info.metadata.items()]
    if info.missing_metadata:
        headers.append(("x-amz-missing-meta", str(info.missing_metadata)))
    return headers


def overrides(query: Mapping[str, str], *, signed: bool) -> dict[str, str]:
    """The headers of a GET's answer that its query replaces. InvalidRequest for requests that
    are not signed, InvalidArgument for what no header can be."""
    found = {shown: query[name] for name, shown in _OVERRIDES.items() if name in query}
    if found and not signed:
        raise S3Error(
            "InvalidRequest",
            "Request specific response headers cannot be used for anonymous GET requests.",
        )
    for name, value in found.items():
        if _CONTROL.search(value):
            raise invalid_argument("Header value cannot be represented", name, value)
    return found
