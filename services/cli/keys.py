"""The key and certificate of a new site."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from node.domain.ids import AETitle, SiteId

VALID = timedelta(days=825)


def make(directory: Path, *, site: SiteId, ae_title: AETitle, host: str, now: datetime) -> None:
    """Write a private key (EC P-256) and a self-signed certificate for the site into `directory`."""
    directory.mkdir(mode=0o700)
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(directory / "site.key", pem, 0o600)
    certificate = self_signed(key, site=site, ae_title=ae_title, host=host, now=now)
    _write(directory / "site.crt", certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def self_signed(
    key: ec.EllipticCurvePrivateKey, *, site: SiteId, ae_title: AETitle, host: str, now: datetime
) -> x509.Certificate:
    """A certificate that is good for both ends of TLS, since the node calls devices back."""
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, f"Konzilium site {site}"),
            x509.NameAttribute(NameOID.COMMON_NAME, ae_title),
        ]
    )
    hosts = dict.fromkeys((site, host, "localhost"))
    names = x509.SubjectAlternativeName([x509.DNSName(text) for text in hosts])
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + VALID)
        .add_extension(names, critical=False)
        .add_extension(usage, critical=False)
        .add_extension(signing_only(), critical=True)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def signing_only() -> x509.KeyUsage:
    """The key signs handshakes; it neither encrypts nor vouches for other keys."""
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write a new file that nobody could read meanwhile."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
