"""Metadata are fetched by HTTPS, or from this machine itself, with bounds on size, time and redirects."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count

import pytest

from node.domain.errors import MetadataRefused, PeerUnreachable, UnknownProvider
from services.run.fetch import Fetcher

DOCUMENT = b"<md:EntitiesDescriptor/>" * 100


class Publisher(BaseHTTPRequestHandler):
    """Publishes a document, and misbehaves at other addresses."""

    def do_GET(self) -> None:
        host = f"http://127.0.0.1:{self.server.server_address[1]}"
        if self.path == "/moved":
            return self._answer(302, Location=f"{host}/document")
        if self.path == "/away":
            return self._answer(302, Location="http://metadata.federation.test/document")
        if self.path == "/file":
            return self._answer(302, Location="file:///etc/hostname")
        if self.path == "/round":
            return self._answer(302, Location=f"{host}/round")
        if self.path in ("/none", "/broken"):
            return self._answer(404 if self.path == "/none" else 503)
        if self.headers["If-None-Match"] == '"1"':
            return self._answer(304)
        return self._answer(200, DOCUMENT, ETag='"1"')

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def publisher() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Publisher)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def fetched(
    url: str, etag: str = "", most: int = len(DOCUMENT), fetch: Fetcher | None = None
) -> tuple[str | None, bytes]:
    into = io.BytesIO()
    return (fetch or Fetcher())(url, into, etag=etag, most=most), into.getvalue()


def test_a_document_is_fetched_with_its_tag_and_not_again_while_that_holds(publisher):
    assert fetched(f"{publisher}/document") == ('"1"', DOCUMENT)
    assert fetched(f"{publisher}/document", '"1"') == (None, b"")
    assert fetched(f"{publisher}/document", '"0"') == ('"1"', DOCUMENT)


def test_a_redirect_is_followed_to_where_one_may_fetch_from(publisher):
    assert fetched(f"{publisher}/moved") == ('"1"', DOCUMENT)


@pytest.mark.parametrize("path", ["away", "file", "round"])
def test_a_redirect_elsewhere_is_not_followed(publisher, path):
    with pytest.raises(PeerUnreachable):
        fetched(f"{publisher}/{path}")


@pytest.mark.parametrize(
    "url",
    ["http://metadata.federation.test/x", "file:///etc/hostname", "ftp://a.test/", "x", "https://u@a.test/"],
)
def test_nothing_is_fetched_from_elsewhere(url):
    with pytest.raises(MetadataRefused, match="https://HOST/PATH"):
        fetched(url)


def test_a_document_that_is_too_long_is_left(publisher):
    with pytest.raises(MetadataRefused, match="longer than"):
        fetched(f"{publisher}/document", most=len(DOCUMENT) - 1)


def test_a_document_that_takes_too_long_is_left(publisher):
    seconds = count(step=400)
    with pytest.raises(PeerUnreachable, match="takes too long"):
        fetched(f"{publisher}/document", fetch=Fetcher(clock=lambda: float(next(seconds))))


def test_what_is_not_there_and_what_is_broken_are_different(publisher):
    with pytest.raises(UnknownProvider):
        fetched(f"{publisher}/none")
    with pytest.raises(PeerUnreachable, match="it answers 503"):
        fetched(f"{publisher}/broken")


def test_who_cannot_be_reached_or_speaks_no_tls_is_told_so(publisher):
    with pytest.raises(PeerUnreachable, match="TLS"):
        fetched(publisher.replace("http://", "https://"))
    with pytest.raises(PeerUnreachable, match="refused"):
        fetched("http://127.0.0.1:1/")
