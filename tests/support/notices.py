"""Whoever receives alerts: a mail server and a webhook receiver on 127.0.0.1, which remember what came.

```
with mail_server() as server:            # plain SMTP; with an `Identity`, it offers STARTTLS
    ... server.port ...
    server.messages[0]["Subject"]
```
"""

from __future__ import annotations

import socketserver
import ssl
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from tests.support.certificates import Identity


class MailServer(socketserver.ThreadingTCPServer):
    """A mail server (RFC 5321) that accepts, or refuses, what comes."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, identity: Identity | None) -> None:
        super().__init__(("127.0.0.1", 0), _MailSession)
        self.identity = identity
        self.messages: list[EmailMessage] = []
        self.envelopes: list[tuple[str, list[str]]] = []
        self.logins: list[tuple[str, str]] = []
        self.refuses = ""
        """What it answers to a message, if it refuses it."""

    @property
    def port(self) -> int:
        return self.server_address[1]


class _MailSession(socketserver.StreamRequestHandler):
    """One connection."""

    server: MailServer

    def handle(self) -> None:
        sender, recipients, secured = "", [], False
        self._say("220 mail.test")
        while line := self.rfile.readline(1000):
            verb, _, rest = line.decode("ascii").strip().partition(" ")
            match verb.upper():
                case "EHLO":
                    offers = ["STARTTLS"] if self.server.identity and not secured else ["AUTH PLAIN"]
                    self._say(*(f"250-{one}" for one in ("mail.test", *offers)), "250 8BITMIME")
                case "STARTTLS" if self.server.identity:
                    self._say("220 go on")
                    self._secure(self.server.identity)
                    secured = True
                case "AUTH":
                    _, user, password = b64decode(rest.split(" ")[1]).decode().split("\0")
                    self.server.logins.append((user, password))
                    self._say("235 welcome")
                case "MAIL":
                    sender, recipients = rest, []
                    self._say("250 ok")
                case "RCPT":
                    recipients.append(rest)
                    self._say("250 ok")
                case "DATA":
                    self._say("354 go on")
                    self._take(sender, recipients)
                case "QUIT":
                    self._say("221 bye")
                    return
                case _:
                    self._say("250 ok")

    def _take(self, sender: str, recipients: list[str]) -> None:
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line.removeprefix(b"."))
        if self.server.refuses:
            self._say(self.server.refuses)
            return
        message = message_from_bytes(b"".join(lines), policy=policy.default)
        self.server.envelopes.append((sender, recipients))
        self.server.messages.append(cast(EmailMessage, message))
        self._say("250 taken")

    def _say(self, *lines: str) -> None:
        self.wfile.write("".join(f"{line}\r\n" for line in lines).encode("ascii"))

    def _secure(self, identity: Identity) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(identity.certificate, identity.private_key)
        self.request = context.wrap_socket(self.request, server_side=True)
        self.rfile, self.wfile = self.request.makefile("rb"), self.request.makefile("wb", buffering=0)


class Hook(ThreadingHTTPServer):
    """A webhook receiver."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _HookRequest)
        self.posts: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: list[tuple[int, dict[str, str]]] = []
        """What it answers next; 204 when there is nothing."""

    @property
    def port(self) -> int:
        return self.server_address[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?from=brno"


class _HookRequest(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posts.append((self.path, dict(self.headers), body))
        status, headers = self.server.answers.pop(0) if self.server.answers else (204, {})
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.server.posts.append((f"GET {self.path}", {}, b""))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def mail_server(identity: Identity | None = None) -> Iterator[MailServer]:
    """A mail server that runs."""
    with MailServer(identity) as server:
        yield from _run(server)


@contextmanager
def hook() -> Iterator[Hook]:
    """A webhook receiver that runs."""
    with Hook() as server:
        yield from _run(server)


def _run(server: Any) -> Iterator[Any]:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
