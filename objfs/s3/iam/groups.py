"""IAM's actions about groups."""

from objfs.s3.iam import calls, forms
from objfs.s3.iam.calls import Action, Call
from objfs.s3.xml_writer import tree
from objfs.volume.identities import GROUP


def create_group(call: Call) -> str:
    given = call.parameters
    made = call.who.principals.create_group(given.text("GroupName"), path=given.text("Path", "/"))
    return tree("Group", forms.group(call.who, made))


def get_group(call: Call) -> str:
    row = call.who.principals.get(GROUP, call.parameters.text("GroupName"))
    page = call.parameters.page(call.who.principals.members(row.name), lambda each: each.key)
    users = forms.page_of("Users", page, lambda each: forms.user(call.who, each))
    return tree("Group", forms.group(call.who, row)) + users


def list_groups(call: Call) -> str:
    rows = call.who.principals.all(GROUP, call.parameters.text("PathPrefix", "/"))
    page = call.parameters.page(rows, lambda row: row.key)
    return forms.page_of("Groups", page, lambda row: forms.group(call.who, row))


def list_groups_for_user(call: Call) -> str:
    rows = call.who.principals.groups_of(call.parameters.text("UserName"))
    page = call.parameters.page(sorted(rows, key=lambda row: row.key), lambda row: row.key)
    return forms.page_of("Groups", page, lambda row: forms.group(call.who, row))


def update_group(call: Call) -> None:
    given = call.parameters
    call.who.principals.rename(
        GROUP,
        given.text("GroupName"),
        new_name=given.optional("NewGroupName"),
        path=given.optional("NewPath"),
    )


def delete_group(call: Call) -> None:
    call.who.principals.delete_group(call.parameters.text("GroupName"))


def add_user_to_group(call: Call) -> None:
    given = call.parameters
    call.who.principals.add_member(given.text("GroupName"), given.text("UserName"))


def remove_user_from_group(call: Call) -> None:
    given = call.parameters
    call.who.principals.remove_member(given.text("GroupName"), given.text("UserName"))


ACTIONS = {
    "CreateGroup": Action(create_group, calls.group),
    "GetGroup": Action(get_group, calls.group),
    "ListGroups": Action(list_groups, calls.everything),
    "ListGroupsForUser": Action(list_groups_for_user, calls.user),
    "UpdateGroup": Action(update_group, calls.group),
    "DeleteGroup": Action(delete_group, calls.group),
    "AddUserToGroup": Action(add_user_to_group, calls.group),
    "RemoveUserFromGroup": Action(remove_user_from_group, calls.group),
}
