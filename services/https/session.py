"""A `requests` session that knows one node by its certificate, for what is built upon `requests`."""

from __future__ import annotations

import ssl
from collections.abc import Set as AbstractSet
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPSConnection

from services.https.tls import shown

WAITS: Final = (10.0, 60.0)
"""Seconds to connect, and between two runs of bytes of an answer."""


def pinned_session(
    client_context: ssl.SSLContext,
    fingerprints: AbstractSet[str],
    *,
    waits: tuple[float, float] = WAITS,
    connections: int = 4,
) -> requests.Session:
    """A session that shows the context's certificate and talks to the holder of one of these fingerprints.

    It asks neither the environment nor an authority (`trust_env` off: `REQUESTS_CA_BUNDLE` and proxies of the
    machine have no say), follows no redirects out of `https://`, and raises `requests.exceptions.SSLError`
    where another node answers.
    """
    session = requests.Session()
    session.trust_env = False
    session.verify = False  # not by an authority: the pool below compares the certificate itself
    session.adapters.clear()
    session.mount("https://", _Pinned(client_context, frozenset(fingerprints), waits, connections))
    return session


class _Pinned(HTTPAdapter):
    """Sends over connections that were compared with the fingerprints."""

    def __init__(
        self, context: ssl.SSLContext, pins: frozenset[str], waits: tuple[float, float], connections: int
    ) -> None:
        self._context = context
        self._pins = pins
        self._waits = waits
        super().__init__(pool_connections=1, pool_maxsize=connections, max_retries=0)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        """Make the pool, with connections that compare."""
        kind = type("Pool", (HTTPSConnectionPool,), {"ConnectionCls": _connection_class(self._pins)})
        self.poolmanager = PoolManager(
            num_pools=connections, maxsize=maxsize, block=block, ssl_context=self._context, **options
        )
        self.poolmanager.pool_classes_by_scheme = {"https": kind}

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # type: ignore[override]
        """Send, and wait no longer than told."""
        options["timeout"] = options.get("timeout") or self._waits
        return super().send(request, **options)


def _connection_class(pins: frozenset[str]) -> type[HTTPSConnection]:
    """Connections that go on with the holder of one of these certificates alone."""

    class Pinned(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            if not isinstance(self.sock, ssl.SSLSocket) or shown(self.sock) not in pins:
                self.close()
                raise ssl.SSLError("another certificate answers at this address")
            self.is_verified = True

    return Pinned
