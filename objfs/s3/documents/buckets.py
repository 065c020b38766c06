"""Small documents of buckets: creation, location, versioning, the list of buckets, and the ones
that this server knows in one form only (logging, notification, payment, acceleration)."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from objfs.base.limits import BUCKET_TAGS_MAX
from objfs.s3 import xml_writer
from objfs.s3.dates import iso_date
from objfs.s3.documents.tagging import check_tags, read_tag
from objfs.s3.errors import S3Error
from objfs.s3.xml_reader import malformed, parse

DEFAULT_REGION = "us-east-1"


class Creation(NamedTuple):
    """What a CreateBucketConfiguration asks for."""

    region: str | None = None
    tags: Mapping[str, str] = MappingProxyType({})


def parse_creation(document: bytes) -> Creation:
    """A CreateBucketConfiguration; nothing at all asks for nothing. MalformedXML, InvalidTag,
    NotImplemented for buckets of other kinds."""
    if not document.strip():
        return Creation()
    root = parse(document, "CreateBucketConfiguration")
    root.only("LocationConstraint", "Tags", "Location", "Bucket")
    if root.find("Location") is not None or root.find("Bucket") is not None:
        raise S3Error("NotImplemented", "Directory buckets are not implemented.")
    tags = root.find("Tags")
    pairs = [read_tag(each) for each in tags.children] if tags is not None else []
    return Creation(root.value("LocationConstraint"), check_tags(pairs, BUCKET_TAGS_MAX))


def check_region(asked: str | None, region: str) -> None:
    """Whether a bucket may be made here for `asked`; nothing asked means here.
    InvalidLocationConstraint."""
    here = {None, "", region, "EU"} if region == "eu-west-1" else {None, "", region}
    if asked not in here:
        raise S3Error("InvalidLocationConstraint", LocationConstraint=asked or "")


def write_location(region: str) -> bytes:
    """The LocationConstraint document; empty for us-east-1, as S3 has it."""
    inside = "" if region == DEFAULT_REGION else xml_writer.escape(region)
    return xml_writer.document("LocationConstraint", inside)


def parse_versioning(document: bytes) -> str:
    """What a VersioningConfiguration sets: "on" or "suspended". MalformedXML,
    IllegalVersioningConfigurationException, NotImplemented for MFA delete."""
    root = parse(document, "VersioningConfiguration")
    root.only("Status", "MfaDelete")
    root.at_most_one("Status", "MfaDelete")
    mfa = root.value("MfaDelete")
    if mfa not in {None, "Enabled", "Disabled"}:
        raise malformed()
    if mfa == "Enabled":
        raise S3Error("NotImplemented", "MfaDelete is not implemented.")
    status = root.value("Status")
    if status is None:
        raise S3Error(
            "IllegalVersioningConfigurationException", "The Versioning element must be specified"
        )
    if status not in {"Enabled", "Suspended"}:
        raise malformed()
    return "on" if status == "Enabled" else "suspended"


def write_versioning(versioning: str) -> bytes:
    """The VersioningConfiguration document of a bucket that is "on", "suspended" or "off"."""
    status = {"on": "Enabled", "suspended": "Suspended"}.get(versioning)
    return xml_writer.document("VersioningConfiguration", xml_writer.element("Status", status))


class ListedBucket(NamedTuple):
    """A bucket in the list of them."""

    name: str
    created_ns: int


def write_owner(name: str, owner: str | None, display: str = "") -> str:
    """An element with an Owner's ID in it; nothing without an owner."""
    if owner is None:
        return ""
    return xml_writer.tree(
        name,
        xml_writer.element("ID", owner),
        xml_writer.element("DisplayName", display or None),
    )


def write_bucket_list(
    buckets: Iterable[ListedBucket],
    owner: str,
    *,
    display: str = "",
    region: str | None = None,
    prefix: str | None = None,
    token: str | None = None,
) -> bytes:
    """The ListAllMyBucketsResult document. `region` is shown in pages only, as S3 has it;
    `token` continues the list."""
    listed = (
        xml_writer.tree(
            "Bucket",
            xml_writer.element("Name", bucket.name),
            xml_writer.element("CreationDate", iso_date(bucket.created_ns)),
            xml_writer.element("BucketRegion", region),
        )
        for bucket in buckets
    )
    return xml_writer.document(
        "ListAllMyBucketsResult",
        write_owner("Owner", owner, display),
        xml_writer.tree("Buckets", listed),
        xml_writer.element("ContinuationToken", token),
        xml_writer.element("Prefix", prefix),
    )


def write_policy_status(public: bool) -> bytes:
    """The PolicyStatus document."""
    return xml_writer.document("PolicyStatus", xml_writer.element("IsPublic", public))


def check_logging_off(document: bytes) -> None:
    """A BucketLoggingStatus that turns logging off. MalformedXML, NotImplemented."""
    root = parse(document, "BucketLoggingStatus")
    root.only("LoggingEnabled")
    if root.children:
        raise S3Error(
            "NotImplemented",
            "Logging into a bucket is not implemented: the server's audit log has every request.",
        )


def check_notification_empty(document: bytes) -> None:
    """A NotificationConfiguration that asks for nothing. MalformedXML, NotImplemented."""
    if parse(document, "NotificationConfiguration").children:
        raise S3Error(
            "NotImplemented", "Notifications are not implemented: only an empty configuration."
        )


def check_payer(document: bytes) -> None:
    """A RequestPaymentConfiguration. MalformedXML, NotImplemented for requesters that pay."""
    payer = parse(document, "RequestPaymentConfiguration").needed("Payer")
    if payer == "Requester":
        raise S3Error("NotImplemented", "Requester Pays is not implemented.")
    if payer != "BucketOwner":
        raise malformed()


def check_not_accelerated(document: bytes) -> None:
    """An AccelerateConfiguration. MalformedXML, NotImplemented for Enabled."""
    status = parse(document, "AccelerateConfiguration").needed("Status")
    if status == "Enabled":
        raise S3Error("NotImplemented", "Transfer acceleration is not implemented.")
    if status != "Suspended":
        raise malformed()


def write_empty(name: str) -> bytes:
    """A document that says that nothing is configured."""
    return xml_writer.document(name)


def write_payer() -> bytes:
    """The RequestPaymentConfiguration document: the bucket's owner."""
    payer = xml_writer.element("Payer", "BucketOwner")
    return xml_writer.document("RequestPaymentConfiguration", payer)
