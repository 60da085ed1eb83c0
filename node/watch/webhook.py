"""Notices by webhook: JSON, posted by HTTPS and signed, so that the receiver knows where it comes from.

The signature is HMAC-SHA256 (RFC 2104) with the shared secret over the timestamp, a full stop and the body:
a receiver checks it and refuses old timestamps, and tells a repetition by the delivery's id.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import ssl
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final
from urllib.parse import urlsplit

from node.domain.alert import SECOND, Notice, Severity
from node.domain.clock import Clock, system_clock
from node.domain.errors import NoticeUntold
from node.settings import AlertSettings
from node.watch.sink import told

TIMEOUT: Final = 10.0
"""Seconds that the receiver may take for each step."""
LONGEST: Final = 64 * 1024
"""Bytes of an answer that are read."""


class WebhookSink:
    """Posts each notice to the address of the settings."""

    name = "webhook"

    def __init__(
        self, settings: AlertSettings, *, clock: Clock = system_clock, timeout: float = TIMEOUT
    ) -> None:
        """A webhook by the settings.

        Args:
            settings: with an address and the file of the secret.
            clock: for the timestamp.
            timeout: seconds that the receiver may take for each step.
        """
        self.least = Severity(settings.least)
        self._settings = settings
        self._clock = clock
        self._timeout = timeout

    def tell(self, notice: Notice) -> None:
        """Post it (see `Sink.tell`). Redirects are not followed."""
        body = json.dumps(told(notice), ensure_ascii=False).encode()
        try:
            status = self._post(body, self._headers(notice, body))
        except (OSError, HTTPException, ValueError) as error:
            raise NoticeUntold(self.name, _reason(error)) from error
        if not 200 <= status < 300:
            raise NoticeUntold(self.name, f"the receiver answers {status}")

    def _headers(self, notice: Notice, body: bytes) -> dict[str, str]:
        stamp = str(self._clock() // SECOND)
        return {
            "Content-Type": "application/json",
            "User-Agent": "konzilium",
            "X-Konzilium-Delivery": notice.id,
            "X-Konzilium-Timestamp": stamp,
            "X-Konzilium-Signature": f"sha256={signature(self._secret(), stamp, body)}",
        }

    def _secret(self) -> bytes:
        file = self._settings.webhook_secret_file
        secret = file.read_bytes().strip() if file else b""
        if not secret:
            raise NoticeUntold(self.name, "the file with the secret is empty")
        return secret

    def _post(self, body: bytes, headers: dict[str, str]) -> int:
        where = urlsplit(self._settings.webhook_url)
        target = (where.path or "/") + (f"?{where.query}" if where.query else "")
        with closing(self._connection(where.scheme, where.hostname or "", where.port)) as connection:
            connection.request("POST", target, body, headers)
            answer = connection.getresponse()
            answer.read(LONGEST)
            return answer.status

    def _connection(self, scheme: str, host: str, port: int | None) -> HTTPConnection:
        if scheme == "http":  # the settings let only this machine itself be called so
            return HTTPConnection(host, port, timeout=self._timeout)
        context = ssl.create_default_context(cafile=self._settings.authorities)
        return HTTPSConnection(host, port, timeout=self._timeout, context=context)


def signature(secret: bytes, stamp: str, body: bytes) -> str:
    """The signature of a post, in hexadecimal."""
    return hmac.new(secret, stamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason or 'no reason given'})"
    if isinstance(error, TimeoutError):
        return "the receiver does not answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
