"""A connection as cheroot sees it: a step forward whenever bytes have come, never a wait for them."""

from __future__ import annotations

import logging
import socket
import ssl
from typing import TYPE_CHECKING

from cheroot.server import HTTPConnection

from node.domain.errors import NodeError
from services.https.request import Request
from services.https.wire import Wire

if TYPE_CHECKING:
    from services.https.server import Listener

log = logging.getLogger(__name__)


class Reader:
    """Reads a head from a wire, in the words that cheroot uses."""

    bytes_read = 0

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.closed = False

    def readline(self, size: int = 256) -> bytes:
        """Read up to the end of a line, or `size` bytes of it."""
        return self._wire.readline(size)

    def has_data(self) -> bool:
        """Whether there is something to do although nothing new may come."""
        return self._wire.is_ready()

    def close(self) -> None:
        """Note that nothing will be read any more."""
        self.closed = True


class Connection(HTTPConnection):
    """One caller's connection."""

    RequestHandlerClass = Request
    server: Listener

    def __init__(self, server: Listener, accepted: socket.socket, address: tuple[str, int]) -> None:
        self.wire = Wire(accepted, server.limits)
        super().__init__(server, accepted, self._file)
        self.remote_addr, self.remote_port = address
        self.lingers = False
        self._is_open = True

    @property
    def peer(self) -> str:
        """Who calls: the begin of the certificate's fingerprint, or the address of one who showed none."""
        return (self.wire.certificate or "")[:16] or str(self.remote_addr)

    def communicate(self) -> bool:
        """Go on as far as the bytes that have come allow; whether the connection stays open."""
        try:
            if not self._is_secured() or not self.wire.gather():
                return True
            if not self._is_still_welcome():
                return False
        except (OSError, NodeError) as error:
            _tell(error, str(self.remote_addr))
            return False
        if self.wire.certificate is not None:
            return self._answer()
        if not self.server.strangers.acquire(blocking=False):
            log.warning("a request was refused: too many strangers", extra={"peer": self.peer})
            self.refuse()
            return False
        try:
            return self._answer()
        finally:
            self.server.strangers.release()

    def _answer(self) -> bool:
        """Answer the request whose head has come; whether the connection stays open."""
        try:
            self.wire.begin()
        except OSError as error:
            _tell(error, str(self.remote_addr))
            return False
        if super().communicate():  # type: ignore[no-untyped-call]
            self.wire.rest()
            return True
        if self.lingers:
            self.wire.linger()
        return False

    def refuse(self) -> None:
        """Say that the server is too busy, and end the connection."""
        self.wire.refuse(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\n" + _NO_BODY)
        self.close()

    def close(self) -> None:
        """End the connection and give its place back."""
        self.wire.close()
        if self._is_open:
            self._is_open = False
            self.server.leave(str(self.remote_addr))

    def _file(self, sock: socket.socket, mode: str, size: int) -> Reader | Wire:
        return Reader(self.wire) if "r" in mode else self.wire

    def _is_secured(self) -> bool:
        """Go on with the handshake; whether it is done."""
        if self.wire.secured is not None:
            return True
        done = self.wire.shake(self.server.contexts.current())
        self.socket = self.wire.socket
        return done

    def _is_still_welcome(self) -> bool:
        """Whether the certificate that was shown is still a member's."""
        shown = self.wire.certificate
        if shown is None:
            return True
        current = self.server.contexts.current()
        return current is self.wire.secured or shown in current.fingerprints


_NO_BODY = b"Content-Length: 0\r\nConnection: close\r\n\r\n"


def _tell(error: OSError | NodeError, address: str) -> None:
    """Log how a connection ended between requests; that somebody hangs up is no news."""
    if isinstance(error, ssl.SSLError):
        log.warning("handshake refused", extra={"peer": address, "reason": error.reason})
    elif isinstance(error, NodeError):
        log.warning("connection ended", extra={"peer": address, "error": str(error)})
