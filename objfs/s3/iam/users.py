"""IAM's actions about users and their access keys."""

from objfs.base.errors import InvalidRequest, NotFound
from objfs.s3.iam import calls, forms
from objfs.s3.iam.calls import Action, Call
from objfs.s3.xml_writer import element, tree
from objfs.volume.identities import USER, AccessKey, Principal

_STATUS = {"Active": True, "Inactive": False}


def _shown(call: Call, row: Principal) -> str:
    return tree("User", forms.user(call.who, row))


def create_user(call: Call) -> str:
    given = call.parameters
    _refuse_boundary(call)
    made = call.who.principals.create_user(
        given.text("UserName"), path=given.text("Path", "/"), tags=given.tags()
    )
    return _shown(call, made)


def _refuse_boundary(call: Call) -> None:
    if call.parameters.optional("PermissionsBoundary") is not None:
        raise InvalidRequest("permissions boundaries are not supported by this server")


def get_user(call: Call) -> str:
    return _shown(call, call.who.principals.get(USER, call.user_name))


def list_users(call: Call) -> str:
    rows = call.who.principals.all(USER, call.parameters.text("PathPrefix", "/"))
    page = call.parameters.page(rows, lambda row: row.key)
    return forms.page_of("Users", page, lambda row: forms.user(call.who, row))


def update_user(call: Call) -> None:
    given = call.parameters
    call.who.principals.rename(
        USER,
        given.text("UserName"),
        new_name=given.optional("NewUserName"),
        path=given.optional("NewPath"),
    )


def delete_user(call: Call) -> None:
    call.who.principals.delete_user(call.parameters.text("UserName"))


# --- Access keys ----------------------------------------------------------------------------------


def create_access_key(call: Call) -> str:
    made = call.who.keys.create(call.user_name)
    name = call.who.principals.get(USER, call.user_name).name
    return tree("AccessKey", forms.key(name, made.row), element("SecretAccessKey", made.secret))


def list_access_keys(call: Call) -> str:
    name = call.who.principals.get(USER, call.user_name).name
    rows = sorted(call.who.keys.keys(name), key=lambda row: row.id)
    page = call.parameters.page(rows, lambda row: row.id)
    return forms.page_of("AccessKeyMetadata", page, lambda row: forms.key(name, row))


def update_access_key(call: Call) -> None:
    status = call.parameters.text("Status")
    if status not in _STATUS:
        raise InvalidRequest(f"Status is Active or Inactive, not {status[:100]!r}")
    call.who.keys.set_active(call.parameters.text("AccessKeyId"), _STATUS[status], _owner(call))


def delete_access_key(call: Call) -> None:
    call.who.keys.delete(call.parameters.text("AccessKeyId"), _owner(call))


def _owner(call: Call) -> str:
    return call.user_name


def get_access_key_last_used(call: Call) -> str:
    row = call.who.keys.get(call.parameters.text("AccessKeyId"))
    user = call.who.principals.get(USER, row.user)
    return element("UserName", user.name) + tree("AccessKeyLastUsed", _last_used(row))


def _last_used(row: AccessKey) -> str:
    if not row.used_ns:
        return element("ServiceName", "N/A") + element("Region", "N/A")
    return (
        element("LastUsedDate", forms.date(row.used_ns))
        + element("ServiceName", row.used_service)
        + element("Region", row.used_region)
    )


def _about_key(call: Call) -> str:
    row = call.who.keys.find(call.parameters.text("AccessKeyId"))
    owner = call.who.principals.find(USER, row.user) if row is not None else None
    return call.who.principals.arn(owner) if owner is not None else "*"


# --- Tags -----------------------------------------------------------------------------------------


def tag_user(call: Call) -> None:
    row = call.who.principals.get(USER, call.parameters.text("UserName"))
    call.who.principals.set_tags(USER, row.name, row.tags | call.parameters.tags())


def untag_user(call: Call) -> None:
    row = call.who.principals.get(USER, call.parameters.text("UserName"))
    gone = set(call.parameters.members("TagKeys"))
    kept = {name: value for name, value in row.tags.items() if name not in gone}
    call.who.principals.set_tags(USER, row.name, kept)


def list_user_tags(call: Call) -> str:
    row = call.who.principals.get(USER, call.parameters.text("UserName"))
    return element("IsTruncated", False) + (forms.tags(row.tags) or "<Tags/>")


def no_login_profile(call: Call) -> str:
    """There are no passwords here."""
    row = call.who.principals.get(USER, call.user_name)
    raise NotFound(f"Login Profile for User {row.name} cannot be found.")


ACTIONS = {
    "CreateUser": Action(create_user, calls.user),
    "GetUser": Action(get_user, calls.own_user),
    "ListUsers": Action(list_users, calls.everything),
    "UpdateUser": Action(update_user, calls.user),
    "DeleteUser": Action(delete_user, calls.user),
    "CreateAccessKey": Action(create_access_key, calls.own_user),
    "ListAccessKeys": Action(list_access_keys, calls.own_user),
    "UpdateAccessKey": Action(update_access_key, calls.own_user),
    "DeleteAccessKey": Action(delete_access_key, calls.own_user),
    "GetAccessKeyLastUsed": Action(get_access_key_last_used, _about_key),
    "TagUser": Action(tag_user, calls.user),
    "UntagUser": Action(untag_user, calls.user),
    "ListUserTags": Action(list_user_tags, calls.user),
    "GetLoginProfile": Action(no_login_profile, calls.own_user),
    "DeleteLoginProfile": Action(no_login_profile, calls.own_user),
}
