"""Access control lists of buckets and objects: grants, canned lists, grants in headers, the
decision.

A grant gives one permission to one grantee: a user, by canonical id, or a group, by its URI.
`READ`, `WRITE`, `READ_ACP`, `WRITE_ACP` mean different actions for a bucket and for an object
(`_ACTIONS`); `FULL_CONTROL` means all of them. The owner may always read and change the list
itself.

Stored form: msgpack `[owner, [[grantee, permission], ...]]`, the grantee being a canonical id or a
group's letter, the permission a letter; see `_LETTERS`. No list is the canned list `private`.

Source: AWS, Access control list (ACL) overview. Grants by e-mail address are refused: users have
none.
"""

import re
from collections.abc import Mapping, Sequence

import msgspec

from objfs.auth.identity import Identity
from objfs.auth.policy import AclGrant
from objfs.base.errors import AclRefused, DataLost
from objfs.base.limits import ACL_GRANTS_MAX

ALL_USERS = "http://acs.amazonaws.com/groups/global/AllUsers"
AUTHENTICATED_USERS = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
LOG_DELIVERY = "http://acs.amazonaws.com/groups/s3/LogDelivery"

READ, WRITE, READ_ACP, WRITE_ACP, FULL_CONTROL = PERMISSIONS = (
    "READ",
    "WRITE",
    "READ_ACP",
    "WRITE_ACP",
    "FULL_CONTROL",
)
_LETTERS = {
    **{READ: "r", WRITE: "w", READ_ACP: "R", WRITE_ACP: "W", FULL_CONTROL: "F"},
    **{ALL_USERS: "*", AUTHENTICATED_USERS: "+", LOG_DELIVERY: "l"},
}
_WORDS = {letter: word for word, letter in _LETTERS.items()}
_CANONICAL = re.compile(r"[0-9a-f]{64}")

BUCKET, OBJECT = "bucket", "object"

# (whose list, permission) -> the actions that it allows.
_ACTIONS: dict[tuple[str, str], tuple[str, ...]] = {
    (BUCKET, READ): ("ListBucket", "ListBucketVersions", "ListBucketMultipartUploads"),
    (BUCKET, WRITE): (
        "PutObject",
        "DeleteObject",
        "AbortMultipartUpload",
        "ListMultipartUploadParts",
    ),
    (BUCKET, READ_ACP): ("GetBucketAcl",),
    (BUCKET, WRITE_ACP): ("PutBucketAcl",),
    (OBJECT, READ): (
        "GetObject",
        "GetObjectVersion",
        "GetObjectAttributes",
        "GetObjectVersionAttributes",
        "GetObjectTorrent",
    ),
    (OBJECT, READ_ACP): ("GetObjectAcl", "GetObjectVersionAcl"),
    (OBJECT, WRITE_ACP): ("PutObjectAcl", "PutObjectVersionAcl"),
}
_NEEDED = {
    f"s3:{action}".lower(): needed for needed, actions in _ACTIONS.items() for action in actions
}


class Grant(msgspec.Struct, frozen=True, order=True):
    """`permission` (one of PERMISSIONS) for a canonical id or the URI of a group."""

    grantee: str
    permission: str

    @property
    def is_group(self) -> bool:
        return self.grantee.startswith("http")


class Acl(msgspec.Struct, frozen=True):
    """Whose a bucket or object is, and what others may."""

    owner: str  # canonical id
    grants: tuple[Grant, ...]

    @property
    def is_public(self) -> bool:
        """Whether it gives anything to everybody, or to everybody with a name: what
        BlockPublicAcls means."""
        return any(grant.grantee in (ALL_USERS, AUTHENTICATED_USERS) for grant in self.grants)


# --- Stored form ----------------------------------------------------------------------------------


def encode_acl(acl: Acl) -> bytes:
    """The stored form."""
    grants = [
        (_LETTERS.get(grant.grantee, grant.grantee), _LETTERS[grant.permission])
        for grant in acl.grants
    ]
    return msgspec.msgpack.encode((acl.owner, grants))


def decode_acl(stored: bytes) -> Acl:
    """From the stored form. DataLost."""
    try:
        owner, grants = msgspec.msgpack.decode(stored, type=tuple[str, list[tuple[str, str]]])
        return Acl(
            owner, tuple(Grant(_WORDS.get(grantee, grantee), _WORDS[p]) for grantee, p in grants)
        )
    except (msgspec.MsgspecError, KeyError) as error:
        raise DataLost(f"an access control list is not understood: {error}") from error


# --- Making one -----------------------------------------------------------------------------------

# Canned list -> grants besides the owner's FULL_CONTROL; "" stands for the bucket's owner.
_CANNED: dict[str, tuple[tuple[str, str], ...]] = {
    "private": (),
    "public-read": ((ALL_USERS, READ),),
    "public-read-write": ((ALL_USERS, READ), (ALL_USERS, WRITE)),
    "authenticated-read": ((AUTHENTICATED_USERS, READ),),
    "aws-exec-read": (),  # for EC2, which is nowhere near
    "bucket-owner-read": (("", READ),),
    "bucket-owner-full-control": (("", FULL_CONTROL),),
    "log-delivery-write": ((LOG_DELIVERY, WRITE), (LOG_DELIVERY, READ_ACP)),
}
CANNED = tuple(_CANNED)


def private_acl(owner: str) -> Acl:
    """What a bucket or object has without a list."""
    return Acl(owner, (Grant(owner, FULL_CONTROL),))


def canned_acl(name: str, owner: str, bucket_owner: str) -> Acl:
    """The canned list `name` of a bucket or object of `owner`. AclRefused."""
    if name not in _CANNED:
        raise AclRefused(f"there is no canned ACL {name!r}")
    grants = [Grant(owner, FULL_CONTROL)]
    for grantee, permission in _CANNED[name]:
        grant = Grant(grantee or bucket_owner, permission)
        if grant.grantee != owner:
            grants.append(grant)
    return Acl(owner, tuple(grants))


_HEADERS = {
    "x-amz-grant-read": READ,
    "x-amz-grant-write": WRITE,
    "x-amz-grant-read-acp": READ_ACP,
    "x-amz-grant-write-acp": WRITE_ACP,
    "x-amz-grant-full-control": FULL_CONTROL,
}
CANNED_HEADER = "x-amz-acl"
_GRANTEE = re.compile(r'\s*(id|uri|emailaddress)\s*=\s*(?:"([^"]*)"|([^",\s]+))\s*', re.IGNORECASE)


def acl_of_headers(headers: Mapping[str, str], owner: str, bucket_owner: str) -> Acl | None:
    """The list that `x-amz-acl` or `x-amz-grant-*` headers ask for (names in lower case), None if
    there are none. AclRefused, also if there are both."""
    given = [name for name in _HEADERS if name in headers]
    if CANNED_HEADER in headers:
        if given:
            raise AclRefused(
                "Specifying both Canned ACLs and Header Grants is not allowed", "InvalidRequest"
            )
        return canned_acl(headers[CANNED_HEADER], owner, bucket_owner)
    if not given:
        return None
    grants = [
        Grant(grantee, _HEADERS[name]) for name in given for grantee in grantees_of(headers[name])
    ]
    return checked_acl(owner, grants)


def grantees_of(value: str) -> list[str]:
    """The grantees of one `x-amz-grant-*` header: `id="..."`, `uri="..."`, separated by commas.
    AclRefused."""
    found = []
    for part in _split_commas(value):
        match = _GRANTEE.fullmatch(part)
        if match is None:
            raise AclRefused("Argument format not recognized")
        name = match[2] if match[2] is not None else match[3]
        found.append(checked_grantee(match[1].lower(), name))
    return found


def _split_commas(value: str) -> list[str]:
    return re.findall(r'(?:[^,"]|"[^"]*"?)+', value)


def checked_grantee(kind: str, name: str) -> str:
    """A grantee by what names it: `id`, `uri` or `emailaddress`. AclRefused."""
    if kind == "emailaddress":
        raise AclRefused(
            "The e-mail address you provided does not match any account on record.",
            "UnresolvableGrantByEmailAddress",
        )
    if kind == "uri":
        if name not in (ALL_USERS, AUTHENTICATED_USERS, LOG_DELIVERY):
            raise AclRefused("Invalid group uri")
        return name
    if not _CANONICAL.fullmatch(name):
        raise AclRefused("Invalid id")
    return name


def checked_acl(owner: str, grants: Sequence[Grant]) -> Acl:
    """A list of these grants. AclRefused for an unknown permission, or too many."""
    if len(grants) > ACL_GRANTS_MAX:
        raise AclRefused(
            f"an access control list has at most {ACL_GRANTS_MAX} grants", "MalformedACLError"
        )
    for grant in grants:
        if grant.permission not in PERMISSIONS:
            raise AclRefused(f"there is no permission {grant.permission!r}", "MalformedACLError")
    return Acl(owner, tuple(dict.fromkeys(grants)))


# --- The decision ---------------------------------------------------------------------------------


def list_needed(action: str) -> str | None:
    """Whose access control list can allow an action: BUCKET, OBJECT, or None: no list can."""
    needed = _NEEDED.get(action.lower())
    return needed[0] if needed is not None else None


def acl_grant(
    action: str, identity: Identity | None, acl: Acl, *, ignore_public: bool = False
) -> AclGrant:
    """What a list says about an action, for `decide`. The list is the bucket's or the object's, as
    `list_needed` says. `ignore_public`: the setting IgnorePublicAcls of the bucket."""
    needed = _NEEDED.get(action.lower())
    if needed is None:
        return AclGrant.NONE
    _, permission = needed
    found = {
        grant.grantee for grant in acl.grants if grant.permission in (permission, FULL_CONTROL)
    }
    if identity is not None:
        if identity.canonical == acl.owner:
            always = permission in (READ_ACP, WRITE_ACP)
            if always or identity.canonical in found:
                return AclGrant.OWNER
        elif identity.canonical in found:
            return AclGrant.NAMED
    if ignore_public and acl.is_public:
        return AclGrant.NONE
    everybody = ALL_USERS in found or (identity is not None and AUTHENTICATED_USERS in found)
    return AclGrant.GROUP if everybody else AclGrant.NONE
