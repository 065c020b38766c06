"""`objfs policy ...`: what users of the S3 door may do; `objfs issuer ...`: whose tokens stand for
roles."""

from typing import IO

import click

from objfs.cli.access import run_command
from objfs.cli.identity_commands import force_option, names, show, store_argument
from objfs.cli.output import json_option, print_json, print_table
from objfs.cli.targets import store_of


@click.group()
def policy() -> None:
    """Policies: what users, groups and roles may do, in AWS's policy language."""


@policy.command("put")
@store_argument
@click.argument("name")
@click.argument("document", type=click.File("r"), metavar="FILE")
@json_option
def put(store: str, name: str, document: IO[str], as_json: bool) -> None:
    """Make the policy NAME, or change it, from the JSON in FILE (-: standard input).

    A change counts for everybody who has the policy, from the next request on.
    """
    made = run_command(store_of(store), "policy_put", name=name, document=document.read())
    show(as_json, made, f"policy {made['name']} is at version {made['version']}")


@policy.command("list")
@store_argument
@json_option
def list_policies(store: str, as_json: bool) -> None:
    """List the policies of STORE, the built-in ones last."""
    answer = run_command(store_of(store), "policy_list")
    if as_json:
        print_json(answer)
        return
    print_table(
        ("POLICY", "VERSION", "ATTACHED TO", "ARN"),
        (
            (
                each["name"],
                each["version"],
                ", ".join(f"{to['kind']} {to['name']}" for to in each["attached_to"]),
                each["arn"],
            )
            for each in answer["policies"]
        ),
    )


@policy.command("show")
@store_argument
@click.argument("name", metavar="POLICY")
@json_option
def show_policy(store: str, name: str, as_json: bool) -> None:
    """Print the document of POLICY, a name or an ARN."""
    found = run_command(store_of(store), "policy_show", policy=name)
    show(as_json, found, found["document"])


@policy.command("delete")
@store_argument
@click.argument("name", metavar="POLICY")
@force_option
@json_option
def delete(store: str, name: str, force: bool, as_json: bool) -> None:
    """Remove POLICY."""
    gone = run_command(store_of(store), "policy_delete", policy=name, force=force)
    show(as_json, gone, f"deleted policy {gone['name']}")


def _to_whom(user: str | None, group: str | None, role: str | None) -> tuple[str, str]:
    given = [(kind, name) for kind, name in zip(_KINDS, (user, group, role), strict=True) if name]
    if len(given) != 1 or given[0][1] is None:
        raise click.UsageError("say to whom: one of --user, --group and --role")
    return given[0][0], given[0][1]


_KINDS = ("user", "group", "role")
_user = click.option("--user", metavar="NAME")
_group = click.option("--group", metavar="NAME")
_role = click.option("--role", metavar="NAME")


@policy.command("attach")
@store_argument
@click.argument("name", metavar="POLICY")
@_user
@_group
@_role
@json_option
def attach(
    store: str, name: str, user: str | None, group: str | None, role: str | None, as_json: bool
) -> None:
    """Give POLICY, a name or an ARN, to a user, a group or a role."""
    kind, whom = _to_whom(user, group, role)
    changed = run_command(store_of(store), "policy_attach", policy=name, kind=kind, name=whom)
    show(as_json, changed, f"{kind} {whom} has policy {changed['name']}")


@policy.command("detach")
@store_argument
@click.argument("name", metavar="POLICY")
@_user
@_group
@_role
@json_option
def detach(
    store: str, name: str, user: str | None, group: str | None, role: str | None, as_json: bool
) -> None:
    """Take POLICY from a user, a group or a role."""
    kind, whom = _to_whom(user, group, role)
    changed = run_command(store_of(store), "policy_detach", policy=name, kind=kind, name=whom)
    show(as_json, changed, f"{kind} {whom} no longer has policy {changed['name']}")


# --- Issuers --------------------------------------------------------------------------------------


@click.group()
def issuer() -> None:
    """OpenID Connect issuers, whose tokens stand for roles (AssumeRoleWithWebIdentity)."""


@issuer.command("put")
@store_argument
@click.argument("url")
@click.option("--client", "clients", multiple=True, help="An audience whose tokens are taken.")
@click.option("--keys", type=click.File("r"), help="Its public keys: a JSON Web Key Set.")
@json_option
def put_issuer(
    store: str, url: str, clients: tuple[str, ...], keys: IO[str] | None, as_json: bool
) -> None:
    """Make the issuer URL known, or change what is given."""
    made = run_command(
        store_of(store),
        "issuer_put",
        url=url,
        clients=list(clients),
        keys=keys.read() if keys is not None else "",
    )
    show(as_json, made, f"issuer {made['url']} is {made['arn']}")


@issuer.command("list")
@store_argument
@json_option
def list_issuers(store: str, as_json: bool) -> None:
    """List the issuers of STORE."""
    answer = run_command(store_of(store), "issuer_list")
    if as_json:
        print_json(answer)
        return
    print_table(
        ("ISSUER", "CLIENTS", "KEYS", "ARN"),
        (
            (each["url"], names(each["clients"]), "yes" if each["keys"] else "none", each["arn"])
            for each in answer["issuers"]
        ),
    )


@issuer.command("delete")
@store_argument
@click.argument("url")
@json_option
def delete_issuer(store: str, url: str, as_json: bool) -> None:
    """Forget the issuer URL."""
    gone = run_command(store_of(store), "issuer_delete", url=url)
    show(as_json, gone, f"deleted issuer {gone['url']}")
