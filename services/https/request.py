"""One request: its head read strictly, its body as it comes, its answer without copies, one line in the log.

A caller who sent `Expect: 100-continue` is asked for the body when the application reads it
(RFC 9110 10.1.1), so that a request which is refused costs no body.
"""

from __future__ import annotations

import io
import logging
import re
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, cast

from cheroot import wsgi
from cheroot.server import HeaderReader, HTTPRequest

from node.domain.instance import Chunk
from services.https.body import Body, Chunked, Sized
from services.https.wire import BUFFER

if TYPE_CHECKING:
    from services.https.connection import Connection

log = logging.getLogger(__name__)

NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
ONCE: Final = {b"Content-Length", b"Host", b"Transfer-Encoding", b"Ticket", b"Content-Type"}
MOST_HEADERS: Final = 64
DRAIN: Final = 1024 * 1024
"""Bytes of a body that nobody wanted which are read so that the connection can be used again."""

FINGERPRINT: Final = "konzilium.fingerprint"
"""The name in the environ of the caller's certificate: SHA-256 in hexadecimal, or None."""
CERTIFICATE: Final = "konzilium.certificate"
"""The name in the environ of that certificate itself: DER, or None."""


class Headers(HeaderReader):
    """Reads headers as RFC 9112 writes them, and nothing that two readers could read in two ways."""

    expects_continue = False

    def __call__(self, rfile: Any, hdict: dict[bytes, bytes] | None = None) -> dict[bytes, bytes]:
        """Read headers up to the empty line.

        Raises:
            ValueError: they are malformed.
        """
        headers: dict[bytes, bytes] = {} if hdict is None else hdict
        while (line := cast(bytes, rfile.readline())) != b"\r\n":
            name, colon, value = line.partition(b":")
            if not line.endswith(b"\r\n") or not colon or NAME.fullmatch(name) is None or b"\0" in value:
                raise ValueError("Malformed header")
            name = name.title()
            if len(headers) >= MOST_HEADERS or (name in ONCE and name in headers):
                raise ValueError("Too many headers")
            if b"_" not in name:  # it would look like another one to the application
                headers[name] = b", ".join(filter(None, (headers.get(name), value.strip())))
        self.expects_continue = headers.pop(b"Expect", b"").lower() == b"100-continue"
        return _framed(headers)


def _framed(headers: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """The headers, if they say in one way how long the body is (RFC 9112 6.3)."""
    length = headers.get(b"Content-Length", b"0")
    if not length.isdigit() or len(length) > 18:
        raise ValueError("Malformed Content-Length")
    if b"Transfer-Encoding" in headers and b"Content-Length" in headers:
        raise ValueError("Content-Length and Transfer-Encoding")
    return headers


class Request(HTTPRequest):
    """One request and its answer."""

    conn: Connection

    def __init__(self, server: Any, conn: Connection) -> None:
        super().__init__(server, conn)
        self.scheme = b"https"
        self.header_reader = Headers()
        self.body: Body | None = None
        self.sent = 0
        self.method = self.path = b""
        self._began = time.monotonic()

    def respond(self) -> None:
        """Let the application answer."""
        try:
            self.body = self._body()
            self.rfile = io.BufferedReader(self.body, BUFFER)
            self.server.gateway(self).respond()
            if self.chunked_write:
                self.conn.wfile.write(b"0\r\n\r\n")
        finally:
            self.conn.lingers = self.body is not None and not self.body.is_read
            self._tell()

    def write(self, chunk: Chunk) -> None:
        """Send a part of the answer."""
        self.sent += len(chunk)
        if self.chunked_write:
            self.conn.wfile.write(b"".join((b"%x\r\n" % len(chunk), chunk, b"\r\n")))
        else:
            self.conn.wfile.write(chunk)

    def send_headers(self) -> None:
        """Send the head of the answer; a connection with a long unread body is not used again."""
        if not self.close_connection and self.body is not None and not self.body.drain(DRAIN):
            self.close_connection = True
        super().send_headers()

    def simple_response(self, status: str, msg: str = "") -> None:
        """Answer in the server's own name, and end the connection."""
        self.status = status
        self.close_connection = self.sent_headers = True
        text = msg.encode("latin-1", "replace")
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(text)}\r\nContent-Type: text/plain\r\n"
        self.conn.wfile.write(head.encode("latin-1") + b"Connection: close\r\n\r\n" + text)
        if not self.ready:
            self._tell()

    def _body(self) -> Body:
        ask = self._continue if self.header_reader.expects_continue else None
        if self.chunked_read:
            return Chunked(self.conn.wire, ask)
        return Sized(self.conn.wire, int(self.inheaders.get(b"Content-Length", 0)), ask)

    def _continue(self) -> None:
        """Ask for the body."""
        if not self.sent_headers:
            self.conn.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _tell(self) -> None:
        """Write the line of this request in the log."""
        status = self.status.decode("latin-1") if isinstance(self.status, bytes) else self.status
        log.info(
            "request",
            extra={
                "method": self.method.decode("latin-1"),
                "path": self.path.decode("latin-1"),
                "status": int(status[:3]) if status[:3].isdigit() else None,
                "bytes": self.sent,
                "seconds": round(time.monotonic() - self._began, 4),
                "peer": self.conn.peer,
            },
        )


class Gateway(wsgi.Gateway_10):
    """Calls the application; a chunk of its answer is any run of bytes, valid until the next is asked for."""

    req: Request

    def get_environ(self) -> dict[str, Any]:  # type: ignore[override]
        """The environ, with the caller's certificate."""
        environ: dict[str, Any] = super().get_environ()  # type: ignore[no-untyped-call]
        environ["wsgi.input_terminated"] = True
        environ[FINGERPRINT] = self.req.conn.wire.certificate
        environ[CERTIFICATE] = self.req.conn.wire.certificate_der
        return environ

    def respond(self) -> None:
        """Send what the application answers."""
        answer: Iterable[Chunk] = self.req.server.wsgi_app(self.env, self.start_response)
        try:
            for chunk in answer:
                if len(chunk):
                    self.write(chunk)
            self.req.ensure_headers_sent()
            self.req.close_connection |= self.req.sent < (self.remaining_bytes_out or 0)
        finally:
            if hasattr(answer, "close"):
                answer.close()
