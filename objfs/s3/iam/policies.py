"""IAM's actions about policies: managed, attached, and of one user, group or role."""

import re
from collections.abc import Callable
from typing import NamedTuple

from objfs.base.errors import InvalidRequest
from objfs.s3.iam import calls, forms
from objfs.s3.iam.calls import Action, Call
from objfs.s3.xml_writer import element, tree
from objfs.volume.identities import GROUP, ROLE, USER, Policy

_VERSION = re.compile(r"v([1-9]\d{0,8})")
_SCOPES = {"All": (True, True), "AWS": (False, True), "Local": (True, False)}


def _arn(call: Call) -> str:
    return call.parameters.text("PolicyArn")


def _version(call: Call) -> int:
    found = _VERSION.fullmatch(call.parameters.text("VersionId"))
    if found is None:
        raise InvalidRequest("VersionId is v1, v2...")
    return int(found[1])


# --- Managed policies -----------------------------------------------------------------------------


def create_policy(call: Call) -> str:
    given = call.parameters
    made = call.who.policies.create(
        given.text("PolicyName"),
        given.text("PolicyDocument"),
        path=given.text("Path", "/"),
        description=given.text("Description", ""),
        tags=given.tags(),
    )
    return tree("Policy", forms.policy(call.who, made))


def get_policy(call: Call) -> str:
    return tree("Policy", forms.policy(call.who, call.who.policies.get(_arn(call))))


def list_policies(call: Call) -> str:
    scope = call.parameters.text("Scope", "All")
    if scope not in _SCOPES:
        raise InvalidRequest(f"Scope is {', '.join(_SCOPES)}, not {scope[:100]!r}")
    own, built_in = _SCOPES[scope]
    rows = call.who.policies.all(
        own=own, built_in=built_in, path=call.parameters.text("PathPrefix", "/")
    )
    if call.parameters.flag("OnlyAttached"):
        rows = [row for row in rows if call.who.policies.attachments(call.who.policies.arn(row))]

    def place(row: Policy) -> str:
        return row.key + " " + row.id  # an own policy may have the name of a built-in one

    page = call.parameters.page(sorted(rows, key=place), place)
    return forms.page_of("Policies", page, lambda row: forms.policy(call.who, row))


def delete_policy(call: Call) -> None:
    call.who.policies.delete(_arn(call))


def create_policy_version(call: Call) -> str:
    made = call.who.policies.create_version(
        _arn(call),
        call.parameters.text("PolicyDocument"),
        current=call.parameters.flag("SetAsDefault"),
    )
    current = call.who.policies.get(_arn(call)).current
    return tree("PolicyVersion", forms.policy_version(made, current, document=False))


def get_policy_version(call: Call) -> str:
    found = call.who.policies.version(_arn(call), _version(call))
    current = call.who.policies.get(_arn(call)).current
    return tree("PolicyVersion", forms.policy_version(found, current, document=True))


def list_policy_versions(call: Call) -> str:
    current = call.who.policies.get(_arn(call)).current
    versions = call.who.policies.versions(_arn(call))
    return element("IsTruncated", False) + forms.members(
        "Versions", (forms.policy_version(each, current, document=False) for each in versions)
    )


def set_default_policy_version(call: Call) -> None:
    call.who.policies.set_current(_arn(call), _version(call))


def delete_policy_version(call: Call) -> None:
    call.who.policies.delete_version(_arn(call), _version(call))


def list_entities_for_policy(call: Call) -> str:
    found = call.who.policies.attachments(call.who.policies.arn(call.who.policies.get(_arn(call))))
    return element("IsTruncated", False) + "".join(
        forms.members(
            f"Policy{kind.title()}s",
            (
                element(f"{kind.title()}Name", row.name) + element(f"{kind.title()}Id", row.id)
                for row in found
                if row.kind == kind
            ),
        )
        for kind in (USER, GROUP, ROLE)
    )


# --- Policies of one principal --------------------------------------------------------------------


class _Of(NamedTuple):
    """The six actions and more that users, groups and roles have alike."""

    kind: str
    parameter: str

    def name(self, call: Call) -> str:
        return call.parameters.text(self.parameter)

    def attach(self, call: Call) -> None:
        call.who.policies.attach(self.kind, self.name(call), _arn(call))

    def detach(self, call: Call) -> None:
        call.who.policies.detach(self.kind, self.name(call), _arn(call))

    def attached(self, call: Call) -> str:
        row = call.who.principals.get(self.kind, self.name(call))
        page = call.parameters.page(sorted(row.attached), lambda arn: arn)
        return forms.page_of("AttachedPolicies", page, _attached)

    def put(self, call: Call) -> None:
        given = call.parameters
        call.who.policies.put_inline(
            self.kind, self.name(call), given.text("PolicyName"), given.text("PolicyDocument")
        )

    def get(self, call: Call) -> str:
        policy = call.parameters.text("PolicyName")
        row = call.who.principals.get(self.kind, self.name(call))
        document = call.who.policies.inline(self.kind, row.name, policy)
        return (
            element(self.parameter, row.name)
            + element("PolicyName", policy)
            + element("PolicyDocument", forms.encoded(document))
        )

    def delete(self, call: Call) -> None:
        policy = call.parameters.text("PolicyName")
        call.who.policies.delete_inline(self.kind, self.name(call), policy)

    def list(self, call: Call) -> str:
        row = call.who.principals.get(self.kind, self.name(call))
        page = call.parameters.page(sorted(row.inline), lambda name: name)
        return (
            element("IsTruncated", bool(page.marker))
            + forms.texts("PolicyNames", page.items)
            + element("Marker", page.marker or None)
        )

    def actions(self, about: Callable[[Call], str]) -> dict[str, Action]:
        name = self.kind.title()
        return {
            f"Attach{name}Policy": Action(self.attach, about),
            f"Detach{name}Policy": Action(self.detach, about),
            f"ListAttached{name}Policies": Action(self.attached, about),
            f"Put{name}Policy": Action(self.put, about),
            f"Get{name}Policy": Action(self.get, about),
            f"Delete{name}Policy": Action(self.delete, about),
            f"List{name}Policies": Action(self.list, about),
        }


def _attached(arn: str) -> str:
    return element("PolicyName", arn.rpartition("/")[2]) + element("PolicyArn", arn)


ACTIONS = {
    "CreatePolicy": Action(create_policy, calls.new_policy),
    "GetPolicy": Action(get_policy, calls.policy),
    "ListPolicies": Action(list_policies, calls.everything),
    "DeletePolicy": Action(delete_policy, calls.policy),
    "CreatePolicyVersion": Action(create_policy_version, calls.policy),
    "GetPolicyVersion": Action(get_policy_version, calls.policy),
    "ListPolicyVersions": Action(list_policy_versions, calls.policy),
    "SetDefaultPolicyVersion": Action(set_default_policy_version, calls.policy),
    "DeletePolicyVersion": Action(delete_policy_version, calls.policy),
    "ListEntitiesForPolicy": Action(list_entities_for_policy, calls.policy),
    **_Of(USER, "UserName").actions(calls.user),
    **_Of(GROUP, "GroupName").actions(calls.group),
    **_Of(ROLE, "RoleName").actions(calls.role),
}
