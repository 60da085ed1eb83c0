"""TLS for the DICOM door: mutual, by BCP 195 (PS3.15 B.12), trusting the devices' own certificates."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Final, Protocol

CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Cipher suites of TLS 1.2 with forward secrecy and authenticated encryption (RFC 9325 4.2)."""


class Certificates(Protocol):
    """The certificates of the devices on the list."""

    def version(self) -> int:
        """A number that changes when the list does."""

    def certificates(self) -> list[str]:
        """The certificates, as PEM."""


class Contexts:
    """The TLS context of the door, built again when the list of devices has changed."""

    def __init__(
        self, devices: Certificates, *, certificate: Path, private_key: Path, authorities: Sequence[Path]
    ) -> None:
        self._devices = devices
        self._certificate = certificate
        self._private_key = private_key
        self._authorities = authorities
        self._built: tuple[int, ssl.SSLContext] | None = None
        self._lock = Lock()

    def current(self) -> ssl.SSLContext:
        """The context that trusts the devices that are on the list now."""
        version = self._devices.version()
        with self._lock:
            if self._built is None or self._built[0] != version:
                self._built = version, self._build()
            return self._built[1]

    def _build(self) -> ssl.SSLContext:
        """A context that demands a certificate and trusts those of the devices, self-signed as they are."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(CIPHERS)
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
        context.load_cert_chain(self._certificate, self._private_key)
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        anchors = "\n".join(self._devices.certificates())
        if anchors:
            context.load_verify_locations(cadata=anchors)
        for path in self._authorities:
            context.load_verify_locations(cafile=path)
        return context
