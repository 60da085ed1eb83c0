"""Waiting after failures, by address or by name, as far as one process remembers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Final

KEPT: Final = 10_000
"""Keys that are remembered; the one that failed longest ago is forgotten first."""


class BackOff:
    """Makes whoever fails again and again wait, longer each time."""

    def __init__(
        self,
        *,
        free: int,
        first: float,
        longest: float,
        forgiven: float,
        monotonic: Callable[[], float],
    ) -> None:
        """Nobody has failed yet.

        Args:
            free: failures that cost nothing.
            first: seconds to wait after one more; each further one doubles them.
            longest: seconds to wait at the most.
            forgiven: seconds after which one failure is forgiven: many people may share an address.
            monotonic: tells seconds.
        """
        self._free = free
        self._first = first
        self._longest = longest
        self._forgiven = forgiven
        self._monotonic = monotonic
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._lock = Lock()

    def wait(self, key: str) -> float:
        """Seconds that this one still has to wait."""
        with self._lock:
            failures, last = self._known(key)
        over = failures - self._free
        if over <= 0:
            return 0.0
        pause: float = min(self._longest, self._first * 2 ** min(over - 1, 16))
        return max(0.0, last + pause - self._monotonic())

    def failed(self, key: str) -> None:
        """Note a failure."""
        with self._lock:
            failures, _ = self._known(key)
            self._failures[key] = failures + 1, self._monotonic()
            self._failures.move_to_end(key)
            while len(self._failures) > KEPT:
                self._failures.popitem(last=False)

    def _known(self, key: str) -> tuple[int, float]:
        """Failures that are not forgiven, and the time of the last one."""
        failures, last = self._failures.get(key, (0, 0.0))
        return max(0, failures - int((self._monotonic() - last) / self._forgiven)), last
