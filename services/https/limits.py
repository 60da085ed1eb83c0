"""What a caller may take of the HTTPS server: seconds, bytes, connections."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

Read: TypeAlias = Callable[[int, memoryview], int]
"""Reads at most so many bytes into a buffer, as `ssl.SSLSocket.read` does."""

TASTE: Final = 0.25
"""Seconds of reading after which patience is counted in the middle of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one server.

    Handshakes and heads are gathered without a thread, so a caller that is slow with them takes a connection
    and nothing else. Only whole requests get one of the threads.
    """

    threads: int = 24
    """Requests that are answered at the same time."""
    strangers: int = 4
    """Of these, requests of callers that showed no certificate; one more is answered 503.

    A thread waits for the body of its request, so that strangers could otherwise keep all of them.
    """
    queue: int = 128
    """Requests that wait for a thread; one more is answered 503."""
    connections: int = 512
    """Connections at the same time; one more is closed at once."""
    connections_per_address: int = 128
    """Connections from one address."""
    backlog: int = 256
    """Connections that the operating system holds until they are accepted."""
    head_bytes: int = 16 * 1024
    """The longest request line with its headers."""
    handshake_seconds: float = 10.0
    """Seconds from the connection to the end of the TLS handshake."""
    head_seconds: float = 15.0
    """Seconds from the first byte of a head to its last."""
    idle_seconds: float = 90.0
    """Seconds that a connection may rest between requests."""
    stall_seconds: float = 30.0
    """Seconds without progress of a body, either way, after which the caller is given up."""
    lowest_rate: int = 1024
    """Bytes a second that a body must come with on average, once `stall_seconds` were spent waiting."""


class Patience:
    """Counts how long one body kept its reader waiting.

    Only time spent waiting counts: a reader that paces itself is not the sender's fault.
    """

    def __init__(self, *, grace: float, lowest_rate: int, now: Callable[[], float] = time.monotonic) -> None:
        self._grace = grace
        self._lowest_rate = lowest_rate
        self._now = now
        self._waited = 0.0
        self._came = 0

    def some(self, read: Read, view: memoryview) -> int:
        """Read some bytes into `view`; how many, none at the end.

        Raises:
            TimeoutError: they come too slowly.
        """
        began = self._now()
        count = read(len(view), view)
        self._note(began, count)
        return count

    def all(self, read: Read, view: memoryview) -> int:
        """Read until `view` is full or the end comes; how many bytes.

        Raises:
            TimeoutError: they come too slowly.
        """
        began, noted, at, size = self._now(), 0, 0, len(view)
        while at < size and (count := read(size - at, view[at:])):
            at += count
            if self._now() - began > TASTE:
                self._note(began, at - noted)
                began, noted = self._now(), at
        self._note(began, at - noted)
        return at

    def _note(self, began: float, count: int) -> None:
        """Note how long these bytes took."""
        self._waited += self._now() - began
        self._came += count
        if self._waited > self._grace and self._came < (self._waited - self._grace) * self._lowest_rate:
            raise TimeoutError("timed out")
