"""What a request says about encryption: SSE-S3, or SSE-C with the client's own key.

Keys of clients are held in memory while their request runs, and never stored or logged: `ClientKey`
does not show its key.
"""

import base64
import hashlib
import hmac

from objfs.s3.documents.checksums import decode_digest
from objfs.s3.documents.encryption import AES256, check_algorithm
from objfs.s3.errors import S3Error, invalid_argument
from objfs.s3.http import Headers

SSE = "x-amz-server-side-encryption"
_CUSTOMER = "x-amz-server-side-encryption-customer-"
_COPY_CUSTOMER = "x-amz-copy-source-server-side-encryption-customer-"
_KMS_HEADERS = (f"{SSE}-aws-kms-key-id", f"{SSE}-context", f"{SSE}-bucket-key-enabled")
KEY_BYTES = 32


class ClientKey:
    """A key of SSE-C, and the base64 of its MD5, by which clients know it."""

    __slots__ = ("key", "md5")

    def __init__(self, key: bytes, md5: str) -> None:
        self.key = key
        self.md5 = md5

    def __repr__(self) -> str:
        return f"ClientKey(md5={self.md5!r})"

    @property
    def headers(self) -> list[tuple[str, str]]:
        """What answers say of it."""
        return [(f"{_CUSTOMER}algorithm", AES256), (f"{_CUSTOMER}key-md5", self.md5)]


def wants_encryption(headers: Headers) -> bool:
    """Whether a request asks for SSE-S3. InvalidEncryptionAlgorithmError, InvalidArgument,
    NotImplemented for a KMS."""
    asked = headers.get(SSE)
    if asked is not None:
        check_algorithm(asked)
        if f"{_CUSTOMER}algorithm" in headers:
            raise invalid_argument(
                "Server Side Encryption with Customer provided key is incompatible with the "
                "encryption method specified",
                SSE,
                asked,
            )
    for name in _KMS_HEADERS[:2]:
        if name in headers:
            raise invalid_argument(
                f"{name} is not applicable if the encryption is not aws:kms",
                name,
                headers.get(name) or "",
            )
    return asked is not None


def client_key(headers: Headers, *, secure: bool, source: bool = False) -> ClientKey | None:
    """The key of SSE-C that a request brings; `source`: for the source of a copy. InvalidRequest
    over a connection that is not secure, InvalidArgument for what is no key."""
    prefix = _COPY_CUSTOMER if source else _CUSTOMER
    algorithm, text, md5 = (
        headers.get(f"{prefix}{part}") for part in ("algorithm", "key", "key-md5")
    )
    if algorithm is None and text is None and md5 is None:
        return None
    if not secure:
        raise S3Error(
            "InvalidRequest",
            "Requests specifying Server Side Encryption with Customer provided keys must be made "
            "over a secure connection.",
        )
    if algorithm is None or text is None or md5 is None:
        missing = next(
            part
            for part, value in (("algorithm", algorithm), ("key", text), ("key-md5", md5))
            if value is None
        )
        raise invalid_argument(
            "Requests specifying Server Side Encryption with Customer provided keys must provide "
            f"the {missing} too.",
            f"{prefix}{missing}",
            "",
        )
    if algorithm != AES256:
        raise S3Error("InvalidEncryptionAlgorithmError", ArgumentValue=algorithm)
    return _checked(text, md5, prefix)


def _checked(text: str, md5: str, prefix: str) -> ClientKey:
    key = decode_digest(text, KEY_BYTES)
    if key is None:
        raise invalid_argument(
            "The secret key was invalid for the specified algorithm.", f"{prefix}key", ""
        )
    known = base64.b64encode(hashlib.md5(key, usedforsecurity=False).digest()).decode()
    if not hmac.compare_digest(known.encode(), md5.encode("utf-8", "surrogateescape")):
        raise invalid_argument(
            "The calculated MD5 hash of the key did not match the hash that was provided.",
            f"{prefix}key-md5",
            md5,
        )
    return ClientKey(key, known)
