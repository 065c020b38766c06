"""PublicAccessBlock and OwnershipControls as XML: who may open a bucket to others, and to whom
objects belong (`objfs/auth/ownership.py` says what they mean)."""

from objfs.auth.ownership import OWNERSHIPS, Ownership, PublicAccessBlock
from objfs.s3 import xml_writer
from objfs.s3.errors import invalid_argument
from objfs.s3.xml_reader import malformed, parse

_FLAGS = {
    "BlockPublicAcls": "block_public_acls",
    "IgnorePublicAcls": "ignore_public_acls",
    "BlockPublicPolicy": "block_public_policy",
    "RestrictPublicBuckets": "restrict_public_buckets",
}
OWNERSHIP_HEADER = "x-amz-object-ownership"


def parse_public_access(document: bytes) -> PublicAccessBlock:
    """A PublicAccessBlockConfiguration; what is not there is off. MalformedXML."""
    root = parse(document, "PublicAccessBlockConfiguration")
    root.only(*_FLAGS)
    root.at_most_one(*_FLAGS)
    return PublicAccessBlock(**{field: root.flag(name) or False for name, field in _FLAGS.items()})


def write_public_access(block: PublicAccessBlock) -> bytes:
    """The PublicAccessBlockConfiguration document."""
    return xml_writer.document(
        "PublicAccessBlockConfiguration",
        (xml_writer.element(name, bool(getattr(block, field))) for name, field in _FLAGS.items()),
    )


def _known(text: str | None) -> Ownership | None:
    return next((each for each in OWNERSHIPS if each == text), None)


def parse_ownership(document: bytes) -> Ownership:
    """What an OwnershipControls document sets. MalformedXML."""
    root = parse(document, "OwnershipControls")
    root.only("Rule")
    if len(root.children) != 1:
        raise malformed()
    ownership = _known(root.children[0].needed("ObjectOwnership"))
    if ownership is None:
        raise malformed()
    return ownership


def ownership_header(value: str | None) -> Ownership | None:
    """What the header of a CreateBucket sets. InvalidArgument."""
    found = _known(value)
    if value is not None and found is None:
        raise invalid_argument("Invalid x-amz-object-ownership header", OWNERSHIP_HEADER, value)
    return found


def write_ownership(ownership: str) -> bytes:
    """The OwnershipControls document."""
    return xml_writer.document(
        "OwnershipControls",
        xml_writer.tree("Rule", xml_writer.element("ObjectOwnership", ownership)),
    )
