"""PublicAccessBlock and OwnershipControls: who may open a bucket to others, and to whom objects
belong."""

from objfs.s3 import xml_writer
from objfs.s3.documents.stored import Document
from objfs.s3.xml_reader import malformed, parse

OWNERSHIPS = ("BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter")
_FLAGS = {
    "BlockPublicAcls": "block_acls",
    "IgnorePublicAcls": "ignore_acls",
    "BlockPublicPolicy": "block_policy",
    "RestrictPublicBuckets": "restrict",
}


class PublicAccess(Document, frozen=True):
    """The four switches of a PublicAccessBlockConfiguration."""

    block_acls: bool = False
    ignore_acls: bool = False
    block_policy: bool = False
    restrict: bool = False


def parse_public_access(document: bytes) -> PublicAccess:
    """A PublicAccessBlockConfiguration; what is not there is off. MalformedXML."""
    root = parse(document, "PublicAccessBlockConfiguration")
    root.only(*_FLAGS)
    root.at_most_one(*_FLAGS)
    return PublicAccess(**{field: root.flag(name) or False for name, field in _FLAGS.items()})


def write_public_access(configuration: PublicAccess) -> bytes:
    """The PublicAccessBlockConfiguration document."""
    return xml_writer.document(
        "PublicAccessBlockConfiguration",
        (
            xml_writer.element(name, bool(getattr(configuration, field)))
            for name, field in _FLAGS.items()
        ),
    )


def parse_ownership(document: bytes) -> str:
    """What an OwnershipControls document sets: one of OWNERSHIPS. MalformedXML."""
    root = parse(document, "OwnershipControls")
    root.only("Rule")
    if len(root.children) != 1:
        raise malformed()
    ownership = root.children[0].needed("ObjectOwnership")
    if ownership not in OWNERSHIPS:
        raise malformed()
    return ownership


def write_ownership(ownership: str) -> bytes:
    """The OwnershipControls document."""
    return xml_writer.document(
        "OwnershipControls",
        xml_writer.tree("Rule", xml_writer.element("ObjectOwnership", ownership)),
    )
