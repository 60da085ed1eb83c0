"""A cap on the bytes per second that a site spends on a link: a bucket of tokens, shared by all streams."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from threading import Lock
from typing import Final, Protocol

BURST_SECONDS: Final = 0.25
"""What may pass at once after a rest, in seconds of the rate."""

LONGEST_NAP: Final = 5.0
"""Seconds after which a sleeper looks whether the rate has changed."""


GRAIN: Final = 16 * 1024
"""Bytes that are taken at a time under a cap, so that a slow stream does not look like one that stalls."""


class Paces(Protocol):
    """What streams tell how many bytes they took."""

    grain: int
    """Bytes to take at a time."""

    def take(self, count: int) -> None:
        """Wait until so many bytes may pass."""
        ...


class Unpaced:
    """No cap."""

    grain = 1 << 30

    def take(self, count: int) -> None:
        """Go on at once."""


class Pace:
    """A cap that may change with the time of day.

    Whoever takes more than is there goes into debt and sleeps until it is paid, so that long runs of bytes
    need no bucket of their size, and streams that share a pace take turns.
    """

    grain = GRAIN

    def __init__(
        self,
        rate: Callable[[], float | None],
        *,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """Cap at `rate()` bytes a second; None is no cap."""
        self._rate = rate
        self._now = now
        self._sleep = sleep
        self._lock = Lock()
        self._tokens = 0.0
        self._at = now()

    def take(self, count: int) -> None:
        """Wait until so many bytes may pass."""
        wait = self._owed(count)
        while wait > 0:
            self._sleep(min(wait, LONGEST_NAP))
            wait = self._owed(0) if wait > LONGEST_NAP else 0.0

    def _owed(self, count: int) -> float:
        """Take tokens; seconds until the debt is paid."""
        rate = self._rate()
        with self._lock:
            now = self._now()
            if rate is None or rate <= 0:
                self._tokens, self._at = 0.0, now
                return 0.0
            filled = self._tokens + (now - self._at) * rate
            self._tokens, self._at = min(filled, rate * BURST_SECONDS) - count, now
            return -self._tokens / rate


def sent(chunks: Iterable[memoryview], pace: Paces) -> Iterator[memoryview]:
    """Chunks to send, each when it may pass."""
    for chunk in chunks:
        for at in range(0, len(chunk), pace.grain):
            part = chunk[at : at + pace.grain]
            pace.take(len(part))
            yield part


def received(fill: Callable[[memoryview], None], view: memoryview, pace: Paces) -> None:
    """Fill a view with what is received, no faster than it may."""
    for at in range(0, len(view), pace.grain):
        part = view[at : at + pace.grain]
        fill(part)
        pace.take(len(part))
