"""PostObject: the upload of a browser's form, whose fields say what headers say elsewhere.

Who signed is in the fields, so this operation authenticates by itself: the caller that the door
found is nobody.
"""

import urllib.parse
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from msgspec.structs import replace

from objfs.auth.post_policy import PostPolicy, read_post_policy
from objfs.base.limits import PUT_BYTES_MAX
from objfs.s3.authentication import Authentication
from objfs.s3.calls import Call, Operate
from objfs.s3.documents.objects import write_posted
from objfs.s3.documents.tagging import parse_object_tagging
from objfs.s3.errors import S3Error
from objfs.s3.form_data import Event, Field, FileBegins, FormDecoder, boundary_of
from objfs.s3.headers.checksums import sent_checksums
from objfs.s3.http import Headers, Request, Response, encode_text
from objfs.s3.operations.objects import check_before, put_attributes, put_headers
from objfs.s3.receiving import raw_pieces
from objfs.s3.rooms import Room, quoted
from objfs.s3.routing import Address, check_key
from objfs.volume.buckets import Bucket
from objfs.volume.object_types import ObjectInfo

_FILENAME = "${filename}"
# Field -> the header that says the same.
_HEADERS = {"acl": "x-amz-acl"}
_STATUSES = {"200": 200, "201": 201, "204": 204}


class PostForm:
    """The operation on forms."""

    def __init__(self, room: Room, authentication: Authentication) -> None:
        self._room = room
        self._authentication = authentication
        self.operations: dict[str, Operate] = {"PostObject": self.post}

    async def post(self, call: Call) -> Response:
        """PostObject."""
        bucket = self._room.authorization.bucket(call)
        async with raw_pieces(call) as raw:
            return await self._post(call, bucket, _Form(call, raw))

    async def _post(self, call: Call, bucket: Bucket, form: "_Form") -> Response:
        await form.read_fields()
        named, policy = self._believed(call, form)
        attributes = put_attributes(self._room, named, bucket)
        if "tagging" in form.fields:
            self._room.authorization.require(named, "s3:PutObjectTagging", bucket, named.key)
            tags = parse_object_tagging(encode_text(form.fields["tagging"]))
            attributes = replace(attributes, tags=tags)
        sent = sent_checksums(named.headers)
        check_before(self._room, named, None)
        put = self._room.volume.objects.put(
            named.bucket, named.key, () if sent.algorithm is None else (sent.algorithm,)
        )
        try:
            async with aclosing(form.file()) as pieces:
                async for piece in pieces:
                    if policy is not None and policy.length_max is not None:
                        policy.check_length(max(put.size + len(piece), policy.length_min or 0))
                    if put.size + len(piece) > PUT_BYTES_MAX:
                        raise S3Error("EntityTooLarge", MaxSizeAllowed=PUT_BYTES_MAX)
                    await put.write(piece)
            if policy is not None:
                policy.check_length(put.size)
            info = await put.commit(replace(attributes, md5=sent.md5, checksums=dict(sent.digests)))
        finally:
            await put.abort()
        return self._answer(call, form.fields, info, put_headers(bucket, info))

    def _believed(self, call: Call, form: "_Form") -> tuple[Call, PostPolicy | None]:
        """The call that the fields make, by who signed them, and the policy it keeps to.
        NotAuthenticated, InvalidArgument, KeyTooLongError."""
        fields = form.fields
        if "key" not in fields:
            raise S3Error(
                "InvalidArgument",
                "Bucket POST must contain a field named 'key'.  If it is specified, please check "
                "the order of the fields.",
                ArgumentName="key",
                ArgumentValue="",
            )
        fields["key"] = fields["key"].replace(_FILENAME, form.filename)
        caller = self._authentication.form_caller(fields, call.now_ns)
        policy = None
        if caller.identity is not None or "policy" in fields:
            policy = read_post_policy(fields.get("policy", ""))
            policy.check(fields, call.bucket, call.now_ns)
        key = check_key(encode_text(fields["key"]))
        if not key:
            raise S3Error("UserKeyMustBeSpecified")
        call.request.notes.key = fields["key"]
        call.request.notes.principal = None if caller.identity is None else caller.identity.arn
        request = _request(call.request, fields, form.content_type)
        address = Address(call.bucket, key, call.address.virtual_host)
        return Call(request, call.operation, address, caller, call.now_ns, call.threads), policy

    def _answer(
        self,
        call: Call,
        fields: dict[str, str],
        info: ObjectInfo,
        headers: list[tuple[str, str]],
    ) -> Response:
        """What the form asks to be answered with."""
        key = urllib.parse.quote(info.key, safe="/")
        scheme = "https" if call.request.secure else "http"
        base = f"{scheme}://{call.request.host}"
        location = base + (f"/{key}" if call.address.virtual_host else f"/{call.bucket}/{key}")
        headers = [*headers, ("Location", location)]
        redirect = fields.get("success_action_redirect") or fields.get("redirect") or ""
        if redirect.startswith(("http://", "https://")) and redirect.isprintable():
            parts = urllib.parse.urlsplit(redirect)
            asked = urllib.parse.urlencode(
                {"bucket": call.bucket, "key": info.key, "etag": quoted(info.etag)}
            )
            query = f"{parts.query}&{asked}" if parts.query else asked
            target = urllib.parse.urlunsplit(parts._replace(query=query))
            return Response(303, [*headers[:-1], ("Location", target)])
        status = _STATUSES.get(fields.get("success_action_status", ""), 204)
        if status != 201:
            return Response(status, headers)
        document = write_posted(location, call.bucket, info.key, info.etag)
        return Response(201, [*headers, ("Content-Type", "application/xml")], document)


def _request(request: Request, fields: dict[str, str], content_type: str) -> Request:
    """A request whose headers are the fields of a form."""
    given = {_HEADERS.get(name, name): value for name, value in fields.items()}
    if content_type:
        given.setdefault("content-type", content_type)
    pairs = [
        (encode_text(name), encode_text(value)) for name, value in given.items() if name.isascii()
    ]
    made = Request(
        request.method,
        request.target,
        Headers(pairs),
        secure=request.secure,
        peer=request.peer,
        id=request.id,
    )
    made.notes = request.notes
    return made


class _Form:
    """The body of a call as a form, read once: the fields, then the file."""

    def __init__(self, call: Call, raw: AsyncIterator[memoryview]) -> None:
        self._decoder = FormDecoder(boundary_of(call.headers.get("content-type")))
        self._raw = raw
        self._events: list[Event] = []
        self.fields: dict[str, str] = {}
        self.filename = ""
        self.content_type = ""

    async def _more(self) -> bool:
        """Read on; False at the end. MalformedPOSTRequest, IncompleteBody."""
        try:
            self._events = self._decoder.feed(await anext(self._raw))
        except StopAsyncIteration:
            self._decoder.close()
            return False
        return True

    async def read_fields(self) -> None:
        """Everything before the file."""
        while await self._more():
            for place, event in enumerate(self._events):
                if isinstance(event, Field):
                    self.fields.setdefault(event.name, event.value)
                elif isinstance(event, FileBegins):
                    self.filename, self.content_type = event
                    self._events = self._events[place + 1 :]
                    return

    async def file(self) -> AsyncGenerator[memoryview, None]:
        """The bytes of the file."""
        while True:
            for event in self._events:
                if isinstance(event, memoryview):
                    yield event
            if self._decoder.done:
                return
            await self._more()
