"""Clocks of sites: each has its own idea of the one simulated time."""

from __future__ import annotations

from tests.support.sites import Clock

SECOND = 1_000_000


class Time:
    """The one time of the simulation; every look takes a microsecond."""

    BEGIN = 1_700_000_000_000_000

    def __init__(self) -> None:
        self.now = self.BEGIN

    def forward(self, seconds: float) -> None:
        self.now += int(seconds * SECOND)

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return (self.now - self.BEGIN) / SECOND

    def monotonic(self) -> float:
        """Seconds, as `time.monotonic` tells them."""
        return self.elapsed


class SiteClock(Clock):
    """A clock that is ahead or behind, runs fast or slow, and may jump."""

    def __init__(self, time: Time, *, ahead: float = 0.0, drift: float = 0.0) -> None:
        self._time = time
        self._ahead = int(ahead * SECOND)
        self._drift = drift

    def __call__(self) -> int:
        self._time.now += 1
        return self.now

    @property
    def now(self) -> int:  # type: ignore[override]
        passed = self._time.now - Time.BEGIN
        return self._time.now + self._ahead + int(passed * self._drift)

    def forward(self, seconds: float) -> None:
        self._time.forward(seconds)

    def jump(self, seconds: float) -> None:
        """Be set anew, as a person or a time server does."""
        self._ahead += int(seconds * SECOND)
