"""IAM's actions about roles and issuers."""

from objfs.base.errors import InvalidRequest
from objfs.s3.iam import calls, forms
from objfs.s3.iam.calls import Action, Call
from objfs.s3.xml_writer import element, tree
from objfs.volume.identities import ROLE, Principal

_SESSION_SECONDS = 3600


def _shown(call: Call, row: Principal) -> str:
    return tree("Role", forms.role(call.who, row))


def create_role(call: Call) -> str:
    given = call.parameters
    if given.optional("PermissionsBoundary") is not None:
        raise InvalidRequest("permissions boundaries are not supported by this server")
    made = call.who.principals.create_role(
        given.text("RoleName"),
        given.text("AssumeRolePolicyDocument"),
        path=given.text("Path", "/"),
        description=given.text("Description", ""),
        session_seconds=given.number("MaxSessionDuration", _SESSION_SECONDS),
        tags=given.tags(),
    )
    return _shown(call, made)


def get_role(call: Call) -> str:
    return _shown(call, call.who.principals.get(ROLE, call.parameters.text("RoleName")))


def list_roles(call: Call) -> str:
    rows = call.who.principals.all(ROLE, call.parameters.text("PathPrefix", "/"))
    page = call.parameters.page(rows, lambda row: row.key)
    return forms.page_of("Roles", page, lambda row: forms.role(call.who, row))


def update_role(call: Call) -> str:
    given = call.parameters
    seconds = given.number("MaxSessionDuration", 0)
    call.who.principals.set_role(
        given.text("RoleName"),
        description=given.optional("Description"),
        session_seconds=seconds or None,
    )
    return ""


def update_role_description(call: Call) -> str:
    given = call.parameters
    changed = call.who.principals.set_role(
        given.text("RoleName"), description=given.text("Description")
    )
    return _shown(call, changed)


def update_assume_role_policy(call: Call) -> None:
    given = call.parameters
    call.who.principals.set_role(given.text("RoleName"), trust=given.text("PolicyDocument"))


def delete_role(call: Call) -> None:
    call.who.principals.delete_role(call.parameters.text("RoleName"))


def tag_role(call: Call) -> None:
    row = call.who.principals.get(ROLE, call.parameters.text("RoleName"))
    call.who.principals.set_tags(ROLE, row.name, row.tags | call.parameters.tags())


def untag_role(call: Call) -> None:
    row = call.who.principals.get(ROLE, call.parameters.text("RoleName"))
    gone = set(call.parameters.members("TagKeys"))
    kept = {name: value for name, value in row.tags.items() if name not in gone}
    call.who.principals.set_tags(ROLE, row.name, kept)


def list_role_tags(call: Call) -> str:
    row = call.who.principals.get(ROLE, call.parameters.text("RoleName"))
    return element("IsTruncated", False) + (forms.tags(row.tags) or "<Tags/>")


# --- Issuers --------------------------------------------------------------------------------------


def create_provider(call: Call) -> str:
    given = call.parameters
    made = call.who.providers.create(
        given.text("Url"),
        clients=given.members("ClientIDList"),
        thumbprints=given.members("ThumbprintList"),
        tags=given.tags(),
    )
    return element("OpenIDConnectProviderArn", call.who.providers.arn(made))


def _arn(call: Call) -> str:
    return call.parameters.text("OpenIDConnectProviderArn")


def get_provider(call: Call) -> str:
    return forms.provider(call.who.providers.get(_arn(call)))


def list_providers(call: Call) -> str:
    rows = call.who.providers.all()
    arns = (element("Arn", call.who.providers.arn(row)) for row in rows)
    return forms.members("OpenIDConnectProviderList", arns)


def delete_provider(call: Call) -> None:
    call.who.providers.delete(_arn(call))


def add_client(call: Call) -> None:
    row = call.who.providers.get(_arn(call))
    client = call.parameters.text("ClientID")
    call.who.providers.update(_arn(call), clients=[*row.clients, client])


def remove_client(call: Call) -> None:
    row = call.who.providers.get(_arn(call))
    client = call.parameters.text("ClientID")
    kept = [each for each in row.clients if each != client]
    call.who.providers.update(_arn(call), clients=kept)


def update_thumbprint(call: Call) -> None:
    call.who.providers.update(_arn(call), thumbprints=call.parameters.members("ThumbprintList"))


ACTIONS = {
    "CreateRole": Action(create_role, calls.role),
    "GetRole": Action(get_role, calls.role),
    "ListRoles": Action(list_roles, calls.everything),
    "UpdateRole": Action(update_role, calls.role),
    "UpdateRoleDescription": Action(update_role_description, calls.role),
    "UpdateAssumeRolePolicy": Action(update_assume_role_policy, calls.role),
    "DeleteRole": Action(delete_role, calls.role),
    "TagRole": Action(tag_role, calls.role),
    "UntagRole": Action(untag_role, calls.role),
    "ListRoleTags": Action(list_role_tags, calls.role),
    "CreateOpenIDConnectProvider": Action(create_provider, calls.new_provider),
    "GetOpenIDConnectProvider": Action(get_provider, calls.provider),
    "ListOpenIDConnectProviders": Action(list_providers, calls.everything),
    "DeleteOpenIDConnectProvider": Action(delete_provider, calls.provider),
    "AddClientIDToOpenIDConnectProvider": Action(add_client, calls.provider),
    "RemoveClientIDFromOpenIDConnectProvider": Action(remove_client, calls.provider),
    "UpdateOpenIDConnectProviderThumbprint": Action(update_thumbprint, calls.provider),
}
