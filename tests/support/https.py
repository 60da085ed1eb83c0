"""HTTPS between two nodes on 127.0.0.1: certificates, a trust list that changes, a server, raw callers."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from services.https.client import Connection, Destination, Waits
from services.https.limits import Limits
from services.https.server import Application, Server
from services.https.tls import Contexts, client_context, fingerprint_of
from tests.support.certificates import Identity, identity


class TrustList:
    """The certificates of the members, as a test changes them."""

    def __init__(self, *members: Identity) -> None:
        self.members = list(members)
        self.changes = 0

    def add(self, member: Identity) -> None:
        self.members.append(member)
        self.changes += 1

    def remove(self, member: Identity) -> None:
        self.members.remove(member)
        self.changes += 1

    def version(self) -> int:
        return self.changes

    def trusted(self) -> tuple[str, ...]:
        return tuple(member.pem for member in self.members)


class Sites:
    """Brno serves; Prague is a member there; anybody else is a stranger until added."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.brno = identity(folder, "brno")
        self.prague = identity(folder, "prague")
        self.trust = TrustList(self.prague)
        self.contexts = Contexts(
            self.trust, certificate=self.brno.certificate, private_key=self.brno.private_key
        )

    def another(self, name: str) -> Identity:
        return identity(self.folder, name)

    @contextmanager
    def serving(self, application: Application, **limits: float) -> Iterator[Server]:
        options = {"threads": 4, **limits}
        server = Server(application, ("127.0.0.1", 0), self.contexts, Limits(**options))  # type: ignore[arg-type]
        server.start()
        try:
            yield server
        finally:
            server.stop(grace=2.0)

    def destination(self, port: int) -> Destination:
        pins = frozenset([fingerprint_of(self.brno.pem)])
        return Destination(name="brno", host="127.0.0.1", port=port, fingerprints=pins)

    def connect(self, port: int, member: Identity | None = None, **waits: float) -> Connection:
        who = member or self.prague
        context = client_context(who.certificate, who.private_key)
        return Connection(self.destination(port), context, Waits(**{"stall_seconds": 5.0, **waits}))  # type: ignore[arg-type]

    def raw(self, port: int, member: Identity | None = None) -> ssl.SSLSocket:
        """A secured socket, for what no client would send."""
        who = member or self.prague
        plain = socket.create_connection(("127.0.0.1", port), 5.0)
        return client_context(who.certificate, who.private_key).wrap_socket(plain)


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for something that happens in another thread."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def everything(line: socket.socket) -> bytes:
    """What comes until the other side hangs up."""
    pieces = []
    try:
        while piece := line.recv(65536):
            pieces.append(piece)
    except ConnectionError:
        pass
    return b"".join(pieces)


def said(status: str, content: bytes, start_response) -> list[bytes]:  # type: ignore[no-untyped-def]
    """An answer with a length."""
    start_response(status, [("Content-Length", str(len(content)))])
    return [content]
