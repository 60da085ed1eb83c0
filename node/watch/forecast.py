"""When a disk will be full: a straight line through the samples of the last week."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from node.domain.alert import DAY

WINDOW: Final = 7 * DAY
"""How far back the line looks."""
SHORTEST: Final = DAY
"""Samples over less than that say nothing of the pace: a day has its hours."""
FEWEST: Final = 12
"""Fewer samples are chance."""


def pace(samples: Sequence[tuple[int, int]], now: int) -> float | None:
    """How many bytes a day become fewer (negative where they become more), by least squares.

    Args:
        samples: (when, bytes free), the oldest first.
        now: samples older than a week before that are left out.

    Returns:
        None where there are too few samples to tell.
    """
    recent = [(at, free) for at, free in samples if now - at <= WINDOW]
    if len(recent) < FEWEST or recent[-1][0] - recent[0][0] < SHORTEST:
        return None
    mean_at = sum(at for at, _ in recent) / len(recent)
    mean_free = sum(free for _, free in recent) / len(recent)
    spread = sum((at - mean_at) ** 2 for at, _ in recent)
    slope = sum((at - mean_at) * (free - mean_free) for at, free in recent) / spread
    return -slope * DAY


def days_left(samples: Sequence[tuple[int, int]], free: int, reserve: int, now: int) -> float | None:
    """In how many days only the reserve is left at the pace of the last week; None for never or unknown."""
    lost = pace(samples, now)
    if lost is None or lost <= 0:
        return None
    return max(0.0, (free - reserve) / lost)
