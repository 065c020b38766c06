"""Commands about who may use the S3 door: users, access keys, groups, policies, issuers; see
`objfs/maint/commands.py` for what a command is.

The first user of a store becomes its administrator, or nobody could do anything through the door;
`admin` says it otherwise.
"""

from collections.abc import Sequence

from objfs.auth.managed import ADMINISTRATOR
from objfs.base.errors import InvalidRequest
from objfs.maint.forms import time_text
from objfs.meta.rows import AccessKey, Policy, Principal, Provider
from objfs.volume.identities import GROUP, ROLE, USER, Identities
from objfs.volume.volume import Volume

_KINDS = (USER, GROUP, ROLE)

# --- Users ----------------------------------------------------------------------------------------


async def user_create(
    volume: Volume,
    name: str,
    path: str = "/",
    uid: int = -1,
    gid: int = -1,
    admin: bool | None = None,
) -> dict[str, object]:
    """A user with a key, whose secret is told only now. `admin` None: if it is the first user."""
    who = volume.identities
    who.keys.store_keys()  # without them no secret can be kept: then no user is made
    if admin is None:
        admin = not who.principals.all(USER)
    row = who.principals.create_user(name, path=path, uid=uid, gid=gid)
    if admin:
        who.policies.attach(USER, name, ADMINISTRATOR)
    key = _new_key(who, name)
    await volume.sync()
    return key | {"admin": admin} | _user_form(who, who.principals.get(USER, row.name))


async def user_list(volume: Volume) -> dict[str, object]:
    """All users, by name."""
    who = volume.identities
    return {"users": [_user_form(who, row) for row in who.principals.all(USER)]}


async def user_set(
    volume: Volume, name: str, uid: int | None = None, gid: int | None = None
) -> dict[str, object]:
    """Changes whose the files are that the user makes."""
    who = volume.identities
    return _user_form(who, who.principals.set_user(name, uid=uid, gid=gid))


async def user_delete(volume: Volume, name: str) -> dict[str, object]:
    """The user goes, and with it its keys and its own policies. What it made stays."""
    row = volume.identities.principals.delete_user(name, force=True)
    await volume.sync()
    return {"name": row.name}


def _user_form(who: Identities, row: Principal) -> dict[str, object]:
    return {
        "name": row.name,
        "arn": who.principals.arn(row),
        "user_id": row.id,
        "canonical_id": row.canonical,
        "path": row.path,
        "uid": None if row.uid < 0 else row.uid,
        "gid": None if row.gid < 0 else row.gid,
        "created": time_text(row.created_ns),
        "groups": [group.name for group in who.principals.groups_of(row.name)],
        "policies": list(row.attached),
        "own_policies": list(row.inline),
        "access_keys": [key.id for key in who.keys.keys(row.name)],
    }


# --- Access keys ----------------------------------------------------------------------------------


async def key_create(volume: Volume, user: str) -> dict[str, object]:
    """Another key of a user."""
    made = _new_key(volume.identities, user)
    await volume.sync()
    return made


def _new_key(who: Identities, user: str) -> dict[str, object]:
    made = who.keys.create(user)
    name = who.principals.get(USER, user).name
    return {"name": name, "access_key_id": made.row.id, "secret_access_key": made.secret}


async def key_list(volume: Volume, user: str | None = None) -> dict[str, object]:
    """The keys of a user, or of all. Secrets are not told."""
    who = volume.identities
    rows = who.keys.all() if user is None else who.keys.keys(user)
    return {"keys": [_key_form(who, row) for row in rows]}


def _key_form(who: Identities, row: AccessKey) -> dict[str, object]:
    return {
        "access_key_id": row.id,
        "user": who.principals.get(USER, row.user).name,
        "active": row.active,
        "created": time_text(row.created_ns),
        "last_used": time_text(row.used_ns) if row.used_ns else None,
    }


async def key_set(volume: Volume, key_id: str, active: bool) -> dict[str, object]:
    """Switches a key on or off."""
    row = volume.identities.keys.set_active(key_id, active)
    await volume.sync()
    return _key_form(volume.identities, row)


async def key_delete(volume: Volume, key_id: str) -> dict[str, object]:
    """Nothing is signed with the key any more."""
    row = volume.identities.keys.delete(key_id)
    await volume.sync()
    return _key_form(volume.identities, row)


# --- Groups ---------------------------------------------------------------------------------------


async def group_create(volume: Volume, name: str, path: str = "/") -> dict[str, object]:
    """A group without users."""
    who = volume.identities
    return _group_form(who, who.principals.create_group(name, path=path))


async def group_list(volume: Volume) -> dict[str, object]:
    """All groups, by name."""
    who = volume.identities
    return {"groups": [_group_form(who, row) for row in who.principals.all(GROUP)]}


async def group_delete(volume: Volume, name: str, force: bool = False) -> dict[str, object]:
    """`force`: also one that has users or policies."""
    row = volume.identities.principals.delete_group(name, force=force)
    await volume.sync()
    return {"name": row.name}


async def group_add(volume: Volume, group: str, user: str) -> dict[str, object]:
    """The user gets the policies of the group too."""
    who = volume.identities
    who.principals.add_member(group, user)
    return _group_form(who, who.principals.get(GROUP, group))


async def group_remove(volume: Volume, group: str, user: str) -> dict[str, object]:
    """The user has the policies of the group no longer."""
    who = volume.identities
    who.principals.remove_member(group, user)
    await volume.sync()
    return _group_form(who, who.principals.get(GROUP, group))


def _group_form(who: Identities, row: Principal) -> dict[str, object]:
    return {
        "name": row.name,
        "arn": who.principals.arn(row),
        "group_id": row.id,
        "created": time_text(row.created_ns),
        "users": [user.name for user in who.principals.members(row.name)],
        "policies": list(row.attached),
        "own_policies": list(row.inline),
    }


# --- Policies -------------------------------------------------------------------------------------


async def policy_put(volume: Volume, name: str, document: str) -> dict[str, object]:
    """Makes a managed policy, or gives it this document from now on."""
    who = volume.identities
    row = who.policies.put(name, document)
    await volume.sync()
    return _policy_form(who, row)


async def policy_list(volume: Volume) -> dict[str, object]:
    """All managed policies, the built-in ones last."""
    who = volume.identities
    return {"policies": [_policy_form(who, row) for row in who.policies.all()]}


async def policy_show(volume: Volume, policy: str) -> dict[str, object]:
    """A managed policy, by its name or ARN, with its document."""
    who = volume.identities
    row = who.policies.get(who.policies.arn_of(policy))
    return _policy_form(who, row) | {
        "document": who.policies.version(who.policies.arn(row)).document
    }


async def policy_delete(volume: Volume, policy: str, force: bool = False) -> dict[str, object]:
    """`force`: also one that is attached, or has several versions."""
    who = volume.identities
    row = who.policies.delete(who.policies.arn_of(policy), force=force)
    await volume.sync()
    return {"name": row.name}


async def policy_attach(volume: Volume, policy: str, kind: str, name: str) -> dict[str, object]:
    """`kind` is user, group or role, `name` which one."""
    return await _attachment(volume, policy, kind, name, attach=True)


async def policy_detach(volume: Volume, policy: str, kind: str, name: str) -> dict[str, object]:
    """What the policy allowed is allowed no longer."""
    return await _attachment(volume, policy, kind, name, attach=False)


async def _attachment(
    volume: Volume, policy: str, kind: str, name: str, *, attach: bool
) -> dict[str, object]:
    if kind not in _KINDS:
        raise InvalidRequest(f"a policy belongs to one of {', '.join(_KINDS)}, not to a {kind}")
    policies = volume.identities.policies
    arn = policies.arn_of(policy)
    if attach:
        policies.attach(kind, name, arn)
    else:
        policies.detach(kind, name, arn)
    await volume.sync()
    return _policy_form(volume.identities, policies.get(arn))


def _policy_form(who: Identities, row: Policy) -> dict[str, object]:
    arn = who.policies.arn(row)
    return {
        "name": row.name,
        "arn": arn,
        "policy_id": row.id,
        "version": row.current,
        "updated": time_text(row.updated_ns) if row.updated_ns else None,
        "attached_to": [
            {"kind": each.kind, "name": each.name} for each in who.policies.attachments(arn)
        ],
    }


# --- Issuers --------------------------------------------------------------------------------------


async def issuer_put(
    volume: Volume, url: str, clients: Sequence[str] = (), keys: str = ""
) -> dict[str, object]:
    """An OpenID Connect issuer: the audiences whose tokens are taken, and its public keys (a JSON
    Web Key Set). One that is there gets them in the place of its own."""
    providers = volume.identities.providers
    known = providers.arn_of(url)
    if known is None:
        row = providers.create(url, clients=clients, keys=keys)
    else:
        row = providers.update(known, clients=clients or None, keys=keys or None)
    await volume.sync()
    return _issuer_form(volume.identities, row)


async def issuer_list(volume: Volume) -> dict[str, object]:
    """All issuers."""
    who = volume.identities
    return {"issuers": [_issuer_form(who, row) for row in who.providers.all()]}


async def issuer_delete(volume: Volume, url: str) -> dict[str, object]:
    """Tokens of the issuer are taken no longer."""
    row = volume.identities.providers.delete(url)
    await volume.sync()
    return _issuer_form(volume.identities, row)


def _issuer_form(who: Identities, row: Provider) -> dict[str, object]:
    return {
        "url": row.url,
        "arn": who.providers.arn(row),
        "created": time_text(row.created_ns),
        "clients": list(row.clients),
        "keys": bool(row.keys),
    }
