"""TLS between nodes: each shows its own certificate and trusts those of the members, and no authority.

A context is built again when the members or the node's own key change, so that a node that was removed is
refused in its next handshake and one that was added gets in, without a restart. What a connection showed is
compared again with the members at each of its requests.
"""

from __future__ import annotations

import hashlib
import logging
import ssl
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final, Protocol

log = logging.getLogger(__name__)

CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Cipher suites of TLS 1.2 with forward secrecy and authenticated encryption (RFC 9325 4.2)."""


class Trust(Protocol):
    """The certificates of the nodes that may call."""

    def version(self) -> Hashable:
        """A value that changes when the list does."""
        ...

    def trusted(self) -> tuple[str, ...]:
        """The certificates, as PEM, one each."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Secured:
    """What holds for handshakes of this moment."""

    version: Hashable
    context: ssl.SSLContext
    fingerprints: frozenset[str]


class CurrentContext(Protocol):
    """What holds for handshakes, asked for at each of them."""

    def current(self) -> Secured:
        """What holds now.

        Raises:
            OSError: the server's own certificate or key cannot be read, or (`ssl.SSLError`) they do not fit.
        """
        ...


class Rebuilt:
    """A context that is built again when what it is built from has changed."""

    def __init__(self, version: Callable[[], Hashable], build: Callable[[Hashable], Secured]) -> None:
        """A context that nobody has asked for yet.

        Args:
            version: a value that changes when the context has to; it may raise OSError.
            build: makes the context of a version.
        """
        self._version = version
        self._build = build
        self._built: Secured | None = None
        self._lock = Lock()

    def current(self) -> Secured:
        """What holds now.

        Raises:
            OSError: the server's own certificate or key cannot be read, or (`ssl.SSLError`) they do not fit.
        """
        version = self._version()
        built = self._built
        if built is not None and built.version == version:
            return built
        with self._lock:
            if self._built is None or self._built.version != version:
                self._built = self._build(version)
            return self._built


class Contexts:
    """The server's TLS context for nodes: whom the list of members lets in."""

    def __init__(self, trust: Trust, *, certificate: Path, private_key: Path) -> None:
        self._trust = trust
        self._certificate = certificate
        self._private_key = private_key
        self.current = Rebuilt(self._version, self._build).current

    def _version(self) -> Hashable:
        return self._trust.version(), stamp(self._certificate), stamp(self._private_key)

    def _build(self, version: Hashable) -> Secured:
        """A context that takes a certificate or none, but no other than a member's."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        harden(context)
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_NO_TICKET
        context.num_tickets = 0  # a session that is resumed would skip the look at the certificate
        context.load_cert_chain(self._certificate, self._private_key)
        context.verify_mode = ssl.CERT_OPTIONAL
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        members = frozenset(filter(None, (_anchor(context, pem) for pem in self._trust.trusted())))
        return Secured(version=version, context=context, fingerprints=members)


def client_context(certificate: Path, private_key: Path) -> ssl.SSLContext:
    """A context that shows the node's certificate; whom it reached, the caller compares by fingerprint.

    Raises:
        OSError: the files cannot be read, or (`ssl.SSLError`) they do not fit.
    """
    context = stranger_context()
    context.load_cert_chain(certificate, private_key)
    return context


def stranger_context() -> ssl.SSLContext:
    """A context that shows no certificate, for a node that is not a member yet."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    harden(context)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def fingerprint_of(pem: str) -> str:
    """SHA-256 of a certificate, in hexadecimal.

    Raises:
        ValueError: this is no certificate.
    """
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.strip())).hexdigest()


def shown(secured: ssl.SSLSocket) -> str | None:
    """The fingerprint of the certificate that the other side showed."""
    certificate = secured.getpeercert(binary_form=True)
    return hashlib.sha256(certificate).hexdigest() if certificate else None


def harden(context: ssl.SSLContext) -> None:
    """Insist on what RFC 9325 asks for, at either end."""
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION


def _anchor(context: ssl.SSLContext, pem: str) -> str | None:
    """Trust one certificate; one that cannot be read is trusted by nobody and keeps nobody else out."""
    try:
        context.load_verify_locations(cadata=pem)
        return fingerprint_of(pem)
    except (ssl.SSLError, ValueError):
        log.exception("the certificate of a member cannot be read")
        return None


def stamp(path: Path) -> tuple[int, int, int]:
    """What changes when a file is replaced or written."""
    status = path.stat()
    return status.st_ino, status.st_mtime_ns, status.st_size
