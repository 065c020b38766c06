"""`objfs user|key|group ...`: who may use the S3 door."""

from typing import Any

import click

from objfs.cli.access import run_command
from objfs.cli.output import json_option, print_facts, print_json, print_table
from objfs.cli.targets import store_of
from objfs.cli.version_commands import local_time

store_argument = click.argument("store", metavar="STORE|MOUNTPOINT")
path_option = click.option("--path", default="/", help="A path for its ARN, as /staff/.")
force_option = click.option("--force", is_flag=True, help="Also if it is in use.")


def show(as_json: bool, answer: Any, text: str) -> None:
    """The answer as JSON, or a sentence."""
    if as_json:
        print_json(answer)
    else:
        click.echo(text)


def names(values: Any) -> str:
    """The last parts of names and ARNs, for a cell of a table."""
    return ", ".join(each.rpartition("/")[2] for each in values)


# --- Users ----------------------------------------------------------------------------------------


@click.group()
def user() -> None:
    """Users of the S3 door."""


def _show_secret(made: Any) -> None:
    print_facts(
        (
            ("user", made["name"]),
            ("access key id", made["access_key_id"]),
            ("secret access key", made["secret_access_key"]),
        )
    )
    click.echo("The secret is shown only now: keep it.")


@user.command("create")
@store_argument
@click.argument("name")
@click.option(
    "--admin/--no-admin",
    default=None,
    help="May do everything; without this, the first user of a store may.",
)
@click.option("--uid", type=click.IntRange(0), default=None, help="Owner of the files it makes.")
@click.option("--gid", type=click.IntRange(0), default=None, help="Group of the files it makes.")
@path_option
@json_option
def create_user(
    store: str,
    name: str,
    admin: bool | None,
    uid: int | None,
    gid: int | None,
    path: str,
    as_json: bool,
) -> None:
    """Make the user NAME with an access key.

    The first user of a store becomes its administrator. Others may do nothing before they get a
    policy: `objfs policy attach`, `objfs group add`.
    """
    owners = {"uid": -1 if uid is None else uid, "gid": -1 if gid is None else gid}
    made = run_command(store_of(store), "user_create", name=name, path=path, admin=admin, **owners)
    if as_json:
        print_json(made)
        return
    _show_secret(made)
    if made["admin"]:
        click.echo(f"{made['name']} is an administrator.")


@user.command("list")
@store_argument
@json_option
def list_users(store: str, as_json: bool) -> None:
    """List the users of STORE."""
    answer = run_command(store_of(store), "user_list")
    if as_json:
        print_json(answer)
        return
    print_table(
        ("USER", "CREATED", "ACCESS KEYS", "GROUPS", "POLICIES", "UID", "GID"),
        (
            (
                each["name"],
                local_time(each["created"]),
                ", ".join(each["access_keys"]),
                ", ".join(each["groups"]),
                names(each["policies"] + each["own_policies"]),
                "" if each["uid"] is None else each["uid"],
                "" if each["gid"] is None else each["gid"],
            )
            for each in answer["users"]
        ),
    )


@user.command("set")
@store_argument
@click.argument("name")
@click.option("--uid", type=click.IntRange(-1), help="Owner of the files it makes; -1: none.")
@click.option("--gid", type=click.IntRange(-1), help="Group of the files it makes; -1: none.")
@json_option
def set_user(store: str, name: str, uid: int | None, gid: int | None, as_json: bool) -> None:
    """Change whose the files are that the user NAME makes."""
    if uid is None and gid is None:
        raise click.UsageError("say what to set: --uid or --gid")
    changed = run_command(store_of(store), "user_set", name=name, uid=uid, gid=gid)
    show(as_json, changed, f"changed user {changed['name']}")


@user.command("delete")
@store_argument
@click.argument("name")
@json_option
def delete_user(store: str, name: str, as_json: bool) -> None:
    """Remove the user NAME and its access keys. What it made stays."""
    gone = run_command(store_of(store), "user_delete", name=name)
    show(as_json, gone, f"deleted user {gone['name']}")


# --- Access keys ----------------------------------------------------------------------------------


@click.group()
def key() -> None:
    """Access keys of users."""


@key.command("create")
@store_argument
@click.argument("name", metavar="USER")
@json_option
def create_key(store: str, name: str, as_json: bool) -> None:
    """Make another access key of USER: two at most, to change one for the other."""
    made = run_command(store_of(store), "key_create", user=name)
    if as_json:
        print_json(made)
    else:
        _show_secret(made)


@key.command("list")
@store_argument
@click.argument("name", metavar="USER", required=False)
@json_option
def list_keys(store: str, name: str | None, as_json: bool) -> None:
    """List the access keys of USER, or of all. Secrets are not shown."""
    answer = run_command(store_of(store), "key_list", user=name)
    if as_json:
        print_json(answer)
        return
    print_table(
        ("ACCESS KEY", "USER", "STATE", "CREATED", "LAST USED"),
        (
            (
                each["access_key_id"],
                each["user"],
                "enabled" if each["active"] else "disabled",
                local_time(each["created"]),
                local_time(each["last_used"]) if each["last_used"] else "never",
            )
            for each in answer["keys"]
        ),
    )


@key.command("delete")
@store_argument
@click.argument("key_id", metavar="ACCESS-KEY")
@json_option
def delete_key(store: str, key_id: str, as_json: bool) -> None:
    """Remove an access key for ever."""
    gone = run_command(store_of(store), "key_delete", key_id=key_id)
    show(as_json, gone, f"deleted access key {key_id} of {gone['user']}")


@key.command("enable")
@store_argument
@click.argument("key_id", metavar="ACCESS-KEY")
@json_option
def enable_key(store: str, key_id: str, as_json: bool) -> None:
    """Let an access key be used again."""
    changed = run_command(store_of(store), "key_set", key_id=key_id, active=True)
    show(as_json, changed, f"enabled access key {key_id} of {changed['user']}")


@key.command("disable")
@store_argument
@click.argument("key_id", metavar="ACCESS-KEY")
@json_option
def disable_key(store: str, key_id: str, as_json: bool) -> None:
    """Let an access key be used no longer, until it is enabled."""
    changed = run_command(store_of(store), "key_set", key_id=key_id, active=False)
    show(as_json, changed, f"disabled access key {key_id} of {changed['user']}")


# --- Groups ---------------------------------------------------------------------------------------


@click.group()
def group() -> None:
    """Groups of users: who is in one gets its policies too."""


@group.command("create")
@store_argument
@click.argument("name")
@path_option
@json_option
def create_group(store: str, name: str, path: str, as_json: bool) -> None:
    """Make the group NAME."""
    made = run_command(store_of(store), "group_create", name=name, path=path)
    show(as_json, made, f"made group {made['name']}")


@group.command("list")
@store_argument
@json_option
def list_groups(store: str, as_json: bool) -> None:
    """List the groups of STORE."""
    answer = run_command(store_of(store), "group_list")
    if as_json:
        print_json(answer)
        return
    print_table(
        ("GROUP", "CREATED", "USERS", "POLICIES"),
        (
            (
                each["name"],
                local_time(each["created"]),
                ", ".join(each["users"]),
                names(each["policies"] + each["own_policies"]),
            )
            for each in answer["groups"]
        ),
    )


@group.command("delete")
@store_argument
@click.argument("name")
@force_option
@json_option
def delete_group(store: str, name: str, force: bool, as_json: bool) -> None:
    """Remove the group NAME; its users stay."""
    gone = run_command(store_of(store), "group_delete", name=name, force=force)
    show(as_json, gone, f"deleted group {gone['name']}")


@group.command("add")
@store_argument
@click.argument("name", metavar="GROUP")
@click.argument("member", metavar="USER")
@json_option
def add(store: str, name: str, member: str, as_json: bool) -> None:
    """Put USER into GROUP."""
    changed = run_command(store_of(store), "group_add", group=name, user=member)
    show(as_json, changed, f"{member} is in group {changed['name']}")


@group.command("remove")
@store_argument
@click.argument("name", metavar="GROUP")
@click.argument("member", metavar="USER")
@json_option
def remove(store: str, name: str, member: str, as_json: bool) -> None:
    """Take USER out of GROUP."""
    changed = run_command(store_of(store), "group_remove", group=name, user=member)
    show(as_json, changed, f"{member} is no longer in group {changed['name']}")
