"""The query APIs of AWS on the door's address: a form in a POST to `/`, as IAM's clients send it.

The signature covers the body, whose hash is not sent: the form is read, within a bound, before
anybody is believed.
"""

import hashlib
from urllib.parse import parse_qsl

from objfs.auth.identity import request_context
from objfs.base.errors import NotAuthenticated
from objfs.base.limits import QUERY_FORM_BYTES_MAX
from objfs.s3 import xml_writer
from objfs.s3.authentication import Authentication
from objfs.s3.errors import S3Error, as_s3
from objfs.s3.http import Request, Response
from objfs.s3.iam import api
from objfs.volume.identities import Identities

# S3's code -> what IAM calls the same.
_CODES = {"InvalidAccessKeyId": "InvalidClientTokenId", "InvalidToken": "InvalidClientTokenId"}
_FORM = "application/x-www-form-urlencoded"


def is_query(request: Request) -> bool:
    """Whether a request is one of these."""
    kind = (request.headers.get("content-type") or "").partition(";")[0].strip().lower()
    return request.method == "POST" and request.raw_path == b"/" and kind == _FORM


class QueryApi:
    """Answers them."""

    def __init__(self, identities: Identities, authentication: Authentication, region: str) -> None:
        self._identities = identities
        self._authentication = authentication
        self._region = region

    async def answer(self, request: Request, now_ns: int) -> Response:
        """Do what a form asks; also who is not believed is told so as these APIs do."""
        body = await request.body.read_all(QUERY_FORM_BYTES_MAX)
        try:
            caller = self._authentication.caller(request, now_ns, hashlib.sha256(body).hexdigest())
            form = _form_of(body)
        except (NotAuthenticated, S3Error) as error:
            return _refusal(as_s3(error), request)
        identity = caller.identity
        request.notes.operation = f"iam:{form.get('Action', '')[:64]}"
        request.notes.principal = None if identity is None else identity.arn
        context = request_context(
            identity,
            time_ns=now_ns,
            source=request.peer,
            secure=request.secure,
            region=self._region,
            user_agent=request.headers.get("user-agent"),
        )
        status, document, code = api.answer(self._identities, identity, form, context, request.id)
        request.notes.error = code or None
        return Response(status, [("Content-Type", api.CONTENT_TYPE)], document)


def _refusal(error: S3Error, request: Request) -> Response:
    code = _CODES.get(error.code, error.code)
    request.notes.error = code
    write = xml_writer.element
    said = (write("Type", "Sender"), write("Code", code), write("Message", error.message))
    document = xml_writer.document(
        "ErrorResponse",
        xml_writer.tree("Error", *said),
        write("RequestId", request.id),
        namespace=api.NAMESPACE,
    )
    return Response(error.status, [("Content-Type", api.CONTENT_TYPE)], document)


def _form_of(body: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=bool(body))
    except ValueError as error:
        raise S3Error("InvalidRequest", "The body is no form.") from error
    return dict(pairs)
