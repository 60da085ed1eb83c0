"""An authority for tests that signs certificates of persons, and what it gets wrong on demand."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

UPN = ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH


def upn(name: str) -> x509.OtherName:
    """A user principal name, as a DER UTF8String."""
    text = name.encode()
    return x509.OtherName(UPN, bytes((0x0C, len(text))) + text)


def mail(address: str) -> x509.RFC822Name:
    """A mail address."""
    return x509.RFC822Name(address)


def _name(common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Hospital Brno"),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


@dataclass
class Authority:
    """Signs certificates of persons."""

    name: str = "People CA"
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    now: datetime.datetime = field(default_factory=lambda: datetime.datetime.now(datetime.UTC))

    def write(self, path: Path) -> Path:
        """Its own certificate, as a PEM file."""
        path.write_bytes(self.certificate().public_bytes(Encoding.PEM))
        return path

    def certificate(self) -> x509.Certificate:
        """Its own certificate."""
        identifier = x509.SubjectKeyIdentifier.from_public_key(self.key.public_key())
        usage = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        return (
            self._builder(_name(self.name), self.key, days=30)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(identifier, critical=False)
            .sign(self.key, hashes.SHA256())
        )

    def sign(
        self,
        key: ec.EllipticCurvePrivateKey,
        names: Sequence[x509.GeneralName],
        *,
        usage: ObjectIdentifier | None = CLIENT,
        days: int = 10,
        common: str = "Jana Test",
    ) -> x509.Certificate:
        """The certificate of a person; one whose days are negative has ended."""
        builder = self._builder(_name(common), key, days=days)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if usage:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def files(self, folder: Path, names: Sequence[x509.GeneralName]) -> tuple[Path, Path]:
        """A certificate of a person and its key, as PEM files."""
        key = ec.generate_private_key(ec.SECP256R1())
        paths = folder / "person.crt", folder / "person.key"
        paths[0].write_bytes(self.sign(key, names).public_bytes(Encoding.PEM))
        paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return paths

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, days: int
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(_name(self.name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.now - datetime.timedelta(days=20))
            .not_valid_after(self.now + datetime.timedelta(days=days))
        )
