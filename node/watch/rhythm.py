"""When a device usually sends, learned from its arrivals; and whether it is silent for longer than usual.

For each of the 168 hours of a week the rhythm keeps the share of the past weeks in which something arrived
in that hour (recent weeks count more). A silence is measured in *expected hours*: the sum of these shares
over the full hours that it has lasted. Nights, weekends and the days on which a device rests are worth
nothing, because nothing ever came then; an hour in which something came every week is worth one.

A device is silent for longer than usual when all of this holds:

* it has been known for two weeks;
* the silence lasts a day by the clock;
* it is worth more expected hours than the floor of the settings (`alerts.modality_hours`: with 18, two
  holidays of an eight-hour day do not ring, the third morning does, and so does one day of a device that
  never rests);
* it is worth half as much again as the longest silence that was usual so far. That memory fades by a tenth
  each week, and a silence that did ring is not remembered as usual.

Hours in which this node did not watch are not counted. Hours are those of UTC: a change to summer time moves
the rhythm by an hour, which it learns again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Final, Self

from node.domain.alert import DAY, SECOND

HOUR: Final = 3600 * SECOND
WEEK: Final = 168
"""Hours."""
KNOWN: Final = 14 * DAY
"""How long a device must have been known."""
FORGET: Final = 8 * WEEK
"""A device that was away for so many hours is learned anew."""
RATE: Final = 4
"""The last week counts one in so many."""
FADE: Final = 0.9
"""What is left after a week of the memory of the longest silence."""
MORE: Final = 1.5
"""How much longer than the longest usual silence is longer than usual."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythm:
    """What was learned of one device."""

    since: int
    """When it was heard of first; microseconds since 1970."""
    last: int
    """When it sent last."""
    shares: tuple[int, ...] = (0,) * WEEK
    """For each hour of the week, in how many of a thousand weeks something came."""
    longest: float = 0.0
    """The longest usual silence in expected hours."""

    @classmethod
    def begun(cls, at: int) -> Self:
        """The rhythm of a device that was heard of just now."""
        shares = [0] * WEEK
        shares[at // HOUR % WEEK] = 1000
        return cls(since=at, last=at, shares=tuple(shares))

    def heard(self, at: int, floor: float) -> Self:
        """The rhythm after something came."""
        if at <= self.last:
            return self
        before, hour = self.last // HOUR, at // HOUR
        if hour == before:
            return replace(self, last=at)
        if hour - before > FORGET:
            return type(self).begun(at)
        silence = self.expected(self.last, at)
        usual = self.longest if silence > self.bound(floor) else max(self.longest, silence)
        return replace(
            self,
            last=at,
            shares=self._learned(before + 1, hour),
            longest=usual * FADE ** ((hour - before) / WEEK),
        )

    def expected(self, begin: int, end: int) -> float:
        """How many hours between two moments are usually not silent; hours that are not over do not count."""
        first, stop = begin // HOUR + 1, min(end // HOUR, begin // HOUR + FORGET)
        return sum(self.shares[hour % WEEK] for hour in range(first, stop)) / 1000

    def bound(self, floor: float) -> float:
        """More expected hours of silence than that are unusual."""
        return max(floor, MORE * self.longest)

    def is_silent(self, now: int, floor: float, awake: int) -> bool:
        """Whether the device is silent for longer than usual.

        Args:
            now: microseconds since 1970.
            floor: expected hours that are never unusual.
            awake: since when this node has watched without a break.
        """
        begin = max(self.last, awake)
        if now - self.since < KNOWN or now - begin < DAY:
            return False
        return self.expected(begin, now) > self.bound(floor)

    def _learned(self, first: int, heard: int) -> tuple[int, ...]:
        """The shares after hours from `first` on without anything, and then one, `heard`, with something."""
        shares, begun = list(self.shares), self.since // HOUR
        for hour in range(first, heard + 1):
            rate = min((hour - begun) // WEEK + 1, RATE)
            slot = hour % WEEK
            shares[slot] += ((1000 if hour == heard else 0) - shares[slot]) // rate
        return tuple(shares)

    def written(self) -> str:
        """The rhythm as text."""
        return json.dumps([self.since, self.last, round(self.longest, 2), self.shares], separators=(",", ":"))

    @classmethod
    def read(cls, text: str) -> Self:
        """The rhythm that `written` wrote."""
        since, last, longest, shares = json.loads(text)
        return cls(since=since, last=last, longest=longest, shares=tuple(shares))
