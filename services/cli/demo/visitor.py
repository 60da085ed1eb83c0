"""The demonstration's browser: pages, links, forms and cookies, and nobody who looks at it."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from http.client import HTTPResponse
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urljoin
from urllib.request import (
    HTTPCookieProcessor,
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    Request,
)

from lxml import html

from node.domain.errors import PeerUnreachable, Rejected

PATIENCE: Final = 60.0
"""Seconds to wait for a page."""
LARGEST: Final = 4 << 20


@dataclass(slots=True)
class Visitor:
    """Somebody with a browser, at a page."""

    trusted: Iterable[Path]
    """The certificates of the portals, which nobody but the demonstration has signed."""
    url: str = ""
    page: html.HtmlElement = field(default_factory=lambda: html.fromstring("<p></p>"))
    _opener: OpenerDirector | None = None

    def open(self, url: str) -> None:
        """Go to a page, and wherever that leads."""
        self._take(urljoin(self.url, url))

    def follow(self, words: str) -> None:
        """Go where the first link with these words leads.

        Raises:
            Rejected: there is none.
        """
        for link in self.page.iter("a"):
            if words in link.text_content():
                return self.open(link.get("href", ""))
        raise Rejected(f"the page {self.url} has no link {words!r}")

    def send(self, action: str, **fields: str) -> None:
        """Fill in and send the first form whose address ends so.

        Raises:
            Rejected: there is none.
        """
        for form in self.page.forms:
            target = urljoin(self.url, form.action or "")
            if target.endswith(action):
                content = urlencode([*dict(form.form_values(), **fields).items()]).encode()
                return self._take(target, content)
        raise Rejected(f"the page {self.url} has no form {action!r}: {self.text[:300]}")

    @property
    def text(self) -> str:
        """What the page says."""
        return " ".join(self.page.text_content().split())

    def has(self, words: str) -> bool:
        """Whether the page says so."""
        return words in self.text

    def _take(self, url: str, form: bytes | None = None) -> None:
        """Show what comes, also if it is the page of an error."""
        request = Request(url, form)  # noqa: S310 - the opener knows HTTP alone
        if self._opener is None:
            self._opener = _opener(self.trusted)
        try:
            with self._opener.open(request, timeout=PATIENCE) as answer:
                self._show(answer)
        except HTTPError as error:
            with error:
                self._show(error)
        except URLError as error:
            raise PeerUnreachable(request.host, str(error.reason)) from error

    def _show(self, answer: HTTPResponse | HTTPError) -> None:
        self.url = answer.geturl()
        self.page = html.fromstring(answer.read(LARGEST) or b"<p></p>")


def _opener(trusted: Iterable[Path]) -> OpenerDirector:
    """What opens pages: with cookies, no proxy, and no certificate believed but those."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # the certificates themselves are known
    for certificate in trusted:
        context.load_verify_locations(certificate)
    opener = OpenerDirector()
    for handler in (
        HTTPHandler(),
        HTTPSHandler(context=context),
        HTTPCookieProcessor(CookieJar()),
        HTTPRedirectHandler(),
        HTTPErrorProcessor(),
        HTTPDefaultErrorHandler(),
    ):
        opener.add_handler(handler)
    return opener
