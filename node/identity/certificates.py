"""Certificates of nodes: read once, known by their fingerprint, and never trusted for who signed them."""

from __future__ import annotations

import base64
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from node.domain.errors import Expired, Malformed
from node.identity.xmlnames import instant

MAX_CERTIFICATE: Final = 8 * 1024
"""Bytes of a certificate (PEM) that is read at all."""

_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A certificate as the node uses it: a name for a public key, with the time in which it may be used."""

    pem: str
    base64: str
    """The DER in base64 on one line, as XML carries it."""
    fingerprint: str
    """SHA-256 of the DER, in hexadecimal."""
    name: str
    """The common name of its subject; empty if it has none."""
    not_before: int
    not_after: int
    """Microseconds since 1970."""
    public: ec.EllipticCurvePublicKey | rsa.RSAPublicKey = field(repr=False, compare=False)

    def days_left(self, now: int) -> int:
        """Whole days until it expires; negative when it has."""
        return (self.not_after - now) // (86_400 * 1_000_000)

    def demand_current(self, now: int, skew: int = 0) -> None:
        """Insist on the time in which it may be used.

        Raises:
            Expired: `now` is more than `skew` microseconds outside.
        """
        if not self.not_before - skew <= now <= self.not_after + skew:
            raise Expired(
                f"the certificate {self.fingerprint[:16]} of {self.name} is valid from "
                f"{instant(self.not_before)} to {instant(self.not_after)}"
            )


@lru_cache(maxsize=1024)
def known(pem: str) -> Certificate:
    """`read` for certificates that are asked for again and again, because this node pinned them."""
    return read(pem)


def read(pem: str) -> Certificate:
    """Read a certificate.

    Raises:
        Malformed: it is none, or its key is too weak or of an unknown kind.
    """
    if len(pem) > MAX_CERTIFICATE:
        raise Malformed("the certificate is too long")
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        public = certificate.public_key()
        name = _common_name(certificate)
    except Exception:  # of many kinds, and none of them says more
        raise Malformed("the text is no PEM certificate") from None
    if not (
        (isinstance(public, ec.EllipticCurvePublicKey) and isinstance(public.curve, _CURVES))
        or (isinstance(public, rsa.RSAPublicKey) and 2048 <= public.key_size <= 8192)
    ):
        raise Malformed(
            "the key of the certificate is neither EC P-256 to P-521 nor RSA of 2048 to 8192 bits"
        )
    der = certificate.public_bytes(Encoding.DER)
    return Certificate(
        pem=certificate.public_bytes(Encoding.PEM).decode(),
        base64=base64.b64encode(der).decode(),
        fingerprint=certificate.fingerprint(SHA256()).hex(),
        name=name,
        not_before=_microseconds(certificate.not_valid_before_utc),
        not_after=_microseconds(certificate.not_valid_after_utc),
        public=public,
    )


def from_base64(text: str) -> Certificate:
    """Read a certificate as XML carries it: the DER in base64, in lines or not.

    Raises:
        Malformed: it is none, or its key is too weak or of an unknown kind.
    """
    if len(text) > MAX_CERTIFICATE:
        raise Malformed("the certificate is too long")
    try:
        der = base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        raise Malformed("the text is no certificate in base64") from None
    return read(ssl.DER_cert_to_PEM_cert(der))


def _common_name(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)
