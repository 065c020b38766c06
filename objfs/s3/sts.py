"""STS's query API: temporary credentials for roles and users, and who somebody is.

Who may take a role is what its trust policy says (`objfs.auth.policy.trusts`); a role that does not
exist is refused in the same words. Credentials are never stored (`objfs/auth/sessions.py`). What
this server cannot do (session tags, MFA, SAML) is refused by name: nobody shall believe that a tag
counts that was thrown away.

Source: AWS, STS API Reference, version 2011-06-15.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from objfs.auth.causes import Cause, refused
from objfs.auth.identity import ROLE_SESSION, USER, Identity
from objfs.auth.issuer_keys import IssuerKeys
from objfs.auth.policy import Request, trusts
from objfs.auth.policy_document import parse_identity_policy, parse_trust_policy
from objfs.auth.sessions import Issued, issue
from objfs.auth.web_identity import Identity as WebIdentity
from objfs.auth.web_identity import Issuer, issuer_named, verify_identity
from objfs.base import errors
from objfs.base.limits import (
    CHAINED_SESSION_SECONDS_MAX,
    SESSION_POLICIES_MAX,
    SESSION_POLICY_BYTES_MAX,
    SESSION_SECONDS,
    USER_SESSION_SECONDS,
    USER_SESSION_SECONDS_MAX,
)
from objfs.s3.calls import Caller
from objfs.s3.iam.forms import date
from objfs.s3.iam.parameters import Parameters
from objfs.s3.query_protocol import UNEXPECTED, Answer, failure, result, status_and_code
from objfs.s3.xml_writer import element, tree
from objfs.volume.identities import ROLE, Identities, Principal, Provider

logger = logging.getLogger(__name__)

VERSION = "2011-06-15"
NAMESPACE = f"https://sts.amazonaws.com/doc/{VERSION}/"

_NOT_SUPPORTED = (
    *("Tags", "TransitiveTagKeys", "SerialNumber", "TokenCode", "SourceIdentity"),
    *("ProvidedContexts", "ProviderId"),
)
_CODES: dict[type[BaseException], tuple[int, str]] = {
    errors.MalformedPolicy: (400, "MalformedPolicyDocument"),
    errors.InvalidRequest: (400, "ValidationError"),
    errors.AccessDenied: (403, "AccessDenied"),
    errors.StorageError: (400, "IDPCommunicationError"),
    errors.ObjfsError: (503, "ServiceUnavailable"),
}
_USER_SESSION = "user-session"  # nobody sees the name of a user's session


class Call(NamedTuple):
    """One call. `context` has the condition keys of the request."""

    caller: Caller
    parameters: Parameters
    context: Mapping[str, tuple[str, ...]]
    now_ns: int

    @property
    def identity(self) -> Identity:
        """Who calls an action that only those can call who have a name."""
        assert self.caller.identity is not None
        return self.caller.identity


class TokenService:
    """Answers STS's calls. `issuers` has the keys of those whose tokens stand for roles."""

    def __init__(self, who: Identities, issuers: IssuerKeys) -> None:
        self._who = who
        self._issuers = issuers
        self._signed: dict[str, Callable[[Call], str]] = {
            "AssumeRole": self._assume_role,
            "GetCallerIdentity": self._caller_identity,
            "GetSessionToken": self._session_token,
        }
        self._unsigned: dict[str, Callable[[Call], Awaitable[str]]] = {
            "AssumeRoleWithWebIdentity": self._web_identity,
        }

    @property
    def actions(self) -> frozenset[str]:
        """The names of what it does."""
        return frozenset(self._signed) | frozenset(self._unsigned)

    async def answer(
        self,
        caller: Caller,
        form: Mapping[str, str],
        context: Mapping[str, tuple[str, ...]],
        now_ns: int,
        request_id: str,
    ) -> Answer:
        """Do what a form asks. Never an error: what goes wrong is an answer too."""
        name = form.get("Action", "")
        if name not in self.actions or form.get("Version", VERSION) != VERSION:
            version = form.get("Version", "")[:20]
            text = f"Could not find operation {name[:100]} for version {version}"
            return failure(400, "InvalidAction", text, request_id, NAMESPACE)
        if name in self._signed and caller.identity is None:
            text = "Request is missing Authentication Token"
            return failure(403, "MissingAuthenticationToken", text, request_id, NAMESPACE)
        call = Call(caller, Parameters(form), context, now_ns)
        try:
            parts = await self._run(name, call)
        except errors.ObjfsError as error:
            status, code = status_and_code(error, _CODES)
            return failure(status, code, str(error), request_id, NAMESPACE)
        except Exception:
            logger.exception("STS's %s failed unexpectedly", name)
            text = "The request failed because of an internal error."
            return failure(*UNEXPECTED, text, request_id, NAMESPACE)
        return result(name, parts, request_id, NAMESPACE)

    async def _run(self, name: str, call: Call) -> str:
        for parameter in _NOT_SUPPORTED:
            if call.parameters.given(parameter):
                raise errors.InvalidRequest(f"{parameter} is not supported by this server")
        if name in self._signed:
            return self._signed[name](call)
        return await self._unsigned[name](call)

    # --- the actions -----------------------------------------------------------------------------

    def _caller_identity(self, call: Call) -> str:
        return (
            element("Arn", call.identity.arn)
            + element("UserId", call.identity.user_id)
            + element("Account", call.identity.account.number)
        )

    def _session_token(self, call: Call) -> str:
        """Temporary credentials of a user, which may do what the user may."""
        if call.identity.kind != USER or call.caller.temporary:
            raise errors.AccessDenied("Cannot call GetSessionToken with session credentials")
        keys, randomness = self._who.keys.store_keys()
        seconds = call.parameters.number("DurationSeconds", USER_SESSION_SECONDS)
        issued = issue(
            call.identity.user_id,
            _USER_SESSION,
            call.now_ns,
            keys,
            randomness,
            seconds=seconds,
            seconds_max=USER_SESSION_SECONDS_MAX,
        )
        return _credentials(issued)

    def _assume_role(self, call: Call) -> str:
        arn, name = call.parameters.text("RoleArn"), call.parameters.text("RoleSessionName")
        role = self._role(arn)
        context = dict(call.context)
        external = call.parameters.optional("ExternalId")
        if external is not None:
            context["sts:externalid"] = (external,)
        if role is None or not self._trusted(role, "sts:AssumeRole", call, context):
            raise errors.AccessDenied(
                f"User: {call.identity.arn} is not authorized to perform: sts:AssumeRole on "
                f"resource: {arn}"
            )
        seconds = call.parameters.number("DurationSeconds", SESSION_SECONDS)
        if call.identity.kind == ROLE_SESSION and seconds > CHAINED_SESSION_SECONDS_MAX:
            raise errors.InvalidRequest(
                "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed "
                "by role chaining"
            )
        return self._taken(role, name, call, {})

    async def _web_identity(self, call: Call) -> str:
        arn, name = call.parameters.text("RoleArn"), call.parameters.text("RoleSessionName")
        token = call.parameters.text("WebIdentityToken")
        url = issuer_named(token)
        row = self._provider(url)
        asked = url if url.startswith("http://") else f"https://{row.url}"
        keys = await self._issuers.keys(asked, token, row.keys)
        row = self._provider(url)  # it may be gone by now
        identity = verify_identity(token, Issuer(url, frozenset(row.clients), keys), call.now_ns)
        federated = self._who.providers.arn(row)
        context = {**call.context, **_claims(row, identity)}
        context["aws:federatedprovider"] = (federated,)
        role = self._role(arn)
        action = "sts:AssumeRoleWithWebIdentity"
        if role is None or not self._trusted(role, action, call, context, federated):
            raise errors.AccessDenied(f"Not authorized to perform {action}")
        attributes = {
            f"{row.url.lower()}:aud": identity.audience,
            f"{row.url.lower()}:sub": identity.subject,
            "aws:federatedprovider": federated,
        }
        return (
            element("SubjectFromWebIdentityToken", identity.subject)
            + element("Audience", identity.audience)
            + element("Provider", url)
            + self._taken(role, name, call, attributes)
        )

    # --- roles -----------------------------------------------------------------------------------

    def _role(self, arn: str) -> Principal | None:
        """The role of an ARN, which has to be the whole of it, path and all."""
        kind, _, name = arn.rpartition(":")[2].partition("/")
        row = self._who.principals.find(ROLE, name.rpartition("/")[2]) if kind == ROLE else None
        return row if row is not None and self._who.principals.arn(row) == arn else None

    def _trusted(
        self,
        role: Principal,
        action: str,
        call: Call,
        context: dict[str, tuple[str, ...]],
        federated: str = "",
    ) -> bool:
        context["sts:rolesessionname"] = (call.parameters.text("RoleSessionName"),)
        for name, value in role.tags.items():
            context[f"aws:resourcetag/{name.lower()}"] = (value,)
            context[f"iam:resourcetag/{name.lower()}"] = (value,)
        return trusts(
            Request(action, self._who.principals.arn(role), context),
            parse_trust_policy(role.trust),
            None if federated else call.caller.identity,
            federated,
            () if federated else call.caller.session_policies,
        )

    def _taken(self, role: Principal, name: str, call: Call, attributes: Mapping[str, str]) -> str:
        """The session of a role, as it is answered. InvalidRequest, MalformedPolicy."""
        given = call.parameters
        policy, arns = given.text("Policy", ""), given.fields("PolicyArns", "arn")
        if policy:
            parse_identity_policy(policy)
        if len(arns) > SESSION_POLICIES_MAX:
            raise errors.InvalidRequest(f"PolicyArns has at most {SESSION_POLICIES_MAX} members")
        for arn in arns:
            if self._who.policies.document(arn) is None:
                raise errors.InvalidRequest(f"ARN {arn[:200]} is not valid: no such policy")
        keys, randomness = self._who.keys.store_keys()
        issued = issue(
            role.id,
            name,
            call.now_ns,
            keys,
            randomness,
            seconds=given.number("DurationSeconds", SESSION_SECONDS),
            seconds_max=role.session_seconds,
            policy=policy,
            policy_arns=arns,
            attributes=attributes,
        )
        session = self._who.session(role.id, name)
        packed = -(-100 * len(policy.encode()) // SESSION_POLICY_BYTES_MAX)
        return (
            _credentials(issued)
            + tree(
                "AssumedRoleUser",
                element("AssumedRoleId", session.user_id) + element("Arn", session.arn),
            )
            + element("PackedPolicySize", packed if policy else None)
        )

    # --- issuers ---------------------------------------------------------------------------------

    def _provider(self, url: str) -> Provider:
        """The issuer that a token names. NotAuthenticated."""
        row = None
        name = url.removeprefix("https://").removeprefix("http://")
        if "://" not in name and not name.startswith("arn:"):
            try:
                row = self._who.providers.get(name)
            except errors.NotFound:
                row = None
        if row is None:
            raise refused(
                Cause.INVALID_IDENTITY, f"No OpenIDConnect provider found in your account for {url}"
            )
        return row


def _credentials(issued: Issued) -> str:
    session = issued.session
    return tree(
        "Credentials",
        element("AccessKeyId", session.access_key)
        + element("SecretAccessKey", session.secret)
        + element("SessionToken", issued.token)
        + element("Expiration", date(session.expires_ns)),
    )


def _claims(row: Provider, identity: WebIdentity) -> dict[str, tuple[str, ...]]:
    """The condition keys of a token: `issuer/path:claim`, with the audience it was taken for."""
    found: dict[str, tuple[str, ...]] = {}
    for name, value in identity.claims.items():
        values = value if isinstance(value, list) else [value]
        if all(isinstance(each, str | int | float) for each in values):
            texts = (str(each).lower() if isinstance(each, bool) else str(each) for each in values)
            found[f"{row.url}:{name}".lower()] = tuple(texts)
    found[f"{row.url}:aud".lower()] = (identity.audience,)
    found[f"{row.url}:sub".lower()] = (identity.subject,)
    return found
