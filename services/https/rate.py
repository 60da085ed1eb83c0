"""How often somebody may call: a bucket of tokens each, filled at a steady rate."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from node.domain.errors import TooBusy

MANY = 10_000
"""How many callers are remembered; the one not heard of for the longest is forgotten first."""


class Rate:
    """Calls of each caller: so many at once, so many a second."""

    def __init__(
        self,
        *,
        per_second: float,
        burst: float,
        remembered: int = MANY,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._per_second = per_second
        self._burst = burst
        self._remembered = remembered
        self._now = now
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def demand(self, caller: str, cost: float = 1.0) -> None:
        """Let a call pass.

        Raises:
            TooBusy: this caller calls too often; it says when to come again.
        """
        missing = self._take(caller, cost)
        if missing > 0:
            error = TooBusy("this caller calls too often")
            error.retry_after = max(1, math.ceil(missing / self._per_second))
            raise error

    def _take(self, caller: str, cost: float) -> float:
        """Take tokens out of a bucket, or say how many are missing."""
        now = self._now()
        with self._lock:
            tokens, since = self._buckets.pop(caller, (self._burst, now))
            tokens = min(self._burst, tokens + (now - since) * self._per_second)
            missing = cost - tokens
            self._buckets[caller] = (tokens if missing > 0 else tokens - cost, now)
            if len(self._buckets) > self._remembered:
                self._buckets.popitem(last=False)
        return missing
