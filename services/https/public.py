"""TLS for people: a certificate that browsers believe, and none asked of them unless persons have some."""

from __future__ import annotations

import ssl
from collections.abc import Hashable
from pathlib import Path

from services.https.tls import Rebuilt, Secured, harden, stamp


class PublicContexts:
    """The server's TLS context for browsers, built again when a file of it was replaced."""

    def __init__(self, certificate: Path, private_key: Path, authorities: Path | None = None) -> None:
        """A context of these files.

        Args:
            certificate: of the server, with what it is signed by (PEM).
            private_key: of the certificate.
            authorities: those that sign the certificates of persons; None asks nobody for one.
        """
        self._certificate = certificate
        self._private_key = private_key
        self._authorities = authorities
        self.current = Rebuilt(self._version, self._build).current

    def _version(self) -> Hashable:
        files = (self._certificate, self._private_key, self._authorities)
        return tuple(stamp(file) for file in files if file is not None)

    def _build(self, version: Hashable) -> Secured:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        harden(context)
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
        context.load_cert_chain(self._certificate, self._private_key)
        if self._authorities is not None:
            context.load_verify_locations(self._authorities)
            context.verify_mode = ssl.CERT_OPTIONAL
            context.options |= ssl.OP_NO_TICKET
            context.num_tickets = 0  # a session that is resumed would skip the look at the certificate
        return Secured(version=version, context=context, fingerprints=frozenset())
