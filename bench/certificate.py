"""Certificates for a server on 127.0.0.1, made where they are needed: by the bench and by tests."""

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_ADDRESS = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])


def make_certificate(file: Path, name: str = "objfs") -> Path:
    """A self-signed certificate of 127.0.0.1 and its key, in one file."""
    key, called = _key(), _name(name)
    made = _builder(called, called, key).add_extension(_ADDRESS, critical=False)
    file.write_bytes(_private(key) + _pem(made.sign(key, hashes.SHA256())))
    return file


def make_signed_certificate(file: Path, authority: Path) -> Path:
    """A certificate of 127.0.0.1 and its key, in one file, signed by an authority that is made for
    it; `authority` becomes that authority's certificate, which clients have to trust."""
    root, key = _key(), _key()
    issuer = _name("objfs test authority")
    signed_by = x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key())
    top = (
        _builder(issuer, issuer, root)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(root.public_key()), critical=False)
        .sign(root, hashes.SHA256())
    )
    leaf = (
        _builder(issuer, _name("objfs"), key)
        .add_extension(_ADDRESS, critical=False)
        .add_extension(signed_by, critical=False)
        .sign(root, hashes.SHA256())
    )
    authority.write_bytes(_pem(top))
    file.write_bytes(_private(key) + _pem(leaf))
    return file


def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def _builder(
    issuer: x509.Name, subject: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    """A certificate from yesterday until tomorrow."""
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    serial = x509.random_serial_number()
    return x509.CertificateBuilder(issuer, subject, key.public_key(), serial, now - day, now + day)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
