"""The S3 door: from a request to the verbs of the volume, and back to a response.

The order is always the same: route, authenticate, then the operation, which authorizes, checks its
headers, acts and answers. What goes wrong is raised, as an S3Error that names bucket and key.
"""

import logging

from objfs.auth.issuer_keys import IssuerKeys
from objfs.base.errors import NoSuchBucket, ObjfsError
from objfs.base.ports import Clock, Fetch, Threads
from objfs.s3.authentication import Authentication
from objfs.s3.calls import Call, Caller, DoorSettings, Operate
from objfs.s3.documents.cors import CorsConfiguration, preflight, response_headers
from objfs.s3.documents.stored import load
from objfs.s3.errors import S3Error, as_s3, is_internal
from objfs.s3.http import Request, Response
from objfs.s3.operations.amending import Amending
from objfs.s3.operations.attributes import Attributes
from objfs.s3.operations.buckets import Buckets
from objfs.s3.operations.configuration import CORS, Configuration
from objfs.s3.operations.copying import Copying
from objfs.s3.operations.deleting import Deleting
from objfs.s3.operations.listing import Listing
from objfs.s3.operations.multipart import Multipart
from objfs.s3.operations.objects import Objects
from objfs.s3.operations.post_form import PostForm
from objfs.s3.query_door import QueryDoor
from objfs.s3.rooms import Room
from objfs.s3.routing import Address, address, check_done, route
from objfs.volume.volume import Volume

logger = logging.getLogger(__name__)

# Code -> the elements of its document that the call itself knows.
_NAMED = {
    "NoSuchBucket": ("BucketName",),
    "BucketNotEmpty": ("BucketName",),
    "NoSuchKey": ("Key",),
    "NoSuchVersion": ("Key", "VersionId"),
    "NoSuchUpload": ("UploadId",),
}


class Door:
    """The handler of a volume's requests."""

    def __init__(
        self,
        volume: Volume,
        clock: Clock,
        settings: DoorSettings,
        *,
        threads: Threads,
        fetch: Fetch,
    ) -> None:
        self._clock = clock
        self._settings = settings
        self._threads = threads
        self._room = room = Room(volume, settings)
        authentication = Authentication(volume.identities, settings.region)
        self._authentication = authentication
        issuers = IssuerKeys(clock, fetch)
        self._queries = QueryDoor(volume, authentication, issuers, settings)
        self._operations: dict[str, Operate] = {}
        parts = (
            Buckets,
            Configuration,
            Objects,
            Copying,
            Deleting,
            Listing,
            Attributes,
            Amending,
            Multipart,
        )
        for part in parts:
            self._operations.update(part(room).operations)
        self._operations.update(PostForm(room, authentication).operations)

    @property
    def operations(self) -> frozenset[str]:
        """The names of what it does."""
        return frozenset(self._operations)

    async def __call__(self, request: Request) -> Response:
        """The answer; what goes wrong is raised."""
        named = Address("", b"")
        try:
            named = address(request.raw_path, request.host, self._settings.domains)
            request.notes.bucket = named.bucket or None
            request.notes.key = named.key.decode() if named.key else None
            if self._queries.is_one(request, named):
                return await self._queries(request, self._clock.now_ns())
            if request.method == "OPTIONS":
                response = self._preflight(request, named)
            else:
                response = await self._operate(request, named)
        except ObjfsError as error:
            raise self._answered(error, request, named) from error
        response.headers += self._cross_origin(request, named)
        return response

    async def _operate(self, request: Request, named: Address) -> Response:
        operation = route(
            request.method,
            named.scope,
            request.query,
            copies="x-amz-copy-source" in request.headers,
        )
        request.notes.operation = operation.name
        now_ns = self._clock.now_ns()
        caller = self._authentication.caller(request, now_ns)
        request.notes.principal = _who(caller)
        check_done(operation)
        operate = self._operations.get(operation.name)
        if operate is None:
            raise S3Error("NotImplemented", f"{operation.name} is not implemented.")
        return await operate(Call(request, operation, named, caller, now_ns, self._threads))

    # --- errors ----------------------------------------------------------------------------------

    def _answered(self, error: ObjfsError, request: Request, named: Address) -> S3Error:
        answer = as_s3(error)
        if is_internal(error):
            logger.error("request %s failed", request.id, exc_info=error)
        known = {
            "BucketName": named.bucket,
            "Key": named.key.decode("utf-8", "replace"),
            "VersionId": request.query.get("versionId") or "",
            "UploadId": request.query.get("uploadId") or "",
        }
        for name in _NAMED.get(answer.code, ()):
            answer.fields.setdefault(name, known[name])
        answer.headers = (*answer.headers, *self._cross_origin(request, named))
        request.notes.error = answer.code
        return answer

    # --- other origins ---------------------------------------------------------------------------

    def _cors(self, named: Address) -> CorsConfiguration | None:
        if not named.bucket:
            return None
        try:
            stored = self._room.volume.document(named.bucket, CORS)
        except NoSuchBucket:
            return None
        return None if stored is None else load(CorsConfiguration, stored)

    def _preflight(self, request: Request, named: Address) -> Response:
        request.notes.operation = "PreflightRequest"
        headers = preflight(
            self._cors(named),
            request.headers.get("origin"),
            request.headers.get("access-control-request-method"),
            request.headers.get("access-control-request-headers"),
        )
        return Response(200, headers)

    def _cross_origin(self, request: Request, named: Address) -> list[tuple[str, str]]:
        origin = request.headers.get("origin")
        if origin is None or request.method == "OPTIONS":
            return []
        return response_headers(self._cors(named), origin, request.method)


def _who(caller: Caller) -> str | None:
    return None if caller.identity is None else caller.identity.arn
