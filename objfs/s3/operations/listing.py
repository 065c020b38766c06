"""Lists of keys and of versions, a page a call.

A continuation token is the base64 of the key that the page before ended with: it is opaque to
clients, and needs nothing kept here.
"""

import base64
import binascii

from objfs.base.limits import LIST_KEYS_MAX
from objfs.s3.calls import Call, Operate, xml_response
from objfs.s3.documents import listing
from objfs.s3.errors import invalid_argument
from objfs.s3.http import Response, encode_text
from objfs.s3.rooms import Room
from objfs.volume.buckets import Bucket


class Listing:
    """The operations that list objects."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.operations: dict[str, Operate] = {
            "ListObjects": self.list,
            "ListObjectsV2": self.list_v2,
            "ListObjectVersions": self.versions,
        }

    def _allowed(self, call: Call) -> Bucket:
        row = self._room.authorization.bucket(call)
        self._room.authorization.require(call, call.operation.action, row)
        return row

    def _asked(self, call: Call, bucket: Bucket, *, owners: bool) -> listing.KeysAsked:
        return listing.KeysAsked(
            call.bucket,
            _bytes(call, "prefix"),
            _bytes(call, "delimiter"),
            call.number("max-keys", LIST_KEYS_MAX, LIST_KEYS_MAX),
            call.encoding(),
            self._room.authorization.owner(bucket) if owners else None,
        )

    async def _page(
        self, asked: listing.KeysAsked, after: bytes
    ) -> tuple[listing.Keys, bytes | None]:
        """A page, and the last item on it if there are more."""
        if not asked.limit:
            return listing.Keys(), None
        page = await self._room.volume.keys.list_keys(
            asked.bucket, asked.prefix, after, asked.delimiter, asked.limit
        )
        keys = listing.Keys(page.entries, page.prefixes, page.truncated)
        return keys, page.next if page.truncated else None

    async def list(self, call: Call) -> Response:
        """ListObjects, version 1."""
        bucket = self._allowed(call)
        asked = self._asked(call, bucket, owners=True)
        marker = _bytes(call, "marker")
        keys, following = await self._page(asked, marker)
        return xml_response(
            listing.write_list(asked, keys, marker, following if asked.delimiter else None)
        )

    async def list_v2(self, call: Call) -> Response:
        """ListObjectsV2."""
        bucket = self._allowed(call)
        owners = (call.query("fetch-owner") or "").lower() == "true"
        asked = self._asked(call, bucket, owners=owners)
        token = call.query("continuation-token")
        start_after = call.query("start-after")
        after = _bytes(call, "start-after") if token is None else _decode_token(token)
        keys, following = await self._page(asked, after)
        return xml_response(
            listing.write_list_v2(
                asked,
                keys,
                start_after=None if start_after is None else encode_text(start_after),
                token=token,
                next_token=None if following is None else _encode_token(following),
            )
        )

    async def versions(self, call: Call) -> Response:
        """ListObjectVersions."""
        bucket = self._allowed(call)
        asked = self._asked(call, bucket, owners=True)
        key_marker = _bytes(call, "key-marker")
        version_marker = _version_marker(call)
        keys, next_key, next_version = listing.Keys(), None, None
        if asked.limit:
            page = await self._room.volume.keys.list_versions(
                call.bucket, asked.prefix, key_marker, version_marker, asked.delimiter, asked.limit
            )
            keys = listing.Keys(page.entries, page.prefixes, page.truncated)
            if page.truncated:
                next_key, next_version = page.next_key, page.next_version or None
        return xml_response(
            listing.write_versions(
                asked,
                keys,
                key_marker=key_marker,
                version_marker=version_marker,
                next_key=next_key,
                next_version=next_version,
            )
        )


def _version_marker(call: Call) -> str:
    """InvalidArgument for one that is empty, or without a key."""
    marker = call.query("version-id-marker")
    if marker is None or (marker and call.query("key-marker") is not None):
        return marker or ""
    raise invalid_argument(
        "A version-id marker cannot be specified without a key marker."
        if marker
        else "A version-id marker cannot be empty.",
        "version-id-marker",
        marker,
    )


def _bytes(call: Call, name: str) -> bytes:
    return encode_text(call.query(name) or "")


def _encode_token(key: bytes) -> str:
    return base64.urlsafe_b64encode(key).decode("ascii")


def _decode_token(token: str) -> bytes:
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid_argument(
            "The continuation token provided is incorrect", "continuation-token", token
        ) from error
