"""The signatures inside of a body: each chunk's continues the one before, the trailer ends it.

Owns the chain; the framing is `objfs/s3/chunked.py`. Hashing is by far the most of the work: a
verifier may be used in any thread, by one at a time, and leaves the interpreter to others.

Source: "Signature Calculations: Transferring Payload in Multiple Chunks" and "Including Trailing
Headers (Chunked Upload)" of the Amazon S3 API Reference.
"""

import hashlib
from collections.abc import Iterable

from objfs.auth.claims import Claim
from objfs.auth.signing import EMPTY_SHA256, same, sign, wrong_signature


class ChunkVerifier:
    """What is left to verify of a body whose request is verified.

    Life: `update` with the bytes of a chunk, `end_chunk` with its signature, again until the empty
    chunk that is the last, then `end_trailer` if a trailer was announced. NotAuthenticated at the
    first chunk that was not signed.
    """

    def __init__(self, claim: Claim, key: bytes) -> None:
        self._access_key = claim.access_key
        self._key = key
        self._stamp = f"{claim.timestamp}\n{claim.scope}"
        self._previous = claim.signature  # the seed
        self._hash = hashlib.sha256()

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """The next bytes of the chunk."""
        self._hash.update(data)

    def end_chunk(self, signature: str) -> None:
        """The chunk is over, and this was its signature."""
        digest = self._hash.hexdigest()
        self._hash = hashlib.sha256()
        text = (
            f"AWS4-HMAC-SHA256-PAYLOAD\n{self._stamp}\n{self._previous}\n{EMPTY_SHA256}\n{digest}"
        )
        self._follow(text, signature)

    def end_trailer(self, headers: Iterable[tuple[str, str]], signature: str) -> None:
        """The headers that followed the last chunk, in their order, and their signature."""
        trailer = "".join(f"{name}:{value}\n" for name, value in headers)
        digest = hashlib.sha256(trailer.encode("utf-8", "surrogateescape")).hexdigest()
        self._follow(
            f"AWS4-HMAC-SHA256-TRAILER\n{self._stamp}\n{self._previous}\n{digest}", signature
        )

    def _follow(self, text: str, signature: str) -> None:
        expected = sign(self._key, text)
        if not same(expected, signature):
            raise wrong_signature(self._access_key, text, signature)
        self._previous = expected
