"""The doors of the demonstration's identity providers: plain HTTP, for browsers of this machine only."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar, Final
from urllib.parse import parse_qs, urlsplit

from node.domain.errors import NodeError
from services.cli.demo.idp import answers, pages
from services.cli.demo.idp.asked import AUTHN_REQUEST, LARGEST, LOGOUT_REQUEST, read
from services.cli.demo.idp.houses import House
from services.cli.demo.running import HOST

PATIENCE: Final = 10.0
"""Seconds that a browser may take for its request."""
_HTML: Final = "text/html; charset=utf-8"
_METADATA: Final = "application/samlmetadata+xml"


def _only(text: str) -> str:
    """How a page says that this script or style is its own (CSP Level 3 §2.3.1)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"


_POLICY: Final = (
    f"default-src 'none'; style-src {_only(pages.STYLE)}; script-src {_only(pages.SCRIPT)}; "
    "frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS: Final = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Content-Security-Policy", _POLICY),
)


class Server(ThreadingHTTPServer):
    """One identity provider at its port."""

    daemon_threads = True

    def __init__(self, house: House) -> None:
        """Listen; `serve_forever` answers."""
        self.house = house
        super().__init__((HOST, house.port), _Door)


class _Door(BaseHTTPRequestHandler):
    """One request."""

    server: Server
    timeout = PATIENCE
    server_version = "demonstration"
    sys_version = ""
    pages: ClassVar[dict[str, Callable[[_Door, str], None]]]
    forms: ClassVar[dict[str, Callable[[_Door, str], None]]]

    def do_GET(self) -> None:
        """Answer a link."""
        self._answer(self.pages, urlsplit(self.path).query)

    def do_POST(self) -> None:
        """Answer a form."""
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdecimal() or int(length) > 2 * LARGEST:
            self._say(pages.refused("The form is too large."), HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        self._answer(self.forms, self.rfile.read(int(length)).decode("ascii", "replace"))

    def log_message(self, *_: object) -> None:
        """Nothing is written down."""

    def _answer(self, doors: dict[str, Callable[[_Door, str], None]], content: str) -> None:
        door = doors.get(urlsplit(self.path).path)
        if not self._is_ours() or door is None:
            self._say(pages.refused("There is no such page."), HTTPStatus.NOT_FOUND)
            return
        try:
            door(self, content)
        except NodeError as error:
            self._say(pages.refused(str(error)), HTTPStatus.BAD_REQUEST)

    def _is_ours(self) -> bool:
        """Whether it was this machine that was called, and no name that somebody has pointed at it."""
        return self.headers.get("Host", "") == f"{HOST}:{self.server.house.port}"

    def _welcome(self, _: str) -> None:
        self._say(pages.welcome(self.server.house.hospital))

    def _metadata(self, _: str) -> None:
        self._say(self.server.house.metadata.read_text("utf-8"), kind=_METADATA)

    def _login(self, query: str) -> None:
        request = read(self.server.house, query, AUTHN_REQUEST)
        self._say(pages.choose(self.server.house.hospital, request, query))

    def _chosen(self, form: str) -> None:
        house, fields = self.server.house, parse_qs(form, max_num_fields=10)
        request = read(house, fields.get("asked", [""])[0], AUTHN_REQUEST)
        person = house.hospital.person(fields.get("person", [""])[0])
        if person is None:
            self._say(pages.refused("Nobody has that name here."), HTTPStatus.BAD_REQUEST)
            return
        response = answers.login(house, request, person, mfa="mfa" in fields)
        self._say(pages.send(request, response))

    def _logout(self, query: str) -> None:
        request = read(self.server.house, query, LOGOUT_REQUEST)
        self.send_response(HTTPStatus.FOUND)
        self.send_header("Location", answers.logout(self.server.house, request))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _say(self, text: str, status: HTTPStatus = HTTPStatus.OK, kind: str = _HTML) -> None:
        content = text.encode()
        with suppress(ConnectionError):
            self.send_response(status)
            for name, value in (*_HEADERS, ("Content-Type", kind), ("Content-Length", str(len(content)))):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)


_Door.pages = {
    "/": _Door._welcome,
    "/metadata": _Door._metadata,
    "/login": _Door._login,
    "/logout": _Door._logout,
}
_Door.forms = {"/login": _Door._chosen}


def serve(houses: list[House], ready: Callable[[], None], stop: threading.Event) -> None:
    """Answer for all of them until it is time to stop."""
    servers = [Server(house) for house in houses]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    ready()
    stop.wait()
    for server in servers:
        server.shutdown()
        server.server_close()
