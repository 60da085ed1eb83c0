"""Devices that take instances: pynetdicom as it is shipped, and DCMTK's storescp."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pynetdicom import AE, evt
from pynetdicom.presentation import PresentationContext

from tests.support.peers import free_port, requires


@dataclass(slots=True)
class Received:
    """One instance as a device got it."""

    uid: str
    transfer_syntax: str
    content: bytes
    originator: str | None
    originator_message_id: int | None


@dataclass(slots=True)
class Sink:
    """What a device got, and how it answers."""

    port: int = 0
    received: list[Received] = field(default_factory=list)
    associations: int = 0
    status: Callable[[evt.Event], int] = lambda event: 0x0000

    def take(self, event: evt.Event) -> int:
        """Keep an instance as it came."""
        request = event.request
        self.received.append(
            Received(
                uid=str(request.AffectedSOPInstanceUID),
                transfer_syntax=str(event.context.transfer_syntax),
                content=request.DataSet.getvalue(),
                originator=request.MoveOriginatorApplicationEntityTitle,
                originator_message_id=request.MoveOriginatorMessageID,
            )
        )
        return self.status(event)

    def greet(self, event: evt.Event) -> None:
        """Count an association."""
        self.associations += 1


@contextmanager
def sink(
    contexts: Sequence[PresentationContext], *, max_pdu: int = 16382, tls: ssl.SSLContext | None = None
) -> Iterator[Sink]:
    """Run a device that takes these contexts."""
    made = Sink()
    entity = AE(ae_title="SINK")
    entity.maximum_pdu_size = max_pdu
    entity.supported_contexts = list(contexts)
    handlers = [(evt.EVT_C_STORE, made.take), (evt.EVT_ACCEPTED, made.greet)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers, ssl_context=tls)
    made.port = server.socket.getsockname()[1]
    try:
        yield made
    finally:
        server.shutdown()


@contextmanager
def storescp(folder: Path, *options: str) -> Iterator[int]:
    """Run DCMTK's storescp, which writes data sets as they come."""
    program = requires("storescp")
    port = free_port()
    process = subprocess.Popen(
        [program, "-aet", "SINK", "-od", str(folder), "+B", *options, str(port)],
        env=os.environ | {"TCP_NODELAY": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(port)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def wait_for(port: int) -> None:
    """Wait until a port is open."""
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port}")


def keypair(folder: Path, name: str) -> tuple[Path, Path]:
    """Write a self-signed certificate and its key, and return their paths."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    paths = folder / f"{name}.crt", folder / f"{name}.key"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths


def demanding(own: tuple[Path, Path], peer: Path) -> ssl.SSLContext:
    """TLS of a server that knows one client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*own)
    context.load_verify_locations(peer)
    context.verify_mode = ssl.CERT_REQUIRED
    return context
