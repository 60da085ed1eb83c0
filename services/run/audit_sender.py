"""The audit record on its way to a repository outside: syslog over TLS (RFC 5425), by a thread of the worker.

```
audit ──▶ lines after the cursor, in order ──▶ repository ──▶ it closes the connection after us ──▶ cursor
```

Syslog knows no answer. So each round is a connection of its own that is ended in order (RFC 5425 §4.4): the
repository answers our `close_notify`, and its machine closes the connection with nothing left that it has not
read; one that turns us away, or ends, leaves something unread or unacknowledged, and its machine resets the
connection (RFC 9293 §3.6.1). Only then the cursor moves. What was on its way when a connection broke is sent
again: every record arrives, some may twice, and in their order.
"""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import ssl
import struct
import termios
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import monotonic, sleep
from typing import Final, Protocol

from node import __version__, telemetry
from node.audit.participants import Source
from node.audit.record import Record
from node.audit.syslog import frame, line
from node.domain.errors import NodeError, PeerUnreachable
from node.identity.home import Home
from node.settings import AuditSettings
from node.wiring import Site

log = logging.getLogger(__name__)

PAUSE: Final = 5.0
"""Seconds between two looks for new records."""
LONGEST_PAUSE: Final = 300.0
"""Seconds after which a repository that failed is tried again at the latest."""
PATIENCE: Final = 20.0
"""Seconds that a repository may take to do anything."""
MANY: Final = 500
"""Records in one connection."""
_GLANCE: Final = 0.01
_CLOSE_WAIT: Final = 8
"""The state of a connection that the other side has closed (linux/include/net/tcp_states.h)."""


class Repository(Protocol):
    """Where audit messages go."""

    name: str

    def deliver(self, frames: Iterable[bytes]) -> None:
        """Give it these messages.

        Raises:
            PeerUnreachable: it has not got all of them, as far as can be known.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsRepository:
    """A syslog receiver behind TLS, by its name and the authority that signed its certificate."""

    name: str
    """How the cursor calls it."""
    host: str
    port: int
    authorities: Path | None
    """PEM; None for those that this machine trusts."""
    home: Home
    """Whose certificate is shown if the repository asks for one."""
    patience: float = PATIENCE

    def deliver(self, frames: Iterable[bytes]) -> None:
        """Send the messages and see that it has read them (see `Repository.deliver`)."""
        with self._complaining():
            raw = socket.create_connection((self.host, self.port), timeout=self.patience)
            with self._context().wrap_socket(raw, server_hostname=self.host) as tls:
                for one in frames:
                    tls.sendall(one)
                with tls.unwrap() as plain:
                    self._see_closed(plain)

    def _see_closed(self, plain: socket.socket) -> None:
        """See that the other machine has closed the connection, and has taken everything before."""
        if plain.recv(1):
            raise PeerUnreachable(self.name, "it goes on after the end")
        until = monotonic() + self.patience
        while struct.unpack("i", fcntl.ioctl(plain, termios.TIOCOUTQ, b"\0" * 4))[0]:
            if monotonic() > until or not _is_half_closed(plain):
                break
            sleep(_GLANCE)
        else:
            if _is_half_closed(plain):
                return
        raise PeerUnreachable(self.name, "it closed the connection without reading everything")

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.authorities)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        key = self.home.key()
        context.load_cert_chain(key.certificate_file, key.key_file)
        return context

    @contextmanager
    def _complaining(self) -> Iterator[None]:
        try:
            yield
        except ssl.SSLCertVerificationError as error:
            raise PeerUnreachable(self.name, f"its certificate: {error.verify_message}") from None
        except ssl.SSLError as error:
            raise PeerUnreachable(self.name, f"TLS: {error.reason or error}") from None
        except OSError as error:
            raise PeerUnreachable(self.name, error.strerror or str(error)) from None


def _is_half_closed(plain: socket.socket) -> bool:
    """Whether the other machine has closed its direction, and has not reset the connection since (tcp(7))."""
    return plain.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _CLOSE_WAIT


class AuditSender:
    """Keeps a repository in step with the audit record."""

    def __init__(self, site: Site, repository: Repository | None = None, *, pause: float = PAUSE) -> None:
        """A sender for a site.

        Args:
            site: whose record.
            repository: where it goes; the one of the settings, if not given.
            pause: seconds between two looks for new records.
        """
        settings = site.settings
        self._catalog = site.catalog
        self._repository = repository or repository_of(settings.audit, site.home)
        self._source = Source(site=settings.site.name, ae_title=settings.dicom.ae_title)
        self._pause = pause

    def run(self, stop: threading.Event) -> None:
        """Send until told to stop; a site without a repository has nothing to do."""
        if self._repository is None:
            return
        pause = self._pause
        with telemetry.bound(repository=self._repository.name):
            while not stop.is_set():
                pause = self._turn(pause)
                stop.wait(pause)

    def _turn(self, pause: float) -> float:
        """Send what there is; how long to wait until the next time."""
        try:
            return 0.0 if self.round() == MANY else self._pause
        except NodeError as error:
            log.warning("the audit record could not be sent", extra={"error": str(error)})
        except Exception:
            log.exception("the audit record could not be sent; it is tried again")
        return min(max(2 * pause, self._pause), LONGEST_PAUSE)

    def round(self) -> int:
        """Send the next records, if there are any; how many the repository has got.

        Raises:
            PeerUnreachable: it could not be given them; they are sent again.
        """
        if self._repository is None:
            return 0
        name = self._repository.name
        records = self._next(name)
        if not records:
            return 0
        try:
            self._repository.deliver(frame(self._line(one)) for one in records)
        except PeerUnreachable as error:
            why = str(error)
            self._catalog.perform(lambda unit: unit.audit_sent.failed(name, why))
            raise
        self._catalog.perform(lambda unit: unit.audit_sent.sent(name, records[-1].seq))
        return len(records)

    def _next(self, name: str) -> Sequence[Record]:
        with self._catalog.reading() as unit:
            return list(islice(unit.audit.after(unit.audit_sent.of(name).seq), MANY))

    def _line(self, record: Record) -> bytes:
        return line(record, self._source, host=os.uname().nodename, version=__version__)


def repository_of(settings: AuditSettings, home: Home) -> TlsRepository | None:
    """The repository that the settings name, if they name one."""
    if not settings.syslog_host:
        return None
    return TlsRepository(
        name=settings.repository,
        host=settings.syslog_host,
        port=settings.syslog_port,
        authorities=settings.syslog_ca,
        home=home,
    )
