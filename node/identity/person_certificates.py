"""Certificates of persons: signed by an authority that this site trusts for that (RFC 5280)."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from node.domain.clock import Clock
from node.domain.errors import BadSetting, LoginRefused
from node.domain.ids import SiteId
from node.domain.principal import Principal
from node.identity.persons import of_certificate

SETTING: Final = "web.person_ca"
_PERSON: Final = ExtensionPolicy.permit_all().require_present(
    x509.SubjectAlternativeName, Criticality.AGNOSTIC, None
)
"""A person's certificate names the person; authorities have to be as the Web wants them."""


class PersonCertificates:
    """Knows persons by certificates."""

    def __init__(self, authorities: Path | None, site: SiteId, clock: Clock) -> None:
        """Certificates for a site.

        Args:
            authorities: a PEM file with who signs them, and those between; None where nobody does.
            site: this site.
            clock: microseconds since 1970.

        Raises:
            BadSetting: the file holds no certificate.
        """
        self._store = _store(authorities) if authorities else None
        self._site = site
        self._clock = clock

    def person(self, der: bytes) -> Principal:
        """Whom a certificate names that was shown in a TLS handshake, which has proved its key.

        Raises:
            LoginRefused: nobody who is trusted here signed it, or not for now, or it names no person.
        """
        certificate = self._trusted(der)
        if certificate is None:
            raise LoginRefused(
                "the certificate was not signed by an authority for persons, or is out of time"
            )
        return of_certificate(certificate, self._site)

    def is_one(self, der: bytes) -> bool:
        """Whether a certificate is that of a person, and not of a device."""
        return self._trusted(der) is not None

    def _trusted(self, der: bytes) -> x509.Certificate | None:
        if self._store is None:
            return None
        now = datetime.fromtimestamp(self._clock() / 1_000_000, UTC)
        policies = PolicyBuilder().store(self._store).time(now)
        policies = policies.extension_policies(
            ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=_PERSON
        )
        try:
            certificate = x509.load_der_x509_certificate(der)
            policies.build_client_verifier().verify(certificate, [])
        except (VerificationError, ValueError):
            return None
        return certificate


def _store(path: Path) -> Store:
    try:
        return Store(x509.load_pem_x509_certificates(path.read_bytes()))
    except OSError as error:
        raise BadSetting(SETTING, path, f"cannot be read ({error.strerror})") from None
    except ValueError:
        raise BadSetting(SETTING, path, "holds no PEM certificate") from None
