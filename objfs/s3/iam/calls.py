"""What the actions of IAM's query API have in common.

An action is a function of a `Call` that returns the parts of its Result, or None if it has none. It
is registered with what it is about: the ARN that the caller's policies have to allow `iam:NAME`
for.
"""

from collections.abc import Callable
from typing import NamedTuple

from objfs.auth.identity import Identity
from objfs.base.errors import InvalidRequest
from objfs.s3.iam.parameters import Parameters
from objfs.volume.identities import GROUP, ROLE, USER, Identities


class Call(NamedTuple):
    """One call."""

    who: Identities
    caller: Identity
    parameters: Parameters

    @property
    def user_name(self) -> str:
        """The user that is meant: the caller, if none is named. InvalidRequest."""
        given = self.parameters.optional("UserName")
        if given is None and not self.caller.name:
            raise InvalidRequest("Must specify userName when calling with non-User credentials")
        return given if given is not None else self.caller.name


class Action(NamedTuple):
    """An action and what it is about."""

    run: Callable[[Call], str | None]
    about: Callable[[Call], str]


def _about(kind: str, parameter: str) -> Callable[[Call], str]:
    def arn(call: Call) -> str:
        name = call.parameters.text(parameter)
        path = call.parameters.text("Path", "/")
        row = call.who.principals.find(kind, name)
        account = call.who.account
        return call.who.principals.arn(row) if row else account.arn(kind, name, path)

    return arn


def own_user(call: Call) -> str:
    """The user that is named, or the caller."""
    row = call.who.principals.find(USER, call.user_name)
    return call.who.principals.arn(row) if row else call.who.account.arn(USER, call.user_name)


user = _about(USER, "UserName")
group = _about(GROUP, "GroupName")
role = _about(ROLE, "RoleName")


def policy(call: Call) -> str:
    """The managed policy."""
    return call.parameters.text("PolicyArn")


def new_policy(call: Call) -> str:
    """The managed policy that is to be."""
    path = call.parameters.text("Path", "/")
    return call.who.account.arn("policy", call.parameters.text("PolicyName"), path)


def provider(call: Call) -> str:
    """The issuer."""
    return call.parameters.text("OpenIDConnectProviderArn")


def new_provider(call: Call) -> str:
    """The issuer that is to be."""
    url = call.parameters.text("Url")
    return call.who.account.arn("oidc-provider", url.partition("://")[2] or url)


def everything(call: Call) -> str:
    """Of a list."""
    return "*"
