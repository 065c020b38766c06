"""The door of IAM and STS: `POST /` with a form, or `GET /?Action=...`, beside S3's buckets.

The order: who signed (for the service `iam` or `sts`, the body included), the form, the call. A
call that nobody signed is STS's: a web identity proves itself. A change is durable before it is
answered. What goes wrong is answered as these services do, not as S3.
"""

from collections.abc import Mapping

from objfs.auth.claims import Anonymous
from objfs.auth.identity import USER, request_context
from objfs.auth.issuer_keys import IssuerKeys
from objfs.base.errors import InvalidRequest, ObjfsError
from objfs.base.limits import QUERY_FORM_BYTES_MAX
from objfs.s3.authentication import Authentication
from objfs.s3.calls import Caller, DoorSettings
from objfs.s3.errors import S3Error
from objfs.s3.http import Query, Request, Response
from objfs.s3.iam import api as iam
from objfs.s3.query_protocol import CONTENT_TYPE, Answer, failure, status_and_code
from objfs.s3.routing import Address
from objfs.s3.sts import NAMESPACE, TokenService
from objfs.volume.volume import Volume

_FORM = "application/x-www-form-urlencoded"
_CODES: Mapping[type[BaseException], tuple[int, str]] = {
    InvalidRequest: (400, "ValidationError"),
    ObjfsError: (503, "ServiceUnavailable"),
}


class QueryDoor:
    """The handler of calls of IAM and STS."""

    def __init__(
        self,
        volume: Volume,
        authentication: Authentication,
        issuers: IssuerKeys,
        settings: DoorSettings,
    ) -> None:
        self._volume = volume
        self._authentication = authentication
        self._sts = TokenService(volume.identities, issuers)
        self._settings = settings

    def is_one(self, request: Request, named: Address) -> bool:
        """Whether it is such a call."""
        if named.scope != "service":
            return False
        kind = (request.headers.get("content-type") or "").partition(";")[0].strip().lower()
        return (request.method == "POST" and kind == _FORM) or (
            request.method == "GET" and "Action" in request.query
        )

    async def __call__(self, request: Request, now_ns: int) -> Response:
        """The answer, also to what goes wrong. What `Body` raises."""
        try:
            answer = await self._answer(request, now_ns)
        except S3Error:
            raise  # the body breaks a rule of HTTP, or is too large for a form
        except ObjfsError as error:
            status, code = status_and_code(error, _CODES)
            answer = failure(status, code, str(error), request.id, NAMESPACE)
        request.notes.error = answer.code or None
        headers = [("Content-Type", CONTENT_TYPE), ("x-amzn-RequestId", request.id)]
        return Response(answer.status, headers, answer.body)

    async def _answer(self, request: Request, now_ns: int) -> Answer:
        claim = self._authentication.query_claim(request, now_ns)
        body = await request.body.read_all(QUERY_FORM_BYTES_MAX)
        if isinstance(claim, Anonymous):
            caller, service = Caller(None, claim.payload), "sts"
        else:
            caller = self._authentication.query_caller(request, claim, body, now_ns)
            service = claim.scope.service
        identity = caller.identity
        request.notes.principal = None if identity is None else identity.arn
        form = _form(request, body)
        context = request_context(
            identity,
            time_ns=now_ns,
            source=request.peer,
            secure=request.secure,
            region=self._settings.region,
            user_agent=request.headers.get("user-agent"),
            referer=request.headers.get("referer"),
        )
        action = form.get("Action", "")
        if service == "sts":
            if action in self._sts.actions:
                request.notes.operation = f"sts:{action}"
            return await self._sts.answer(caller, form, context, now_ns, request.id)
        if action in iam.ACTIONS:
            request.notes.operation = f"iam:{action}"
        return await self._iam(caller, form, context, request.id)

    async def _iam(
        self,
        caller: Caller,
        form: Mapping[str, str],
        context: Mapping[str, tuple[str, ...]],
        request_id: str,
    ) -> Answer:
        identity = caller.identity
        if identity is not None and identity.kind == USER and caller.temporary:
            # as AWS without MFA: temporary keys of a user must not become lasting ones
            text = "Cannot call IAM with the session credentials of a user"
            return failure(403, "InvalidClientTokenId", text, request_id, iam.NAMESPACE)
        who = self._volume.identities
        answer = iam.answer(who, identity, form, context, request_id, caller.session_policies)
        await self._volume.sync()
        return answer


def _form(request: Request, body: bytes) -> dict[str, str]:
    """The parameters of a call; of those given twice, the first counts. InvalidRequest."""
    form: dict[str, str] = {}
    for pair in (*Query(body), *request.query):
        form.setdefault(pair.name, pair.value)
    try:
        "".join((*form, *form.values())).encode()
    except UnicodeEncodeError:
        raise InvalidRequest("the parameters of a call are UTF-8") from None
    return form
