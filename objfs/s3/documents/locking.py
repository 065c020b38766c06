"""Object lock: the configuration of a bucket, the retention and the legal hold of a version."""

from objfs.base.limits import LOCK_DAYS_MAX, LOCK_YEARS_MAX
from objfs.s3 import xml_writer
from objfs.s3.dates import iso_date, parse_iso_date
from objfs.s3.documents.stored import Document
from objfs.s3.errors import S3Error
from objfs.s3.xml_reader import malformed, parse
from objfs.volume.object_lock import LockRule
from objfs.volume.object_types import LockRetention

MODES = ("GOVERNANCE", "COMPLIANCE")
_YEAR_DAYS = 365


class LockConfiguration(Document, frozen=True):
    """What new versions of a bucket with object lock get: nothing without a mode."""

    mode: str | None = None
    days: int | None = None
    years: int | None = None

    @property
    def rule(self) -> LockRule | None:
        """The same for the volume."""
        if self.mode is None:
            return None
        return LockRule(self.mode, self.days or (self.years or 0) * _YEAR_DAYS)

    def retention(self, now_ns: int) -> LockRetention | None:
        """The retention of a version that is made now."""
        return None if self.rule is None else self.rule.at(now_ns)


def parse_lock(document: bytes) -> LockConfiguration:
    """An ObjectLockConfiguration. MalformedXML, InvalidArgument."""
    root = parse(document, "ObjectLockConfiguration")
    root.only("ObjectLockEnabled", "Rule")
    root.at_most_one("ObjectLockEnabled", "Rule")
    if root.needed("ObjectLockEnabled") != "Enabled":
        raise malformed()
    rule = root.find("Rule")
    if rule is None:
        return LockConfiguration()
    default = rule.find("DefaultRetention")
    if default is None:
        raise malformed()
    default.only("Mode", "Days", "Years")
    mode, days, years = default.needed("Mode"), default.number("Days"), default.number("Years")
    if mode not in MODES or (days is None) is (years is None):
        raise malformed()
    _check_period(days, LOCK_DAYS_MAX)
    _check_period(years, LOCK_YEARS_MAX)
    return LockConfiguration(mode, days, years)


def _check_period(number: int | None, limit: int) -> None:
    if number is None:
        return
    if number <= 0:
        raise S3Error(
            "InvalidArgument", "Default retention period must be a positive integer value."
        )
    if number > limit:
        raise S3Error("InvalidArgument", f"Default retention period must not exceed {limit}.")


def write_lock(configuration: LockConfiguration) -> bytes:
    """The ObjectLockConfiguration document."""
    rule = ""
    if configuration.mode is not None:
        default = xml_writer.tree(
            "DefaultRetention",
            xml_writer.element("Mode", configuration.mode),
            xml_writer.element("Days", configuration.days),
            xml_writer.element("Years", configuration.years),
        )
        rule = xml_writer.tree("Rule", default)
    enabled = xml_writer.element("ObjectLockEnabled", "Enabled")
    return xml_writer.document("ObjectLockConfiguration", enabled, rule)


def parse_retention(document: bytes, now_ns: int) -> LockRetention | None:
    """The retention that a Retention document asks for; None: none at all. MalformedXML,
    InvalidArgument."""
    root = parse(document, "Retention")
    root.only("Mode", "RetainUntilDate")
    root.at_most_one("Mode", "RetainUntilDate")
    if not root.children:
        return None
    mode, until_ns = root.needed("Mode"), parse_iso_date(root.needed("RetainUntilDate"))
    if mode not in MODES or until_ns is None:
        raise malformed()
    return check_retention(mode, until_ns, now_ns)


def check_retention(mode: str, until_ns: int, now_ns: int) -> LockRetention:
    """The retention, if its date has not come. InvalidArgument."""
    if until_ns <= now_ns:
        raise S3Error("InvalidArgument", "The retain until date must be in the future!")
    return LockRetention(mode, until_ns)


def write_retention(retention: LockRetention) -> bytes:
    """The Retention document."""
    return xml_writer.document(
        "Retention",
        xml_writer.element("Mode", retention.mode),
        xml_writer.element("RetainUntilDate", iso_date(retention.until_ns)),
    )


def parse_legal_hold(document: bytes) -> bool:
    """Whether a LegalHold document sets a hold. MalformedXML."""
    root = parse(document, "LegalHold")
    root.only("Status")
    return parse_hold_status(root.needed("Status"))


def parse_hold_status(status: str) -> bool:
    """ON or OFF. MalformedXML."""
    if status not in {"ON", "OFF"}:
        raise malformed()
    return status == "ON"


def write_legal_hold(hold: bool) -> bytes:
    """The LegalHold document."""
    return xml_writer.document("LegalHold", xml_writer.element("Status", "ON" if hold else "OFF"))
