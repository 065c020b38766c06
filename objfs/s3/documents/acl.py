"""Access control lists as XML: AccessControlPolicy."""

from objfs.auth.acl import Acl, Grant, checked_acl, checked_grantee
from objfs.s3 import xml_writer
from objfs.s3.documents.buckets import write_owner
from objfs.s3.errors import S3Error
from objfs.s3.xml_reader import Element, parse

_NAMES = {"CanonicalUser": ("ID", "id"), "Group": ("URI", "uri")}
_EMAIL = "AmazonCustomerByEmail"
_SCHEMA = "http://www.w3.org/2001/XMLSchema-instance"


def parse_acl(document: bytes, owner: str) -> Acl:
    """The list of an AccessControlPolicy for what belongs to `owner`. MalformedACLError,
    AclRefused; AccessDenied for one with another owner."""
    try:
        root = parse(document, "AccessControlPolicy")
        root.only("Owner", "AccessControlList")
    except S3Error as error:
        raise S3Error("MalformedACLError") from error
    listed, named = root.find("AccessControlList"), root.find("Owner")
    if listed is None or named is None:
        raise S3Error("MalformedACLError")
    if named.value("ID") not in {owner, None, ""}:
        raise S3Error("AccessDenied", "The owner of a list cannot be changed.")
    return checked_acl(owner, [_grant(each) for each in listed.all("Grant")])


def _grant(element: Element) -> Grant:
    grantee, permission = element.find("Grantee"), element.value("Permission")
    if grantee is None or permission is None:
        raise S3Error("MalformedACLError")
    kind = grantee.attributes.get("type")
    if kind == _EMAIL:
        return Grant(
            checked_grantee("emailaddress", grantee.value("EmailAddress") or ""), permission
        )
    if kind not in _NAMES:
        raise S3Error("MalformedACLError")
    name, short = _NAMES[kind]
    value = grantee.value(name)
    if value is None:
        raise S3Error("MalformedACLError")
    return Grant(checked_grantee(short, value), permission)


def write_acl(acl: Acl) -> bytes:
    """The AccessControlPolicy document."""
    return xml_writer.document(
        "AccessControlPolicy",
        write_owner("Owner", acl.owner),
        xml_writer.tree("AccessControlList", map(_write_grant, acl.grants)),
    )


def _write_grant(grant: Grant) -> str:
    kind = "Group" if grant.is_group else "CanonicalUser"
    return (
        f'<Grant><Grantee xmlns:xsi="{_SCHEMA}" xsi:type="{kind}">'
        f"{xml_writer.element(_NAMES[kind][0], grant.grantee)}</Grantee>"
        f"{xml_writer.element('Permission', grant.permission)}</Grant>"
    )
