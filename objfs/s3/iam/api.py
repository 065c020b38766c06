"""IAM's query API: `Action=CreateUser&Version=2010-05-08&...` in a form, XML as the answer.

The door has verified the signature (service `iam`) and read the form; `answer` says whether the
caller may, does it, and writes the answer. Never an error: what goes wrong is an answer too, with
IAM's codes. Lists of what this server has none of (MFA devices, passwords) are empty.

Source: AWS, IAM API Reference, version 2010-05-08.
"""

import logging
from collections.abc import Mapping
from typing import NamedTuple

from objfs.auth.identity import Identity
from objfs.auth.patterns import Context
from objfs.auth.policy import Request, decide, denial
from objfs.base import errors
from objfs.s3.iam import calls, groups, policies, roles, users
from objfs.s3.iam.calls import Action, Call
from objfs.s3.iam.parameters import Parameters
from objfs.s3.xml_writer import document, element, readable, tree
from objfs.volume.identities import Identities

logger = logging.getLogger(__name__)

VERSION = "2010-05-08"
NAMESPACE = f"https://iam.amazonaws.com/doc/{VERSION}/"
CONTENT_TYPE = "text/xml"


def _empty(name: str) -> Action:
    return Action(lambda call: element("IsTruncated", False) + tree(name), calls.everything)


ACTIONS: Mapping[str, Action] = {
    **users.ACTIONS,
    **groups.ACTIONS,
    **policies.ACTIONS,
    **roles.ACTIONS,
    "ListAccountAliases": _empty("AccountAliases"),
    "ListInstanceProfilesForRole": _empty("InstanceProfiles"),
    "ListMFADevices": _empty("MFADevices"),
    "ListSigningCertificates": _empty("Certificates"),
    "ListSSHPublicKeys": _empty("SSHPublicKeys"),
    "ListServiceSpecificCredentials": _empty("ServiceSpecificCredentials"),
    "ListVirtualMFADevices": _empty("VirtualMFADevices"),
}

# Errors from below -> status and code, by class and its nearest ancestor that has a row.
_CODES: dict[type[BaseException], tuple[int, str]] = {
    errors.MalformedPolicy: (400, "MalformedPolicyDocument"),
    errors.LimitExceeded: (409, "LimitExceeded"),
    errors.InvalidRequest: (400, "ValidationError"),
    errors.NotFound: (404, "NoSuchEntity"),
    errors.AlreadyExists: (409, "EntityAlreadyExists"),
    errors.StillNeeded: (409, "DeleteConflict"),
    errors.AccessDenied: (403, "AccessDenied"),
    errors.ObjfsError: (503, "ServiceUnavailable"),
}
_UNEXPECTED = (500, "ServiceFailure")


class Answer(NamedTuple):
    """The status and the body of an answer, and what it says for the log: "" or an error's code."""

    status: int
    body: bytes
    code: str


def answer(
    who: Identities,
    caller: Identity | None,
    form: Mapping[str, str],
    context: Context,
    request_id: str,
) -> Answer:
    """Do what a form asks. `context` has the condition keys of the request (`request_context`)."""
    name = form.get("Action", "")
    action = ACTIONS.get(name)
    if action is None or form.get("Version", VERSION) != VERSION:
        shown = name[:100]
        text = f"Could not find operation {shown} for version {form.get('Version', '')[:20]}"
        return _error(400, "InvalidAction", text, request_id)
    if caller is None:
        text = "Request is missing Authentication Token"
        return _error(403, "MissingAuthenticationToken", text, request_id)
    call = Call(who, caller, Parameters(form))
    try:
        _check(call, name, action, context)
        result = action.run(call)
    except errors.ObjfsError as error:
        status, code = _code_of(error)
        return _error(status, code, str(error), request_id)
    except Exception:
        logger.exception("IAM's %s failed unexpectedly", name)
        return _error(*_UNEXPECTED, "The request failed because of an internal error.", request_id)
    parts = tree(f"{name}Result", result) if result is not None else ""
    body = document(f"{name}Response", parts, _metadata(request_id), namespace=NAMESPACE)
    return Answer(200, body, "")


def _check(call: Call, name: str, action: Action, context: Context) -> None:
    request = Request(f"iam:{name}", action.about(call), context)
    decision = decide(request, call.caller)
    if not decision:
        raise errors.AccessDenied(denial(request, call.caller, decision))


def _code_of(error: errors.ObjfsError) -> tuple[int, str]:
    for ancestor in type(error).__mro__:
        if ancestor in _CODES:
            return _CODES[ancestor]
    return _UNEXPECTED


def _error(status: int, code: str, message: str, request_id: str) -> Answer:
    body = document(
        "ErrorResponse",
        tree(
            "Error",
            element("Type", "Sender" if status < 500 else "Receiver"),
            element("Code", code),
            element("Message", readable(message)),
        ),
        element("RequestId", request_id),
        namespace=NAMESPACE,
    )
    return Answer(status, body, code)


def _metadata(request_id: str) -> str:
    return tree("ResponseMetadata", element("RequestId", request_id))
