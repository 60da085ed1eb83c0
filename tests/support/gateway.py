"""A gateway as third parties put one before a node: it signs what plain SOAP clients say, and does the TLS.

| request | what it does |
|---|---|
| `POST /soap/...` | secures the envelope as the caller's node, calls the other, returns its answer as it is |
| `POST /sign/soap/...` | returns the secured envelope, for clients that make the mutual TLS themselves |
| `GET /soap/...?wsdl` | fetches the document |
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast

from lxml import etree

from tests.support.doors import Door, Line

ACTION = re.compile(r'action="?([^";]+)')


class Gateway(ThreadingHTTPServer):
    """Listens on 127.0.0.1 for plain SOAP."""

    daemon_threads = True

    def __init__(self, caller: Door, called: Door) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self._sites = caller, called
        self.heard: list[bytes] = []

    @property
    def base(self) -> str:
        """Where it is called."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def line(self) -> Line:
        """A connection to the node."""
        return Line(*self._sites)


class Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        """Fetch a document."""
        with self._gateway.line() as line:
            answer = line.wire.request("GET", self.path, headers={}, body=b"")
            self._answer(answer.status, answer.headers["Content-Type"], answer.read(1 << 24))

    def do_POST(self) -> None:
        """Sign a message, and bring it to the node where that was asked."""
        plain = self.rfile.read(int(self.headers["Content-Length"]))
        self._gateway.heard.append(plain)
        media = self.headers["Content-Type"]
        named = ACTION.search(media)
        action = named[1] if named else self.headers.get("SOAPAction", "").strip('"')
        with self._gateway.line() as line:
            signed = etree.tostring(line.secure(etree.fromstring(plain), action))
            if self.path.startswith("/sign/"):
                self._answer(200, "application/xml", signed)
                return
            answer = line.wire.request("POST", self.path, headers={"Content-Type": media}, body=signed)
            self._answer(answer.status, answer.headers["Content-Type"], answer.read(1 << 24))

    def _answer(self, status: int, media: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @property
    def _gateway(self) -> Gateway:
        return cast(Gateway, self.server)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def gateway(caller: Door, called: Door) -> Iterator[Gateway]:
    """A gateway for clients at the site of the caller."""
    made = Gateway(caller, called)
    thread = threading.Thread(target=made.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.shutdown()
        made.server_close()
        thread.join()
