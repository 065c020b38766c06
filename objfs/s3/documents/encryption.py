"""The default encryption of a bucket: AES256 or none. There is no KMS here."""

from objfs.s3 import xml_writer
from objfs.s3.documents.stored import Document
from objfs.s3.errors import S3Error
from objfs.s3.xml_reader import malformed, parse

AES256 = "AES256"
KMS = ("aws:kms", "aws:kms:dsse")


class EncryptionConfiguration(Document, frozen=True):
    """What objects without encryption headers get."""

    algorithm: str
    bucket_key: bool = False


def check_algorithm(algorithm: str) -> str:
    """AES256. NotImplemented for a KMS's, InvalidEncryptionAlgorithmError for anything else."""
    if algorithm in KMS:
        raise S3Error(
            "NotImplemented", f"{algorithm} is not implemented: there is no key management here."
        )
    if algorithm != AES256:
        raise S3Error("InvalidEncryptionAlgorithmError", ArgumentValue=algorithm)
    return algorithm


def parse_encryption(document: bytes) -> EncryptionConfiguration:
    """A ServerSideEncryptionConfiguration. MalformedXML, InvalidArgument, NotImplemented."""
    root = parse(document, "ServerSideEncryptionConfiguration")
    root.only("Rule")
    if len(root.children) != 1:
        raise malformed()
    rule = root.children[0]
    rule.only("ApplyServerSideEncryptionByDefault", "BucketKeyEnabled", "BlockedEncryptionTypes")
    default = rule.find("ApplyServerSideEncryptionByDefault")
    if default is None:
        raise malformed()
    default.only("SSEAlgorithm", "KMSMasterKeyID")
    algorithm = default.needed("SSEAlgorithm")
    if algorithm not in (AES256, *KMS):
        raise malformed()
    check_algorithm(algorithm)
    if default.value("KMSMasterKeyID") is not None:
        raise S3Error(
            "InvalidArgument",
            "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or "
            "aws:kms:dsse",
            ArgumentName="ApplyServerSideEncryptionByDefault",
        )
    return EncryptionConfiguration(algorithm, rule.flag("BucketKeyEnabled") or False)


def write_encryption(configuration: EncryptionConfiguration) -> bytes:
    """The ServerSideEncryptionConfiguration document."""
    default = xml_writer.tree(
        "ApplyServerSideEncryptionByDefault",
        xml_writer.element("SSEAlgorithm", configuration.algorithm),
    )
    bucket_key = xml_writer.element("BucketKeyEnabled", configuration.bucket_key)
    return xml_writer.document(
        "ServerSideEncryptionConfiguration", xml_writer.tree("Rule", default, bucket_key)
    )
