"""IAM's query API: `Action=CreateUser&Version=2010-05-08&...` in a form, XML as the answer.

The door has verified the signature (service `iam`) and read the form; `answer` says whether the
caller may, does it, and writes the answer. Never an error: what goes wrong is an answer too, with
IAM's codes. Lists of what this server has none of (MFA devices, passwords) are empty.

Source: AWS, IAM API Reference, version 2010-05-08.
"""

import logging
from collections.abc import Mapping, Sequence

from objfs.auth.identity import Identity
from objfs.auth.patterns import Context
from objfs.auth.policy import Request, decide, denial
from objfs.auth.policy_document import PolicyDocument
from objfs.base import errors
from objfs.s3.iam import calls, groups, policies, roles, users
from objfs.s3.iam.calls import Action, Call
from objfs.s3.iam.parameters import Parameters
from objfs.s3.query_protocol import UNEXPECTED, Answer, failure, result, status_and_code
from objfs.s3.xml_writer import element, tree
from objfs.volume.identities import Identities

logger = logging.getLogger(__name__)

VERSION = "2010-05-08"
NAMESPACE = f"https://iam.amazonaws.com/doc/{VERSION}/"


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


def answer(
    who: Identities,
    caller: Identity | None,
    form: Mapping[str, str],
    context: Context,
    request_id: str,
    session_policies: Sequence[PolicyDocument] = (),
) -> Answer:
    """Do what a form asks. `context` has the condition keys of the request (`request_context`);
    `session_policies` are those of the caller's temporary credentials."""
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
        _check(call, name, action, context, session_policies)
        parts = action.run(call)
    except errors.ObjfsError as error:
        status, code = status_and_code(error, _CODES)
        return _error(status, code, str(error), request_id)
    except Exception:
        logger.exception("IAM's %s failed unexpectedly", name)
        return _error(*UNEXPECTED, "The request failed because of an internal error.", request_id)
    return result(name, parts, request_id, NAMESPACE)


def _check(
    call: Call,
    name: str,
    action: Action,
    context: Context,
    session_policies: Sequence[PolicyDocument],
) -> None:
    request = Request(f"iam:{name}", action.about(call), context)
    decision = decide(request, call.caller, session_policies=session_policies)
    if not decision:
        raise errors.AccessDenied(denial(request, call.caller, decision))


def _error(status: int, code: str, message: str, request_id: str) -> Answer:
    return failure(status, code, message, request_id, NAMESPACE)
