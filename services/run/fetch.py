"""Getting metadata by HTTPS, through the proxy of the environment, with bounds on size and time."""

from __future__ import annotations

import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http import HTTPStatus
from http.client import HTTPException, HTTPMessage
from typing import IO, Any, BinaryIO, Final
from urllib.parse import urlsplit

from node import __version__
from node.domain.errors import MetadataRefused, PeerUnreachable, UnknownProvider
from node.settings.kinds import LOOPBACK, is_hook_address

STALL: Final = 10.0
"""Seconds that the other side may be silent."""
LONGEST: Final = 300.0
"""Seconds that a document may take altogether."""
PIECE: Final = 256 * 1024
ACCEPT: Final = "application/samlmetadata+xml, application/xml;q=0.9, text/xml;q=0.8"


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects by HTTPS, or from this machine to itself."""

    max_redirections = 3

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Follow it where it leads to a place that may be fetched from."""
        away = urlsplit(newurl).scheme != "https" and urlsplit(req.full_url).hostname not in LOOPBACK
        if away or not is_hook_address(newurl):
            raise urllib.error.URLError("it redirects to a place without HTTPS")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class Fetcher:
    """Gets documents for `node.identity.providers.refresh`."""

    def __init__(
        self, *, stall: float = STALL, longest: float = LONGEST, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """A fetcher that trusts the authorities of this machine.

        Args:
            stall: seconds that the other side may be silent.
            longest: seconds that a document may take altogether.
            clock: counts them.
        """
        self._stall, self._longest, self._clock = stall, longest, clock

    def __call__(self, url: str, into: BinaryIO, *, etag: str, most: int) -> str | None:
        """Write a document into a file (see `node.identity.providers.ports.Fetch`)."""
        if not is_hook_address(url):
            raise MetadataRefused(url[:200], "its address is not https://HOST/PATH")
        headers = {"User-Agent": f"konzilium/{__version__}", "Accept": ACCEPT}
        request = urllib.request.Request(url, headers=headers | ({"If-None-Match": etag} if etag else {}))  # noqa: S310 - checked above
        try:
            with self._opener(url).open(request, timeout=self._stall) as answer:
                self._copy(answer, into, url, most)
                return str(answer.headers.get("ETag") or "")[:200]
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == HTTPStatus.NOT_MODIFIED:
                return None
            if error.code in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
                raise UnknownProvider(url) from None
            raise PeerUnreachable(_host(url), f"it answers {error.code}") from None
        except (OSError, HTTPException) as error:
            raise PeerUnreachable(_host(url), _reason(error)) from error

    def _copy(self, answer: Any, into: BinaryIO, url: str, most: int) -> None:
        begun, size = self._clock(), 0
        while piece := answer.read(PIECE):
            size += len(piece)
            if size > most:
                raise MetadataRefused(url, f"the document is longer than {most} bytes")
            if self._clock() - begun > self._longest:
                raise TimeoutError
            into.write(piece)

    def _opener(self, url: str) -> urllib.request.OpenerDirector:
        """Opens addresses; this machine itself is reached without the proxy."""
        handlers: list[urllib.request.BaseHandler] = [
            _Redirects(),
            urllib.request.HTTPSHandler(context=ssl.create_default_context()),
        ]
        if urlsplit(url).hostname in LOOPBACK:
            handlers.append(urllib.request.ProxyHandler({}))
        return urllib.request.build_opener(*handlers)


def _host(url: str) -> str:
    return urlsplit(url).hostname or "the address"


def _reason(error: Exception) -> str:
    """What went wrong, in a few words."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted here ({cause.verify_message})"
    if isinstance(cause, ssl.SSLError):
        return f"TLS: {(cause.reason or 'failed').lower().replace('_', ' ')}"
    if isinstance(cause, TimeoutError):
        return "it takes too long"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return cause if isinstance(cause, str) else type(cause).__name__
