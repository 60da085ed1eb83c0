"""The certificate that a portal shows until the hospital gives it one: signed by itself, renewed in time.

Browsers warn about it, and a person can compare its fingerprint. It names the host of the portal's address,
so that a machine which was told to trust it does (RFC 9525).
"""

from __future__ import annotations

import ipaddress
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from node.domain.errors import UnusableKey
from node.identity.files import write_whole

KEY, CERTIFICATE = "web.key", "web.crt"
VALID: Final = timedelta(days=397)
"""As long as browsers believe a certificate at the most."""
RENEWED: Final = timedelta(days=30)
"""How long before its end it is made anew."""
_EARLY: Final = timedelta(hours=1)
_LONGEST_NAME: Final = 64


def make(folder: Path, *, host: str, now: int) -> tuple[Path, Path]:
    """See that there is a certificate for the host which is valid for some time; the files of it and its key.

    Args:
        folder: the folder for keys.
        host: the name or address by which browsers find the portal.
        now: microseconds since 1970.

    Raises:
        UnusableKey: they cannot be written.
    """
    certificate, key = folder / CERTIFICATE, folder / KEY
    moment = datetime.fromtimestamp(now / 1_000_000, UTC)
    if not _is_good(certificate, key, host, moment):
        private = ec.generate_private_key(ec.SECP256R1())
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            write_whole(key, _pem_of(private), 0o600)
            write_whole(certificate, _signed(private, host, moment), 0o644)
        except OSError as error:
            raise UnusableKey(f"{key}: {error.strerror}") from error
    return certificate, key


def _is_good(certificate: Path, key: Path, host: str, now: datetime) -> bool:
    """Whether both files are there, belong together, and are for this host and long enough from now."""
    with suppress(OSError, ValueError, TypeError, x509.ExtensionNotFound):
        known = x509.load_pem_x509_certificate(certificate.read_bytes())
        private = serialization.load_pem_private_key(key.read_bytes(), None)
        names = known.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return (
            private.public_key() == known.public_key()
            and _name(host) in list(names)
            and known.not_valid_before_utc <= now < known.not_valid_after_utc - RENEWED
        )
    return False


def _signed(private: ec.EllipticCurvePrivateKey, host: str, now: datetime) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:_LONGEST_NAME])])
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLY)
        .not_valid_after(now + VALID)
        .add_extension(x509.SubjectAlternativeName([_name(host)]), critical=False)
        .add_extension(usage, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    return builder.sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return x509.DNSName(host)


def _pem_of(private: ec.EllipticCurvePrivateKey) -> bytes:
    return private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
